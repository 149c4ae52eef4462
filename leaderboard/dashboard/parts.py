"""What the pages share: cached engine calls, the view kept in the link, text that stays text."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pandas as pd
import streamlit as st

from etchmark import files
from etchmark.api import open_hub
from etchmark.boards import curves as curve_frame
from etchmark.boards.references import reference_values as resolved
from etchmark.boards.standings import Board, Where, level_with_first
from etchmark.catalog import catalog, content_root
from etchmark.data.gallery import Gallery
from etchmark.data.loading import find_config, read_config
from etchmark.data.packaging import MANIFEST
from etchmark.errors import UserError
from etchmark.registry.store import Store
from etchmark.registry.tables import Entry
from etchmark.specs import BenchmarkSpec, ReferenceLine
from etchmark.targets import kind_of
from etchmark.targets import metric as metric_by_id
from etchmark.text import plain

log = logging.getLogger("etchmark.dashboard")

FILTER_KEYS = ("status", "tags", "training", "parameters")
BOARD_KEYS = (
    "benchmark",
    "protocol",
    "track",
    "metric",
    "all",
    "model",
    "figure",
    "cost",
    *FILTER_KEYS,
)
SAMPLE_KEYS = ("group", "show", "quantity", "between", "id")
DATA_KEYS = ("dataset", "config", "split", "sample", *SAMPLE_KEYS)
KEY_GROUPS = (BOARD_KEYS, ("models",), DATA_KEYS)
"""A page's link says nothing of what is looked at on pages with other keys."""
KEPT_APART = ("compare-", "filters-", "page-", "sample-")
"""What is kept by what it depends on; a link sets it all anew."""
VIEW_KEYS = tuple(key for group in KEY_GROUPS for key in group)
ALL_TRACKS = "all"
EVERYWHERE = Where()
GENERIC_ERROR = (
    "This page could not be shown. The reason is in the dashboard's log; reloading the page or"
    " choosing another view may help."
)


# --- text from strangers -----------------------------------------------------------------------

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_ACTIVE = re.compile(r"(https?(?=://)|www(?=\.)|@|:(?=[\w+-]+:))", re.IGNORECASE)


def literal(text: str) -> str:
    """Markdown that shows ``text`` and does nothing else."""
    # Bare addresses become links and names between colons pictures even when escaped, unless an
    # element ends in them. This one, of a colour without a colour, shows and copies as its text.
    parts = _ACTIVE.split(plain(" ".join(text.split())))
    escaped = [_PUNCTUATION.sub(r"\\\1", part) for part in parts]
    return "".join(f":color[{one}]" if at % 2 else one for at, one in enumerate(escaped))


def prose(text: str) -> str:
    """Markdown that shows a card's text, with what stands between backticks as code."""
    pieces = re.split(r"`([^`]+)`", text)
    # Blanks at the ends of a piece are kept, which ``literal`` drops.
    return "".join(
        f"`{plain(one)}`" if at % 2 else literal(f"|{one}|")[2:-2] for at, one in enumerate(pieces)
    )


@lru_cache(maxsize=1 << 16)
def shortened(text: str, width: int) -> str:
    """One line of at most ``width`` characters without any that steer the display."""
    one = plain(" ".join(text.split()))
    # Stacked accents reach into the lines above and below.
    one = re.sub(r"[\u0300-\u036f\u0489]{3,}", "", unicodedata.normalize("NFC", one))
    return one if len(one) <= width else one[: width - 1] + "…"


def plain_lines(text: str) -> str:
    """Text of several lines, each without characters that steer the display."""
    return "\n".join(plain(line) for line in text.splitlines())


def web_address(reference: str | None) -> str | None:
    """The address of a DOI or an http(s) link, None for anything else."""
    if not reference:
        return None
    if re.fullmatch(r"10\.\d{4,9}/\S+", reference):
        return "https://doi.org/" + quote(reference, safe="/.-_;()")
    return reference if re.fullmatch(r"https?://[^\s<>\"'\\]+", reference) else None


