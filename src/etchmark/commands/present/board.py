"""The board of a benchmark, as text, JSON or CSV."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping
from textwrap import shorten
from typing import Any

import pandas as pd

from etchmark.api import (
    COMPARED,
    Hub,
    Solver,
    View,
    Where,
    cost_text,
    coverage_in_words,
    doubts_in_words,
    predicted_piece,
    seconds_each,
    seeds_text,
    statements,
    to_records,
    unknown_costs,
)
from etchmark.commands.present.scores import discretisation, table, why_dashes
from etchmark.specs import BenchmarkSpec
from etchmark.text import csv_text, number, one_line, plain, print_json, span

NAME_WIDTH = 60
"""Characters of a model's name on a printed board; baselines' names are shorter."""


def show_json(frame: pd.DataFrame) -> None:
    print_json(to_records(frame))


def show_csv(frame: pd.DataFrame) -> None:
    print(csv_text(frame), end="")


def show_empty(hub: Hub, spec: BenchmarkSpec, view: View, where: Where) -> None:
    """Why no row is shown, and what to do about it."""
    place = f" in track {view.track}" if view.track else ""
    if where == Where():
        hint = f"`etchmark submit` and `etchmark evaluate MODEL {spec.id}` add one"
        print(f"no submission to {spec.key}{place} yet; {hint}", file=sys.stderr)
        return
    rows = to_records(hub.standings(spec, view, everything=True))
    tags = sorted({tag for row in rows for tag in row["tags"]})
    if strange := [tag for tag in where.tags if tag not in tags]:
        hint = f"choose from: {', '.join(map(one_line, tags))}" if tags else "none has a tag"
        print(
            f"no submission to {spec.key}{place} has the tag {strange[0]!r}; {hint}",
            file=sys.stderr,
        )
    else:
        print(f"no submission to {spec.key}{place} passes all filters; drop some", file=sys.stderr)


def show_worst(spec: BenchmarkSpec, frame: pd.DataFrame) -> None:
    """The rows by the split on which each does worst."""
    first = frame.iloc[0]
    unit = "" if first["unit"] == "1" else f" in {first['unit']}"
    print(f"{spec.key}: {one_line(spec.title)}")
    print(
        f"protocol {first['protocol']}, the worst split of each row, {first['metric']}{unit}; rows"
        " are judged on different samples, so there is no interval and no test"
    )
    rows = [["rank", "model", "track", first["metric"], "worst split"]]
    for row in to_records(frame):
        score = "–" if row["score"] is None else number(row["score"])
        rank = "–" if row["rank"] is None else str(row["rank"])
        name = shorten(plain(row["model"]), NAME_WIDTH, placeholder="…")
        rows.append([rank, name, row["track"], score, row["split"] or "–"])
    print(table(rows))


def show(
    hub: Hub,
    spec: BenchmarkSpec,
    view: View,
    frame: pd.DataFrame,
    solver: Solver | None,
    *,
    everything: bool,
) -> None:
    """The rows, best first, and what they are to be compared with."""
    first = frame.iloc[0]
    print(f"{spec.key}: {one_line(spec.title)}")
    current, *older = hub.versions(spec.id)
    if spec.key != current:
        print(f"superseded by {current}: `etchmark leaderboard {spec.id}`")
    among = f", subset {view.subset}" if view.subset else ""
    among += f", {first['metric']}" + ("" if first["unit"] == "1" else f" in {first['unit']}")
    print(
        f"protocol {first['protocol']}, split {first['split']}{among},"
        f" 95 % interval and rank range over {first['units']} {spec.unit_names}"
    )
    head = [
        "rank",
        "range",
        "best",
        "gain %",
        "model",
        "track",
        first["metric"],
        "95 % interval",
        "status",
        "cpu s",
        "ref units",
        "parameters",
    ]
    # Only where there is something to say.
    with_role = len(set(frame["role"])) > 1
    with_note = everything or bool(frame["rank"].isna().any())
    if solver is not None:
        head += [f"per {predicted_piece(spec)}", "solver as accurate"]
    records = frame.to_dict(orient="records")
    doubts = [doubts_in_words(row["flags"], row["role"]) for row in records]
    after, beside = head.index("model") + 1, head.index("95 % interval") + 1
    with_seeds = any(row["seeds"] > 1 for row in records)
    if with_seeds:
        head.insert(beside, "seeds")
    if any(doubts):
        head.insert(after, "flags")
    rows = [[*head, *["role"] * with_role, *["note"] * with_note]]
    for row, words in zip(records, doubts, strict=True):
        cells = _row(row)
        if solver is not None:
            cells += [seconds_each(row) or "–", solver.short(row)]
        if with_seeds:
            cells.insert(beside, seeds_text(row))
        if any(doubts):
            cells.insert(after, words)
        rows.append([*cells, *[str(row["role"])] * with_role, *[_unranked(row)] * with_note])
    print(table(rows))
    if any(doubts):
        print("flags are doubts and change no rank; --json has them in full")
    dashes = frame.loc[frame["score"].notna() & frame["ci_low"].isna(), "units"]
    for reason in why_dashes(spec, dashes.tolist()):
        print(reason)
    shown = View(first["protocol"], first["split"], first["metric"], subset=view.subset)
    coverage = coverage_in_words(hub.coverage(spec, shown))
    if coverage is not None and any(frame["ci_low"].notna().tolist()):
        print(f"intervals: {coverage}")
    for statement in statements(spec, frame):
        print(one_line(statement))
    if (unknown := unknown_costs(frame)) is not None:
        print(f"costs: {unknown}")
    if view.subset is None:
        _show_references(hub, spec, shown)
    error = spec.discretisation_error
    shown_here = (str(first["metric"]), str(first["split"]))
    if error and (error.unknown or error.size_on(*shown_here) is not None):
        print(f"discretisation error: {discretisation(hub, spec)}")
    if spec.key == current and older:
        print(f"(earlier versions have boards of their own: {', '.join(older)})")
    if not everything:
        print("(--all also shows failed, incomplete and superseded submissions)")


def _row(row: Mapping[Hashable, Any]) -> list[str]:
    ranked = not pd.isna(row["rank"])
    return [
        str(row["rank"]) if ranked else "–",
        f"{row['rank_low']}–{row['rank_high']}" if ranked else "–",
        "may be" if row["may_be_best"] is True else "",
        "" if pd.isna(row["gain"]) else f"{row['gain']:.0f}",
        _short_name(row["model"]),
        row["track"],
        number(row["score"]),
        span(row["ci_low"], row["ci_high"]),
        row["status"] if row["outcome"] == "ok" else "failed",
        *(cost_text(row, column) for column in COMPARED),
    ]


def _short_name(name: str) -> str:
    """A name on one line; where it is cut, it shows that."""
    shown = one_line(name)
    return shown if len(shown) <= NAME_WIDTH else f"{shown[: NAME_WIDTH - 1]}…"


def _unranked(row: Mapping[Hashable, Any]) -> str:
    """Why a row has no rank; empty if it has one."""
    if row["outcome"] != "ok":
        return f"failed: {shorten(plain(str(row['reason'])), 60, placeholder='…')}"
    if row["superseded"]:
        return "superseded by a newer submission of the same name"
    if pd.isna(row["score"]):
        return "no score here"
    if not pd.isna(row["rank"]):
        return ""
    why = plain(str(row["reason"])) if isinstance(row["reason"], str) else row["role"]
    return f"listed apart: {shorten(why, 100, placeholder='…')}"


def _show_references(hub: Hub, spec: BenchmarkSpec, view: View) -> None:
    """Reference lines that stand in no row of the board."""
    unit = hub.metric(spec, view.metric or spec.primary_metric).unit
    for declared, value in hub.references(spec, view):
        if declared.value is None and declared.benchmark is None:
            continue
        shown = number(value) + ("" if unit == "1" else f" {unit}")
        track = f", track {declared.track}," if declared.track else ""
        where = f" ({declared.model or 'best'}{track} on {declared.benchmark})"
        line = f"{declared.label} {shown}{where if declared.benchmark else ''}"
        line += f"; {declared.note}" if declared.note else ""
        line += f"; {declared.source.title}" if declared.source else ""
        print(f"reference: {one_line(line)}")
