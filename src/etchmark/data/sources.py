"""Pinned downloads: raw files of public repositories that we may use but not redistribute.

A file is pinned by repository, commit, path and sha256. It is taken from the mirror if it is there,
else from the cache, else from the network; its hash is checked whatever the way. Mirror and cache
share one layout, ``<folder>/<host>/<owner>/<repo>/<commit>/<path>``.
"""

from __future__ import annotations

import csv
import logging
import os
import random
import re
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from etchmark import settings
from etchmark.errors import UserError
from etchmark.files import sha256_of

if TYPE_CHECKING:
    import requests
    from filelock import AcquireReturnProxy

CONNECT_S, READ_S = 10.0, 30.0
TRIES, BACKOFF_CAP_S, RETRY_AFTER_CAP_S = 5, 30.0, 60.0
CHUNK_BYTES = 1 << 16
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


class _TransientError(Exception):
    """Worth another try, after ``delay_s`` at the earliest."""

    def __init__(self, reason: str, delay_s: float = 0.0) -> None:
        super().__init__(reason)
        self.delay_s = delay_s


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
    transfer: Transfer = Transfer(),
) -> dict[SourceFile, Path]:
    """Local path of every file, its hash checked; what is not on this machine is downloaded.

    Args:
        files: pinned files.
        mirror: folder that may hold them; the setting if None.
        cache: folder to download into; that of the hub folder if None.
        offline: never touch the network; the setting if None.
        progress: show a progress bar; if None, when the output is a terminal.
        transfer: how files are downloaded.

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
    base_url = (transfer.base_url or settings.sources_url()).rstrip("/")
    workers = max(1, transfer.workers)
    with ThreadPoolExecutor(workers) as pool:
        paths = pool.map(lambda file: _present(file, mirror, cache), files)
        present = {file: path for file, path in zip(files, paths, strict=True) if path}
    lacking = [file for file in files if file not in present]
    try:
        if lacking and (settings.offline() if offline is None else offline):
            raise _TransientError("downloads are switched off (offline)")
        if lacking:
            _Downloads(cache, base_url, transfer.backoff_s).run(lacking, workers, progress)
    except _TransientError as error:
        lacking = [file for file in lacking if not _present(file, None, cache)] or lacking
        total = sum(file.size for file in lacking)
        raise SourcesUnavailable(
            f"{lacking[0].url(base_url)}: {error}; missing: {len(lacking)} of {len(files)} files, "
            f"{_human(total)}; try again online, or set ETCHMARK_MIRROR to a folder that holds "
            f"them as {LAYOUT}"
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


def _human(size: int) -> str:
    for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


class _Downloads:
    """One run of downloads into the cache; the first file that fails for good stops the rest."""

    def __init__(self, cache: Path, base_url: str, backoff_s: float) -> None:
        self.cache, self.base_url, self.backoff_s = cache, base_url, backoff_s
        self.stop, self.lock, self.local = threading.Event(), threading.Lock(), threading.local()
        self.positions: dict[SourceFile, int] = {}
        self.bar: Any = None

    def run(self, files: Sequence[SourceFile], workers: int, progress: bool | None) -> None:
        """Download ``files``, or raise what the first failure was."""
        from tqdm import tqdm

        hidden = None if progress is None else not progress
        with self.turn():
            files = [file for file in files if not _present(file, None, self.cache)]
            total = sum(file.size for file in files)
            with (
                tqdm(total=total, unit="B", unit_scale=True, disable=hidden) as self.bar,
                ThreadPoolExecutor(workers, initializer=self.open_session) as pool,
            ):
                try:
                    for future in as_completed([pool.submit(self.download, f) for f in files]):
                        future.result()
                finally:  # then wait for what is in flight, one read (READ_S) at most
                    self.stop.set()
                    pool.shutdown(cancel_futures=True)

    def turn(self) -> AcquireReturnProxy:
        """One process at a time downloads into a cache; a killed one frees the lock."""
        from filelock import FileLock, Timeout

        self.cache.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.cache / ".lock")
        try:
            return lock.acquire(timeout=1)
        except Timeout:
            logging.getLogger(__name__).warning("waiting for a download into %s", self.cache)
            return lock.acquire()

    def open_session(self) -> None:
        import requests

        self.local.session = requests.Session()

    def download(self, file: SourceFile) -> None:
        """Bring one file into the cache, whole or not at all."""
        target = self.cache / file.location
        target.unlink(missing_ok=True)  # if it is there, it is damaged
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        got = ""
        for _ in range(2):  # a torn part file or a proxy gives wrong bytes: once more, afresh
            self.transfer_patiently(file, part)
            with part.open("rb+") as handle:
                os.fsync(handle.fileno())
            if _intact(part, file):
                part.replace(target)
                return
            size = part.stat().st_size
            more = "more than " * (size > file.size)
            got = f"{more}{min(size, file.size)} bytes with sha256 {sha256_of(part)}"
            part.unlink()
        raise UserError(
            f"{file.url(self.base_url)}: expected {file.size} bytes with sha256 {file.sha256}, got "
            f"{got}; the file changed upstream or was altered in transit: try another network, or "
            f"set ETCHMARK_MIRROR to a folder that holds the pinned file as {LAYOUT}"
        )

    def transfer_patiently(self, file: SourceFile, part: Path) -> None:
        for attempt in range(TRIES):
            try:
                return self.transfer(file, part)
            except _TransientError as error:
                pause_s = min(BACKOFF_CAP_S, self.backoff_s * 2**attempt)
                pause_s *= random.uniform(0.5, 1.0)  # noqa: S311 - parts the threads, hides nothing
                if attempt + 1 == TRIES:
                    raise _TransientError(f"{error} ({TRIES} tries)") from error
                if self.stop.wait(max(pause_s, error.delay_s)):
                    raise
        return None

    def transfer(self, file: SourceFile, part: Path) -> None:
        """One request; afterwards the part file is complete, though its bytes may be wrong."""
        import requests
        from urllib3.exceptions import HTTPError

        held = part.stat().st_size if part.exists() else 0
        self.at(file, held)
        if held >= file.size:
            return
        # Offsets and hashes are those of the stored bytes, so no compression on the way.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
        url, timeout = file.url(self.base_url), (CONNECT_S, READ_S)
        try:
            get = self.local.session.get
            with get(url, headers=headers, stream=True, timeout=timeout) as response:
                _check_status(response, url)
                start = response.headers.get("Content-Range", "")
                if response.status_code == 200:
                    held = 0
                elif not start.startswith(f"bytes {held}-"):
                    part.unlink(missing_ok=True)
                    raise _TransientError(f"the server cannot go on at byte {held}")
                self.receive(response, file, part, held)
        except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
            # requests wraps what happened in "max retries exceeded", though it tried just once.
            cause = getattr(error.args[0] if error.args else None, "reason", error)
            raise _TransientError(f"{type(error).__name__}: {cause}") from error
        except requests.RequestException as error:
            raise UserError(f"{url}: {error}; check ETCHMARK_SOURCES_URL") from error

    def receive(self, answer: requests.Response, file: SourceFile, part: Path, start: int) -> None:
        position = start
        with part.open("ab" if start else "wb") as handle:
            # One byte above the declared size proves the file too long; an endless one ends there.
            while position <= file.size:
                self.at(file, position)
                if self.stop.is_set():
                    raise _TransientError("stopped")
                room = min(CHUNK_BYTES, file.size + 1 - position)
                chunk = answer.raw.read(room, decode_content=False)
                if not chunk:
                    break
                position += handle.write(chunk)
        headers = answer.headers
        whole = headers.get("Content-Length") == str(position) or "Transfer-Encoding" in headers
        # A full answer that is short is a wrong file; any other short one was cut.
        if position < file.size and not (answer.status_code == 200 and whole):
            raise _TransientError(f"the connection was cut at byte {position} of {file.size}")

    def at(self, file: SourceFile, position: int) -> None:
        """Move the bar; a download that starts afresh moves it back."""
        with self.lock:
            self.bar.update(position - self.positions.get(file, 0))
            self.positions[file] = position


def _check_status(response: requests.Response, url: str) -> None:
    from urllib3.util import Retry

    status = response.status_code
    if status in {408, 429} or status >= 500:
        delay_s = Retry().get_retry_after(response.raw) or 0.0
        raise _TransientError(f"the server answered {status}", min(delay_s, RETRY_AFTER_CAP_S))
    if status not in {200, 206, 416}:  # 416: a part file that the server cannot continue
        raise UserError(
            f"{url}: the server answers {status} for the pinned file; set "
            f"ETCHMARK_MIRROR to a folder that holds it as {LAYOUT}"
        )
