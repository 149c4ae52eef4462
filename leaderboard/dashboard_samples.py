"""Which samples of a split are looked at, kept in the link."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

import dashboard_parts as parts
import pandas as pd
import streamlit as st

from etchmark.data.gallery import Gallery, groups, numbers


def choose(found: Gallery, split: str, chosen: dict[str, str]) -> pd.DataFrame:
    """The samples that pass the filters, which are noted; the index is the row in the split."""
    table = parts.samples(found, split)
    sorts, ranges = groups(table), numbers(table)
    columns = iter(st.columns(1 + bool(sorts) + bool(ranges)))
    key = found.label(split)
    if sorts:
        with next(columns):
            table = _of_groups(table, sorts, key, chosen)
    if ranges:
        with next(columns):
            table = _between(table, ranges, key, chosen)
    with next(columns):
        return _named(table, key, chosen)


def _begin(widget: str, value: object) -> str:
    """What a widget shows until it is touched; its key."""
    if widget not in st.session_state:
        st.session_state[widget] = value
    return widget


def _column(label: str, name: str, options: list[str], key: str, chosen: dict[str, str]) -> str:
    """A choice among columns; noted only where another than the first is looked at."""
    asked = parts.view().get(name)
    widget = _begin(f"{name}-{key}", asked if asked in options else options[0])
    column = st.selectbox(label, options, key=widget)
    if column != options[0]:
        chosen[name] = column
    return column


def _of_groups(
    table: pd.DataFrame, sorts: list[str], key: str, chosen: dict[str, str]
) -> pd.DataFrame:
    column = _column("Group by", "group", sorts, key, chosen)
    texts = pd.Series(table[column]).astype(str)
    values = sorted(texts.unique())
    # Quoted one by one: a value may hold a comma.
    asked = {unquote(one) for one in parts.view().get("show", "").split(",")}
    some = [one for one in values if one in asked]
    kept = st.multiselect("Show", values, key=_begin(f"show-{key}-{column}", some or values))
    if len(kept) < len(values):
        chosen["show"] = ",".join(quote(one, safe="") for one in kept)
    return pd.DataFrame(table[texts.isin(kept)])


def _between(
    table: pd.DataFrame, ranges: list[str], key: str, chosen: dict[str, str]
) -> pd.DataFrame:
    column = _column("Between", "quantity", ranges, key, chosen)
    values = pd.Series(table[column])
    whole = (float(values.min()), float(values.max()))
    asked = _limits(parts.view().get("between", ""), whole)
    widget = _begin(f"between-{key}-{column}", asked)
    step = (whole[1] - whole[0]) / 200
    picked: Any = st.slider(parts.literal(column), *whole, step=step, key=widget, format="%.4g")
    limits: tuple[float, float] = picked
    if limits != whole:
        chosen["between"] = f"{limits[0]:.9g},{limits[1]:.9g}"
    return pd.DataFrame(table[values.between(*limits) | values.isna()])


def _limits(asked: str, whole: tuple[float, float]) -> tuple[float, float]:
    """Limits from a link, if they are any that the quantity can have."""
    low, _, high = asked.partition(",")
    try:
        limits = (max(float(low), whole[0]), min(float(high), whole[1]))
    except ValueError:
        return whole
    return limits if limits[0] <= limits[1] else whole


def _named(table: pd.DataFrame, key: str, chosen: dict[str, str]) -> pd.DataFrame:
    widget = _begin(f"id-{key}", parts.view().get("id", ""))
    word = st.text_input("Id contains", max_chars=100, key=widget).strip()
    if not word:
        return table
    chosen["id"] = word
    ids = pd.Series(table["id"]).astype(str).str
    return pd.DataFrame(table[ids.contains(word, case=False, regex=False)])
