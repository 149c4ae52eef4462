"""Scores against what they cost, with the models that no other beats in both."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.charts.costs import CostAxes, cost_plot
from dashboard.page import show_figure, show_table
from dashboard.state import Link
from dashboard.text import literal, shortened
from dashboard.wording import metric_label
from etchmark.api import Hub, predicted_piece
from etchmark.specs import BenchmarkSpec

COSTS = {
    "seconds_each": ("prediction / seconds per {each}", True),
    "fit_seconds": ("fitting / seconds", True),
    "feature_seconds": ("image features of all samples / seconds", True),
    "parameters": ("parameters", False),
    "flops": ("operations per {each}", False),
    "peak_memory_bytes": ("peak memory / bytes", True),
}
"""Costs to choose from: title of the axis, and whether only what the harness measured is shown."""


def known(ranked: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of a board by the cost they state, for costs that at least two rows state."""
    timed = ranked["status"].isin(["run", "verified"])
    rows: dict[str, pd.DataFrame] = {}
    for name, (_, by_harness) in COSTS.items():
        stated = ranked[name].fillna(0) > 0
        if by_harness:
            stated &= timed
        if stated.tolist().count(True) > 1:
            rows[name] = pd.DataFrame(ranked[stated])
    return rows


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
    st.caption(literal(" ".join(_notes(cost, shown, ranked))))
    columns = ["model", "score", "ci_low", "ci_high", cost]
    show_table(pd.DataFrame(shown[columns]), "cost-table")


def _notes(cost: str, shown: pd.DataFrame, ranked: pd.DataFrame) -> list[str]:
    notes = [f"{len(shown)} of {len(ranked)} rows state this cost."]
    if ranked["submission"].iloc[0] not in set(shown["submission"]):
        notes.append("The leader is not among them.")
    if COSTS[cost][1]:
        machines = sorted({shortened(str(name), 80) for name in shown["hardware"].dropna()})
        notes.append(f"Measured by the harness on: {'; '.join(machines)}.")
    if cost == "seconds_each":
        notes.append("Samples are predicted in batches. Training time is not included.")
    if cost == "feature_seconds":
        notes.append("Time of a frozen encoder for every image of the benchmark, once.")
    elif any(ranked["feature_seconds"].notna().tolist()):
        notes += {
            "seconds_each": ["Image features of the predicted samples are included."],
            "fit_seconds": ["Image features are not included; they are a cost of their own."],
        }.get(cost, [])
    return notes
