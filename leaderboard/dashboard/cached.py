"""What the pages read from the hub, cached until it changes.

Streamlit runs a page from top to bottom at every click, so nothing here may cost much twice. The
caches are keyed by what the hub holds, not by age: a new submission appears on the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd
import streamlit as st

from etchmark.api import Board, Counts, Entry, Gallery, Hub, View, Where, by_worst_split
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec, ReferenceLine

EVERYWHERE = Where()
Key = tuple[object, ...]
"""What a cached value depends on."""


def _key(hub: Hub, spec: BenchmarkSpec, view: View) -> Key:
    return (spec.model_dump_json(), view, *hub.revision())


# --- submissions -------------------------------------------------------------------------------


@st.cache_data(max_entries=256, show_spinner=False)
def _entry(_hub: Hub, revision: tuple[str, ...], submission: str) -> Entry | None:
    return _hub.entry(submission)


def entry(hub: Hub, submission: str) -> Entry | None:
    """One submission in full; None if it was withdrawn."""
    return _entry(hub, hub.revision(), submission)


@st.cache_data(max_entries=4, show_spinner=False)
def _counts(_hub: Hub, revision: tuple[str, ...]) -> Counts:
    return _hub.counts()


def counts(hub: Hub) -> Counts:
    """Number of scored submissions, and of models among them."""
    return _counts(hub, hub.revision())


# --- boards ------------------------------------------------------------------------------------


# A visit to the overview reads the board of every benchmark, so all of them have to fit.
@st.cache_resource(max_entries=64, show_spinner=False)
def _board(_hub: Hub, _spec: BenchmarkSpec, key: Key, view: View) -> Board:
    return _hub.board(_spec, view)


def board(hub: Hub, spec: BenchmarkSpec, view: View) -> Board:
    """All submissions of a view, read once per state of the hub."""
    return _board(hub, spec, _key(hub, spec, view), view)


@st.cache_data(max_entries=64, show_spinner=False)
def _leaders(_hub: Hub, _spec: BenchmarkSpec, key: Key, view: View) -> pd.DataFrame:
    return board(_hub, _spec, view).leaders()


def leaders(hub: Hub, spec: BenchmarkSpec, view: View) -> pd.DataFrame:
    """Ranked rows without intervals of ranks and without tests, which take longest."""
    return _leaders(hub, spec, _key(hub, spec, view), view)


class Wanted(NamedTuple):
    """Which rows of a board are wanted; see ``standings``."""

    track: str | None
    where: Where
    everything: bool
    worst: bool


@st.cache_data(max_entries=256, show_spinner=False)
def _standings(
    _hub: Hub, _spec: BenchmarkSpec, key: Key, view: View, wanted: Wanted
) -> pd.DataFrame:
    track, where, everything, worst = wanted
    read = board(_hub, _spec, view)
    if worst:
        return by_worst_split(read, track=track, where=where, everything=everything)
    return read.standings(track=track, where=where, everything=everything)


def standings(
    hub: Hub,
    spec: BenchmarkSpec,
    view: View,
    *,
    track: str | None = None,
    where: Where = EVERYWHERE,
    everything: bool = False,
    worst: bool = False,
) -> pd.DataFrame:
    """The board, ranked once per state of the hub.

    Args:
        hub: where it is read.
        spec: the benchmark.
        view: protocol and metric.
        track: one track; all of them if None.
        where: rows to keep; ranks are made among them.
        everything: with failed and superseded runs, which have no rank.
        worst: ranked by the split on which each row does worst.
    """
    wanted, key = Wanted(track, where, everything, worst), _key(hub, spec, view)
    frame = _standings(hub, spec, key, view, wanted)
    _ranked(hub.revision()).add((key, wanted))
    return frame


@st.cache_resource(max_entries=2, show_spinner=False)
def _ranked(revision: tuple[str, ...]) -> set[Key]:
    return set()


def are_ranked(hub: Hub, specs: Sequence[BenchmarkSpec], view_of: Callable[..., View]) -> bool:
    """Whether the boards of all rows of some benchmarks have been asked for before."""
    everyone = Wanted(None, EVERYWHERE, everything=False, worst=False)
    keys = {(_key(hub, spec, view_of(spec)), everyone) for spec in specs}
    return keys <= _ranked(hub.revision())


@st.cache_data(max_entries=64, show_spinner=False)
def _curves(_hub: Hub, _spec: BenchmarkSpec, key: Key, view: View) -> pd.DataFrame:
    return _hub.curves(_spec, view)


def curves(hub: Hub, spec: BenchmarkSpec, view: View) -> pd.DataFrame:
    """Points of all curves of a protocol and track, read once per state of the hub."""
    return _curves(hub, spec, _key(hub, spec, view), view)


@st.cache_data(max_entries=64, show_spinner=False)
def _withheld(_hub: Hub, _spec: BenchmarkSpec, key: Key, view: View) -> pd.DataFrame:
    return _hub.withheld_curves(_spec, view)


def withheld_curves(hub: Hub, spec: BenchmarkSpec, view: View) -> pd.DataFrame:
    """Curves that are not shown because they rest on test scores."""
    return _withheld(hub, spec, _key(hub, spec, view), view)


@st.cache_data(max_entries=64, show_spinner=False)
def _references(
    _hub: Hub, _spec: BenchmarkSpec, key: Key, view: View
) -> list[tuple[ReferenceLine, float]]:
    return _hub.references(_spec, view)


def references(hub: Hub, spec: BenchmarkSpec, view: View) -> list[tuple[ReferenceLine, float]]:
    """Reference lines that apply to a protocol and metric, with their values."""
    # A line may show a model's score on another benchmark, whose card is then read too.
    names = set(hub.benchmarks())
    others = {line.benchmark for line in spec.reference_lines if line.benchmark in names}
    key = (*_key(hub, spec, view), *(_card(hub, name) for name in sorted(others)))
    return _references(hub, spec, key, view)


def _card(hub: Hub, name: str) -> str:
    try:
        return hub.benchmark(name).model_dump_json()
    except UserError:
        # Its own page says what is wrong with it.
        return ""


# --- datasets ----------------------------------------------------------------------------------


def gallery_of(hub: Hub, spec: BenchmarkSpec, track_name: str) -> Gallery | None:
    """The samples that a track reads; None if they are not on this machine."""
    track = spec.tracks.get(track_name)
    return None if track is None else hub.gallery(spec.dataset, track.config)


@st.cache_data(max_entries=32, show_spinner=False)
def _samples(_gallery: Gallery, content: str, split: str) -> pd.DataFrame:
    return _gallery.table(split)


def samples(gallery: Gallery, split: str) -> pd.DataFrame:
    """Ids, numbers and texts of a split, one row per sample."""
    return _samples(gallery, content_key(gallery), split)


def content_key(gallery: Gallery) -> str:
    """Which content a config has, and where: what caches of its samples depend on."""
    return f"{gallery.folder} {gallery.manifest.fingerprint}"
