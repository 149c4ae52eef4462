"""Runs a dataset's ``build.py`` and compares the outcome with the frozen release.

``datasets/<name>/frozen/<config>.parquet`` holds, for each released row, its id, split, labels and
a row fingerprint, with the fingerprint of the whole config in its metadata. It is small, stands in
git, and tells a rebuild that differs *where* it differs.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from etchmark import files, settings
from etchmark.catalog import Catalog, unknown
from etchmark.data import fingerprint, packaging
from etchmark.data.columns import Columns
from etchmark.errors import UserError
from etchmark.specs import DatasetSpec, Manifest

_FINGERPRINT = b"etchmark.fingerprint"


@dataclass(frozen=True)
class BuildContext:
    """What ``build(context)`` of a dataset gets."""

    folder: Path
    """The dataset's content folder: parameters, tables and listings in git."""
    config: str
    parameters: Mapping[str, Any]
    offline: bool
    progress: bool | None = None
    """None: show progress bars if the output is a terminal."""


@dataclass(frozen=True)
class Difference:
    """How a build differs from the frozen release."""

    rows: list[str]
    """Ids of rows that differ, are missing or are extra."""
    largest: dict[str, float]
    """Largest absolute difference per numeric label column."""

    def describe(self) -> str:
        shown = ", ".join(self.rows[:5]) + (", …" if len(self.rows) > 5 else "")
        largest = ", ".join(f"{name} {value:.6g}" for name, value in self.largest.items())
        return (
            f"{len(self.rows)} rows differ ({shown}); largest label difference: {largest or 'none'}"
        )


@dataclass(frozen=True)
class Build:
    folder: Path
    manifest: Manifest
    difference: Difference | None
    """None where the build equals the frozen release, or nothing is frozen yet."""


def hub_folder(dataset: str, config: str) -> Path:
    """Where a build stands in the hub folder."""
    return settings.home() / "datasets" / dataset / config


def _load_builder(path: Path) -> Callable[[BuildContext], Mapping[str, pa.Table]]:
    name = f"etchmark_build_{path.parent.name.replace('-', '_')}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    if module_spec is None or module_spec.loader is None or not path.is_file():
        raise UserError(f"{path}: is missing; a dataset needs a build.py that defines build()")
    module: ModuleType = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return module.build


def config_of(spec: DatasetSpec, config: str | None) -> str:
    name = spec.default_config if config is None else config
    if name not in spec.configs:
        raise unknown(f"config of {spec.name}", name, spec.configs)
    return name


def build(
    catalog: Catalog,
    dataset: str,
    config: str | None = None,
    *,
    out: Path | None = None,
    offline: bool | None = None,
    progress: bool | None = None,
) -> Build:
    """Build one config of a dataset from source.

    Args:
        catalog: where the dataset is declared.
        dataset: its name.
        config: its config; the default one if None.
        out: folder to write; the hub folder if None.
        offline: never touch the network; the setting if None.
        progress: show progress bars; if None, when the output is a terminal.

    Raises:
        UserError: unknown names, or sources that cannot be had.
    """
    spec = catalog.dataset(dataset)
    chosen = config_of(spec, config)
    source = catalog.dataset_folder(dataset)
    target = (out or hub_folder(dataset, chosen)).absolute()
    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: is not a folder; give another --out")
    if target.exists() and any(target.iterdir()) and not _is_build(target):
        raise UserError(f"{target}: is not empty and holds no earlier build; give another --out")
    context = BuildContext(
        folder=source,
        config=chosen,
        parameters=spec.parameters,
        offline=settings.offline() if offline is None else offline,
        progress=progress,
    )
    splits = _load_builder(source / "build.py")(context)
    manifest = packaging.write_config(target, spec, chosen, splits)
    return Build(target, manifest, compare(source, target, manifest))


def _is_build(folder: Path) -> bool:
    # What stands there is replaced whole, so it must be ours; others have a manifest.json too.
    try:
        Manifest.model_validate_json((folder / packaging.MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return False
    return True


def _rows(folder: Path, manifest: Manifest) -> tuple[list[str], list[str], list[str]]:
    ids: list[str] = []
    splits: list[str] = []
    prints: list[str] = []
    for file in manifest.files:
        columns = Columns([folder / file.path])
        values = {name: columns[name] for name in columns}
        ids += [str(value) for value in values["id"]]
        splits += [file.split] * file.rows
        prints += [
            fingerprint.of_columns({name: array[row : row + 1] for name, array in values.items()})[
                :16
            ]
            for row in range(file.rows)
        ]
    return ids, splits, prints


def _labels(folder: Path, manifest: Manifest, name: str) -> np.ndarray:
    return np.concatenate([Columns([folder / file.path], [name])[name] for file in manifest.files])


def freeze(source: Path, folder: Path, manifest: Manifest, labels: list[str]) -> Path:
    """Write the frozen release of a built config into the dataset's content folder."""
    ids, splits, prints = _rows(folder, manifest)
    columns: dict[str, Any] = {"id": ids, "split": splits, "row": prints}
    columns |= {name: _labels(folder, manifest, name) for name in labels}
    table = pa.table(columns).replace_schema_metadata({_FINGERPRINT: manifest.fingerprint.encode()})
    path = source / "frozen" / f"{manifest.config}.parquet"
    with files.replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return path


def frozen_fingerprint(source: Path, config: str) -> str | None:
    """Fingerprint of the released config, None if nothing is frozen."""
    path = source / "frozen" / f"{config}.parquet"
    if not path.is_file():
        return None
    return (pq.read_schema(path).metadata or {})[_FINGERPRINT].decode()


def compare(source: Path, folder: Path, manifest: Manifest) -> Difference | None:
    """How a build differs from the frozen release; None if it does not, or none exists."""
    released = frozen_fingerprint(source, manifest.config)
    if released is None or released == manifest.fingerprint:
        return None
    frozen = pq.read_table(source / "frozen" / f"{manifest.config}.parquet")
    labels = [name for name in frozen.column_names if name not in {"id", "split", "row"}]
    ids, splits, prints = _rows(folder, manifest)
    ours = {(split, key): row for row, (split, key) in enumerate(zip(splits, ids, strict=True))}
    theirs = {
        (split, key): row
        for row, (split, key) in enumerate(
            zip(frozen["split"].to_pylist(), frozen["id"].to_pylist(), strict=True)
        )
    }
    theirs_prints = frozen["row"].to_pylist()
    common = [key for key in theirs if key in ours]
    differing = [key[1] for key in common if prints[ours[key]] != theirs_prints[theirs[key]]]
    differing += [key[1] for key in theirs.keys() ^ ours.keys()]
    largest: dict[str, float] = {}
    for name in labels:
        old = frozen[name].to_numpy()[[theirs[key] for key in common]]
        new = _labels(folder, manifest, name)[[ours[key] for key in common]]
        if len(common) and np.issubdtype(new.dtype, np.number):
            largest[name] = float(np.max(np.abs(new.astype(float) - old.astype(float))))
    return Difference(sorted(differing), largest)


def main(path: str) -> None:
    """What ``python datasets/<name>/build.py`` does: the same as ``etchmark build <name>``."""
    import runpy
    import sys

    # Started as a program, not imported: the command line stands on the floors above this one.
    sys.argv = ["etchmark", "build", Path(path).resolve().parent.name, *sys.argv[1:]]
    runpy.run_module("etchmark.cli", run_name="__main__")
