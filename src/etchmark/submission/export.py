"""A submission as a folder, to be reviewed for the public board."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

from etchmark import files
from etchmark.errors import UserError
from etchmark.registry.layout import slug
from etchmark.registry.store import REVIEWED, Store
from etchmark.registry.tables import Entry
from etchmark.specs import ResultRecord
from etchmark.submission.finding import find_submission
from etchmark.submission.submit import Prepared
from etchmark.text import escape_json

RECORD, TABLE, PREDICTIONS = "record.json", "samples.parquet", "predictions"
EXPORTED = frozenset((RECORD, TABLE, f"{PREDICTIONS}.parquet", f"{PREDICTIONS}.csv"))
"""Names of the files of an exported submission."""
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
"""The system that a zip file's permissions are of."""


def check_export(folder: Path, *, force: bool = False) -> None:
    """Refuse a folder in which an export would replace anything.

    Args:
        folder: where the export shall stand.
        force: an earlier export there may be replaced; what is of none may not.

    Raises:
        UserError: the path exists, or no folder can have this name.
    """
    if "\0" in str(folder):
        raise UserError(f"{str(folder)!r}: is not a path; give another --export")
    try:
        if not folder.exists():
            return
        present = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else None
    except (OSError, ValueError) as error:
        raise _not_written(folder, error) from None
    if present is None or (present and not force):
        again = "" if present is None else ", or --force to replace the submission in it"
        raise UserError(
            f"{folder}: exists and is not an empty folder; give another --export{again}"
        )
    others = [name for name in present if name not in EXPORTED]
    if others:
        raise UserError(
            f"{folder / others[0]}: is not part of a submission and is kept; give another --export"
        )


def _not_written(folder: Path, error: Exception) -> UserError:
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return UserError(f"{folder}: cannot be written ({why}); give another --export")


def export(prepared: Prepared, folder: Path, *, force: bool = False) -> None:
    """Write a submission as a folder that ``results check`` and ``results add`` take.

    Raises:
        UserError: the path exists (see ``check_export``), or cannot be written.
    """
    check_export(folder, force=force)
    contents = {}
    for path in prepared.predictions:
        suffix = ".csv" if path.suffix.lower() == ".csv" else ".parquet"
        try:
            contents[f"{PREDICTIONS}{suffix}"] = path.read_bytes()
        except OSError as error:
            raise _not_written(folder, error) from None
    _write(contents | _described(prepared.record, prepared.samples), folder)


def _described(record: ResultRecord, samples: bytes | None) -> dict[str, bytes]:
    """What goes beside the predictions, by file name."""
    text = escape_json(record.model_dump_json(by_alias=True, indent=2)) + "\n"
    table = {} if samples is None else {TABLE: samples}
    return table | {RECORD: text.encode("utf-8")}


def _write(contents: Mapping[str, bytes], folder: Path) -> None:
    """Write files as a folder, in place of an earlier one."""
    folder = folder.resolve()
    token = f"{os.getpid()}-{secrets.token_hex(4)}"
    # Cut, since the name of a folder has a limited length.
    staging = folder.with_name(f".{folder.name[:40]}.{token}.tmp")
    spare = folder.with_name(f".{folder.name[:40]}.{token}.old")
    try:
        for name, content in contents.items():
            files.write_bytes(staging / name, content)
        if folder.exists():
            folder.replace(spare)
        staging.replace(folder)
    except (OSError, UnicodeError) as error:
        raise _not_written(folder, error) from None
    finally:
        if folder.exists():
            shutil.rmtree(spare, ignore_errors=True)
        elif spare.exists():
            spare.replace(folder)
        shutil.rmtree(staging, ignore_errors=True)


# --- submissions that are stored ---------------------------------------------------------------


def folder_name(record: ResultRecord) -> str:
    """A name for the folder of a submission: the model's name in lower-case ASCII."""
    return slug(record.name, record.submission)


def to_export(store: Store, text: str) -> Entry:
    """The stored submission whose id is, or begins with, a text, if it may be sent for review.

    Raises:
        UserError: there is none or several, it is a reviewed record, it failed, or it cannot be
            read.
    """
    match = find_submission(store, text)
    named = f"submission {match.short} ({match.name})"
    if match.origin == REVIEWED:
        raise UserError(f"{named} is a reviewed record: it is on the public board already")
    entry = store.get(match.submission)
    if entry is None:
        raise UserError(f"{named} cannot be read; submit its predictions again")
    if entry.record.outcome != "ok":
        raise UserError(f"{named} failed ({entry.record.reason}); there is nothing to review")
    return entry


def stored_contents(store: Store, entry: Entry) -> dict[str, bytes]:
    """Files of the folder that a reviewer checks, by name.

    Raises:
        UserError: the predictions that were scored are missing from the hub, or have changed.
    """
    record = entry.record
    if len(record.fingerprints.predictions) != 1:
        raise UserError(
            f"submission {record.submission[:12]} has {len(record.fingerprints.predictions)}"
            " predictions files, but a review takes one; submit them as one file"
        )
    (sha256,) = record.fingerprints.predictions
    path = store.prediction_path(sha256)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _lost(record, path, error.strerror or str(error)) from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise _lost(record, path, "its content has changed")
    # The hub keeps files under their hash, without an ending. Parquet begins with these letters.
    suffix = ".parquet" if content.startswith(b"PAR1") else ".csv"
    return {f"{PREDICTIONS}{suffix}": content, **_described(record, entry.samples)}


def _lost(record: ResultRecord, path: Path, why: str) -> UserError:
    return UserError(
        f"{path}: the predictions of submission {record.submission[:12]} cannot be used ({why});"
        " submit the same file again, which puts them back"
    )


def export_stored(store: Store, entry: Entry, folder: Path, *, force: bool = False) -> None:
    """Write a stored submission as a folder, as ``export`` does.

    Raises:
        UserError: as ``export`` and ``stored_contents``.
    """
    check_export(folder, force=force)
    _write(stored_contents(store, entry), folder)


def archive(store: Store, entry: Entry) -> bytes:
    """The same folder as a zip file, the same bytes every time.

    Raises:
        UserError: as ``stored_contents``.
    """
    folder = folder_name(entry.record)
    buffer = io.BytesIO()
    # Tables are compressed already, and what compression yields depends on the library's version.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as zipped:
        for name, content in sorted(stored_contents(store, entry).items()):
            member = zipfile.ZipInfo(f"{folder}/{name}", _ZIP_DATE)
            member.create_system = _UNIX
            member.external_attr = 0o644 << 16
            zipped.writestr(member, content)
    return buffer.getvalue()
