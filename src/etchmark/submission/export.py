"""A submission as a folder, to be reviewed for the public board."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from etchmark import files
from etchmark.errors import UserError
from etchmark.submission.submit import Prepared
from etchmark.text import escape_json

RECORD, TABLE, PREDICTIONS = "record.json", "samples.parquet", "predictions"
EXPORTED = frozenset((RECORD, TABLE, f"{PREDICTIONS}.parquet", f"{PREDICTIONS}.csv"))
"""Names of the files of an exported submission."""


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
    folder = folder.resolve()
    token = f"{os.getpid()}-{secrets.token_hex(4)}"
    # Cut, since the name of a folder has a limited length.
    staging = folder.with_name(f".{folder.name[:40]}.{token}.tmp")
    spare = folder.with_name(f".{folder.name[:40]}.{token}.old")
    try:
        for path in prepared.predictions:
            suffix = ".csv" if path.suffix.lower() == ".csv" else ".parquet"
            files.write_bytes(staging / f"{PREDICTIONS}{suffix}", path.read_bytes())
        if prepared.samples is not None:
            files.write_bytes(staging / TABLE, prepared.samples)
        text = prepared.record.model_dump_json(by_alias=True, indent=2)
        files.write_text(staging / RECORD, escape_json(text) + "\n")
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
