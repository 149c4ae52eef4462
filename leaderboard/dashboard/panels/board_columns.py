"""Columns of the table of a leaderboard: what they hold, how they are shown, and in which group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.charts.intervals import interval_bars
from dashboard.text import shortened
from dashboard.wording import metric_title
from etchmark.api import COMPARED, MetricInfo, called, doubts_in_words, predicted_piece, seeds_text
from etchmark.specs import UNRANKED_ROLES, BenchmarkSpec
from etchmark.text import number

BAR, EXTRA, WITHIN, UNIT = "bar", "on ", "in ", "of "
OWN, EQUIVALENT = "own", "solver"
ALWAYS = ("rank", "title", "model")
GROUPS = {
    "accuracy": (
        "Accuracy",
        (
            "flags",
            "role",
            "split",
            BAR,
            "range",
            "best",
            "gain",
            "track",
            "low",
            "high",
            "folds",
            "note",
        ),
    ),
    "generalisation": ("Generalisation", ("split", "track")),
    "cost": ("Cost", (BAR, *COMPARED, "flops", OWN, EQUIVALENT)),
    "provenance": (
        "Provenance",
        ("status", "role", "track", "seeds", "n", "units", "date", "note"),
    ),
}
"""Groups of columns: their title, and what they show beside what all of them show."""
TEXTS = {"title": ("model", 180, 470), "model": ("name", 120, 300)}
"""Columns of texts: their title, and the pixels that they have at least and at most."""
LETTER_PX, PADDING_PX = 5.8, 18
"""Pixels of a letter in a table, and of what is beside the text of a cell."""
MOST_SHADED = 50_000
"""Cells of a table up to which scores are shaded."""


@dataclass(frozen=True)
class Places:
    """Scores of the rows beside those they are ranked by: a row per submission, a column each.

    Attributes:
        splits: the protocol's other splits.
        subsets: declared subsets of the headline split.
        units: its independent units, where these are few.
    """

    splits: pd.DataFrame
    subsets: pd.DataFrame
    units: pd.DataFrame


def board_table(frame: pd.DataFrame, places: Places, metric: str) -> pd.DataFrame:
    """The rows as they are shown; columns that hold nothing are left out."""
    ranked = frame["rank"].notna()
    spans = frame["rank_low"].astype(str) + "–" + frame["rank_high"].astype(str)
    table = pd.DataFrame(
        {
            # A phone shows the first three without scrolling, long names cut off.
            "rank": frame["rank"],
            metric: frame["score"],
            "title": [
                shortened(called({"title": title, "model": name}), 100)
                for title, name in zip(frame["title"], frame["model"], strict=True)
            ],
            "gain": frame["gain"],
            "best": ["may be" if best is True else None for best in frame["may_be_best"].tolist()],
            # Units are unknown where each row has the score of another split.
            BAR: interval_bars(frame) if frame["units"].notna().any() else None,
            "range": spans.where(ranked & frame["rank_low"].notna(), None),
            # The same in all rows, unless they are ranked by the worst.
            "split": frame["split"],
            **{
                f"{before}{name}": scores[name].reindex(frame["submission"]).to_numpy()
                for before, scores in (
                    (EXTRA, places.splits),
                    (WITHIN, places.subsets),
                    (UNIT, places.units),
                )
                for name in scores.columns
                if any(scores[name].notna().tolist())
            },
            **{column: frame[column] for column in COMPARED},
            "flops": frame["flops"],
            "flags": [
                doubts_in_words(flags, role) or None
                for flags, role in zip(frame["flags"].tolist(), frame["role"].tolist(), strict=True)
            ],
            "role": frame["role"],
            "model": [shortened(name, 100) for name in frame["model"]],
            "track": frame["track"],
            "low": frame["ci_low"],
            "high": frame["ci_high"],
            "seeds": _seeds_texts(frame),
            "folds": _fold_texts(frame),
            "status": frame["status"],
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
        "range",
        "best",
        "gain",
        "flags",
    ]
    empty = [name for name in optional if not any(table[name].notna().tolist())]
    # A column that holds the same word in every row says nothing.
    same = [name for name in ("split", "track", "role") if len(set(table[name])) == 1]
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


def title_of(column: str) -> str:
    """Title of a column of scores on a split, a subset or a unit."""
    if column.startswith(UNIT):
        return column.removeprefix(UNIT).replace("_", " ")
    return column.removeprefix(EXTRA).removeprefix(WITHIN)


def decimals(frame: pd.DataFrame) -> str:
    """A format in which the scores of a board align: the best one has four significant digits."""
    scores = frame["score"].dropna().astype(float).abs()
    first = float(scores.iloc[0]) if len(scores) else 1.0
    if not 1e-6 < first < 1e6:
        return "%.4g"
    return f"%.{max(0, 3 - math.floor(math.log10(first)))}f"


def is_place(column: str) -> bool:
    """Whether a column holds scores on another split, on a subset or on a unit."""
    return column.startswith((EXTRA, WITHIN, UNIT))


def belongs(column: str, group: str, metric: str) -> bool:
    """Whether a column is shown in a group."""
    if column == metric or column in ALWAYS:
        return True
    if is_place(column):
        return group == "generalisation"
    return column in GROUPS[group][1]


def heat(table: pd.DataFrame, columns: Sequence[str], higher_is_better: bool) -> Any:
    """The table with scores shaded, column by column: the darker, the better within its column."""

    def shade(column: pd.Series) -> list[str]:
        values = column.to_numpy(dtype=float, na_value=math.nan)
        known = np.isfinite(values)
        places = np.full(len(values), math.nan)
        # By rank: a few scores that are far off would leave all others one colour.
        order = np.argsort(np.argsort(values[known] * (-1 if higher_is_better else 1)))
        places[known] = 1 - order / max(1, int(known.sum()) - 1)
        return [
            "" if math.isnan(place) else f"background-color: rgba(0, 114, 178, {0.45 * place:.2f})"
            for place in places.tolist()
        ]

    if table.size > MOST_SHADED:
        return table
    return table.style.apply(shade, subset=list(columns))


def wide_texts(table: pd.DataFrame) -> dict[str, Any]:
    """Settings of the columns of texts that are as wide as the longest text, within limits."""
    widths = {
        name: min(most, max(least, round(LETTER_PX * table[name].str.len().max() + PADDING_PX)))
        for name, (_, least, most) in TEXTS.items()
    }
    return {
        name: st.column_config.TextColumn(TEXTS[name][0], width=width)
        for name, width in widths.items()
    }


def column_config(spec: BenchmarkSpec, metric: MetricInfo, aligned: str) -> dict[str, Any]:
    real, each = "%.4g", predicted_piece(spec)
    config = st.column_config
    return {
        "rank": config.NumberColumn(width=50, pinned=True),
        "range": config.TextColumn("rank range", width=80, help="95 % range of the rank"),
        "best": config.TextColumn(
            width=62,
            help="no test finds the row behind a better one by a difference that matters",
        ),
        "gain": config.NumberColumn(
            "gain / %", format="%.1f", width=70, help=f"over {spec.gains_over}, positive is better"
        ),
        "flags": config.TextColumn(
            width=135, help="doubts, which change no rank; the model's page has them in full"
        ),
        "split": config.TextColumn("worst split", width=110),
        "role": config.TextColumn(help="only entries and references are ranked", width=80),
        "track": config.TextColumn(width=130),
        metric.id: config.NumberColumn(metric_title(metric), format=aligned, width=90),
        "low": config.NumberColumn("95 % low", format=aligned),
        "high": config.NumberColumn("95 % high", format=aligned),
        BAR: config.ImageColumn("95 % interval", width=125, help="all rows on one scale"),
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
