"""Which shade stands for which number in a picture, the same on every page, and how it is said.

Phase 0 and class 0 are dark, phase 1 and class 1 are light, and further classes have colours. Real
numbers are grey between 0 and 1, and micrographs keep their own grey levels.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dashboard.charts.masks import COLOUR_NAMES, coloured
from etchmark.api import Gallery

PHASES = "Phase 0 is black and phase 1 is white."
REAL_NUMBERS = "Grey follows the value: 0 and less is black, 1 and more is white."
GREY_LEVELS = "The picture has its own grey levels, from 0 (black) to 255 (white)."
SOLID = "phase 1 is solid and light, phase 0 is left out"


def in_words(cells: np.ndarray) -> str:
    """What the shades of ``grey(cells)`` stand for."""
    if cells.dtype.kind == "f":
        return REAL_NUMBERS
    return PHASES if cells.dtype != np.uint8 or cells.max(initial=0) <= 1 else GREY_LEVELS


def all_in_words(pictures: Iterable[np.ndarray]) -> str:
    """The same of several pictures that are shown together, each sentence once."""
    return " ".join(dict.fromkeys(in_words(cells) for cells in pictures))


def classes_in_words(count: int) -> str:
    """The colours of so many classes, in order."""
    if count == 2:
        return PHASES
    if count > len(COLOUR_NAMES):
        return "Classes are shades of grey, from 0 (black) to the last (white)."
    first, *others = COLOUR_NAMES[:count]
    listed = ", ".join(f"{number} {colour}" for number, colour in enumerate(others, start=1))
    return f"Class 0 is {first}, {listed}."


def thumbnail(gallery: Gallery, split: str, row: int) -> np.ndarray | None:
    """A sample at a glance, uint8: grey, or classes in their colours; None without a picture."""
    name = next(iter(gallery.kinds.pictures), "")
    if name in gallery.masks:
        return coloured(gallery.cell(split, name, row), gallery.masks[name])
    return gallery.thumbnail(split, row)


def thumbnail_in_words(gallery: Gallery, split: str, row: int) -> str:
    """What ``thumbnail`` shows of a sample, and in which shades; empty without a picture."""
    _, pictures, volumes, films = gallery.kinds
    if pictures and pictures[0] in gallery.masks:
        return classes_in_words(gallery.masks[pictures[0]])
    if pictures:
        return in_words(gallery.cell(split, pictures[0], row))
    if films:
        return f"The last frame. {in_words(gallery.cell(split, films[-1], row))}"
    if volumes:
        return f"The plane in the middle. {in_words(gallery.cell(split, volumes[0], row))}"
    return ""
