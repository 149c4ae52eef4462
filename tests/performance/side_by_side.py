"""Times beside peers and earlier versions: taken in turns, kept in a file, written as tables.

`make speed` measures into `.cache/speed.json` and writes `docs/speed.md` from it::

    python tests/performance/side_by_side.py .cache/speed.json docs/speed.md
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

PACKAGES = ("torch", "numpy", "scipy", "jax", "exponax", "py-pde", "scikit-fem", "pyamg", "porespy")


class Seconds(NamedTuple):
    """Wall time and processor time of all threads."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Case:
    """A solver with all that its time depends on."""

    solver: str
    discretisation: str
    precision: str
    setting: str
    """Step, tolerance or residual."""
    error: float
    """Distance to what it converges to, in the unit of the comparison."""
    run: Callable[[], object]
    """Solves once. A run that measures itself, as in a process of its own, returns ``Seconds``."""


@dataclass(frozen=True)
class Row:
    """A case that has been timed."""

    solver: str
    discretisation: str
    precision: str
    setting: str
    error: float
    wall: float
    processor: float


@dataclass(frozen=True)
class Comparison:
    """Ours and its peers, timed in turns."""

    title: str
    unit: str
    """What the error is an error of."""
    threads: int
    rows: list[Row]
    """Ours first."""

    def ratio(self, kind: str = "wall") -> float:
        """Time of the fastest peer over ours."""
        ours, *peers = (getattr(row, kind) for row in self.rows)
        return min(peers) / ours


@dataclass(frozen=True)
class Change:
    """Wall time of the same work in version 0.1.0 and now, in seconds."""

    work: str
    before: float
    now: float


def timed(run: Callable[[], object], count: int = 1) -> Seconds:
    """Mean time of so many calls in a row."""
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(count):
        outcome = run()
        if isinstance(outcome, Seconds):
            return outcome
    return Seconds((time.perf_counter() - wall) / count, (time.process_time() - processor) / count)


def in_turns(
    repeats: int, runs: Sequence[Callable[[], object]], least: float = 0.0
) -> list[Seconds]:
    """The shortest times of each; all run in turns, and once before to warm up.

    Calls shorter than ``least`` seconds are repeated: clocks of processor time are coarse.
    """
    best = [Seconds(math.inf, math.inf)] * len(runs)
    counts = [1] * len(runs)
    for round_ in range(repeats + 2 if least else repeats + 1):
        for index, run in enumerate(runs):
            wall, processor = timed(run, counts[index])
            if round_ == 0 or (least and round_ == 1):
                # The first call compiles; the second says how many it takes.
                counts[index] = max(1, math.ceil(least / wall)) if round_ else 1
            else:
                before = best[index]
                best[index] = Seconds(min(before.wall, wall), min(before.processor, processor))
    return best


def compare(title: str, unit: str, threads: int, cases: Sequence[Case], repeats: int) -> Comparison:
    """Time cases, ours first."""
    times = in_turns(repeats, [case.run for case in cases], least=0.5)
    rows = [
        Row(case.solver, case.discretisation, case.precision, case.setting, case.error, *seconds)
        for case, seconds in zip(cases, times, strict=True)
    ]
    return Comparison(title, unit, threads, rows)


# --- the file and the document --------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """What is needed to read times: processor, cores, load, versions."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": versions,
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def store(path: Path, comparisons: Sequence[Comparison], state: dict[str, Any]) -> None:
    """Add comparisons to a file; those of the same title and threads replace older ones."""
    content = _stored(path)
    new = {(comparison.title, comparison.threads) for comparison in comparisons}
    older = [row for row in content["comparisons"] if (row["title"], row["threads"]) not in new]
    content |= {"machine": state, "comparisons": [*older, *map(asdict, comparisons)]}
    _write(path, content)


def store_changes(path: Path, title: str, changes: Sequence[Change], state: dict[str, Any]) -> None:
    """Add a table of times before and now to a file; it replaces one of the same title.

    The machine is kept with it: the table may be measured again without all others.
    """
    content = _stored(path)
    content.setdefault("changes", {})[title] = {
        "machine": state,
        "rows": [asdict(change) for change in changes],
    }
    _write(path, content)


def _stored(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {"comparisons": []}
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    temporary.replace(path)


def table(comparison: dict[str, Any]) -> list[str]:
    """Lines of Markdown; a ratio is a solver's time over ours."""
    plural = "s" if comparison["threads"] > 1 else ""
    lines = [
        f"### {comparison['title']}, {comparison['threads']} thread{plural}",
        "",
        f"| solver | discretisation | precision | setting | {comparison['unit']} | wall s"
        " | processor s | ratio, wall | ratio, processor |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    ours = comparison["rows"][0]
    for row in comparison["rows"]:
        ratios = [row[kind] / ours[kind] for kind in ("wall", "processor")]
        shown = ["", ""] if row is ours else [f"{ratio:.2g}" for ratio in ratios]
        cells = [row["solver"], row["discretisation"], row["precision"], row["setting"]]
        cells += [f"{row['error']:.1e}", f"{row['wall']:.3g}", f"{row['processor']:.3g}", *shown]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def table_of_changes(title: str, measured: dict[str, Any]) -> list[str]:
    """Lines of Markdown; a ratio is the time in version 0.1.0 over the time now."""
    lines = [
        f"## {title}",
        "",
        "The same work as version 0.1.0 did it and as it is done now, in one run on"
        f" {_place(measured['machine'])}.",
        "",
        "| work | version 0.1.0, wall s | now, wall s | ratio |",
        "| --- | --- | --- | --- |",
    ]
    for row in measured["rows"]:
        ratio = f"{row['before'] / row['now']:.2g}"
        # Two significant digits without an exponent, thousands apart.
        ratio = f"{float(ratio):,g}"
        lines.append(f"| {row['work']} | {row['before']:.3g} | {row['now']:.3g} | {ratio} |")
    return [*lines, ""]


def _place(state: dict[str, Any]) -> str:
    """Processor, cores, load and time of a measurement."""
    load = "" if state["load"] is None else f", load {state['load']:.1f} at the start"
    return f"{state['processor']}, {state['cores']} cores{load}, {state['measured']}"


HEAD = (
    "# Speed beside peers\n\n"
    "Written by `make speed`; every number is from one run on one machine. Each solver takes the\n"
    "longest step or the loosest tolerance at which its error, the distance to its own converged\n"
    "solution, stays below a bound that is the same for all. The solvers of a table run in turns,\n"
    "and the shortest time of each counts. Processor time is the sum over all threads. A ratio is\n"
    "a peer's time divided by ours: above 1, etchmark is faster.\n"
)


def document(content: dict[str, Any]) -> str:
    """The tables as a Markdown document."""
    state = content["machine"]
    versions = ", ".join(f"{name} {value}" for name, value in state["versions"].items())
    load = "" if state["load"] is None else f", load {state['load']:.1f} at the start"
    lines = [
        HEAD,
        f"{state['processor']}, {state['cores']} cores{load}; Python {state['python']}, {versions};"
        f" {state['measured']}.",
        "",
    ]
    for comparison in content["comparisons"]:
        lines += table(comparison)
    for title, measured in content.get("changes", {}).items():
        lines += table_of_changes(title, measured)
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: Sequence[str]) -> int:
    source, target = map(Path, arguments)
    text = document(json.loads(source.read_text(encoding="utf-8")))
    temporary = target.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(target)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
