"""The registry on disk: what is stored stays, what is damaged is said in one line."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from etchmark import files
from etchmark.errors import UserError
from etchmark.registry.store import LOCAL, REVIEWED, Store, read_record
from etchmark.registry.tables import Entry

SUBMIT = ("toy-line", "--track", "features", "--protocol", "holdout")


@pytest.fixture
def submitted(toy_predictions, command, tmp_path) -> Path:
    """One submission named ``mine``, exported."""
    export = tmp_path / "export"
    command("submit", toy_predictions(), *SUBMIT, "--name", "mine", "--export", export).fine()
    return export


def _rows(home: Path) -> list[tuple]:
    with sqlite3.connect(home / "registry.sqlite") as connection:
        return connection.execute("select id, name, outcome, origin from submissions").fetchall()


def _review(content: Path, export: Path) -> Path:
    record = read_record(export / "record.json")
    folder = content / "leaderboard" / "results" / record.benchmark
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(export / "record.json", folder / f"{record.submission}.json")
    shutil.copy(export / "samples.parquet", folder / f"{record.submission}.parquet")
    return folder / f"{record.submission}.json"


def test_a_submission_is_read_back_as_it_was_stored(submitted, home):
    record = read_record(submitted / "record.json")
    entry = Store().get(record.submission)
    assert entry == Entry(record, (submitted / "samples.parquet").read_bytes(), LOCAL)
    (sha256,) = record.fingerprints.predictions
    assert files.sha256_of(Store().prediction_path(sha256)) == sha256
    assert Store().names("toy-line") == ["mine"]
    assert Store().entries("toy-line", 1) == [entry]
    assert Store().entries("toy-line", 2) == []
    assert Store().get("0" * 64) is None
    assert Store().counts() == (1, 1)
    (newest,) = Store().newest(3)
    assert newest["created"] == record.created.replace(tzinfo=None)
    assert (newest["id"], newest["name"]) == (record.submission, "mine")
    assert newest["superseded"] is False
    assert Store().newest(0) == []
    board = ("toy-line", 1, "holdout")
    assert Store().records(*board, name="mine") == [record]
    assert Store().records(*board, predictions=[sha256]) == [record]
    assert Store().records(*board, name="other") == []
    assert Store().records(*board, predictions=[sha256, "0" * 64]) == []
    assert Store().records("toy-line", 1, "folds", name="mine") == []


def test_every_commit_is_flushed(submitted):
    with Store().engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_a_damaged_prediction_file_is_replaced_by_the_same_submission(
    submitted, toy_predictions, command
):
    (sha256,) = read_record(submitted / "record.json").fingerprints.predictions
    stored = Store().prediction_path(sha256)
    stored.write_bytes(b"torn")
    command("submit", toy_predictions(), *SUBMIT, "--name", "mine").fine()
    assert files.sha256_of(stored) == sha256


# --- reviewed records --------------------------------------------------------------------------


def test_reviewed_records_are_taken_in_and_go_with_their_files(
    submitted, toy_content, home, command
):
    shutil.rmtree(home)
    path = _review(toy_content, submitted)
    (row,) = json.loads(command("leaderboard", "toy-line", "--json").fine())
    assert (row["model"], row["rank"], row["origin"]) == ("mine", 1, REVIEWED)
    assert len(Store().entries("toy-line", 1)) == 1
    path.unlink()
    path.with_suffix(".parquet").unlink()
    assert Store().entries("toy-line", 1) == []


def test_a_changed_reviewed_record_is_upserted(submitted, toy_content, home):
    shutil.rmtree(home)
    path = _review(toy_content, submitted)
    assert Store().entries("toy-line", 1)[0].record.card.title is None
    value = json.loads(path.read_text())
    value["card"]["title"] = "A better title"
    path.write_text(json.dumps(value))
    (entry,) = Store().entries("toy-line", 1)
    assert entry.record.card.title == "A better title"


def test_what_was_submitted_here_stays_when_its_review_goes(submitted, toy_content, home):
    path = _review(toy_content, submitted)
    Store()
    assert [row[3] for row in _rows(home)] == [REVIEWED]
    path.unlink()
    Store()
    assert [row[1:] for row in _rows(home)] == [("mine", "ok", LOCAL)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[]"),
        lambda path: path.write_bytes(b"\xff\xfe\x00"),
        lambda path: path.write_text(path.read_text().replace('"card": {', '"card": {"x": 1,')),
        lambda path: path.rename(path.with_name("0" * 64 + ".json")),
        lambda path: path.with_suffix(".parquet").unlink(),
        lambda path: path.with_suffix(".parquet").write_bytes(b"PAR1 not"),
        lambda path: path.with_suffix(".parquet").write_bytes(b""),
        lambda path: shutil.copy(
            next(path.parents[3].glob("datasets/toy/frozen.parquet")), path.with_suffix(".parquet")
        ),
    ],
)
def test_a_damaged_reviewed_record_is_left_out_and_the_others_stay(
    submitted, toy_content, toy_predictions, home, command, tmp_path, damage
):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": [1]}), toy_content / "datasets" / "toy" / "frozen.parquet")
    other = tmp_path / "other"
    command("submit", toy_predictions(), *SUBMIT, "--name", "other", "--export", other).fine()
    shutil.rmtree(home)
    _review(toy_content, other)
    damage(_review(toy_content, submitted))
    with pytest.warns(UserWarning, match="left out: .*results"):
        Store()
    (row,) = json.loads(command("leaderboard", "toy-line", "--json", "--all").fine())
    assert row["model"] == "other"


# --- trouble on disk ---------------------------------------------------------------------------


def _foreign(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)


TROUBLE = {
    "no database": lambda path: path.write_bytes(b"this is not a database at all" * 100),
    "a folder": lambda path: path.mkdir(),
    "another program's": lambda path: _foreign(path, "create table places (url text)"),
    "other columns": lambda path: _foreign(path, "create table submissions (url text)"),
}


@pytest.mark.parametrize("case", TROUBLE)
@pytest.mark.parametrize("action", ["leaderboard", "submit", "evaluate"])
def test_a_damaged_or_foreign_registry_is_one_line(
    toy_content, toy_predictions, home, command, case, action
):
    home.mkdir(exist_ok=True)
    path = home / "registry.sqlite"
    TROUBLE[case](path)
    before = path.read_bytes() if path.is_file() else None
    arguments = {
        "leaderboard": ("toy-line",),
        "submit": (toy_predictions(), *SUBMIT, "--name", "mine"),
        "evaluate": ("toy_mean", "toy-line"),
    }
    line = command(action, *arguments[action]).refusal()
    assert "registry.sqlite: " in line
    if before is not None and case != "other columns":
        assert path.read_bytes() == before


def test_a_registry_damaged_in_the_middle_is_one_line(submitted, home, command):
    with sqlite3.connect(home / "registry.sqlite") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = home / "registry.sqlite"
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    assert "registry.sqlite: " in command("leaderboard", "toy-line").refusal()


def test_what_boards_show_is_made_again_where_it_is_missing_or_of_another_form(
    submitted, home, command
):
    before = command("leaderboard", "toy-line", "--json").fine()
    for loss in (
        "drop table briefs; drop table sums",
        "delete from briefs; delete from sums",
        "update briefs set form = 0, content = '{}'; update sums set content = x''",
    ):
        with sqlite3.connect(home / "registry.sqlite") as connection:
            connection.executescript(loss)
        assert command("leaderboard", "toy-line", "--json").fine() == before


def test_a_hub_folder_that_cannot_be_made_is_one_line(toy_content, tmp_path, monkeypatch, command):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ETCHMARK_HOME", str(tmp_path / "file" / "home"))
    assert "ETCHMARK_HOME" in command("leaderboard", "toy-line").refusal()


def test_a_strange_path_is_no_other_database(toy_content, tmp_path, monkeypatch, command):
    strange = tmp_path / "a?b#c%20d"
    monkeypatch.setenv("ETCHMARK_HOME", str(strange))
    command("leaderboard", "toy-line", "--json").fine()
    assert (strange / "registry.sqlite").is_file()


def test_a_full_disk_is_one_line_and_leaves_the_registry_as_it_was(
    submitted, toy_predictions, home
):
    # A limit on the size of files stands in for a full disk.
    rows = _rows(home)
    code = """
