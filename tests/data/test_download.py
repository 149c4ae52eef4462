"""Downloads from a remote, against a server on this machine."""

from __future__ import annotations

import base64
import errno
import functools
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from servers import Behaviour, Handler, Server, cut, gated, moved, ok, other, serving, status

from etchmark.catalog import Catalog, catalog
from etchmark.data import building, transfer
from etchmark.data import download as downloads
from etchmark.data.loading import find_config, read_manifest
from etchmark.errors import UserError

CONFIG = "scalar-mini"


def download(
    content: Catalog, dataset: str, config: str | None = None, **options: Any
) -> downloads.Downloaded:
    return downloads.download(content, dataset, config, downloads.Options(**options))


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
    size = len(good)
    with pytest.raises(UserError, match=rf"test-.*parquet: expected {size} bytes .* got {size}"):
        download(catalog(), "toy")
    shard.write_bytes(good[:-10])
    with pytest.raises(UserError, match=f"got {size - 10} bytes .*check ETCHMARK_REMOTE"):
        download(catalog(), "toy")
    shard.write_bytes(good + b"x" * 100)
    with pytest.raises(UserError, match=f"got more than {size} bytes"):
        download(catalog(), "toy")
    shard.unlink()
    with pytest.raises(UserError, match=r"test-.*the server answers 404; check ETCHMARK_REMOTE$"):
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
    monkeypatch.setattr(transfer, "TRIES", 1)
    for url, why in (
        ("http://127.0.0.1:9/", r"cannot be downloaded .*refused.*check ETCHMARK_REMOTE"),
        ("nonsense", "'nonsense' does not begin with https://"),
        ("hf://my org", "'my org' is not the name of an organisation"),
        ("http://[", "is no address"),
        ("file://[abc/x", "is no address"),
        ("file:///tmp/%00", "is not a folder"),
        ("file:///tmp/no/such/folder", "is not a folder"),
        ("file://shared/public", "names a host; write file:///PATH"),
        ("https://host/?sig=abc", "write %3F and %23"),
        ("file:///tmp/a#b", "write %3F and %23"),
    ):
        monkeypatch.setenv("ETCHMARK_REMOTE", url)
        with pytest.raises(UserError, match=why):
            download(catalog(), "toy")


