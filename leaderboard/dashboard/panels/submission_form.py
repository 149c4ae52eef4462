"""The first step of a submission: the form, and the check of what was filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard.panels.task import Task
from dashboard.terms import linked
from dashboard.text import literal, shortened, web_address
from dashboard.wording import DISCLOSURE, ROLES
from etchmark.api import Hub, Prepared, Statement, card_from_mapping, named, temporary_folder
from etchmark.errors import UserError
from etchmark.specs import OUTSIDE_ROLES, ModelCard, ResultRecord

LISTS = ("authors", "tags", "training_sets")
"""Fields of the card that are several texts, separated by commas in the form."""
TEXTS = ("title", "description", "paper", "code", "licence", "training_data_note")

EXPLAINED = {"role": "roles", "flags": "flags"}


@dataclass(frozen=True)
class Form:
    """What was filled in."""

    file: str
    """Name of the upload."""
    content: bytes
    name: str
    card: Mapping[str, Any]
    """Fields of the card that are not empty."""
    role: str = "entry"


@dataclass(frozen=True)
class Preview:
    """A file that was checked and scored but not stored, with its content."""

    task: Task
    form: Form
    prepared: Prepared
    suffix: str
    known: frozenset[str]
    """Ids of the stored submissions that it was said to replace."""
    taken: tuple[ResultRecord, ...] = ()
    """Submissions that others stored under its name since."""
    token: str | None = None
    """Under which the upload is kept; None where there is no room for it."""


def show(earlier: Form | None) -> Form | None:
    """The form; what was filled in when the button was pressed, else None.

    Args:
        earlier: whose file counts where none is dropped into the form.
    """
    with st.form("submission", border=True):
        # No list of file types: a wrong file is refused by its content, with a reason.
        file = st.file_uploader("Predictions file (.csv or .parquet)", key="submit-file")
        if file is None and earlier is not None:
            st.caption(
                f"Kept: {literal(shortened(earlier.file, 60))}, {len(earlier.content):,} bytes."
                " Another file takes its place."
            )
        name = st.text_input("Name on the board", max_chars=100, key="submit-name")
        role = st.selectbox(
            "Role",
            OUTSIDE_ROLES,
            format_func=lambda key: f"{key}: {ROLES[key]}",
            help="Exploratory rows and oracles are listed apart, without a rank.",
            key="submit-role",
        )
        st.caption(linked("What a role is, and how flags are found.", EXPLAINED))
        with st.expander("Card (optional): authors, paper, code, licence"):
            fields = _card_fields()
        pressed = st.form_submit_button("Check and preview", type="primary")
    if not pressed:
        return None
    if file is not None:
        file_name, content = str(file.name), file.getvalue()
    elif earlier is not None:
        file_name, content = earlier.file, earlier.content
    else:
        return Form("", b"", name.strip(), {}, role)
    card = {key: value for key, value in fields.items() if value}
    return Form(file_name, content, name.strip(), card, role)


def fill(form: Form) -> None:
    """Let the form start with what was filled in before; before it is shown."""
    st.session_state["submit-name"] = form.name
    st.session_state["submit-role"] = form.role
    for key in TEXTS:
        st.session_state[_widget(key)] = form.card.get(key, "")
    for key in LISTS:
        st.session_state[_widget(key)] = ", ".join(form.card.get(key, ()))
    st.session_state[_widget("training_data")] = form.card.get("training_data", "unknown")


def _widget(field: str) -> str:
    return f"submit-{field.replace('_', '-')}"


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _text(field: str, label: str, max_chars: int | None = None, **settings: Any) -> str:
    text = st.text_input(label, max_chars=max_chars, key=_widget(field), **settings)
    return (text or "").strip()


def _card_fields() -> dict[str, Any]:
    return {
        "title": _text("title", "Title", 200),
        "description": st.text_area(
            "Description", max_chars=10_000, key=_widget("description")
        ).strip(),
        "authors": _listed(_text("authors", "Authors", help="separated by commas")),
        "paper": _text("paper", "Paper", placeholder="10.1000/xyz or https://…"),
        "code": _text("code", "Code", placeholder="https://…"),
        "licence": _text("licence", "Licence", placeholder="Apache-2.0"),
        "tags": _listed(_text("tags", "Tags", help="separated by commas")),
        "training_data": st.selectbox(
            "Training data",
            ["unknown", "none", "declared"],
            format_func=lambda key: DISCLOSURE[key],
            key=_widget("training_data"),
        ),
        "training_data_note": _text("training_data_note", "Which other data", 2000),
        "training_sets": _listed(
            _text(
                "training_sets",
                "Other data, by name",
                help="separated by commas; data of this hub as DATASET:CONFIG or"
                " DATASET:CONFIG:SPLIT, which are compared with the samples that are scored",
                placeholder="composites:2d-full:train, ImageNet-21k",
            )
        ),
    }


def card_of(fields: Mapping[str, Any]) -> ModelCard:
    """The card; a UserError names a field that is not valid."""
    for key in ("paper", "code"):
        if key in fields and web_address(fields[key]) is None:
            raise UserError(
                f"{key}: {fields[key][:60]!r} is not an address; enter one that starts with"
                " https://" + (" or a DOI that starts with 10." if key == "paper" else "")
            )
    return card_from_mapping(dict(fields))


def check(hub: Hub, task: Task, form: Form) -> Preview:
    """Score an upload in a process of its own; messages name the upload, not its copy."""
    if not form.file:
        raise UserError("no file was given; drop a predictions file into the box above")
    if not form.name:
        raise UserError("no name was given; enter the name that the model is to be listed under")
    card = card_of(form.card)
    config = task.spec.tracks[task.track].config
    if hub.config_folder(task.spec.dataset, config) is None:
        raise UserError(
            "the data to score with are not on this machine; press the button that builds them"
            " above, then check again"
        )
    hub.check_name(form.name)
    # By its content, not its name: parquet begins with these four letters.
    is_csv = form.file.lower().endswith(".csv") and not form.content.startswith(b"PAR1")
    suffix = ".csv" if is_csv else ".parquet"
    statement = Statement(form.name, card, task.track, task.protocol, form.role)
    with temporary_folder() as folder:
        path = (folder / f"predictions{suffix}").absolute()
        write(path, form.content)
        with named(path, shortened(form.file, 60)):
            prepared = hub.preview(path, task.spec.id, statement, warm=True)
    known = frozenset(other.submission for other in hub.replaced_by(prepared.record))
    return Preview(task, form, prepared, suffix, known)


def write(path: Path, content: bytes) -> None:
    """Keep an upload for a moment; a UserError if there is no room for it."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UserError(
            f"the file cannot be kept while it is checked ({error.strerror or error}); free some"
            " space or let TMPDIR name another folder"
        ) from None
