"""The picture of a page that messengers and forums show beside a link to it (``og:image``)."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from etchmark.publish.pages.badge import shortened

SIZE = (1200, 630)
"""Pixels, as the Open Graph consumers recommend."""
GROUND, TEXT, ACCENT = "#FFFFFF", "#1A1A1A", "#0072B2"
MARGIN, LINES, LINE_PX, CHARS = 70, 6, 58, 62


def png(title: str, lines: Sequence[str]) -> bytes | None:
    """A picture with a title and a few lines.

    Args:
        title: in large letters.
        lines: shown below it, wrapped, as far as there is room.

    Returns:
        A PNG file; None where Pillow cannot draw letters, for which it needs FreeType.
    """
    from PIL import Image, ImageDraw, features

    if not features.check("freetype2"):
        return None
    image = Image.new("RGB", SIZE, GROUND)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 18, SIZE[1]), fill=ACCENT)
    draw.text((MARGIN, 60), "etchmark", font=_font(34), fill=ACCENT)
    draw.text((MARGIN, 130), shortened(title, 38), font=_font(56), fill=TEXT)
    wrapped = [part for line in lines for part in textwrap.wrap(shortened(line, 400), CHARS)]
    for index, part in enumerate(wrapped[:LINES]):
        place = (MARGIN, 250 + LINE_PX * index)
        draw.text(place, part, font=_font(34), fill=TEXT)
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


@lru_cache(maxsize=8)
def _font(size: int) -> Any:
    from PIL import ImageFont

    # The font that Pillow brings, so that the picture is the same on any machine.
    return ImageFont.load_default(size)