@contextmanager
def guarded() -> Iterator[None]:
    """Turn errors into one line on the page; Streamlit's own control flow passes through."""
    try:
        yield
    except UserError as error:
        st.error(literal(str(error)))
    except Exception as error:
        refusal = files.refusal(error) if isinstance(error, OSError) else None
        if refusal is None:
            log.exception("a page failed")
        st.error(GENERIC_ERROR if refusal is None else literal(str(refusal)))


# --- the engine, cached ------------------------------------------------------------------------


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def open_store() -> Store:
    """The registry, shared by all sessions until the hub or the reviewed results change."""
    return open_hub().store


def show_left_out(store: Store) -> None:
    """Name the submissions whose rows cannot be read; the board is without them."""
    for submission, reason in list(store.left_out.items()):
        st.warning(literal(f"Submission {submission[:12]} is left out: {reason}."))


def registry_state(store: Store) -> tuple[str, ...]:
    """Changes whenever something was written to the registry; costs two calls of stat."""
    names = ("registry.sqlite", "registry.sqlite-wal")
    return (str(store.home), *(str(_stamp(store.home / name)) for name in names))


@st.cache_data(max_entries=64, show_spinner=False)
def _read_benchmark(root: str, name: str, stamp: tuple[int, int, int]) -> BenchmarkSpec:
    return catalog().benchmark(name)


def benchmark(name: str) -> BenchmarkSpec:
    root = content_root()
    return _read_benchmark(str(root), name, _stamp(root / "benchmarks" / f"{name}.yaml"))


@st.cache_resource(max_entries=12, show_spinner=False)
def _board(
    _spec: BenchmarkSpec, _store: Store, key: tuple[object, ...], protocol: str, metric: str
) -> Board:
    return Board(_spec, _store, protocol=protocol, metric=metric)


def board(spec: BenchmarkSpec, store: Store, *, protocol: str, metric: str) -> Board:
    """All submissions to a protocol, read once per state of the registry."""
    return _board(spec, store, _state(spec, store), protocol, metric)


def _state(spec: BenchmarkSpec, store: Store) -> tuple[object, ...]:
    return (spec.model_dump_json(), *registry_state(store))


@st.cache_data(max_entries=256, show_spinner=False)
def _standings(
    _board: Board, key: tuple[object, ...], track: str | None, where: Where, everything: bool
) -> pd.DataFrame:
    return _board.standings(track=track, where=where, everything=everything)


def standings(
    spec: BenchmarkSpec,
    store: Store,
    *,
    track: str | None,
    protocol: str,
    metric: str,
    where: Where = EVERYWHERE,
    everything: bool = False,
) -> pd.DataFrame:
    """The board, ranked once per state of the registry."""
    key = (*_state(spec, store), protocol, metric)
    found = board(spec, store, protocol=protocol, metric=metric)
    return _standings(found, key, track, where, everything)


def first_place(ranked: pd.DataFrame) -> str:
    """Who may be first, as far as the data can tell; ``ranked`` is a board without other rows."""
    if len(ranked) < 2:
        return "One ranked submission: there is nothing to compare it with yet."
    level = level_with_first(ranked)
    count = f"Of {len(ranked):,} ranked submissions,"
    if level == 0:
        return f"{count} the leader is clearly ahead of all others."
    verb, whose = (
        ("is", "its rank range overlaps") if level == 1 else ("are", "their rank ranges overlap")
    )
    return (
        f"{count} {level:,} {verb} not told apart from the leader: {whose} with that of the leader."
    )


@st.cache_data(max_entries=64, show_spinner=False)
def _withheld(
    _spec: BenchmarkSpec, _store: Store, key: tuple[object, ...], protocol: str, track: str | None
) -> pd.DataFrame:
    return curve_frame.withheld(_spec, _store, protocol=protocol, track=track)


def withheld_curves(
    spec: BenchmarkSpec, store: Store, *, protocol: str, track: str | None
) -> pd.DataFrame:
    """Curves that are not shown since they rest on test scores."""
    return _withheld(spec, store, _state(spec, store), protocol, track)