def test_a_remote_that_lacks_a_config(
    remote: Remote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[str] = []
    for url in (remote.url, tmp_path.as_uri()):
        monkeypatch.setenv("ETCHMARK_REMOTE", url)
        got = download(catalog(), "toy", "fields-mini", say=said.append)
        assert got.origin.startswith("built from source")
        assert got.origin.endswith("(ETCHMARK_REMOTE does not have it)")
        assert said.pop() == (
            f"toy:fields-mini: is not at {url}/toy/fields-mini, so it is built here"
        )
        shutil.rmtree(got.folder)


def test_a_folder_is_a_remote(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCHMARK_REMOTE", remote.folder.as_uri())
    monkeypatch.setenv("ETCHMARK_OFFLINE", "1")
    said: list[str] = []
    got = download(catalog(), "toy", say=said.append)
    assert got.manifest == read_manifest(remote.config)
    assert remote.asked == []
    (line,) = said
    size = sum(file.bytes for file in got.manifest.files)
    assert line == (
        f"toy:scalar-mini: fetching 3 files, {size / 1000:.1f} kB, from {remote.folder.as_uri()}"
    )
    remote.shard("test").write_bytes(b"other")
    shutil.rmtree(got.folder)
    with pytest.raises(UserError, match="got 5 bytes"):
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


# --- under fire --------------------------------------------------------------------------------


@dataclass
class Fire:
    """A server of a build whose answers a test writes, and the names of its files."""

    server: Server
    files: dict[str, str]

    def answers(self, split: str, *behaviours: Behaviour) -> str:
        """Let the next requests for a split be answered otherwise."""
        path = self.files[split]
        self.server.add(path, self.server.content[path], *behaviours)
        return path


@pytest.fixture
def fire(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fire]:
    """The build of ``remote`` served by a server whose answers can be changed."""
    paths = {file.split: f"toy/{CONFIG}/{file.path}" for file in read_manifest(remote.config).files}
    paths["manifest"] = f"toy/{CONFIG}/manifest.json"
    monkeypatch.setattr(transfer, "BACKOFF_CAP_S", 0.01)
    with serving(Server()) as server:
        for path in paths.values():
            server.add(path, (remote.folder / path).read_bytes())
        monkeypatch.setenv("ETCHMARK_REMOTE", server.host)
        yield Fire(server, paths)


def test_a_remote_that_fails_now_and_then(fire: Fire, remote: Remote) -> None:
    train = fire.answers("train", status(503), cut(1000), status(429, Retry_After="0"), cut(700))
    fire.answers("test", cut(1), other(b"<html>log in</html>"))
    fire.answers("manifest", status(500), cut(40))
    got = download(catalog(), "toy")
    assert [path.read_bytes() for path in got.files] == [
        remote.shard(split).read_bytes() for split in ("train", "test", "hard")
    ]
    ranges = [hit.range for hit in fire.server.hits_of(train)]
    assert ranges == [None, None, "bytes=1000-", "bytes=1000-", "bytes=1700-"]


def test_a_download_goes_on_after_a_remote_was_down(fire: Fire, remote: Remote) -> None:
    train = fire.answers("train", cut(1000), *[status(503)] * 4)
    with pytest.raises(UserError, match=r"train.* \(the server answered 503 \(5 tries\)\); try"):
        download(catalog(), "toy")
    assert find_config(catalog(), "toy", CONFIG) is None
    fire.server.log.clear()
    download(catalog(), "toy")
    assert [hit.range for hit in fire.server.hits_of(train)] == ["bytes=1000-"]
    assert fire.server.hits_of(fire.files["test"]) == []


def test_another_host_may_have_the_files(fire: Fire, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = fire.server.content[fire.files["test"]]
    with serving(Server()) as elsewhere:
        elsewhere.add("good", shard)
        elsewhere.add("bad", b"x" * len(shard))
        fire.answers("test", *[moved(f"{elsewhere.host}/bad")] * 2)
        with pytest.raises(UserError, match="altered in transit"):
            download(catalog(), "toy")
        fire.answers("test", moved(f"{elsewhere.host}/good"))
        download(catalog(), "toy")
    circle = moved(f"{fire.server.host}/{fire.files['test']}")
    fire.answers("test", *[circle] * 99)
    shutil.rmtree(building.hub_folder("toy", CONFIG))
    with pytest.raises(UserError, match=r"redirects.*check ETCHMARK_REMOTE"):
        download(catalog(), "toy")


def test_a_packed_answer_is_not_unpacked(fire: Fire) -> None:
    """64 MB of zeros are 64 kB when packed; nobody asked for that."""
    bomb = gzip.compress(bytes(64 << 20))

    def packed(handler: Handler, content: bytes) -> None:
        handler.head(200, len(bomb), Content_Encoding="gzip")
        handler.body(bomb)

    fire.answers("manifest", *[packed] * 9)
    tracemalloc.start()
    with pytest.raises(UserError, match="is not a dataset manifest"):
        download(catalog(), "toy")
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_the_manifest_of_another_release_is_refused_at_once(
    fire: Fire, toy_content: Path, command: Callable[..., Any]
) -> None:
    command("build", "toy", "--config", CONFIG, "--freeze", "--out", toy_content / "b").fine()
    path = fire.files["manifest"]
    stale = json.loads(fire.server.content[path]) | {"fingerprint": "0" * 64}
    fire.server.add(path, json.dumps(stale).encode())
    with pytest.raises(UserError, match=r"of another release .*000000000000….*update etchmark"):
        download(catalog(), "toy")
    assert {hit.path for hit in fire.server.hits} == {path}


def test_rows_of_one_split_are_compared_with_the_release(
    fire: Fire, toy_content: Path, command: Callable[..., Any]
) -> None:
    """The fingerprint of a config says nothing of one split; the frozen rows do."""
    command("build", "toy", "--config", CONFIG, "--freeze", "--out", toy_content / "b").fine()
    shard, manifest = fire.files["test"], fire.files["manifest"]
    table = pq.read_table(io.BytesIO(fire.server.content[shard]))
    stream = io.BytesIO()
    pq.write_table(table.slice(1), stream)
    listed = json.loads(fire.server.content[manifest])
    for file in listed["files"]:
        if file["split"] == "test":
            content = stream.getvalue()
            digest = hashlib.sha256(content).hexdigest()
            file |= {"sha256": digest, "bytes": len(content), "rows": len(table) - 1}
    fire.server.add(shard, stream.getvalue())
    fire.server.add(manifest, json.dumps(listed).encode())
    with pytest.raises(UserError, match=r"is not the released config: 1 rows differ \(test"):
        download(catalog(), "toy", split="test")


def test_a_disk_that_is_full_in_the_middle(fire: Fire, monkeypatch: pytest.MonkeyPatch) -> None:
    receive = transfer._Run.receive

    def full(self: Any, answer: Any, file: transfer.Wanted) -> tuple[int, str]:
        if "test-" in file.url:
            file.part.write_bytes(answer.read(700))
            raise OSError(errno.ENOSPC, "No space left on device", str(file.part))
        return receive(self, answer, file)

    monkeypatch.setattr(transfer._Run, "receive", full)
    with pytest.raises(UserError, match=r"No space left on device.*free space"):
        download(catalog(), "toy")
    assert find_config(catalog(), "toy", CONFIG) is None
    monkeypatch.setattr(transfer._Run, "receive", receive)
    download(catalog(), "toy")
    assert fire.server.hits_of(fire.files["test"])[-1].range == "bytes=700-"


def test_a_password_is_sent_and_not_shown(fire: Fire, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str | None] = []

    def watched(handler: Handler, content: bytes) -> None:
        sent.append(handler.headers.get("Authorization"))
        ok(handler, content)

    fire.answers("test", watched)
    url = fire.server.host.replace("http://", "http://me:s3%40cret@")
    monkeypatch.setenv("ETCHMARK_REMOTE", url)
    said: list[str] = []
    got = download(catalog(), "toy", say=said.append)
    assert sent == ["Basic " + base64.b64encode(b"me:s3@cret").decode()]
    assert "s3" not in f"{said} {got.origin}"
    assert got.origin == f"downloaded from {fire.server.host}"


def test_what_else_lies_in_an_unfinished_download_is_not_kept(
    fire: Fire, home: Path, tmp_path: Path
) -> None:
    download(catalog(), "toy", split="test")
    part = home / "datasets" / "toy" / f".{CONFIG}.part"
    (part / "data" / "old-00000-of-00001.parquet").write_bytes(b"of an older release")
    (part / "junk.txt").write_text("junk")
    got = download(catalog(), "toy", out=tmp_path / "out")
    folder = home / "datasets" / "toy" / CONFIG
    assert {p.name for p in folder.iterdir()} == {"data", "manifest.json", "README.md"}
    assert len(list((folder / "data").iterdir())) == 3
    assert (tmp_path / "out" / "README.md").read_text().startswith("---\npretty_name")
    assert len(got.files) == 3


def test_a_pipe_is_no_file_of_a_remote(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    (remote.config / "manifest.json").unlink()
    os.mkfifo(remote.config / "manifest.json")
    monkeypatch.setenv("ETCHMARK_REMOTE", remote.folder.as_uri())
    with pytest.raises(UserError, match="is not an ordinary file"):
        download(catalog(), "toy")


def test_a_manifest_that_lists_a_file_twice(fire: Fire) -> None:
    path = fire.files["manifest"]
    manifest = json.loads(fire.server.content[path])
    manifest["files"].append(manifest["files"][0])
    fire.server.add(path, json.dumps(manifest).encode())
    with pytest.raises(UserError, match="is listed twice"):
        download(catalog(), "toy")


def test_a_file_that_is_no_table(fire: Fire) -> None:
    manifest = json.loads(fire.server.content[fire.files["manifest"]])
    for file in manifest["files"]:
        if file["split"] == "test":
            file |= {"sha256": hashlib.sha256(b"no table").hexdigest(), "bytes": 8}
    fire.server.add(fire.files["test"], b"no table")
    fire.server.add(fire.files["manifest"], json.dumps(manifest).encode())
    with pytest.raises(UserError, match="does not match the fingerprint"):
        download(catalog(), "toy")


def test_two_processes_download_once(fire: Fire, home: Path) -> None:
    fire.answers("train", gated)
    code = "from etchmark.commands.main import main; main(['download', 'toy'])"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    deadline = time.monotonic() + 20
    while not fire.server.busy and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    fire.server.gate.set()
    said = []
    for child in children:
        out, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
        said.append(re.search(r"scalar-mini: (downloaded|already)", out).group(1))  # pyright: ignore[reportOptionalMemberAccess]
    assert sorted(said) == ["already", "downloaded"]
    assert sorted(hit.path for hit in fire.server.hits) == sorted(fire.files.values())


# --- the Hugging Face Hub ----------------------------------------------------------------------


@pytest.fixture
def hub(fire: Fire, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The Hub, as far as downloads go: the newest commit of a repository, and its files."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    with serving(Server()) as server:
        server.add("api/datasets/lab/toy/revision/main", json.dumps({"sha": commit}).encode())
        for path in fire.files.values():
            place = f"datasets/lab/toy/resolve/{commit}/{path.removeprefix('toy/')}"
            # The Hub sends to where its large files lie.
            server.add(place, b"", *[moved(f"{fire.server.host}/{path}")] * 99)
        monkeypatch.setenv("HF_ENDPOINT", server.host)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        monkeypatch.setenv("ETCHMARK_REMOTE", "hf://lab")
        yield server


def test_the_hub_is_read_at_one_commit(hub: Server, fire: Fire, remote: Remote) -> None:
    tokens: list[str | None] = []

    def watched(handler: Handler, content: bytes) -> None:
        tokens.append(handler.headers.get("Authorization"))
        ok(handler, content)

    fire.answers("test", watched)
    info = "api/datasets/lab/toy/revision/main"
    hub.add(info, hub.content[info], watched)
    got = download(catalog(), "toy")
    assert got.origin == "downloaded from hf://lab/toy at commit 0123456789ab"
    assert got.manifest == read_manifest(remote.config)
    # The token is for the Hub, not for where it sends to.
    assert tokens == ["Bearer hf_secret", None]


def test_a_repository_that_the_hub_does_not_have(
    hub: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = "api/datasets/lab/toy/revision/main"
    hub.add(info, b"", *[status(401), status(404)])
    # A token that the Hub refuses is a mistake; to others it does not say what there is.
    with pytest.raises(UserError, match="answers 401; check ETCHMARK_REMOTE, or log in"):
        download(catalog(), "toy")
    said: list[str] = []
    got = download(catalog(), "toy", say=said.append)
    assert got.origin.startswith("built from source")
    shutil.rmtree(got.folder)
    hub.add(info, b"", status(401))
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    download(catalog(), "toy", say=said.append)
    assert said == [
        "toy:scalar-mini: is not at hf://lab/toy, so it is built here",
        "toy:scalar-mini: is not at hf://lab/toy (or is private, and nobody is logged in), so it is"
        " built here",
    ]


def test_a_hub_that_answers_something_else(hub: Server) -> None:
    info = "api/datasets/lab/toy/revision/main"
    for content in (b"<html>", b"[]", b'{"sha": "../main"}', b'{"sha": null}', b"[" * 200_000):
        hub.add(info, content)
        with pytest.raises(UserError, match="names no commit; check HF_ENDPOINT"):
            download(catalog(), "toy")
