"""Files of which a source publishes an MD5 and no size; the rest is tested with the sources."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server, cut, endless, refuse_range, serving, until_close

from etchmark.data import transfer
from etchmark.errors import UserError

CONTENT = bytes(range(256)) * 2000
OPTIONS = transfer.Options("a setting", "ask somebody else", backoff_s=0.001, progress=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(Server()) as server:
        yield server


def wanted(server: Server, folder: Path) -> transfer.Wanted:
    digest = hashlib.md5(CONTENT).hexdigest()
    return transfer.Wanted(f"{server.host}/data", folder / "data", digest, None, "md5")


@pytest.mark.parametrize("behaviours", [(), (until_close,), (cut(1000), cut(70_000))])
def test_a_file_of_unknown_size_comes_whole(server: Server, tmp_path: Path, behaviours) -> None:
    server.add("data", CONTENT, *behaviours)
    file = wanted(server, tmp_path)
    transfer.fetch([file], OPTIONS)
    assert file.path.read_bytes() == CONTENT
    assert not file.part.exists()
    offsets = [hit.range for hit in server.hits_of("data")]
    cuts = [None, "bytes=1000-", "bytes=71000-"]
    assert offsets == (cuts if len(behaviours) == 2 else [None] * (1 + len(behaviours)))


def test_what_a_killed_process_left_whole_is_fetched_afresh(server: Server, tmp_path: Path) -> None:
    server.add("data", CONTENT, refuse_range)
    file = wanted(server, tmp_path)
    file.part.write_bytes(CONTENT)
    transfer.fetch([file], OPTIONS)
    assert file.path.read_bytes() == CONTENT


def test_an_endless_file_of_unknown_size_is_left(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "LARGEST", 200_000)
    server.add("data", CONTENT, endless, endless)
    file = wanted(server, tmp_path)
    said = "expected a file with md5 .*, got more than 200000 bytes with md5 .*ask somebody else"
    with pytest.raises(UserError, match=said):
        transfer.fetch([file], OPTIONS)
    assert not list(tmp_path.iterdir())
