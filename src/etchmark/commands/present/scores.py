"""Scores of a predictions file and of a submission, as tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from etchmark.api import (
    BOARD_KINDS,
    Doubt,
    Hub,
    Scored,
    Submitted,
    View,
    discretisation_in_words,
    kind_of_flag,
    to_records,
    why_none,
)
from etchmark.specs import (
    BenchmarkSpec,
    MetricScore,
    ResultRecord,
    SplitScore,
    SubsetScore,
)
from etchmark.text import number, one_line, plain, print_json, span


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text, the first of them the head, in columns; each cell is one plain line."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def scored(hub: Hub, spec: BenchmarkSpec, protocol: str, outcome: Scored, as_json: bool) -> None:
    """Scores of a predictions file, and doubts about it on stderr."""
    if as_json:
        splits = [split.model_dump(mode="json") for split in outcome.scores]
        doubts = [asdict(doubt) for doubt in outcome.doubts]
        print_json(
            {"benchmark": spec.key, "protocol": protocol, "splits": splits, "doubts": doubts}
        )
    else:
        show(hub, spec, protocol, outcome.scores)
    warn(outcome.doubts)


def submitted(hub: Hub, submission: Submitted, export: Path | None, as_json: bool) -> None:
    """Scores of a submission that was stored, its place on the board, and doubts on stderr."""
    record = submission.prepared.record
    if as_json:
        print_json(record.model_dump(mode="json", by_alias=True))
    else:
        spec = hub.benchmark(record.benchmark)
        show(hub, spec, record.protocol, record.scores)
        where = standing(hub, spec, record)
        print(f"{submission.committed.value} as {record.submission[:12]}{where}")
        show_flags(flags_of_board(hub, record))
        if export is not None:
            print(f"exported to {plain(str(export))}; see CONTRIBUTING.md for the public board")
    warn(submission.prepared.doubts)


def warn(doubts: Iterable[Doubt]) -> None:
    # What was printed before comes before it, though it goes elsewhere.
    sys.stdout.flush()
    for doubt in doubts:
        print(f"warning: {plain(doubt.message)}", file=sys.stderr)


def show_flags(flags: Iterable[str]) -> None:
    for flag in flags:
        print(f"flag: {plain(flag)}")


def flags_of_board(hub: Hub, record: ResultRecord) -> list[str]:
    """Flags of a stored submission that follow from other rows of its board."""
    frame = hub.board(hub.benchmark(record.benchmark), View(record.protocol)).frame
    rows = frame.loc[frame["submission"] == record.submission, "flags"].tolist()
    flags = (rows[0] or ()) if rows else ()
    return [flag for flag in flags if kind_of_flag(flag) in BOARD_KINDS]


def show(hub: Hub, spec: BenchmarkSpec, protocol: str, scores: Sequence[SplitScore]) -> None:
    """One row per split, subset and metric."""
    rows = [["split", "metric", "score", "95 % interval", "unit", "n", spec.unit_names, "folds"]]
    for split in scores:
        rows += _rows(hub, spec, split.split, split)
        for subset in split.subsets:
            rows += _rows(hub, spec, f"{split.split}, {subset.subset}", subset)
    print(f"{spec.key}, protocol {protocol}")
    print(table(rows))
    parts = [part for split in scores for part in (split, *split.subsets)]
    absent = [part.units for part in parts for score in part.metrics.values()
              if score.ci_low is None]  # fmt: skip
    for reason in why_dashes(spec, absent):
        print(reason)


def why_dashes(spec: BenchmarkSpec, units: Iterable[int]) -> list[str]:
    """Why scores have a dash for an interval, a line for each reason.

    Args:
        spec: the benchmark, which names the units.
        units: over how many units each of these scores is.
    """
    return list(dict.fromkeys(why_none(count, spec.unit_names) for count in units))


def _rows(
    hub: Hub, spec: BenchmarkSpec, where: str, scores: SplitScore | SubsetScore
) -> list[list[str]]:
    rows = []
    for name, score in scores.metrics.items():
        folds = ""
        if score.fold_mean is not None:
            folds = f"{number(score.fold_mean)} ± {number(score.fold_sd)}"
        counts = [str(scores.n), str(scores.units)]
        unit = hub.metric(spec, name).unit
        rows.append([where, name, number(score.value), interval(score), unit, *counts, folds])
    if isinstance(scores, SplitScore):
        absent = [name for name in spec.metrics if name not in scores.metrics]
        rows += [[where, name, "not applicable", "–", "", "", "", ""] for name in absent]
    return rows


def interval(score: MetricScore) -> str:
    """Ends of a 95 % interval; a dash where it is not defined."""
    return span(score.ci_low, score.ci_high)


def standing(hub: Hub, spec: BenchmarkSpec, record: ResultRecord) -> str:
    """Where a stored submission stands, to be appended to a line; empty if it is not ranked."""
    frame = hub.standings(spec, View(record.protocol))
    row = next((row for row in to_records(frame) if row["submission"] == record.submission), None)
    if row is None:
        return ""
    earlier = hub.earlier(record)
    if row["rank"] is None:
        why = row["reason"] or f"role {row['role']}"
        place = f"listed apart, not ranked ({why})"
    else:
        ranked = len(frame.dropna(subset=["rank"]))
        place = f"rank {row['rank']} of {ranked} (95 % range {row['rank_low']}–{row['rank_high']})"
    return f": {place}" + (f", in the place of {earlier[-1].submission[:12]}" if earlier else "")


def with_unit(value: float, unit: str) -> str:
    """A number and its unit, which is left out where it is one."""
    return number(value) if unit == "1" else f"{number(value)} {unit}"


def discretisation(hub: Hub, spec: BenchmarkSpec) -> str:
    """The discretisation error of the labels, as one line; empty if none is declared."""
    error = spec.discretisation_error
    if error is None:
        return ""
    unit = "1" if error.metric is None else hub.metric(spec, error.metric).unit
    return discretisation_in_words(error, unit)
