"""Requests to a child process and its replies: JSON with its length in front, over two pipes.

The child keeps its standard input and output to itself and lets everything else print to standard
error, so that nothing which is printed, by a library in C or by a program that is called, can be
taken for a reply. Replies begin after a mark, the token of the process; what is printed before it
is skipped.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from etchmark import settings
from etchmark.evaluation.process import end_below

_LENGTH = struct.Struct(">Q")
LONGEST_BYTES = 1 << 28
"""The longest message that is accepted."""
_PR_SET_CHILD_SUBREAPER = 36


def mark(token: str) -> bytes:
    """What a child writes before its first reply."""
    return f"\n{token}\n".encode()


# --- messages ----------------------------------------------------------------------------------


def send(stream: IO[bytes], message: Any) -> None:
    """Write a message to an unbuffered stream.

    Raises:
        OSError: nobody reads it any more.
    """
    content = json.dumps(message).encode()
    rest = memoryview(_LENGTH.pack(len(content)) + content)
    while rest:
        rest = rest[stream.write(rest) :]


def receive(stream: IO[bytes]) -> Any:
    """The next message of an unbuffered stream.

    Raises:
        EOFError: there is none, or it breaks off.
        ValueError: what was sent is not a message.
    """
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    if length > LONGEST_BYTES:
        raise ValueError(f"a message of {length} bytes")
    return json.loads(_exactly(stream, length))


def _exactly(stream: IO[bytes], length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        piece = stream.read(min(length - len(content), 1 << 20))
        if not piece:
            raise EOFError
        content += piece
    return bytes(content)


def skip_to_mark(stream: IO[bytes], token: str) -> None:
    """Read an unbuffered stream up to the mark.

    Raises:
        EOFError: it ends before.
    """
    expected, last = mark(token), b""
    while last != expected:
        last = (last + _exactly(stream, 1))[-len(expected) :]


# --- the child ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reply:
    """What a child replies to a request.

    Attributes:
        value: anything that is JSON.
        reusable: whether this process may be given another request.
    """

    value: Any
    reusable: bool = True


def respond(answer: Callable[[Any], Reply]) -> None:
    """Reply to requests, one at a time, until the other side closes the channel or is gone.

    An error that ``answer`` raises ends this process, with its traceback on standard error.
    """
    # Unbuffered: at exit, Python waits for the lock of a buffer that a thread is reading to.
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    if sys.platform == "linux":
        # Orphans of what a request started stay below this process, where they are seen.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)
    replies.write(mark(os.environ[settings.SUPERVISED]))
    pending: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests, pending), daemon=True).start()
    while True:
        reply = answer(pending.get())
        # What was printed belongs to this request, not to the next one.
        sys.stdout.flush()
        send(replies, {"value": reply.value, "reusable": reply.reusable})


def _listen(requests: IO[bytes], pending: queue.SimpleQueue[Any]) -> None:
    """Pass requests on; when the channel is closed, also amid a request, end this process."""
    try:
        while True:
            pending.put(receive(requests))
    except (EOFError, OSError, ValueError):
        end_below()
        os._exit(0)
