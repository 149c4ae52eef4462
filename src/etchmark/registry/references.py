"""Reference lines with their values, as far as they hold for what is looked at."""

from __future__ import annotations

import pandas as pd

from etchmark.catalog import Catalog
from etchmark.errors import UserError
from etchmark.registry.standings import Board
from etchmark.registry.store import Store
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
        catalog: where other benchmarks are found.
        spec: the benchmark whose board it is.
        store: the registry.
        protocol: what the board shows.
        metric: what the board shows.
        split: what the board shows; the protocol's headline split if None.
        frame: the ranked rows of all tracks, best first, if they are at hand.
    """
    chosen = spec.protocols[protocol]
    split = split or chosen.split
    found = []
    for line in spec.reference_lines:
        shown = ((line.protocol, protocol), (line.metric, metric), (line.split, split))
        if any(only not in {None, one} for only, one in shown):
            continue
        value = line.value
        if line.benchmark is not None:
            value = _elsewhere(catalog, store, line, metric, _place(chosen, split))
        elif line.model is not None:
            if frame is None:
                board = Board(spec, store, protocol=protocol, split=split, metric=metric)
                frame = board.leaders()
            value = _score(frame, line.model)
        if value is not None:
            found.append((line, value))
    return found


def _place(protocol: Protocol, split: str) -> str | None:
    """Name of an extra split; None for the headline split, which may be named otherwise."""
    return None if split == protocol.split else split


def _score(frame: pd.DataFrame, model: str | None) -> float | None:
    """Score of a model, or of the best one."""
    scores = frame["score"] if model is None else frame.loc[frame["model"] == model, "score"]
    return None if scores.empty else float(scores.iloc[0])


def _elsewhere(
    catalog: Catalog, store: Store, line: ReferenceLine, metric: str, split: str | None
) -> float | None:
    """Score on another benchmark's headline protocol; None where it has none to compare with."""
    try:
        other = catalog.benchmark(line.benchmark or "")
    except UserError:
        # Another benchmark's broken or missing card is no reason to show nothing here.
        return None
    headline = other.protocols[other.headline]
    if metric not in other.metrics or split not in {None, headline.split, *headline.extra_splits}:
        return None
    return _score(Board(other, store, split=split, metric=metric).leaders(), line.model)
