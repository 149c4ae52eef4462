"""Facts about one submission: what it was, what it cost, where it ran, and what it claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from dashboard.terms import linked
from dashboard.text import literal, shortened
from dashboard.wording import DISCLOSURE
from etchmark.api import flags_to_show, predicted_piece
from etchmark.specs import BenchmarkSpec, Claims, Cost, Environment, ResultRecord
from etchmark.text import number


def show(spec: BenchmarkSpec, record: ResultRecord, origin: str) -> None:
    card = record.card
    facts = {
        "authors": ", ".join(card.authors),
        "licence": card.licence,
        "tags": ", ".join(card.tags),
        "training data": DISCLOSURE[card.training_data],
        "note on training data": card.training_data_note,
        "further training data": ", ".join(card.training_sets),
        "track, protocol": f"{record.track}, {record.protocol}",
        "status": f"{record.status}, {origin}",
        "date": record.created.strftime("%Y-%m-%d %H:%M UTC"),
        **_cost_facts(spec, record.cost),
        **_measured_facts(record.cost),
        "weights": _listed(record.made_with),
        "model settings": _listed(record.params),
        "submission": record.submission[:12],
        "data": record.fingerprints.data[:12],
        **_environment_facts(record.environment),
    }
    _show_fact_table(facts, "model-facts")
    explained = "Status: who computed the scores. Reference units: a cost that compares machines."
    phrases = {"Status": "verified", "Reference units": "cost"}
    st.caption(linked(explained, phrases, spec.id))
    _show_packages(record.environment, "Package versions")


def show_flags(record: ResultRecord, role: str, flags: Sequence[str] | None) -> None:
    """What looks like a mistake, or too good, of the predictions or of the row."""
    shown = flags_to_show(flags, role)
    if shown:
        heading = linked("Flags: doubts, which change no rank", {"Flags": "flags"})
        st.markdown(f"**{heading}**")
        st.markdown("\n".join(f"- {literal(shortened(flag, 500))}" for flag in shown))
    if record.outcome == "ok" and record.flags is None:
        st.markdown("**Flags from scoring:** unknown; the record is older than this check.")
    elif record.outcome == "ok" and not shown:
        st.markdown(linked("**Flags:** none.", {"Flags": "flags"}))


def show_claims(spec: BenchmarkSpec, claims: Claims | None) -> None:
    """What the submitter states and nobody measured here, kept apart from what was measured."""
    if claims is None:
        return
    st.markdown("**Claimed by the submitter, not measured here**")
    titles = ", ".join(curve.title for curve in claims.curves)
    facts = {
        **_cost_facts(spec, claims.cost),
        "weights": _listed(claims.made_with),
        "model settings": _listed(claims.params),
        "curves": f"{titles} (in the result record, not drawn)" if titles else None,
        **_environment_facts(claims.environment),
    }
    _show_fact_table(facts, "model-claims")
    _show_packages(claims.environment, "Package versions, as claimed")


def _cost_facts(spec: BenchmarkSpec, cost: Cost) -> dict[str, str | None]:
    memory = cost.peak_memory_bytes
    return {
        "fit, predict": f"{number(cost.fit_seconds)} s, {number(cost.predict_seconds)} s of wall"
        " time"
        if cost.fit_seconds is not None or cost.predict_seconds is not None
        else None,
        "image features": f"{number(cost.feature_seconds)} s for all samples, computed once;"
        " not part of fit"
        if cost.feature_seconds is not None
        else None,
        f"per {predicted_piece(spec)}": _cost_of_one(cost),
        "peak memory": f"{memory / 2**20:.0f} MiB" if memory is not None else None,
        "fitted parameters": f"{cost.parameters:,}" if cost.parameters is not None else None,
        "hardware": cost.hardware,
    }


def _cost_of_one(cost: Cost) -> str | None:
    """Time and operations of one prediction."""
    times = {"processor time": cost.cpu_seconds_each, "wall time": cost.seconds_each}
    texts = [
        f"{number(1000 * seconds)} ms of {what}"
        for what, seconds in times.items()
        if seconds is not None
    ]
    texts += [] if cost.flops is None else [f"{cost.flops:.3g} operations"]
    return ", ".join(texts) or None


def _measured_facts(cost: Cost) -> dict[str, str | None]:
    """Costs that newer records hold; for older ones they are shown as unknown, not hidden."""
    pairs = {"processor time": cost.reference_cpu_seconds, "wall time": cost.reference_seconds}
    workload = [
        f"{number(pair[0])} s of {what} before, {number(pair[1])} s after the run"
        for what, pair in pairs.items()
        if pair is not None
    ]
    if cost.fit_seconds is None and cost.cpu_seconds is None:
        # Nothing was measured: a file of predictions, or a run that failed.
        return {}
    return {
        "processor time": f"{number(cost.cpu_seconds)} s"
        if cost.cpu_seconds is not None
        else "unknown",
        "reference units": f"{number(cost.reference_units)} times the reference workload"
        if cost.reference_units is not None
        else "unknown",
        "all parameters": f"{cost.total_parameters:,}, including those fitted elsewhere"
        if cost.total_parameters is not None
        else "unknown",
        "reference workload": "; ".join(workload) or "unknown",
    }


def _environment_facts(environment: Environment | None) -> dict[str, str | None]:
    if environment is None:
        return {}
    return {
        "software": f"etchmark {environment.etchmark}, Python {environment.python}",
        "platform": environment.platform,
        "commit": environment.git_commit,
    }


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in values.items())


def _show_fact_table(facts: Mapping[str, str | None], key: str) -> None:
    rows = [(name, shortened(str(value), 500)) for name, value in facts.items() if value]
    table = pd.DataFrame(rows, columns=["what", "value"])
    config = {"what": st.column_config.TextColumn(width=140)}
    st.dataframe(table, hide_index=True, key=key, column_config=config, height="content")


def _show_packages(environment: Environment | None, title: str) -> None:
    if environment is not None and environment.packages:
        with st.expander(title):
            rows = [
                (shortened(name, 80), shortened(version, 80))
                for name, version in environment.packages.items()
            ]
            st.dataframe(pd.DataFrame(rows, columns=["package", "version"]), hide_index=True)
