"""A row of a board in short, beside the table; the model's page has it in full."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from dashboard import markup
from dashboard.panels import cells, model
from dashboard.state import SHORT, Link
from dashboard.terms import linked
from dashboard.text import literal, shortened
from etchmark.api import Entry, Hub, Solver, flags_to_show, predicted_piece, verdict_of_row
from etchmark.specs import BenchmarkSpec
from etchmark.text import number

FLAGS = 4
"""Flags that are shown; the model's page has all."""


def show(
    hub: Hub, spec: BenchmarkSpec, entry: Entry, frame: pd.DataFrame, solver: Solver | None = None
) -> None:
    """What a reader asks of a row first, and where to read on.

    Args:
        hub: where metrics are known.
        spec: the benchmark.
        entry: the submission.
        frame: rows of the board, of which its own is one.
        solver: what the solver behind the labels costs, where there is one.
    """
    record, card = entry.record, entry.record.card
    row = frame[frame["submission"] == record.submission].iloc[0].to_dict()
    st.markdown(f"**{literal(shortened(card.title or record.name, 120))}**")
    if card.title:
        st.caption(literal(shortened(record.name, 80)))
    with st.container(horizontal=True):
        # Not st.badge, which shows a link as text.
        role = linked(f"role: {row['role']}", {"role": "roles"}, spec.id)
        st.markdown(f":gray-badge[{role}]")
        status = linked(record.status, {record.status: "verified"}, spec.id)
        st.markdown(f":gray-badge[{status}]")
    if hub.versions(spec.id)[0] == spec.key:
        st.page_link(
            "app_pages/model.py",
            label="Model page",
            icon=":material/model_training:",
            query_params=link(spec, record.name, row),
        )
    else:
        st.caption("An earlier version of the benchmark: pages of models show current ones alone.")
    if record.outcome == "failed":
        st.error("This run failed and is not ranked. The reason:")
        st.text(shortened(record.reason or "none given", 2000))
        return
    markup.show(markup.table([], _facts(hub, spec, frame, row), "This row in short"))
    if solver is not None and (words := solver.in_words(row, predicted_piece(spec))):
        st.caption(literal(words))
    flags = flags_to_show(row["flags"], row["role"])
    if flags:
        heading = linked("Flags: doubts, which change no rank", {"Flags": "flags"}, spec.id)
        st.markdown(f"**{heading}**")
        st.markdown("\n".join(f"- {literal(shortened(flag, 300))}" for flag in flags[:FLAGS]))
    if card.description.strip():
        model.show_text(card.description.strip())


def link(spec: BenchmarkSpec, name: str, row: dict[Any, Any]) -> Link:
    """The model's page, at this row."""
    asked = {"name": name, "benchmark": spec.id, "protocol": str(row["protocol"])}
    asked["reads"] = str(row["track"])
    return asked | ({"submission": str(row["submission"])[:SHORT]} if row["superseded"] else {})


def _facts(
    hub: Hub, spec: BenchmarkSpec, frame: pd.DataFrame, row: dict[Any, Any]
) -> list[list[str]]:
    facts = [["Rank", cells.rank(row, int(frame["rank"].notna().sum()))]]
    # By the worst split, rows are judged on different samples: nothing is tested.
    if pd.notna(row["rank"]) and pd.notna(row["units"]):
        said = verdict_of_row(spec, frame, str(row["submission"]), named=True)
        facts.append(["Verdict", markup.escaped(said.text)])
    facts += [["Score", cells.score(hub, spec, row)], ["Gain", cells.gain(spec, row)]]
    costs = {
        "Processor time": ("cpu_seconds", " s"),
        "Reference units": ("reference_units", ""),
    }
    for label, (column, unit) in costs.items():
        if pd.notna(row[column]):
            facts.append([label, markup.escaped(f"{number(row[column])}{unit}")])
    if pd.notna(row["total_parameters"]):
        facts.append(["Parameters", f"{int(row['total_parameters']):,}"])
    return facts
