"""Watches a worker: keeps its time and memory within limits and the end of what it prints."""

from __future__ import annotations

import collections
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil

from etchmark import settings
from etchmark.evaluation.collect import RunFolder, one_line
from etchmark.evaluation.options import Options
from etchmark.evaluation.process import Descendants, environment_of

LOG_TAIL_BYTES = 64 * 1024
LAST_LINE_BYTES = 4096
LOG_FILE_BYTES = 64 << 20
POLL_S = 0.05
LONGEST_WAIT_S = 2.0
WATCHING = 0.02
"""Share of a core that watching a model may take: its memory is a walk over all processes."""


def log_file(name: str) -> Path:
    """Where what a model prints is kept, run after run: ``logs/<name>.log`` in the hub folder."""
    return settings.home() / "logs" / (re.sub(r"[^A-Za-z0-9._-]", "-", name)[:100] + ".log")


@contextmanager
def opened_log(path: Path | None, title: str) -> Iterator[IO[bytes] | None]:
    if path is None:
        yield None
        return
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    handle = None
    # A hub folder that cannot be written, or a full disk, is no reason not to run a model.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        long = path.is_file() and path.stat().st_size > LOG_FILE_BYTES
        handle = path.open("wb" if long else "ab", buffering=0)
        handle.write(f"== {title}, {started}\n".encode())
    try:
        yield handle
    finally:
        if handle is not None:
            handle.close()


class _Lines:
    """Tells of lines in a stream of bytes; of one that is drawn over, of its last state."""

    def __init__(self, echo: Callable[[str], None] | None) -> None:
        self._echo = echo
        self._pending = b""

    def add(self, chunk: bytes) -> None:
        if self._echo is None:
            return
        *whole, rest = (self._pending + chunk).split(b"\n")
        self._pending = rest[-LAST_LINE_BYTES:]
        for line in whole:
            self._tell(line)

    def close(self) -> None:
        if self._pending:
            self._tell(self._pending)

    def _tell(self, line: bytes) -> None:
        shown = line[-LAST_LINE_BYTES:].rstrip(b"\r").rpartition(b"\r")[2]
        try:
            if self._echo is not None:
                self._echo(shown.decode("utf-8", "replace"))
        except (OSError, ValueError):
            # Whoever was told has left; the model goes on.
            self._echo = None


def _drain(
    stream: IO[bytes],
    tail: collections.deque[bytes],
    log: IO[bytes] | None,
    echo: Callable[[str], None] | None,
) -> None:
    """Keep only the end of what a model prints, however much it is."""
    size = logged = 0
    lines = _Lines(echo)
    while chunk := stream.read1(65536):  # type: ignore[attr-defined]
        lines.add(chunk)
        if log is not None and logged < LOG_FILE_BYTES:
            logged += len(chunk)
            # Also closed by now, or the disk is full: the model goes on.
            with suppress(OSError, ValueError):
                log.write(chunk)
        tail.append(chunk)
        size += len(chunk)
        while size - len(tail[0]) > LOG_TAIL_BYTES:
            size -= len(tail.popleft())
    lines.close()


def _memory(processes: Sequence[psutil.Process], *, shared_once: bool) -> int:
    """Bytes in memory of some processes; forks share most of theirs."""
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if shared_once:
                total += process.memory_full_info().pss
            else:
                total += process.memory_info().rss
    return total


def _exceeds(processes: Sequence[psutil.Process], limit: int) -> bool:
    # The quick sum counts shared pages for every process; only if it is too much, look closer.
    if _memory(processes, shared_once=False) <= limit:
        return False
    return sys.platform != "linux" or _memory(processes, shared_once=True) > limit


@contextmanager
def unwinding() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end this process as Ctrl-C does: tidied up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    untouched = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    try:
        for number in untouched:
            signal.signal(number, leave)
        yield
    finally:
        for number in untouched:
            signal.signal(number, signal.SIG_DFL)


def watch(
    folder: RunFolder, options: Options, log: IO[bytes] | None, *, features: bool
) -> tuple[str | None, str]:
    """Run the worker to its end; the reason for which it was stopped (or None), and its log.

    Args:
        folder: laid out, with its ``run.json``.
        options: limits, progress and echo.
        log: where all that is printed is kept as well.
        features: the model takes weights, and is told where they are.
    """
    token, results = folder.run["token"], folder.result_files()
    limits = options.limits
    memory = limits.memory_bytes or int(0.9 * psutil.virtual_memory().available)
    process = subprocess.Popen(
        [sys.executable, "-m", "etchmark.evaluation.worker", str(folder.root)],
        cwd=folder.root,
        env=environment_of(token, features=features),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=os.name == "posix",
    )
    descendants = Descendants(process, token)
    tail: collections.deque[bytes] = collections.deque()
    assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
    reader = threading.Thread(
        target=_drain, args=(process.stdout, tail, log, options.echo), daemon=True
    )
    reader.start()
    stopped: str | None = None
    started = time.monotonic()
    try:
        with _bar(len(results), options.progress, tail) as advance:
            while process.poll() is None:
                begun = time.monotonic()
                if begun - started > limits.seconds:
                    stopped = f"ran out of time: more than {limits.seconds:g} s"
                elif _exceeds(descendants.look(), memory):
                    stopped = f"ran out of memory: more than {memory / 2**30:.1f} GiB"
                if stopped:
                    break
                advance(sum(path.is_file() for path in results))
                with suppress(subprocess.TimeoutExpired):
                    spent = time.monotonic() - begun
                    process.wait(min(max(POLL_S, spent / WATCHING), LONGEST_WAIT_S))
    except psutil.NoSuchProcess:
        pass
    finally:
        # Also reached on Ctrl-C: no worker, and nothing it started, outlives its parent.
        left = descendants.end()
        process.wait()
        if left:
            warnings.warn(
                f"processes that the model started could not be ended: {', '.join(left)}; end them"
                " yourself",
                stacklevel=2,
            )
    reader.join(timeout=5)
    return stopped, b"".join(tail).decode("utf-8", "replace")


@contextmanager
def _bar(steps: int, progress: bool, tail: collections.deque[bytes]) -> Iterator[Any]:
    """Finished folds, and what the model printed last: a fold may take an hour."""
    if not progress:
        yield lambda done: None
        return
    from tqdm import tqdm

    form = "{n_fmt}/{total_fmt} folds [{elapsed}]{postfix}"
    # A terminal that says it has no columns would be shown nothing.
    width = shutil.get_terminal_size().columns
    with tqdm(total=steps, leave=False, ncols=width, bar_format=form) as bar:

        def advance(done: int) -> None:
            bar.set_postfix_str(_last_line(tail), refresh=False)
            bar.n = done
            # Drawn a few times in a second at most.
            bar.update(0)

        yield advance


def _last_line(tail: collections.deque[bytes]) -> str:
    """What was printed last, harmless to a terminal; of lines drawn over, the last one."""
    # Another thread appends to it meanwhile; a line is never longer than what is left of it.
    text = b"".join(list(tail)[-2:])[-LAST_LINE_BYTES:].decode("utf-8", "replace")
    lines = [line for line in map(one_line, re.split(r"[\r\n]", text)) if line]
    return lines[-1] if lines else ""
