"""Predicted frames as pictures: truth, prediction and their difference at a few horizons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from dashboard.charts.style import BLUE, VERMILION
from etchmark.api import Rollout

SIDE, GAP, LINE = 160, 8, 26
"""Pixels of a frame, between frames, and of a line of text."""
TEXT = (128, 128, 128, 255)
"""Grey that is readable on a light and on a dark page."""
SCALES = (0.05, 0.1, 0.2, 0.5)
"""Differences with the full colour: the first that is not exceeded is used, or the last."""


def full_scale(rollouts: Sequence[Rollout]) -> float:
    """The difference with the full colour, one for all, so that models can be compared."""
    largest = max(float(np.abs(rollout.difference()).max()) for rollout in rollouts)
    return next((scale for scale in SCALES if largest <= scale), SCALES[-1])


def difference_colours(difference: np.ndarray, scale: float) -> np.ndarray:
    """White where there is none, towards red above and blue below, shape (..., 3), uint8."""
    share = np.clip(np.abs(difference) / scale, 0, 1)[..., None]
    red, blue = (np.array(ImageColor.getrgb(colour)) for colour in (VERMILION, BLUE))
    full_colour = np.where(difference[..., None] > 0, red, blue)
    return (255 + share * (full_colour - 255)).round().astype(np.uint8)


def picture(named: Sequence[tuple[str, Rollout]], scale: float) -> Image.Image:
    """The truth above, then prediction and difference of every model; one column per horizon."""
    first = named[0][1]
    strips: list[tuple[str, np.ndarray]] = [("truth", first.truth)]
    for name, rollout in named:
        prefix = f"{name}: " if name else ""
        strips.append((f"{prefix}prediction", rollout.predicted))
        strips.append((f"{prefix}difference", difference_colours(rollout.difference(), scale)))
    width = len(first.ahead) * (SIDE + GAP) - GAP
    image = Image.new("RGBA", (width, LINE + len(strips) * (LINE + SIDE + GAP)))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=17)
    for column, ahead in enumerate(first.ahead):
        centre = column * (SIDE + GAP) + SIDE // 2
        pen.text((centre, 2), f"{ahead} ahead", TEXT, font, anchor="ma")
    for row, (name, frames) in enumerate(strips):
        top = LINE + row * (LINE + SIDE + GAP)
        pen.text((0, top + 2), name, TEXT, font)
        for column, frame in enumerate(frames):
            cell = Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            left = column * (SIDE + GAP)
            image.paste(cell.convert("RGBA"), (left, top + LINE))
            # The outline shows that a difference of zero, all white, is there.
            pen.rectangle((left, top + LINE, left + SIDE - 1, top + LINE + SIDE - 1), outline=TEXT)
    return image


def caption(rollout: Rollout, split: str, scale: float) -> str:
    """What ``picture`` shows."""
    return (
        f"The first trajectory of split {split} ({rollout.sample}), the same for every model."
        f" Difference is prediction minus truth: blue below, red above, full colour from {scale:g};"
        " pictures have 256 levels, so a difference below 0.004 may be invisible."
    )
