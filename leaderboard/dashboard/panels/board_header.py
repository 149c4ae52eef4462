"""What a board is about, and what it says in one sentence."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import cached, markup
from dashboard.panels import benchmark_picture, cells
from dashboard.panels.decision_table import headline
from dashboard.terms import linked
from dashboard.text import literal, prose
from etchmark.api import Hub, called, discretisation_in_words, simplest
from etchmark.specs import BenchmarkSpec


def show(hub: Hub, spec: BenchmarkSpec) -> None:
    """Title and picture, the task, and how the labels were made."""
    st.title(literal(spec.title), anchor=False)
    ranked = cached.board(hub, spec, headline(spec)).leaders()
    leader = str(ranked["submission"].iloc[0]) if len(ranked) else None
    illustration = benchmark_picture.find(hub, spec, leader)
    words = st.container()
    if illustration is not None:
        picture, words = st.columns([1, 4], gap="medium", vertical_alignment="center")
        with picture:
            benchmark_picture.show(illustration)
    with words:
        st.markdown(prose(spec.summary))
        facts = (f"Version {spec.version}", f"data: {spec.dataset}", f"licence: {spec.licence}")
        st.caption(literal(" · ".join(facts)))
        if illustration is None and (command := benchmark_picture.how_to_get(hub, spec)):
            st.caption(command)
        with st.expander("How the labels were made, and what is scored"):
            # The benchmark's own card is reviewed content; HTML in it is not rendered.
            st.markdown(spec.description)
            if (error := spec.discretisation_error) is not None:
                unit = "1" if error.metric is None else hub.metric(spec, error.metric).unit
                said = discretisation_in_words(error, unit)
                stated = literal(f"Discretisation error of the labels: {said}")
                phrases = {"Discretisation error": "discretisation-error"}
                st.markdown(linked(stated, phrases, spec.id))


def unknown_size(ranked: pd.DataFrame) -> bool:
    """Whether the number of parameters of a row that may be the best is not known."""
    may = ranked["may_be_best"].fillna(False).to_numpy(dtype=bool)
    return bool(ranked[may]["total_parameters"].isna().any())


def show_short(hub: Hub, spec: BenchmarkSpec, ranked: pd.DataFrame) -> None:
    """The best row, the simplest one that is not told apart from it, and the reference."""
    current = hub.versions(spec.id)[0] == spec.key
    ids, models = (ranked[name].tolist() for name in ("submission", "model"))
    first = cells.row_at(ranked, 0)

    def named(row: cells.Row) -> str:
        text = markup.escaped(called(row), 90)
        # The pages of models know current versions alone.
        shown = markup.link("model", text, cells.model_link(row)) if current else text
        return f"{shown} ({markup.escaped(cells.score_text(hub, spec, row))})"

    parts = [f"<b>Best</b>: {named(first)}"]
    plain = simplest(ranked)
    if plain is not None and plain != first["submission"]:
        row = cells.row_at(ranked, ids.index(plain))
        count = f"{int(row['total_parameters']):,} parameters"
        some = ", of those whose number is known" if unknown_size(ranked) else ""
        parts.append(f"<b>simplest that may be the best</b> ({count}{some}): {named(row)}")
    if spec.gains_over in models:
        reference = cells.row_at(ranked, models.index(spec.gains_over))
        parts.append(f"<b>reference</b>: {named(reference)}")
    markup.show(f'<div class="em">{"; ".join(parts)}.</div>')
