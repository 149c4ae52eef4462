"""Runs a process within limits, and ends it with everything that it started.

Whatever may use too much time or memory runs here: a model that is evaluated, and the scoring of
an uploaded file. All processes of a run carry its token in their environment, so that one that has
left its parent, session and process group is still found. A process that is killed cannot end
others, so one that must not outlive its caller watches for the caller's end itself, as
`evaluation.worker` (by a signal) and `evaluation.channel` (by the end of its input) do.
"""

from __future__ import annotations

import collections
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import IO

import psutil

from etchmark import settings
from etchmark.evaluation.options import Limits

END_SECONDS = 10.0
"""How long to keep trying to end what a process started."""
OUTPUT_BYTES = 64 * 1024
"""How much of the end of a process's output is kept."""
POLL_S = 0.05
LONGEST_WAIT_S = 2.0
WATCHING = 0.02
"""Share of a core that watching may take: memory is measured by a walk over all processes."""


# --- how a process ends ------------------------------------------------------------------------


class Ending(Enum):
    """Why a process is no longer watched."""

    FINISHED = "finished"
    OUT_OF_TIME = "out of time"
    OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True)
class Outcome:
    """How a process ended.

    Attributes:
        ending: by itself, or stopped at a limit.
        exit_code: if it was killed, the number of the signal, negated.
        not_ended: processes it started that could not be ended, as ``PID (name)``.
    """

    ending: Ending
    exit_code: int
    not_ended: tuple[str, ...] = ()


def bounded(limits: Limits) -> Limits:
    """Limits with a number for memory: nine tenths of what is available, if none is set."""
    memory = limits.memory_bytes or int(0.9 * psutil.virtual_memory().available)
    return replace(limits, memory_bytes=memory)


# --- the supervisor ----------------------------------------------------------------------------


