"""Writes into ``docs/methods/intervals.md`` how often the rows of each board were fitted.

Run it when records were added. What a seed does not change is counted apart, as the benchmark
declares it and a test checks it.
"""

from __future__ import annotations

from pathlib import Path

from etchmark import files
from etchmark.catalog import Catalog
from etchmark.registry.records import read_record
from etchmark.specs import BenchmarkSpec, ResultRecord

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "methods" / "intervals.md"
START, END = "<!-- seeds: docs/make_seeds.py -->", "<!-- end of seeds -->"
LONG_MINUTES = 5
"""Processor time of one fit and its predictions above which a model is named with it."""


def records(spec: BenchmarkSpec) -> list[ResultRecord]:
    """The reviewed records of a benchmark's current version that have scores."""
    folder = ROOT / "leaderboard" / "results" / spec.key
    return [
        record for path in sorted(folder.glob("*.json")) if (record := read_record(path)).scores
    ]


def minutes(record: ResultRecord) -> float:
    """Minutes of one fit and its predictions: of processors, or of the clock in older records."""
    cost = record.cost
    wall = (cost.fit_seconds or 0.0) + (cost.predict_seconds or 0.0)
    return (wall if cost.cpu_seconds is None else cost.cpu_seconds) / 60


def row(spec: BenchmarkSpec) -> str:
    """A board: its rows by how often they were fitted, and the long ones of those fitted once."""
    settled, several, single = 0, 0, []
    for record in records(spec):
        use = spec.use_of(record.name)
        if use is not None and use.deterministic:
            settled += 1
        elif record.scores[0].seeds > 1:
            several += 1
        else:
            single.append(record)
    longest: dict[str, float] = {}
    for record in single:
        longest[record.name] = max(minutes(record), longest.get(record.name, 0.0))
    named = [
        f"`{name}` {time:.0f}"
        for name, time in sorted(longest.items(), key=lambda item: -item[1])
        if time >= LONG_MINUTES
    ]
    return f"| {spec.key} | {settled} | {several} | {len(single)} | {', '.join(named) or '–'} |"


def table() -> str:
    """A row for each current board."""
    known = Catalog(ROOT)
    specs = [known.benchmark(name) for name in known.benchmark_names()]
    return "\n".join(
        [
            "| board | another seed changes nothing | several seeds | one seed |"
            f" of these, {LONG_MINUTES} minutes or longer a fit |",
            "| --- | --- | --- | --- | --- |",
            *(row(spec) for spec in specs if records(spec)),
        ]
    )


def page() -> str:
    """The page with the present table."""
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    after = rest.split(END)[1]
    return f"{before}{START}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    files.write_text(PAGE, page())
