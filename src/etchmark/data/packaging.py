"""Writes one config of a dataset: parquet per split, manifest and card, all or nothing."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from etchmark import files
from etchmark._version import __version__
from etchmark.columns import Columns, is_nested, nesting, to_numpy
from etchmark.data import fingerprint
from etchmark.errors import UserError
from etchmark.specs import DataFile, DatasetSpec, Manifest

BUILT_WITH = ("numpy", "pyarrow", "datasets", "pillow", "scipy")
MANIFEST, README = "manifest.json", "README.md"
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.parquet$")
SWAP_TRIES = 20
ABANDONED_S = 3600.0
"""Age after which the set-aside folder of an old build must be from a killed process."""
VALUES_PER_GROUP, MAX_ROWS_PER_GROUP = 1 << 23, 1 << 20
"""Size of a row group of arrays: 63 volumes of 51³."""


def check_declared(spec: DatasetSpec, config: str, splits: Collection[str], rows: int) -> None:
    """Refuse splits or numbers of rows that differ from dataset.yaml."""
    declared = spec.configs[config]
    if set(splits) != set(declared.splits):
        raise UserError(
            f"{spec.name}:{config} was built with the splits {sorted(splits)} but declares"
            f" {sorted(declared.splits)}; make build.py and dataset.yaml agree"
        )
    if rows != declared.rows:
        raise UserError(
            f"{spec.name}:{config} was built with {rows} rows but declares {declared.rows};"
            " make build.py and dataset.yaml agree"
        )


def check_columns(spec: DatasetSpec, config: str, names: Collection[str]) -> None:
    """Refuse columns that differ from dataset.yaml, if it declares any."""
    declared = set(spec.configs[config].columns)
    if not declared or declared == set(names):
        return
    missing, strange = sorted(declared - set(names)), sorted(set(names) - declared)
    said = [f"lacks {', '.join(missing[:5])}"] if missing else []
    said += [f"has {', '.join(strange[:5])}, which dataset.yaml does not name"] if strange else []
    raise UserError(
        f"{spec.name}:{config} was built with other columns than it declares: it"
        f" {' and '.join(said)}; make build.py and dataset.yaml agree"
    )


def check_ids(tables: Iterable[tuple[str, pa.Table]]) -> None:
    """Refuse rows without a unique, non-empty string ``id``.

    Args:
        tables: pairs of split and table; a split may come in several parts.
    """
    seen: set[str] = set()
    for name, table in tables:
        if "id" not in table.column_names or not pa.types.is_string(table.schema.field("id").type):
            raise UserError(
                f"split {name!r} has no column 'id' of type string; add or cast it in build.py"
            )
        for value in table.column("id").to_pylist():
            if not value or value in seen:
                raise UserError(
                    f"split {name!r}: id {value!r} is empty or not unique; fix build.py"
                )
            seen.add(value)


def file_name(split: str, index: int, total: int) -> str:
    """The ``index``-th of ``total`` files of a split, below the config's folder."""
    return f"data/{split}-{index:05d}-of-{total:05d}.parquet"


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table as parquet, arrays in row groups that are read quickly and bit by bit.

    Measured on phase volumes of 51³ uint8 and fields of 64² floats: dictionaries are smallest
    for integers, byte-stream split for floats; reading takes the same time with either.
    """
    arrays = {field.name: nesting(field.type)[0] for field in table.schema if is_nested(field.type)}
    if not arrays or not table.num_rows:
        pq.write_table(table, path, compression="zstd", compression_level=9)
        return
    leaves = {name: f"{name}{'.list.element' * depth}" for name, depth in arrays.items()}
    split = [
        leaves[name]
        for name in arrays
        if pa.types.is_floating(nesting(table.schema.field(name).type)[1])
    ]
    paths = [leaves.get(name, name) for name in table.column_names]
    first = table.slice(0, 1)
    per_row = sum(to_numpy(first.column(name)).size for name in arrays)
    encodings: dict[str, Any] = {
        "use_dictionary": [leaf for leaf in paths if leaf not in split],
        "use_byte_stream_split": split,
    }
    group = min(max(VALUES_PER_GROUP // max(per_row, 1), 1), MAX_ROWS_PER_GROUP)
    pq.write_table(
        table, path, compression="zstd", compression_level=3, row_group_size=group, **encodings
    )


def describe(folder: Path, name: str, split: str, rows: int) -> DataFile:
    """The manifest's entry of a written file."""
    path = folder / name
    size, digest = path.stat().st_size, files.sha256_of(path)
    return DataFile(path=name, split=split, rows=rows, bytes=size, sha256=digest)


