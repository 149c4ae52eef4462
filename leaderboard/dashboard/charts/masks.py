"""Masks as pictures: truth, prediction and where they differ."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import ImageColor

from dashboard.charts.images import grid
from dashboard.charts.style import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from etchmark.api import Pictures

COLOURS = ("#303030", "#E8E8E8", ORANGE, SKY, GREEN, PURPLE, BLUE, "#F0E442")
"""Of the classes, in order; the colour of errors is not among them."""
CELL = 280
"""Pixels of a picture."""
RIGHT = "#E8E8E8"
"""Colour of the pixels that are predicted rightly, where errors are shown."""


def class_colours(count: int) -> np.ndarray:
    """A colour per class, shape (count, 3), uint8; shades of grey where there are many."""
    if count <= len(COLOURS):
        named = [ImageColor.getrgb(colour)[:3] for colour in COLOURS[:count]]
        return np.array(named, dtype=np.uint8)
    shades = np.linspace(0, 255, count).round().astype(np.uint8)
    return np.stack([shades] * 3, axis=1)


def coloured(mask: np.ndarray, count: int) -> np.ndarray:
    """Classes as colours, shape (..., 3); a number beyond the classes counts as the last one."""
    return class_colours(count)[np.minimum(mask, count - 1)]


def errors_shown(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Pixels that are predicted wrongly in red, all others pale, shape (..., 3)."""
    colours = [np.array(ImageColor.getrgb(colour), dtype=np.uint8) for colour in (VERMILION, RIGHT)]
    return np.where((truth != predicted)[..., None], *colours)


def picture(pictures: Pictures, count: int) -> bytes:
    """Truth, prediction and errors below each other, a column per image, as a PNG."""
    strips = [
        ("truth", coloured(pictures.truth, count)),
        ("prediction", coloured(pictures.predicted, count)),
        ("wrong pixels", errors_shown(pictures.truth, pictures.predicted)),
    ]
    buffer = io.BytesIO()
    grid(pictures.titles, strips, CELL).save(buffer, "PNG")
    return buffer.getvalue()


def legend(classes: Sequence[str], *, wrong: bool = True) -> str:
    """A square of its colour and the name of each class, as SVG for any ground.

    ``wrong`` adds the colour of wrong pixels.
    """
    entries = list(zip(classes, class_colours(len(classes)).tolist(), strict=True))
    if wrong:
        entries.append(("wrong", list(ImageColor.getrgb(VERMILION))))
    width, line = 600, 24
    x, y, parts = 0.0, 0, []
    for name, (red, green, blue) in entries:
        text = "".join(character for character in name if character.isalnum() or character in "-_.")
        space = 34 + 9.5 * len(text)
        if x + space > width:
            x, y = 0.0, y + line
        parts.append(
            f"<rect x='{x + 1:.0f}' y='{y + 4}' width='15' height='15' stroke='#808080'"
            f" fill='rgb({red},{green},{blue})'/><text x='{x + 22:.0f}' y='{y + 17}'"
            f" font-size='15' font-family='sans-serif' fill='#808080'>{text}</text>"
        )
        x += space
    height = y + line
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}'"
        f" width='{width}' height='{height}'>{''.join(parts)}</svg>"
    )
