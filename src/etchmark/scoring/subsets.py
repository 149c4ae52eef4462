"""Membership of scored samples in the subsets that a benchmark declares."""

from __future__ import annotations

import numpy as np

from etchmark.columns import Columns
from etchmark.data.declarations import members
from etchmark.data.loading import Benchmark


def subsets_of(benchmark: Benchmark, split: str) -> dict[str, np.ndarray]:
    """Membership of each sample of a split, boolean, shape (samples,), keyed by subset.

    Raises:
        UserError: a declared column does not exist or cannot be used.
    """
    spec = benchmark.spec
    if not spec.subsets:
        return {}
    names = dict.fromkeys(subset.column for subset in spec.subsets.values())
    columns = Columns(benchmark.files(split, benchmark.label_track()), list(names))
    return {name: members(columns, subset, spec.id) for name, subset in spec.subsets.items()}