@st.cache_data(max_entries=64, show_spinner=False)
def _curves(
    _spec: BenchmarkSpec, _store: Store, key: tuple[object, ...], protocol: str, track: str | None
) -> pd.DataFrame:
    return curve_frame.curves(_spec, _store, protocol=protocol, track=track)


def curves(spec: BenchmarkSpec, store: Store, *, protocol: str, track: str | None) -> pd.DataFrame:
    """Points of all curves, read once per state of the registry."""
    return _curves(spec, store, _state(spec, store), protocol, track)


@st.cache_data(max_entries=256, show_spinner=False)
def _entry(_store: Store, state: tuple[str, ...], submission: str) -> Entry | None:
    return _store.get(submission)


def entry(store: Store, submission: str) -> Entry | None:
    return _entry(store, registry_state(store), submission)


@st.cache_data(max_entries=4, show_spinner=False)
def _counts(_store: Store, state: tuple[str, ...]) -> tuple[int, int]:
    return _store.counts()


def counts(store: Store) -> tuple[int, int]:
    """Submissions that were scored, and models among them."""
    return _counts(store, registry_state(store))


class Told(NamedTuple):
    """A submission in one line of Markdown, and the view that shows it in full."""

    label: str
    link: dict[str, str]


def newest(store: Store, limit: int) -> list[Told]:
    """The last submissions."""
    found = []
    for one in store.newest(limit):
        where = f"{benchmark_title(one['benchmark'])} ({one['track']}, {one['protocol']})"
        date = one["created"].strftime("%Y-%m-%d")
        label = f"**{literal(shortened(one['name'], 60))}**  {literal(f'{where}, {date}')}"
        link = {name: one[name] for name in ("benchmark", "protocol")}
        link["model"] = one["id"][:12]
        found.append(Told(label, link | ({"all": "1"} if one["superseded"] else {})))
    return found


# --- datasets ----------------------------------------------------------------------------------


@st.cache_resource(max_entries=16, show_spinner=False)
def _gallery(folder: str, dataset: str, config: str, stamp: tuple[int, int, int]) -> Gallery:
    return Gallery(Path(folder), read_config(Path(folder), dataset, config))


def gallery(dataset: str, config: str) -> Gallery | None:
    """What a config holds; None if it is not on this machine."""
    folder = find_config(catalog(), dataset, config)
    if folder is None:
        return None
    return _gallery(str(folder), dataset, config, _stamp(folder / MANIFEST))


@st.cache_data(max_entries=32, show_spinner=False)
def _samples(_gallery: Gallery, fingerprint: str, folder: str, split: str) -> pd.DataFrame:
    return _gallery.table(split)


def samples(chosen: Gallery, split: str) -> pd.DataFrame:
    """Ids, numbers and texts of a split, one row per sample."""
    return _samples(chosen, chosen.manifest.fingerprint, str(chosen.folder), split)


# --- benchmarks and metrics in words -----------------------------------------------------------


def benchmark_names() -> list[str]:
    names = catalog().benchmark_names()
    if not names:
        raise UserError(
            f"{content_root()}: declares no benchmark; add benchmarks/<id>.yaml or correct"
            " ETCHMARK_CONTENT"
        )
    return names


def benchmark_title(name: str) -> str:
    """Title of a benchmark; its id where the card is broken, so that the others stay usable."""
    try:
        return plain(benchmark(name).title)
    except UserError:
        return name


def predicted(spec: BenchmarkSpec) -> str:
    """What costs are counted by."""
    return kind_of(spec.target).piece


def metric_label(spec: BenchmarkSpec, metric: str) -> str:
    """Axis title: what it is, its unit and which way is better."""
    chosen = metric_by_id(metric)
    unit = chosen.unit_for(spec.target.unit)
    better = "higher" if chosen.higher_is_better else "lower"
    shown = "" if unit == "1" else f" / {unit}"
    return f"{chosen.title}{shown} ({better} is better)"


def units_of(spec: BenchmarkSpec, count: int) -> str:
    return f"{count} {spec.unit_name if count == 1 else spec.unit_names}"


