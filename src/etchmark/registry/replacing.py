"""Writing a reviewed record, its table and the table's digest as if they were one file.

A record is readable only with the table that its scores come from, and a table only with its digest
in the index. Three files cannot be replaced in one step, so the new table first waits under a name
that belongs to the new record alone; the index knows both. Replacing the record is then the one
step that counts: before it the old record is read with the old table, after it the new record with
the waiting one. What a killed process left to do, the next writer finishes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from etchmark import files
from etchmark.registry.layout import digests, read_index, write_index

_WAITING = re.compile(r"\.(.+)\.[0-9a-f]{8}\.parquet")


def waiting_table(path: Path, record: bytes) -> Path:
    """Where the new table of a record waits for the record.

    Args:
        path: of the record.
        record: its new content, which the name holds the first digits of the SHA-256 of.
    """
    return path.with_name(f".{path.stem}.{hashlib.sha256(record).hexdigest()[:8]}.parquet")


def table_of(path: Path, index: Mapping[str, str] | None) -> tuple[Path, str | None]:
    """The file with a record's table, and the SHA-256 that the table must have.

    Args:
        path: of a record that can be read.
        index: of its folder; None if there is none.

    Returns:
        The file, and its digest; None if the index has none.
    """
    table, index = path.with_suffix(".parquet"), index or {}
    waiting = waiting_table(path, path.read_bytes())
    if waiting.name not in index:
        return table, index.get(table.name)
    return (waiting if waiting.exists() else table), index[waiting.name]


def write_together(path: Path, text: str, samples: bytes | None) -> None:
    """Write a record and its table; whenever it is killed, the old or the new record is readable.

    Nobody else may write to the folder meanwhile.

    Args:
        path: of the record.
        text: the record as JSON.
        samples: its table as parquet bytes; None if it has none.

    Raises:
        UserError: the index of the folder cannot be read.
    """
    record, table = text.encode("utf-8"), path.with_suffix(".parquet")
    index = finish(path.parent)
    if samples is None:
        files.write_bytes(path, record)
        _remove_table(table, index)
        return
    digest = hashlib.sha256(samples).hexdigest()
    if path.exists() and table.exists() and index.get(table.name) != digest:
        waiting = waiting_table(path, record)
        files.write_bytes(waiting, samples)
        write_index(path.parent, index | {waiting.name: digest})
        files.write_bytes(path, record)
        finish(path.parent)
        return
    # No record needs another table of this name.
    files.write_bytes(table, samples)
    write_index(path.parent, index | {table.name: digest})
    files.write_bytes(path, record)


def remove_record(path: Path) -> None:
    """Remove a record, then its table, then the table's digest.

    Raises:
        UserError: the index of the folder cannot be read.
    """
    index = finish(path.parent)
    path.unlink()
    _remove_table(path.with_suffix(".parquet"), index)


def _remove_table(table: Path, index: dict[str, str]) -> None:
    table.unlink(missing_ok=True)
    if index.pop(table.name, None) is not None:
        write_index(table.parent, index)


def finish(folder: Path) -> dict[str, str]:
    """Give waiting tables their own names, or remove those whose record was never written.

    Returns:
        The index of the folder; if it has none, the one that it would have.

    Raises:
        UserError: the index cannot be read.
    """
    index = read_index(folder)
    if index is None:
        index = digests(folder)
    on_disk = (path.name for path in folder.glob(".*.parquet"))
    waiting = {name: match[1] for name in {*index, *on_disk} if (match := _WAITING.fullmatch(name))}
    listed = [name for name in waiting if name in index]
    for name, stem in sorted(waiting.items()):
        path, digest = folder / f"{stem}.json", index.pop(name, None)
        table = path.with_suffix(".parquet")
        current = path.is_file() and waiting_table(path, path.read_bytes()).name == name
        if not current or digest is None:
            (folder / name).unlink(missing_ok=True)
            continue
        if (folder / name).exists():
            (folder / name).replace(table)
        index[table.name] = digest
    if listed:
        write_index(folder, index)
    return index
