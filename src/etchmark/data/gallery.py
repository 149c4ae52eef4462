"""Content of a built config for viewing: numbers, pictures, volumes and films."""

from __future__ import annotations

import io
import zipfile
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from etchmark.columns import Columns, features_of, nesting
from etchmark.errors import UserError
from etchmark.specs import Manifest

MOST_VALUES = 20
"""Different texts up to which a column sorts the samples into groups."""
ROUNDING = 1e-9
FIRST_ROWS, MOST_CLASSES = 8, 16
REAL = ("halffloat", "float", "double")
"""Types of real numbers, as pyarrow names them."""
HIDDEN = ("parameters",)
"""Columns of text for machines."""


class Kinds(NamedTuple):
    """Columns of a config by how they can be shown."""

    scalars: list[str]
    pictures: list[str]
    volumes: list[str]
    films: list[str]


def grey(values: np.ndarray) -> NDArray[np.uint8]:
    """An array as brightness: phases 0 and 1 black and white, as are 0 and 1 of real numbers.

    Images of more than two levels stay as they are; what lies beyond the range is cut off.
    """
    if values.dtype.kind == "f":
        return (np.clip(values.astype(float), 0, 1) * 255).round().astype(np.uint8)
    if values.dtype != np.uint8 or not values.size or values.max() <= 1:
        return (np.clip(values, 0, 1) * 255).astype(np.uint8)
    return values


class Gallery:
    """A built config, read on demand.

    Args:
        folder: where it stands.
        manifest: what it consists of.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.splits = list(dict.fromkeys(file.split for file in manifest.files))
        self.kinds = _kinds(self.paths(self.splits[0])[0])
        self._columns: dict[str, Columns] = {}

    @cached_property
    def matrices(self) -> list[str]:
        """Columns of small tables of real numbers, such as stiffness tensors."""
        schema = pq.read_schema(self.paths(self.splits[0])[0])
        return [
            field.name
            for field in schema
            if nesting(field.type)[0] == 2 and str(nesting(field.type)[1]) in REAL
        ]

    @cached_property
    def masks(self) -> dict[str, int]:
        """Columns of pictures whose pixels are numbers of classes, with how many classes.

        Such a column is not an image of its own and its first samples hold few small numbers, more
        than black and white.
        """
        split = self.splits[0]
        schema = pq.read_schema(self.paths(split)[0])
        rows = min(FIRST_ROWS, self.columns(split).height)
        masks = {}
        for name in self.kinds.pictures:
            depth, kind = nesting(schema.field(name).type)
            if depth == 2 and str(kind) == "uint8":
                count = int(self.columns(split).rows(name, 0, rows).max(initial=0)) + 1
                if 2 < count <= MOST_CLASSES:
                    masks[name] = count
        return masks

    def paths(self, split: str) -> list[Path]:
        """Files of a split."""
        paths = [self.folder / file.path for file in self.manifest.files if file.split == split]
        if not paths:
            raise UserError(f"unknown split {split!r}; choose from: {', '.join(self.splits)}")
        return paths

    def size(self, split: str) -> int:
        """Bytes of the files of a split."""
        return sum(file.bytes for file in self.manifest.files if file.split == split)

    def columns(self, split: str) -> Columns:
        if split not in self._columns:
            self._columns[split] = Columns(self.paths(split))
        return self._columns[split]

    def table(self, split: str) -> pd.DataFrame:
        """One row per sample: ids, numbers and texts."""
        columns = self.columns(split)
        return pd.DataFrame({name: columns[name] for name in self.kinds.scalars})

    def cell(self, split: str, column: str, row: int) -> np.ndarray:
        """One cell of a column of arrays or images."""
        return self.columns(split).rows(column, row, row + 1)[0]

    def thumbnail(self, split: str, row: int) -> NDArray[np.uint8] | None:
        """A sample at a glance, shape (height, width): a picture, a last frame, a middle plane."""
        pictures, volumes, films = self.kinds[1:]
        if pictures:
            pixels, classes = self.cell(split, pictures[0], row), self.masks.get(pictures[0])
            if classes is None:
                return grey(pixels)
            # Classes from black to white: as numbers near 0 all of them would be black.
            return grey(pixels.astype(float) / (classes - 1))
        if films:
            return grey(self.cell(split, films[-1], row)[-1])
        if volumes:
            volume = self.cell(split, volumes[0], row)
            return grey(volume[len(volume) // 2])
        return None

    def film(self, split: str, row: int) -> NDArray[np.uint8]:
        """All frames of a sample of a config with films, shape (frames, n, n).

        Columns of frames follow each other in time, as they stand in the files.
        """
        parts = [grey(self.cell(split, name, row)) for name in self.kinds.films]
        return np.concatenate([part for part in parts if part.shape[1:] == parts[0].shape[1:]])

    def label(self, split: str) -> str:
        """Name of the split, unique among all datasets."""
        return f"{self.manifest.name}-{self.manifest.config}-{split}"

    def file_name(self, split: str) -> str:
        """File name for ``packed``."""
        return f"{self.label(split)}.{'parquet' if len(self.paths(split)) == 1 else 'zip'}"

    def packed(self, split: str) -> bytes:
        """One file with the split: its parquet file, or a ZIP of several."""
        paths = self.paths(split)
        if len(paths) == 1:
            return paths[0].read_bytes()
        buffer = io.BytesIO()
        # Parquet is compressed already.
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as whole:
            for path in paths:
                whole.write(path, path.relative_to(self.folder).as_posix())
        return buffer.getvalue()


def _kinds(path: Path) -> Kinds:
    schema = pq.read_schema(path)
    features = features_of(schema)
    kinds = Kinds([], [], [], [])
    for field in schema:
        depth, kind = nesting(field.type)
        real = str(kind) in REAL
        if features.get(field.name, {}).get("_type") == "Image" or (depth == 2 and not real):
            kinds.pictures.append(field.name)
        elif depth == 3:
            (kinds.films if real else kinds.volumes).append(field.name)
        elif depth == 0 and field.name not in HIDDEN:
            kinds.scalars.append(field.name)
    return kinds


def groups(table: pd.DataFrame) -> list[str]:
    """Columns of text that sort the samples into a few groups."""
    texts = table.select_dtypes(["object", "str"]).drop(columns="id", errors="ignore")
    counts = {str(name): pd.Series(texts[name]).nunique() for name in texts}
    return [name for name, count in counts.items() if 2 <= count <= MOST_VALUES]


def numbers(table: pd.DataFrame) -> list[str]:
    """Columns of numbers that differ between samples by more than rounding, none infinite."""
    varying = []
    for name, column in table.select_dtypes("number").items():
        values = column.dropna().to_numpy(dtype=float)
        if len(values) and np.isfinite(values).all():
            spread = values.max() - values.min()
            varying += [str(name)] if spread > ROUNDING * np.abs(values).max() else []
    return varying
