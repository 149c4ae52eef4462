"""A hub that cannot be written is read all the same; what needs writing says so in one line."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from etchmark.errors import UserError
from etchmark.registry import opening
from etchmark.registry.store import Store, read_record

Command = Callable[..., Any]
OPTIONS = ("--track", "features", "--protocol", "holdout")
NOBODY = 65534
WHY_ROOT = "needs root: the command is run as another user"
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason=WHY_ROOT)


def _moved(by: float) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        values = table["prediction"].to_numpy() + by
        return table.set_column(1, "prediction", pa.array(values))

    return change


@pytest.fixture
def hub(home: Path, toy_predictions: Callable[..., Path], command: Command) -> Path:
    """A hub folder with the data and the submissions ``near`` and ``far``."""
    command("build", "toy").fine()
    for name, by in (("near", 0.0), ("far", 4.0)):
        path = toy_predictions(f"{name}.csv", change=_moved(by))
        command("submit", path, "toy-line", *OPTIONS, "--name", name).fine()
    # What SQLite keeps beside a database goes with the last connection.
    gc.collect()
    return home


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def refused() -> Iterator[Callable[[Path], Callable[[], None]]]:
    """Has the system say that a folder and what is in it cannot be written, whoever asks.

    What it returns ends that.
    """
    patch = pytest.MonkeyPatch()

    def refuse(folder: Path) -> Callable[[], None]:
        access = os.access

        def asked(path: str | Path, mode: int) -> bool:
            inside = Path(path) == folder or folder in Path(path).parents
            return False if inside and mode & os.W_OK else access(path, mode)

        patch.setattr(os, "access", asked)
        return patch.undo

    yield refuse
    patch.undo()


def _board(ran: Any) -> list[tuple[str, int]]:
    return [(row["model"], row["rank"]) for row in json.loads(ran.fine())]


def test_a_hub_that_cannot_be_written_is_read_and_left_as_it_was(
    hub: Path, refused: Callable[[Path], None], command: Command,
    toy_predictions: Callable[..., Path], tmp_path: Path,
) -> None:  # fmt: skip
    path = toy_predictions("new.csv")
    refused(hub)
    before = _files(hub)
    assert _board(command("leaderboard", "toy-line", "--json")) == [("near", 1), ("far", 2)]
    command("score", path, "toy-line", "--protocol", "holdout").fine()
    command("template", "toy-line", "--out", tmp_path / "template").fine()
    for arguments in (
        ("submit", path, "toy-line", *OPTIONS, "--name", "new"),
        ("evaluate", "toy_mean", "toy-line"),
    ):
        line = command(*arguments).refusal()
        assert line.startswith(f"{hub}: this hub can be read but not changed")
        assert "ETCHMARK_HOME" in line
    assert _files(hub) == before


def test_what_the_owner_wrote_and_sqlite_has_not_yet_tidied_up_is_read(
    hub: Path, refused: Callable[[Path], None], command: Command
) -> None:
    # The owner's process was killed: what was committed last is in the log alone.
    with closing(sqlite3.connect(hub / "registry.sqlite")) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("delete from briefs where name = 'far'")
        connection.execute("delete from submissions where name = 'far'")
        connection.commit()
        killed = hub.parent / "killed"
        shutil.copytree(hub, killed)
    (killed / "registry.sqlite-shm").unlink()
    assert (killed / "registry.sqlite-wal").stat().st_size
    shutil.rmtree(hub)
    killed.rename(hub)
    refused(hub)
    assert _board(command("leaderboard", "toy-line", "--json")) == [("near", 1)]


def test_a_store_that_is_kept_open_sees_what_the_owner_adds(
    hub: Path, toy_predictions: Callable[..., Path], command: Command,
    refused: Callable[[Path], Callable[[], None]],
) -> None:  # fmt: skip
    allow = refused(hub)
    store = Store()
    assert store.read_only
    allow()
    folder = store.engine.url.database
    assert len(store.briefs("toy-line", 1, "holdout")) == 2
    assert store.engine.url.database == folder, "copied once"
    path = toy_predictions("new.csv", change=_moved(1.0))
    with closing(sqlite3.connect(hub / "registry.sqlite")) as connection:
        # The owner has it open, so that its log stays.
        connection.execute("select count(*) from submissions").fetchall()
        _submit_elsewhere(path, hub)
        names = [brief.name for brief in store.briefs("toy-line", 1, "holdout")]
    assert names == ["near", "far", "new"]
    with pytest.raises(UserError, match="can be read but not changed"):
        store.add_many([])


def _submit_elsewhere(path: Path, hub: Path) -> None:
    arguments = ["submit", str(path), "toy-line", *OPTIONS, "--name", "new"]
    subprocess.run(
        [sys.executable, "-m", "etchmark", *arguments],
        env={**os.environ, "ETCHMARK_HOME": str(hub)},
        check=True,
        capture_output=True,
    )


def test_reviewed_records_are_shown_on_a_hub_that_cannot_take_them_in(
    hub: Path, toy_content: Path, toy_predictions: Callable[..., Path], command: Command,
    tmp_path: Path, refused: Callable[[Path], None],
) -> None:  # fmt: skip
    export = tmp_path / "export"
    path = toy_predictions("reviewed.csv", change=_moved(1.0))
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setenv("ETCHMARK_HOME", str(tmp_path / "other"))
        options = (*OPTIONS, "--name", "reviewed", "--export", export)
        command("submit", path, "toy-line", *options).fine()
    record = read_record(export / "record.json")
    folder = toy_content / "leaderboard" / "results" / record.benchmark
    folder.mkdir(parents=True)
    shutil.copy(export / "record.json", folder / f"{record.submission}.json")
    shutil.copy(export / "samples.parquet", folder / f"{record.submission}.parquet")
    refused(hub)
    expected = [("near", 1), ("reviewed", 2), ("far", 3)]
    assert _board(command("leaderboard", "toy-line", "--json")) == expected
    shutil.rmtree(hub)
    hub.mkdir()
    assert _board(command("leaderboard", "toy-line", "--json")) == [("reviewed", 1)]
    assert not list(hub.iterdir())


def test_no_copy_is_left_behind(
    hub: Path, refused: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    refused(hub)
    store = Store()
    assert len(store.briefs("toy-line", 1, "holdout")) == 2
    assert len(list((tmp_path / "scratch").iterdir())) == 1
    del store
    gc.collect()
    assert not list((tmp_path / "scratch").iterdir())


# --- another user, and a disk that is read-only -------------------------------------------------


@pytest.fixture
def shared(hub: Path, toy_content: Path) -> Iterator[Path]:
    """A copy of hub and content below a folder that every user may look into."""
    folder = Path(tempfile.mkdtemp(prefix="etchmark-shared-"))
    folder.chmod(0o755)
    shutil.copytree(hub, folder / "home")
    shutil.copytree(toy_content, folder / "content")
    shutil.copy(hub.parent / "near.csv", folder)
    (folder / "own").mkdir()
    os.chown(folder / "own", NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


STRANGER = """
import contextlib, io, json, os, sys
from etchmark.commands.main import main

