"""Pinned downloads: raw files of public repositories that we may use but not redistribute.

A file is pinned by repository, commit, path and sha256. It is taken from the mirror if it is there,
else from the cache, else from the network; its hash is checked whatever the way. Mirror and cache
share one layout, ``<folder>/<host>/<owner>/<repo>/<commit>/<path>``.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from etchmark import settings
from etchmark.data import transfer
from etchmark.data.transfer import Unavailable, Wanted, describe_bytes
from etchmark.errors import UserError
from etchmark.files import sha256_of

LAYOUT = "<host>/<owner>/<repo>/<commit>/<path>"

_NAME = r"(?!\.{1,2}$)[A-Za-z0-9_.-]+", "a plain name"
_FIELDS = dict.fromkeys(("host", "owner", "repo"), _NAME) | {
    "commit": (r"[0-9a-f]{40}", "40 hex digits in lower case"),
    # It is joined to a local folder, so it must not lead out of it on any system.
    "path": (r"(?![A-Za-z]:)(?!(.*/)?\.{0,2}(/|$))[^\\\x00-\x1f\x7f]+", "a plain relative path"),
    "sha256": (r"[0-9a-f]{64}", "64 hex digits in lower case"),
    "size": (r"[1-9][0-9]*", "a positive number of bytes"),
}


class SourcesUnavailable(UserError):
    """Files that are nowhere on this machine cannot be had now: offline, or the host fails."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a pinned public repository; raises UserError if a field is malformed."""

    host: str  # 'github.com'
    owner: str
    repo: str
    commit: str  # 40 hex digits
    path: str  # in the repository, with forward slashes
    sha256: str
    size: int  # bytes

    def __post_init__(self) -> None:
        for name, (pattern, meaning) in _FIELDS.items():
            if not re.fullmatch(pattern, str(getattr(self, name))):
                raise UserError(f"{name} {getattr(self, name)!r} is not {meaning}")

    @property
    def location(self) -> Path:
        """Where the file lies below a mirror or a cache."""
        return Path(self.host, self.owner, self.repo, self.commit, self.path)

    def url(self, base_url: str) -> str:
        """The file's address below ``base_url``, percent-encoded."""
        return "/".join((base_url, self.owner, self.repo, self.commit, quote(self.path)))