def write_config(
    folder: Path, spec: DatasetSpec, config: str, splits: Mapping[str, pa.Table]
) -> Manifest:
    """Write a build in place of ``folder``, which is replaced only once the new one is complete.

    Args:
        folder: where the config shall stand.
        spec: the dataset's declaration.
        config: which of its configs this is.
        splits: one table per declared split, carrying the Hugging Face feature schema.
    """
    rows = sum(table.num_rows for table in splits.values())
    check_ids(splits.items())
    check_declared(spec, config, splits, rows)
    for table in splits.values():
        check_columns(spec, config, table.column_names)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        (temporary / "data").mkdir(parents=True)
        written: list[DataFile] = []
        for split, table in splits.items():
            name = file_name(split, 0, 1)
            write_table(table, temporary / name)
            written.append(describe(temporary, name, split, table.num_rows))
        manifest = complete(temporary, spec, config, written)
        swap(temporary, folder)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}); give another --out or set"
            " ETCHMARK_HOME"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def check_files(folder: Path, spec: DatasetSpec, config: str, written: Sequence[DataFile]) -> None:
    """The checks of ``write_config``, for files that are already written."""
    schema = pq.read_schema(folder / written[0].path)
    for file in written:
        if not schema.equals(pq.read_schema(folder / file.path), check_metadata=True):
            raise UserError(
                f"{spec.name}:{config}: {file.path} has other columns, types or features than"
                f" {written[0].path}; fix build.py"
            )
    check_ids((file.split, pq.read_table(folder / file.path, columns=["id"])) for file in written)
    check_columns(spec, config, schema.names)
    splits = {file.split for file in written}
    check_declared(spec, config, splits, sum(file.rows for file in written))


def complete(
    folder: Path, spec: DatasetSpec, config: str, written: list[DataFile], *extra: str
) -> Manifest:
    """Write manifest and card beside the data files.

    Args:
        folder: where they stand.
        spec: the dataset's declaration.
        config: which of its configs this is.
        written: the files, in the order of the splits' rows.
        extra: further packages whose versions count, as far as they are installed.
    """
    versions = {package: metadata.version(package) for package in BUILT_WITH}
    for package in extra:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    built_with = {"etchmark": __version__, "python": platform.python_version(), **versions}
    manifest = Manifest(
        schema=1,
        name=spec.name,
        config=config,
        version=spec.version,
        parameters=spec.parameters,
        built_with=built_with,
        files=written,
        fingerprint=config_fingerprint(folder, written),
    )
    write_manifest(folder, manifest)
    write_card(folder, spec, manifest)
    return manifest


def write_card(folder: Path, spec: DatasetSpec, manifest: Manifest) -> None:
    """Write the card of one config beside its data."""
    files.write_text(folder / README, _card(spec, manifest.config, manifest))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    files.write_json(folder / MANIFEST, manifest.model_dump(mode="json", by_alias=True))


def config_fingerprint(folder: Path, written: list[DataFile]) -> str:
    """Fingerprint of the content of the shards below ``folder``."""
    splits: dict[str, list[Path]] = {}
    for file in written:
        splits.setdefault(file.split, []).append(folder / file.path)
    return fingerprint.of_splits({name: Columns(paths) for name, paths in splits.items()})


