"""One submission in full: card, scores, cost, environment, errors and how to reproduce it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from dashboard.panels import curves, errors
from dashboard.panels.scores import intervals_in_words, scores_table
from dashboard.text import literal, plain_lines, shortened, web_address
from dashboard.wording import DISCLOSURE
from etchmark.api import (
    Entry,
    Hub,
    flags_to_show,
    predicted_piece,
)
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec, Claims, Cost, Environment, ModelCard, ResultRecord
from etchmark.text import escape_json, number

LONG = 600
"""Characters above which a text scrolls in a box of its own."""


def show(hub: Hub, spec: BenchmarkSpec, entry: Entry, flags: Sequence[str] | None = None) -> None:
    """The submission.

    Args:
        hub: where metrics and baselines are known.
        spec: the benchmark.
        entry: the submission.
        flags: of its row on the board, which knows more than the record; None if there are none.
    """
    record = entry.record
    role = spec.role_of(record.name, record.role)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(literal(shortened(record.name, 80)), anchor=False)
        st.badge(f"role: {role}", color="gray")
    left, right = st.columns([1, 1], gap="large")
    with left:
        _show_card(record.card)
        _show_command(hub, spec, record)
    with right:
        if record.outcome == "failed":
            st.error("This run failed and is not ranked. The reason:")
            st.text(shortened(record.reason or "none given", 2000))
        _show_facts(spec, record, entry.origin)
        _show_flags(record, role, record.flags if flags is None else flags)
        _show_claims(spec, record.claims)
    if record.scores:
        st.markdown("**Scores**")
        st.dataframe(scores_table(hub, spec, record), hide_index=True, key="model-scores")
        st.caption(literal(intervals_in_words(spec, record)))
    if record.outcome == "ok":
        errors.show(hub, spec, entry)
        curves.show_one(hub, spec, record)
    st.download_button(
        "Result record (JSON)",
        escape_json(curves.shown_json(record)),
        file_name=f"{record.submission[:12]}.json",
        mime="application/json",
        icon=":material/download:",
        on_click="ignore",
    )


def _show_text(text: str) -> None:
    if len(text) > LONG or text.count("\n") > 12:
        with st.container(height=220):
            st.text(plain_lines(text))
    else:
        st.text(plain_lines(text))


def _show_card(card: ModelCard) -> None:
    if card.title:
        st.text(shortened(card.title, 200))
    if card.description.strip():
        _show_text(card.description.strip())
    addresses = {"Paper": web_address(card.paper), "Code": web_address(card.code)}
    links = {name: address for name, address in addresses.items() if address}
    if links:
        with st.container(horizontal=True):
            for name, address in links.items():
                st.link_button(name, address, icon=":material/open_in_new:")
    if card.bibtex.strip():
        with st.expander("BibTeX"):
            st.code(plain_lines(card.bibtex), language=None)


def _show_facts(spec: BenchmarkSpec, record: ResultRecord, origin: str) -> None:
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
    _show_packages(record.environment, "Package versions")


def _show_flags(record: ResultRecord, role: str, flags: Sequence[str] | None) -> None:
    """What looks like a mistake, or too good, of the predictions or of the row."""
    shown = flags_to_show(flags, role)
    if shown:
        st.markdown("**Flags: doubts, which change no rank**")
        st.markdown("\n".join(f"- {literal(shortened(flag, 500))}" for flag in shown))
    if record.outcome == "ok" and record.flags is None:
        st.markdown("**Flags from scoring:** unknown; the record is older than this check.")
    elif record.outcome == "ok" and not shown:
        st.markdown("**Flags:** none.")


def _show_claims(spec: BenchmarkSpec, claims: Claims | None) -> None:
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


def _show_command(hub: Hub, spec: BenchmarkSpec, record: ResultRecord) -> None:
    """The command that recomputes the record; nothing for a predictions file."""
    if record.status not in {"run", "verified"}:
        return
    baseline = _is_baseline(hub, record.name)
    model = shlex.quote(record.name) if baseline else "PATH/TO/MODEL"
    command = f"etchmark evaluate {model} {spec.id}"
    command += f" --track {record.track} --protocol {record.protocol}"
    seeds = max((score.seeds for score in record.scores), default=1)
    command += f" --seeds {seeds}" if seeds > 1 else ""
    st.markdown("**Reproduce**" if baseline else "**Reproduce**, with the model's own folder:")
    st.code(command, language="bash", wrap_lines=True)


def _is_baseline(hub: Hub, name: str) -> bool:
    try:
        return name in hub.models()
    except UserError:
        # Another baseline's broken card is no reason to show nothing here.
        return False
