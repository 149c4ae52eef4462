"""What a search found, with links."""

from __future__ import annotations

import streamlit as st
from dashboard import markup
from dashboard.text import literal, shortened

from etchmark.api import Match, open_hub

LIMIT = 50
"""Of each sort, at most so many are shown."""
SORTS = {"benchmark": "Benchmarks", "model": "Models", "dataset": "Datasets"}


def link(match: Match) -> str:
    page, key = {
        "benchmark": ("leaderboard", "benchmark"),
        "model": ("model", "name"),
        "dataset": ("data", "dataset"),
    }[match.sort]
    return markup.link(page, markup.escaped(match.name, 100), {key: match.name})


def main() -> None:
    st.title("Search", anchor=False)
    text = st.query_params.get("q", "").strip()
    if not text:
        st.info("Type a few letters of a model, benchmark or dataset into the field above.")
        return
    matches = open_hub().search(text, LIMIT + 1)
    asked = literal(repr(shortened(text, 60)))
    if not matches:
        st.info(
            f"Nothing here has every word of {asked} in its name or title. Try fewer letters, or"
            " look at the overview."
        )
        return
    if matches[0].near:
        st.markdown(f"Nothing here has every word of {asked}; these are spelled most alike:")
    else:
        st.markdown(f"Names and titles that hold every word of {asked}:")
    for sort, title in SORTS.items():
        of_sort = [match for match in matches if match.sort == sort]
        if not of_sort:
            continue
        st.header(title, anchor=False)
        rows = [
            [link(match), "" if match.title == match.name else markup.escaped(match.title)]
            for match in of_sort[:LIMIT]
        ]
        markup.show(markup.table(["Name", "Title"], rows, f"{title} that were found"))
        if len(of_sort) > LIMIT:
            st.caption(f"These are the first {LIMIT}; more letters find fewer.")


main()
