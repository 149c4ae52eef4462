"""Figures of the page that compares models."""

from __future__ import annotations

import html

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.curves import styles
from dashboard.plots import CONFIG, GREY, LAYOUT, LINEAR, colour, label, log_axis

__all__ = ["CONFIG", "MOST_GROUPS", "difference_plot", "error_plot", "group_plot", "horizons_plot"]

MOST_GROUPS = 60


def _title(text: str) -> str:
    return html.escape(text, quote=False)


def difference_plot(frame: pd.DataFrame, title: str) -> go.Figure:
    """Each pair's difference with its interval, and zero."""
    rows = frame.to_dict("records")
    heights = list(range(len(rows), 0, -1))
    value, low, high = (
        frame[name].to_numpy(dtype=float) for name in ("difference", "ci_low", "ci_high")
    )
    figure = go.Figure()
    figure.add_vline(x=0, line={"color": GREY, "dash": "dash"})
    figure.add_scatter(
        x=value,
        y=heights,
        mode="markers",
        marker={
            "size": 11,
            "color": colour(),
            "symbol": ["circle" if row["better"] else "circle-open" for row in rows],
        },
        error_x={
            "type": "data",
            "symmetric": False,
            "array": np.maximum(high - value, 0),
            "arrayminus": np.maximum(value - low, 0),
            "color": colour(),
            "thickness": 2,
        },
        hovertemplate="%{x:.4g}<extra></extra>",
        showlegend=False,
    )
    for row, height in zip(rows, heights, strict=True):
        figure.add_annotation(
            text=f"{label(row['first'])} − {label(row['second'])}",
            xref="paper",
            x=0,
            xanchor="left",
            y=height + 0.36,
            showarrow=False,
        )
    figure.update_layout(height=90 + 60 * len(rows), **LAYOUT)
    figure.update_xaxes(title=_title(title), zeroline=False, showgrid=True)
    figure.update_yaxes(visible=False, range=[0.4, len(rows) + 0.7], fixedrange=True)
    return figure


def error_plot(frame: pd.DataFrame, first: str, second: str, named: str) -> go.Figure:
    """Error of every sample, one model against the other, on logarithmic axes if none is zero."""
    x, y = (frame[name].to_numpy(dtype=float) for name in (first, second))
    both = np.concatenate([x, y])
    kind = log_axis(both.tolist()) if len(both) and both.min() > 0 else LINEAR
    ends = [float(both.min()), float(both.max())] if len(both) else [0.0, 1.0]
    figure = go.Figure()
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        line={"color": GREY, "dash": "dash"},
        name="equal",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers",
        name="sample",
        marker={"size": 6, "opacity": 0.5, "color": colour()},
        text=[
            f"{label(sample, 60)}<br>{label(unit, 60)}"
            for sample, unit in zip(frame["id"], frame["unit"], strict=True)
        ],
        hovertemplate="%{text}<br>%{x:.4g} against %{y:.4g}<extra></extra>",
    )
    figure.update_layout(height=480, **LAYOUT)
    figure.update_xaxes(title=f"{_title(named)} of {label(first)}", zeroline=False, **kind)
    figure.update_yaxes(
        title=f"{_title(named)} of {label(second)}", zeroline=False, showgrid=True, **kind
    )
    return figure


def group_plot(frame: pd.DataFrame, names: list[str], title: str) -> go.Figure:
    """Scores of every model by group, one line per group."""
    shown = frame.head(MOST_GROUPS)
    texts = [
        f"{kind} {label(group, 44)}"
        for kind, group in zip(shown["kind"], shown["group"], strict=True)
    ]
    figure = go.Figure()
    for name, (hue, symbol, _) in zip(names, styles(), strict=False):
        figure.add_scatter(
            x=shown[name].to_numpy(dtype=float),
            y=texts,
            mode="markers",
            name=label(name),
            marker={"size": 10, "color": hue, "symbol": symbol},
            hovertemplate="%{y}: %{x:.4g}<extra></extra>",
        )
    figure.update_layout(height=110 + 24 * len(shown), **LAYOUT)
    figure.update_xaxes(title=_title(title), zeroline=False, showgrid=True)
    figure.update_yaxes(autorange="reversed", showgrid=True)
    return figure


def horizons_plot(frame: pd.DataFrame, unit: str) -> go.Figure:
    """RMSE over the horizon of every model, with bands, on a logarithmic axis where it can be."""
    figure = go.Figure()
    for (name, part), (hue, _, dash) in zip(
        frame.groupby("model", sort=False), styles(), strict=False
    ):
        ahead = part["ahead"].to_numpy()
        low, high = part["ci_low"].to_numpy(), part["ci_high"].to_numpy()
        figure.add_scatter(
            x=np.concatenate([ahead, ahead[::-1]]),
            y=np.concatenate([high, low[::-1]]),
            fill="toself",
            fillcolor=hue,
            opacity=0.2,
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=ahead,
            y=part["value"],
            mode="lines",
            name=label(str(name)),
            line={"color": hue, "dash": dash, "width": 2},
            hovertemplate="frame %{x}: %{y:.4g}<extra></extra>",
        )
    ends = np.concatenate([frame[one].to_numpy(dtype=float) for one in ("ci_low", "ci_high")])
    kind = log_axis(ends.tolist()) if ends.min() > 0 else LINEAR
    figure.update_layout(height=400, **LAYOUT)
    figure.update_xaxes(title="frames ahead", zeroline=False)
    figure.update_yaxes(
        title=_title("RMSE" if unit == "1" else f"RMSE / {unit}"), showgrid=True, **kind
    )
    return figure
