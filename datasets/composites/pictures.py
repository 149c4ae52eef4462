"""Draws the pictures of the dataset card from the built data: ``python pictures.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from etchmark.columns import Columns
from etchmark.data.building import hub_folder
from etchmark.data.loading import read_manifest

HERE = Path(__file__).resolve().parent
PER_FAMILY = 4
TILE, GAP, LEFT, CAPTION = 150, 14, 150, 22
# As in the dashboard, phase 1 is the light one.
SOFT, STIFF = (38, 70, 110), (236, 232, 222)
SHADES = (1.0, 0.82, 0.66)


def _colour(cells: np.ndarray, shade: float = 1.0) -> Image.Image:
    pixels = np.where(cells[..., None] > 0, STIFF, SOFT) * shade
    return Image.fromarray(pixels.astype(np.uint8))


def _plane(cells: np.ndarray) -> Image.Image:
    # Rows run along the first axis, x: turned, so that x points to the right and y upwards.
    return _colour(np.rot90(cells)).resize((TILE, TILE), Image.Resampling.NEAREST)


def _cube(volume: np.ndarray) -> Image.Image:
    """Three visible faces in isometric projection: x to the right front, y to the back, z up."""
    side = TILE * 0.5
    right, back, up = np.array([0.9, 0.45]) * side, np.array([0.9, -0.45]) * side, [0.0, -side]
    front = np.array([TILE * 0.05, TILE * 0.76])
    canvas = Image.new("RGB", (TILE, round(TILE * 1.05)), "white")
    faces = (
        (volume[:, :, -1], front + up, right, back, SHADES[0]),
        (volume[:, 0, :], front, right, np.array(up), SHADES[1]),
        (volume[-1, :, :], front + right, back, np.array(up), SHADES[2]),
    )
    for cells, corner, first, second, shade in faces:
        rows, columns = cells.shape
        # From a point of the canvas back to the cell: the inverse of the two edges.
        inverse = np.linalg.inv(np.stack([first / rows, second / columns], axis=1))
        image = _colour(cells.T, shade)
        offset = -inverse @ corner
        coefficients = (*inverse[0], offset[0], *inverse[1], offset[1])
        moved = image.transform(canvas.size, Image.Transform.AFFINE, coefficients)
        mask = Image.new("L", image.size, 255).transform(
            canvas.size, Image.Transform.AFFINE, coefficients
        )
        canvas.paste(moved, (0, 0), mask)
    return canvas


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _rows(config: str) -> dict[str, list[tuple[np.ndarray, float, float, float]]]:
    """Microstructure, fraction, contrast and C1111 of the first samples by split or morphology."""
    folder = hub_folder("composites", config)
    found: dict[str, list[tuple[np.ndarray, float, float, float]]] = {}
    for file in read_manifest(folder).files:
        if file.split in ("train", "validation"):
            continue
        columns = Columns([folder / file.path])
        names = columns["morphology"] if file.split == "samples" else [file.split] * file.rows
        for row, name in enumerate(names):
            taken = found.setdefault(str(name), [])
            if len(taken) < PER_FAMILY:
                fraction, contrast, stiffness = (
                    float(columns[key][row]) for key in ("fraction", "contrast", "c1111")
                )
                taken.append((columns["microstructure"][row], fraction, contrast, stiffness))
    return found


def draw(config: str, path: Path, blocks: int = 1) -> None:
    """The first samples of each family, a family a line, in one or more blocks side by side."""
    families = _rows(config)
    height = round(TILE * 1.05) + CAPTION + GAP
    width = LEFT + PER_FAMILY * (TILE + GAP)
    lines = -(-len(families) // blocks)
    picture = Image.new("RGB", (blocks * width, lines * height + GAP), "white")
    pen = ImageDraw.Draw(picture)
    for number, (name, samples) in enumerate(families.items()):
        line, block = divmod(number, blocks)
        top, start = GAP + line * height, block * width
        title = "test (random fields)" if name == "test" else name.replace("_", " ")
        pen.text((start + GAP, top + TILE // 2), title, fill="black", font=_font(14))
        for column, (cells, fraction, contrast, stiffness) in enumerate(samples):
            tile = _cube(cells) if cells.ndim == 3 else _plane(cells)
            left = start + LEFT + column * (TILE + GAP)
            picture.paste(tile, (left, top))
            caption = f"f {fraction:.2f}   C1111 {stiffness:.2f}"
            if cells.ndim == 2:
                caption = f"f {fraction:.2f}  contrast {contrast:.0f}  C {stiffness:.2f}"
            below = top + tile.height + 3
            pen.text((left, below), caption, fill="black", font=_font(12))
    picture.quantize(64).save(path, "PNG", optimize=True)


if __name__ == "__main__":
    draw("3d-full", HERE / "samples-3d.png")
    draw("2d-full", HERE / "samples-2d.png")
    # Two related morphologies, which share a fold, stand side by side.
    draw("2d-morphologies-full", HERE / "samples-2d-morphologies.png", blocks=2)
