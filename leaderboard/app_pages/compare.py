"""Two to four models side by side: differences with intervals, and where each is better."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from dashboard import cached, state
from dashboard.charts.comparison import MAX_GROUPS, difference_plot, error_plot, group_plot
from dashboard.charts.matrices import heat_map
from dashboard.page import show_figure, show_table
from dashboard.panels import compared, places
from dashboard.panels.errors import right_or_wrong
from dashboard.terms import linked
from dashboard.text import literal, shortened
from dashboard.views import view_of
from dashboard.wording import metric_label, metric_title, row_names, with_unit

from etchmark.api import WORST, Comparison, Hub, flags_to_show, open_hub, relation
from etchmark.specs import BenchmarkSpec
from etchmark.text import number


def choose_view(hub: Hub) -> tuple[BenchmarkSpec, state.Link]:
    first, second, third, fourth = st.columns([2, 1, 1, 1])
    with first:
        spec = state.choose_benchmark(hub)
    with second:
        protocol = state.choose_protocol(spec)
    with third:
        metric = state.choose_metric(spec)
    with fourth:
        place = choose_place(spec, protocol)
    link = {"benchmark": state.view()["benchmark"], "protocol": protocol, "metric": metric}
    if place != spec.protocols[protocol].split:
        link["by"] = place
    # Not used here, but kept for the way back to the board.
    if state.view().get("track") in spec.tracks:
        link["track"] = state.view()["track"]
    return spec, link


def choose_place(spec: BenchmarkSpec, protocol: str) -> str:
    """The split or subset on which models are compared."""
    headline = spec.protocols[protocol].split
    if state.view().get("by") == WORST:
        st.caption("Models are compared on one split at a time: here on the headline split.")
        state.view()["by"] = headline
    return state.choose(
        st.selectbox,
        "On",
        "by",
        places.names(spec, protocol),
        headline,
        what="split or subset",
        format_func=lambda place: places.title(spec, protocol, place),
    )


def show_differences(hub: Hub, comparison: Comparison) -> None:
    frame, spec = comparison.differences(), comparison.spec
    unit = hub.metric(spec, comparison.metric).unit
    st.header("Score differences", anchor=False)
    show_figure(difference_plot(frame, with_unit("difference", unit)), "differences")
    for row in frame.to_dict("records"):
        st.markdown(literal(verdict(row, spec, unit)))
    explained = "Told apart: by the test between rows. In brackets: the 95 % interval."
    phrases = {"Told apart": "told-apart", "interval": "interval"}
    st.caption(linked(explained, phrases, spec.id))
    show_table(frame, "difference-table")


def show_flags(ranked: pd.DataFrame, picked: list[str]) -> None:
    """Doubts about the models that are compared."""
    names = row_names(ranked)
    rows = ranked[ranked["submission"].isin(picked)]
    columns = (rows[name].tolist() for name in ("submission", "flags", "role"))
    lines = [
        f"- {literal(names[submission])}: {literal(shortened(flag, 500))}"
        for submission, flags, role in zip(*columns, strict=True)
        for flag in flags_to_show(flags, role)
    ]
    if lines:
        heading = linked("Flags, which are doubts and change no rank:", {"Flags": "flags"})
        st.markdown("\n".join([heading, "", *lines]))


def verdict(row: dict[Hashable, Any], spec: BenchmarkSpec, unit: str) -> str:
    """One line on a pair."""
    value, low, high = (number(row[name]) for name in ("difference", "ci_low", "ci_high"))
    interval = "" if math.isnan(row["ci_low"]) else f" ({low} … {high})"
    difference = f"{value}{interval}".replace("-", "−")
    unit = "" if unit == "1" else f" {unit}"
    p = "" if math.isnan(row["p"]) else f"; p of this pair alone {number(row['p'])}"
    return f"{relation(row, spec.unit_names)}: {difference}{unit}{p}."


def show_samples(hub: Hub, comparison: Comparison) -> None:
    st.header("Sample by sample", anchor=False)
    names = comparison.names
    pairs = [(a, b) for index, a in enumerate(names) for b in names[index + 1 :]]
    pair = pairs[0]
    if len(pairs) > 1:
        pair = st.selectbox(
            "Pair",
            pairs,
            format_func=lambda pair: f"{pair[0]}, {pair[1]}",
            key=f"pair-{'-'.join(names)}",
        )
    errors = comparison.errors(pair)
    title = metric_title(hub.metric(comparison.spec, errors.metric))
    if right_or_wrong(errors.frame[list(pair)].to_numpy(dtype=float).ravel()):
        show_agreement(errors.frame, pair)
        return
    show_figure(error_plot(errors.frame, *pair, title), "errors")
    closer, equal = errors.shares(*pair)
    st.caption(
        literal(
            f"{errors.metric} of each of {len(errors.frame):,} samples. {pair[0]} is closer on"
            f" {closer:.0%} of them, {pair[1]} on {1 - closer - equal:.0%}; points above the line"
            f" are samples on which {pair[0]} is better."
        )
    )
    show_table(errors.frame, "error-table")


def show_agreement(frame: pd.DataFrame, pair: tuple[str, str]) -> None:
    """How many samples both models, one of them or none predicts rightly."""
    first, second = (frame[name].to_numpy(dtype=float) == 0 for name in pair)
    counts = np.array([[np.sum((first == a) & (second == b)) for b in (1, 0)] for a in (1, 0)])
    texts = [[f"{count:,}<br>{count / len(frame):.0%}" for count in row] for row in counts.tolist()]
    answers = ("right", "wrong")
    figure = heat_map(
        counts / len(frame), texts, (answers, answers), (pair[0], pair[1]), limits=(0.0, 1.0)
    )
    show_figure(figure, "errors")
    st.caption(literal(f"{len(frame):,} samples: rows are {pair[0]}, columns are {pair[1]}."))
    show_table(frame, "error-table")


def show_groups(hub: Hub, comparison: Comparison) -> None:
    frame = comparison.by_group()
    if len(frame) < 2:
        return
    st.header("Scores by group", anchor=False)
    title = metric_label(hub.metric(comparison.spec, comparison.metric))
    show_figure(group_plot(frame, comparison.names, title), "groups")
    if len(frame) > MAX_GROUPS:
        st.caption(f"The plot shows {MAX_GROUPS} of {len(frame)} groups, the table all of them.")
    show_table(frame, "group-table")


def show(hub: Hub, spec: BenchmarkSpec, link: state.Link) -> None:
    view = places.view_of(spec, link.get("by"), link["protocol"], link["metric"])
    ranked = cached.standings(hub, spec, view).dropna(subset=["rank"])
    if len(ranked) < 2:
        state.remember(link)
        st.info("Fewer than two ranked submissions here: there is nothing to compare yet.")
        st.page_link("app_pages/submit.py", label="Submit predictions", icon=":material/upload:")
        return
    picked = compared.choose(ranked, link)
    state.remember(link | {"models": compared.in_link(ranked, picked)})
    if len(picked) < 2:
        st.info("Pick at least two models.")
        return
    comparison = hub.comparison(spec, picked, view)
    show_differences(hub, comparison)
    show_flags(ranked, picked)
    view_of(spec).show_side_by_side(comparison)
    show_samples(hub, comparison)
    show_groups(hub, comparison)


def main() -> None:
    st.title("Compare", anchor=False)
    state.follow_link()
    hub = open_hub()
    compared.find_benchmark(hub)
    spec, link = choose_view(hub)
    show(hub, spec, link)


main()
