"""Scores against what they cost, with the models that no other beats in both."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import parts
from dashboard.plots import CONFIG, cost_plot
from etchmark.specs import BenchmarkSpec
from etchmark.targets import metric as metric_by_id

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
    """Rows of a board by the cost they tell, of costs that at least two rows tell."""
    timed = ranked["status"].isin(["run", "verified"])
    found: dict[str, pd.DataFrame] = {}
    for name, (_, by_harness) in COSTS.items():
        told = ranked[name].fillna(0) > 0
        if by_harness:
            told &= timed
        if told.tolist().count(True) > 1:
            found[name] = pd.DataFrame(ranked[told])
    return found


def _to_begin_with(costs: dict[str, pd.DataFrame], ranked: pd.DataFrame) -> str:
    """The first cost that most rows tell, the best one among them; else the one that most tell."""
    best = str(ranked["submission"].iloc[0])
    for name, told in costs.items():
        if 2 * len(told) >= len(ranked) and best in set(told["submission"]):
            return name
    return max(costs, key=lambda name: len(costs[name]))


def show(spec: BenchmarkSpec, ranked: pd.DataFrame, chosen: dict[str, str]) -> None:
    """Score against a cost that at least two rows know; times only as the harness took them."""
    costs = known(ranked)
    first = _to_begin_with(costs, ranked)
    titles = {name: COSTS[name][0].format(each=parts.predicted(spec)) for name in costs}
    picked = parts.choose(
        st.selectbox, "Cost", "cost", list(costs), first, format_func=lambda name: titles[name]
    )
    if picked != first:
        chosen["cost"] = picked
    shown = costs[picked]
    metric = chosen["metric"]
    figure = cost_plot(
        shown,
        picked,
        parts.metric_label(spec, metric),
        titles[picked],
        higher=metric_by_id(metric).higher_is_better,
    )
    st.plotly_chart(figure, width="stretch", config=CONFIG, key="cost")
    notes = [f"{len(shown)} of {len(ranked)} rows say what they cost in this sense."]
    if ranked["submission"].iloc[0] not in set(shown["submission"]):
        notes.append("The first of the board is not among them.")
    if COSTS[picked][1]:
        machines = sorted({parts.shortened(str(one), 80) for one in shown["hardware"].dropna()})
        notes.append(f"Measured by the harness on: {'; '.join(machines)}.")
    if picked == "seconds_each":
        notes.append("Several are predicted together. Training is not in it.")
    if picked == "feature_seconds":
        notes.append("What a frozen encoder took for every image of the benchmark, once.")
    elif any(ranked["feature_seconds"].notna().tolist()):
        notes += {
            "seconds_each": ["Image features of what is predicted are, whenever computed."],
            "fit_seconds": ["Image features are not in it; they are a cost of their own."],
        }.get(picked, [])
    st.caption(parts.literal(" ".join(notes)))
    with st.expander("As a table"):
        columns = ["model", "score", "ci_low", "ci_high", picked]
        st.dataframe(shown[columns], hide_index=True, key="cost-table")
