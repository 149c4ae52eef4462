"""Previews outlive a reload: their upload is kept on the server, under a token in the address."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import streamlit as st

from dashboard.panels.submission_form import Form, Preview
from dashboard.panels.task import Task
from dashboard.text import literal
from etchmark.api import Hub, Upload
from etchmark.errors import UserError

KEY = "preview"
"""Of the address, and of the session."""
GONE = (
    "There is no preview under this address: it was stored or discarded, is more than a day old, or"
    " never was. Give the file again."
)


@dataclass(frozen=True)
class Request:
    """What is to be checked in this run of the page."""

    task: Task
    form: Form
    known: frozenset[str] | None = None
    """Of a preview that was made before: what it was said to replace."""
    token: str | None = None
    """Under which the upload is kept already."""


def current() -> Preview | None:
    """The preview of this session."""
    return st.session_state.get(KEY)


def follow(hub: Hub) -> Request | None:
    """The preview that the address names and this session does not have yet.

    An address that names none is said on the page.
    """
    token, preview = st.query_params.get(KEY, ""), current()
    with suppress(UserError):
        hub.uploads().sweep()
    if not token or (preview is not None and preview.token == token):
        return None
    try:
        request = _read(hub, token)
    except UserError as error:
        # Here, the folder of uploads cannot be used; it may be again after a reload.
        st.warning(literal(str(error)))
        return None
    if request is None:
        st.warning(GONE)
        del st.query_params[KEY]
    return request


def _read(hub: Hub, token: str) -> Request | None:
    upload = hub.uploads().get(token)
    if upload is None:
        return None
    fields = dict(upload.fields)
    # The content may have changed since: a track is gone, or the benchmark has another version.
    try:
        spec = hub.benchmark(fields["benchmark"].partition("@")[0])
        task = Task(spec, fields["track"], fields["protocol"])
        form = Form(fields["file"], upload.content, fields["name"], fields["card"], fields["role"])
        known = frozenset(fields["known"])
    except (KeyError, UserError):
        return None
    fits = task.track in spec.tracks and task.protocol in spec.protocols
    return Request(task, form, known, token) if fits and spec.key == fields["benchmark"] else None


def keep(hub: Hub, preview: Preview) -> Preview:
    """The same preview, kept for a reload if there is room; else the page says that it is not."""
    fields = {
        "benchmark": preview.task.spec.key,
        "track": preview.task.track,
        "protocol": preview.task.protocol,
        "file": preview.form.file,
        "name": preview.form.name,
        "role": preview.form.role,
        "card": dict(preview.form.card),
        "known": sorted(preview.known),
    }
    try:
        token = hub.uploads().keep(Upload(fields, preview.form.content))
    except UserError as error:
        st.warning(literal(f"A reload of this page will lose the preview: {error}"))
        return preview
    return replace(preview, token=token)


def show_in_address(preview: Preview) -> None:
    """Let the address name a preview, so that a reload finds it."""
    if preview.token is not None and st.query_params.get(KEY) != preview.token:
        st.query_params[KEY] = preview.token


def drop(hub: Hub) -> None:
    """Forget the preview of this session, here and on the server."""
    preview: Preview | None = st.session_state.pop(KEY, None)
    token = st.query_params.get(KEY) if preview is None else preview.token
    if token:
        with suppress(UserError):
            hub.uploads().remove(token)
    if KEY in st.query_params:
        del st.query_params[KEY]