plan = json.load(sys.stdin)

def run(arguments):
    out, err, code = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as stopped:
            code = stopped.code or 0
    return [code, out.getvalue(), err.getvalue()]

# Once as root on another copy: what is imported late may lie where only root can read it.
os.chdir(plan["warm"])
os.environ["ETCHMARK_HOME"] = plan["warm"]
for command in plan["commands"]:
    run(command)
os.chdir(plan["own"])
os.environ["ETCHMARK_HOME"] = plan["home"]
os.setgroups([])
os.setgid(plan["user"])
os.setuid(plan["user"])
json.dump([run(command) for command in plan["commands"]], sys.stdout)
"""


def _as_stranger(shared: Path, *commands: tuple[str, ...]) -> list[tuple[int, str, str]]:
    """Run commands as a user who owns nothing of the hub: exit status and output of each."""
    own = shared / "own"
    warm = shared / "warm"
    shutil.copytree(shared / "home", warm)
    plan = {"home": str(shared / "home"), "own": str(own), "warm": str(warm), "user": NOBODY}
    named = [[str(shared / "near.csv") if one == "FILE" else one for one in c] for c in commands]
    done = subprocess.run(
        [sys.executable, "-c", STRANGER],
        input=json.dumps({**plan, "commands": named}),
        env={
            **os.environ,
            "ETCHMARK_CONTENT": str(shared / "content"),
            "ETCHMARK_CONTENT_ONLY": "1",
            "HOME": str(own),
            "TMPDIR": str(own),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(ran) for ran in json.loads(done.stdout)]


@as_root
def test_the_hub_of_another_user_is_read(shared: Path) -> None:
    before = _files(shared / "home")
    fine = ("leaderboard", "score", "show", "template", "download")
    *ran, refused = _as_stranger(shared, *(COMMANDS[name] for name in (*fine, "submit")))
    for name, (code, _, err) in zip(fine, ran, strict=True):
        assert (code, err) == (0, ""), name
    board = json.loads(ran[0][1])
    assert [(row["model"], row["rank"]) for row in board] == [("near", 1), ("far", 2)]
    code, _, err = refused
    assert code == 2
    assert "can be read but not changed" in err
    assert _files(shared / "home") == before
    assert not list((shared / "own").glob("etchmark-*"))


CLOSED = {
    "the hub folder": ("home", 0o700),
    "its registry": ("home/registry.sqlite", 0o600),
    "its data": ("home/datasets", 0o700),
    "a config": ("home/datasets/toy/scalar-mini", 0o700),
    "a manifest": ("home/datasets/toy/scalar-mini/manifest.json", 0o600),
    "the data files": ("home/datasets/toy/scalar-mini/data", 0o700),
}
COMMANDS: dict[str, tuple[str, ...]] = {
    "leaderboard": ("leaderboard", "toy-line", "--json"),
    "score": ("score", "FILE", "toy-line", "--protocol", "holdout"),
    "submit": ("submit", "FILE", "toy-line", *OPTIONS, "--name", "x"),
    "template": ("template", "toy-line", "--out", "template"),
    "download": ("download", "toy:scalar-mini"),
    "build": ("build", "toy"),
    "show": ("show", "toy"),
    "fingerprints": ("show", "toy-line", "--fingerprints"),
}


@as_root
@pytest.mark.parametrize("what", CLOSED)
def test_what_another_user_may_not_read_is_one_line(shared: Path, what: str) -> None:
    name, mode = CLOSED[what]
    path = shared / name
    copied = _as_stranger_with(shared, path, mode)
    needs_data = "data" in name
    for command, (code, _, err) in copied.items():
        assert code in (0, 2), (command, err)
        if code:
            assert len(err.splitlines()) == 1, (command, err)
            named = path if command in ("leaderboard", "score") else shared / "home"
            assert str(named) in err, (command, err)
            assert "rebuild" not in err, (command, err)
    assert copied["leaderboard"][0] == (0 if needs_data else 2)
    assert copied["score"][0] == (2 if needs_data or name == "home" else 0)
    assert copied["submit"][0] == 2


def _as_stranger_with(shared: Path, path: Path, mode: int) -> dict[str, tuple[int, str, str]]:
    path.chmod(mode)
    return dict(zip(COMMANDS, _as_stranger(shared, *COMMANDS.values()), strict=True))


@as_root
def test_a_hub_on_a_read_only_disk_is_read(hub: Path, cli: Command, toy_content: Path) -> None:
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    mounted = ("unshare", "--mount", "sh", "-c", script, str(hub))
    if not shutil.which("unshare") or cli("--version", before=mounted).rc:
        pytest.skip("needs the right to mount a folder read-only")
    before = _files(hub)
    ran = cli("leaderboard", "toy-line", "--json", before=mounted)
    assert _board(ran) == [("near", 1), ("far", 2)]
    path = hub.parent / "near.csv"
    cli("score", path, "toy-line", "--protocol", "holdout", before=mounted).fine()
    for arguments in (
        ("submit", path, "toy-line", *OPTIONS, "--name", "x"),
        ("evaluate", "toy_mean", "toy-line"),
        ("build", "toy", "--config", "fields-mini"),
    ):
        assert str(hub) in cli(*arguments, before=mounted).refusal()
    cli("evaluate", "toy_mean", "toy-line", "--mini", before=mounted).fine()
    code = "import etchmark; print(len(etchmark.load_benchmark('toy-line').split('test')))"
    done = subprocess.run(
        [*mounted, sys.executable, "-c", code],
        env={**os.environ, "HF_HOME": str(hub.parent / "huggingface")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "9\n"), done.stderr
    assert _files(hub) == before


def test_a_log_that_is_removed_meanwhile_does_not_make_a_hub_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, log = tmp_path / "registry.sqlite", tmp_path / "registry.sqlite-wal"
    registry.touch()
    log.touch()
    look = os.access

    def removed_first(path: Path, mode: int) -> bool:
        # Another process closes its connection between two looks.
        if path == log:
            log.unlink(missing_ok=True)
        return look(path, mode)

    monkeypatch.setattr(os, "access", removed_first)
    assert opening.read_only_reason(registry) is None
    assert not log.exists()
