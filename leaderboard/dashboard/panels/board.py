"""The table of a leaderboard; a click on a row picks the model that is shown below it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import isnan
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts.intervals import interval_bars
from dashboard.state import Link
from dashboard.text import shortened
from dashboard.wording import metric_title
from etchmark.api import (
    COMPARED,
    Hub,
    MetricInfo,
    Solver,
    doubts_in_words,
    predicted_piece,
    seconds_each,
    seeds_text,
)
from etchmark.specs import UNRANKED_ROLES, BenchmarkSpec
from etchmark.text import number

TALL = 24
"""Rows that the table shows at once."""
BAR, EXTRA = "bar", "on "
OWN, EQUIVALENT = "own", "solver"


def show(
    hub: Hub,
    spec: BenchmarkSpec,
    frame: pd.DataFrame,
    elsewhere: pd.DataFrame,
    link: Link,
    solver: Solver | None = None,
) -> None:
    """The table.

    Args:
        hub: where metrics are known.
        spec: the benchmark.
        frame: rows to show, best first.
        elsewhere: scores on other splits, one row per submission, one column per split.
        link: the view.
        solver: what the solver behind the labels costs, where there is one.
    """
    table = board_table(frame, elsewhere, link["metric"])
    if solver is not None:
        rows = frame.to_dict("records")
        table[OWN] = [seconds_each(row) for row in rows]
        table[EQUIVALENT] = [solver.short(row) for row in rows]
    # A selected row number means nothing in another view, so each view has a table of its own.
    version = st.session_state.get("board-version", 0)
    view = repr((list(frame["submission"]), link, version))
    key = f"board-{hashlib.sha256(view.encode()).hexdigest()[:16]}"

    def on_select() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows and rows[0] < len(frame):
            st.session_state["pick-model"] = str(frame["submission"].iloc[rows[0]])

    st.dataframe(
        table,
        hide_index=True,
        column_config=column_config(
            spec, hub.metric(spec, link["metric"]), list(elsewhere.columns)
        ),
        height="content" if len(table) <= TALL else 36 * TALL,
        on_select=on_select,
        selection_mode="single-row",
        placeholder="–",
        key=key,
    )


def board_table(frame: pd.DataFrame, elsewhere: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows as they are shown; columns that hold nothing are left out."""
    ranked = frame["rank"].notna()
    spans = frame["rank_low"].astype(str) + "–" + frame["rank_high"].astype(str)
    table = pd.DataFrame(
        {
            # A phone shows the first three without scrolling, long names cut off.
            "rank": frame["rank"],
            metric: frame["score"],
            "model": [shortened(name, 100) for name in frame["model"]],
            "flags": [
                doubts_in_words(flags, role) or None
                for flags, role in zip(frame["flags"].tolist(), frame["role"].tolist(), strict=True)
            ],
            "role": frame["role"],
            BAR: interval_bars(frame),
            "range": spans.where(ranked, None),
            "best": ["may be" if best is True else None for best in frame["may_be_best"].tolist()],
            "gain": frame["gain"],
            "track": frame["track"],
            "low": frame["ci_low"],
            "high": frame["ci_high"],
            **{
                f"{EXTRA}{split}": elsewhere[split].reindex(frame["submission"]).to_numpy()
                for split in elsewhere.columns
                if any(elsewhere[split].notna().tolist())
            },
            "seeds": _seeds_texts(frame),
            "folds": _fold_texts(frame),
            "status": frame["status"],
            **{column: frame[column] for column in COMPARED},
            "flops": frame["flops"],
            "n": frame["n"].where(frame["score"].notna()),
            "units": frame["units"].where(frame["score"].notna()),
            "date": frame["date"].str[:10],
            "note": _notes(frame),
        }
    )
    optional = [
        "seeds",
        "folds",
        *COMPARED,
        "flops",
        "note",
        "low",
        "high",
        BAR,
        "best",
        "gain",
        "flags",
    ]
    empty = [name for name in optional if not any(table[name].notna().tolist())]
    # A column that holds the same word in every row says nothing.
    same = [name for name in ("track", "role") if len(set(table[name])) == 1]
    return table.drop(columns=[*empty, *same])


