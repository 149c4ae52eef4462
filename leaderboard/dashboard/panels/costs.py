"""Scores against what they cost, with the models that no other beats in both."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.charts.costs import CostAxes, cost_plot
from dashboard.page import show_figure, show_table
from dashboard.state import Link
from dashboard.terms import linked
from dashboard.text import literal, shortened
from dashboard.wording import metric_label
from etchmark.api import Hub, predicted_piece
from etchmark.specs import BenchmarkSpec

COSTS = {
    "reference_units": ("fitting and predicting / reference units", True),
    "cpu_seconds": ("fitting and predicting / processor seconds", True),
    "total_parameters": ("all parameters", False),
    "cpu_seconds_each": ("prediction / processor seconds per {each}", True),
    "seconds_each": ("prediction / wall seconds per {each}", True),
    "fit_seconds": ("fitting / wall seconds", True),
    "feature_seconds": ("image features of all samples / wall seconds", True),
    "parameters": ("fitted parameters", False),
    "flops": ("operations per {each}", False),
    "peak_memory_bytes": ("peak memory / bytes", True),
}
"""Costs to choose from: title of the axis, and whether only what the harness measured is shown."""
NAMED = 6
"""Rows without a cost that a caption names."""


def known(ranked: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of a board by the cost they state, for costs that at least two rows state."""
    return {name: pd.DataFrame(ranked[stated]) for name, stated in _stated(ranked)}


def exist(ranked: pd.DataFrame) -> bool:
    """Whether there is a cost to show."""
    return next(_stated(ranked), None) is not None


def _stated(ranked: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Which rows state a cost, of each cost that at least two rows state."""
    timed = ranked["status"].isin(["run", "verified"]).to_numpy(dtype=bool)
    for name, (_, by_harness) in COSTS.items():
        stated = ranked[name].to_numpy(dtype=float, na_value=0.0) > 0
        stated = stated & timed if by_harness else stated
        if stated.sum() > 1:
            yield name, stated


def default_cost(costs: dict[str, pd.DataFrame], ranked: pd.DataFrame) -> str:
    """The first cost that most rows state, the best one included; else the most stated one."""
    best = str(ranked["submission"].iloc[0])
    for name, rows in costs.items():
        if 2 * len(rows) >= len(ranked) and best in set(rows["submission"]):
            return name
    return max(costs, key=lambda name: len(costs[name]))


def show(hub: Hub, spec: BenchmarkSpec, ranked: pd.DataFrame, link: Link) -> None:
    """Score against a cost that at least two rows state; times only as the harness took them."""
    costs = known(ranked)
    first = default_cost(costs, ranked)
    each = predicted_piece(spec)
    titles = {name: COSTS[name][0].format(each=each) for name in costs}
    cost = state.choose(
        st.selectbox, "Cost", "cost", list(costs), first, format_func=lambda name: titles[name]
    )
    if cost != first:
        link["cost"] = cost
    shown, metric = costs[cost], hub.metric(spec, link["metric"])
    axes = CostAxes(cost, titles[cost], metric_label(metric), metric.higher_is_better)
    show_figure(cost_plot(shown, axes), "cost")
    notes = literal(" ".join(_notes(cost, shown, ranked)))
    st.caption(linked(notes, {"cost": "cost"}, spec.id))
    columns = ["model", "score", "ci_low", "ci_high", cost]
    show_table(pd.DataFrame(shown[columns]), "cost-table")


def _notes(cost: str, shown: pd.DataFrame, ranked: pd.DataFrame) -> list[str]:
    notes = [f"{len(shown)} of {len(ranked)} rows state this cost."]
    stated = ranked["submission"].isin(shown["submission"])
    lacking = [shortened(str(name), 60) for name in ranked.loc[~stated, "model"]]
    if lacking:
        more = f" and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
        notes.append(f"Not drawn, since they lack it: {', '.join(lacking[:NAMED])}{more}.")
    if not stated.iloc[0]:
        notes.append("The leader is not drawn.")
    if COSTS[cost][1]:
        machines = sorted({shortened(str(name), 80) for name in shown["hardware"].dropna()})
        notes.append(f"Measured by the harness on: {'; '.join(machines)}.")
    if cost == "reference_units":
        notes.append("A unit is a fixed piece of work, timed beside each run on its machine.")
    if cost in ("seconds_each", "cpu_seconds_each"):
        notes.append("Samples are predicted in batches. Training time is not included.")
    if cost == "feature_seconds":
        notes.append("Time of a frozen encoder for every image of the benchmark, once.")
    elif any(ranked["feature_seconds"].notna().tolist()):
        if cost == "seconds_each":
            notes.append("Image features of the predicted samples are included.")
        elif cost in ("fit_seconds", "cpu_seconds", "reference_units"):
            notes.append("Image features are not included; they are a cost of their own.")
    return notes
