"""Pictures of a few predictions, kept with the per-sample table as a PNG of eight bits.

They are there to be looked at, without the data or the predictions file. Scores never come from
them. A kind says what is kept; the file has the truth above, the prediction below and a column per
pair.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_PIXELS = 1 << 24
"""Of a picture that is read: an honest one has a few tens of thousands."""


@dataclass(frozen=True)
class Pictures:
    """Truth and prediction of a few frames of one sample, or of a few samples.

    Attributes:
        samples: id of the sample that each pair shows.
        titles: what each pair is, such as how many frames ahead it lies.
        truth: uint8, shape (pairs, height, width).
        predicted: the same shape.
    """

    samples: list[str]
    titles: list[str]
    truth: NDArray[np.uint8]
    predicted: NDArray[np.uint8]


def to_png(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], key: str, text: str) -> bytes:
    """A PNG: truth above, prediction below, a column per pair.

    Args:
        truth: shape (pairs, height, width).
        predicted: the same shape.
        key: under which the text is stored.
        text: what the kind must know to read the pictures, ASCII.
    """
    # Imported here: a model's process, which draws nothing, imports this module too.
    from PIL import Image, PngImagePlugin

    rows = [np.concatenate(list(images), axis=1) for images in (truth, predicted)]
    notes = PngImagePlugin.PngInfo()
    notes.add_text(key, text)
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(rows)).save(buffer, "PNG", pnginfo=notes, optimize=True)
    return buffer.getvalue()


def from_png(content: bytes, key: str) -> tuple[NDArray[np.uint8], str]:
    """Pixels, shape (height, width), and the text under a key.

    Raises:
        ValueError: the content is no such picture.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            # Checked before it is unpacked: a small file can hold a very large picture.
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(
                    f"no picture of predictions ({image.width} x {image.height} pixels)"
                )
            pixels, text = np.asarray(image), str(image.info[key])
    except (OSError, KeyError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"no picture of predictions ({error})") from None
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise ValueError("no picture of predictions (not grey)")
    return pixels, text


def pairs(pixels: NDArray[np.uint8], count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Truth and prediction of each column, shape (count, height, width) each.

    Raises:
        ValueError: the picture has other columns.
    """
    if not count:
        raise ValueError("no picture of predictions (it shows none)")
    height, width = pixels.shape[0] // 2, pixels.shape[1] // count
    if not height or not width or pixels.shape != (2 * height, count * width):
        raise ValueError(f"no picture of predictions (its shape is {pixels.shape})")
    split = pixels.reshape(2, height, count, width).swapaxes(1, 2)
    return split[0], split[1]
