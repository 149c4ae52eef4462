"""The third step of a submission: from this hub to the public board, by a pull request."""

from __future__ import annotations

import shlex

import streamlit as st

from dashboard.state import SHORT
from etchmark.api import LOCAL, Entry, Hub, folder_name

STEPS = ("Preview", "Store in this hub", "Send to the public board")


def show_steps(current: int) -> None:
    """The whole way of a submission, with the step that is next."""
    # A number and a full stop would start a list.
    words = [f"{number}\\. {step}" for number, step in enumerate(STEPS, 1)]
    words[current - 1] = f"**{words[current - 1]}**"
    st.markdown(" → ".join(words))


def show(hub: Hub, entry: Entry) -> None:
    """The folder for a pull request, the commands that make and check it, and what to do with it.

    Sending a submission straight to another hub is to stand here, too.
    """
    record, folder = entry.record, folder_name(entry.record)
    st.header(f"3. {STEPS[2]}", anchor=False)
    st.markdown(
        "Nothing has left this hub. The public board takes submissions by pull request: a folder"
        " with the record, the per-sample table and your predictions, which a reviewer scores"
        " again."
    )
    st.download_button(
        "Folder for the pull request (zip)",
        # Read only when somebody asks for it: predictions may be large.
        lambda: hub.archive(entry),
        file_name=f"{folder}.zip",
        mime="application/zip",
        icon=":material/folder_zip:",
        on_click="ignore",
    )
    st.markdown(
        "The same in a terminal on the machine of this hub; the second command is the one that the"
        " reviewer runs:"
    )
    name = shlex.quote(folder)
    st.code(
        f"etchmark results export {record.submission[:SHORT]} {name}\n"
        f"etchmark results check {name}",
        language="bash",
        wrap_lines=True,
    )
    st.markdown(
        "Then open a pull request, or an issue, in the repository of etchmark with that folder"
        " attached. CONTRIBUTING.md says what a reviewer looks at."
    )


def show_link(entry: Entry) -> None:
    """The way from a stored submission to this step; reviewed records are there already."""
    if entry.origin == LOCAL and entry.record.outcome == "ok":
        st.page_link(
            "app_pages/submit.py",
            label="Send it to the public board",
            icon=":material/upload:",
            query_params={"stored": entry.record.submission[:SHORT]},
        )
