"""Files that were uploaded for a preview, kept for a day under a token that nobody can guess.

Each is one file in a private folder, written under a temporary name and renamed, so that a process
that is killed leaves none half; any number of servers may use one folder. It is named after the
hash of its token: who can list the folder learns no token, and no token can lead out of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etchmark import files
from etchmark.errors import UserError
from etchmark.registry.store import Store

SECONDS = 24 * 3600.0
"""How long an upload is kept."""
TOTAL_BYTES = 2 << 30
"""Room for all of them; the oldest go first."""
ABANDONED_SECONDS = 3600.0
"""Age of a temporary file that nobody is writing any more."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Upload:
    """A file as it was received, and what was filled in beside it."""

    fields: Mapping[str, Any]
    """Plain values, as JSON has them."""
    content: bytes


class Uploads:
    """The uploads in a folder, which is made for this user alone.

    Args:
        folder: where they are.
        seconds: how long each is kept.
        total_bytes: room for all of them.

    Raises:
        UserError: the folder cannot be made, or somebody else can write to it.
    """

    def __init__(
        self, folder: Path, *, seconds: float = SECONDS, total_bytes: int = TOTAL_BYTES
    ) -> None:
        _make_private(folder)
        self.folder = folder
        self.seconds = seconds
        self.total_bytes = total_bytes

    def keep(self, upload: Upload) -> str:
        """Keep an upload; its token.

        Raises:
            UserError: there is no room for it.
        """
        token = secrets.token_urlsafe(32)
        head = json.dumps(dict(upload.fields), allow_nan=False).encode("ascii")
        size = len(head) + 1 + len(upload.content)
        if size > self.total_bytes:
            raise UserError(
                f"the file is not kept for later: {size:,} bytes are more than the"
                f" {self.total_bytes:,} there are for all uploads; submit a smaller file"
            )
        self.sweep(size)
        try:
            with files.replacing(self._path(token)) as temporary, temporary.open("wb") as handle:
                handle.write(head + b"\n")
                handle.write(upload.content)
        except OSError as error:
            raise UserError(
                f"the file is not kept for later ({error.strerror or error}); free some space"
            ) from None
        return token

    def get(self, token: str) -> Upload | None:
        """The upload of a token; None if it is too old, was removed, or never was."""
        if _TOKEN.fullmatch(token) is None:
            return None
        try:
            with self._path(token).open("rb") as handle:
                if time.time() - os.fstat(handle.fileno()).st_mtime > self.seconds:
                    return None
                fields = json.loads(handle.readline())
                return Upload(fields, handle.read()) if isinstance(fields, dict) else None
        except (OSError, ValueError):
            return None

    def remove(self, token: str) -> None:
        """Remove the upload of a token, if there is one."""
        if _TOKEN.fullmatch(token) is not None:
            with suppress(OSError):
                self._path(token).unlink(missing_ok=True)

    def sweep(self, room: int = 0) -> None:
        """Remove what is too old, and the oldest until there is room for some more bytes."""
        now = time.time()
        kept: list[tuple[float, int, Path]] = []
        with suppress(OSError), os.scandir(self.folder) as listing:
            for item in listing:
                # Another server may have removed it meanwhile.
                with suppress(OSError):
                    status = item.stat(follow_symlinks=False)
                    temporary = item.name.endswith(".tmp")
                    limit = ABANDONED_SECONDS if temporary else self.seconds
                    if now - status.st_mtime > limit:
                        Path(item.path).unlink()
                    elif not temporary:
                        kept.append((status.st_mtime, status.st_size, Path(item.path)))
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total + room <= self.total_bytes:
                break
            with suppress(OSError):
                path.unlink(missing_ok=True)
            total -= size

    def _path(self, token: str) -> Path:
        return self.folder / hashlib.sha256(token.encode("ascii")).hexdigest()


def _make_private(folder: Path) -> None:
    """Make a folder that this user alone can look into.

    Raises:
        UserError: it cannot be made, or what is there belongs to another user.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "nt":
            return
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise UserError(f"{folder}: belongs to somebody else; ask its owner to remove it")
        if stat.S_IMODE(status.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be made ({error.strerror or error}); free some space, or let"
            " ETCHMARK_HOME name a folder of your own"
        ) from None


def uploads_of(store: Store) -> Uploads:
    """The uploads of a hub: in its folder, or below ``TMPDIR`` where that cannot be written.

    Raises:
        UserError: neither can be used.
    """
    if store.read_only is None:
        # A hub folder may be shared with another user, whose uploads are then there.
        with suppress(UserError):
            return Uploads(store.home / "uploads")
    user = os.geteuid() if os.name != "nt" else "user"
    return Uploads(files.temporary_root() / f"etchmark-uploads-{user}")
