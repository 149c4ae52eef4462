"""A process that replies to requests within limits: for one of them, or kept for the next.

The process runs `channel.respond`. It is supervised like every other: a request that takes too
much time or memory ends it with all that it started.
"""

from __future__ import annotations

import atexit
import queue
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etchmark.evaluation import channel
from etchmark.evaluation.options import Limits
from etchmark.evaluation.process import Ending, Outcome, Supervised, resident_bytes

WATCHING = 0.2
"""Share of a core that watching may take: a request lasts seconds, and may ask for much at once."""
GRACE_S = 5.0
"""How long a process that ends may take to say so, or to hand over what it had written."""


class Unanswered(Exception):
    """A request got no reply; the process that it was sent to is ended.

    Attributes:
        outcome: how the process ended.
        output: the end of what it printed during the request.
    """

    def __init__(self, outcome: Outcome, output: str) -> None:
        super().__init__(outcome, output)
        self.outcome, self.output = outcome, output


class Busy(Exception):
    """Other requests were being replied to for as long as this one could wait."""


class Responder:
    """A running process that replies to requests, one at a time; to be ended after use.

    Args:
        command: program and arguments; it calls `channel.respond`.
        environment: all variables that it sees.
        who: is named in the warning about what could not be ended, as in "the scoring".
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, who: str) -> None:
        self.child = Supervised(command, environment, who=who, channel=True)
        self.answered = 0
        self._reusable = True
        # None: there will be no more.
        self._replies: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        try:
            self._reader.start()
        except BaseException:
            self.child.end()
            raise

    def _read(self) -> None:
        stream = self.child.process.stdout
        assert stream is not None  # noqa: S101 (a pipe was asked for)
        with stream, suppress(EOFError, OSError, ValueError):
            channel.skip_to_mark(stream, self.child.token)
            while True:
                self._replies.put(channel.receive(stream))
        self._replies.put(None)

    def ask(self, request: Any, limits: Limits) -> Any:
        """The reply to a request; both are anything that is JSON.

        Args:
            request: what the process is asked.
            limits: wall time from now, and resident memory of the process and all it started.

        Raises:
            Unanswered: it ended or exceeded a limit.
        """
        replies: list[Any] = []

        def replied(seconds: float) -> bool:
            with suppress(queue.Empty):
                replies.append(self._replies.get(timeout=seconds))
            return bool(replies)

        # What was printed before the first request says why a process could not start.
        if self.answered:
            self.child.output.forget()
        # In a thread of its own: a process that does not read would hold up whoever writes.
        threading.Thread(target=self._send, args=(request,), daemon=True).start()
        try:
            ending = self.child.watch(limits, finished=replied, share=WATCHING)
            if ending is Ending.FINISHED and not replies:
                replied(GRACE_S)
        except BaseException:
            self.end()
            raise
        if not replies or not isinstance(replies[0], dict):
            if ending is Ending.FINISHED:
                with suppress(subprocess.TimeoutExpired):
                    self.child.process.wait(GRACE_S)
            self.end()
            raise Unanswered(self.child.outcome(ending), self.child.output.text())
        self.answered += 1
        self._reusable = replies[0].get("reusable") is True
        return replies[0].get("value")

    def _send(self, request: Any) -> None:
        stream = self.child.process.stdin
        assert stream is not None  # noqa: S101 (a pipe was asked for)
        # It may have ended: whoever waits for the reply is told.
        with suppress(OSError, ValueError):
            channel.send(stream, request)

    def is_fit(self, kept_bytes: int) -> bool:
        """Whether the process may be given another request.

        Args:
            kept_bytes: resident memory that it may have kept from earlier requests.
        """
        if not self._reusable or not self.child.runs():
            return False
        # Whatever a request started and left behind is ended with the process.
        processes = self.child.processes()
        return len(processes) == 1 and resident_bytes(processes) <= kept_bytes

    def end(self) -> None:
        """End the process and everything that it started."""
        self.child.end()
        self._reader.join(GRACE_S)
        stream = self.child.process.stdin
        if stream is not None:
            with suppress(OSError):
                stream.close()

    def __enter__(self) -> Responder:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


@dataclass(frozen=True)
class Keeping:
    """How long a process is kept.

    Attributes:
        requests: that one process replies to.
        kept_bytes: resident memory that it may keep between requests.
        wait_seconds: that a request waits for those before it.
    """

    requests: int = 50
    kept_bytes: int = 1 << 30
    wait_seconds: float = 60.0


class KeptResponder:
    """A process that is kept for the next request, and replaced once it may not reply to it.

    It is started on the first request, and replaced after so many of them, after it ended or
    exceeded a limit, when a request left a process or much memory behind, and when what it depends
    on has changed. It ends with this process. May be used by several threads: they take turns.

    Args:
        command: program and arguments; it calls `channel.respond`.
        who: is named in the warning about what could not be ended.
        environment: gives all variables that the process sees.
        state: gives what else it depends on, beside these and the working directory.
        keeping: how long a process is kept.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        who: str,
        environment: Callable[[], Mapping[str, str]],
        state: Callable[[], object] = lambda: None,
        keeping: Keeping = Keeping(),
    ) -> None:
        self._command, self._who, self._keeping = command, who, keeping
        self._environment, self._state = environment, state
        self._turn = threading.Lock()
        self._responder: Responder | None = None
        self._started_with: object = None

    @property
    def pid(self) -> int | None:
        """Of the process that is kept at this moment; None if there is none."""
        responder = self._responder
        return None if responder is None else responder.child.process.pid

    def ask(self, request: Any, limits: Limits) -> Any:
        """The reply to a request; see `Responder.ask`.

        Raises:
            Busy: others had their turn for too long.
            Unanswered: the process ended or exceeded a limit; the next request gets a new one.
        """
        if not self._turn.acquire(timeout=self._keeping.wait_seconds):
            raise Busy
        try:
            responder = self._fit()
            try:
                return responder.ask(request, limits)
            finally:
                used_up = responder.answered >= self._keeping.requests
                if used_up or not responder.is_fit(self._keeping.kept_bytes):
                    self.end()
        finally:
            self._turn.release()

    def _fit(self) -> Responder:
        """The process that is kept, or a new one if it may not reply to another request."""
        environment = self._environment()
        state = (environment, _working_directory(), self._state())
        if self._responder is not None and (
            self._started_with != state or not self._responder.is_fit(self._keeping.kept_bytes)
        ):
            self.end()
        if self._responder is None:
            self._responder = Responder(self._command, environment, who=self._who)
            self._started_with = state
            atexit.register(self.end)
        return self._responder

    def end(self) -> None:
        """End the process that is kept, if there is one; the next request starts another."""
        responder, self._responder = self._responder, None
        atexit.unregister(self.end)
        if responder is not None:
            responder.end()


def _working_directory() -> Path | None:
    """None if it was removed meanwhile."""
    with suppress(FileNotFoundError):
        return Path.cwd()
    return None
