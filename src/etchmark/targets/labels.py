"""Labels of a split, as an array or read sample by sample, and what a split is scored against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etchmark.columns import Columns
from etchmark.errors import UserError


class Labels(Protocol):
    """Labels of a split, shape (samples, ...): an array, or what reads one sample at a time."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, row: Any, /) -> np.ndarray: ...


class StoredArrays:
    """A stored column of arrays, read sample by sample: a split need not fit into memory.

    Args:
        columns: of the split.
        name: the column, of cells of shape (length, ...).
        first: read only so many entries along the first axis of each sample.
    """

    def __init__(self, columns: Columns, name: str, first: int | None = None) -> None:
        self._columns, self._name = columns, name
        cell = columns.rows(name, 0, 1).shape[1:]
        length = cell[0] if first is None else min(first, cell[0])
        self._shape = (columns.height, length, *cell[1:])

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, row: int, /) -> np.ndarray:
        """The array of one sample."""
        return self._columns.rows(self._name, row, row + 1)[0, : self._shape[1]]


def in_memory(labels: Labels) -> np.ndarray:
    """Labels as one array, shape (samples, ...)."""
    return labels if isinstance(labels, np.ndarray) else np.stack([*_each(labels)])


def _each(labels: Labels) -> Iterator[np.ndarray]:
    return (labels[row] for row in range(len(labels)))


def stored_numbers(
    columns: Mapping[str, np.ndarray], name: str, benchmark: str
) -> NDArray[np.float64]:
    """A stored column of one number per sample, shape (samples,).

    Raises:
        UserError: it holds something else.
    """
    values = columns[name]
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise UserError(f"{benchmark}: column {name!r} does not hold one number per sample")
    return values.astype(np.float64)


@dataclass(frozen=True)
class Truth:
    """What a split is scored against, in the order of the stored rows."""

    ids: np.ndarray
    target: Labels
    """In the target's unit."""
    units: np.ndarray
    """Name of the independent unit of each sample."""
    folds: np.ndarray | None
    groups: np.ndarray | None

    @property
    def values(self) -> np.ndarray:
        """Labels as one array, shape (samples, ...)."""
        return in_memory(self.target)
