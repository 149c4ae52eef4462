"""Builds the segmented micrographs: who is who from git, pixels from two upstream repositories."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from etchmark.columns import IMAGE, array_column, array_feature, image_column, with_features
from etchmark.data import sources
from etchmark.data.building import BuildContext, main
from etchmark.errors import UserError

TABLE = {"uhcs": "uhcs.csv", "superalloy": "superalloy.csv", "coatings": "coatings.csv"}
WHOLE = ("scan_rotation_deg", "fold_specimen", "fold_as_published", "fold_spot")
NOT_STORED = ("split", "image", "mask", "anneal_minutes", "anneal_temperature_c", "scale_bar_px")
PAINTED = {"secondary": (0, 0, 255), "tertiary": (255, 0, 0)}
"""Colours of precipitates in the overlays of the superalloys; everything else is matrix."""


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def _fetch(context: BuildContext, names: list[str]) -> dict[str, Path]:
    """Local paths of upstream files, by their path in the repository."""
    declared = context.parameters["sources"][context.config]
    listing_file = context.folder / declared["listing"]
    repository = {name: declared[name] for name in ("host", "owner", "repo", "commit")}
    pinned = {file.path: file for file in sources.read_listing(listing_file, **repository)}
    if absent := [name for name in names if name not in pinned]:
        raise UserError(f"{listing_file}: does not list {absent[0]}; add it")
    wanted = [pinned[name] for name in names]
    paths = sources.fetch(wanted, offline=context.offline, progress=context.progress)
    return {file.path: paths[file] for file in wanted}


def _pixels(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        with Image.open(path, formats=["TIFF"]) as image:
            pixels = np.asarray(image)
    except (OSError, UnidentifiedImageError) as error:
        raise UserError(f"{path}: cannot be read as a TIFF ({error}); download it again") from None
    if pixels.dtype != np.uint8 or pixels.shape != shape:
        raise UserError(f"{path}: not a uint8 image of shape {shape}; the source changed")
    return pixels


def grey_of(pixels: np.ndarray, path: Path) -> np.ndarray:
    """One channel of a picture whose channels are equal, shape (height, width)."""
    if pixels.ndim == 2:
        return pixels
    if (pixels != pixels[..., :1]).any():
        raise UserError(f"{path}: is not grey; the source changed")
    return np.ascontiguousarray(pixels[..., 0])


def painted_classes(overlay: np.ndarray) -> np.ndarray:
    """Numbers of classes from an overlay, shape (height, width, 4): 0 is what is not painted."""
    mask = np.zeros(overlay.shape[:2], dtype=np.uint8)
    for number, colour in enumerate(PAINTED.values(), start=1):
        mask[(overlay[..., :3] == np.array(colour, dtype=np.uint8)).all(axis=2)] = number
    return mask


def mask_of(config: str, path: Path, side: tuple[int, int], classes: int) -> np.ndarray:
    """Numbers of classes, shape (height, width)."""
    if config == "superalloy":
        return painted_classes(_pixels(path, (*side, 4)))
    mask = _pixels(path, side)
    if config == "uhcs":
        if (mask % 85).any():
            raise UserError(f"{path}: holds other values than multiples of 85; the source changed")
        mask = mask // 85
    if mask.max() >= classes:
        raise UserError(f"{path}: holds more than {classes} classes; the source changed")
    return mask


def build(context: BuildContext) -> dict[str, pa.Table]:
    """The splits of a config, in the order of its table."""
    rows = _rows(context.folder / TABLE[context.config])
    declared = context.parameters["images"][context.config]
    side, classes = tuple(declared["shape"]), declared["classes"]
    channels = () if declared["channels"] == 1 else (declared["channels"],)
    paths = _fetch(context, [row[name] for row in rows for name in ("image", "mask")])
    splits: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        splits.setdefault(row.get("split", "samples"), []).append(row)
    tables = {}
    for split, members in splits.items():
        pictures = [
            grey_of(_pixels(paths[row["image"]], (*side, *channels)), paths[row["image"]])
            for row in members
        ]
        masks = np.stack(
            [mask_of(context.config, paths[row["mask"]], side, len(classes)) for row in members]
        )
        columns: dict[str, Any] = {"id": [row["id"] for row in members]}
        columns["micrograph"] = image_column(pictures)
        columns["mask"] = array_column(masks)
        columns |= _described(members)
        for number, name in enumerate(classes):
            columns[f"share_{name}"] = (masks == number).mean(axis=(1, 2))
        features = {"micrograph": IMAGE, "mask": array_feature(masks)}
        tables[split] = with_features(pa.table(columns), features)
    return tables


def _described(rows: list[dict[str, str]]) -> dict[str, Any]:
    """The columns of a table that are stored as they are, and the size of a pixel if known."""
    columns: dict[str, Any] = {}
    for name in [name for name in rows[0] if name not in {"id", *NOT_STORED}]:
        values = [row[name] for row in rows]
        if name == "scale_bar_um":
            bars = zip(values, (row["scale_bar_px"] for row in rows), strict=True)
            columns["um_per_pixel"] = np.array([float(um) / float(px) for um, px in bars])
        else:
            columns[name] = np.array(values, dtype=np.int64) if name in WHOLE else values
    return columns


if __name__ == "__main__":
    main(__file__)
