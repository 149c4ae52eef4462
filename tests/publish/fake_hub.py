"""The Hugging Face Hub as far as publishing and downloading need it, on this machine.

``faults`` are answers to the next requests whose method and path match: a status, ``"cut"`` (the
connection ends without an answer) or ``"lost"`` (the request is carried out, its answer is lost).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".parquet", ".safetensors")


@dataclass
class Repo:
    """Files of every commit, the newest last."""

    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)

    def commit(self, files: dict[str, bytes]) -> str:
        content = [(path, hashlib.sha1(data).hexdigest()) for path, data in sorted(files.items())]
        name = hashlib.sha1(repr((len(self.commits), content)).encode()).hexdigest()
        self.commits.append((name, files))
        return name

    def at(self, revision: str) -> tuple[str, dict[str, bytes]]:
        if revision == "main":
            return self.commits[-1]
        return next(each for each in self.commits if each[0] == revision)


class FakeHub(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, Repo] = {}
        self.stored: dict[str, bytes] = {}
        self.faults: list[tuple[str, str, int | str]] = []
        # Requests come in parallel, and each fault is the answer to one of them.
        self.one_at_a_time = threading.Lock()
        self.log: list[tuple[str, str]] = []
        self.errors: list[BaseException | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def files(self, name: str) -> dict[str, bytes]:
        """What the newest commit of a repository holds."""
        return self.repos[name].commits[-1][1]

    def next_fault(self, method: str, path: str) -> int | str | None:
        """The fault that answers a request, which is then used up."""
        with self.one_at_a_time:
            for fault in self.faults:
                if fault[0] == method and re.search(fault[1], path):
                    self.faults.remove(fault)
                    return fault[2]
        return None

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(error := sys.exception(), OSError):
            self.errors.append(error)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeHub  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self.handle_one()

    do_POST = do_PUT = do_HEAD = do_GET

    def handle_one(self) -> None:
        body = self.body()
        path = unquote(urlsplit(self.path).path)
        self.server.log.append((self.command, path))
        fault = self.server.next_fault(self.command, path)
        if isinstance(fault, int):
            return self.send(fault, b"{}", Retry_After="0")
        if fault is not None:
            if fault == "lost":
                self.answer(path, body)
            self.close_connection = True
            self.connection.close()
            return None
        status, content, headers = self.answer(path, body)
        return self.send(status, content, **headers)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def answer(self, path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        """Status, content and headers of what is asked for."""
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            self.server.repos.setdefault(name, Repo([("0" * 40, {})]))
            return _json({"url": f"{self.server.url}/datasets/{name}"})
        if path == "/api/validate-yaml":
            return _json({"errors": [], "warnings": []})
        if path.startswith("/store/"):
            self.server.stored[path.removeprefix("/store/")] = body
            return 200, b"", {}
        if path.endswith(".git/info/lfs/objects/batch"):
            return _json({"transfer": "basic", "objects": self.uploads(json.loads(body))})
        file = re.fullmatch(r"(?:/datasets|/spaces)?/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        asked = re.fullmatch(
            r"/api/(?:datasets|models|spaces)/([^/]+/[^/]+)(?:/([a-z-]+)/([^/]+)(?:/(.*))?)?", path
        )
        name = file[1] if file else asked[1] if asked else ""
        if name not in self.server.repos:
            return 404, b"{}", {"X_Error_Code": "RepoNotFound"}
        repo = self.server.repos[name]
        if file:
            commit, files = repo.at(file[2])
            if file[3] not in files:
                return 404, b"", {"X_Error_Code": "EntryNotFound"}
            return self.part(files[file[3]], commit)
        assert asked is not None
        _, what, revision, below = asked.groups()
        if what == "preupload":
            listed = json.loads(body)["files"]
            modes = {f["path"]: "lfs" if f["path"].endswith(LARGE) else "regular" for f in listed}
            answers = [
                {"path": p, "uploadMode": mode, "shouldIgnore": False} for p, mode in modes.items()
            ]
            return _json({"files": answers})
        if what == "commit":
            return self.commit(repo, name, body)
        commit, files = repo.at(revision or "main")
        if what == "paths-info":
            wanted = parse_qs(body.decode())["paths"]
            return _json([_described(p, files[p]) for p in wanted if p in files])
        if what == "tree":
            start = f"{below}/" if below else ""
            return _json([_described(p, files[p]) for p in files if p.startswith(start)])
        siblings = [{"rfilename": p} for p in files]
        info = {"id": name, "sha": commit, "siblings": siblings, "tags": [], "private": False}
        return _json(info | {"downloads": 0, "likes": 0, "disabled": False, "gated": False})

    def uploads(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"oid": each["oid"], "size": each["size"]}
            | (
                {}
                if each["oid"] in self.server.stored
                else {"actions": {"upload": {"href": f"{self.server.url}/store/{each['oid']}"}}}
            )
            for each in wanted["objects"]
        ]

    def commit(self, repo: Repo, name: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        files = dict(repo.commits[-1][1])
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.server.stored[value["oid"]]
            elif operation["key"] == "deletedFile":
                del files[value["path"]]
        oid = repo.commit(files)
        url = f"{self.server.url}/datasets/{name}/commit/{oid}"
        return _json({"commitUrl": url, "commitOid": oid})

    def part(self, content: bytes, commit: str) -> tuple[int, bytes, dict[str, str]]:
        headers = {"X_Repo_Commit": commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            return 200, content, headers
        start, end = int(wanted[1]), int(wanted[2] or len(content) - 1)
        span = f"bytes {start}-{min(end, len(content) - 1)}/{len(content)}"
        return 206, content[start : end + 1], headers | {"Content_Range": span}


def _json(value: Any) -> tuple[int, bytes, dict[str, str]]:
    return 200, json.dumps(value).encode(), {"Content_Type": "application/json"}


def _described(path: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    large = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return {
        "type": "file",
        "path": path,
        "size": len(content),
        "oid": blob,
        **({"lfs": large} if path.endswith(LARGE) else {}),
    }


@contextmanager
def serving() -> Iterator[FakeHub]:
    hub = FakeHub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()
    if hub.errors:
        raise AssertionError(f"the fake Hub failed: {hub.errors!r}")
