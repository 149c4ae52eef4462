"""Where weights come from; and that nothing is ever taken for what it is not."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

pytest.importorskip("safetensors", reason="safetensors (extra `features`) is not installed")
pytest.importorskip("timm", reason="timm (extra `features`) is not installed")

from etchmark import settings
from etchmark.errors import CannotRun
from etchmark.features import weights

NAME = "vit_tiny_patch16_224.some_tag"


def safetensors(path: Path, fill: int = 0) -> Path:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes([fill] * 8))
    return path


def find(given: Path | None = None, local: str | None = None) -> weights.Weights:
    return weights.locate(NAME, path=given, local=local, size=lambda: "about 23 MB")


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "w.safetensors")
    found = find(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.id == f"sha256:{digest}"
    # What goes into a record names no folder of this machine.
    assert found.source == f"w.safetensors, SHA-256 {digest}"
    assert find(safetensors(tmp_path / "other.safetensors", 1)).id != found.id


def test_the_folder_of_weights(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCHMARK_WEIGHTS", str(tmp_path))
    own = safetensors(tmp_path / f"{NAME}.safetensors", 1)
    assert find().path == own
    local = safetensors(tmp_path / "local.safetensors", 2)
    assert find(local="local.safetensors").path == local
    assert find(local="absent.safetensors").path == own
    given = safetensors(tmp_path / "given.safetensors", 3)
    assert find(given, "local.safetensors").path == given


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.bin", b"x", "read from .safetensors files only"),
        ("w.safetensors", b"", "is not a whole safetensors file"),
        ("w.safetensors", b"<html>" * 100, "is not a whole safetensors file"),
        ("w.safetensors", (2).to_bytes(8, "little") + b"[]", "is not a whole safetensors file"),
        ("w.safetensors", (2**62).to_bytes(8, "little") + b"{}", "is not a whole safetensors file"),
        ("absent.safetensors", None, "cannot be read"),
    ],
)
def test_what_is_no_file_of_weights(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CannotRun, match=said):
        find(tmp_path / name)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_cut_short_or_overlong(tmp_path: Path, change: int) -> None:
    path = safetensors(tmp_path / "w.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[:change] if change < 0 else content + b"x")
    with pytest.raises(CannotRun, match="is not a whole safetensors file"):
        find(path)


def test_a_header_of_nonsense(tmp_path: Path) -> None:
    header = b'{"a": {"data_offsets": "x"}, "b": 3}'
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CannotRun, match="is not a whole safetensors file"):
        find(tmp_path / "w.safetensors")


def test_offline_says_what_where_and_how(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "hub"))
    with pytest.raises(CannotRun) as raised:
        find()
    for part in (NAME, "about 23 MB", "network is off", "ETCHMARK_WEIGHTS", "--weights"):
        assert part in str(raised.value)


def test_a_model_that_the_hub_does_not_have_comes_from_a_file_alone(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusal() -> str:
        with pytest.raises(CannotRun) as caught:
            weights.locate("own", path=None, local="o.safetensors", size=lambda: "about 1 MB")
        return str(caught.value)

    monkeypatch.delenv("ETCHMARK_WEIGHTS", raising=False)
    assert refusal() == (
        "pretrained weights of own (about 1 MB) are read from a file, o.safetensors, which the"
        " folder ETCHMARK_WEIGHTS would hold if it were set; put it there, or name a file with"
        " --weights"
    )
    monkeypatch.setenv("ETCHMARK_WEIGHTS", str(tmp_path))
    assert "which the folder ETCHMARK_WEIGHTS lacks; put it there" in refusal()
    monkeypatch.setenv(settings.IN_MODEL, "1")
    assert refusal().endswith("is not told of; say `takes_weights: true` in its card.yaml")


def test_random_weights_are_named_so() -> None:
    found = weights.random_weights(3)
    assert found.id.startswith("random:3, timm ")
    assert found.path is None
    assert found.source == "random weights, seed 3"


# --- the Hub, as a local server -----------------------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """What the Hub answers for one file of one repository."""

    content = b""
    served: bytes | None = None
    """What comes in place of the content."""
    status = 200
    cut: int | None = None
    """After so many bytes the next answer ends."""
    ranges: ClassVar[list[str | None]] = []

    def _head(self) -> bool:
        names = [f"/timm/{NAME}/resolve/{at}/model.safetensors" for at in ("main", "0" * 40)]
        known = self.path in names
        self.send_response(type(self).status if known else 404)
        if known and type(self).status == 200:
            digest = hashlib.sha256(self.content).hexdigest()
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("X-Linked-Etag", f'"{digest}"')
            self.send_header("ETag", f'"{digest}"')
            self.send_header("X-Linked-Size", str(len(self.content)))
            self.send_header("Content-Length", str(len(self.content)))
        else:
            self.send_header("Content-Length", "0")
        self.end_headers()
        return known and type(self).status == 200

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.ranges.append(wanted)
        content = self.served or self.content
        if wanted is not None:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Length", str(len(content) - start))
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", span)
            self.end_headers()
            self.wfile.write(content[start:])
        elif self._head():
            self.wfile.write(content[: type(self).cut])
            type(self).cut = None

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    from huggingface_hub import constants

    Hub.ranges.clear()
    monkeypatch.setattr(Hub, "content", safetensors(tmp_path / "x.safetensors", 7).read_bytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.delenv("ETCHMARK_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield Hub
    server.shutdown()


def test_the_hub_is_asked_once(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    found = find()
    digest = hashlib.sha256(hub.content).hexdigest()
    assert found.id == f"sha256:{digest}"
    assert found.path is not None
    assert found.path.read_bytes() == hub.content
    assert found.source == f"timm/{NAME} on the Hugging Face Hub, SHA-256 {digest}"
    # From now on it is in the cache, also without a network.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find() == found


def test_the_hub_does_not_have_it(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "status", 404)
    with pytest.raises(CannotRun, match=r"cannot be downloaded from http://127.0.0.1:\d+ \(\w+\)"):
        find()


def test_no_such_host(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise socket.gaierror("no")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(CannotRun, match="no such host"):
        find()


def test_weights_of_other_bytes_than_announced_are_refused(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The Hub's own client takes wrong bytes of the right length."""
    right = hub.content
    monkeypatch.setattr(hub, "served", right[:-1] + bytes([right[-1] ^ 1]))
    with pytest.raises(CannotRun, match="with sha256"):
        find()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    monkeypatch.setattr(hub, "served", None)
    path = find().path
    assert path is not None
    assert path.read_bytes() == right


def test_a_cut_download_goes_on(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub, "cut", 40)
    path = find().path
    assert path is not None
    assert path.read_bytes() == hub.content
    assert hub.ranges == [None, "bytes=40-"]
    # As the Hub's client puts it, which finds it from now on.
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(
        f"timm/{NAME}", "model.safetensors", cache_dir=tmp_path / "cache"
    )
    assert found == str(path)
