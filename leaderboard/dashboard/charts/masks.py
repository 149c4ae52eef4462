"""Masks as pictures: truth, prediction and where they differ."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from PIL import Image, ImageColor

from dashboard.charts.images import grid
from dashboard.charts.style import BLUE, GREEN, LAYOUT, ORANGE, PURPLE, SKY, VERMILION
from etchmark.api import Pictures

COLOURS = ("#000000", "#FFFFFF", ORANGE, SKY, GREEN, PURPLE, BLUE, "#F0E442")
"""Of the classes, in order: 0 and 1 as phases in grey; the colour of errors is not among them."""
COLOUR_NAMES = ("black", "white", "orange", "light blue", "green", "pink", "blue", "yellow")
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


def overlaid(
    ground: np.ndarray, colours: np.ndarray, share: float, where: np.ndarray | None = None
) -> np.ndarray:
    """Colours that lie on a grey picture like a sheet of coloured glass, shape (..., 3), uint8.

    Args:
        ground: grey levels, uint8, shape (height, width).
        colours: shape (height, width, 3).
        share: how much of the colours is seen, from 0 to 1.
        where: pixels that they cover, all of them if None.
    """
    grey = np.repeat(ground[..., None].astype(float), 3, axis=-1)
    mixed = (1.0 - share) * grey + share * colours
    shown = mixed if where is None else np.where(where[..., None], mixed, grey)
    return shown.round().astype(np.uint8)


def zoomable(pixels: np.ndarray) -> go.Figure:
    """A picture in colour of which a part is enlarged by drawing a box around it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    figure = go.Figure(go.Image(source=source, hoverinfo="skip"))
    height = int(min(640, max(320, 900 * pixels.shape[0] / pixels.shape[1])))
    figure.update_layout(**{**LAYOUT, "dragmode": "zoom", "height": height})
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False)
    return figure


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

    ``wrong`` adds the colours of pixels where errors are shown.
    """
    entries = list(zip(classes, class_colours(len(classes)).tolist(), strict=True))
    if wrong:
        errors = (("right", RIGHT), ("wrong", VERMILION))
        entries += [(name, list(ImageColor.getrgb(colour))) for name, colour in errors]
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
