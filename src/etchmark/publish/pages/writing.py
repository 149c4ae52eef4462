"""Writes pages into a folder that may hold other files, which are never changed or removed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from etchmark import files
from etchmark.errors import UserError
from etchmark.publish.repository import Item

MANIFEST = ".etchmark-pages.json"
"""Names every file that was written here with the SHA-256 of its content."""
SCHEMA = 1
Hashes = dict[str, list[str]]
"""By path, contents that were, or are about to be, written there."""


@dataclass(frozen=True)
class Written:
    """What was done with a folder.

    Attributes:
        folder: which.
        total: files that it holds now.
        written: paths that were new or have changed.
        removed: paths of older pages that were removed.
    """

    folder: Path
    total: int
    written: tuple[str, ...]
    removed: tuple[str, ...]


def check(folder: Path) -> None:
    """Refuse a folder that cannot be written to, before anything is computed.

    Raises:
        UserError: it is not a folder, or its manifest cannot be read.
    """
    try:
        _read_manifest(folder)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be used ({error.strerror or error}); give another --to"
        ) from None


def write(items: Sequence[Item], folder: Path) -> Written:
    """Write what is new or has changed, and remove what was written here and is no page any more.

    Nothing is written if a single file would be replaced that was not written here, or that
    somebody has changed since.

    Args:
        items: all pages of the folder.
        folder: where; it is created if it does not exist.

    Raises:
        UserError: a file is in the way, or the folder cannot be written.
    """
    try:
        known = _read_manifest(folder)
        content = {item.path: item for item in items}
        changed = [path for path, item in content.items() if _differs(folder, item, known)]
        stale = [path for path in known if path not in content and (folder / path).exists()]
        for path in stale:
            _require_own(folder, path, known)
        # First of all, so that whatever a killed process leaves is known to be ours.
        planned = {path: known.get(path, []) for path in stale}
        for path, item in content.items():
            planned[path] = list(dict.fromkeys([*known.get(path, []), item.sha256]))
        if changed or stale or planned.keys() != known.keys():
            _write_manifest(folder, planned)
        for path in changed:
            body = content[path].content
            files.write_bytes(folder / path, body if isinstance(body, bytes) else body.read_bytes())
        for path in stale:
            (folder / path).unlink(missing_ok=True)
            _remove_empty(folder, (folder / path).parent)
        final = {path: [item.sha256] for path, item in content.items()}
        if final != known:
            _write_manifest(folder, final)
    except OSError as error:
        where = error.filename or folder
        raise UserError(
            f"{where}: cannot be written ({error.strerror or error}); run it again, or give"
            " another --to"
        ) from None
    return Written(folder, len(content), tuple(changed), tuple(stale))


def _differs(folder: Path, item: Item, known: Hashes) -> bool:
    """Whether a file has to be written; refuses to replace what was not written here."""
    path = folder / item.path
    for place in (path, *path.parents):
        if place == folder:
            break
        if place.is_symlink():
            raise UserError(f"{place}: is a link; remove it, or give another --to")
        if place != path and place.exists() and not place.is_dir():
            raise UserError(f"{place}: is not a folder; remove it, or give another --to")
    if not path.exists():
        return True
    if path.is_dir():
        raise UserError(f"{path}: is a folder; remove it, or give another --to")
    if files.sha256_of(path) == item.sha256:
        return False
    _require_own(folder, item.path, known)
    return True


def _require_own(folder: Path, path: str, known: Hashes) -> None:
    place = folder / path
    if path not in known:
        raise UserError(
            f"{place}: exists and was not written by this command; move it, or give another --to"
        )
    if place.is_symlink() or not place.is_file() or files.sha256_of(place) not in known[path]:
        raise UserError(
            f"{place}: was changed since it was written here; move it, or give another --to"
        )


def _read_manifest(folder: Path) -> Hashes:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is not a folder; give another --to")
    path = folder / MANIFEST
    if path.is_symlink():
        raise UserError(f"{path}: is a link; remove it, or give another --to")
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        written = value["files"]
        if value["schema"] != SCHEMA or not all(map(_is_inside, written)):
            raise ValueError("of another version")
        return {str(name): [str(each) for each in hashes] for name, hashes in written.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{path}: cannot be read, so which files were written here is unknown; give another"
            " --to, or remove the folder"
        ) from None


def _is_inside(path: str) -> bool:
    """Whether a path of the manifest stays in the folder, whoever wrote it there."""
    return not path.startswith("/") and "\\" not in path and ".." not in path.split("/")


def _write_manifest(folder: Path, hashes: Mapping[str, Sequence[str]]) -> None:
    files.write_json(folder / MANIFEST, {"schema": SCHEMA, "files": dict(sorted(hashes.items()))})


def _remove_empty(folder: Path, place: Path) -> None:
    while place != folder and not any(place.iterdir()):
        place.rmdir()
        place = place.parent