import resource, signal, sys
from etchmark.commands.main import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import etchmark.api.submitting, etchmark.commands.present.scores
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
main(sys.argv[1:])
"""
    file = toy_predictions("again.csv", splits=("test", "hard"))
    arguments = ["submit", str(file), *SUBMIT, "--name", "again"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert "stored" not in done.stdout
    assert _rows(home) == rows
    assert len(Store().entries("toy-line", 1)) == 1


def test_read_record_refuses_what_is_too_large(tmp_path):
    path = tmp_path / "record.json"
    path.write_bytes(b" " * (17 << 20))
    with pytest.raises(UserError, match="too large"):
        read_record(path)


# --- many at once ------------------------------------------------------------------------------

WORKER = """
import sys, time
from pathlib import Path
import etchmark.api.submitting, etchmark.commands.main, etchmark.commands.present.scores
number, gate, file = sys.argv[1:]
open(f"{gate}-{number}", "w").close()
while not Path(gate).exists(): time.sleep(0.001)
for again in range(2):
    name = "same" if again else f"model-{number}"
    try:
        etchmark.commands.main.main(["submit", file, "toy-line", "--track", "features",
                                     "--protocol", "holdout", "--name", name])
    except SystemExit as left:
        if left.code:
            sys.exit(f"refused with {left.code}")
"""


def test_concurrent_submits_to_a_fresh_hub_all_land(
    submitted, toy_content, toy_predictions, home, tmp_path
):
    import time

    # The tables are made and the reviewed records taken in by all of them at once, too.
    (home / "registry.sqlite").unlink()
    for extra in home.glob("registry.sqlite-*"):
        extra.unlink()
    _review(toy_content, submitted)
    gate, file = tmp_path / "gate", toy_predictions()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(number), str(gate), str(file)],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    while len(list(tmp_path.glob("gate-*"))) < 8:
        assert all(one.poll() is None for one in started)
        time.sleep(0.01)
    gate.touch()
    for one in started:
        _, err = one.communicate(timeout=120)
        assert one.returncode == 0, err
        assert err == ""
    names = sorted(entry.record.name for entry in Store().entries("toy-line", 1))
    expected = [f"model-{number}" for number in range(8)]
    assert names == sorted([*expected, "same", "mine"])
