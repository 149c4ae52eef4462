"""How scores change with training samples or with a setting: curves of several models at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import cached
from dashboard.charts.curves import Point, curve_plot
from dashboard.charts.style import SERIES
from dashboard.page import show_figure, show_table
from dashboard.text import literal, shortened
from dashboard.wording import metric_label
from etchmark.api import Hub, View, to_records
from etchmark.specs import BenchmarkSpec, ResultRecord
from etchmark.specs.cards import TRAINING_CURVE
from etchmark.text import number

SHOWN = len(SERIES)
"""Models in one figure, at most."""


def _of(frame: pd.DataFrame, ranked: pd.DataFrame) -> pd.DataFrame:
    """The rows of the models on the board."""
    return pd.DataFrame(frame[frame["submission"].isin(ranked["submission"].tolist())])


def exist(hub: Hub, spec: BenchmarkSpec, ranked: pd.DataFrame, view: View) -> bool:
    """Whether a model on the board has curves."""
    frame = cached.curves(hub, spec, view)
    return not _of(frame, ranked).empty


def show(hub: Hub, spec: BenchmarkSpec, ranked: pd.DataFrame, view: View) -> None:
    """Curves of the models on the board, in its order; nothing where there are none."""
    frame = _of(cached.curves(hub, spec, view), ranked)
    if frame.empty:
        return
    key = f"{spec.key}-{view.protocol}-{view.track}"
    points = _choose_curve(to_records(frame), key)
    lines = _choose_models(points, _line_names(points, ranked), f"{key}-{points[0]['curve']}")
    if not lines:
        st.info("Pick at least one model.")
        return
    show_figure(curve_plot(lines, metric_label(hub.metric(spec, points[0]["metric"]))), "curves")
    st.caption(caption(spec, points))
    show_table(table(lines), "curve-table")
    _report_withheld(spec, _of(cached.withheld_curves(hub, spec, view), ranked))


def _choose_curve(points: list[Point], key: str) -> list[Point]:
    """The points of one curve; each is told which line it is part of."""
    # One model may be on several tracks.
    several = len({point["track"] for point in points}) > 1
    for point in points:
        point["line"] = f"{point['model']} ({point['track']})" if several else point["model"]
    titles = {point["curve"]: point["title"] for point in points}
    names = sorted(titles, key=lambda name: name != "training-size")
    curve = st.segmented_control(
        "Curve",
        names,
        default=names[0],
        required=True,
        key=f"pick-curve-{key}",
        format_func=lambda name: shortened(titles[name], 60),
        label_visibility="collapsed",
    )
    return [point for point in points if point["curve"] == curve]


def _line_names(points: Sequence[Point], ranked: pd.DataFrame) -> list[str]:
    """Names of the lines in the order of the board."""
    lines = {point["submission"]: point["line"] for point in points}
    order = [lines[name] for name in ranked["submission"].tolist() if name in lines]
    return list(dict.fromkeys(order))


def _choose_models(points: Sequence[Point], names: list[str], key: str) -> dict[str, list[Point]]:
    """Points by line, of the lines that are picked."""
    picked = st.multiselect(
        "Models",
        names,
        default=names[:SHOWN],
        max_selections=SHOWN,
        key=f"curve-models-{key}",
        format_func=lambda name: shortened(name, 60),
    )
    return {name: [point for point in points if point["line"] == name] for name in picked}


def show_one(hub: Hub, spec: BenchmarkSpec, record: ResultRecord) -> None:
    """The curves of one model; nothing where its record holds none."""
    if not record.curves:
        return
    view = View(record.protocol, track=record.track)
    hidden = cached.withheld_curves(hub, spec, view)
    _report_withheld(spec, hidden[hidden["submission"] == record.submission])
    frame = cached.curves(hub, spec, view)
    points = to_records(pd.DataFrame(frame[frame["submission"] == record.submission]))
    if not points:
        return
    titles = {point["curve"]: point["title"] for point in points}
    st.markdown("**Learning curves**")
    for name, column in zip(titles, st.columns(len(titles)), strict=True):
        own = [point for point in points if point["curve"] == name]
        with column:
            title = metric_label(hub.metric(spec, own[0]["metric"]))
            show_figure(curve_plot({titles[name]: own}, title), f"model-curve-{name}")
            st.caption(caption(spec, own))


def _report_withheld(spec: BenchmarkSpec, hidden: Any) -> None:
    """One line on the curves that are not shown; none where all are."""
    if hidden.empty:
        return
    params = ", ".join(shortened(name, 40) for name in sorted(set(hidden["param"])))
    models = sorted(set(hidden["model"]))
    only = shortened(models[0], 60) if len(models) == 1 else "MODEL"
    st.caption(
        f"Curves over {literal(params)} are not shown: they were scored on the test samples, which"
        " must not be used to choose a setting. To measure them inside the training data, run"
        f" `etchmark results run {spec.id} --only {only} --again`."
    )


def shown_json(record: ResultRecord) -> str:
    """A record as JSON, without the curves that are not shown."""
    kept = [curve for curve in record.curves if not curve.on_test_scores]
    return record.model_copy(update={"curves": kept}).model_dump_json(by_alias=True, indent=2)


def caption(spec: BenchmarkSpec, points: Sequence[Point]) -> str:
    """What a point and its bar are."""
    if points[0]["curve"] == TRAINING_CURVE:
        return (
            "Every point is an epoch of the training: what it had taken by then, and the error on"
            " the validation samples. Of several seeds it is the mean, and the bar spans the lowest"
            " to the highest."
        )
    text = "Every point is a run of the whole protocol."
    if points[0]["param"]:
        places = {
            "validation": "the validation samples, which the model was not fitted on",
            "inner folds": "inner folds of the training data",
        }
        scored_on = sorted({point["scored_on"] for point in points})
        scored = " and ".join(places[name] for name in scored_on)
        return (
            f"{text} It is scored on {scored}, so it differs from the score on the board. The bar"
            f" is the 95 % interval over {spec.unit_names}."
        )
    draws = max(point["draws"] for point in points)
    text += (
        f" Below the full set it is the mean of {draws} draws of training samples, the same for"
        " every model, and the bar spans the lowest to the highest."
        if draws > 1
        else " Smaller sets are the same samples for every model."
    )
    return f"{text} At the full set the bar is the 95 % interval over {spec.unit_names}."


def table(lines: Mapping[str, Sequence[Point]]) -> pd.DataFrame:
    """The points that are drawn, and those that have no score with the reason."""
    rows = [
        {
            "model": shortened(name, 100),
            "value": point["value"],
            "training samples": point["samples"],
            point["metric"]: number(point["score"]),
            "from … to": None
            if point["low"] is None
            else f"{number(point['low'])} … {number(point['high'])}",
            "draws": point["draws"],
            "reason": shortened(point["reason"], 200) if point["reason"] else None,
        }
        for name, points in lines.items()
        for point in points
    ]
    return pd.DataFrame(rows).dropna(axis="columns", how="all")
