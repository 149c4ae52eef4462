"""Filters of a board, kept in the link."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.state import Link, view
from dashboard.text import literal, shortened
from etchmark.api import Where

STATUS = ("run", "verified", "scored", "reported")
TRAINING = {
    "none": "the benchmark's data only",
    "declared": "other data too",
    "unknown": "not stated",
}


NAMED = 5
"""Values that a link asks for and no row has, which a warning names at most."""


def show(frame: pd.DataFrame, link: Link) -> Where:
    """The filters that are set, added to ``link``; ranks are made among the rows that are left."""
    warnings: list[str] = []
    missing: list[str] = []
    # The label never changes: another label would be another popover, and closed.
    with st.popover("Filters", icon=":material/filter_list:"):
        status = _choose_some(
            "status",
            [name for name in STATUS if name in set(frame["status"])],
            STATUS,
            missing=missing,
            label="Status",
        )
        tags = sorted({tag for tags in frame["tags"] for tag in tags})
        tags = _choose_some(
            "tags",
            [tag for tag in tags if "," not in tag],
            missing=missing,
            label="Tags (rows that have all of them)",
            format_func=lambda tag: shortened(tag, 60),
        )
        training = _choose_some(
            "training",
            [name for name in TRAINING if name in set(frame["training_data"])],
            list(TRAINING),
            missing=missing,
            label="Trained on",
            format_func=lambda name: TRAINING[name],
        )
        max_parameters = _choose_parameters(warnings)
    missing = list(dict.fromkeys(missing))
    if missing:
        names = " or ".join(map(repr, missing[:NAMED]))
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        those = "that filter is" if len(missing) == 1 else "those filters are"
        warnings.append(f"No row here has {names}{more}; {those} ignored.")
    # Inside the popover, only a reader who opens it would see them.
    for text in warnings:
        st.warning(literal(text))
    for key, values in (("status", status), ("tags", tags), ("training", training)):
        if values:
            link[key] = ",".join(values)
    if max_parameters is not None:
        link["parameters"] = str(max_parameters)
    return Where(status, tags, training, max_parameters)


def _choose_some(
    key: str,
    options: Sequence[str],
    valid: Sequence[str] = (),
    *,
    missing: list[str],
    **settings: Any,
) -> tuple[str, ...]:
    """A choice of several that is part of the view.

    Args:
        key: of the view.
        options: values that rows have.
        valid: values that a link may also ask for; then no row is left.
        missing: what a link asks for and no row has is added to them.
        settings: of the widget.
    """
    widget = f"pick-{key}"
    asked = [value for value in view().get(key, "").split(",") if value]
    options = [*options, *(name for name in valid if name in asked and name not in options)]
    if widget not in st.session_state:
        for value in asked:
            if value not in options:
                missing.append(shortened(value, 60))
        st.session_state[widget] = [name for name in options if name in asked]
    else:
        kept = [name for name in st.session_state[widget] if name in options]
        st.session_state[widget] = kept
    return tuple(st.multiselect(options=options, key=widget, placeholder="any", **settings))


def _choose_parameters(warnings: list[str]) -> int | None:
    if "pick-parameters" not in st.session_state:
        asked = view().get("parameters", "")
        limit = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 16 else None
        if asked and limit is None:
            name = shortened(asked, 60)
            warnings.append(f"{name!r} is not a number of parameters; that filter is ignored.")
        st.session_state["pick-parameters"] = limit
    return st.number_input(
        "Fitted parameters, at most",
        value=None,
        min_value=0,
        max_value=10**15,
        step=1,
        key="pick-parameters",
        placeholder="any, or unknown",
    )
