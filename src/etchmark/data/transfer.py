"""Downloads of files whose digest is known: in parallel, resumed after a cut, verified on the way.

A file is whole or absent under its own name; what has come of it lies beside it, and the next run
goes on there. Addresses begin with ``https://``, ``http://`` or ``file://``.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from etchmark.errors import UserError

if TYPE_CHECKING:
    from _hashlib import HASH

    import requests
    from filelock import AcquireReturnProxy

T = TypeVar("T")
CONNECT_S, READ_S = 10.0, 30.0
TRIES, BACKOFF_CAP_S, RETRY_AFTER_CAP_S = 5, 30.0, 60.0
CHUNK_BYTES = 1 << 18
"""Smaller pieces cost a third of the speed: the interpreter, not the network, is then the limit."""
LARGEST = 1 << 33
"""Bytes that are read at most of a file of unknown size."""
NOT_WHOLE = ".part"
"""Ending of a file of which only the beginning has come; its name also starts with a dot."""


class Absent(UserError):
    """A server has no such file."""


class Unavailable(Exception):
    """A file cannot be had now, though another try may succeed.

    Attributes:
        url: of the file; empty if no particular one.
        delay_s: seconds to wait before another try, at least.
    """

    def __init__(self, reason: str, url: str = "", delay_s: float = 0.0) -> None:
        super().__init__(reason)
        self.url, self.delay_s = url, delay_s


@dataclass(frozen=True)
class Wanted:
    """A file to download.

    Attributes:
        url: its address.
        path: where it will lie.
        digest: of its content, in hex digits.
        size: bytes; None if the source does not say.
        algorithm: of the digest, as ``hashlib`` names it. MD5 serves for sources that publish
            nothing else.
    """

    url: str
    path: Path
    digest: str
    size: int | None
    algorithm: str = "sha256"

    @property
    def limit(self) -> int:
        """Bytes that are read at most."""
        return LARGEST if self.size is None else self.size

    @property
    def part(self) -> Path:
        """Where it lies until it is whole."""
        return self.path.with_name(f".{self.path.name}{NOT_WHOLE}")

    def is_here(self) -> bool:
        """Whether the whole file lies in its place; it is hashed."""
        return self.path.is_file() and self.holds(self.path)

    def holds(self, path: Path) -> bool:
        """Whether a file has this content."""
        known = self.size is None or path.stat().st_size == self.size
        return known and self.digest_of(path) == self.digest

    def digest_of(self, path: Path) -> str:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, self.new_digest).hexdigest()

    def new_digest(self) -> HASH:
        return hashlib.new(self.algorithm, usedforsecurity=self.algorithm != "md5")


@dataclass(frozen=True)
class Options:
    """How files are downloaded, and what messages advise.

    Attributes:
        setting: name of the setting that holds the address of the server.
        otherwise: what to do if the server does not have the file as it should be.
        workers: files that are downloaded at once.
        backoff_s: first pause before another try, in seconds; it doubles with every try.
        progress: show a progress bar; if None, when the output is a terminal.
        headers: sent with every request, such as a token.
        absent: status codes by which a server says that it has no such file.
    """

    setting: str
    otherwise: str
    workers: int = 8
    backoff_s: float = 0.5
    progress: bool | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    absent: frozenset[int] = frozenset({404, 410})


def fetch(wanted: Sequence[Wanted], options: Options) -> None:
    """Download files; what is whole already is left, and what comes whole is kept.

    Whoever downloads where another process may does it within ``turn``.

    Args:
        wanted: the files.
        options: how.

    Raises:
        Unavailable: a server failed, repeatedly.
        UserError: a server refuses a file or has another one.
        OSError: a file cannot be written.
    """
    from tqdm import tqdm

    hidden = None if options.progress is None else not options.progress
    lacking = [file for file in wanted if not file.is_here()]
    total = sum(file.size or 0 for file in lacking)
    with tqdm(total=total, unit="B", unit_scale=True, disable=hidden) as bar:
        _Run(options, bar).fetch(lacking)


def read(url: str, limit: int, options: Options) -> bytes:
    """The content of a small file of unknown hash, such as a list of files.

    Args:
        url: its address.
        limit: largest number of bytes.
        options: how.

    Raises:
        Unavailable: the server failed, repeatedly.
        UserError: it refuses the file, or that is longer.
    """
    run = _Run(options, None)
    run.open_session()
    return run.patiently(lambda: run.read(url, limit))


def turn(lock: Path) -> AcquireReturnProxy:
    """Wait until no other process holds a lock; a killed one frees it.

    Args:
        lock: file in the folder that is downloaded into; one process at a time does.
    """
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        return held.acquire(timeout=1)
    except Timeout:
        logging.getLogger(__name__).warning("waiting for a download into %s", lock.parent)
        return held.acquire()


@dataclass(frozen=True)
class _Answer:
    """What a server sends.

    Attributes:
        start: offset in the file of the first byte; negative if it is not the one asked for.
        length: bytes that it says it sends, if it says so.
        read: returns the next bytes, as they are stored, at most so many.
        chunked: it says where the last one is.
    """

    start: int
    length: int | None
    read: Callable[[int], bytes]
    chunked: bool = False


class _Run:
    """One run of downloads; the first file that fails for good stops the rest."""

    def __init__(self, options: Options, bar: Any) -> None:
        self.options, self.bar = options, bar
        self.stop, self.lock, self.local = threading.Event(), threading.Lock(), threading.local()
        self.positions: dict[Wanted, int] = {}

    def open_session(self) -> None:
        import requests

        self.local.session = requests.Session()

    def fetch(self, wanted: Sequence[Wanted]) -> None:
        """Download files, or raise what the first failure was."""
        workers = max(1, self.options.workers)
        with ThreadPoolExecutor(workers, initializer=self.open_session) as pool:
            try:
                for future in as_completed([pool.submit(self.download, file) for file in wanted]):
                    future.result()
            finally:  # then wait for what is in flight, one read (READ_S) at most
                self.stop.set()
                pool.shutdown(cancel_futures=True)

    def download(self, file: Wanted) -> None:
        """Bring one file to its place, whole or not at all."""
        file.path.unlink(missing_ok=True)  # if it is there, it is damaged
        file.path.parent.mkdir(parents=True, exist_ok=True)
        got = ""
        for _ in range(2):  # a torn part file or a proxy gives wrong bytes: once more, afresh
            size, digest = self.patiently(lambda: self.transfer(file))
            with file.part.open("rb+") as handle:
                os.fsync(handle.fileno())
            if file.size in (None, size) and digest == file.digest:
                file.part.replace(file.path)
                return
            more = "more than " * (size > file.limit)
            got = f"{more}{min(size, file.limit)} bytes with {file.algorithm} {digest}"
            file.part.unlink()
        expected = "a file" if file.size is None else f"{file.size} bytes"
        raise UserError(
            f"{file.url}: expected {expected} with {file.algorithm} {file.digest}, got {got}; the"
            f" file changed there or was altered in transit: try another network, or"
            f" {self.options.otherwise}"
        )

    def patiently(self, work: Callable[[], T]) -> T:
        """Do something again, after longer and longer pauses, while a server fails."""
        tries = 0
        while True:
            try:
                return work()
            except Unavailable as error:
                pause_s = min(BACKOFF_CAP_S, self.options.backoff_s * 2**tries)
                pause_s *= random.uniform(0.5, 1.0)  # noqa: S311 - parts the threads, hides nothing
                tries += 1
                if tries == TRIES:
                    raise Unavailable(f"{error} ({TRIES} tries)", error.url) from error
                if self.stop.wait(max(pause_s, error.delay_s)):
                    raise

    def transfer(self, file: Wanted) -> tuple[int, str]:
        """One request; afterwards the part file is complete, though its bytes may be wrong.

        Returns:
            Its size and its digest.
        """
        held = file.part.stat().st_size if file.part.exists() else 0
        self.at(file, held)
        if held >= file.limit:
            return held, file.digest_of(file.part)
        with self.answer(file.url, held) as answer:
            if answer.start < 0:
                file.part.unlink(missing_ok=True)
                raise Unavailable(f"the server cannot go on at byte {held}", file.url)
            return self.receive(answer, file)

    def receive(self, answer: _Answer, file: Wanted) -> tuple[int, str]:
        digest, position = file.new_digest(), answer.start
        if position:
            with file.part.open("rb") as handle:
                digest = hashlib.file_digest(handle, lambda: digest)
        with file.part.open("ab" if position else "wb") as handle:
            # One byte above the declared size proves the file too long; an endless one ends there.
            while position <= file.limit:
                self.at(file, position)
                if self.stop.is_set():
                    raise Unavailable("stopped", file.url)
                chunk = answer.read(min(CHUNK_BYTES, file.limit + 1 - position))
                if not chunk:
                    break
                digest.update(chunk)
                position += handle.write(chunk)
        # A full answer that is short is a wrong file; any other short one was cut.
        whole = answer.start == 0 and (answer.chunked or answer.length == position)
        if file.size is None:
            came = position - answer.start
            whole = answer.length is None or came >= answer.length or position > file.limit
        if position < file.limit and not whole:
            of = "" if file.size is None else f" of {file.size}"
            raise Unavailable(f"the connection was cut at byte {position}{of}", file.url)
        return position, digest.hexdigest()

    def read(self, url: str, limit: int) -> bytes:
        with self.answer(url, 0) as answer:
            content = bytearray()
            while chunk := answer.read(min(CHUNK_BYTES, limit + 1 - len(content))):
                content += chunk
                if len(content) > limit:
                    raise UserError(
                        f"{url}: is longer than {limit} bytes; check {self.options.setting}"
                    )
            if answer.length not in (None, len(content)):
                raise Unavailable(f"the connection was cut at byte {len(content)}", url)
            return bytes(content)

    @contextmanager
    def answer(self, url: str, held: int) -> Iterator[_Answer]:
        """What a server sends of a file from an offset on, or from its start."""
        if url.startswith("file:"):
            with self._local(url) as answer:
                yield answer
            return
        import requests
        from urllib3.exceptions import HTTPError

        # Offsets and hashes are those of the stored bytes, so no compression on the way.
        headers = {**self.options.headers, "Accept-Encoding": "identity"}
        headers |= {"Range": f"bytes={held}-"} if held else {}
        try:
            get = self.local.session.get
            with get(url, headers=headers, stream=True, timeout=(CONNECT_S, READ_S)) as response:
                self._check_status(response, url)
                yield _answer_of(response, held)
        except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
            # requests wraps what happened in "max retries exceeded", though it tried just once.
            cause = getattr(error.args[0] if error.args else None, "reason", error)
            raise Unavailable(f"{type(error).__name__}: {cause}", url) from error
        except (requests.RequestException, ValueError) as error:
            # An address or a header that cannot be sent, be it ours or that of a redirect.
            raise UserError(f"{url}: {error}; check {self.options.setting}") from error

    @contextmanager
    def _local(self, url: str) -> Iterator[_Answer]:
        path = Path(url2pathname(urlsplit(url).path))
        try:
            if path.exists() and not path.is_file():
                raise UserError(f"{url}: is not an ordinary file; {self.options.otherwise}")
            size, handle = path.stat().st_size, path.open("rb")
        except OSError as error:
            kind = Absent if isinstance(error, FileNotFoundError) else UserError
            raise kind(
                f"{url}: cannot be read ({error.strerror}); {self.options.otherwise}"
            ) from None
        with handle:
            yield _Answer(0, size, handle.read)

    def _check_status(self, response: requests.Response, url: str) -> None:
        from urllib3.util import Retry

        status = response.status_code
        if status in {408, 429} or status >= 500:
            delay_s = Retry().get_retry_after(response.raw) or 0.0
            raise Unavailable(f"the server answered {status}", url, min(delay_s, RETRY_AFTER_CAP_S))
        if status not in {200, 206, 416}:  # 416: a part file that the server cannot continue
            kind = Absent if status in self.options.absent else UserError
            raise kind(f"{url}: the server answers {status}; {self.options.otherwise}")

    def at(self, file: Wanted, position: int) -> None:
        """Move the bar; a download that starts afresh moves it back."""
        with self.lock:
            if self.bar is not None:
                self.bar.update(position - self.positions.get(file, 0))
            self.positions[file] = position


def _answer_of(response: requests.Response, held: int) -> _Answer:
    length = response.headers.get("Content-Length", "")
    resumed = response.headers.get("Content-Range", "").startswith(f"bytes {held}-")
    return _Answer(
        0 if response.status_code == 200 else held if resumed else -1,
        int(length) if length.isdigit() else None,
        lambda size: response.raw.read1(size, decode_content=False),
        "Transfer-Encoding" in response.headers,
    )


def describe_bytes(size: int) -> str:
    """A number of bytes in words, such as ``2.5 kB``."""
    for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"
