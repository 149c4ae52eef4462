"""Tables of costly labels: a file per shard while a config is computed, one per config when frozen.

``datasets/<name>/labels/<config>.parquet`` is the frozen table: the labels of all shards, one after
the other. Its metadata list the shards with their digest, their rows and the code key they were
made with, so that each shard is still checked against the plan on its own. Shards of a config that
is not complete stand in ``labels/<config>/<shard>.parquet`` until `merge` puts them into the table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etchmark import files
from etchmark.data.shards import Shard
from etchmark.errors import UserError

_SHARD = b"etchmark.shard"
_KEY = b"etchmark.key"
_SHARDS = b"etchmark.shards"


@dataclass(frozen=True)
class StoredShard:
    """A shard as a table of labels lists it."""

    name: str
    digest: str
    """``Shard.digest`` of the plan that the labels belong to."""
    rows: int
    key: str
    """``code_key`` of the code that computed the labels."""


@dataclass(frozen=True)
class LabelSource:
    """Place of the frozen labels of a shard."""

    path: Path
    columns: frozenset[str]


def check_labels(shard: Shard, table: Any) -> None:
    """Labels of a shard have its number of rows and a unique string ``id``.

    Raises:
        UserError: they do not.
    """
    if not isinstance(table, pa.Table):
        raise UserError(f"labels() returned a {type(table).__name__}; return a pyarrow Table")
    if table.num_rows != shard.rows:
        raise UserError(
            f"labels() returned {table.num_rows} rows but {shard.rows} are planned; fix build.py"
        )
    ids = table.column("id").to_pylist() if "id" in table.column_names else [None]
    if len(set(ids)) < len(ids) or not all(isinstance(key, str) and key for key in ids):
        raise UserError("labels() needs a column 'id' of unique, non-empty strings")


# --- files -------------------------------------------------------------------------------------


def write_labels(path: Path, shard: Shard, key: str, table: pa.Table) -> None:
    """Store the labels of one shard, completely or not at all."""
    meta = {**(table.schema.metadata or {}), _SHARD: shard.digest.encode(), _KEY: key.encode()}
    _write(path, table.replace_schema_metadata(meta))


def _write(path: Path, table: pa.Table) -> None:
    with files.replacing(path) as temporary:
        # With checksums: labels are kept for years and never computed again.
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
    return UserError(f"{path}: is not a whole table of labels ({reason}); restore it")


def shards_of(table: pa.Table, path: Path) -> list[StoredShard]:
    """The shards in a table of labels, in the order of its rows.

    Raises:
        UserError: the metadata are missing or do not fit the rows.
    """
    meta = table.schema.metadata or {}
    try:
        if _SHARDS in meta:
            stored = [StoredShard(**entry) for entry in json.loads(meta[_SHARDS])]
        else:
            digest, key = meta[_SHARD].decode(), meta[_KEY].decode()
            stored = [StoredShard(path.stem, digest, table.num_rows, key)]
        if sum(shard.rows for shard in stored) != table.num_rows:
            raise ValueError(f"{table.num_rows} rows, but its shards have others")
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None
    return stored


def _part(path: Path, table: pa.Table, shard: Shard) -> tuple[StoredShard, pa.Table] | None:
    """The rows of a shard in a table, without metadata; None if it has no shard of that name."""
    start = 0
    for stored in shards_of(table, path):
        if stored.name == shard.name:
            part = table.slice(start, stored.rows).replace_schema_metadata()
            try:
                if stored.digest == shard.digest:
                    check_labels(shard, part)
            except UserError as error:
                raise _damaged(path, error) from None
            return stored, part
        start += stored.rows
    return None


def read_stored(path: Path, shard: Shard) -> tuple[StoredShard, pa.Table]:
    """A shard's labels and how they are listed, from its own file or from a frozen table.

    Raises:
        UserError: the file is damaged, or the labels are not those of the shard as planned.
    """
    part = _part(path, _read(path), shard)
    if part is None or part[0].digest != shard.digest:
        raise _other_plan(path, shard)
    return part


def read_labels(path: Path, shard: Shard) -> pa.Table:
    """As `read_stored`, the labels alone."""
    return read_stored(path, shard)[1]


def _other_plan(path: Path, shard: Shard) -> UserError:
    return UserError(
        f"{path}: its labels of shard {shard.name} were made for another plan; restore it, or give"
        " --recompute"
    )


# --- frozen labels -----------------------------------------------------------------------------


def frozen_table(dataset: Path, config: str) -> Path:
    """The table of a config's frozen labels in a dataset's content folder."""
    return dataset / "labels" / f"{config}.parquet"


def unmerged_folder(dataset: Path, config: str) -> Path:
    """Folder of finished shards of a config until all are there."""
    return dataset / "labels" / config


class FrozenLabels:
    """Looks up frozen labels in a dataset's content folder; reads each table once."""

    def __init__(self, dataset: Path) -> None:
        self._dataset = dataset
        self._tables: dict[Path, pa.Table] = {}

    def find(self, config: str, shard: Shard) -> LabelSource | None:
        """Where a shard's frozen labels are; None if there are none.

        Raises:
            UserError: the file is damaged, or holds labels of the shard for another plan.
        """
        paths = [
            frozen_table(self._dataset, config),
            unmerged_folder(self._dataset, config) / f"{shard.name}.parquet",
        ]
        if shard.labels_of is not None:
            paths.append(frozen_table(self._dataset, shard.labels_of))
        for path in paths:
            if path not in self._tables:
                if not path.exists():
                    continue
                self._tables[path] = _read(path)
            part = _part(path, self._tables[path], shard)
            if part is not None:
                if part[0].digest != shard.digest:
                    raise _other_plan(path, shard)
                return LabelSource(path, frozenset(part[1].column_names))
        return None


def merge(dataset: Path, config: str, planned: Sequence[Shard], paths: Mapping[str, Path]) -> Path:
    """Write the frozen table of a config, then remove the files of its shards.

    Shards whose labels are another config's frozen ones stay there. Killed at any moment, the
    labels are in the table, in the files of the shards, or in both.

    Args:
        dataset: the dataset's content folder.
        config: which of its configs.
        planned: every shard of the config, in the order of the plan.
        paths: the file that holds the labels of each shard, by the shard's name.

    Raises:
        UserError: a file is damaged, or shards have different columns.
    """
    target, folder = frozen_table(dataset, config), unmerged_folder(dataset, config)
    own = [
        shard
        for shard in planned
        if shard.labels_of is None or paths[shard.name] != frozen_table(dataset, shard.labels_of)
    ]
    if any(paths[shard.name] != target for shard in own):
        stored, tables = zip(*(read_stored(paths[shard.name], shard) for shard in own), strict=True)
        for shard, table in zip(own, tables, strict=True):
            if table.schema != tables[0].schema:
                raise UserError(
                    f"{paths[shard.name]}: its columns are not those of shard {own[0].name};"
                    " restore it"
                )
        listed = json.dumps([asdict(entry) for entry in stored])
        _write(target, pa.concat_tables(tables).replace_schema_metadata({_SHARDS: listed}))
    for shard in own:
        (folder / f"{shard.name}.parquet").unlink(missing_ok=True)
    with suppress(OSError):  # not there, or somebody's file is in it
        folder.rmdir()
    return target
