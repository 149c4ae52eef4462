"""What the hub holds: benchmarks with their leaders, datasets, the newest submissions."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas as pd
import streamlit as st
from dashboard import cached, state
from dashboard.page import guarded, show_left_out
from dashboard.panels import benchmark_picture
from dashboard.text import literal, shortened
from streamlit.delta_generator import DeltaGenerator

from etchmark.api import (
    Hub,
    RecentSubmission,
    View,
    doubts_in_words,
    open_hub,
    statements,
    why_none,
)
from etchmark.specs import BenchmarkSpec
from etchmark.text import number, span

NEWEST = 8
IN_A_ROW = 3
# Status of models that this hub ran. A string alone on a line would be shown on the page.
RUN = ("run", "verified")
UNCHECKED = {
    "scored": "from a predictions file; the model was not run here",
    "reported": "as its submitter reports it; nothing was checked",
}


def main() -> None:
    if set(st.query_params) & set(state.BOARD_KEYS):
        # A link to a board from when that was the first page.
        st.switch_page("app_pages/leaderboard.py", query_params=dict(st.query_params))
    st.title("etchmark", anchor=False)
    st.markdown(
        "Datasets, benchmarks and a leaderboard for machine learning on material microstructures:"
        " fixed splits, one harness that scores every model the same way, and what the scores do"
        " and do not prove."
    )
    state.follow_link()
    hub = open_hub()
    names = state.benchmark_names(hub)
    show_counts(hub, len(names))
    places: dict[str, DeltaGenerator] = {}
    for start in range(0, len(names), IN_A_ROW):
        columns = st.columns(IN_A_ROW)
        for column, name in zip(columns, names[start : start + IN_A_ROW], strict=False):
            with column, st.container(border=True, height="stretch"), guarded():
                show_benchmark(hub, hub.benchmark(name), places)
    show_newest(hub)
    show_left_out(hub)
    # Ranks take longest, so everything else is shown before they are computed.
    for name, place in places.items():
        with place, guarded():
            show_statements(hub, hub.benchmark(name))


def show_counts(hub: Hub, benchmarks: int) -> None:
    submissions, models = cached.counts(hub)
    counts = {
        "Benchmarks": benchmarks,
        "Datasets": len(hub.datasets()),
        "Models": models,
        "Submissions": submissions,
    }
    with st.container(horizontal=True):
        for label, count in counts.items():
            st.metric(label, f"{count:,}", border=True, width=150)


def show_benchmark(hub: Hub, spec: BenchmarkSpec, places: dict[str, DeltaGenerator]) -> None:
    st.markdown(f"**{literal(spec.title)}**")
    ranked = cached.board(hub, spec, headline(spec)).leaders()
    leader = str(ranked["submission"].iloc[0]) if len(ranked) else None
    benchmark_picture.show(hub, spec, leader)
    if leader is not None:
        st.markdown("  \n".join(leader_lines(hub, spec, ranked)))
        places[spec.id] = st.empty()
    else:
        st.markdown("No submission yet.")
    st.page_link(
        "app_pages/leaderboard.py",
        label="Leaderboard",
        icon=":material/leaderboard:",
        query_params={"benchmark": spec.id},
    )


def leader_lines(hub: Hub, spec: BenchmarkSpec, ranked: pd.DataFrame) -> list[str]:
    """The leader, its flags, whether this hub ran it, and its score over the grid's error."""
    first, *others = ranked.to_dict("records")
    lines = [score_line(hub, spec, first), *flag_lines(first)]
    if first["status"] in UNCHECKED:
        lines.append(f":material/info: **{first['status']}**: {UNCHECKED[first['status']]}")
        run = next((row for row in others if row["status"] in RUN), None)
        if run is not None:
            lines += [f"Best of those run here: {score_line(hub, spec, run)}", *flag_lines(run)]
    error = spec.discretisation_error
    size = error and error.size_on(spec.primary_metric, spec.protocols[spec.headline].split)
    if size is not None:
        times = float(f"{first['score'] / size:.2g}")
        lines.append(f"{times:,g} times the discretisation error of the labels")
    return lines


def flag_lines(row: dict[Hashable, Any]) -> list[str]:
    """A line that names the flags of a row; none if it has none."""
    words = doubts_in_words(row["flags"], row["role"])
    return [f":material/flag: flagged: {literal(words)}"] if words else []


def score_line(hub: Hub, spec: BenchmarkSpec, row: dict[Hashable, Any]) -> str:
    """A model with its score and interval."""
    unit = hub.metric(spec, spec.primary_metric).unit
    score = number(row["score"]) + ("" if unit == "1" else f" {unit}")
    interval = span(row["ci_low"], row["ci_high"])
    if interval == "–":
        interval = why_none(row["units"], spec.unit_names)
    return (
        f"{literal(shortened(row['model'], 60))}: "
        f"{literal(spec.primary_metric)} **{literal(score)}** ({literal(interval)})"
    )


def headline(spec: BenchmarkSpec) -> View:
    return View(spec.headline, metric=spec.primary_metric)


def show_statements(hub: Hub, spec: BenchmarkSpec) -> None:
    """Which submissions may be the best, and what the first gains over the reference."""
    frame = cached.standings(hub, spec, headline(spec))
    # One element: its place on the page holds no more.
    st.markdown(literal(" ".join(statements(spec, frame))))


def show_newest(hub: Hub) -> None:
    """A line for each, which links to the model in full."""
    newest = hub.newest(NEWEST)
    if not newest:
        return
    st.subheader("Newest submissions", anchor=False)
    with st.container(gap="xsmall"):
        for recent in newest:
            st.page_link(
                "app_pages/leaderboard.py",
                label=recent_label(hub, recent),
                icon=":material/article:",
                query_params=recent_link(recent),
            )


def recent_label(hub: Hub, recent: RecentSubmission) -> str:
    """A submission as one line of Markdown."""
    title = state.benchmark_title(hub, recent.benchmark)
    where = f"{title} ({recent.track}, {recent.protocol}), {recent.created:%Y-%m-%d}"
    return f"**{literal(shortened(recent.name, 60))}**  {literal(where)}"


def recent_link(recent: RecentSubmission) -> state.Link:
    """The view that shows a submission in full."""
    link = {"benchmark": recent.benchmark, "protocol": recent.protocol}
    link["model"] = recent.submission[: state.SHORT]
    # A superseded row is hidden otherwise.
    return link | ({"all": "1"} if recent.superseded else {})


main()
