"""Draws the picture of the dataset card from the built data: ``python pictures.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from etchmark.columns import Columns
from etchmark.data.building import hub_folder
from etchmark.data.loading import read_manifest

HERE = Path(__file__).resolve().parent
TILE, GAP, LEFT, HEAD, PER_ROW = 128, 8, 90, 26, 8
"""Sizes in pixels, and conditions beside each other."""


def draw(columns: Columns) -> Image.Image:
    """One micrograph of each family under each condition, conditions in blocks of eight."""
    families = list(dict.fromkeys(columns["morphology"].tolist()))
    conditions = list(dict.fromkeys(columns["condition"].tolist()))
    blocks = [conditions[at : at + PER_ROW] for at in range(0, len(conditions), PER_ROW)]
    height = len(families) * (TILE + GAP) + HEAD + GAP
    canvas = Image.new("L", (LEFT + PER_ROW * (TILE + GAP), len(blocks) * height), 255)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for block, named in enumerate(blocks):
        top = block * height
        for row, family in enumerate(families):
            upper = top + HEAD + row * (TILE + GAP)
            pen.text((4, upper + TILE // 2 - 8), family, fill=0, font=font)
            for place, condition in enumerate(named):
                left = LEFT + place * (TILE + GAP)
                pen.text((left, top + 6), condition, fill=0, font=font)
                here = (columns["morphology"] == family) & (columns["condition"] == condition)
                picture = columns["micrograph"][int(np.flatnonzero(here)[0])]
                canvas.paste(Image.fromarray(picture), (left, upper))
    return canvas


def main() -> None:
    folder = hub_folder("renderings", "micrographs-full")
    columns = Columns([folder / file.path for file in read_manifest(folder).files])
    drawn = draw(columns)
    small = drawn.resize((drawn.width * 2 // 3, drawn.height * 2 // 3), Image.Resampling.LANCZOS)
    small.quantize(16).save(HERE / "samples.png", "PNG", optimize=True)


if __name__ == "__main__":
    main()
