"""Reference lines of a board with their values."""

from __future__ import annotations

import numpy as np
import pandas as pd

from etchmark.boards.standings import Board
from etchmark.catalog import Catalog, use_of
from etchmark.errors import UserError
from etchmark.registry.reviewed import HUB_RAN
from etchmark.registry.store import REVIEWED, Store
from etchmark.specs import BenchmarkSpec, Protocol, ReferenceLine


def reference_values(
    catalog: Catalog,
    spec: BenchmarkSpec,
    store: Store,
    *,
    protocol: str,
    metric: str,
    split: str | None = None,
    frame: pd.DataFrame | None = None,
) -> list[tuple[ReferenceLine, float]]:
    """Lines to draw beside a board; one whose model has no score is left out.

    Args:
        catalog: declares other benchmarks, whose scores a line may show.
        spec: the benchmark whose board it is.
        store: the registry.
        protocol: of the board.
        metric: of the board.
        split: of the board; the protocol's headline split if None.
        frame: the ranked rows of all tracks, best first, if they are known already.
    """
    declared = spec.protocols[protocol]
    split = split or declared.split
    lines = []
    for line in spec.reference_lines:
        shown = ((line.protocol, protocol), (line.metric, metric), (line.split, split))
        if any(condition not in {None, value} for condition, value in shown):
            continue
        value = line.value
        if line.benchmark is not None:
            value = _elsewhere(catalog, store, line, metric, _place(declared, split))
        elif line.model is not None:
            if frame is None:
                board = Board(spec, store, protocol=protocol, split=split, metric=metric)
                # A control or an oracle may be drawn as a line, though it is not ranked.
                frame = board.leaders(apart=True)
            value = _score(frame, line.model, _track(catalog, spec, line))
        if value is not None:
            lines.append((line, value))
    return lines


def _place(protocol: Protocol, split: str) -> str | None:
    """Name of an extra split; None for the headline split, whose name may differ elsewhere."""
    return None if split == protocol.split else split


def _track(catalog: Catalog, spec: BenchmarkSpec, line: ReferenceLine) -> str | None:
    """The track of a line's model; None if neither line nor benchmark names it."""
    if line.track is not None or line.model is None:
        return line.track
    try:
        use = use_of(spec, catalog.model(line.model))
    except UserError:
        # A model that is not a baseline here, or whose card is broken, is still found by its name.
        return None
    return use and use.track


def _score(frame: pd.DataFrame, model: str | None, track: str | None) -> float | None:
    """Score of a model, or of the best one; the best row on the track comes first."""
    rows = np.ones(len(frame), dtype=bool)
    if track is not None:
        rows &= (frame["track"] == track).to_numpy(dtype=bool)
    if model is not None:
        # A reference line must not be taken over by a submission of the same name: only rows that
        # this hub ran or somebody reviewed count.
        trusted = frame["status"].isin(HUB_RAN) | (frame["origin"] == REVIEWED)
        rows &= ((frame["model"] == model) & trusted).to_numpy(dtype=bool)
    scores = frame.loc[rows, "score"]
    return None if scores.empty else float(scores.iloc[0])


def _elsewhere(
    catalog: Catalog, store: Store, line: ReferenceLine, metric: str, split: str | None
) -> float | None:
    """Score on another benchmark's headline protocol; None if it has none that compares."""
    try:
        other = catalog.benchmark(line.benchmark or "")
    except UserError:
        # A broken or missing YAML of another benchmark must not break this board.
        return None
    headline = other.protocols[other.headline]
    if metric not in other.metrics or split not in {None, headline.split, *headline.extra_splits}:
        return None
    # The best of another board is a ranked row; a model that is named may be listed apart.
    board = Board(other, store, split=split, metric=metric)
    frame = board.leaders(apart=line.model is not None)
    return _score(frame, line.model, _track(catalog, other, line))
