"""One submission of a model in parts: results, errors, how to reproduce, use and cite it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.charts.gains import gain_plot
from dashboard.page import show_figure
from dashboard.panels import (
    cite,
    curves,
    errors,
    model,
    model_facts,
    model_places,
    places,
    predictions,
    submission_public,
)
from dashboard.panels.scores import intervals_in_words, scores_table
from dashboard.terms import linked
from dashboard.text import literal, shortened
from etchmark.api import Entry, Hub, strengths
from etchmark.specs import BenchmarkSpec, ResultRecord
from etchmark.text import escape_json, number

TABS = {
    "results": "Results",
    "errors": "Errors",
    "reproduce": "Reproduce",
    "weights": "Weights",
    "cite": "Cite",
}


def show(hub: Hub, entry: Entry, row: Mapping[Any, Any] | None, link: state.Link) -> None:
    """The part that is chosen; it becomes part of the link.

    Args:
        hub: where benchmarks are known.
        entry: the submission.
        row: its row on the board; None if it is superseded.
        link: the view of the page.
    """
    spec = hub.benchmark(entry.record.benchmark)
    tab = state.choose(
        st.segmented_control,
        "Part",
        "tab",
        list(TABS),
        "results",
        required=True,
        format_func=lambda name: TABS[name],
        label_visibility="collapsed",
    )
    if tab != "results":
        link["tab"] = tab
    if tab == "results":
        _show_results(hub, spec, entry, row)
    elif tab == "errors":
        errors.show(hub, spec, entry)
        curves.show_one(hub, spec, entry.record)
        if entry.samples is None:
            st.info("No per-sample table is kept of this submission.")
    elif tab == "reproduce":
        _show_reproduce(hub, spec, entry.record)
        submission_public.show_link(entry)
    elif tab == "weights":
        _show_weights(hub, spec, entry.record)
    else:
        cite.show_model(hub, spec, entry.record, on_board=row is not None)


# --- results -----------------------------------------------------------------------------------


def _show_results(
    hub: Hub, spec: BenchmarkSpec, entry: Entry, row: Mapping[Any, Any] | None
) -> None:
    record = entry.record
    role = spec.role_of(record.name, record.role)
    # Not st.badge, which shows a link as text.
    st.markdown(f":gray-badge[{linked(f'role: {role}', {'role': 'roles'}, spec.id)}]")
    if row is not None:
        _show_places(hub, spec, record)
    else:
        st.info("A later submission of the same name stands in its place on the board.")
    left, right = st.columns([1, 1], gap="large")
    with left:
        st.markdown("**Scores**")
        st.dataframe(scores_table(hub, spec, record), hide_index=True, key="model-scores")
        words = literal(intervals_in_words(spec, record))
        st.caption(linked(words, {"Intervals": "interval"}, spec.id))
        model_facts.show_flags(record, role, record.flags if row is None else row["flags"])
    with right:
        model_facts.show(spec, record, entry.origin)
        model_facts.show_claims(spec, record.claims)
    _show_earlier(hub, record)
    st.download_button(
        "Result record (JSON)",
        escape_json(curves.shown_json(record)),
        file_name=f"{record.submission[:12]}.json",
        mime="application/json",
        icon=":material/download:",
        on_click="ignore",
    )


def _show_places(hub: Hub, spec: BenchmarkSpec, record: ResultRecord) -> None:
    """Strengths and weaknesses, and the gain on every split and subset."""
    frames = places.standings(hub, spec, record.protocol, spec.primary_metric)
    said = strengths(spec, record.submission, frames)
    if said:
        st.markdown("**Strengths and weaknesses**")
        st.markdown("\n".join(f"- {literal(sentence)}" for sentence in said))
        explained = (
            "Every split and subset is tested on its own, against all rows of its board, and"
            " without allowance for how many of them there are."
        )
        st.caption(linked(explained, {"tested": "told-apart"}, spec.id))
    gains = []
    for place, frame in frames.items():
        own = frame[frame["submission"] == record.submission]
        if len(own) and pd.notna(own["gain"].iloc[0]):
            gains.append(model_places.gain_of(own.iloc[0].to_dict(), place, spec.gains_over or ""))
    if len(gains) > 1:
        show_figure(gain_plot(gains), "gains-of-places")


def _show_earlier(hub: Hub, record: ResultRecord) -> None:
    """Scores of the submissions of one name, oldest first."""
    records = sorted([*hub.earlier(record), record], key=lambda each: each.created)
    if len(records) < 2:
        return
    st.markdown("**Over time**")
    rows = []
    for each in records:
        scores = each.scores[0] if each.scores else None
        name = next(iter(scores.metrics), "") if scores is not None else ""
        rows.append(
            {
                "date": each.created.strftime("%Y-%m-%d %H:%M"),
                "split": "" if scores is None else scores.split,
                "metric": name,
                "score": "failed" if scores is None else number(scores.metrics[name].value),
                "submission": each.submission[: state.SHORT],
            }
        )
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="model-earlier")


# --- reproduce, weights -----------------------------------------------------------------------


def _show_reproduce(hub: Hub, spec: BenchmarkSpec, record: ResultRecord) -> None:
    """The commands that recompute the record, where it ran, and how long it took."""
    if record.status not in {"run", "verified"}:
        st.info(
            "These scores come from a predictions file: this hub did not run the model. What its"
            " submitter says of how to run it stands on its card."
        )
        predictions.show(hub, record)
        return
    baseline = model.is_baseline(hub, record.name)
    commit = record.environment.git_commit if record.environment is not None else None
    config = spec.tracks[record.track].config if record.track in spec.tracks else ""
    name = shlex.quote(record.name) if baseline else "PATH/TO/MODEL"
    command = f"etchmark evaluate {name} {spec.id}"
    command += f" --track {record.track} --protocol {record.protocol}"
    seeds = max((score.seeds for score in record.scores), default=1)
    command += f" --seeds {seeds}" if seeds > 1 else ""
    steps = [
        "# in a checkout of etchmark, on an empty machine",
        *([f"git checkout {commit.partition('-')[0]}"] if commit else []),
        "make setup && . .venv/bin/activate",
        f"etchmark build {spec.dataset} --config {config}",
        command,
    ]
    if not baseline:
        st.markdown("With the model's own folder:")
    if commit is not None and commit.endswith("-dirty"):
        st.caption(
            "It ran with changes that were not committed yet, so the commit comes near only."
        )
    st.code("\n".join(steps), language="bash", wrap_lines=True)
    facts = {
        "Run on": record.created.strftime("%Y-%m-%d"),
        "Hardware": record.cost.hardware,
        "Processor time": _seconds(record.cost.cpu_seconds),
        "Wall time of fit and predict": _seconds(
            None
            if record.cost.fit_seconds is None
            else record.cost.fit_seconds + (record.cost.predict_seconds or 0.0)
        ),
        "Software": None
        if record.environment is None
        else f"etchmark {record.environment.etchmark}, Python {record.environment.python}",
    }
    st.markdown(
        "  \n".join(
            f"{label}: {literal(shortened(str(value), 200))}"
            for label, value in facts.items()
            if value
        )
    )
    st.caption(
        "Times are without features of frozen image encoders, which are computed once. The record"
        " holds the versions of all packages and the hashes of the predictions; equal"
        " hashes mean equal predictions, bit by bit."
    )
    predictions.show(hub, record)


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{number(value)} s"


def _show_weights(hub: Hub, spec: BenchmarkSpec, record: ResultRecord) -> None:
    """Where the fitted model is kept, and what loads it."""
    fitted = record.artefact
    model_name = shlex.quote(f"{record.name}:{spec.id}")
    if fitted is None:
        st.info(
            "No fitted model was kept with this row. `etchmark evaluate --keep-model` keeps one"
            " where the model can be saved; see *Reproduce*."
        )
        return
    if not hub.keeps_artefact(record):
        st.info(
            f"A fitted model was kept when this row was made (artefact {fitted.sha256[:12]}), on"
            " another machine. Fit it again with the command below *Reproduce*."
        )
        return
    st.markdown(
        f"The fitted model is kept here as artefact `{fitted.sha256[:12]}`,"
        f" {fitted.bytes / 2**20:,.1f} MiB. This writes it with its code, its card and the lines"
        " that load it:"
    )
    st.code(f"etchmark publish {model_name} --to public", language="bash")
