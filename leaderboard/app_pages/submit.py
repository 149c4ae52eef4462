"""The way of a predictions file: preview, this hub's registry, and the public board."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st
from dashboard import state
from dashboard.page import guarded
from dashboard.panels import (
    submission_form,
    submission_kept,
    submission_preview,
    submission_public,
    submission_store,
    task,
    template,
)
from dashboard.panels.submission_kept import Request
from dashboard.panels.task import Task

from etchmark.api import Hub, open_hub


def main() -> None:
    st.title("Submit predictions", anchor=False)
    state.follow_link()
    hub = open_hub()
    entry = submission_store.follow(hub)
    if entry is not None:
        submission_store.show_stored(hub, entry)
        return
    request: Request | None = submission_kept.follow(hub)
    if request is None:
        request = st.session_state.pop("request", None)
    if request is not None:
        task.set_to(request.task)
        submission_form.fill(request.form)
        st.session_state["form"] = request.form
    purpose = task.choose(hub)
    state.show_in_address(purpose.link)
    steps = st.container()
    template.show(hub, purpose)
    st.header("1. Preview", anchor=False)
    with guarded():
        check(hub, purpose, request)
    preview = submission_kept.current()
    if preview is not None and preview.task.key != purpose.key:
        submission_kept.drop(hub)
        st.info("The preview was for another benchmark, track or protocol. Check again.")
        preview = None
    with steps:
        submission_public.show_steps(1 if preview is None else 2)
    if preview is not None:
        submission_kept.show_in_address(preview)
        submission_preview.show(hub, purpose, preview)
        with guarded():
            submission_store.show(hub, preview)


def check(hub: Hub, purpose: Task, request: Request | None) -> None:
    """Preview what is in the form when its button is pressed, or else what was asked for before."""
    form = submission_form.show(st.session_state.get("form"))
    if form is not None:
        # An earlier preview no longer matches the form, whatever comes of this check.
        submission_kept.drop(hub)
        request = Request(purpose, form)
        if form.file:
            st.session_state["form"] = form
    if request is None:
        return
    with st.spinner("Checking and scoring"):
        preview = submission_form.check(hub, purpose, request.form)
    if request.known is not None:
        preview = replace(preview, known=request.known)
    if request.token is None:
        preview = submission_kept.keep(hub, preview)
    else:
        preview = replace(preview, token=request.token)
    st.session_state[submission_kept.KEY] = preview


main()
