"""Splits and subsets of a protocol: where else the rows of a board are scored."""

from __future__ import annotations

import pandas as pd

from dashboard import cached
from etchmark.api import WORST, Hub, View
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec

SUBSET = "subset "
"""Before the name of a subset, which may be that of a split as well."""


def names(spec: BenchmarkSpec, protocol: str) -> list[str]:
    """The headline split, the extra splits, and the declared subsets of the headline split."""
    declared = spec.protocols[protocol]
    subsets = [f"{SUBSET}{name}" for name in spec.subsets]
    return [declared.split, *declared.extra_splits, *subsets]


def ranked_by(spec: BenchmarkSpec, protocol: str) -> list[str]:
    """What rows can be ranked by: any place, or the worst split where there are several."""
    several = bool(spec.protocols[protocol].extra_splits)
    return [*names(spec, protocol), *([WORST] if several else [])]


def title(spec: BenchmarkSpec, protocol: str, place: str) -> str:
    """A place as it stands in a list."""
    return f"{place} (headline)" if place == spec.protocols[protocol].split else place


def in_words(spec: BenchmarkSpec, place: str) -> str:
    """What a place is, in a sentence."""
    if place == WORST:
        return (
            "each row's worst split, which the table names: rows are judged on different samples,"
            " so there is no interval and no test"
        )
    if not place.startswith(SUBSET):
        return f"the split {place}"
    subset = place.removeprefix(SUBSET)
    return f"the subset {subset}: {spec.subsets[subset].title}"


def view_of(spec: BenchmarkSpec, place: str | None, protocol: str, metric: str) -> View:
    """The view of a place; of the headline split if None, or where the worst split counts."""
    split = spec.protocols[protocol].split
    if place is None or place == WORST:
        return View(protocol, metric=metric)
    if place.startswith(SUBSET):
        return View(protocol, split, metric, subset=place.removeprefix(SUBSET))
    return View(protocol, place, metric)


def standings(hub: Hub, spec: BenchmarkSpec, protocol: str, metric: str) -> dict[str, pd.DataFrame]:
    """The board of every place on which a row has a score."""
    frames = {}
    for place in names(spec, protocol):
        try:
            frame = cached.standings(hub, spec, view_of(spec, place, protocol, metric))
        except UserError:
            # No row has scores of a subset that is newer than all of them.
            continue
        if frame["score"].notna().any():
            frames[place] = frame
    return frames
