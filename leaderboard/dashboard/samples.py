"""Which samples of a split are looked at, kept in the link.

What was chosen is kept beside the widgets, which differ from split to split: a limit or a group
that another split lacks is not forgotten by a look at it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import parts
from etchmark.data.gallery import Gallery, groups, numbers

EMPTY = "~"
"""Stands for an empty text in a link."""
Filters = dict[str, Any]
"""``group`` and ``quantity`` (columns), ``show`` (values or None for all), ``low`` and ``high``
(numbers or None for no limit), ``id``."""


def choose(
    found: Gallery, split: str, chosen: dict[str, str], asked: Mapping[str, str]
) -> pd.DataFrame:
    """The samples that pass the filters, which are noted; the index is the row in the split.

    Args:
        found: the configuration.
        split: of it.
        chosen: what the link will say, added to.
        asked: what the link said before anything on the page was chosen.
    """
    table = parts.samples(found, split)
    sorts, ranges = groups(table), numbers(table)
    place = f"filters-{chosen['dataset']}:{chosen['config']}"
    if place not in st.session_state:
        same = all(asked.get(one, chosen[one]) == chosen[one] for one in ("dataset", "config"))
        st.session_state[place] = _from_link(asked if same else {}, table, sorts, ranges)
    filters: Filters = st.session_state[place]
    columns = iter(st.columns(1 + bool(sorts) + bool(ranges)))
    key = found.label(split)
    kept = np.ones(len(table), dtype=bool)
    if sorts:
        with next(columns):
            kept &= _of_groups(table, sorts, key, filters)
    if ranges:
        with next(columns):
            kept &= _between(table, ranges, key, filters)
    with next(columns):
        kept &= _named(table, key, filters)
    chosen.update(_to_link(filters, sorts, ranges))
    return pd.DataFrame(table[kept])


# --- the link ----------------------------------------------------------------------------------


def _from_link(
    asked: Mapping[str, str], table: pd.DataFrame, sorts: Sequence[str], ranges: Sequence[str]
) -> Filters:
    """Filters that a link asks for; what it names in vain is said and left out."""
    filters: Filters = dict.fromkeys(("group", "show", "quantity", "low", "high"))
    filters["id"] = asked.get("id", "")[:100].strip()
    for name, options in (("group", sorts), ("quantity", ranges)):
        if asked.get(name) in options:
            filters[name] = asked[name]
        elif name in asked:
            _say(f"There is no column {parts.shortened(asked[name], 60)!r} to filter by here.")
    if "show" in asked and sorts:
        texts = {str(one) for one in table[filters["group"] or sorts[0]]}
        wanted = [unquote("" if one == EMPTY else one) for one in asked["show"].split(",") if one]
        unknown = [one for one in wanted if one not in texts]
        if unknown:
            _say(f"There is no {parts.shortened(unknown[0], 60)!r} among the groups here.")
        known = [one for one in wanted if one in texts]
        filters["show"] = known if known or not wanted else None
    if "between" in asked and ranges:
        ends = [_number(one) for one in asked["between"].split(",")]
        if len(ends) != 2 or "wrong" in ends:
            _say(f"There are no limits {parts.shortened(asked['between'], 60)!r}.")
        else:
            filters["low"], filters["high"] = ends
    return filters


def _say(text: str) -> None:
    st.warning(parts.literal(text))


def _number(text: str) -> float | str | None:
    """A limit; None for an open end."""
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        return "wrong"
    return value if isfinite(value) else "wrong"


def _to_link(filters: Filters, sorts: Sequence[str], ranges: Sequence[str]) -> dict[str, str]:
    """Only what differs from a page without filters."""
    said = {}
    if filters["group"] not in (None, *sorts[:1]):
        said["group"] = filters["group"]
    if filters["show"] is not None:
        # Quoted one by one: a value may hold a comma.
        said["show"] = ",".join(_quoted(one) for one in filters["show"])
    if filters["quantity"] not in (None, *ranges[:1]):
        said["quantity"] = filters["quantity"]
    ends = ["" if filters[one] is None else repr(filters[one]) for one in ("low", "high")]
    if any(ends):
        said["between"] = ",".join(ends)
    if filters["id"]:
        said["id"] = filters["id"]
    return said


def _quoted(value: str) -> str:
    return quote(value, safe="").replace(EMPTY, "%7E") if value else EMPTY


# --- widgets -----------------------------------------------------------------------------------


def _column(
    label: str, name: str, options: Sequence[str], key: str, filters: Filters, lost: Sequence[str]
) -> str:
    """A choice among columns; with another one, what was chosen of the first is ``lost``."""
    widget = f"{name}-{key}"

    def note() -> None:
        filters.update(dict.fromkeys(lost), **{name: st.session_state[widget]})

    here = filters[name] if filters[name] in options else options[0]
    st.session_state[widget] = here
    return st.selectbox(label, options, key=widget, on_change=note)


def _of_groups(table: pd.DataFrame, sorts: Sequence[str], key: str, filters: Filters) -> np.ndarray:
    column = _column("Group by", "group", sorts, key, filters, ["show"])
    texts = pd.Series(table[column]).astype(str)
    values = sorted(texts.unique())
    widget = f"show-{key}-{column}"

    def note() -> None:
        picked = st.session_state[widget]
        filters["show"] = None if len(picked) == len(values) else list(picked)

    wanted = filters["show"]
    st.session_state[widget] = [one for one in values if wanted is None or one in wanted]
    st.multiselect(
        "Show", values, key=widget, on_change=note, format_func=lambda one: one or "(none)"
    )
    return texts.isin(values if wanted is None else wanted).to_numpy(dtype=bool)


def _between(table: pd.DataFrame, ranges: Sequence[str], key: str, filters: Filters) -> np.ndarray:
    column = _column("Between", "quantity", ranges, key, filters, ["low", "high"])
    values = table[column].to_numpy(dtype=float, na_value=np.nan)
    least, most = float(np.nanmin(values)), float(np.nanmax(values))
    low, high = filters["low"], filters["high"]
    if least < most:
        widget = f"between-{key}-{column}"

        def note() -> None:
            # An end that is left where the samples end is open, also for other splits.
            first, last = st.session_state[widget]
            if first != shown[0]:
                filters["low"] = first if first > least else None
            if last != shown[1]:
                filters["high"] = last if last < most else None

        ends = [
            end if one is None else min(max(one, least), most)
            for one, end in ((low, least), (high, most))
        ]
        shown = (min(ends), max(ends))
        st.session_state[widget] = shown
        step = (most - least) / 200
        label = parts.literal(column)
        st.slider(label, least, most, step=step, key=widget, on_change=note, format="%.4g")
    kept = np.ones(len(table), dtype=bool)
    if low is not None:
        kept &= ~(values < low)
    if high is not None:
        kept &= ~(values > high)
    return kept


def _named(table: pd.DataFrame, key: str, filters: Filters) -> np.ndarray:
    widget = f"id-{key}"

    def note() -> None:
        filters["id"] = st.session_state[widget].strip()

    st.session_state[widget] = filters["id"]
    st.text_input("Id contains", max_chars=100, key=widget, on_change=note)
    word = filters["id"].casefold()
    return np.array([word in str(one).casefold() for one in table["id"]], dtype=bool)
