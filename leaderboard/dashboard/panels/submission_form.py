"""The second step of a submission: the form, and the check of what was filled in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard.panels.task import Task
from dashboard.text import shortened, web_address
from dashboard.wording import DISCLOSURE, ROLES
from etchmark.api import Hub, Prepared, Statement, card_from_mapping, named, temporary_folder
from etchmark.errors import UserError
from etchmark.specs import OUTSIDE_ROLES, ModelCard


@dataclass(frozen=True)
class Form:
    """What was filled in."""

    file: Any
    """An upload of Streamlit's."""
    name: str
    card: ModelCard
    role: str = "entry"


@dataclass(frozen=True)
class Preview:
    """A file that was checked and scored but not stored, with its content."""

    task: tuple[str, str, str]
    prepared: Prepared
    content: bytes
    suffix: str
    file: str


def show() -> Form | None:
    """The form; what was filled in when the button was pressed, else None."""
    st.subheader("2. Check the predictions", anchor=False)
    with st.form("submission", border=True):
        # No list of file types: a wrong file is refused by its content, with a reason.
        file = st.file_uploader("Predictions file (.csv or .parquet)", key="submit-file")
        name = st.text_input("Name on the board", max_chars=100, key="submit-name")
        role = st.selectbox(
            "Role",
            OUTSIDE_ROLES,
            format_func=lambda key: f"{key}: {ROLES[key]}",
            help="Exploratory rows and oracles are listed apart, without a rank.",
            key="submit-role",
        )
        with st.expander("Card (optional): authors, paper, code, licence"):
            fields = _card_fields()
        pressed = st.form_submit_button("Check and preview", type="primary")
    if not pressed:
        return None
    # An earlier preview no longer matches the form, whatever comes of this check.
    st.session_state.pop("preview", None)
    st.session_state.pop("receipt", None)
    if file is None:
        raise UserError("no file was given; drop a predictions file into the box above")
    if not name.strip():
        raise UserError("no name was given; enter the name that the model is to be listed under")
    card = card_of({key: value for key, value in fields.items() if value})
    return Form(file, name.strip(), card, role)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _card_fields() -> dict[str, Any]:
    return {
        "title": st.text_input("Title", max_chars=200).strip(),
        "description": st.text_area("Description", max_chars=10_000).strip(),
        "authors": _listed(st.text_input("Authors", help="separated by commas")),
        "paper": st.text_input("Paper", placeholder="10.1000/xyz or https://…").strip(),
        "code": st.text_input("Code", placeholder="https://…").strip(),
        "licence": st.text_input("Licence", placeholder="Apache-2.0").strip(),
        "tags": _listed(st.text_input("Tags", help="separated by commas")),
        "training_data": st.selectbox(
            "Training data",
            ["unknown", "none", "declared"],
            format_func=lambda key: DISCLOSURE[key],
            key="submit-training-data",
        ),
        "training_data_note": st.text_input("Which other data", max_chars=2000).strip(),
        "training_sets": _listed(
            st.text_input(
                "Other data, by name",
                help="separated by commas; data of this hub as DATASET:CONFIG or"
                " DATASET:CONFIG:SPLIT, which are compared with the samples that are scored",
                placeholder="composites:2d-full:train, ImageNet-21k",
                key="submit-training-sets",
            )
        ),
    }


def card_of(fields: dict[str, Any]) -> ModelCard:
    """The card; a UserError names a field that is not valid."""
    for key in ("paper", "code"):
        if key in fields and web_address(fields[key]) is None:
            raise UserError(
                f"{key}: {fields[key][:60]!r} is not an address; enter one that starts with"
                " https://" + (" or a DOI that starts with 10." if key == "paper" else "")
            )
    return card_from_mapping(fields)


def check(hub: Hub, task: Task, form: Form) -> Preview:
    """Score an upload in a process of its own; messages name the upload, not its copy."""
    config = task.spec.tracks[task.track].config
    if hub.config_folder(task.spec.dataset, config) is None:
        raise UserError(
            "the data to score with are not on this machine; press the button that builds them"
            " above, then check again"
        )
    hub.check_name(form.name)
    content = form.file.getvalue()
    # By its content, not its name: parquet begins with these four letters.
    named_csv = str(form.file.name).lower().endswith(".csv")
    suffix = ".csv" if named_csv and not content.startswith(b"PAR1") else ".parquet"
    statement = Statement(form.name, form.card, task.track, task.protocol, form.role)
    with temporary_folder() as folder:
        path = (folder / f"predictions{suffix}").absolute()
        write(path, content)
        with named(path, shortened(str(form.file.name), 60)):
            prepared = hub.preview(path, task.spec.id, statement, warm=True)
    return Preview(task.key, prepared, content, suffix, str(form.file.name))


def write(path: Path, content: bytes) -> None:
    """Keep an upload for a moment; a UserError if there is no room for it."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UserError(
            f"the file cannot be kept while it is checked ({error.strerror or error}); free some"
            " space or let TMPDIR name another folder"
        ) from None
