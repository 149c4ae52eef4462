"""The tables of a leaderboard: a click on a row opens it beside them, checked rows compare.

Ranked rows come first, then those that their role keeps out of the ranking.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import markup, state
from dashboard.panels import board_apart, printed
from dashboard.panels.board_columns import (
    ALWAYS,
    EQUIVALENT,
    GROUPS,
    OWN,
    Places,
    belongs,
    board_table,
    column_config,
    decimals,
    heat,
    is_place,
    title_of,
    wide_texts,
)
from dashboard.panels.compared import MAX_MODELS, in_link
from dashboard.state import Link
from etchmark.api import WORST, Hub, MetricInfo, Solver, seconds_each
from etchmark.specs import BenchmarkSpec

TABLE = "board-table"
"""Where a reader without a mouse skips to."""
TALL = 24
"""Rows that the table shows at once."""
SHADING = "Shading: within each column, the darker a cell, the better its score among these rows."


def show(
    hub: Hub,
    spec: BenchmarkSpec,
    frame: pd.DataFrame,
    places: Places,
    link: Link,
    solver: Solver | None = None,
) -> None:
    """The table.

    Args:
        hub: where metrics are known.
        spec: the benchmark.
        frame: rows to show, best first.
        places: scores on other splits and on subsets.
        link: the view.
        solver: what the solver behind the labels costs, where there is one.
    """
    table = board_table(frame, places, link["metric"])
    if solver is not None:
        rows = frame.to_dict("records")
        table[OWN] = [seconds_each(row) for row in rows]
        table[EQUIVALENT] = [solver.short(row) for row in rows]
    metric = hub.metric(spec, link["metric"])
    roles = board_apart.roles_of(frame)
    sections = ["", *(role for role in board_apart.KINDS if role in set(roles))]
    if "print" in link:
        for role in sections:
            if role:
                board_apart.introduce(role, spec.id)
            printed.show(pd.DataFrame(table[roles == role]), frame, metric)
        return
    columns = choose_columns(table, link)
    config = column_config(spec, metric, decimals(frame)) | wide_texts(table)
    config |= {
        name: st.column_config.NumberColumn(title_of(name), format=decimals(frame))
        for name in columns
        if is_place(name)
    }
    for role in sections:
        rows = Rows(
            pd.DataFrame(frame[roles == role]), pd.DataFrame(table[roles == role]), role, link
        )
        if role:
            board_apart.introduce(role, spec.id)
        if len(rows.frame):
            _show_rows(rows, columns, config, metric)


@dataclass(frozen=True)
class Rows:
    """The rows of a section.

    Attributes:
        frame: as the board has them.
        table: as they are shown.
        role: for which they are listed apart; empty for the ranked ones.
        link: the view.
    """

    frame: pd.DataFrame
    table: pd.DataFrame
    role: str
    link: Link

    @property
    def key(self) -> str:
        """A selected row number means nothing in another view: each has a table of its own."""
        view = repr((list(self.frame["submission"]), self.link, self.role))
        return f"board-{hashlib.sha256(view.encode()).hexdigest()[:16]}"

    def filled(self, columns: Sequence[str]) -> list[str]:
        """Those of the columns that say something about these rows."""
        left_out = board_apart.EMPTY if self.role else ()
        kept = (*ALWAYS, self.link["metric"])
        return [
            name
            for name in columns
            if name not in left_out and (name in kept or any(self.table[name].notna().tolist()))
        ]


def _show_rows(
    rows: Rows, columns: Sequence[str], config: Mapping[str, Any], metric: MetricInfo
) -> None:
    """A click on a cell opens its row; the boxes in front of ranked rows mark them to compare."""
    frame, table, key = rows.frame, rows.table, rows.key

    def on_select() -> None:
        cells = st.session_state[key]["selection"]["cells"]
        if cells and cells[0][0] < len(frame):
            st.session_state["pick-model"] = str(frame["submission"].iloc[cells[0][0]])

    if not rows.role:
        marked = st.session_state.get(key, {}).get("selection", {}).get("rows", [])
        show_compare(frame, marked, rows.link)
        markup.place(TABLE)
    columns = rows.filled(columns)
    shaded = [name for name in columns if is_place(name)] if not rows.role else []
    st.dataframe(
        heat(table[columns], [metric.id, *shaded], metric.higher_is_better) if shaded else table,
        hide_index=True,
        column_order=columns,
        column_config=dict(config),
        height="content" if len(table) <= TALL else 36 * TALL,
        on_select=on_select,
        # Only ranked rows are compared.
        selection_mode="single-cell" if rows.role else ["multi-row", "single-cell"],
        placeholder="–",
        key=key,
    )
    if shaded:
        st.caption(SHADING)


def show_compare(frame: pd.DataFrame, marked: Sequence[int], link: Link) -> None:
    """A link to the comparison of the rows that are marked."""
    ranked = [row for row in marked if row < len(frame) and pd.notna(frame["rank"].iloc[row])]
    if not marked:
        return
    if not 2 <= len(ranked) <= MAX_MODELS:
        st.caption(f"Mark two to {MAX_MODELS} ranked rows to compare them.")
        return
    submissions = [str(frame["submission"].iloc[row]) for row in ranked]
    asked = {key: link[key] for key in ("benchmark", "protocol", "track", "metric")}
    # Models are compared on one split at a time.
    if link.get("by", WORST) != WORST:
        asked["by"] = link["by"]
    st.page_link(
        "app_pages/compare.py",
        label=f"Compare {len(submissions)}",
        icon=":material/compare:",
        query_params=asked | {"models": in_link(frame.dropna(subset=["rank"]), submissions)},
    )


def choose_columns(table: pd.DataFrame, link: Link) -> list[str]:
    """The columns of the chosen group; the choice becomes part of the link."""
    groups = {
        name: [column for column in table.columns if belongs(column, name, link["metric"])]
        for name in GROUPS
    }
    # A group that shows no more than what all groups show is not offered.
    offered = [name for name in groups if set(groups[name]) - set(ALWAYS) - {link["metric"]}]
    group = state.choose(
        st.segmented_control,
        "Column group",
        "columns",
        offered,
        offered[0],
        required=True,
        format_func=lambda name: GROUPS[name][0],
        label_visibility="collapsed",
    )
    if group != offered[0]:
        link["columns"] = group
    return groups[group]
