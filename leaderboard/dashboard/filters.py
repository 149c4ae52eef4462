"""What a board is narrowed to, kept in the link."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import parts
from etchmark.boards.standings import Where

STATUS = ("run", "verified", "scored", "reported")
TRAINING = {
    "none": "the benchmark's data alone",
    "declared": "other data too",
    "unknown": "not stated",
}


def _some(
    key: str,
    options: Sequence[str],
    known: Sequence[str] = (),
    *,
    vain: list[str],
    **more: Any,
) -> tuple[str, ...]:
    """A choice of several that is part of the view; what a link names in vain goes to ``vain``.

    Of ``known`` values a link may name also those that no row has: then no row is left.
    """
    widget = f"pick-{key}"
    asked = [one for one in parts.view().get(key, "").split(",") if one]
    options = [*options, *(one for one in known if one in asked and one not in options)]
    if widget not in st.session_state:
        for one in asked:
            if one not in options:
                named = parts.shortened(one, 60)
                vain.append(f"No row here has {named!r}; that filter is left out.")
        st.session_state[widget] = [one for one in options if one in asked]
    else:
        here = [one for one in st.session_state[widget] if one in options]
        st.session_state[widget] = here
    return tuple(st.multiselect(options=options, key=widget, **more))


def show(frame: pd.DataFrame, chosen: dict[str, str]) -> Where:
    """What the board is narrowed to, kept in the link; ranks are made among what is left."""
    vain: list[str] = []
    # The same words whatever is set: another label would be another popover, and shut.
    with st.popover("Filters", icon=":material/filter_list:"):
        status = _some(
            "status",
            [one for one in STATUS if one in set(frame["status"])],
            STATUS,
            vain=vain,
            label="Status",
            placeholder="any",
        )
        known = sorted({tag for tags in frame["tags"] for tag in tags})
        tags = _some(
            "tags",
            [one for one in known if "," not in one],
            vain=vain,
            label="Tags, all of them",
            placeholder="any",
            format_func=lambda one: parts.shortened(one, 60),
        )
        training = _some(
            "training",
            [one for one in TRAINING if one in set(frame["training_data"])],
            list(TRAINING),
            vain=vain,
            label="Trained on",
            placeholder="any",
            format_func=lambda one: TRAINING[one],
        )
        most = _most_parameters(vain)
    # Inside, they would be seen by whoever opens the filters alone.
    for text in vain:
        st.warning(parts.literal(text))
    for key, values in (("status", status), ("tags", tags), ("training", training)):
        if values:
            chosen[key] = ",".join(values)
    if most is not None:
        chosen["parameters"] = str(most)
    return Where(status, tags, training, most)


def _most_parameters(vain: list[str]) -> int | None:
    if "pick-parameters" not in st.session_state:
        asked = parts.view().get("parameters", "")
        most = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 16 else None
        if asked and most is None:
            named = parts.shortened(asked, 60)
            vain.append(f"{named!r} is no number of parameters; it is left out.")
        st.session_state["pick-parameters"] = most
    return st.number_input(
        "Parameters at most",
        value=None,
        min_value=0,
        max_value=10**15,
        step=1,
        key="pick-parameters",
        placeholder="any, also unknown",
    )
