"""What the board says and what it does not, in plain words."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from dashboard import parts

from etchmark.scoring.uncertainty import LEVEL, RESAMPLES
from etchmark.specs import BenchmarkSpec
from etchmark.targets import metric as metric_by_id
from etchmark.text import number, one_line

STATUSES = (
    (
        "verified",
        "The harness ran the model, also on samples drawn after it was submitted. None has it yet.",
    ),
    ("run", "The harness ran the model: predictions, scores and cost are from that run."),
    (
        "scored",
        "Scored here from a predictions file; how that was made is its author's word. Cost and"
        " curves are shown on the model's page, as claims.",
    ),
    ("reported", "The scores are the submitter's own; nothing was recomputed."),
)


def choose_benchmark() -> BenchmarkSpec:
    names = parts.benchmark_names()
    if "read-benchmark" not in st.session_state:
        start = parts.wanted("benchmark", names, names[0], "benchmark")
        st.session_state["read-benchmark"] = start
    name = st.selectbox("Benchmark", names, format_func=parts.benchmark_title, key="read-benchmark")
    return parts.benchmark(name)


def about(spec: BenchmarkSpec) -> None:
    st.subheader("What is measured", anchor=False)
    target = spec.target
    st.text(one_line(spec.summary))
    st.markdown(
        f"Target: **{parts.literal(target.quantity)}**"
        + ("." if target.unit == "1" else f", in {parts.literal(target.unit)}.")
        + f" Benchmark `{spec.key}`, licence {parts.literal(spec.licence)}."
    )
    # The benchmark's own card is reviewed content; HTML in it is not rendered.
    st.markdown(spec.description)
    for citation in spec.citations:
        st.text(one_line(citation.title))
        address = parts.web_address(citation.doi or citation.url)
        if address:
            st.link_button("Open the paper", address, icon=":material/open_in_new:")


def protocols(spec: BenchmarkSpec) -> None:
    st.subheader("Protocol: how the data are divided", anchor=False)
    for name, protocol in spec.protocols.items():
        mark = " (headline)" if name == spec.headline else ""
        st.markdown(
            f"- `{name}`{mark}: **{parts.literal(protocol.title)}.**"
            f" {parts.literal(protocol.description)}"
        )
    head = spec.protocols[spec.headline]
    if head.group_column is not None and spec.unit_name != "sample":
        st.markdown(
            f"Why `{spec.headline}` is the headline: samples of one {spec.unit_name} resemble each"
            " other in ways that have nothing to do with the question. If some of them are in the"
            f" training data, a model can score well by recognising the {spec.unit_name}. Under the"
            f" headline protocol no {spec.unit_name} is on both sides, so the score is what a user"
            f" with a new {spec.unit_name} could expect."
        )


def uncertainty(spec: BenchmarkSpec) -> None:
    st.subheader("Interval and rank range", anchor=False)
    units = spec.unit_names
    percent = f"{100 * LEVEL:g} %"
    st.markdown(
        f"""
- **Score**: computed over all samples of the test data together, from the predictions alone, by
  one function for everybody.
- **Interval**: the {units} are drawn {RESAMPLES:,} times with replacement and every score is
  computed again; the interval holds the middle {percent}. It answers: how much of this score is
  owed to which {units} happen to be in the data?
- **Rank**: the order of the scores, 1 is best; equal scores share a rank. It is made among the rows
  that are shown, so a filter changes it.
- **Rank range**: in each of those draws all models are ranked on the same {units}; the range holds
  the middle {percent} of a model's ranks. Because the draws are shared, two models can be told
  apart even where their intervals overlap. If their *rank ranges* overlap, these data do not settle
  which one is better.
- **Reference lines** in the plot say what to compare with. A model that does not get past a trivial
  predictor (a mean, the last frame repeated) has not shown that it learnt anything; a formula or a
  solver is the rival to beat at what it costs.
"""
    )
    declared = spec.label_uncertainty
    if declared is not None:
        st.markdown(
            f"- **Uncertainty of the labels** ({declared.metric} {number(declared.value)}, split"
            f" {declared.split or 'all'}): {parts.literal(' '.join(declared.description.split()))}"
            " That is the floor: nearer to the truth than this no score can be told, whatever its"
            " interval. It is the grey band of the plots and the measure of the overview."
        )
    st.markdown(
        "- **Times** are wall times as the harness took them, fitting over all folds together."
        " Frozen image features are no part of fitting and a cost of their own; those of predicted"
        " samples are part of predicting, whenever they were computed."
    )
    if any(protocol.fold_statistics for protocol in spec.protocols.values()):
        st.markdown(
            "- **Mean ± sd over folds** is shown beside the score where papers report it that way."
            " Its spread is that of small test folds and is no interval for the score."
        )


def tables(spec: BenchmarkSpec) -> None:
    st.subheader("Metrics", anchor=False)
    rows = []
    for name in spec.metrics:
        chosen = metric_by_id(name)
        rows.append(
            {
                "metric": name + (" (primary)" if name == spec.primary_metric else ""),
                "what": chosen.title,
                "definition": chosen.definition,
                "unit": chosen.unit_for(spec.target.unit),
                "better": "higher" if chosen.higher_is_better else "lower",
            }
        )
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="read-metrics")
    st.caption("y: true value, ŷ: prediction, ȳ: mean of the true values, n: number of values.")
    st.subheader("Tracks: what a model may look at", anchor=False)
    for name, track in spec.tracks.items():
        note = f" {parts.literal(track.description)}" if track.description else ""
        st.markdown(f"- `{name}`: {parts.literal(track.title)}.{note}")
    st.subheader("Status: who computed it", anchor=False)
    for name, meaning in STATUSES:
        st.markdown(f"- `{name}`: {meaning}")
    st.markdown(
        "Failed runs are kept, never ranked and never averaged; an older submission of the same"
        " name, track and protocol is superseded by the newer one. The switch *Also failed and"
        " superseded* shows both."
    )


def main() -> None:
    st.title("How to read this", anchor=False)
    parts.follow_link()
    spec = choose_benchmark()
    about(spec)
    protocols(spec)
    uncertainty(spec)
    tables(spec)


main()
