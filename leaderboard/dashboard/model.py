"""One submission in full: card, scores, cost, environment, errors and how to reproduce it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import pandas as pd
import streamlit as st

from dashboard import curves as dashboard_curves
from dashboard import errors as dashboard_errors
from dashboard.parts import literal, plain_lines, predicted, shortened, web_address
from etchmark.catalog import catalog
from etchmark.errors import UserError
from etchmark.registry.store import Store
from etchmark.registry.tables import Entry
from etchmark.specs import BenchmarkSpec, Claims, Cost, Environment, ModelCard, ResultRecord
from etchmark.targets import metric as metric_by_id
from etchmark.text import escape_json, number

DISCLOSURE = {
    "none": "trained on the benchmark's training data alone",
    "declared": "also trained on other data",
    "unknown": "not stated",
}
LONG = 600


def show(spec: BenchmarkSpec, store: Store, entry: Entry) -> None:
    record = entry.record
    st.subheader(literal(shortened(record.name, 80)), anchor=False)
    left, right = st.columns([1, 1], gap="large")
    with left:
        _card(record.card)
        _reproduce(spec, record)
    with right:
        if record.outcome == "failed":
            st.error("This run failed and is not ranked. What it said:")
            st.text(shortened(record.reason or "nothing", 2000))
        _facts(spec, record, entry.origin)
        _claims(spec, record.claims)
    if record.scores:
        st.markdown("**Scores**")
        st.dataframe(scores_table(spec, record), hide_index=True, key="model-scores")
    if record.outcome == "ok":
        dashboard_errors.show(spec, entry)
        dashboard_curves.show_one(spec, store, record)
    st.download_button(
        "Result record (JSON)",
        escape_json(dashboard_curves.shown_json(record)),
        file_name=f"{record.submission[:12]}.json",
        mime="application/json",
        icon=":material/download:",
        on_click="ignore",
    )


def _long_text(text: str) -> None:
    if len(text) > LONG or text.count("\n") > 12:
        with st.container(height=220):
            st.text(plain_lines(text))
    else:
        st.text(plain_lines(text))


def _card(card: ModelCard) -> None:
    if card.title:
        st.text(shortened(card.title, 200))
    if card.description.strip():
        _long_text(card.description.strip())
    links = [("Paper", web_address(card.paper)), ("Code", web_address(card.code))]
    present = [(name, address) for name, address in links if address]
    if present:
        with st.container(horizontal=True):
            for name, address in present:
                st.link_button(name, address, icon=":material/open_in_new:")
    if card.bibtex.strip():
        with st.expander("BibTeX"):
            st.code(plain_lines(card.bibtex), language=None)


def _facts(spec: BenchmarkSpec, record: ResultRecord, origin: str) -> None:
    card = record.card
    facts = {
        "authors": ", ".join(card.authors),
        "licence": card.licence,
        "tags": ", ".join(card.tags),
        "training data": DISCLOSURE[card.training_data],
        "note on training data": card.training_data_note,
        "track, protocol": f"{record.track}, {record.protocol}",
        "status": f"{record.status}, {origin}",
        "date": record.created.strftime("%Y-%m-%d %H:%M UTC"),
        **_costs(spec, record.cost),
        "made from": _listed(record.made_with),
        "model settings": _listed(record.params),
        "submission": record.submission[:12],
        "data": record.fingerprints.data[:12],
        **_environment(record.environment),
    }
    _table(facts, "model-facts")
    _packages(record.environment, "Package versions")


def _claims(spec: BenchmarkSpec, claims: Claims | None) -> None:
    """What the submitter states and nobody measured here, apart from what was measured."""
    if claims is None:
        return
    st.markdown("**Claimed by the submitter, not measured here**")
    curves = ", ".join(curve.title for curve in claims.curves)
    facts = {
        **_costs(spec, claims.cost),
        "made from": _listed(claims.made_with),
        "model settings": _listed(claims.params),
        "curves": f"{curves} (in the result record, not drawn)" if curves else None,
        **_environment(claims.environment),
    }
    _table(facts, "model-claims")
    _packages(claims.environment, "Package versions, as claimed")


def _costs(spec: BenchmarkSpec, cost: Cost) -> dict[str, str | None]:
    memory = cost.peak_memory_bytes
    return {
        "fit, predict": f"{number(cost.fit_seconds)} s, {number(cost.predict_seconds)} s"
        if cost.fit_seconds is not None or cost.predict_seconds is not None
        else None,
        "image features": f"{number(cost.feature_seconds)} s for all samples, whenever computed;"
        " fit is without them"
        if cost.feature_seconds is not None
        else None,
        f"per {predicted(spec)}": _each(cost),
        "peak memory": f"{memory / 2**20:.0f} MiB" if memory is not None else None,
        "parameters": f"{cost.parameters:,}" if cost.parameters is not None else None,
        "hardware": cost.hardware,
    }


def _environment(environment: Environment | None) -> dict[str, str | None]:
    if environment is None:
        return {}
    return {
        "made with": f"etchmark {environment.etchmark}, Python {environment.python}",
        "platform": environment.platform,
        "commit": environment.git_commit,
    }


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in values.items())


def _table(facts: Mapping[str, str | None], key: str) -> None:
    rows = [(name, shortened(str(value), 500)) for name, value in facts.items() if value]
    table = pd.DataFrame(rows, columns=["what", "value"])
    config = {"what": st.column_config.TextColumn(width=140)}
    st.dataframe(table, hide_index=True, key=key, column_config=config, height="content")


def _packages(environment: Environment | None, title: str) -> None:
    if environment is not None and environment.packages:
        with st.expander(title):
            rows = [(shortened(k, 80), shortened(v, 80)) for k, v in environment.packages.items()]
            st.dataframe(pd.DataFrame(rows, columns=["package", "version"]), hide_index=True)


def _each(cost: Cost) -> str | None:
    """Time and operations of one prediction."""
    parts = [] if cost.seconds_each is None else [f"{number(1000 * cost.seconds_each)} ms"]
    parts += [] if cost.flops is None else [f"{cost.flops:.3g} operations"]
    return ", ".join(parts) or None


def scores_table(spec: BenchmarkSpec, record: ResultRecord) -> pd.DataFrame:
    """Every metric of every split, as text with four significant digits."""
    rows = []
    for split in record.scores:
        for name, score in split.metrics.items():
            rows.append(
                {
                    "split": split.split,
                    "metric": name,
                    "unit": metric_by_id(name).unit_for(spec.target.unit),
                    "score": number(score.value),
                    "95 % interval": f"{number(score.ci_low)} … {number(score.ci_high)}",
                    "mean ± sd over folds": f"{number(score.fold_mean)} ± {number(score.fold_sd)}"
                    if score.fold_mean is not None
                    else None,
                    "sd over seeds": number(score.seed_sd) if score.seed_sd is not None else None,
                    "n": split.n,
                    spec.unit_names: split.units,
                    "seeds": split.seeds,
                }
            )
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def _reproduce(spec: BenchmarkSpec, record: ResultRecord) -> None:
    if record.status not in {"run", "verified"}:
        return
    known = _is_baseline(record.name)
    model = shlex.quote(record.name) if known else "PATH/TO/MODEL"
    command = f"etchmark evaluate {model} {spec.id}"
    command += f" --track {record.track} --protocol {record.protocol}"
    seeds = max((score.seeds for score in record.scores), default=1)
    command += f" --seeds {seeds}" if seeds > 1 else ""
    st.markdown("**Reproduce**" if known else "**Reproduce**, with the model's own folder:")
    st.code(command, language="bash", wrap_lines=True)


def _is_baseline(name: str) -> bool:
    try:
        return name in catalog().model_names()
    except UserError:
        # Another baseline's broken card is no reason to show nothing here.
        return False
