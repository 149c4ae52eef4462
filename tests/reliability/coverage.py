"""How often the 95 % intervals of the boards hold the truth; run as a script.

For every board, metric and some of its records, the units of the record (papers, trajectories,
samples with all that belongs to them) are taken for the whole population, whose score is then the
truth. As many units as the board has are drawn from them with replacement, many times, and the
interval of each draw is computed as for a record. The share of intervals that hold the truth is the
coverage. Beside it stands that of the percentile bootstrap, for boards with few units.

What it cannot show: units more extreme than those that were seen. Real coverage is therefore at
most what is written here.

Writes ``leaderboard/results/coverage.json``, which the boards show, and prints a table for
``docs/methods/intervals.md``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from etchmark import files
from etchmark.boards.samples import sample_scores
from etchmark.boards.standings import Board
from etchmark.catalog import catalog
from etchmark.registry.store import Store
from etchmark.scoring import intervals, uncertainty
from etchmark.scoring.uncertainty import SumsOfUnits
from etchmark.specs import BenchmarkSpec
from etchmark.targets import Metric, metric

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "leaderboard" / "results" / "coverage.json"
Method = Callable[[Metric, SumsOfUnits], tuple[float, float] | None]
RECORDS = 8
"""Records of each board, spread evenly over its ranks."""
BOOTSTRAPPED = 120
"""Boards of up to so many units are also bootstrapped."""

AT_MOST = 600_000
"""Units drawn for one record and metric, but for at least 200 draws."""


def records_of(board: Board) -> list[str]:
    """Submissions spread evenly over the ranks of a board."""
    ranked = board.leaders()["submission"].tolist()
    places = np.unique(np.linspace(0, len(ranked) - 1, RECORDS).round().astype(int))
    return [ranked[place] for place in places]


def draws(judged: Metric, sums: SumsOfUnits, times: int, seed: int) -> Iterator[SumsOfUnits]:
    """Unit sums of as many units, drawn with replacement; for a pooled metric with the terms of
    their samples."""
    generator = np.random.Generator(np.random.PCG64(seed))
    units = uncertainty.units_of(sums)
    members = [np.flatnonzero(sums.unit == unit) for unit in range(units)] if judged.pool else []
    for _ in range(times):
        drawn = generator.integers(0, units, size=units)
        terms, unit = {}, drawn
        if judged.pool is not None:
            samples = np.concatenate([members[place] for place in drawn])
            unit = np.repeat(np.arange(units), [len(members[place]) for place in drawn])
            read = judged.reads(sums.terms)
            terms = {name: np.atleast_2d(sums.terms[name])[:, samples] for name in read}
        yield SumsOfUnits({name: values[:, drawn] for name, values in sums.items()}, terms, unit)


def bootstrap_interval(judged: Metric, sums: SumsOfUnits) -> tuple[float, float] | None:
    """The percentile interval that records had before."""
    scores = uncertainty.bootstrap(judged, sums)
    if not np.isfinite(scores).all():
        return None
    low, high = np.quantile(scores, [uncertainty.TAIL, 1.0 - uncertainty.TAIL])
    return float(low), float(high)


def coverage(judged: Metric, sums: SumsOfUnits, times: int) -> dict[str, float] | None:
    """Share of the intervals that hold the score of all units; None where it has no interval."""
    truth = float(uncertainty.score(judged, sums).mean())
    if not np.isfinite(truth) or intervals.interval(judged, sums) is None:
        return None
    methods: dict[str, Method] = {"jackknife": intervals.interval}
    if uncertainty.units_of(sums) <= BOOTSTRAPPED:
        methods["bootstrap"] = bootstrap_interval
    held = dict.fromkeys(methods, 0)
    # Many units take long and cover as they should: fewer draws say so.
    times = max(200, min(times, AT_MOST // uncertainty.units_of(sums)))
    for drawn in draws(judged, sums, times, seed=0):
        for name, method in methods.items():
            ends = method(judged, drawn)
            # A draw whose score lies at the end of its scale has no interval: it holds nothing.
            held[name] += ends is not None and ends[0] <= truth <= ends[1]
    return {name: count / times for name, count in held.items()}


def study(spec: BenchmarkSpec, store: Store, protocol: str, times: int) -> dict[str, object]:
    """Coverage on the headline split of a protocol, by metric."""
    split = spec.protocols[protocol].split
    entries = [store.get(name) for name in records_of(Board(spec, store, protocol=protocol))]
    samples = [scores for entry in entries if entry and (scores := sample_scores(entry, split))]
    found: dict[str, object] = {}
    for name in spec.metrics:
        judged = metric(name)
        parts = [scores.sums() for scores in samples]
        shares = [
            share
            for sums in parts
            if judged.applies(sums) and (share := coverage(judged, sums, times)) is not None
        ]
        if not shares:
            continue
        found[name] = {
            "records": len(shares),
            "units": uncertainty.units_of(parts[0]),
            **{
                method: [
                    round(float(np.mean(values)), 3),
                    round(min(values), 3),
                    round(max(values), 3),
                ]
                for method in shares[0]
                if (values := [share[method] for share in shares])
            },
        }
        print(f"{spec.key} {protocol} {name}: {found[name]}", flush=True)
    return found


def table(results: dict[str, dict[str, dict[str, dict[str, object]]]]) -> str:
    """The results as a table in Markdown."""
    lines = [
        "| board | protocol | units | metric | jackknife (range) | percentile bootstrap (range) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for key, protocols in results.items():
        for protocol, metrics in protocols.items():
            for name, found in metrics.items():
                cells = [
                    "–" if method not in found else _range(found[method])
                    for method in ("jackknife", "bootstrap")
                ]
                lines.append(
                    f"| {key} | {protocol} | {found['units']} | {name} | {' | '.join(cells)} |"
                )
    return "\n".join(lines)


def _range(values: object) -> str:
    mean, low, high = (100 * float(value) for value in values)  # type: ignore[attr-defined]
    return f"{mean:.0f} % ({low:.0f} to {high:.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=1000, help="draws of each record and metric")
    parser.add_argument("benchmarks", nargs="*", help="only these; the others stay as they are")
    options = parser.parse_args()
    known = catalog()
    results = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.is_file() else {}
    with tempfile.TemporaryDirectory() as home:
        store = Store(Path(home))
        for benchmark in options.benchmarks or known.benchmark_names():
            spec = known.benchmark(benchmark)
            results[spec.key] = {
                protocol: study(spec, store, protocol, options.times) for protocol in spec.protocols
            }
            files.write_text(TARGET, json.dumps(results, indent=1, sort_keys=True) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
