"""Membership of scored samples in the subsets that a benchmark declares."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from etchmark.columns import Columns
from etchmark.data.loading import Benchmark
from etchmark.specs import Subset
from etchmark.targets.base import stored_numbers


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
    return {name: _members(columns, subset, spec.id) for name, subset in spec.subsets.items()}


def _members(columns: Mapping[str, np.ndarray], declared: Subset, benchmark: str) -> np.ndarray:
    if declared.equals is not None:
        return columns[declared.column].astype(str) == declared.equals
    values = stored_numbers(columns, declared.column, benchmark)
    member = ~np.isnan(values)
    if declared.above is not None:
        member &= values > declared.above
    if declared.below is not None:
        member &= values < declared.below
    return member
