"""Filters of a split's samples, kept in the link.

What the reader picked is kept beside the widgets, because these differ from split to split: a limit
or a group survives a visit to a split that lacks it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import cached
from dashboard.state import Link
from dashboard.text import literal, shortened
from etchmark.api import Gallery, groups, numbers

EMPTY = "~"
"""Represents an empty text in a link."""
Filters = dict[str, Any]
"""``group`` and ``quantity`` (columns), ``show`` (values or None for all), ``low`` and ``high``
(numbers or None for no limit), ``id``."""


def show(gallery: Gallery, split: str, link: Link, asked: Mapping[str, str]) -> pd.DataFrame:
    """The samples that pass the filters; the index is the row in the split.

    Args:
        gallery: the configuration.
        split: of it.
        link: the filters are added to it.
        asked: what the link said before the reader picked anything on the page.
    """
    table = cached.samples(gallery, split)
    text_columns, number_columns = groups(table), numbers(table)
    place = f"filters-{link['dataset']}:{link['config']}"
    if place not in st.session_state:
        same = all(asked.get(key, link[key]) == link[key] for key in ("dataset", "config"))
        parsed = _from_link(asked if same else {}, table, text_columns, number_columns)
        st.session_state[place] = parsed
    filters: Filters = st.session_state[place]
    columns = iter(st.columns(1 + bool(text_columns) + bool(number_columns)))
    key = gallery.label(split)
    kept = np.ones(len(table), dtype=bool)
    if text_columns:
        with next(columns):
            kept &= _by_group(table, text_columns, key, filters)
    if number_columns:
        with next(columns):
            kept &= _by_range(table, number_columns, key, filters)
    with next(columns):
        kept &= _by_id(table, key, filters)
    link.update(_to_link(filters, text_columns, number_columns))
    return pd.DataFrame(table[kept])


# --- the link ----------------------------------------------------------------------------------


def _from_link(
    asked: Mapping[str, str],
    table: pd.DataFrame,
    text_columns: Sequence[str],
    number_columns: Sequence[str],
) -> Filters:
    """Filters that a link asks for; what does not exist is reported and ignored."""
    filters: Filters = dict.fromkeys(("group", "show", "quantity", "low", "high"))
    filters["id"] = asked.get("id", "")[:100].strip()
    for name, options in (("group", text_columns), ("quantity", number_columns)):
        if asked.get(name) in options:
            filters[name] = asked[name]
        elif name in asked:
            _warn(f"There is no column {shortened(asked[name], 60)!r} to filter by here.")
    if "show" in asked and text_columns:
        texts = {str(value) for value in table[filters["group"] or text_columns[0]]}
        wanted = [
            unquote("" if value == EMPTY else value) for value in asked["show"].split(",") if value
        ]
        if unknown := [value for value in wanted if value not in texts]:
            _warn(f"There is no {shortened(unknown[0], 60)!r} among the groups here.")
        known = [value for value in wanted if value in texts]
        filters["show"] = known if known or not wanted else None
    if "between" in asked and number_columns:
        ends = [_limit(text) for text in asked["between"].split(",")]
        if len(ends) != 2 or "invalid" in ends:
            _warn(f"There are no limits {shortened(asked['between'], 60)!r}.")
        else:
            filters["low"], filters["high"] = ends
    return filters


def _warn(text: str) -> None:
    st.warning(literal(text))


def _limit(text: str) -> float | str | None:
    """A limit; None for an open end, "invalid" for anything that is not a finite number."""
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        return "invalid"
    return value if isfinite(value) else "invalid"


def _to_link(filters: Filters, text_columns: Sequence[str], number_columns: Sequence[str]) -> Link:
    """Only what differs from a page without filters."""
    link: Link = {}
    if filters["group"] not in (None, *text_columns[:1]):
        link["group"] = filters["group"]
    if filters["show"] is not None:
        # Quoted one by one: a value may contain a comma.
        link["show"] = ",".join(_quoted(value) for value in filters["show"])
    if filters["quantity"] not in (None, *number_columns[:1]):
        link["quantity"] = filters["quantity"]
    ends = ["" if filters[end] is None else repr(filters[end]) for end in ("low", "high")]
    if any(ends):
        link["between"] = ",".join(ends)
    if filters["id"]:
        link["id"] = filters["id"]
    return link


def _quoted(value: str) -> str:
    return quote(value, safe="").replace(EMPTY, "%7E") if value else EMPTY


# --- widgets -----------------------------------------------------------------------------------


def _choose_column(
    label: str, name: str, options: Sequence[str], key: str, filters: Filters
) -> str:
    """A choice among columns; another column drops the filters that were set for the last one."""
    widget = f"{name}-{key}"
    dropped = ("show",) if name == "group" else ("low", "high")

    def on_change() -> None:
        filters.update(dict.fromkeys(dropped), **{name: st.session_state[widget]})

    st.session_state[widget] = filters[name] if filters[name] in options else options[0]
    return st.selectbox(label, options, key=widget, on_change=on_change)


def _by_group(
    table: pd.DataFrame, columns: Sequence[str], key: str, filters: Filters
) -> np.ndarray:
    column = _choose_column("Group by", "group", columns, key, filters)
    texts = pd.Series(table[column]).astype(str)
    values = sorted(texts.unique())
    widget = f"show-{key}-{column}"

    def on_change() -> None:
        picked = st.session_state[widget]
        filters["show"] = None if len(picked) == len(values) else list(picked)

    wanted = filters["show"]
    st.session_state[widget] = [value for value in values if wanted is None or value in wanted]
    st.multiselect(
        "Show", values, key=widget, on_change=on_change, format_func=lambda text: text or "(none)"
    )
    return texts.isin(values if wanted is None else wanted).to_numpy(dtype=bool)


def _by_range(
    table: pd.DataFrame, columns: Sequence[str], key: str, filters: Filters
) -> np.ndarray:
    column = _choose_column("Range of", "quantity", columns, key, filters)
    values = table[column].to_numpy(dtype=float, na_value=np.nan)
    least, greatest = float(np.nanmin(values)), float(np.nanmax(values))
    low, high = filters["low"], filters["high"]
    if least < greatest:
        widget = f"between-{key}-{column}"

        def on_change() -> None:
            # An end that is left where the samples end stays open, for other splits too.
            first, last = st.session_state[widget]
            if first != shown[0]:
                filters["low"] = first if first > least else None
            if last != shown[1]:
                filters["high"] = last if last < greatest else None

        ends = [
            end if limit is None else min(max(limit, least), greatest)
            for limit, end in ((low, least), (high, greatest))
        ]
        shown = (min(ends), max(ends))
        st.session_state[widget] = shown
        st.slider(
            literal(column),
            least,
            greatest,
            step=(greatest - least) / 200,
            key=widget,
            on_change=on_change,
            format="%.4g",
        )
    kept = np.ones(len(table), dtype=bool)
    if low is not None:
        kept &= ~(values < low)
    if high is not None:
        kept &= ~(values > high)
    return kept


def _by_id(table: pd.DataFrame, key: str, filters: Filters) -> np.ndarray:
    widget = f"id-{key}"

    def on_change() -> None:
        filters["id"] = st.session_state[widget].strip()

    st.session_state[widget] = filters["id"]
    st.text_input("Id contains", max_chars=100, key=widget, on_change=on_change)
    word = filters["id"].casefold()
    return np.array([word in str(sample).casefold() for sample in table["id"]], dtype=bool)
