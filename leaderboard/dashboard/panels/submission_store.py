"""The second step of a submission: storing what was previewed, and the receipt."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard.panels import submission_kept, submission_public, task
from dashboard.panels.submission_form import Preview, write
from dashboard.panels.submission_kept import Request
from dashboard.panels.submission_preview import show_standing
from dashboard.panels.task import Task
from dashboard.state import SHORT
from dashboard.text import literal, shortened
from etchmark.api import Committed, Entry, Hub, NameTaken, Prepared, temporary_folder
from etchmark.errors import UserError
from etchmark.specs import ResultRecord
from etchmark.text import escape_json

TITLE = "2. Store in this hub"
KEY = "stored"
"""Of the address: the start of a submission's id."""


def show(hub: Hub, preview: Preview) -> None:
    """The buttons that store or discard a preview."""
    st.header(TITLE, anchor=False)
    if preview.taken:
        _show_taken(hub, preview)
    with st.container(horizontal=True):
        stored = not preview.taken and st.button(
            "Store this submission", type="primary", icon=":material/save:"
        )
        discarded = st.button("Discard")
    if stored:
        _store(hub, preview, preview.known)
    if discarded:
        submission_kept.drop(hub)
        st.session_state.pop("form", None)
        st.rerun()


def _store(hub: Hub, preview: Preview, known: frozenset[str]) -> None:
    """Store a preview unless it would replace submissions that its reader does not know of."""
    with temporary_folder() as folder:
        path = folder / f"predictions{preview.suffix}"
        write(path, preview.form.content)
        prepared = Prepared(preview.prepared.record, preview.prepared.samples, [path])
        try:
            committed = hub.keep(prepared, known)
        except NameTaken as taken:
            st.session_state[submission_kept.KEY] = replace(
                preview, known=known, taken=taken.records
            )
            st.rerun()
    submission = preview.prepared.record.submission
    submission_kept.drop(hub)
    st.session_state.pop("form", None)
    st.session_state["receipt"] = (submission, committed)
    st.query_params.from_dict({KEY: submission[:SHORT]})
    st.rerun()


def _show_taken(hub: Hub, preview: Preview) -> None:
    """Who stored something under this name since the preview, and what can be done about it."""
    name = preview.form.name
    lines = "\n".join(f"- {_who_and_when(record)}" for record in preview.taken)
    st.warning(
        f"Not stored: since this preview was made, the name **{literal(name)}** was taken here.\n"
        f"{lines}\n\nChoose another name, or replace what stands under it: the newest submission of"
        " a name stands on the board, and earlier ones are kept as superseded."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        other = st.text_input("Another name", max_chars=100, key="submit-other-name").strip()
        renamed = st.button("Preview under this name", type="primary")
        replaced = st.button("Replace it")
    if renamed and other in ("", name):
        st.error("Enter a name that differs from the one that is taken.")
    elif renamed:
        submission_kept.drop(hub)
        st.session_state["request"] = Request(preview.task, replace(preview.form, name=other))
        st.rerun()
    if replaced:
        _store(hub, preview, preview.known | {record.submission for record in preview.taken})


def _who_and_when(record: ResultRecord) -> str:
    authors = literal(shortened(", ".join(record.card.authors), 100))
    return (
        f"Submission {record.submission[:SHORT]}, stored on {record.created:%Y-%m-%d} at"
        f" {record.created:%H:%M} UTC by {authors or 'somebody who states no authors'}"
    )


# --- the receipt -------------------------------------------------------------------------------


def follow(hub: Hub) -> Entry | None:
    """The stored submission that the address names; an address that names none is said."""
    text = st.query_params.get(KEY, "")
    if not text:
        return None
    try:
        return hub.to_export(text)
    except UserError:
        st.warning(
            literal(
                f"{shortened(text, 60)!r} is not a submission of this hub that could be sent to the"
                " public board; showing the form."
            )
        )
        del st.query_params[KEY]
        return None


def show_stored(hub: Hub, entry: Entry) -> None:
    """What was stored, where it stands, its record, and the way to the public board."""
    submission_public.show_steps(3)
    record = entry.record
    spec = hub.benchmark(f"{record.benchmark}@{record.benchmark_version}")
    st.header(TITLE, anchor=False)
    st.success(
        literal(f"{_outcome(record)}: {record.name}, submission {record.submission[:SHORT]}.")
    )
    show_standing(hub, spec, entry)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Result record: your receipt (JSON)",
            escape_json(record.model_dump_json(by_alias=True, indent=2)),
            file_name=f"{record.submission[:SHORT]}.json",
            mime="application/json",
            icon=":material/download:",
            on_click="ignore",
        )
        link = {
            "benchmark": record.benchmark,
            "protocol": record.protocol,
            "model": record.submission[:SHORT],
        }
        st.page_link(
            "app_pages/leaderboard.py",
            label="See it on the board",
            icon=":material/leaderboard:",
            query_params=link,
        )
    submission_public.show(hub, entry)
    if st.button("Submit another file", icon=":material/upload:"):
        del st.query_params[KEY]
        if record.track in spec.tracks and record.protocol in spec.protocols:
            task.set_to(Task(spec, record.track, record.protocol))
        st.rerun()


def _outcome(record: ResultRecord) -> str:
    """What storing did, in this session; of other submissions, that they are stored."""
    submission, committed = st.session_state.get("receipt", ("", Committed.NEW))
    words = (committed if submission == record.submission else Committed.NEW).value
    return words[0].upper() + words[1:]
