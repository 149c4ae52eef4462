"""The view: what is looked at, kept in the session and in the link.

Query parameters are the public form of the view: a copied link shows the same board, models or
samples to anybody. The session keeps the view while the reader moves between pages, because
Streamlit drops query parameters there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import streamlit as st

from dashboard.text import literal, shortened
from etchmark.api import Hub
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec
from etchmark.text import plain

Link = dict[str, str]
"""Query parameters by key."""

FILTER_KEYS = ("status", "tags", "training", "parameters")
BOARD_KEYS = (
    *(
        "benchmark",
        "protocol",
        "track",
        "metric",
        "by",
        "columns",
        "all",
        "print",
        "model",
        "figure",
        "cost",
        "cite",
    ),
    *FILTER_KEYS,
)
SAMPLE_KEYS = ("group", "show", "quantity", "between", "id")
MODEL_KEYS = ("name", "reads", "submission", "tab")
DATA_KEYS = ("dataset", "config", "split", "sample", *SAMPLE_KEYS)
KEY_GROUPS = (BOARD_KEYS, ("models",), MODEL_KEYS, DATA_KEYS)
"""A page's link says nothing about pages with other keys, whose view is kept."""
VIEW_KEYS = tuple(key for group in KEY_GROUPS for key in group)
DEPENDENT_WIDGETS = ("compare-", "filters-", "page-", "place-", "sample-")
"""Prefixes of widgets that are kept by what they depend on; a followed link resets them all."""
APART_WIDGETS = ("read-benchmark", "submit-benchmark")
"""Choices of a benchmark that start from the view and leave it as it is."""
ALL_TRACKS = "all"
SHORT = 12
"""Characters of a submission's id in a link."""
LEAST = 8
"""Characters of an id that a link must have."""


def follow_link() -> None:
    """Take the view from the link, unless this session wrote that link itself; once per run."""
    asked = {key: st.query_params[key] for key in VIEW_KEYS if key in st.query_params}
    # A link that was not written here was typed, followed or gone back to. Changing pages leaves
    # no parameters at all: then the last view still holds.
    if asked and asked != st.session_state.get("written"):
        kept = _of_other_pages(asked)
        st.session_state["view"] = kept | asked
        for key in set(VIEW_KEYS) - set(kept):
            st.session_state.pop(f"pick-{key}", None)
        for widget in [str(name) for name in st.session_state]:
            if widget.startswith(DEPENDENT_WIDGETS) or widget in APART_WIDGETS:
                st.session_state.pop(widget, None)


def enter(page: str) -> None:
    """Start the choices of a page from the view, whichever page set it last.

    Widgets of two pages share keys, and Streamlit hands the value of one page's widget to the
    other's, whose own value is then lost.
    """
    if st.session_state.get("page", page) != page:
        for key in VIEW_KEYS:
            st.session_state.pop(f"pick-{key}", None)
    st.session_state["page"] = page


def _of_other_pages(link: Link) -> Link:
    """The part of the view that pages with other keys than the link's have set."""
    own = {key for group in KEY_GROUPS if set(group) & set(link) for key in group}
    return {key: value for key, value in view().items() if key not in own}


def view() -> Link:
    return st.session_state.setdefault("view", {})


def remember(link: Link) -> None:
    """Put the view into the link, so that it restores what is seen."""
    st.session_state["view"] = _of_other_pages(link) | link
    st.session_state["written"] = dict(link)
    if {key: st.query_params[key] for key in st.query_params} != link:
        st.query_params.from_dict(link)


def show_in_address(link: Link) -> None:
    """Let a reload find the choices of a page that leaves the view of the others as it is.

    Args:
        link: what of the view the address then names; its parameters beside the view stay.
    """
    st.session_state["written"] = dict(link)
    asked = {key: st.query_params[key] for key in st.query_params}
    wanted = {key: value for key, value in asked.items() if key not in VIEW_KEYS} | link
    if asked != wanted:
        st.query_params.from_dict(wanted)


# --- choices -----------------------------------------------------------------------------------


def wanted(key: str, options: Sequence[str], default: str, what: str) -> str:
    """The view's value for ``key``; a value that does not exist is reported and replaced."""
    value = view().get(key, default)
    if value in options:
        return value
    st.warning(literal(f"There is no {what} {shortened(value, 60)!r} here; showing {default}."))
    return default


