"""Standings as they are published: reviewed rows alone, whatever this hub holds beside them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

from etchmark.boards.standings import standings
from etchmark.boards.view import View
from etchmark.registry.store import REVIEWED, Store
from etchmark.specs import BenchmarkSpec

COLUMNS = [
    *("benchmark", "protocol", "track", "split", "role", "rank", "rank_low", "rank_high"),
    *("model", "title", "metric", "unit", "score", "ci_low", "ci_high", "n", "units", "seeds"),
    *("gain", "gain_low", "gain_high", "gain_relation", "may_be_best", "interval_method"),
    *("cpu_seconds", "reference_units", "total_parameters", "training_data", "status", "date"),
    *("submission", "artefact"),
]


class Reviewed:
    """Reviewed rows of a hub; a registry without any others is made when it is first needed.

    Args:
        store: the registry of the hub.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._alone: Store | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Reviewed:
        return self

    def __exit__(self, *error: object) -> None:
        if self._alone is not None:
            self._alone.engine.dispose()
        if self._folder is not None:
            self._folder.cleanup()

    def of(self, spec: BenchmarkSpec) -> Store:
        """A registry that holds no rows of a benchmark but reviewed ones."""
        if _is_reviewed(self.store, spec):
            return self.store
        if self._alone is None:
            self._folder = tempfile.TemporaryDirectory(prefix="etchmark-")
            self._alone = Store(home=Path(self._folder.name))
        return self._alone


def _is_reviewed(store: Store, spec: BenchmarkSpec) -> bool:
    return all(
        brief.origin == REVIEWED
        for protocol in spec.protocols
        for brief in store.briefs(spec.id, spec.version, protocol)
    )


def of(spec: BenchmarkSpec, store: Store) -> pd.DataFrame:
    """Standings of every protocol, the headline first; ranked rows, then those listed apart."""
    frames = [standings(spec, store, View(protocol=name)) for name in spec.protocols]
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return pd.DataFrame({name: pd.Series(dtype="string") for name in COLUMNS})
    frame = pd.concat(frames, ignore_index=True)
    return frame[[name for name in COLUMNS if name in frame]]
