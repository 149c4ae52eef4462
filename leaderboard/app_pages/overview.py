"""What the hub holds: benchmarks with their leaders, datasets, the newest submissions."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas as pd
import streamlit as st
from dashboard import parts, pictures
from streamlit.delta_generator import DeltaGenerator

from etchmark.catalog import catalog
from etchmark.registry.store import Store
from etchmark.specs import BenchmarkSpec
from etchmark.targets import metric as metric_by_id
from etchmark.text import number

NEWEST = 8
IN_A_ROW = 3
# Models that were run here. No text may stand alone in a page: it would be shown.
RUN = ("run", "verified")
UNCHECKED = {
    "scored": "from a predictions file; nobody reran the model",
    "reported": "as its submitter reports it; nothing was checked",
}


def main() -> None:
    if set(st.query_params) & set(parts.BOARD_KEYS):
        # A link to a board from when that was the first page.
        st.switch_page("app_pages/leaderboard.py", query_params=dict(st.query_params))
    st.title("etchmark", anchor=False)
    st.markdown(
        "Datasets, benchmarks and a leaderboard for machine learning on material microstructures:"
        " fixed splits, one harness that scores every model alike, and what the scores do and do"
        " not prove."
    )
    parts.follow_link()
    store = parts.open_store()
    names = parts.benchmark_names()
    show_counts(store, len(names))
    places: dict[str, DeltaGenerator] = {}
    for start in range(0, len(names), IN_A_ROW):
        for column, name in zip(
            st.columns(IN_A_ROW), names[start : start + IN_A_ROW], strict=False
        ):
            with column, st.container(border=True, height="stretch"), parts.guarded():
                show_benchmark(parts.benchmark(name), store, places)
    show_newest(store)
    parts.show_left_out(store)
    # Ranks take longest: what can be read at once stands there before them.
    for name, place in places.items():
        with place, parts.guarded():
            st.markdown(parts.literal(contenders(parts.benchmark(name), store)))


def show_counts(store: Store, benchmarks: int) -> None:
    submissions, models = parts.counts(store)
    found = {
        "Benchmarks": benchmarks,
        "Datasets": len(catalog().dataset_names()),
        "Models": models,
        "Submissions": submissions,
    }
    with st.container(horizontal=True):
        for label, count in found.items():
            st.metric(label, f"{count:,}", border=True, width=150)


def show_benchmark(spec: BenchmarkSpec, store: Store, places: dict[str, DeltaGenerator]) -> None:
    st.markdown(f"**{parts.literal(spec.title)}**")
    found = parts.board(spec, store, protocol=spec.headline, metric=spec.primary_metric)
    ranked = found.leaders()
    pictures.show(spec, store, str(ranked["submission"].iloc[0]) if len(ranked) else None)
    if len(ranked):
        st.markdown("  \n".join(leader(spec, ranked)))
        places[spec.id] = st.empty()
    else:
        st.markdown("No submission yet.")
    st.page_link(
        "app_pages/leaderboard.py",
        label="Leaderboard",
        icon=":material/leaderboard:",
        query_params={"benchmark": spec.id},
    )


def leader(spec: BenchmarkSpec, ranked: pd.DataFrame) -> list[str]:
    """Who is first and whether the model was run, and how far that is from what labels can tell."""
    first, *others = ranked.to_dict("records")
    lines = [scored(spec, first)]
    if first["status"] in UNCHECKED:
        lines.append(f":material/info: **{first['status']}**: {UNCHECKED[first['status']]}")
        run = next((one for one in others if one["status"] in RUN), None)
        if run is not None:
            lines.append(f"First of those run here: {scored(spec, run)}")
    floor = spec.label_uncertainty
    split = spec.protocols[spec.headline].split
    if floor is not None and floor.holds_for(spec.primary_metric, split):
        times = float(f"{first['score'] / floor.value:.2g}")
        word = "" if times >= 1 else ": nothing nearer can be told"
        lines.append(f"{times:,g} times the uncertainty of the labels{word}")
    return lines


def scored(spec: BenchmarkSpec, row: dict[Hashable, Any]) -> str:
    """A model with its score and interval."""
    unit = metric_by_id(spec.primary_metric).unit_for(spec.target.unit)
    score = number(row["score"]) + ("" if unit == "1" else f" {unit}")
    interval = f"{number(row['ci_low'])} … {number(row['ci_high'])}"
    return (
        f"{parts.literal(parts.shortened(row['model'], 60))}: "
        f"{parts.literal(spec.primary_metric)} **{parts.literal(score)}**"
        f" ({parts.literal(interval)})"
    )


def contenders(spec: BenchmarkSpec, store: Store) -> str:
    """How many there are, and how many of them are told apart from the first, as on the board."""
    ranked = parts.standings(
        spec, store, track=None, protocol=spec.headline, metric=spec.primary_metric
    )
    return parts.first_place(ranked)


def show_newest(store: Store) -> None:
    """One line each, which leads to the model in full."""
    newest = parts.newest(store, NEWEST)
    if not newest:
        return
    st.subheader("Newest submissions", anchor=False)
    with st.container(gap="xsmall"):
        for one in newest:
            st.page_link(
                "app_pages/leaderboard.py",
                label=one.label,
                icon=":material/article:",
                query_params=one.link,
            )


main()
