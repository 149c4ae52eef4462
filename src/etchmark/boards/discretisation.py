"""The discretisation error of labels, in words."""

from __future__ import annotations

from etchmark.specs import DiscretisationError
from etchmark.text import declared_number


def discretisation_in_words(error: DiscretisationError, unit: str) -> str:
    """What is known about how far the grid moves labels, on one line.

    Args:
        error: as a benchmark declares it.
        unit: of its metric; ``1`` if it has none.
    """
    if error.unknown is not None:
        return f"unknown: {_one_line(error.unknown)}"
    after = "" if unit == "1" else f" {unit}"
    parts = [f"{error.metric} {declared_number(error.value)}{after}"]
    if (known := error.distribution) is not None:
        grids = ", ".join(map(str, known.refinements))
        low, middle, high = (
            f"{_signed(value)}{after}"
            for value in (known.percentile_5, known.median, known.percentile_95)
        )
        parts += [
            f"label by label {low} … {high} (5 to 95 %), median {middle}",
            f"from {known.samples:,} labels with voxels split into {grids} parts along each axis",
        ]
    return f"{'; '.join(parts)}. {_one_line(error.description or '')}".rstrip()


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")


def _one_line(text: str) -> str:
    return " ".join(text.split())
