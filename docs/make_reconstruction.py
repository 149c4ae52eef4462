"""Writes the tables of ``docs/reconstruction.md`` from the reviewed records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from etchmark import files
from etchmark.catalog import catalog, results_of
from etchmark.specs import BenchmarkSpec

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reconstruction.md"
BOARD = "microstructure-reconstruction"
START, END = f"<!-- {BOARD}: docs/make_reconstruction.py -->", f"<!-- end of {BOARD} -->"
GROUPS = ("two_point", "lineal_path", "chord_length", "surface", "clusters")
SCORE = "reconstruction_score"


def records(spec: BenchmarkSpec) -> list[dict[str, Any]]:
    """The reviewed records of the board's current version that have scores, best first."""
    folder = results_of(ROOT) / spec.key
    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    scored = [record for record in found if record["outcome"] == "ok"]
    return sorted(scored, key=lambda record: (value(record, SCORE), record["name"]))


def value(record: dict[str, Any], metric: str, subset: str | None = None) -> float:
    """A metric of a record on the headline split, or on a subset of it."""
    scores = record["scores"][0]
    if subset is not None:
        (scores,) = [part for part in scores["subsets"] if part["subset"] == subset]
    return scores["metrics"][metric]["value"]


def short(number: float) -> str:
    return f"{number:.3f}"


def rows_of(spec: BenchmarkSpec) -> list[str]:
    """One row per model: score with its interval, both kinds of material, stiffness, copies."""
    heads = ["model", "role", "S", "simulated", "photographed", "error of the stiffness / %"]
    heads += ["diversity", "copied / %"]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for record in records(spec):
        score = record["scores"][0]["metrics"][SCORE]
        text = short(score["value"])
        if score["ci_low"] is not None:
            text += f" [{short(score['ci_low'])}, {short(score['ci_high'])}]"
        cells = [f"`{record['name']}`", record["role"], text]
        cells += [short(value(record, SCORE, subset)) for subset in spec.subsets]
        cells += [f"{value(record, 'stiffness_error'):.1f}", f"{value(record, 'diversity'):.2f}"]
        cells.append(f"{value(record, 'copied_images'):.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def groups_of(spec: BenchmarkSpec) -> list[str]:
    """One row per model: its distance by each group of descriptors."""
    heads = ["model", *(name.replace("_", " ") for name in GROUPS)]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for record in records(spec):
        cells = [short(value(record, f"{name}_distance")) for name in GROUPS]
        lines.append(f"| `{record['name']}` | {' | '.join(cells)} |")
    return lines


def tables() -> str:
    """Both tables, or a line that says that there is no row yet."""
    spec = catalog().benchmark(BOARD)
    if not records(spec):
        return "No row yet."
    by_group = "By group of descriptors:"
    return "\n".join([*rows_of(spec), "", by_group, "", *groups_of(spec)])


def page() -> str:
    """The page with its tables."""
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    return f"{before}{START}\n{tables()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    files.write_text(PAGE, page())
