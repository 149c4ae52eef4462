"""Builds the superalloy tables: composition from git, micrographs and features from upstream.

Atomic weights: standard atomic weights 2021, Prohaska et al., Pure Appl. Chem. 94 (2022) 573,
DOI 10.1515/pac-2019-0603 (abridged to five digits).
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Features, Image, List, Value

from etchmark.columns import encode_image
from etchmark.data import sources
from etchmark.data.building import BuildContext, main
from etchmark.errors import UserError

ATOMIC_WEIGHT = {
    "Ni": 58.693, "Co": 58.933, "Cr": 51.996, "Al": 26.982, "Ti": 47.867, "W": 183.84,
    "Mo": 95.95, "Ta": 180.95, "Nb": 92.906, "Hf": 178.49, "Re": 186.21, "V": 50.942,
    "Fe": 55.845, "Ce": 140.12, "Si": 28.085, "C": 12.011, "B": 10.81, "Zr": 91.224,
    "Mn": 54.938, "S": 32.06, "P": 30.974,
}  # fmt: skip
ELEMENTS = tuple(ATOMIC_WEIGHT)
TEXT = (
    "id", "paper", "doi", "base", "reported_unit", "composition_flag",
    "composition_unit_guess", "composition_unit_confidence", "micrograph_name", "micrograph_flag",
)  # fmt: skip
INTEGER = ("fold_leave_paper_out", "fold_as_published")
MAX_IMAGE_PIXELS = 10_000_000


def atomic_percent(percent: np.ndarray, unit: str) -> np.ndarray:
    """Atomic percent, summing to 100, from percent in ``unit`` (``at`` or ``wt``).

    Args:
        percent: shape (elements,), in the order of ``ELEMENTS``; need not sum to 100.
        unit: what the percentages are.
    """
    moles = (
        percent / np.array([ATOMIC_WEIGHT[name] for name in ELEMENTS]) if unit == "wt" else percent
    )
    return 100.0 * moles / moles.sum()


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def composition_columns(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns of the ``composition`` config and their Hugging Face features."""
    rows = _read(folder / "hardness.csv")
    papers = {row["paper"]: row for row in _read(folder / "papers.csv")}
    for row in rows:
        paper = papers[row["paper"]]
        if paper["doi"] != row["doi"]:
            raise UserError(
                f"hardness.csv: {row['id']} has DOI {row['doi']}, papers.csv {paper['doi']}"
            )
        row["composition_unit_guess"] = paper["composition_unit_guess"]
        row["composition_unit_confidence"] = paper["confidence"]
    listed = np.array([[float(row[name]) for name in ELEMENTS] for row in rows])
    atomic = np.array(
        [
            atomic_percent(percent, row["composition_unit_guess"])
            for percent, row in zip(listed, rows, strict=True)
        ]
    )
    columns: dict[str, Any] = {"id": [row["id"] for row in rows]}
    features: dict[str, Any] = {"id": Value("string")}

    def add(name: str, values: Any, kind: str) -> None:
        columns[name], features[name] = values, Value(kind)

    for name in ("paper", "doi", "base"):
        add(name, [row[name] for row in rows], "string")
    for name in ("hardness_hv", "reported_value"):
        add(name, [float(row[name]) for row in rows], "float64")
    add("reported_unit", [row["reported_unit"] for row in rows], "string")
    for index, name in enumerate(ELEMENTS):
        add(name, listed[:, index], "float64")
    for index, name in enumerate(ELEMENTS):
        add(f"{name}_at", atomic[:, index], "float64")
    add("composition_sum", [float(row["composition_sum"]) for row in rows], "float64")
    for name in TEXT[5:]:
        add(name, [row[name] for row in rows], "string")
    for name in INTEGER:
        add(name, [int(row[name]) for row in rows], "int64")
    return columns, features


def _fetch(context: BuildContext, names: list[str]) -> dict[str, Path]:
    """Local paths of upstream files, by their name below the case study's folder."""
    listing = sources.read_listing(context.folder / "sources.csv", **context.parameters["sources"])
    prefix = context.parameters["folder"] + "/"
    pinned = {file.path.removeprefix(prefix): file for file in listing}
    absent = [name for name in names if name not in pinned]
    if absent:
        raise UserError(f"{context.folder / 'sources.csv'}: does not list {absent[0]}; add it")
    chosen_files = [pinned[name] for name in names]
    paths = sources.fetch(chosen_files, offline=context.offline, progress=context.progress)
    return {name: paths[file] for name, file in zip(names, chosen_files, strict=True)}


def _mask(path: Path) -> np.ndarray:
    from scipy.io import loadmat

    pixels = np.asarray(loadmat(io.BytesIO(path.read_bytes()), variable_names=["a"])["a"])
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.size > MAX_IMAGE_PIXELS:
        raise UserError(f"{path}: not a uint8 image of two dimensions; the source changed")
    return pixels


def _feature(path: Path, width: int) -> np.ndarray:
    vector = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False).reshape(-1)
    if vector.shape != (width,) or not np.isfinite(vector).all():
        raise UserError(f"{path}: not {width} finite numbers; the source changed")
    return vector.astype(np.float32)


def build(context: BuildContext) -> dict[str, pa.Table]:
    """The one split ``samples`` of a config, in the order of ``hardness.csv``."""
    columns, features = composition_columns(context.folder)
    stems = [name.removesuffix(".mat") for name in columns["micrograph_name"]]
    if context.config == "micrographs":
        names = [f"Binary_Images/{stem}.mat" for stem in stems]
        paths = _fetch(context, names)
        columns["micrograph"] = [
            {"bytes": encode_image(_mask(paths[name])), "path": None} for name in names
        ]
        features["micrograph"] = Image()
    elif context.config == "published-features":
        encoders = context.parameters["encoders"]
        names = {
            column: [f"Features/{stem}_{encoder['suffix']}.npy" for stem in stems]
            for column, encoder in encoders.items()
        }
        paths = _fetch(context, [name for group in names.values() for name in group])
        for column, group in names.items():
            width = encoders[column]["width"]
            vectors = np.stack([_feature(paths[name], width) for name in group])
            columns[column] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width)
            features[column] = List(Value("float32"), length=width)
    return {"samples": pa.table(columns, schema=Features(features).arrow_schema)}


if __name__ == "__main__":
    main(__file__)
