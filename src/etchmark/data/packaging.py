"""Writes one config of a dataset: parquet per split, manifest and card, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark import __version__, files
from etchmark.data import fingerprint
from etchmark.data.columns import Columns
from etchmark.errors import UserError
from etchmark.specs import DataFile, DatasetSpec, Manifest

BUILT_WITH = ("numpy", "pyarrow", "datasets", "pillow", "scipy")
MANIFEST = "manifest.json"
SWAP_TRIES = 20


def check_ids(splits: Mapping[str, pa.Table]) -> None:
    """Every row of every split has a non-empty string ``id`` of its own."""
    seen: set[str] = set()
    for name, table in splits.items():
        if "id" not in table.column_names or not pa.types.is_string(table.schema.field("id").type):
            raise UserError(f"split {name!r} has no string column 'id'; mend build.py")
        for value in table.column("id").to_pylist():
            if not value or value in seen:
                raise UserError(
                    f"split {name!r}: id {value!r} is empty or not unique; mend build.py"
                )
            seen.add(value)


def write_config(
    folder: Path, spec: DatasetSpec, config: str, splits: Mapping[str, pa.Table]
) -> Manifest:
    """Write ``folder`` anew; an older build there is replaced only once the new one is whole.

    Args:
        folder: where the config shall stand.
        spec: the dataset's declaration.
        config: which of its configs this is.
        splits: one table per declared split, carrying the Hugging Face feature schema.
    """
    declared = spec.configs[config]
    if set(splits) != set(declared.splits):
        raise UserError(
            f"{spec.name}:{config} was built with the splits {sorted(splits)} but declares"
            f" {sorted(declared.splits)}; make build.py and dataset.yaml agree"
        )
    check_ids(splits)
    rows = sum(table.num_rows for table in splits.values())
    if rows != declared.rows:
        raise UserError(
            f"{spec.name}:{config} was built with {rows} rows but declares {declared.rows};"
            " make build.py and dataset.yaml agree"
        )
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        manifest = _write(temporary, spec, config, splits)
        _swap(temporary, folder)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}); give another --out or set"
            " ETCHMARK_HOME"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def _write(
    folder: Path, spec: DatasetSpec, config: str, splits: Mapping[str, pa.Table]
) -> Manifest:
    (folder / "data").mkdir(parents=True)
    written: list[DataFile] = []
    for split, table in splits.items():
        path = folder / "data" / f"{split}-00000-of-00001.parquet"
        pq.write_table(table, path, compression="zstd", compression_level=9)
        written.append(
            DataFile(
                path=path.relative_to(folder).as_posix(),
                split=split,
                rows=table.num_rows,
                bytes=path.stat().st_size,
                sha256=files.sha256_of(path),
            )
        )
    manifest = Manifest(
        schema=1,
        name=spec.name,
        config=config,
        version=spec.version,
        parameters=spec.parameters,
        built_with={
            "etchmark": __version__,
            "python": platform.python_version(),
            **{package: metadata.version(package) for package in BUILT_WITH},
        },
        files=written,
        fingerprint=config_fingerprint(folder, written),
    )
    write_manifest(folder, manifest)
    files.write_text(folder / "README.md", _card(spec, config, manifest))
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    files.write_json(folder / MANIFEST, manifest.model_dump(mode="json", by_alias=True))


def config_fingerprint(folder: Path, written: list[DataFile]) -> str:
    """The fingerprint of what stands in the shards below ``folder``."""
    splits: dict[str, list[Path]] = {}
    for file in written:
        splits.setdefault(file.split, []).append(folder / file.path)
    return fingerprint.of_splits({name: Columns(paths) for name, paths in splits.items()})


def target_fingerprint(ids: list[np.ndarray], labels: list[np.ndarray]) -> str:
    """The fingerprint of ids and labels over all splits, whatever the order of the rows."""
    names, values = np.concatenate(ids), np.concatenate(labels)
    order = np.argsort(names.astype(str), kind="stable")
    return fingerprint.of_columns({"id": names[order], "label": values[order]})


def _swap(new: Path, folder: Path) -> None:
    # Two renames: a kill between them leaves the old build under its spare name, and a rerun.
    for attempt in range(SWAP_TRIES):
        spare = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
        try:
            with contextlib.suppress(FileNotFoundError):
                folder.replace(spare)
            new.replace(folder)
            return
        except OSError:
            # Another process may have put its build there between the two renames.
            if not folder.exists():
                with contextlib.suppress(FileNotFoundError):
                    spare.replace(folder)
                raise
            if attempt + 1 == SWAP_TRIES:
                raise
        finally:
            shutil.rmtree(spare, ignore_errors=True)


def _card(spec: DatasetSpec, config: str, manifest: Manifest) -> str:
    declared = spec.configs[config]
    lines = [
        "---",
        f"pretty_name: {json.dumps(spec.title, ensure_ascii=False)}",
        "configs:",
        f"- config_name: {config}",
        "  data_files:",
    ]
    for split in declared.splits:
        lines += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    lines += [
        "---",
        "",
        f"# {spec.title}: {declared.title}",
        "",
        declared.description.strip(),
        "",
        f"- dataset `{spec.name}`, config `{config}`, version {spec.version}",
        f"- {declared.rows} rows; licence: {spec.licence}",
        f"- fingerprint `{manifest.fingerprint}`",
        "",
        f"Built by `etchmark build {spec.name} --config {config}`;"
        " the card of the whole dataset stands in the repository.",
        "",
        "```python",
        "from datasets import load_dataset",
        'table = load_dataset("parquet", data_files={'
        + ", ".join(f'"{split}": "data/{split}-*.parquet"' for split in declared.splits)
        + "})",
        "```",
        "",
    ]
    return "\n".join(lines)
