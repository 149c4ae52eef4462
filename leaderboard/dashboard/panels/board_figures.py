"""The figures below a leaderboard, one at a time."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import cached, state
from dashboard.charts.intervals import ScoreAxis, interval_plot
from dashboard.charts.style import MAX_ROWS
from dashboard.page import show_figure
from dashboard.panels import costs, curves
from dashboard.state import Link
from dashboard.text import literal
from dashboard.views import view_of
from dashboard.wording import metric_label
from etchmark.api import Hub, View
from etchmark.specs import BenchmarkSpec

FIGURES = {
    "intervals": "Scores with intervals",
    "needs": "Learning curves",
    "costs": "Costs",
    "predictions": "Predictions",
}
"""Titles by the key of the link."""


def show(hub: Hub, spec: BenchmarkSpec, ranked: pd.DataFrame, link: Link) -> None:
    """One figure: drawing them all would keep the browser busy at every change."""
    track = None if link["track"] == state.ALL_TRACKS else link["track"]
    view = View(link["protocol"], track=track)
    target = view_of(spec)
    available = {
        "intervals": True,
        "needs": curves.exist(hub, spec, ranked, view),
        "costs": bool(costs.known(ranked)),
        "predictions": target.has_predictions(spec),
    }
    names = [name for name, present in available.items() if present]
    figure = state.choose(
        st.segmented_control,
        "Figure",
        "figure",
        names,
        names[0],
        required=True,
        format_func=lambda name: FIGURES[name],
        label_visibility="collapsed",
    )
    if figure != names[0]:
        link["figure"] = figure
    if figure == "intervals":
        show_intervals(hub, spec, ranked, View(link["protocol"], metric=link["metric"]))
    elif figure == "needs":
        curves.show(hub, spec, ranked, view)
    elif figure == "costs":
        costs.show(hub, spec, ranked, link)
    else:
        target.show_predictions(hub, spec, ranked, view)


def show_intervals(hub: Hub, spec: BenchmarkSpec, ranked: pd.DataFrame, view: View) -> None:
    """Scores with intervals, reference lines and the discretisation error of the labels."""
    protocol, metric = view.protocol or spec.headline, view.metric or spec.primary_metric
    lines = cached.references(hub, spec, view)
    references = [(line.label, value) for line, value in lines]
    declared = spec.discretisation_error
    band = declared and declared.size_on(metric, spec.protocols[protocol].split)
    drawn = [value for _, value in references] + ([] if band is None else [band])
    axis = ScoreAxis.of(ranked, drawn)
    title = metric_label(hub.metric(spec, metric))
    show_figure(interval_plot(ranked, references, title, axis, band), "intervals")
    notes = []
    if len(ranked) > MAX_ROWS:
        notes.append(f"The plot shows the first {MAX_ROWS} of {len(ranked)}.")
    if beyond := axis.count_beyond(ranked):
        notes.append(f"{beyond} of the rows reach beyond the axis; the table has their values.")
    notes += [f"{literal(line.label)}: {literal(line.note)}." for line, _ in lines if line.note]
    if notes:
        st.caption(" ".join(notes))