def _notes(frame: pd.DataFrame) -> list[str | None]:
    """Why a row has no rank."""
    columns = (frame[name].tolist() for name in ("outcome", "reason", "superseded", "role"))
    notes: list[str | None] = []
    for outcome, reason, superseded, role in zip(*columns, strict=True):
        if outcome != "ok":
            notes.append("failed: " + shortened(str(reason), 200))
        elif superseded:
            notes.append("superseded")
        else:
            why = role if role in UNRANKED_ROLES else "beyond a limit" if reason else None
            notes.append(f"listed apart: {why}" if why else None)
    return notes


def _seeds_texts(frame: pd.DataFrame) -> list[str | None]:
    """Seeds of each row and the spread of their scores; nothing where no row has several."""
    if not any(count > 1 for count in frame["seeds"].tolist()):
        return [None] * len(frame)
    return [seeds_text(row) for row in frame.to_dict("records")]


def _fold_texts(frame: pd.DataFrame) -> list[str | None]:
    means, deviations = (
        frame[name].to_numpy(dtype=float, na_value=float("nan")).tolist()
        for name in ("fold_mean", "fold_sd")
    )
    return [
        None if isnan(mean) else f"{number(mean)} ± {number(deviation)}"
        for mean, deviation in zip(means, deviations, strict=True)
    ]


def column_config(spec: BenchmarkSpec, metric: MetricInfo, splits: Sequence[str]) -> dict[str, Any]:
    real, each = "%.4g", predicted_piece(spec)
    config = st.column_config
    return {
        "rank": config.NumberColumn(width=50, pinned=True),
        "range": config.TextColumn("rank range", width=85, help="95 % range of the rank"),
        "best": config.TextColumn(width=70, help="no test finds the row behind a better one"),
        "gain": config.NumberColumn(
            "gain / %", format=real, width=75, help=f"over {spec.gains_over}, positive is better"
        ),
        "model": config.TextColumn(width=310),
        "flags": config.TextColumn(
            width=160, help="doubts, which change no rank; the model's page has them in full"
        ),
        "role": config.TextColumn(help="only entries and references are ranked"),
        "track": config.TextColumn(width=130),
        metric.id: config.NumberColumn(metric_title(metric), format=real, width=90),
        "low": config.NumberColumn("95 % low", format=real),
        "high": config.NumberColumn("95 % high", format=real),
        BAR: config.ImageColumn("95 % interval", width=130, help="all rows on one scale"),
        **{f"{EXTRA}{split}": config.NumberColumn(split, format=real) for split in splits},
        "seeds": config.TextColumn(
            help="with how many seeds it was fitted, and the standard deviation of their scores;"
            " the interval of one seed is for that fit, unless a seed changes nothing"
        ),
        "folds": config.TextColumn("mean ± sd over folds"),
        "units": config.NumberColumn(spec.unit_names),
        "status": config.TextColumn(help="run: by this harness; scored: from a predictions file"),
        # Wide enough for five figures: what does not fit would be cut off in front.
        "cpu_seconds": config.NumberColumn(
            "cpu s",
            format=real,
            width=90,
            help="processor time of fitting and predicting, all folds and cores together, without"
            " image features; –: unknown, or not run here",
        ),
        "reference_units": config.NumberColumn(
            "ref units",
            format=real,
            width=90,
            help="processor time divided by that of a fixed piece of work on the same machine, so"
            " that rows of different machines compare; –: unknown, or not run here",
        ),
        "total_parameters": config.NumberColumn(
            "parameters",
            format="compact",
            help="all that a prediction depends on, those fitted elsewhere included; –: unknown",
        ),
        "flops": config.NumberColumn(f"flops per {each}", format="compact"),
        OWN: config.TextColumn(f"per {each}", help="time of a prediction"),
        EQUIVALENT: config.TextColumn(
            "solver as accurate",
            help=f"processor time per {each} of the cheapest setting of the solver that is at least"
            " as accurate; –: none is, or it is the solver itself",
        ),
    }
