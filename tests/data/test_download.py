"""Downloads from a remote, against a server on this machine."""

from __future__ import annotations

import functools
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from etchmark.catalog import catalog
from etchmark.data import building
from etchmark.data.download import download
from etchmark.data.loading import find_config, read_manifest
from etchmark.errors import UserError

CONFIG = "scalar-mini"


@dataclass
class Remote:
    folder: Path
    url: str
    asked: list[str] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.folder / "toy" / CONFIG

    def shard(self, split: str) -> Path:
        return self.config / "data" / f"{split}-00000-of-00001.parquet"


@pytest.fixture
def remote(toy_content: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    """Serves a build of the toy; the hub folder is empty."""
    folder = tmp_path / "remote"
    building.build(catalog(), "toy", CONFIG, building.BuildOptions(out=folder / "toy" / CONFIG))
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            asked.append(self.path)

    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("ETCHMARK_REMOTE", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("ETCHMARK_OFFLINE", "0")
    yield Remote(folder, f"http://127.0.0.1:{server.server_port}", asked)
    server.shutdown()
    server.server_close()


def test_a_whole_config(remote: Remote, home: Path) -> None:
    got = download(catalog(), "toy")
    assert got.origin == f"downloaded from {remote.url}"
    assert got.folder == home / "datasets" / "toy" / CONFIG == find_config(catalog(), "toy", CONFIG)
    assert got.manifest == read_manifest(remote.config)
    assert [path.read_bytes() for path in got.files] == [
        remote.shard(split).read_bytes() for split in ("train", "test", "hard")
    ]
    before = len(remote.asked)
    assert download(catalog(), "toy").origin == "already on this machine"
    assert len(remote.asked) == before


def test_one_split(remote: Remote, tmp_path: Path) -> None:
    got = download(catalog(), "toy", split="test", out=tmp_path / "out")
    assert [path.name for path in got.files] == ["test-00000-of-00001.parquet"]
    assert got.files[0].is_relative_to(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["data", "manifest.json"]
    # A part is not a config: nothing takes it for one.
    assert find_config(catalog(), "toy", CONFIG) is None
    assert not any("train" in path for path in remote.asked)
    download(catalog(), "toy")
    assert sum("/test-" in path for path in remote.asked) == 1


def test_splits_that_do_not_exist(remote: Remote) -> None:
    with pytest.raises(
        UserError, match=r"unknown split 'tset' of toy:scalar-mini; choose from: train"
    ):
        download(catalog(), "toy", split="tset")
    with pytest.raises(UserError, match="unknown config of toy"):
        download(catalog(), "toy", "huge")
    assert remote.asked == []


def test_damage_is_noticed_and_repaired_by_downloading_again(remote: Remote) -> None:
    shard = remote.shard("test")
    good = shard.read_bytes()
    shard.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(UserError, match=r"test-.*parquet: SHA-256 differs from its manifest"):
        download(catalog(), "toy")
    shard.write_bytes(good[:-10])
    with pytest.raises(UserError, match="SHA-256 differs"):
        download(catalog(), "toy")
    shard.write_bytes(good + b"x" * 100)
    with pytest.raises(UserError, match=f"is longer than the {len(good)} bytes"):
        download(catalog(), "toy")
    shard.unlink()
    with pytest.raises(
        UserError, match=r"cannot be downloaded \(HTTP 404\); check ETCHMARK_REMOTE"
    ):
        download(catalog(), "toy")
    assert find_config(catalog(), "toy", CONFIG) is None
    shard.write_bytes(good)
    download(catalog(), "toy")
    # What had come whole was not fetched again.
    assert sum("/train-" in path for path in remote.asked) == 1


@pytest.mark.parametrize("text", ["<html>", "{}", ""])
def test_a_remote_that_serves_something_else(remote: Remote, text: str) -> None:
    (remote.config / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest.json: "):
        download(catalog(), "toy")
    assert find_config(catalog(), "toy", CONFIG) is None


def test_a_remote_whose_manifest_is_not_its_content(remote: Remote) -> None:
    path = remote.config / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"fingerprint": "0" * 64}))
    with pytest.raises(UserError, match="does not match the fingerprint"):
        download(catalog(), "toy")
    path.write_text(json.dumps(manifest | {"config": "fields-mini"}))
    with pytest.raises(UserError, match=r"serves toy:fields-mini; check ETCHMARK_REMOTE"):
        download(catalog(), "toy")
    manifest["files"][0]["path"] = "../../../escaped.parquet"
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="not a plain relative path"):
        download(catalog(), "toy")
    assert find_config(catalog(), "toy", CONFIG) is None


def test_remotes_that_cannot_be_reached(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("http://127.0.0.1:9/", "nonsense", "file:///etc"):
        monkeypatch.setenv("ETCHMARK_REMOTE", url)
        with pytest.raises(UserError, match=r"cannot be downloaded .*check ETCHMARK_REMOTE"):
            download(catalog(), "toy")


def test_offline(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCHMARK_OFFLINE", "1")
    with pytest.raises(UserError, match="ETCHMARK_OFFLINE is set"):
        download(catalog(), "toy")
    assert remote.asked == []


def test_without_a_remote_it_is_built(toy_content: Path, tmp_path: Path) -> None:
    got = download(catalog(), "toy", out=tmp_path / "out")
    assert got.origin.startswith("built from source")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "data",
        "manifest.json",
        "README.md",
    }
    assert read_manifest(tmp_path / "out") == got.manifest


def test_a_builder_that_makes_all_splits_at_once_says_so(
    toy_content: Path, command: Callable[..., Any]
) -> None:
    out = command("download", "toy", "--split", "test").fine()
    assert re.search(r"toy:scalar-mini: built from source in \d+ s, all splits at once \(", out)
    assert [line for line in out.splitlines() if line.endswith(".parquet")] == [
        str(building.hub_folder("toy", CONFIG) / "data" / "test-00000-of-00001.parquet")
    ]
    assert "all splits at once" not in command("download", "toy:fields-mini").fine()


def test_a_folder_that_cannot_be_written(toy_content: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is not a folder; give another --out"):
        download(catalog(), "toy", out=tmp_path / "file")
    with pytest.raises(UserError, match="cannot be written"):
        download(catalog(), "toy", out=tmp_path / "file" / "below")


def test_a_build_that_was_damaged(toy_content: Path) -> None:
    got = download(catalog(), "toy")
    content = bytearray(got.files[0].read_bytes())
    content[50] ^= 1
    got.files[0].write_bytes(content)
    with pytest.raises(UserError, match="missing or damaged; rebuild with"):
        download(catalog(), "toy")
    shutil.rmtree(got.folder)
    assert download(catalog(), "toy").manifest == got.manifest


def test_what_the_command_says(remote: Remote, command, tmp_path: Path) -> None:
    out = command("download", "toy-line", "--split", "test", "--out", tmp_path / "o").fine()
    assert "track features of toy-line@1; other tracks: kinds (--track)" in out
    assert f"toy:scalar-mini: downloaded from {remote.url}; SHA-256 verified" in out
    assert out.splitlines()[-1] == str(tmp_path / "o" / "data" / "test-00000-of-00001.parquet")
    assert "unknown split" in command("download", "toy", "--split", "no").refusal()
    assert "drop --track" in command("download", "toy", "--track", "kinds").refusal()
    assert "unknown benchmark or dataset" in command("download", "tay").refusal()
    assert "unknown config of toy" in command("download", "toy:no").refusal()
