"""Submit predictions: template, check, preview of the standing, and only then the registry."""

from __future__ import annotations

import streamlit as st
from dashboard import state
from dashboard.page import guarded
from dashboard.panels import submission_form, submission_preview, task, template

from etchmark.api import open_hub


def main() -> None:
    st.title("Submit predictions", anchor=False)
    state.follow_link()
    hub = open_hub()
    purpose = task.choose(hub)
    template.show(hub, purpose)
    with guarded():
        form = submission_form.show()
        if form is not None:
            with st.spinner("Checking and scoring"):
                st.session_state["preview"] = submission_form.check(hub, purpose, form)
    preview = st.session_state.get("preview")
    if preview is not None and preview.task == purpose.key:
        submission_preview.show(hub, purpose, preview)
    elif preview is not None:
        del st.session_state["preview"]
        st.info("The preview was for another benchmark, track or protocol. Check again.")
    receipt = st.session_state.get("receipt")
    if receipt is not None:
        submission_preview.show_receipt(hub, *receipt)


main()
