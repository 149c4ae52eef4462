"""Where a model stands: every board that it has a row on, and which of them is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import cached, markup, state
from dashboard.charts.gains import Gain, gain_plot
from dashboard.page import guarded, show_figure
from dashboard.panels import cells
from dashboard.terms import linked
from dashboard.text import literal, shortened
from etchmark.api import Hub, View, ahead_of, doubts_in_words
from etchmark.specs import BenchmarkSpec

KEYS = ("benchmark", "protocol", "reads")
"""What a link names a row by."""
OLDER = 12
"""Earlier submissions that may be chosen."""


@dataclass(frozen=True)
class Place:
    """A row of a board."""

    submission: str
    benchmark: str
    protocol: str
    track: str
    superseded: bool
    date: str

    def key(self, name: str) -> str:
        """What a link says of it."""
        return {"benchmark": self.benchmark, "protocol": self.protocol, "reads": self.track}[name]


def of(hub: Hub, name: str) -> list[Place]:
    """The rows of a model, headline protocols first, then those that were superseded."""
    order = {benchmark: index for index, benchmark in enumerate(hub.benchmarks())}
    rows = []
    for recent in hub.submissions_of(name):
        with guarded():
            if recent.benchmark not in order:
                continue
            spec = hub.benchmark(recent.benchmark)
            if recent.version != spec.version or recent.protocol not in spec.protocols:
                continue
            place = Place(
                recent.submission,
                recent.benchmark,
                recent.protocol,
                recent.track,
                recent.superseded,
                f"{recent.created:%Y-%m-%d}",
            )
            key = (place.superseded, place.protocol != spec.headline, order[place.benchmark])
            rows.append((key, place))
    return [place for _, place in sorted(rows, key=lambda pair: pair[0])]


def chosen(places: Sequence[Place]) -> Place:
    """The row that the link asks for; the first one where it asks for none that is here."""
    asked = state.view()
    if short := asked.get("submission"):
        for place in places:
            if len(short) >= state.LEAST and place.submission.startswith(short):
                return place
    shown = places[0]
    for fewer in range(len(KEYS)):
        keys = KEYS[: len(KEYS) - fewer]
        matching = (p for p in places if all(asked.get(key) == p.key(key) for key in keys))
        if (place := next(matching, None)) is not None:
            shown = place
            break
    # A link that was typed or followed may name less than all; what it names must hold.
    wrong = [key for key in KEYS if key in st.query_params and asked.get(key) != shown.key(key)]
    if wrong or (short and "submission" in st.query_params):
        st.warning(
            "This model has no row as the link asks for it; the one below is on"
            f" {literal(shown.benchmark)}."
        )
    return shown


def choose(hub: Hub, places: Sequence[Place], first: Place) -> Place:
    """The row that is looked at below."""
    current = [place for place in places if not place.superseded]
    options = [*current, *[place for place in places if place.superseded][:OLDER]]
    if first not in options:
        options.append(first)

    def title(place: Place) -> str:
        when = f", {place.date}, superseded" if place.superseded else ""
        benchmark = state.benchmark_title(hub, place.benchmark)
        return f"{benchmark} ({place.protocol}, {place.track}{when})"

    return st.selectbox(
        "Board",
        options,
        index=options.index(first),
        format_func=title,
        # Another link, or another model, starts from its own row.
        key=f"place-{first.submission}",
    )


def show(hub: Hub, places: Sequence[Place]) -> dict[Place, dict[Any, Any]]:
    """A table of the rows, and the gains on the headline boards as dots; the rows by place."""
    rows: dict[Place, dict[Any, Any]] = {}
    table, gains = [], []
    for place in places:
        if place.superseded:
            continue
        with guarded():
            spec = hub.benchmark(place.benchmark)
            frame = cached.standings(hub, spec, View(place.protocol))
            own = frame[frame["submission"] == place.submission]
            if own.empty:
                continue
            row = rows[place] = own.iloc[0].to_dict()
            table.append(_cells(hub, spec, place, row, frame))
            if place.protocol == spec.headline and pd.notna(row["gain"]):
                gains.append(gain_of(row, spec.title, spec.gains_over or ""))
    head = ["Benchmark", "Protocol, track", "Rank", "Score", "Gain over the reference", "Best?", ""]
    markup.show(markup.table(head, table, "The boards on which this model has a row", stack=True))
    explained = (
        "Rank with its range; score and gain with their 95 % intervals. Best: no test finds it"
        " behind a better row."
    )
    phrases = {"Rank": "rank", "gain": "gain", "intervals": "interval"}
    st.caption(linked(explained, phrases))
    if len(gains) > 1:
        show_figure(gain_plot(gains), "gains-of-boards")
    return rows


def gain_of(row: Mapping[Any, Any], place: str, reference: str) -> Gain:
    told = row["gain_relation"] in ("better", "worse")
    return Gain(place, float(row["gain"]), *cells.gain_interval(row), told, reference)


def _cells(
    hub: Hub, spec: BenchmarkSpec, place: Place, row: Mapping[Any, Any], frame: pd.DataFrame
) -> list[str]:
    board = {"benchmark": spec.id, "protocol": place.protocol}
    board["model"] = place.submission[: state.SHORT]
    best = "" if pd.isna(row["may_be_best"]) else "may be" if row["may_be_best"] else "no"
    if (ahead := ahead_of(frame, row)) is not None:
        best += f'<div class="em-small">behind {markup.escaped(ahead, 90)}</div>'
    flags = doubts_in_words(row["flags"], row["role"])
    return [
        markup.link("leaderboard", markup.escaped(spec.title), board),
        markup.escaped(f"{shortened(place.protocol, 40)}, {shortened(place.track, 40)}"),
        cells.rank(row, int(frame["rank"].notna().sum())),
        cells.score(hub, spec, row),
        cells.gain(spec, row),
        best,
        f'<span class="em-small">flagged: {markup.escaped(flags)}</span>' if flags else "",
    ]
