"""The figures below a leaderboard, one at a time."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import cached, state
from dashboard.charts.intervals import ScoreAxis, interval_plot
from dashboard.charts.style import MAX_ROWS
from dashboard.page import show_figure, show_table
from dashboard.panels import costs, curves
from dashboard.state import Link
from dashboard.terms import linked
from dashboard.text import literal
from dashboard.views import view_of
from dashboard.wording import metric_label
from etchmark.api import Hub, View
from etchmark.specs import BenchmarkSpec

FIGURES = {
    "costs": "Costs",
    "needs": "Learning curves",
    "predictions": "Predictions",
    "intervals": "Scores with intervals",
}
"""Titles by the key of the link. The table has the intervals already, so these come last."""


def show(hub: Hub, spec: BenchmarkSpec, ranked: pd.DataFrame, link: Link, scored: View) -> None:
    """One figure, since drawing them all would keep the browser busy; on paper all of them.

    Args:
        hub: where it is read.
        spec: the benchmark.
        ranked: ranked rows of the board, best first.
        link: the view as the link has it.
        scored: which scores the rows are ranked by.
    """
    track = None if link["track"] == state.ALL_TRACKS else link["track"]
    view = View(link["protocol"], track=track)
    available = {
        "costs": costs.exist(ranked),
        "needs": curves.exist(hub, spec, ranked, view),
        "predictions": view_of(spec).has_predictions(spec),
        "intervals": True,
    }
    names = [name for name in FIGURES if available[name]]
    if "print" in link:
        for name in names:
            st.header(FIGURES[name], anchor=False)
            _show(name, hub, spec, ranked, link, scored)
        return
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
    _show(figure, hub, spec, ranked, link, scored)


def _show(
    figure: str, hub: Hub, spec: BenchmarkSpec, ranked: pd.DataFrame, link: Link, scored: View
) -> None:
    track = None if link["track"] == state.ALL_TRACKS else link["track"]
    view = View(link["protocol"], track=track)
    if figure == "intervals":
        show_intervals(hub, spec, ranked, scored)
    elif figure == "needs":
        curves.show(hub, spec, ranked, view)
    elif figure == "costs":
        costs.show(hub, spec, ranked, link)
    else:
        view_of(spec).show_predictions(hub, spec, ranked, view)


def show_intervals(hub: Hub, spec: BenchmarkSpec, ranked: pd.DataFrame, view: View) -> None:
    """Scores with intervals, reference lines and the discretisation error of the labels."""
    protocol, metric = view.protocol or spec.headline, view.metric or spec.primary_metric
    # Reference lines and the discretisation error hold for whole splits.
    lines = [] if view.subset is not None else cached.references(hub, spec, view)
    references = [(line.label, value) for line, value in lines]
    declared = None if view.subset is not None else spec.discretisation_error
    band = declared and declared.size_on(metric, view.split or spec.protocols[protocol].split)
    drawn = [value for _, value in references] + ([] if band is None else [band])
    axis = ScoreAxis.of(ranked, drawn)
    title = metric_label(hub.metric(spec, metric))
    show_figure(interval_plot(ranked, references, title, axis, band), "intervals")
    show_table(_drawn(ranked, references), "intervals-table")
    notes = []
    if band is not None and band > axis.low:
        grey = "The grey band ends at the discretisation error of the labels."
        notes.append(linked(grey, {"discretisation error": "discretisation-error"}, spec.id))
    if len(ranked) > MAX_ROWS:
        notes.append(f"The plot shows the first {MAX_ROWS} of {len(ranked)}.")
    if beyond := axis.count_beyond(ranked):
        notes.append(f"{beyond} of the rows reach beyond the axis; the table has their values.")
    notes += [f"{literal(line.label)}: {literal(line.note)}." for line, _ in lines if line.note]
    if notes:
        st.caption(" ".join(notes))


def _drawn(ranked: pd.DataFrame, references: list[tuple[str, float]]) -> pd.DataFrame:
    """What the figure draws: rows with their intervals, then reference lines, which have none."""
    columns = ["rank", "rank_low", "rank_high", "model", "track", "status"]
    shown = pd.DataFrame(ranked[[*columns, "score", "ci_low", "ci_high"]].head(MAX_ROWS))
    lines = pd.DataFrame(
        {
            "model": [name for name, _ in references],
            "status": "reference line",
            "score": pd.array([value for _, value in references], dtype="Float64"),
        }
    )
    return pd.concat([shown, lines], ignore_index=True) if references else shown