@st.cache_data(max_entries=64, show_spinner=False)
def _reference_values(
    _spec: BenchmarkSpec, _store: Store, key: tuple[object, ...], protocol: str, metric: str
) -> list[tuple[ReferenceLine, float]]:
    frame = board(_spec, _store, protocol=protocol, metric=metric).leaders()
    return resolved(catalog(), _spec, _store, protocol=protocol, metric=metric, frame=frame)


def reference_values(
    spec: BenchmarkSpec, store: Store, protocol: str, metric: str
) -> list[tuple[ReferenceLine, float]]:
    """Reference lines that hold for this protocol and metric, with their values."""
    # A line may stand for a model's score on another benchmark, whose board would be read anew.
    others = {line.benchmark for line in spec.reference_lines if line.benchmark}
    cards = [str(_stamp(content_root() / "benchmarks" / f"{one}.yaml")) for one in sorted(others)]
    return _reference_values(spec, store, (*_state(spec, store), *cards), protocol, metric)


# --- the view in the link ----------------------------------------------------------------------


def follow_link() -> None:
    """Take the view from the link, unless this session wrote that link itself; once per run."""
    given = {key: st.query_params[key] for key in VIEW_KEYS if key in st.query_params}
    # A link that was not written here was typed, followed or gone back to. None at all is what
    # changing pages leaves: then the last view is still the one.
    if given and given != st.session_state.get("written"):
        st.session_state["view"] = _elsewhere(given) | given
        for key in set(VIEW_KEYS) - set(_elsewhere(given)):
            st.session_state.pop(f"pick-{key}", None)
        for widget in [str(one) for one in st.session_state]:
            if widget.startswith(KEPT_APART):
                st.session_state.pop(widget, None)


def _elsewhere(given: dict[str, str]) -> dict[str, str]:
    """The part of the view that pages with other keys than these have set."""
    meant = {key for group in KEY_GROUPS if set(group) & set(given) for key in group}
    return {key: value for key, value in view().items() if key not in meant}


def view() -> dict[str, str]:
    return st.session_state.setdefault("view", {})


def wanted(key: str, options: Sequence[str], default: str, what: str) -> str:
    """The view's value for ``key``; a value that does not exist is said aloud and replaced."""
    asked = view().get(key, default)
    if asked in options:
        return asked
    st.warning(literal(f"There is no {what} {shortened(asked, 60)!r} here; showing {default}."))
    return default


def choose(
    kind: Callable[..., str | None],
    label: str,
    key: str,
    options: Sequence[str],
    default: str,
    **more: object,
) -> str:
    """A widget whose value is part of the view."""
    widget = f"pick-{key}"
    if widget not in st.session_state:
        st.session_state[widget] = wanted(key, options, default, label.lower())
    elif st.session_state[widget] not in options:
        # Something else was picked above: nobody asked for what is gone.
        st.session_state[widget] = default
    chosen = kind(label, options=options, key=widget, **more) or default
    view()[key] = chosen
    return chosen


def choose_benchmark() -> BenchmarkSpec:
    """The benchmark that is looked at, picked by its title."""
    names = benchmark_names()
    name = choose(
        st.selectbox, "Benchmark", "benchmark", names, names[0], format_func=benchmark_title
    )
    return benchmark(name)


def row_names(frame: pd.DataFrame) -> dict[str, str]:
    """Rows of a board by submission: rank, model and track, which tell them apart."""
    ranks = frame["rank"].astype(object).where(frame["rank"].notna(), None).tolist()
    columns = (frame[name].tolist() for name in ("submission", "model", "track"))
    return {
        submission: ("" if rank is None else f"{rank}. ") + f"{shortened(model, 60)} ({track})"
        for rank, submission, model, track in zip(ranks, *columns, strict=True)
    }


def remember(chosen: dict[str, str]) -> None:
    """Put the view into the link, so that it restores what is seen."""
    st.session_state["view"] = _elsewhere(chosen) | chosen
    st.session_state["written"] = dict(chosen)
    if {key: st.query_params[key] for key in st.query_params} != chosen:
        st.query_params.from_dict(chosen)
