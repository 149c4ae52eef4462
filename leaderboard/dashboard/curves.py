"""How scores change with training samples or with a setting: curves of several models at once."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard.parts import curves, literal, metric_label, shortened, withheld_curves
from dashboard.plots import (
    BLUE,
    CONFIG,
    GREEN,
    LAYOUT,
    LINEAR,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    colour,
    label,
    log_axis,
)
from etchmark.boards.standings import to_records
from etchmark.registry.store import Store
from etchmark.specs import BenchmarkSpec, ResultRecord
from etchmark.text import number

STYLES = (
    (BLUE, "circle", "solid"),
    (ORANGE, "square", "solid"),
    (GREEN, "diamond", "solid"),
    (VERMILION, "triangle-up", "solid"),
    (PURPLE, "cross", "solid"),
    (SKY, "triangle-down", "solid"),
    (BLUE, "circle-open", "dot"),
    (ORANGE, "square-open", "dot"),
)
SHOWN = len(STYLES)


def styles() -> list[tuple[str, str, str]]:
    """Of several models; the two blues change places on dark ground."""
    other = {BLUE: SKY, SKY: BLUE} if colour() == SKY else {}
    return [(other.get(hue, hue), symbol, dash) for hue, symbol, dash in STYLES]


WIDE = 5.0
"""Largest over smallest score from which their axis is logarithmic."""


Point = dict[str, Any]


def exist(
    spec: BenchmarkSpec, store: Store, ranked: pd.DataFrame, protocol: str, track: str | None
) -> bool:
    """Whether a model on the board has curves."""
    frame = curves(spec, store, protocol=protocol, track=track)
    return bool(frame["submission"].isin(ranked["submission"]).any())


def show(
    spec: BenchmarkSpec, store: Store, ranked: pd.DataFrame, protocol: str, track: str | None
) -> None:
    """Curves of the models on the board, in its order; nothing where there are none."""
    frame = curves(spec, store, protocol=protocol, track=track)
    frame = pd.DataFrame(frame[frame["submission"].isin(ranked["submission"].tolist())])
    if frame.empty:
        return
    points = to_records(frame)
    kept = pd.DataFrame(ranked[ranked["submission"].isin(frame["submission"].tolist())])
    board = {row["submission"]: row for row in kept.to_dict("records")}
    # One model may stand on several tracks.
    several = len({one["track"] for one in points}) > 1
    for one in (*points, *board.values()):
        one["line"] = f"{one['model']} ({one['track']})" if several else one["model"]
    titles = {one["curve"]: one["title"] for one in points}
    names = sorted(titles, key=lambda name: name != "training-size")
    chosen = st.segmented_control(
        "Curve",
        names,
        default=names[0],
        required=True,
        key=f"pick-curve-{spec.id}-{protocol}-{track}",
        format_func=lambda name: shortened(titles[name], 60),
        label_visibility="collapsed",
    )
    points = [one for one in points if one["curve"] == chosen]
    drawn = {one["line"] for one in points}
    known = [row["line"] for row in board.values() if row["line"] in drawn]
    picked = st.multiselect(
        "Models",
        known,
        default=known[:SHOWN],
        max_selections=SHOWN,
        key=f"curve-models-{spec.id}-{protocol}-{track}-{chosen}",
        format_func=lambda name: shortened(name, 60),
    )
    lines = {name: [one for one in points if one["line"] == name] for name in picked}
    if not lines:
        st.info("Pick at least one model.")
        return
    figure = curve_plot(lines, metric_label(spec, points[0]["metric"]))
    st.plotly_chart(figure, width="stretch", config=CONFIG, key="curves")
    st.caption(caption(spec, points))
    with st.expander("As a table"):
        st.dataframe(table(lines), hide_index=True, key="curve-table")
    hidden = withheld_curves(spec, store, protocol=protocol, track=track)
    _tell_withheld(spec, hidden[hidden["submission"].isin(ranked["submission"].tolist())])


def show_one(spec: BenchmarkSpec, store: Store, record: ResultRecord) -> None:
    """The curves of one model; nothing where its record holds none."""
    if not record.curves:
        return
    hidden = withheld_curves(spec, store, protocol=record.protocol, track=record.track)
    _tell_withheld(spec, hidden[hidden["submission"] == record.submission])
    frame = curves(spec, store, protocol=record.protocol, track=record.track)
    points = [one for one in to_records(frame) if one["submission"] == record.submission]
    if not points:
        return
    st.markdown("**What it takes**")
    titles = {one["curve"]: one["title"] for one in points}
    for name, column in zip(titles, st.columns(len(titles)), strict=True):
        lines = {titles[name]: [one for one in points if one["curve"] == name]}
        with column:
            figure = curve_plot(lines, metric_label(spec, lines[titles[name]][0]["metric"]))
            st.plotly_chart(figure, width="stretch", config=CONFIG, key=f"model-curve-{name}")
            st.caption(caption(spec, lines[titles[name]]))


def _tell_withheld(spec: BenchmarkSpec, hidden: Any) -> None:
    """One line on the curves that are not shown; none where all are."""
    if hidden.empty:
        return
    params = ", ".join(shortened(name, 40) for name in sorted(set(hidden["param"])))
    models = sorted(set(hidden["model"]))
    only = shortened(models[0], 60) if len(models) == 1 else "MODEL"
    st.caption(
        f"Curves over {literal(params)} are not shown: they were scored on the test samples, by"
        " which no setting may be chosen. To measure them inside the training data, run"
        f" `etchmark results run {spec.id} --only {only} --again`."
    )


def shown_json(record: ResultRecord) -> str:
    """A record as JSON, without the curves that are not shown."""
    kept = [curve for curve in record.curves if not curve.on_test_scores]
    return record.model_copy(update={"curves": kept}).model_dump_json(by_alias=True, indent=2)


def caption(spec: BenchmarkSpec, points: Sequence[Point]) -> str:
    """What a point and its bar are."""
    said = "Every point is a run of the whole protocol."
    if points[0]["param"]:
        where = {
            "validation": "the validation samples, without which the model is fitted there",
            "inner folds": "inner folds of the training data",
        }
        scored = " and ".join(where[name] for name in sorted({one["scored_on"] for one in points}))
        return (
            f"{said} It is scored on {scored}, so it differs from the score on the board. The bar"
            f" is the 95 % interval over {spec.unit_names}."
        )
    draws = max(one["draws"] for one in points)
    said += (
        f" Below the full set it is the mean of {draws} draws of training samples, the same ones"
        " for every model, and the bar spans the lowest and the highest."
        if draws > 1
        else " Smaller sets are the same samples for every model."
    )
    return f"{said} At the full set the bar is the 95 % interval over {spec.unit_names}."


def table(lines: Mapping[str, Sequence[Point]]) -> pd.DataFrame:
    """The points that are drawn, and those that have no score with the reason."""
    rows = [
        {
            "model": shortened(name, 100),
            "value": one["value"],
            "training samples": one["samples"],
            one["metric"]: number(one["score"]),
            "from … to": None
            if one["low"] is None
            else f"{number(one['low'])} … {number(one['high'])}",
            "draws": one["draws"],
            "why not": shortened(one["reason"], 200) if one["reason"] else None,
        }
        for name, points in lines.items()
        for one in points
    ]
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def curve_plot(lines: Mapping[str, Sequence[Point]], axis_title: str) -> go.Figure:
    """Score against training samples or against the parameter, on logarithmic axes."""
    figure = go.Figure()
    scored = {
        name: [one for one in points if one["score"] is not None] for name, points in lines.items()
    }
    for (name, points), (hue, symbol, dash) in zip(scored.items(), styles(), strict=False):
        figure.add_scatter(
            x=[one["value"] if one["param"] else one["samples"] for one in points],
            y=[one["score"] for one in points],
            mode="lines+markers",
            name=label(name),
            line={"color": hue, "width": 2, "dash": dash},
            marker={"size": 8, "color": hue, "symbol": symbol},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [_beyond(one["high"], one["score"]) for one in points],
                "arrayminus": [_beyond(one["score"], one["low"]) for one in points],
                "thickness": 1.2,
                "width": 3,
                "color": hue,
            },
            hovertemplate=f"{label(name, 80)}<br>%{{x:,}}: %{{y:.4g}}<extra></extra>",
        )
    figure.update_layout(
        height=460,
        **LAYOUT,
    )
    axis = next(iter(lines.values()))[0]["axis"]
    drawn = [one for points in scored.values() for one in points]
    values = [one["value"] if one["param"] else one["samples"] for one in drawn]
    scores = [one["score"] for one in drawn]
    across = log_axis(values) if values and min(values) > 0 else LINEAR
    wide = bool(scores) and min(scores) > 0 and max(scores) > WIDE * min(scores)
    figure.update_xaxes(title=html.escape(shortened(axis, 60), quote=False), **across)
    figure.update_yaxes(
        title=html.escape(axis_title, quote=False),
        **(log_axis(scores) if wide else LINEAR),
    )
    return figure


def _beyond(above: float | None, below: float | None) -> float:
    return 0.0 if above is None or below is None else max(0.0, above - below)
