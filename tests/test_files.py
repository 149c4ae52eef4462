"""Files are whole or absent."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

import pytest

from etchmark import files


def test_a_written_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder" / "file.txt"
    files.write_text(path, "eins")
    files.write_text(path, "zwei µ")
    assert path.read_text(encoding="utf-8") == "zwei µ"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_bytes(path, b"old")

    def fail() -> None:
        with files.replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_temporary_file_that_was_never_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), files.replacing(tmp_path / "file"):
        pass
    assert not list(tmp_path.iterdir())


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([value]) * 50_000 for value in range(8)]
    threads = [threading.Thread(target=files.write_bytes, args=(path, one)) for one in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_json_is_strict_and_readable(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    files.write_json(path, {"quantity": "Härte", "value": 1.5})
    assert json.loads(path.read_text(encoding="utf-8")) == {"quantity": "Härte", "value": 1.5}
    assert "Härte" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError):
        files.write_json(path, {"value": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8"))["value"] == 1.5


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 100_000)
    assert files.sha256_of(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()
