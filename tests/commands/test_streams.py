"""Commands survive whatever stands behind their output, each in a process of its own."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
NAME = "Modell-Ω 模型 é 😀"
CLOSED = "error: standard output cannot be written (it is closed)\n"
FULL = "error: standard output cannot be written (No space left on device)\n"

needs_posix = pytest.mark.skipif(os.name == "nt", reason="descriptors are inherited otherwise")


def shell(script: str, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run ``etchmark`` from a shell script, in which ``"$@"`` is the command."""
    return subprocess.run(
        [
            "/bin/sh",
            "-c",
            script,
            "sh",
            sys.executable,
            "-m",
            "etchmark",
            *map(str, arguments),
        ],
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def board(toy_content: Path, command: Command, toy_predictions: Callable[..., Path]) -> Path:
    """A registry with one submission whose name few encodings hold; its predictions file."""
    path = toy_predictions("first.csv")
    options = ("--protocol", "holdout", "--track", "features")
    command("submit", path, "toy-line", "--name", NAME, *options).fine()
    return path


@needs_posix
@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "cp1252:strict"])
def test_any_encoding(board: Path, encoding: str) -> None:
    name = encoding.partition(":")[0]
    for arguments in (
        ("list",), ("show", "toy-line"), ("leaderboard", "toy-line"), ("submit", "--help"),
        ("leaderboard", "toy-line", "--csv"), ("leaderboard", "toy-line", "--json"),
        ("score", board, "toy-line", "--protocol", "holdout"),
    ):  # fmt: skip
        done = shell('"$@"', *arguments, PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stderr) == (0, b""), (arguments, done.stderr)
        shown = done.stdout.decode(name)
        if "--json" in arguments:
            assert [row["model"] for row in json.loads(shown)] == [NAME]
        if "--csv" in arguments:
            (row,) = csv.DictReader(io.StringIO(shown))
            expected = NAME.encode(name, "backslashreplace").decode(name)
            assert row["model"] == expected
    done = shell('"$@"', "leaderboard", NAME, PYTHONIOENCODING=encoding)
    assert done.returncode == 2
    assert done.stderr.decode(name).startswith("error: unknown benchmark 'Modell-")


COMMANDS = [
    ("list",),
    ("list", "--json"),
    ("leaderboard", "toy-line"),
    ("leaderboard", "toy-line", "--csv"),
    ("list", "--help"),
    ("--version",),
]


@needs_posix
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_closed_streams(board: Path, arguments: tuple[str, ...]) -> None:
    done = shell('"$@" >&-', *arguments)
    assert (done.returncode, done.stderr.decode()) == (1, CLOSED)
    done = shell('"$@" 2>&-', *arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == shell('"$@"', *arguments).stdout
    done = shell('"$@" <&- >&- 2>&-', *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_full_disk(board: Path, arguments: tuple[str, ...]) -> None:
    done = shell('"$@" >/dev/full', *arguments)
    assert (done.returncode, done.stderr.decode()) == (1, FULL)
    done = shell('"$@" 2>/dev/full', *arguments)
    assert (done.returncode, done.stderr) == (0, b"")


@needs_posix
def test_mistakes_keep_their_exit_status(board: Path) -> None:
    for script in ('"$@" >&-', '"$@" 2>&-', '"$@" >/dev/full', '"$@" >&- 2>&-'):
        done = shell(script, "leaderboard", "nowhere")
        assert done.returncode == 2, script
        assert b"Exception" not in done.stderr
        assert b"Traceback" not in done.stderr


@needs_posix
def test_no_file_takes_the_place_of_a_closed_stream(
    board: Path, command: Command, tmp_path: Path
) -> None:
    """SQLite would open its file as descriptor 1 and get what a library prints there."""
    options = ("--protocol", "holdout", "--track", "features")
    done = shell('"$@" <&- >&- 2>&-', "submit", board, "toy-line", "--name", "two", *options)
    assert done.returncode == 1
    rows = json.loads(command("leaderboard", "toy-line", "--json").fine())
    assert sorted(row["model"] for row in rows) == sorted([NAME, "two"])
    log = tmp_path / "log.txt"
    code = "import sys; from etchmark.commands.streams import guarded\n"
    code += "with guarded(), open(sys.argv[1], 'w') as file: print(file.fileno(), file=file)"
    script = f'exec {sys.executable} -c "$1" "$2" <&- >&- 2>&-'
    subprocess.run(["/bin/sh", "-c", script, "sh", code, str(log)], timeout=60, check=True)
    assert int(log.read_text(encoding="utf-8")) > 2


# --- the folder for temporary files ------------------------------------------------------------


def working(path: Path, folder: Path) -> list[tuple[str | Path, ...]]:
    holdout = ("--protocol", "holdout", "--track", "features")
    return [
        ("score", path, "toy-line", *holdout),
        ("submit", path, "toy-line", "--name", "two", *holdout),
        ("evaluate", "toy_mean", "toy-line"),
        ("template", "toy-line", "--out", folder / "template"),
        ("results", "check", folder / "export"),
        ("results", "run", "toy-line", "--out", folder / "runs"),
        ("build", "toy"),
        ("download", "toy"),
    ]


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_temporary_folder_that_is_none(
    board: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    place = tmp_path / kind
    if kind == "file":
        place.touch()
    monkeypatch.setenv("TMPDIR", str(place))
    before = command("leaderboard", "toy-line", "--json").fine()
    for arguments in working(board, tmp_path):
        said = command(*arguments).refusal()
        assert said.startswith(f"TMPDIR: {place} "), (arguments, said)
        assert said.endswith("create it or correct the setting")
    assert command("leaderboard", "toy-line", "--json").fine() == before
    assert not (tmp_path / "template").exists()
    # What needs no room says nothing about it.
    assert "Usage" in command("score", "--help").fine()


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(
        ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=4k tmpfs /mnt"],
        capture_output=True,
        check=False,
    ).returncode
    != 0,
    reason="a small file system cannot be mounted here",
)
@pytest.mark.parametrize("size", ["4k", "20k"])
def test_a_temporary_folder_that_is_full(
    board: Path, command: Command, tmp_path: Path, size: str
) -> None:
    """With 4 KiB nothing fits; with 20 KiB room runs out while a model runs."""
    place = tmp_path / "small"
    place.mkdir()
    script = (
        f"mount -t tmpfs -o size={size} tmpfs {place} || exit 77;"
        f' test {size} = 4k && head -c 4096 /dev/zero > {place}/taken; TMPDIR={place} "$@"'
    )
    arguments = working(board, tmp_path) if size == "4k" else [("evaluate", "toy_mean", "toy-line")]
    for line in arguments:
        done = shell(f"exec unshare -rm sh -c '{script}' sh \"$@\"", *line)
        said = done.stderr.decode()
        assert done.returncode == 2, (line, done)
        assert len(said.splitlines()) == 1, said
        assert said.startswith("error: "), said
        assert str(place) in said
        assert "cannot be written (No space left on device)" in said
        assert "TMPDIR" in said
    rows = json.loads(command("leaderboard", "toy-line", "--all", "--json").fine())
    assert [row["model"] for row in rows] == [NAME], "a full disk is not the model's failure"