def choose(
    widget: Callable[..., str | None],
    label: str,
    key: str,
    options: Sequence[str],
    default: str,
    what: str = "",
    **settings: object,
) -> str:
    """A widget whose value is part of the view; ``what`` is what a wrong value is called."""
    name = f"pick-{key}"
    if name not in st.session_state:
        st.session_state[name] = wanted(key, options, default, what or label.lower())
    elif st.session_state[name] not in options:
        # Another choice above removed this option: not the reader's doing, so without a warning.
        st.session_state[name] = default
    value = widget(label, options=options, key=name, **settings) or default
    view()[key] = value
    return value


def benchmark_names(hub: Hub) -> list[str]:
    """Ids of all benchmarks; a UserError if there is none."""
    names = hub.benchmarks()
    if not names:
        raise UserError(
            "there is no benchmark here; add benchmarks/<id>.yaml or correct ETCHMARK_CONTENT"
        )
    return names


def benchmark_title(hub: Hub, name: str) -> str:
    """Title of a benchmark; its id where the card is broken, so that the others stay usable."""
    try:
        return plain(hub.benchmark(name).title)
    except UserError:
        return name


def labels(texts: Mapping[str, str]) -> dict[str, str]:
    """What options are called in a list, which takes options of one text for the same one.

    Args:
        texts: by option; a text of several options gets the option itself in brackets.
    """
    times = Counter(texts.values())
    return {
        option: f"{text} ({option})" if times[text] > 1 else text for option, text in texts.items()
    }


def superseded(hub: Hub, names: Sequence[str]) -> list[str]:
    """``ID@VERSION`` of the earlier versions of these benchmarks."""
    older: list[str] = []
    for name in names:
        # A broken card is reported where its benchmark is shown.
        with suppress(UserError):
            older += hub.versions(name)[1:]
    return older


def choose_benchmark(hub: Hub) -> BenchmarkSpec:
    """The benchmark that is looked at, picked by its title; earlier versions come last.

    The view then holds its id, or ``ID@VERSION`` of an earlier version.
    """
    names = benchmark_names(hub)
    older = superseded(hub, names)

    def title(name: str) -> str:
        version = f" (version {name.partition('@')[2]}, superseded)" if name in older else ""
        return f"{benchmark_title(hub, name)}{version}"

    options = [*names, *older]
    # A citation names the version, also of what is current.
    head, _, version = view().get("benchmark", "").partition("@")
    if version and head in names and hub.versions(head)[0] == f"{head}@{version}":
        view()["benchmark"] = head
    titles = labels({option: title(option) for option in options})
    name = choose(
        st.selectbox, "Benchmark", "benchmark", options, names[0], format_func=titles.__getitem__
    )
    spec = hub.benchmark(name)
    if name in older:
        current = hub.versions(spec.id)[0].partition("@")[2]
        st.caption(f"Superseded by version {current}, which this list has too.")
    return spec


def start(
    widget: str, key: str, options: Sequence[str], default: str, *, linked: bool = True
) -> None:
    """Let a widget of a page's own start from the view, which it does not change afterwards."""
    if widget not in st.session_state:
        st.session_state[widget] = wanted(key, options, default, key) if linked else default


def choose_benchmark_apart(hub: Hub, widget: str) -> BenchmarkSpec:
    """A benchmark that starts from the view and leaves it as it is."""
    names = benchmark_names(hub)
    # Of an earlier version, the current one: it is the one to submit to.
    linked = view().get("benchmark", "").partition("@")[0]
    if widget not in st.session_state and linked in names:
        st.session_state[widget] = linked
    start(widget, "benchmark", names, names[0])
    titles = labels({name: benchmark_title(hub, name) for name in names})
    name = st.selectbox("Benchmark", names, format_func=titles.__getitem__, key=widget)
    return hub.benchmark(name)


def choose_metric(spec: BenchmarkSpec) -> str:
    return choose(st.selectbox, "Metric", "metric", list(spec.metrics), spec.primary_metric)


def choose_protocol(
    spec: BenchmarkSpec, widget: Callable[..., str | None] = st.selectbox, **settings: Any
) -> str:
    options = list(spec.protocols)
    return choose(widget, "Protocol", "protocol", options, spec.headline, **settings)


def named_by(short: str, submissions: Sequence[str]) -> list[str]:
    """Submissions that a link means by the first characters of an id."""
    return [name for name in submissions if len(short) >= LEAST and name.startswith(short)]
