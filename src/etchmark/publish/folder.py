"""Publishing to a folder, which any static server can serve."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

from etchmark import files
from etchmark.errors import UserError
from etchmark.publish.repository import Item, Published, Repository

TEMPORARY = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.tmp")
"""Names under which files are written before they are whole."""
ABANDONED_S = 3600.0
"""Age after which such a file must be of a killed process."""


def publish(repository: Repository, folder: Path, *, dry_run: bool) -> Published:
    """Write a repository below a folder; files that are there already are left as they are.

    Args:
        repository: what to write.
        folder: of all repositories.
        dry_run: write nothing, but say what would be.

    Raises:
        UserError: the folder cannot be written, or holds something else.
    """
    own = folder / repository.name
    try:
        there = _there(own)
    except OSError as error:
        raise UserError(
            f"{own}: cannot be read ({error.strerror or error}); give another --to"
        ) from None
    stale = repository.stale([path for path in there if not _is_temporary(path)], str(own))
    lacking = [item for item in repository.items if not _is_there(own / item.path, item)]
    if not dry_run:
        at = own
        try:
            for item in lacking:
                at = own / item.path
                with files.replacing(at) as temporary:
                    if isinstance(item.content, bytes):
                        temporary.write_bytes(item.content)
                    else:
                        shutil.copyfile(item.content, temporary)
            for path in [*stale, *filter(_is_temporary, there)]:
                at = own / path
                if path in stale or time.time() - at.stat().st_mtime > ABANDONED_S:
                    at.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"{at}: cannot be written ({error.strerror or error}); what is there is whole: run"
                " it again, or give another --to"
            ) from None
    return Published(repository, str(own), tuple(item.path for item in lacking), tuple(stale))


def _there(own: Path) -> list[str]:
    """Files of a repository; what a link points to is nobody's but its owner's."""
    if own.exists() and not own.is_dir():
        raise UserError(f"{own}: is not a folder; remove it, or give another --to")
    paths = sorted(own.rglob("*")) if own.is_dir() else []
    for path in (own, *paths):
        if path.is_symlink():
            raise UserError(f"{path}: is a link; remove it, or give another --to")
    return [path.relative_to(own).as_posix() for path in paths if path.is_file()]


def _is_temporary(path: str) -> bool:
    return TEMPORARY.fullmatch(path.rpartition("/")[2]) is not None


def _is_there(path: Path, item: Item) -> bool:
    return (
        path.is_file() and path.stat().st_size == item.size and files.sha256_of(path) == item.sha256
    )
