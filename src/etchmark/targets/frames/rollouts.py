"""A few frames of one trajectory beside what was predicted for them: a picture to look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etchmark.targets.pictures import Pictures, from_png, pairs, to_png

SHOWN = 5
AHEAD = "ahead"
"""Key of the text in the PNG that says how many frames ahead each column is."""


def horizons(frames: int, shown: int = SHOWN) -> list[int]:
    """Frames ahead, from 1 to ``frames``, as evenly as whole numbers allow."""
    return sorted({int(ahead) for ahead in np.linspace(1, frames, min(shown, frames)).round()})


def encode(truth: np.ndarray, predicted: np.ndarray) -> bytes:
    """What is kept of one sample, as a PNG; 0 and 255 stand for 0 and 1, the rest is cut off.

    Args:
        truth: shape (frames, n, n).
        predicted: the same shape.
    """
    ahead = horizons(len(truth))
    rows = np.array(ahead) - 1
    return to_png(_grey(truth[rows]), _grey(predicted[rows]), AHEAD, " ".join(map(str, ahead)))


def _grey(values: np.ndarray) -> NDArray[np.uint8]:
    return (np.clip(values.astype(float), 0, 1) * 255).round().astype(np.uint8)


def decode(sample: str, content: bytes) -> Pictures:
    """The inverse of ``encode``; titles count frames from the last one that was given, from 1.

    Raises:
        ValueError: the content is no such picture.
    """
    pixels, text = from_png(content, AHEAD)
    ahead = [int(word) for word in text.split()]
    truth, predicted = pairs(pixels, len(ahead))
    if truth.shape[1] != truth.shape[2]:
        raise ValueError(f"no picture of predictions (frames of shape {truth.shape[1:]})")
    return Pictures([sample] * len(ahead), [f"{count} ahead" for count in ahead], truth, predicted)
