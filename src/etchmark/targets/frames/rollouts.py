"""A few frames of one trajectory beside what was predicted for them: a picture to look at.

It is kept with the per-sample table as a PNG of eight bits, so a board can show it without the data
or the predictions file. Scores never come from it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

SHOWN = 5
AHEAD = "ahead"
"""Key of the text in the PNG that says how many frames ahead each column is."""
MAX_PIXELS = 1 << 24
"""Of a picture that is read: an honest one has a few tens of thousands."""


@dataclass(frozen=True)
class Rollout:
    """Truth and prediction of some frames of a sample, uint8, shapes (shown, n, n).

    0 and 255 stand for 0 and 1; what lies beyond is cut off. ``ahead`` counts frames from the last
    one that was given, from 1.
    """

    sample: str
    ahead: list[int]
    truth: NDArray[np.uint8]
    predicted: NDArray[np.uint8]

    def difference(self) -> NDArray[np.float64]:
        """Prediction minus truth, from -1 to 1, to within 1/255."""
        return (self.predicted.astype(float) - self.truth.astype(float)) / 255


def horizons(frames: int, shown: int = SHOWN) -> list[int]:
    """Frames ahead, from 1 to ``frames``, as evenly as whole numbers allow."""
    return sorted({int(one) for one in np.linspace(1, frames, min(shown, frames)).round()})


def rollout(sample: str, truth: np.ndarray, predicted: np.ndarray) -> Rollout:
    """What is kept of one sample; both arrays of shape (frames, n, n)."""
    ahead = horizons(len(truth))
    rows = np.array(ahead) - 1
    return Rollout(sample, ahead, _grey(truth[rows]), _grey(predicted[rows]))


def _grey(values: np.ndarray) -> NDArray[np.uint8]:
    return (np.clip(values.astype(float), 0, 1) * 255).round().astype(np.uint8)


def encode(one: Rollout) -> bytes:
    """A PNG: truth above, prediction below, a column per frame."""
    rows = [np.concatenate(list(frames), axis=1) for frames in (one.truth, one.predicted)]
    notes = PngImagePlugin.PngInfo()
    notes.add_text(AHEAD, " ".join(map(str, one.ahead)))
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(rows)).save(buffer, "PNG", pnginfo=notes, optimize=True)
    return buffer.getvalue()


def decode(sample: str, content: bytes) -> Rollout:
    """The inverse of ``encode``.

    Raises:
        ValueError: the content is no such picture.
    """
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            # Looked at before it is unpacked: a small file can hold a very large picture.
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"no picture of a rollout ({image.width} x {image.height} pixels)")
            pixels = np.asarray(image)
            ahead = [int(word) for word in str(image.info[AHEAD]).split()]
    except (OSError, KeyError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"no picture of a rollout ({error})") from None
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or not ahead:
        raise ValueError("no picture of a rollout (not grey, or without frames)")
    side = pixels.shape[0] // 2
    if pixels.shape != (2 * side, len(ahead) * side) or not side:
        raise ValueError(f"no picture of a rollout (its shape is {pixels.shape})")
    split = pixels.reshape(2, side, len(ahead), side).swapaxes(1, 2)
    return Rollout(sample, ahead, split[0], split[1])
