"""Draws the animations of the dataset card from the built data: ``python pictures.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from etchmark.columns import Columns
from etchmark.data.building import hub_folder
from etchmark.data.loading import read_manifest

HERE = Path(__file__).resolve().parent
SHOWN = {
    "spinodal": ("test", "composition", "mobility"),
    "grain-growth": ("test", "density", "anisotropy"),
}
SCALE, GAP, EVERY, SHADES, FRAME_MS = 2, 10, 4, 32, 160


def _frames(folder: Path, split: str) -> np.ndarray:
    """All frames of a split's first trajectory."""
    paths = [folder / file.path for file in read_manifest(folder).files if file.split == split]
    columns = Columns(paths, ["context", "target"])
    return np.concatenate([columns.rows(name, 0, 1)[0] for name in ("context", "target")])


def animation(variant: str) -> list[Image.Image]:
    """First trajectories of three splits side by side."""
    folder = hub_folder("evolution", f"{variant}-full")
    parts = [_frames(folder, split)[::EVERY] for split in SHOWN[variant]]
    side = parts[0].shape[-1] * SCALE
    pictures = []
    for moment in zip(*parts, strict=True):
        canvas = Image.new("L", (len(parts) * (side + GAP) - GAP, side), 255)
        for place, frame in enumerate(moment):
            grey = np.round(np.clip(frame.astype(np.float64), 0, 1) * (SHADES - 1))
            tile = Image.fromarray((grey * 255 / (SHADES - 1)).astype(np.uint8))
            canvas.paste(
                tile.resize((side, side), Image.Resampling.NEAREST), (place * (side + GAP), 0)
            )
        pictures.append(canvas)
    return pictures


def main() -> None:
    for variant in SHOWN:
        if not hub_folder("evolution", f"{variant}-full").is_dir():
            print(
                f"{variant}-full is not built; `etchmark build evolution --config {variant}-full`"
            )
            continue
        first, *rest = animation(variant)
        path = HERE / f"{variant}.gif"
        first.save(
            path, save_all=True, append_images=rest, duration=FRAME_MS, loop=0, optimize=True
        )
        print(f"{path.name}: {path.stat().st_size / 1e3:,.0f} kB")


if __name__ == "__main__":
    main()
