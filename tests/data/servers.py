"""A server whose answers a test writes, and servers that fail in ways that were met."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, TypeVar
from urllib.parse import unquote

ENDLESS_CAP_BYTES = 64_000_000
S = TypeVar("S", bound="Server")
Behaviour = Callable[["Handler", bytes], None]


class Hit(NamedTuple):
    path: str
    range: str | None
    status: int
    sent: int


class Server(ThreadingHTTPServer):
    """Serves ``content`` by path; ``script`` gives the behaviours of a path's next requests."""

    daemon_threads = True
    # The default backlog of 5 drops connections when many threads connect at once.
    request_queue_size = 128

    def __init__(self, prefix: str = "/") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.prefix = prefix
        self.content: dict[str, bytes] = {}
        self.script: dict[str, Iterator[Behaviour]] = {}
        self.log: dict[int, Hit] = {}
        self.gate = threading.Event()
        self.busy = self.most_busy = self.started = 0
        self.lock = threading.Lock()

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, path: str, content: bytes, *behaviours: Behaviour) -> None:
        """Publish a file; after the behaviours given it is served as it should be."""
        self.content[path] = content
        self.script[path] = itertools.chain(behaviours, itertools.repeat(ok))

    @property
    def hits(self) -> list[Hit]:
        """The requests that have ended, in the order they came.

        After a moment for one whose answer has just been read.

        An answer can reach the client before this server has noted it.
        """
        deadline = time.monotonic() + 1
        while self.busy and time.monotonic() < deadline:
            time.sleep(0.001)
        with self.lock:
            return [hit for _, hit in sorted(self.log.items())]

    def hits_of(self, path: str) -> list[Hit]:
        return [hit for hit in self.hits if hit.path == path]

    def handle_error(self, request, client_address) -> None:
        pass  # clients that go away are part of the tests


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        prefix = self.server.prefix
        path = unquote(self.path).removeprefix(prefix)
        self.status, self.sent = 0, 0
        with self.server.lock:
            self.server.busy += 1
            self.server.started += 1
            number = self.server.started
            self.server.most_busy = max(self.server.busy, self.server.most_busy)
        try:
            if path in self.server.content and self.path.startswith(prefix):
                with self.server.lock:
                    behaviour = next(self.server.script[path])
                behaviour(self, self.server.content[path])
            else:
                status(404)(self, b"")
        finally:
            with self.server.lock:
                self.server.busy -= 1
                hit = Hit(path, self.headers.get("Range"), self.status, self.sent)
                self.server.log[number] = hit

    def head(self, status: int, length: int | None, **headers: str) -> None:
        self.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is None:
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def body(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()
        self.sent += len(data)

    def start(self) -> int:
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def ok(handler: Handler, content: bytes) -> None:
    start = handler.start()
    if start:
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.head(206, len(content) - start, Content_Range=span)
    else:
        handler.head(200, len(content))
    handler.body(content[start:])


def ignore_range(handler: Handler, content: bytes) -> None:
    handler.head(200, len(content))
    handler.body(content)


def wrong_range(handler: Handler, content: bytes) -> None:
    start = handler.start() - 7
    span = f"bytes {start}-{len(content) - 1}/{len(content)}"
    handler.head(206, len(content) - start, Content_Range=span)
    handler.body(content[start:])


def refuse_range(handler: Handler, content: bytes) -> None:
    handler.head(416, 0)


def endless(handler: Handler, content: bytes) -> None:
    handler.head(200, None)
    while handler.sent < ENDLESS_CAP_BYTES:
        handler.body(b"x" * 65536)


def until_close(handler: Handler, content: bytes) -> None:
    """Half the file, no length, a clean end: the old way, in which a cut cannot be told."""
    handler.head(200, None)
    handler.body(content[: len(content) // 2])


def stall(handler: Handler, content: bytes) -> None:
    handler.head(200, len(content))
    handler.body(content[: len(content) // 2])
    handler.server.gate.wait(20)
    handler.close_connection = True


def drip(handler: Handler, content: bytes) -> None:
    handler.head(200, len(content))
    for start in range(0, len(content), 65536):
        handler.body(content[start : start + 65536])
        time.sleep(0.1)


def cut(after: int) -> Behaviour:
    def behave(handler: Handler, content: bytes) -> None:
        start = handler.start()
        if start:
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.head(206, len(content) - start, Content_Range=span)
        else:
            handler.head(200, len(content))
        handler.body(content[start : start + after])
        handler.hang_up()

    return behave


def other(data: bytes) -> Behaviour:
    def behave(handler: Handler, content: bytes) -> None:
        handler.head(200, len(data))
        handler.body(data)

    return behave


def status(code: int, **headers: str) -> Behaviour:
    return lambda handler, content: handler.head(code, 0, **headers)


def slowly(handler: Handler, content: bytes) -> None:
    time.sleep(0.5)
    ok(handler, content)


def gated(handler: Handler, content: bytes) -> None:
    handler.server.gate.wait(20)
    ok(handler, content)


def moved(url: str) -> Behaviour:
    return status(302, Location=url)


@contextmanager
def serving(server: S) -> Iterator[S]:
    """A server that answers until the test is over."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