class Supervised:
    """A running process with everything that it starts.

    Args:
        command: program and arguments.
        environment: all variables that it sees; its token is added.
        who: what the warning about processes that could not be ended calls it, as in "the model".
        token: marks its processes; a new one if None.
        folder: its working directory; that of the caller if None.
        channel: connect its standard input and output to ``process.stdin`` and ``process.stdout``
            of this object. What it prints is then its standard error alone; otherwise it is both.
        listener: is given each piece of what it prints as it comes, and ``b""`` at the end.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        who: str,
        token: str | None = None,
        folder: Path | None = None,
        channel: bool = False,
        listener: Callable[[bytes], None] | None = None,
    ) -> None:
        self.who, self.token = who, token or new_token()
        self.output = Output(listener)
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, settings.SUPERVISED: self.token},
            stdin=subprocess.PIPE if channel else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if channel else subprocess.STDOUT,
            start_new_session=os.name == "posix",
            bufsize=0,
        )
        self._descendants = Descendants(self.process, self.token)
        self._not_ended: tuple[str, ...] | None = None
        printed = self.process.stderr if channel else self.process.stdout
        assert printed is not None  # noqa: S101 (a pipe was asked for)
        self._printed = printed
        self._reader = threading.Thread(target=self.output.drain, args=(printed,), daemon=True)
        try:
            self._reader.start()
        except BaseException:
            self._descendants.end()
            raise

    def run(self, limits: Limits, *, tick: Callable[[], None] | None = None) -> Outcome:
        """Watch the process until it ends or exceeds a limit, then end all that is left of it.

        Args:
            limits: wall time, and resident memory of the whole tree.
            tick: called now and then.
        """
        try:
            ending = self.watch(limits, tick=tick)
        finally:
            # Also reached on Ctrl-C: nothing that was started outlives its caller.
            self.end()
        return self.outcome(ending)

    def watch(
        self,
        limits: Limits,
        *,
        finished: Callable[[float], bool] | None = None,
        tick: Callable[[], None] | None = None,
        share: float = WATCHING,
    ) -> Ending:
        """Wait until the process ends or exceeds a limit; whoever calls this also calls ``end``.

        Args:
            limits: wall time from now, and resident memory of the whole tree.
            finished: waits at most so many seconds for an event that ends the watch early, and
                returns whether it came; if None, waits for the end of the process.
            tick: called now and then.
            share: of a core that watching may take.
        """
        memory = bounded(limits).memory_bytes or 0
        wait = finished or self._exited
        deadline = time.monotonic() + limits.seconds
        while self.process.poll() is None:
            begun = time.monotonic()
            if begun >= deadline:
                return Ending.OUT_OF_TIME
            if _exceeds(self.processes(), memory):
                return Ending.OUT_OF_MEMORY
            if tick is not None:
                tick()
            now = time.monotonic()
            pause = min(max(POLL_S, (now - begun) / share), LONGEST_WAIT_S)
            if wait(max(0.0, min(pause, deadline - now))):
                break
        return Ending.FINISHED

    def _exited(self, seconds: float) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.returncode is not None

    def runs(self) -> bool:
        """Whether the process itself can still do anything.

        One that was killed is no longer running some time before it can be waited for: its threads
        end one by one, the first before the last.
        """
        if self.process.poll() is not None:
            return False
        try:
            return _runs(psutil.Process(self.process.pid))
        except psutil.NoSuchProcess:
            return False

    def processes(self) -> list[psutil.Process]:
        """The process, if it runs, and everything below it."""
        try:
            return self._descendants.look()
        except psutil.NoSuchProcess:
            return []

    def end(self) -> None:
        """End the process and everything that it started; warn of what cannot be ended."""
        if self._not_ended is not None:
            return
        self._not_ended = tuple(self._descendants.end())
        self.process.wait()
        if self._not_ended:
            warnings.warn(
                f"processes that {self.who} started could not be ended:"
                f" {', '.join(self._not_ended)}; end them yourself",
                stacklevel=3,
            )
        # Whatever could not be ended may still hold the other end of the pipe.
        self._reader.join(timeout=5 if not self._not_ended else 0.5)
        if not self._reader.is_alive():
            self._printed.close()

    def outcome(self, ending: Ending) -> Outcome:
        """How it ended; after ``end`` only."""
        return Outcome(ending, self.process.wait(), self._not_ended or ())


class Output:
    """The end of what a process prints, however much that is.

    Args:
        listener: is given each piece as it comes, and ``b""`` at the end.
    """

    def __init__(self, listener: Callable[[bytes], None] | None = None) -> None:
        self.pieces: collections.deque[bytes] = collections.deque()
        self._listener, self._bytes, self._lock = listener, 0, threading.Lock()

    def drain(self, stream: IO[bytes]) -> None:
        """Read an unbuffered stream to its end."""
        while piece := stream.read(65536):
            self._keep(piece)
            if self._listener is not None:
                self._listener(piece)
        if self._listener is not None:
            self._listener(b"")

    def _keep(self, piece: bytes) -> None:
        with self._lock:
            self.pieces.append(piece)
            self._bytes += len(piece)
            while self._bytes - len(self.pieces[0]) > OUTPUT_BYTES:
                self._bytes -= len(self.pieces.popleft())

    def forget(self) -> None:
        """Discard what was kept."""
        with self._lock:
            self.pieces.clear()
            self._bytes = 0

    def text(self) -> str:
        with self._lock:
            return b"".join(self.pieces).decode("utf-8", "replace")


# --- memory ------------------------------------------------------------------------------------


def resident_bytes(processes: Sequence[psutil.Process], *, shared_once: bool = False) -> int:
    """Resident memory of some processes, in bytes.

    Args:
        processes: those that have ended meanwhile count as zero.
        shared_once: divide pages among the processes that share them, as forks do; Linux only.
    """
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if shared_once:
                # A process may forbid the closer look, but not the quick one.
                with suppress(psutil.AccessDenied):
                    total += process.memory_full_info().pss
                    continue
            total += process.memory_info().rss
    return total


def _exceeds(processes: Sequence[psutil.Process], limit: int) -> bool:
    # The quick sum counts shared pages for every process; only if it is too much, look closer.
    if resident_bytes(processes) <= limit:
        return False
    return sys.platform != "linux" or resident_bytes(processes, shared_once=True) > limit


# --- the tree ----------------------------------------------------------------------------------


def new_token() -> str:
    """What marks the processes of one run."""
    return secrets.token_hex(16)


class Descendants:
    """All processes of a run: the one that was started for it, what that started, and so on.

    Args:
        root: the process that was started for the run.
        token: of the run.
    """

    def __init__(self, root: subprocess.Popen[bytes], token: str) -> None:
        self.root, self.token = root, token
        self._seen: set[psutil.Process] = set()

    def look(self) -> list[psutil.Process]:
        """The root and everything below it, remembered in case they lose their parent.

        Raises:
            psutil.NoSuchProcess: the root is gone.
        """
        root = psutil.Process(self.root.pid)
        processes = [root, *root.children(recursive=True)]
        self._seen.update(processes[1:])
        return processes

    def end(self) -> list[str]:
        """End all of them; returns those that cannot be ended, as ``PID (name)``."""
        if self.root.poll() is None:
            with suppress(psutil.NoSuchProcess):
                # While suspended it starts nothing more, but still adopts orphans if it did before.
                psutil.Process(self.root.pid).suspend()
                _kill_until(self._below_root)
            self.root.kill()
        if os.name == "posix":
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.root.pid, signal.SIGKILL)
        # What the root started may have killed it, and then it adopts no orphans.
        return [_described(process) for process in _kill_until(self._left)]

    def _below_root(self) -> Iterator[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            yield from self.look()[1:]

    def _left(self) -> Iterator[psutil.Process]:
        yield from (process for process in self._seen if process.pid != self.root.pid)
        yield from marked(self.token)


def marked(token: str) -> Iterator[psutil.Process]:
    """Processes of this user that were started with a run's token in their environment."""
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with suppress(psutil.Error, OSError):
            if process.environ().get(settings.SUPERVISED) == token:
                yield process


def end_marked(token: str) -> list[str]:
    """End the processes of a run whose caller is gone; returns those that cannot be ended."""
    return [_described(process) for process in _kill_until(lambda: marked(token))]


def end_below() -> None:
    """End everything below this process."""

    def below() -> list[psutil.Process]:
        return psutil.Process().children(recursive=True)

    _kill_until(below)


def _kill_until(find: Callable[[], Iterable[psutil.Process]]) -> list[psutil.Process]:
    """Kill what ``find`` yields until it yields nothing more; returns what outlives that."""
    deadline = time.monotonic() + END_SECONDS
    while alive := [process for process in find() if _runs(process)]:
        if time.monotonic() > deadline:
            return alive
        for process in alive:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(0.005)
    return []


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _described(process: psutil.Process) -> str:
    try:
        return f"{process.pid} ({process.name()})"
    except psutil.Error:
        return str(process.pid)
