"""Two to four models side by side: differences with intervals, and where each is better."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas as pd
import streamlit as st
from dashboard import compare as plots
from dashboard import parts

from etchmark.boards import compare
from etchmark.boards.compare import Side
from etchmark.errors import UserError
from etchmark.registry.store import Store
from etchmark.specs import BenchmarkSpec
from etchmark.targets import metric as metric_by_id
from etchmark.text import number

MOST = 4
# Characters of a submission's id in a link. No text may stand alone in a page: it would be shown.
SHORT = 12


def controls() -> tuple[BenchmarkSpec, dict[str, str]]:
    first, second, third = st.columns([2, 1, 1])
    with first:
        spec = parts.choose_benchmark()
    with second:
        protocol = parts.choose(
            st.selectbox, "Protocol", "protocol", list(spec.protocols), spec.headline
        )
    with third:
        metric = parts.choose(
            st.selectbox, "Metric", "metric", list(spec.metrics), spec.primary_metric
        )
    chosen = {"benchmark": spec.id, "protocol": protocol, "metric": metric}
    # Not looked at here, but still the board's on the way back.
    if parts.view().get("track") in spec.tracks:
        chosen["track"] = parts.view()["track"]
    return spec, chosen


def pick(ranked: pd.DataFrame, chosen: dict[str, str]) -> list[str]:
    """Submissions that are compared, best first."""
    names = parts.row_names(ranked)
    asked = parts.view().get("models", "").split(",")
    linked, vain = [], []
    for short in filter(None, asked):
        found = [one for one in names if len(short) >= 8 and one.startswith(short)]
        linked += found
        # Not where another benchmark was picked since.
        if not found and st.query_params.get("benchmark") == chosen["benchmark"]:
            vain.append(parts.shortened(short, 20))
    if vain:
        st.warning(parts.literal(f"The link names what is not ranked here: {', '.join(vain)}."))
    picked = st.multiselect(
        f"Models, up to {MOST}",
        list(names),
        default=linked[:MOST] or list(names)[:2],
        max_selections=MOST,
        key=f"compare-{chosen['benchmark']}-{chosen['protocol']}-{chosen['metric']}",
        format_func=lambda one: names.get(one) or str(one),
    )
    return [one for one in names if one in picked]


def show_differences(
    spec: BenchmarkSpec, given: list[Side], split: str, chosen: dict[str, str]
) -> None:
    frame = compare.differences(given, split, chosen["metric"])
    unit = metric_by_id(chosen["metric"]).unit_for(spec.target.unit)
    st.subheader("By how much they differ", anchor=False)
    figure = plots.difference_plot(frame, f"difference{'' if unit == '1' else f' / {unit}'}")
    st.plotly_chart(figure, width="stretch", config=plots.CONFIG, key="differences")
    for row in frame.to_dict("records"):
        st.markdown(parts.literal(verdict(row, spec)))
    with st.expander("As a table"):
        st.dataframe(frame, hide_index=True, key="difference-table")


def verdict(row: dict[Hashable, Any], spec: BenchmarkSpec) -> str:
    """One line on a pair."""
    value, low, high = (number(row[one]) for one in ("difference", "ci_low", "ci_high"))
    difference = f"{value} ({low} … {high})".replace("-", "−")
    return f"{compare.relation(row, spec.unit_names)}: {difference}."


def show_samples(
    spec: BenchmarkSpec, given: list[Side], split: str, chosen: dict[str, str]
) -> None:
    st.subheader("Sample by sample", anchor=False)
    names = [side.name for side in given]
    pairs = [(a, b) for at, a in enumerate(names) for b in names[at + 1 :]]
    pair = pairs[0]
    if len(pairs) > 1:
        pair = st.selectbox(
            "Pair",
            pairs,
            format_func=lambda one: f"{one[0]}, {one[1]}",
            key=f"pair-{'-'.join(names)}",
        )
    found = compare.errors([side for side in given if side.name in pair], split, chosen["metric"])
    unit = metric_by_id(found.metric).unit_for(spec.target.unit)
    named = found.metric if unit == "1" else f"{found.metric} / {unit}"
    figure = plots.error_plot(found.frame, *pair, named)
    st.plotly_chart(figure, width="stretch", config=plots.CONFIG, key="errors")
    closer, alike = found.shares(*pair)
    st.caption(
        parts.literal(
            f"{found.metric} of each of {len(found.frame):,} samples. {pair[0]} is closer on"
            f" {closer:.0%} of them, {pair[1]} on {1 - closer - alike:.0%}; points above the line"
            f" are samples on which {pair[0]} is better."
        )
    )
    with st.expander("As a table"):
        st.dataframe(found.frame, hide_index=True, key="error-table")


def show_groups(spec: BenchmarkSpec, given: list[Side], chosen: dict[str, str]) -> None:
    frame = compare.by_group(spec, given, chosen["protocol"], chosen["metric"])
    if len(frame) < 2:
        return
    st.subheader("Where each is better", anchor=False)
    names = [side.name for side in given]
    figure = plots.group_plot(frame, names, parts.metric_label(spec, chosen["metric"]))
    st.plotly_chart(figure, width="stretch", config=plots.CONFIG, key="groups")
    if len(frame) > plots.MOST_GROUPS:
        st.caption(f"The plot shows {plots.MOST_GROUPS} of {len(frame)} groups, the table all.")
    with st.expander("As a table"):
        st.dataframe(frame, hide_index=True, key="group-table")


def show_horizon(spec: BenchmarkSpec, given: list[Side], split: str) -> None:
    frame = compare.horizons(given, split)
    if frame.empty:
        return
    st.subheader("Over the horizon", anchor=False)
    figure = plots.horizons_plot(frame, spec.target.unit)
    st.plotly_chart(figure, width="stretch", config=plots.CONFIG, key="horizons")
    st.caption(f"Bands are 95 % intervals over {spec.unit_names}.")
    with st.expander("As a table"):
        st.dataframe(frame, hide_index=True, key="horizon-table")


def show(spec: BenchmarkSpec, store: Store, chosen: dict[str, str]) -> None:
    ranked = parts.standings(
        spec, store, track=None, protocol=chosen["protocol"], metric=chosen["metric"]
    ).dropna(subset=["rank"])
    if len(ranked) < 2:
        parts.remember(chosen)
        st.info("Fewer than two ranked submissions here: there is nothing to compare yet.")
        st.page_link("app_pages/submit.py", label="Submit predictions", icon=":material/upload:")
        return
    picked = pick(ranked, chosen)
    parts.remember(chosen | {"models": ",".join(one[:SHORT] for one in picked)})
    if len(picked) < 2:
        st.info("Pick at least two models.")
        return
    entries = [found for one in picked if (found := parts.entry(store, one)) is not None]
    if len(entries) < 2:
        raise UserError("a submission was withdrawn or cannot be read; reload the page")
    given = compare.sides(entries)
    split = spec.protocols[chosen["protocol"]].split
    show_differences(spec, given, split, chosen)
    show_horizon(spec, given, split)
    show_samples(spec, given, split, chosen)
    show_groups(spec, given, chosen)


def main() -> None:
    st.title("Compare", anchor=False)
    parts.follow_link()
    spec, chosen = controls()
    show(spec, parts.open_store(), chosen)


main()
