"""What the terms of the boards mean: a list of them, and a short page with a figure for each."""

from __future__ import annotations

import streamlit as st
from dashboard import state
from dashboard.reading import pages
from dashboard.terms import TERMS
from dashboard.text import literal, shortened

from etchmark.api import open_hub


def asked_term() -> str | None:
    """The term that the link names; one that does not exist is reported and ignored."""
    key = st.query_params.get("about", "")
    if key and key not in TERMS:
        st.warning(
            literal(f"There is no page about {shortened(key, 60)!r}; showing the list of terms.")
        )
    return key if key in TERMS else None


def main() -> None:
    title = st.empty()
    state.follow_link()
    hub = open_hub()
    key = asked_term()
    title.title("How to read this" if key is None else TERMS[key].title, anchor=False)
    if key is None:
        st.markdown("Short pages, each with a figure from a board of this hub.")
    spec = state.choose_benchmark_apart(hub, "read-benchmark")
    state.show_in_address({"benchmark": spec.id})
    if key is None:
        pages.show_list(spec)
    else:
        pages.show(hub, spec, key)


main()
