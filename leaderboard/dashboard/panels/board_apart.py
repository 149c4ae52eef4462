"""Rows of a board that their role keeps out of the ranking, each kind in a section of its own."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.terms import linked

KINDS = {
    "control": (
        "Controls",
        "They show a leak or a confound, such as a network that was never trained: how good a score"
        " is without what the benchmark asks for.",
    ),
    "exploratory": (
        "Exploratory rows",
        "Something about them was chosen by looking at test scores, so their scores are better than"
        " those on new data would be.",
    ),
    "oracle": (
        "Oracles",
        "They make or reproduce the labels, such as the solver that simulated them. Their cost is"
        " what a model has to beat.",
    ),
}
"""Title and meaning of the roles that are not ranked."""
EMPTY = ("rank", "range", "best", "gain", "role", "note")
"""Columns that hold nothing for these rows, or what the title of their section says."""


def roles_of(frame: pd.DataFrame) -> pd.Series:
    """The role of every row that is listed apart for it, and an empty text for all others."""
    apart = frame["rank"].isna() & frame["role"].isin(list(KINDS)) & (frame["outcome"] == "ok")
    return frame["role"].where(apart & ~frame["superseded"].astype(bool), "")


def introduce(role: str, benchmark: str) -> None:
    """Heading of a section, and what its rows are there for."""
    title, meaning = KINDS[role]
    st.subheader(title, anchor=False)
    text = f"{meaning} Not ranked, whatever their score; see roles."
    st.caption(linked(text, {"roles": "roles"}, benchmark))
