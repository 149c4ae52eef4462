"""What a benchmark declares of each scored sample beside its label: bounds and subsets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from etchmark.columns import Columns
from etchmark.data.loading import Benchmark
from etchmark.errors import UserError
from etchmark.specs import Bounds, Subset


@dataclass(frozen=True)
class Marks:
    """Bounds of each sample and membership in each subset, in the order of the stored rows."""

    bounds: tuple[np.ndarray, np.ndarray] | None = None
    """Lower and upper, each of shape (samples,), in the target's unit."""
    subsets: dict[str, np.ndarray] = field(default_factory=dict)
    """Truth values of shape (samples,) by name."""


def marks_of(benchmark: Benchmark, split: str) -> Marks:
    """The marks of a split, from whichever track's config is at hand.

    Raises:
        UserError: a declared column does not exist or cannot be used.
    """
    spec = benchmark.spec
    names = [subset.column for subset in spec.subsets.values()]
    if spec.bounds is not None:
        names += [spec.bounds.lower, spec.bounds.upper]
    if not names:
        return Marks()
    paths = benchmark.files(split, benchmark.label_track())
    columns = Columns(paths, list(dict.fromkeys(names)))
    bounds = None if spec.bounds is None else _bounds(columns, spec.bounds, spec.id)
    members = {name: _members(columns, one, spec.id) for name, one in spec.subsets.items()}
    return Marks(bounds, members)


def _numbers(columns: Mapping[str, np.ndarray], name: str, benchmark: str) -> np.ndarray:
    values = columns[name]
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise UserError(f"{benchmark}: column {name!r} does not hold one number per sample")
    return values.astype(np.float64)


def _bounds(
    columns: Mapping[str, np.ndarray], declared: Bounds, benchmark: str
) -> tuple[np.ndarray, np.ndarray]:
    lower = _numbers(columns, declared.lower, benchmark)
    upper = _numbers(columns, declared.upper, benchmark)
    # False for what is not a number: a missing bound must not pass for one that is kept.
    if not (lower <= upper).all():
        raise UserError(
            f"{benchmark}: {int((~(lower <= upper)).sum())} samples have no {declared.lower!r} at"
            f" or below {declared.upper!r}; mend the dataset or the benchmark's bounds"
        )
    return lower, upper


def _members(columns: Mapping[str, np.ndarray], declared: Subset, benchmark: str) -> np.ndarray:
    if declared.equals is not None:
        return columns[declared.column].astype(str) == declared.equals
    values = _numbers(columns, declared.column, benchmark)
    member = ~np.isnan(values)
    if declared.above is not None:
        member &= values > declared.above
    if declared.below is not None:
        member &= values < declared.below
    return member