def has_fingerprint(folder: Path, written: list[DataFile], expected: str) -> bool:
    """Whether the shards below ``folder`` can be read and have this content."""
    try:
        return config_fingerprint(folder, written) == expected
    except (pa.ArrowException, ValueError, KeyError, UserError):
        return False


def target_fingerprint(ids: list[np.ndarray], labels: list[np.ndarray]) -> str:
    """The fingerprint of ids and labels over all splits, whatever the order of the rows."""
    names, values = np.concatenate(ids), np.concatenate(labels)
    order = np.argsort(names.astype(str), kind="stable")
    return fingerprint.of_columns({"id": names[order], "label": values[order]})


def read_own(folder: Path) -> Manifest | None:
    """Manifest of the build in a folder; None if there is none."""
    # Other programs write a manifest.json too.
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None


def foreign(folder: Path) -> list[Path]:
    """Files and links below a folder that belong to no build, as relative paths."""
    manifest = read_own(folder)
    own = set()
    if (folder / MANIFEST).is_file():
        # Beside a damaged manifest, what is named like a shard is one: left there, it would be
        # read with those of the next build.
        shards = (path for path in folder.glob("data/*") if _SHARD.search(path.name))
        listed = (
            [path.relative_to(folder) for path in shards]
            if manifest is None
            else [Path(file.path) for file in manifest.files]
        )
        own = {Path(MANIFEST), Path(README), *listed}
    foreign_paths = []
    for where, names, others in os.walk(folder):
        links = [name for name in names if (Path(where) / name).is_symlink()]
        foreign_paths += [(Path(where) / name).relative_to(folder) for name in (*others, *links)]
    return sorted(path for path in foreign_paths if path not in own)


def edited(folder: Path, spec: DatasetSpec, manifest: Manifest) -> list[Path]:
    """Files of a build that were changed since, as relative paths."""
    edited_paths = [
        Path(file.path)
        for file in manifest.files
        if (folder / file.path).is_file() and files.sha256_of(folder / file.path) != file.sha256
    ]
    path = folder / README
    if path.is_file() and manifest.config in spec.configs:
        card = _card(spec, manifest.config, manifest).encode("utf-8")
        edited_paths += [Path(README)] if path.read_bytes() != card else []
    return edited_paths


def _carry(folder: Path, new: Path) -> None:
    """Copy to ``new`` everything in ``folder`` that belongs to no build."""
    for name in foreign(folder):
        source, target = folder / name, new / name
        if target.exists() or target.is_symlink():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError:
            # Not every file system has hard links.
            shutil.copy2(source, target, follow_symlinks=False)


def _put_away(spare: Path, folder: Path) -> None:
    """Remove an old build, or put it back where nothing has taken its place."""
    for _ in range(SWAP_TRIES):
        if folder.exists():
            shutil.rmtree(spare, ignore_errors=True)
            return
        # Interrupted between the two renames, or another process is between its own.
        with contextlib.suppress(OSError):
            spare.replace(folder)
            return


def swap(new: Path, folder: Path) -> None:
    """Replace ``folder``, if it exists, by ``new``; files that belong to no build are kept."""
    # Two renames: a kill between them leaves the old build under its spare name, and a rerun.
    for left in folder.parent.glob(f".{folder.name}.*.old"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_ctime > ABANDONED_S:
                shutil.rmtree(left)
    for attempt in range(SWAP_TRIES):
        spare = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
        try:
            if folder.is_dir():
                _carry(folder, new)
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
            _put_away(spare, folder)


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
        "",
        "# or a pandas frame, one numpy array per cell where a column holds arrays or images:",
        "import etchmark",
        f'frame = etchmark.to_frame("data/{declared.splits[0]}-*.parquet")',
        "```",
        "",
    ]
    return "\n".join(lines)