def read_listing(path: Path, *, host: str, owner: str, repo: str, commit: str) -> list[SourceFile]:
    """Read a CSV with the columns path, bytes, sha256 that pins files of one commit.

    Raises UserError, with file and line, for anything malformed, a duplicate or an empty listing.
    """
    files: dict[str, SourceFile] = {}
    where = str(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            rows = csv.DictReader(handle, strict=True)
            where = f"{path}, line 1"
            if lacking := {"path", "bytes", "sha256"} - set(rows.fieldnames or ()):
                raise UserError(f"the header lacks {', '.join(sorted(lacking))}")
            for row in rows:
                where = f"{path}, line {rows.line_num}"
                if None in row or None in row.values():
                    raise UserError("the row has more or fewer cells than the header")
                if not re.fullmatch("[0-9]{1,18}", row["bytes"]):
                    raise UserError(f"bytes {row['bytes']!r} is not a positive number")
                pin = row["path"], row["sha256"].lower(), int(row["bytes"])
                file = SourceFile(host, owner, repo, commit, *pin)
                if files.setdefault(file.path, file) is not file:
                    raise UserError(f"path {file.path!r} is listed twice")
    except (UserError, OSError, csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{where}: {error}; correct the listing") from error
    if not files:
        raise UserError(f"{path}, line 1: no file is listed; correct the listing")
    return list(files.values())


def missing(
    files: Sequence[SourceFile], mirror: Path | None = None, cache: Path | None = None
) -> list[SourceFile]:
    """Those of ``files`` that neither mirror nor cache holds at the right size (no hashing)."""
    folders = [folder for folder in _folders(mirror, cache) if folder]

    def there(path: Path, size: int) -> bool:
        return path.is_file() and path.stat().st_size == size

    return [f for f in files if not any(there(d / f.location, f.size) for d in folders)]


@dataclass(frozen=True)
class Transfer:
    """How source files are downloaded."""

    base_url: str | None = None
    """Server of the files; the setting if None."""
    workers: int = 8
    """Files that are downloaded at once."""
    backoff_s: float = 0.5
    """First pause before another try, in seconds; it doubles with every try."""


def fetch(
    files: Sequence[SourceFile],
    *,
    mirror: Path | None = None,
    cache: Path | None = None,
    offline: bool | None = None,
    progress: bool | None = None,
    how: Transfer = Transfer(),
) -> dict[SourceFile, Path]:
    """Local path of every file, its hash checked; what is not on this machine is downloaded.

    Args:
        files: pinned files.
        mirror: folder that may hold them; the setting if None.
        cache: folder to download into; that of the hub folder if None.
        offline: never touch the network; the setting if None.
        progress: show a progress bar; if None, when the output is a terminal.
        how: server, threads and pauses of downloads.

    Raises:
        SourcesUnavailable: files cannot be downloaded now.
        UserError: a file is damaged, or the server refuses it.

    Finished files are kept either way, and a rerun continues from there.
    """
    files = list(dict.fromkeys(files))
    counts = Counter(file.location for file in files)
    repeated = [location for location, count in counts.items() if count > 1]
    if repeated:
        raise UserError(
            f"source file {repeated[0]} is pinned twice, with different hashes or sizes; keep one"
        )
    mirror, cache = _folders(mirror, cache)
    base_url = (how.base_url or settings.sources_url()).rstrip("/")
    workers = max(1, how.workers)
    with ThreadPoolExecutor(workers) as pool:
        paths = pool.map(lambda file: _present(file, mirror, cache), files)
        present = {file: path for file, path in zip(files, paths, strict=True) if path}
    lacking = [file for file in files if file not in present]
    wanted = [Wanted(f.url(base_url), cache / f.location, f.sha256, f.size) for f in lacking]
    options = transfer.Options(
        setting="ETCHMARK_SOURCES_URL",
        otherwise=f"set ETCHMARK_MIRROR to a folder that holds the pinned file as {LAYOUT}",
        workers=workers,
        backoff_s=how.backoff_s,
        progress=progress,
    )
    try:
        if lacking and (settings.offline() if offline is None else offline):
            raise Unavailable("downloads are switched off (offline)")
        if lacking:
            with transfer.turn(cache / ".lock"):
                transfer.fetch(wanted, options)
    except Unavailable as error:
        lacking = [file for file in lacking if not _present(file, None, cache)] or lacking
        total = sum(file.size for file in lacking)
        raise SourcesUnavailable(
            f"{lacking[0].url(base_url)}: {error}; missing: {len(lacking)} of {len(files)} files, "
            f"{describe_bytes(total)}; try again online, or set ETCHMARK_MIRROR to a folder that"
            f" holds them as {LAYOUT}"
        ) from error
    except OSError as error:
        raise UserError(f"cannot write below {cache}: {error}") from error
    return {file: present.get(file, cache / file.location) for file in files}


def _folders(mirror: Path | None, cache: Path | None) -> tuple[Path | None, Path]:
    return mirror or settings.mirror(), cache or settings.home() / "sources"


def _present(file: SourceFile, mirror: Path | None, cache: Path) -> Path | None:
    if mirror and (path := mirror / file.location).is_file():
        if not _intact(path, file):
            raise UserError(
                f"the mirror is damaged: {path} is not the file pinned by sha256 {file.sha256} "
                f"({file.size} bytes); replace or remove it, or unset ETCHMARK_MIRROR"
            )
        return path
    path = cache / file.location
    return path if path.is_file() and _intact(path, file) else None


def _intact(path: Path, file: SourceFile) -> bool:
    return path.stat().st_size == file.size and sha256_of(path) == file.sha256
