"""The figure of each term, from the numbers of a board of this hub."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dashboard import cached
from dashboard.charts import reading
from dashboard.panels.cells import gain_interval
from dashboard.text import shortened
from dashboard.wording import metric_label, metric_title, with_unit
from etchmark.api import (
    Hub,
    View,
    discretisation_in_words,
    doubts_in_words,
    gain_text,
    kind_of_flag,
    relation,
    why_none,
)
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec
from etchmark.text import number, plain, span

SHOWN = 8
"""Rows of a board that a figure shows."""


@dataclass(frozen=True)
class Drawn:
    """A figure and what it shows; a reason alone where there is nothing to draw."""

    words: str
    chart: reading.Figure | None = None


Drawer = Callable[[Hub, BenchmarkSpec], Drawn]
NOTHING = Drawn("No row of this board is ranked yet; choose another benchmark to see a figure.")


def headline(spec: BenchmarkSpec) -> View:
    return View(spec.headline, metric=spec.primary_metric)


def _ranked(hub: Hub, spec: BenchmarkSpec) -> pd.DataFrame:
    frame = cached.standings(hub, spec, headline(spec))
    return pd.DataFrame(frame[frame["rank"].notna()])


def _columns(frame: pd.DataFrame, value: str, low: str, high: str) -> pd.DataFrame:
    """Rows of a board as ``reading.spans`` reads them, dots open."""
    columns = {
        name: frame[column].to_numpy(dtype=float, na_value=math.nan)
        for name, column in (("value", value), ("low", low), ("high", high))
    }
    return pd.DataFrame({"name": [str(name) for name in frame["model"]], **columns, "filled": True})


def protocol(hub: Hub, spec: BenchmarkSpec) -> Drawn:
    """The best score under each protocol."""
    rows = []
    for name in spec.protocols:
        leaders = cached.board(hub, spec, View(name, metric=spec.primary_metric)).leaders()
        if len(leaders):
            first = leaders.iloc[0]
            rows.append({**first.to_dict(), "model": name, "filled": name == spec.headline})
    if not rows:
        return NOTHING
    frame = pd.DataFrame(rows)
    title = metric_label(hub.metric(spec, spec.primary_metric))
    listed = ", ".join(
        f"{number(row['score'])} under {row['model']}" for row in frame.to_dict("records")
    )
    words = f"The best score under each protocol of this benchmark, with its interval: {listed}."
    drawn = _columns(frame, "score", "ci_low", "ci_high").assign(filled=frame["filled"])
    return Drawn(words, reading.spans(drawn, title, words))


def score(hub: Hub, spec: BenchmarkSpec) -> Drawn:
    """Two metrics of the same rows."""
    others = [name for name in spec.metrics if name != spec.primary_metric]
    ranked = _ranked(hub, spec)
    if not others or ranked.empty:
        return Drawn("This benchmark has one metric alone.") if not others else NOTHING
    board = cached.board(hub, spec, View(spec.headline, metric=others[0])).frame
    second = board.set_index("submission")["score"].reindex(ranked["submission"])
    frame = pd.DataFrame(
        {
            "name": ranked["model"].astype(str).tolist(),
            "across": ranked["score"].to_numpy(dtype=float),
            "up": second.to_numpy(dtype=float, na_value=math.nan),
        }
    ).dropna()
    metrics = [hub.metric(spec, name) for name in (spec.primary_metric, others[0])]
    titles = metric_title(metrics[0]), metric_title(metrics[1])
    log = bool(len(frame)) and float(frame[["across", "up"]].to_numpy().min()) > 0
    words = (
        f"The {len(frame):,} ranked rows of this board by two of its metrics, {metrics[0].id} and"
        f" {metrics[1].id}; a point is a row."
    )
    return Drawn(words, reading.scatter(frame, titles, words, log=log))


def interval(hub: Hub, spec: BenchmarkSpec) -> Drawn:
    """The first scores with their intervals."""
    ranked = _ranked(hub, spec).head(SHOWN)
    if ranked.empty:
        return NOTHING
    first = ranked.iloc[0]
    said = span(first["ci_low"], first["ci_high"])
    about = why_none(int(first["units"]), spec.unit_names) if said == "–" else said
    words = (
        f"The first {len(ranked)} rows of this board: dots are scores, lines their 95 % intervals."
        f" {plain(str(first['model']))}: {number(first['score'])} ({about})."
    )
    title = metric_label(hub.metric(spec, spec.primary_metric))
    return Drawn(words, reading.spans(_columns(ranked, "score", "ci_low", "ci_high"), title, words))


def told_apart(hub: Hub, spec: BenchmarkSpec) -> Drawn:
    """Sign flips of the first two rows."""
    ranked = _ranked(hub, spec)
    if len(ranked) < 2:
        return NOTHING
    pair = [str(name) for name in ranked["submission"].head(2)]
    comparison = hub.comparison(spec, pair, headline(spec))
    row: dict[Any, Any] = comparison.differences().iloc[0].to_dict()
    said = relation(row, spec.unit_names)
    statistics = comparison.sign_flips()
    if not len(statistics):
        return Drawn(f"The first two rows of this board cannot be tested. {said}.")
    words = (
        f"The first two rows of this board: sums of {len(statistics):,} patterns of signs. The"
        " dashed lines are as far from zero as the sum of the data, on both sides."
        f" p = {number(row['p'])}: {said}."
    )
    return Drawn(words, reading.flips(statistics, words))


def rank(hub: Hub, spec: BenchmarkSpec) -> Drawn:
    """Ranges of ranks, and which rows may be the best."""
    ranked = _ranked(hub, spec).head(SHOWN)
    if ranked.empty:
        return NOTHING
    best = [value is True for value in ranked["may_be_best"].tolist()]
    first = ranked.iloc[0]
    words = (
        f"The first {len(ranked)} rows of this board: dots are ranks, lines rank ranges; filled:"
        f" may be the best. {plain(str(first['model']))}: rank {first['rank']}, range"
        f" {first['rank_low']} to {first['rank_high']}."
    )
    frame = _columns(ranked, "rank", "rank_low", "rank_high").assign(filled=best)
    return Drawn(words, reading.spans(frame, "rank", words, whole=True))


def gain(hub: Hub, spec: BenchmarkSpec) -> Drawn:
    """The first gains over the reference."""
    ranked = _ranked(hub, spec)
    known = pd.DataFrame(ranked[ranked["gain"].notna()]).head(SHOWN)
    if known.empty:
        return Drawn("No gain is known on this board; choose another benchmark to see a figure.")
    # The reference itself has none.
    told = known["gain_relation"].isin(["better", "worse"]).tolist()
    first = known.iloc[0].to_dict()
    words = (
        f"Gains of the first {len(known)} rows of this board over {spec.gains_over}, the dashed"
        " line; filled: told apart from it."
        f" {plain(str(first['model']))}: {gain_text(float(first['gain']), *gain_interval(first))}."
    )
    frame = _columns(known, "gain", "gain_low", "gain_high").assign(filled=told)
    title = "gain over the reference / % (higher is better)"
    return Drawn(words, reading.spans(frame, title, words, line=0.0))


def _counted(hub: Hub, spec: BenchmarkSpec, column: str) -> Drawn:
    """Rows of the headline board by the value of a column."""
    frame = cached.board(hub, spec, headline(spec)).frame
    frame = pd.DataFrame(frame[~frame["superseded"].astype(bool) & (frame["outcome"] == "ok")])
    if frame.empty:
        return NOTHING
    numbers = dict(Counter(str(value) for value in frame[column]).most_common())
    listed = ", ".join(f"{count:,} {name}" for name, count in numbers.items())
    words = f"Rows of this board by {column}: {listed}."
    return Drawn(words, reading.counts(numbers, "number of rows", words))


def roles(hub: Hub, spec: BenchmarkSpec) -> Drawn:
    return _counted(hub, spec, "role")


def verified(hub: Hub, spec: BenchmarkSpec) -> Drawn:
    return _counted(hub, spec, "status")


def discretisation_error(hub: Hub, spec: BenchmarkSpec) -> Drawn:
    """The error of single labels with its sign, else its size beside the best score."""
    shown = next((each for each in (spec, *_others(hub, spec)) if _measured(each)), None)
    declared = None if shown is None else shown.discretisation_error
    if shown is None or declared is None or declared.metric is None or declared.value is None:
        return Drawn("No benchmark of this hub declares a discretisation error.")
    unit = hub.metric(shown, declared.metric).unit
    where = "" if shown.id == spec.id else f"Of another benchmark, {shown.title}: "
    split = "" if declared.split is None else f" (split {declared.split})"
    said = discretisation_in_words(declared, unit)
    words = f"{where}Discretisation error of the labels{split}: {said}"
    rows = [{"name": "size", "value": declared.value, "low": math.nan, "high": math.nan}]
    if (known := declared.distribution) is not None:
        ends = {"low": known.percentile_5, "high": known.percentile_95}
        rows.insert(0, {"name": "of a label", "value": known.median, **ends})
    else:
        leaders = cached.board(hub, shown, headline(shown)).leaders()
        if len(leaders) and shown.primary_metric == declared.metric:
            first = leaders.iloc[0]
            ends = {"low": first["ci_low"], "high": first["ci_high"]}
            rows.append({"name": "best score", "value": first["score"], **ends})
    frame = pd.DataFrame(rows).assign(filled=True)
    title = with_unit(f"change of {shown.target.quantity}", unit)
    if declared.distribution is None:
        title = metric_label(hub.metric(shown, declared.metric))
    return Drawn(words, reading.spans(frame, title, words, line=0.0))


def _others(hub: Hub, spec: BenchmarkSpec) -> list[BenchmarkSpec]:
    others = []
    for name in hub.benchmarks():
        try:
            others += [] if name == spec.id else [hub.benchmark(name)]
        except UserError:
            # A broken card is reported where its benchmark is shown.
            continue
    return others


def _measured(spec: BenchmarkSpec) -> bool:
    return spec.discretisation_error is not None and spec.discretisation_error.value is not None


def cost(hub: Hub, spec: BenchmarkSpec) -> Drawn:
    """Processor seconds against reference units."""
    ranked = _ranked(hub, spec)
    pair = ("cpu_seconds", "reference_units")
    known = pd.DataFrame(ranked[(ranked[pair[0]].fillna(0) > 0) & (ranked[pair[1]].fillna(0) > 0)])
    if len(known) < 2:
        return Drawn("Fewer than two rows of this board state both; choose another benchmark.")
    across, up = (known[name].to_numpy(dtype=float) for name in pair)
    ratios = across / up
    frame = pd.DataFrame({"name": known["model"].astype(str).tolist(), "across": across, "up": up})
    words = (
        f"{len(known):,} ranked rows of this board: a reference unit took {number(ratios.min())} to"
        f" {number(ratios.max())} s of processor time on the machines that they ran on."
    )
    titles = ("processor seconds", "reference units")
    return Drawn(words, reading.scatter(frame, titles, words, log=True))


def flags(hub: Hub, spec: BenchmarkSpec) -> Drawn:
    """How many rows have each kind of flag."""
    frame = cached.standings(hub, spec, headline(spec))
    flagged: Counter[str] = Counter()
    for row_flags, role in zip(frame["flags"].tolist(), frame["role"].tolist(), strict=True):
        kinds = {kind_of_flag(flag) for flag in row_flags or ()}
        # One by one, since a row with two flags counts for both.
        titles = {doubts_in_words([f"{kind}: "], role) for kind in kinds}
        flagged.update(title for title in titles if title)
    if not flagged:
        return Drawn("No row of this board has a flag.")
    numbers = {shortened(name, 60): count for name, count in flagged.most_common()}
    listed = "; ".join(f"{name}: {count:,}" for name, count in numbers.items())
    words = f"Rows of this board by flag. {listed}."
    return Drawn(words, reading.counts(numbers, "number of rows", words))


DRAWERS: dict[str, Drawer] = {
    "protocol": protocol,
    "score": score,
    "interval": interval,
    "told-apart": told_apart,
    "rank": rank,
    "gain": gain,
    "roles": roles,
    "discretisation-error": discretisation_error,
    "verified": verified,
    "cost": cost,
    "flags": flags,
}
"""By the key of the term; *What is measured* has the picture of the benchmark instead."""
