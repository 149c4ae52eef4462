"""Samples as pictures: enlarged, framed, and as films that play."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 256
"""Pixels to which a small picture is enlarged, at least."""
GLANCE = 112
"""Pixels of a picture among several."""
FILM_MS = 60
CELL, GAP, LINE = 160, 8, 26
"""Pixels of a picture in a grid, between pictures, and of a line of text."""
GREY = (128, 128, 128, 255)
"""Readable on a light and on a dark page."""
MAX_FRAMES = 220


def sized(pixels: np.ndarray, side: int) -> np.ndarray:
    """A picture about ``side`` pixels wide: pixels are repeated, or some left out."""
    step = max(1, min(pixels.shape[:2]) // side)
    return enlarged(pixels[::step, ::step], side)


def enlarged(pixels: np.ndarray, side: int = SIDE) -> np.ndarray:
    """A picture at least ``side`` pixels wide, every pixel repeated equally often."""
    times = max(1, -(-side // max(1, min(pixels.shape[:2]))))
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def framed(pixels: np.ndarray) -> np.ndarray:
    """A picture with a grey line around it, which shows where white ends, and a clear margin."""
    line, margin = max(1, len(pixels) // 100), max(2, len(pixels) // 20)
    padding = [(line + margin, line + margin)] * 2
    colours = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)
    image = np.pad(colours[..., :3], [*padding, (0, 0)], constant_values=128)
    opaque = np.pad(np.full(np.add(pixels.shape[:2], 2 * line), 255, np.uint8), margin)
    return np.concatenate([image, opaque[..., None]], axis=-1)


def side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Framed pictures of one size in a row."""
    return np.concatenate([framed(sized(pixels, GLANCE)) for pixels in pictures], axis=1)


def grid(
    titles: Sequence[str], strips: Sequence[tuple[str, np.ndarray]], cell_px: int = CELL
) -> Image.Image:
    """Strips of pictures below each other, each under its name.

    Args:
        titles: of the columns.
        strips: name and pictures, shape (columns, height, width) or (columns, height, width, 3).
        cell_px: width of a picture.
    """
    height, width = strips[0][1].shape[1:3]
    tall = max(1, round(cell_px * height / width))
    step = LINE + tall + GAP
    image = Image.new("RGBA", (len(titles) * (cell_px + GAP) - GAP, LINE + len(strips) * step))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=17)
    for column, title in enumerate(titles):
        centre = column * (cell_px + GAP) + cell_px // 2
        pen.text((centre, 2), title, GREY, font, anchor="ma")
    for row, (name, pictures) in enumerate(strips):
        top = LINE + row * step
        pen.text((0, top + 2), name, GREY, font)
        for column, pixels in enumerate(pictures):
            cell = Image.fromarray(pixels).resize((cell_px, tall), Image.Resampling.NEAREST)
            left = column * (cell_px + GAP)
            image.paste(cell.convert("RGBA"), (left, top + LINE))
            # The outline shows that a picture that is all white is there.
            pen.rectangle(
                (left, top + LINE, left + cell_px - 1, top + LINE + tall - 1), outline=GREY
            )
    return image


def film(frames: np.ndarray) -> bytes:
    """A GIF that plays again and again; ``frames`` has shape (frames, height, width), uint8."""
    step = -(-len(frames) // MAX_FRAMES)
    images = [Image.fromarray(enlarged(frame)) for frame in frames[::step]]
    buffer = io.BytesIO()
    images[0].save(
        buffer, "GIF", save_all=True, append_images=images[1:], duration=FILM_MS * step, loop=0
    )
    return buffer.getvalue()
