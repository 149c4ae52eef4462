"""Draws the picture of the dataset card from the built data: ``python pictures.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from etchmark.columns import Columns
from etchmark.data.building import hub_folder
from etchmark.data.loading import read_manifest

HERE = Path(__file__).resolve().parent
GAP, LEFT, BLOCKS, SHOWN = 6, 130, 2, 5
"""Sizes in pixels, blocks beside each other, and realisations beside each exemplar."""
GREY, SPLITS = 128, ("test", "train")


def _row(exemplar: np.ndarray, realisations: np.ndarray) -> Image.Image:
    """An exemplar in a frame and some of its realisations, phase 1 white."""
    size = len(exemplar)
    canvas = Image.new("L", ((1 + SHOWN) * (size + GAP) + GAP, size + GAP), 255)
    step = len(realisations) // SHOWN
    for place, image in enumerate([exemplar, *realisations[: SHOWN * step : step]]):
        left = place * (size + GAP) + (GAP if place else 0)
        canvas.paste(GREY if place else 0, (left, 0, left + size + 4, size + 4))
        canvas.paste(Image.fromarray(255 * image), (left + 2, 2))
    return canvas


def draw(parts: list[Columns]) -> Image.Image:
    """Each exemplar with some of its realisations, in blocks beside each other."""
    rows = [
        (str(name), _row(exemplar, realisations))
        for part in parts
        for name, exemplar, realisations in zip(
            part["id"], part["exemplar"], part["realisations"], strict=True
        )
    ]
    per_block = -(-len(rows) // BLOCKS)
    width, height = LEFT + rows[0][1].width + GAP, rows[0][1].height
    canvas = Image.new("L", (BLOCKS * width, per_block * height + GAP), 255)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for number, (name, row) in enumerate(rows):
        left, top = number // per_block * width, number % per_block * height + GAP
        pen.text((left + 4, top + row.height // 2 - 10), name, fill=0, font=font)
        canvas.paste(row, (left + LEFT, top))
    return canvas


def main() -> None:
    folder = hub_folder("exemplars", "images-full")
    files = read_manifest(folder).files
    parts = [[folder / file.path for file in files if file.split == split] for split in SPLITS]
    drawn = draw([Columns(paths) for paths in parts])
    drawn.quantize(16).save(HERE / "samples.png", "PNG", optimize=True)


if __name__ == "__main__":
    main()
