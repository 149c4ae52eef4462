"""Predicted frames as pictures: truth, prediction and their difference at a few horizons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor

from dashboard.charts.images import grid
from dashboard.charts.shades import REAL_NUMBERS
from dashboard.charts.style import BLUE, VERMILION
from etchmark.api import Pictures

SCALES = (0.05, 0.1, 0.2, 0.5)
"""Differences with the full colour: the first that is not exceeded is used, or the last."""


def difference(frames: Pictures) -> np.ndarray:
    """Prediction minus truth, from -1 to 1, to within 1/255."""
    return (frames.predicted.astype(float) - frames.truth.astype(float)) / 255


def full_scale(models: Sequence[Pictures]) -> float:
    """The difference with the full colour, one for all, so that models can be compared."""
    largest = max(float(np.abs(difference(frames)).max()) for frames in models)
    return next((scale for scale in SCALES if largest <= scale), SCALES[-1])


def difference_colours(values: np.ndarray, scale: float) -> np.ndarray:
    """White where there is none, towards red above and blue below, shape (..., 3), uint8."""
    share = np.clip(np.abs(values) / scale, 0, 1)[..., None]
    red, blue = (np.array(ImageColor.getrgb(colour)) for colour in (VERMILION, BLUE))
    full_colour = np.where(values[..., None] > 0, red, blue)
    return (255 + share * (full_colour - 255)).round().astype(np.uint8)


def picture(named: Sequence[tuple[str, Pictures]], scale: float) -> Image.Image:
    """The truth above, then prediction and difference of every model; one column per horizon."""
    first = named[0][1]
    strips: list[tuple[str, np.ndarray]] = [("truth", first.truth)]
    for name, frames in named:
        prefix = f"{name}: " if name else ""
        strips.append((f"{prefix}prediction", frames.predicted))
        strips.append((f"{prefix}difference", difference_colours(difference(frames), scale)))
    return grid(first.titles, strips)


def caption(frames: Pictures, split: str, scale: float) -> str:
    """What ``picture`` shows."""
    return (
        f"The first trajectory of split {split} ({frames.samples[0]}), the same for every model."
        f" {REAL_NUMBERS} Difference is prediction minus truth: blue below, red above, full colour"
        f" from {scale:g}; pictures have 256 levels, so a difference below 0.004 may be invisible."
    )
