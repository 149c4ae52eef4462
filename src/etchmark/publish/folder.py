"""Publishing to a folder, which any static server can serve."""

from __future__ import annotations

import shutil
from pathlib import Path

from etchmark import files
from etchmark.errors import UserError
from etchmark.publish.repository import Item, Published, Repository


def publish(repository: Repository, folder: Path, *, dry_run: bool) -> Published:
    """Write a repository below a folder; files that are there already are left as they are.

    Args:
        repository: what to write.
        folder: of all repositories.
        dry_run: write nothing, but say what would be.

    Raises:
        UserError: the folder cannot be written.
    """
    own = folder / repository.name
    lacking = [item for item in repository.items if not _is_there(own / item.path, item)]
    there = [path.relative_to(own).as_posix() for path in sorted(own.rglob("*")) if path.is_file()]
    stale = repository.stale(there, str(own))
    if not dry_run:
        try:
            for item in lacking:
                with files.replacing(own / item.path) as temporary:
                    if isinstance(item.content, bytes):
                        temporary.write_bytes(item.content)
                    else:
                        shutil.copyfile(item.content, temporary)
            for path in stale:
                (own / path).unlink()
        except OSError as error:
            raise UserError(
                f"{error.filename or own}: cannot be written ({error.strerror or error}); what is"
                " there is whole: run it again, or give another --to"
            ) from None
    sent = tuple(item.path for item in lacking)
    return Published(repository, str(own), sent, tuple(stale))


def _is_there(path: Path, item: Item) -> bool:
    return (
        path.is_file() and path.stat().st_size == item.size and files.sha256_of(path) == item.sha256
    )
