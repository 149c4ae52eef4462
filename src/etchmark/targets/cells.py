"""What the cells of a stored column must be for the role that a benchmark gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from etchmark.columns import ColumnType

NUMBERS = ("float", "whole", "flag")


@dataclass(frozen=True)
class CellRule:
    """What a role asks of the cells of its column."""

    expected: str
    """As the object of "the column must hold"."""
    allows: Callable[[ColumnType], bool]
    """Whether a column of some type has such cells."""


def _single(*elements: str) -> Callable[[ColumnType], bool]:
    return lambda column: not column.shape and column.element in elements


NUMBER = CellRule("one number per sample", _single(*NUMBERS))
WHOLE_NUMBER = CellRule("one whole number per sample", _single("whole"))
CLASS_NAME = CellRule("one class per sample, as text or a whole number", _single("text", "whole"))
SINGLE_VALUE = CellRule("one value per sample", _single(*NUMBERS, "text", "other"))


def numbers_of_shape(shape: Sequence[int | None]) -> CellRule:
    """Arrays of numbers of one shape, in which None stands for any length."""
    lengths = ", ".join("any" if length is None else str(length) for length in shape)
    return CellRule(f"arrays of numbers of shape ({lengths})", _shaped(shape, NUMBERS))


def whole_numbers_of_rank(rank: int) -> CellRule:
    """Arrays of whole numbers or truth values with so many axes."""
    return CellRule(
        f"arrays of whole numbers with {rank} axes", _shaped([None] * rank, ("whole", "flag"))
    )


def _shaped(shape: Sequence[int | None], elements: Sequence[str]) -> Callable[[ColumnType], bool]:
    def allows(column: ColumnType) -> bool:
        return (
            column.element in elements
            and len(column.shape) == len(shape)
            and all(
                length in (None, asked) or asked is None
                for length, asked in zip(column.shape, shape, strict=True)
            )
        )

    return allows
