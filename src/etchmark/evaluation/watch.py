"""Runs the worker of an evaluation: its log, its progress, and the reason if it was stopped."""

from __future__ import annotations

import collections
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from etchmark import settings
from etchmark.evaluation.collect import RunFolder, one_line
from etchmark.evaluation.model_environment import environment_of_model
from etchmark.evaluation.options import Limits, Options
from etchmark.evaluation.process import Ending, Supervised, bounded

LAST_LINE_BYTES = 4096
LOG_FILE_BYTES = 64 << 20


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


class _Printed:
    """Passes on what a model prints: to its log, and line by line to whoever listens."""

    def __init__(self, log: IO[bytes] | None, echo: Callable[[str], None] | None) -> None:
        self._log, self._logged, self._lines = log, 0, _Lines(echo)

    def __call__(self, piece: bytes) -> None:
        if not piece:
            self._lines.close()
            return
        self._lines.add(piece)
        if self._log is not None and self._logged < LOG_FILE_BYTES:
            self._logged += len(piece)
            # Also closed by now, or the disk is full: the model goes on.
            with suppress(OSError, ValueError):
                self._log.write(piece)


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
    results, limits = folder.result_files(), bounded(options.limits)
    child = Supervised(
        [sys.executable, "-m", "etchmark.evaluation.worker", str(folder.root)],
        environment_of_model(features=features),
        who="the model",
        token=folder.run["token"],
        folder=folder.root,
        listener=_Printed(log, options.echo),
    )
    try:
        with _bar(len(results), options.progress, child.output.pieces) as advance:

            def tick() -> None:
                advance(sum(path.is_file() for path in results))

            outcome = child.run(limits, tick=tick)
    finally:
        child.end()
    return _stopped(outcome.ending, limits), child.output.text()


def _stopped(ending: Ending, limits: Limits) -> str | None:
    """Why a model was stopped, if it was."""
    if ending is Ending.OUT_OF_TIME:
        return f"ran out of time: more than {limits.seconds:g} s"
    if ending is Ending.OUT_OF_MEMORY:
        return f"ran out of memory: more than {(limits.memory_bytes or 0) / 2**30:.3g} GiB"
    return None


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
