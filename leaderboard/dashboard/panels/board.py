"""The table of a leaderboard: a click on a row opens it beside the table, checked rows compare."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dashboard import markup, state
from dashboard.panels import printed
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
)
from dashboard.panels.compared import MAX_MODELS, in_link
from dashboard.state import Link
from etchmark.api import WORST, Hub, Solver, seconds_each
from etchmark.specs import BenchmarkSpec

TABLE = "board-table"
"""Where a reader without a mouse skips to."""
TALL = 24
"""Rows that the table shows at once."""


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
    if "print" in link:
        printed.show(table, frame, hub.metric(spec, link["metric"]))
        return
    columns = choose_columns(table, link)
    # A selected row number means nothing in another view, so each view has a table of its own.
    view = repr((list(frame["submission"]), link))
    key = f"board-{hashlib.sha256(view.encode()).hexdigest()[:16]}"

    def on_select() -> None:
        # A cell that is clicked opens its row; the boxes in front mark rows to compare.
        cells = st.session_state[key]["selection"]["cells"]
        if cells and cells[0][0] < len(frame):
            st.session_state["pick-model"] = str(frame["submission"].iloc[cells[0][0]])

    marked = st.session_state.get(key, {}).get("selection", {}).get("rows", [])
    show_compare(frame, marked, link)
    metric = hub.metric(spec, link["metric"])
    config = column_config(spec, metric, decimals(frame))
    shaded = [name for name in columns if is_place(name)]
    config |= {
        name: st.column_config.NumberColumn(title_of(name), format=decimals(frame))
        for name in shaded
    }
    markup.place(TABLE)
    st.dataframe(
        heat(table[columns], [metric.id, *shaded], metric.higher_is_better) if shaded else table,
        hide_index=True,
        column_order=columns,
        column_config=config,
        height="content" if len(table) <= TALL else 36 * TALL,
        on_select=on_select,
        selection_mode=["multi-row", "single-cell"],
        placeholder="–",
        key=key,
    )


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
