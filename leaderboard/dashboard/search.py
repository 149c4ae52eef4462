"""The field at the top of every page that searches models, benchmarks and datasets."""

from __future__ import annotations

import streamlit as st

FIELD = "search-for"
PAGE = "app_pages/search.py"


def box() -> None:
    """The field; what is typed leads to the page of results."""
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.text_input(
            "Search models, benchmarks and datasets",
            key=FIELD,
            placeholder="Search models, benchmarks, datasets",
            label_visibility="collapsed",
            icon=":material/search:",
            width=340,
            on_change=_go,
        )
    if asked := st.session_state.pop("searched", ""):
        st.switch_page(PAGE, query_params={"q": asked})


def _go() -> None:
    # Pages cannot be switched in a callback.
    text = str(st.session_state[FIELD]).strip()
    st.session_state[FIELD] = ""
    st.session_state["searched"] = text
