"""What the board says and what it does not, in plain words."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from dashboard import state
from dashboard.text import literal, web_address

from etchmark.api import FEWEST_UNITS, RESAMPLES, Hub, discretisation_in_words, open_hub
from etchmark.specs import BenchmarkSpec
from etchmark.text import number, one_line

STATUSES = (
    (
        "verified",
        "The harness ran the model, also on samples drawn after it was submitted. No model has"
        " this status yet.",
    ),
    ("run", "The harness ran the model: predictions, scores and cost are from that run."),
    (
        "scored",
        "Scored here from a predictions file; how the file was made is its author's word. Cost and"
        " curves are shown on the model's page, as claims.",
    ),
    ("reported", "The scores are the submitter's own; nothing was recomputed."),
)


def show_task(spec: BenchmarkSpec) -> None:
    st.subheader("What is measured", anchor=False)
    target = spec.target
    st.text(one_line(spec.summary))
    st.markdown(
        f"Target: **{literal(target.quantity)}**"
        + ("." if target.unit == "1" else f", in {literal(target.unit)}.")
        + f" Benchmark `{spec.key}`, licence {literal(spec.licence)}."
    )
    # The benchmark's own card is reviewed content; HTML in it is not rendered.
    st.markdown(spec.description)
    for citation in spec.citations:
        st.text(one_line(citation.title))
        address = web_address(citation.doi or citation.url)
        if address:
            st.link_button("Open the paper", address, icon=":material/open_in_new:")


def show_protocols(spec: BenchmarkSpec) -> None:
    st.subheader("Protocol: how the data are divided", anchor=False)
    for name, protocol in spec.protocols.items():
        mark = " (headline)" if name == spec.headline else ""
        st.markdown(
            f"- `{name}`{mark}: **{literal(protocol.title)}.** {literal(protocol.description)}"
        )
    headline = spec.protocols[spec.headline]
    if headline.group_column is not None and spec.unit_name != "sample":
        st.markdown(
            f"Why `{spec.headline}` is the headline: samples of one {spec.unit_name} resemble each"
            " other in ways that have nothing to do with the question. If some of them are in the"
            f" training data, a model can score well by recognising the {spec.unit_name}. Under the"
            f" headline protocol no {spec.unit_name} is on both sides, so the score is what a user"
            f" with a new {spec.unit_name} can expect."
        )


def smallest_difference(spec: BenchmarkSpec) -> str:
    """What a benchmark declares, in words."""
    declared = spec.smallest_difference
    if declared is None:
        return "1 % of the score"
    unit = metric_unit(spec)
    size = f"{100 * (declared.share or 0):g} % of the score" if declared.value is None else ""
    return literal(size or f"{number(declared.value)}{unit}; {declared.reason}")


def metric_unit(spec: BenchmarkSpec) -> str:
    """Unit of the primary metric with a space before it; empty where it has none."""
    unit = open_hub().metric(spec, spec.primary_metric).unit
    return "" if unit == "1" else f" {unit}"


def show_uncertainty(hub: Hub, spec: BenchmarkSpec) -> None:
    st.subheader("Interval, rank and gain", anchor=False)
    units = spec.unit_names
    st.markdown(
        f"""
- **Score**: computed over all samples of the test data together, from the predictions alone, by
  the same function for every model.
- **Interval**: with other {units} the score would likely lie in it (95 %). Each {spec.unit_name} is
  left out in turn, and the spread of the scores gives the interval. With one seed it is an interval
  for this fit; with several it includes what another seed would change. With fewer than
  {FEWEST_UNITS} {units} there is no interval.
- **Rank**: the order of the scores, 1 is best; equal scores share a rank. It is made among the rows
  that are shown, so a filter changes it.
- **Rank range**: all models are ranked on {RESAMPLES:,} resamples of the {units}; the range holds
  the middle 95 % of a model's ranks. It describes how ranks vary and tests nothing.
- **Best**: rows that may be the best. A test takes rows away one by one while it finds them behind
  a better one. It allows for the number of pairs: the best row is lost on about 5 % of boards.
- **Equal in practice**: two scores that are closer than the smallest difference that matters
  ({smallest_difference(spec)}).
- **Gain**: by how much the error is smaller than that of the declared reference
  ({literal(spec.gains_over or "none is declared here")}).
- **Role**: entries and references are ranked. Oracles make or reproduce the labels, controls show a
  leak or a confound, and exploratory rows were found by looking at test scores: they are listed
  apart and never lead.
- **Reference lines** in the plot say what to compare with. A model that does not beat a trivial
  predictor (a mean, the last frame repeated) has not shown that it learned anything; a formula or a
  solver is the rival to beat at its cost.
"""
    )
    show_discretisation(hub, spec)
    st.markdown(
        "- **Cost** is the processor time of fitting and predicting, summed over cores and folds."
        " Reference units divide it by the processor time of a fixed piece of work, timed beside"
        " the run, so that rows of different and of busy machines compare. Parameters are all that"
        " a prediction depends on. Wall times are on each model's page. Frozen image features are"
        " a cost of their own."
    )
    if any(protocol.fold_statistics for protocol in spec.protocols.values()):
        st.markdown(
            "- **Mean ± sd over folds** is shown beside the score where papers report it that way."
            " Its spread is that of small test folds, not an interval for the score."
        )


def show_discretisation(hub: Hub, spec: BenchmarkSpec) -> None:
    """How far the grid moves the labels, and what that does not mean."""
    error = spec.discretisation_error
    if error is None:
        return
    unit = "1" if error.metric is None else hub.metric(spec, error.metric).unit
    split = "" if error.split is None else f" (split {error.split})"
    text = f"- **Discretisation error of the labels**{split}: "
    text += literal(discretisation_in_words(error, unit))
    if error.unknown is None:
        text += (
            " A label is exact for its voxels, and a solver on the same grid reproduces it; this is"
            " how far the grid moves it. It does not limit which models can be told apart. It is"
            " the grey band of the plots."
        )
    st.markdown(text)


def show_terms(hub: Hub, spec: BenchmarkSpec) -> None:
    """Metrics, tracks and statuses."""
    st.subheader("Metrics", anchor=False)
    rows = []
    for name in spec.metrics:
        details = hub.metric(spec, name)
        rows.append(
            {
                "metric": name + (" (primary)" if name == spec.primary_metric else ""),
                "what": details.title,
                "definition": details.definition,
                "unit": details.unit,
                "better": "higher" if details.higher_is_better else "lower",
            }
        )
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="read-metrics")
    st.caption("y: true value, ŷ: prediction, ȳ: mean of the true values, n: number of values.")
    st.subheader("Tracks: what a model may look at", anchor=False)
    for name, track in spec.tracks.items():
        note = f" {literal(track.description)}" if track.description else ""
        st.markdown(f"- `{name}`: {literal(track.title)}.{note}")
    st.subheader("Status: who computed it", anchor=False)
    for name, meaning in STATUSES:
        st.markdown(f"- `{name}`: {meaning}")
    st.markdown(
        "Failed runs are kept, never ranked and never averaged. An older submission of the same"
        " name, track and protocol is superseded by the newer one. The switch *Show failed and"
        " superseded runs* shows both."
    )


def main() -> None:
    st.title("How to read this", anchor=False)
    state.follow_link()
    hub = open_hub()
    spec = state.choose_benchmark_apart(hub, "read-benchmark")
    show_task(spec)
    show_protocols(spec)
    show_uncertainty(hub, spec)
    show_terms(hub, spec)


main()
