"""Uploads are kept for a day, under a token that leads nowhere else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from etchmark.errors import UserError
from etchmark.registry.store import Store
from etchmark.submission.uploads import ABANDONED_SECONDS, SECONDS, Upload, Uploads, uploads_of

MINE = Upload({"name": "mïne 😀", "card": {"authors": ["Ada"]}}, b"id,prediction\n\x00\xff\n")


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "uploads")


def aged(uploads: Uploads, path: Path, seconds: float) -> None:
    """Let a file be older than it is."""
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def newest(uploads: Uploads, known: set[Path]) -> Path:
    """The file that was added to those known."""
    (path,) = set(uploads.folder.iterdir()) - known
    return path


def test_what_is_kept_is_given_back_byte_by_byte(uploads: Uploads) -> None:
    token = uploads.keep(MINE)
    assert uploads.get(token) == MINE
    assert Uploads(uploads.folder).get(token) == MINE, "another server reads it, too"
    uploads.remove(token)
    assert uploads.get(token) is None
    assert list(uploads.folder.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_nobody_else_can_look_at_them(uploads: Uploads) -> None:
    token = uploads.keep(MINE)
    assert stat.S_IMODE(uploads.folder.stat().st_mode) == 0o700
    (path,) = uploads.folder.iterdir()
    assert token not in path.name, "who lists the folder learns no token"
    uploads.folder.chmod(0o777)
    Uploads(uploads.folder)
    assert stat.S_IMODE(uploads.folder.stat().st_mode) == 0o700


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_a_folder_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "uploads").symlink_to(tmp_path / "theirs")
    with pytest.raises(UserError, match="belongs to somebody else"):
        Uploads(tmp_path / "uploads")


def test_tokens_cannot_be_guessed_from_each_other(uploads: Uploads) -> None:
    tokens = {uploads.keep(MINE) for _ in range(20)}
    assert len(tokens) == 20
    assert {len(token) for token in tokens} == {43}, "256 bits"


@pytest.mark.parametrize(
    "token", ["", "../secret", "x" * 43, "x" * 42, "x" * 44, "é" * 43, "/" * 43, "a" * 42 + "\n"]
)
def test_a_wrong_token_finds_and_removes_nothing(uploads: Uploads, token: str) -> None:
    secret = uploads.folder.parent / "secret"
    secret.write_bytes(b'{"name": "theirs"}\nsecret')
    uploads.keep(MINE)
    assert uploads.get(token) is None
    uploads.remove(token)
    assert secret.is_file()
    assert len(list(uploads.folder.iterdir())) == 1


def test_after_a_day_it_is_gone(uploads: Uploads) -> None:
    token = uploads.keep(MINE)
    (path,) = uploads.folder.iterdir()
    aged(uploads, path, SECONDS - 60)
    uploads.sweep()
    assert uploads.get(token) == MINE
    aged(uploads, path, SECONDS + 60)
    assert uploads.get(token) is None, "even where nobody has swept"
    assert path.exists()
    other = uploads.keep(MINE)
    assert not path.exists()
    assert uploads.get(other) == MINE


def test_the_oldest_make_room(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "uploads", total_bytes=350)
    tokens: list[str] = []
    for age in (30, 20, 10):
        known = set(uploads.folder.iterdir())
        tokens.append(uploads.keep(Upload({}, b"x" * 97)))
        aged(uploads, newest(uploads, known), age)
    assert all(uploads.get(token) for token in tokens)
    tokens.append(uploads.keep(Upload({}, b"x" * 97)))
    assert [uploads.get(token) is not None for token in tokens] == [False, True, True, True]
    with pytest.raises(UserError, match="400 bytes are more than the 350 there are"):
        uploads.keep(Upload({}, b"x" * 397))
    assert sum(uploads.get(token) is not None for token in tokens) == 3, "refused: nothing goes"


WRITER = """
import os, sys
from pathlib import Path
from etchmark.submission import uploads
os.fsync = lambda descriptor: os._exit(9)
uploads.Uploads(Path(sys.argv[1])).keep(uploads.Upload({}, b"x" * 1000))
"""


def test_a_killed_writer_leaves_no_half_upload(uploads: Uploads) -> None:
    done = subprocess.run([sys.executable, "-c", WRITER, str(uploads.folder)], check=False)
    assert done.returncode == 9
    (left,) = uploads.folder.iterdir()
    assert left.name.endswith(".tmp")
    uploads.sweep()
    assert left.exists(), "somebody may be writing it"
    aged(uploads, left, ABANDONED_SECONDS + 60)
    uploads.sweep()
    assert not left.exists()


def test_a_damaged_upload_is_as_good_as_none(uploads: Uploads) -> None:
    token = uploads.keep(MINE)
    (path,) = uploads.folder.iterdir()
    for content in (b"", b"not json\nx", b"[1]\nx", b"\xff\n"):
        path.write_bytes(content)
        assert uploads.get(token) is None


def test_a_full_disk_is_said(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="not kept for later"):
        uploads.keep(MINE)
    assert list(uploads.folder.iterdir()) == []


def test_where_they_are(
    toy_content: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert uploads_of(Store()).folder == home / "uploads"
    monkeypatch.setenv("ETCHMARK_READ_ONLY", "1")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    folder = uploads_of(Store()).folder
    assert folder.parent == temporary
    assert folder.name.startswith("etchmark-uploads-")
