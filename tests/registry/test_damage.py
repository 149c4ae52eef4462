"""One row that cannot be read is left out and named; every command works for the others."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import etchmark
from etchmark.registry.store import REVIEWED, Store, read_record

Command = Callable[..., Any]
SUBMIT = ("toy-line", "--track", "features", "--protocol", "holdout")
GOOD = ["far", "near"]


def _moved(by: float) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        values = table["prediction"].to_numpy() + by
        return table.set_column(1, "prediction", pa.array(values))

    return change


@pytest.fixture
def hub(home: Path, toy_predictions: Callable[..., Path], command: Command) -> Path:
    """The registry of three submissions: ``bad`` is best, then ``near`` and ``far``."""
    for name, by in (("bad", -0.5), ("near", 0.0), ("far", 4.0)):
        path = toy_predictions(f"{name}.csv", change=_moved(by))
        command("submit", path, *SUBMIT, "--name", name).fine()
    return home / "registry.sqlite"


def _execute(path: Path, statements: str, *values: object) -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection, connection:
        if values:
            return connection.execute(statements, values).fetchall()
        connection.executescript(statements)
    return []


def _id(path: Path, name: str) -> str:
    return _execute(path, "select id from submissions where name = ?", name)[0][0]


def _loosened(path: Path) -> None:
    """The same tables without constraints, as another program may have made them."""
    for table in ("submissions", "briefs", "sums"):
        _execute(
            path,
            f"create table loose as select * from {table}; drop table {table};"
            f" alter table loose rename to {table};",
        )


def _set_record(path: Path, change: Callable[[dict], object]) -> None:
    """Change the record of ``bad`` and forget what boards show of it."""
    (text,) = _execute(path, "select record from submissions where name = ?", "bad")[0]
    record = json.loads(text)
    change(record)
    bad = _id(path, "bad")
    _execute(path, "delete from briefs where id = ?", bad)
    _execute(path, "update submissions set record = ? where id = ?", json.dumps(record), bad)


def _bad(statement: str) -> Callable[[Path], object]:
    return lambda path: _execute(
        path, statement.replace("BAD", "(select id from submissions where name = 'bad')")
    )


DAMAGE: dict[str, Callable[[Path], object]] = {
    "newer schema": lambda path: _set_record(path, lambda record: record.update(schema=7)),
    "newer schema, digests kept": _bad(
        "update submissions set record = replace(record, '\"schema\":2', '\"schema\":12')"
        " where id = BAD"
    ),
    "unknown key": lambda path: _set_record(path, lambda record: record.update(mood="good")),
    "key lost": lambda path: _set_record(path, lambda record: record.pop("card")),
    "no JSON": _bad("update submissions set record = 'nonsense' where id = BAD"),
    "cut off": _bad(
        "update submissions set record = substr(record, 1, 300) where id = BAD;"
        "delete from briefs where id = BAD"
    ),
    "empty": _bad("update submissions set record = '' where id = BAD"),
    "bytes": _bad("update submissions set record = x'fffe00ff' where id = BAD"),
    "no text": _bad(
        "update submissions set record = cast(x'7bff22' as text) where id = BAD;"
        "delete from briefs where id = BAD"
    ),
    "NULL": lambda path: (
        _loosened(path),
        _execute(path, "update submissions set record = null where name = 'bad'"),
    ),
    "table damaged": _bad(
        "update submissions set samples = x'50415231ff' where id = BAD;"
        "delete from briefs where id = BAD"
    ),
    "table lost": _bad(
        "update submissions set samples = null where id = BAD; delete from briefs where id = BAD"
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_row_that_cannot_be_read_is_left_out_by_every_command(
    hub: Path, toy_predictions: Callable[..., Path], command: Command, case: str
) -> None:
    bad = _id(hub, "bad")
    DAMAGE[case](hub)
    for arguments in (("leaderboard", "toy-line", "--json"), ("leaderboard", "toy-line", "--csv")):
        ran = command(*arguments)
        assert ran.rc == 0, ran.stderr
        (line,) = ran.stderr.splitlines()
        assert line.startswith(f"warning: left out: submission {bad[:12]} in {hub}: ")
        assert "etchmark" in line
    board = json.loads(command("leaderboard", "toy-line", "--json", "--all").stdout)
    assert sorted(row["model"] for row in board) == GOOD
    assert sorted(row["rank"] for row in board) == [1, 2]
    path = toy_predictions("new.csv", change=_moved(1.0))
    ran = command("submit", path, *SUBMIT, "--name", "new")
    assert (ran.rc, len(ran.stderr.splitlines())) == (0, 1)
    assert "rank 2 of 3" in ran.stdout
    with pytest.warns(UserWarning, match=bad[:12]):
        assert sorted(etchmark.standings("toy-line")["model"]) == ["far", "near", "new"]
    # Said when the registry is opened, and not again.
    store = _opened(bad)
    assert len(store.entries("toy-line", 1)) == 3
    assert store.counts() == (3, 3)
    assert sorted(row["name"] for row in store.newest(9)) == ["far", "near", "new"]
    assert store.records("toy-line", 1, "holdout", name="bad") == []
    assert store.get(bad) is None
    assert list(store.left_out) == [bad]


def _opened(left_out: str) -> Store:
    """The registry; it says of one submission that it is left out."""
    with pytest.warns(UserWarning, match=left_out[:12]) as said:
        store = Store()
    assert len(said) == 1
    return store


def test_what_turns_out_to_be_damaged_while_a_board_is_read_is_left_out(
    hub: Path, command: Command
) -> None:
    bad = _id(hub, "bad")
    _execute(hub, "update briefs set content = '{}' where name = 'bad'")
    _execute(hub, "update submissions set samples = x'00' where name = 'bad'")
    ran = command("leaderboard", "toy-line", "--json")
    assert [row["model"] for row in json.loads(ran.stdout)] == ["near", "far"]
    (line,) = ran.stderr.splitlines()
    assert bad[:12] in line
    assert "its per-sample table is damaged" in line


@pytest.mark.parametrize("parameters", [2**64, 2**70])
def test_a_number_that_no_board_can_hold_is_left_out_with_its_row(
    hub: Path, command: Command, parameters: int
) -> None:
    bad = _id(hub, "bad")
    _set_record(hub, lambda record: record["cost"].update(parameters=parameters))
    ran = command("leaderboard", "toy-line", "--json")
    assert (ran.rc, [row["model"] for row in json.loads(ran.stdout)]) == (0, ["near", "far"])
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"warning: left out: submission {bad[:12]} in {hub}: cost.parameters")


@pytest.mark.parametrize("count", ["n", "units", "seeds"])
def test_a_count_that_no_board_can_hold_is_left_out_with_its_row(
    hub: Path, command: Command, count: str
) -> None:
    bad = _id(hub, "bad")
    _set_record(hub, lambda record: record["scores"][0].update({count: 2**70}))
    ran = command("leaderboard", "toy-line", "--json")
    assert (ran.rc, [row["model"] for row in json.loads(ran.stdout)]) == (0, ["near", "far"])
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"warning: left out: submission {bad[:12]} in {hub}: ")


def test_what_was_damaged_is_replaced_by_the_same_submission(
    hub: Path, toy_predictions: Callable[..., Path], command: Command
) -> None:
    DAMAGE["no JSON"](hub)
    path = toy_predictions("bad.csv", change=_moved(-0.5))
    assert command("submit", path, *SUBMIT, "--name", "bad").rc == 0
    board = json.loads(command("leaderboard", "toy-line", "--json").fine())
    assert [row["model"] for row in board] == ["bad", "near", "far"]


@pytest.mark.parametrize(
    "damage",
    [
        "update briefs set content = '{}' where name = 'bad'",
        "update briefs set content = '{' where name = 'bad'",
        'update briefs set content = replace(content, \'"n": 9\', \'"n": "x"\')',
        'update briefs set content = replace(content, \'"value": \', \'"value": NaN, "x": \')',
        "update briefs set created = 'yesterday' where name = 'bad'",
        "update briefs set outcome = 'fine' where name = 'bad'",
        "update briefs set track = cast(x'ff' as text) where name = 'bad'",
        "update briefs set created = '2026-01-01T00:00:00+00:00' where name = 'bad'",
        "update briefs set created = '2026-01-01T00:00:00+05:00' where name = 'bad'",
        "update briefs set track = char(27) || '[31m' where name = 'bad'",
        "update briefs set name = char(27) || '[31mbad' where name = 'bad'",
        "update briefs set status = char(27) || '[31m' where name = 'bad'",
        "update submissions set origin = x'ff' where name = 'bad'",
        "update submissions set origin = char(27) || '[31m' where name = 'bad'",
        *(
            "update briefs set content = json_set(content, '$." + where + "', " + value + ")"
            " where name = 'bad'"
            for where, value in (
                ('scores.test."".n', "json('1180591620717411303424')"),
                ('scores.test."".seeds', "-1"),
                ('scores.test."".metrics.mae.value', "null"),
                ("cost.parameters", "json('18446744073709551616')"),
                ("cost.parameters", "1.5"),
                ("cost.parameters", "json('true')"),
                ("cost.peak_memory_bytes", "0.5"),
                ("cost.fit_seconds", "-1.0"),
                ("cost.hardware", "7"),
                ("reason", "json('[1]')"),
                ("card.title", "7"),
                ("card.training_data", "'much'"),
                ("card.tags", "json('[[]]')"),
                ("claimed", 'json(\'{"fit_seconds": "x"}\')'),
                ("claimed", "json('{\"fit_seconds\": [1]}')"),
                ("claimed", 'json(\'{"fit_seconds": 1' + "0" * 400 + "}')"),
            )
        ),
        "update sums set content = x'00'",
        "update sums set content = x''",
        "update sums set content = substr(content, 1, 8)"
        " where id = (select id from briefs where name = 'bad')",
        "update sums set seeds = 7 where id = (select id from briefs where name = 'bad')",
        "update submissions set created = 'yesterday'",
    ],
)
def test_what_boards_show_is_made_again_where_it_is_damaged(
    hub: Path, command: Command, damage: str
) -> None:
    forms = ("--json", "--csv", "--all")
    before = [command("leaderboard", "toy-line", form).fine() for form in forms]
    _execute(hub, damage)
    assert [command("leaderboard", "toy-line", form).fine() for form in forms] == before
    assert len(Store().newest(9)) == 3
    assert len(Store().entries("toy-line", 1)) == 3


# --- tables of another version ------------------------------------------------------------------

COLUMNS = {
    "submissions": ["benchmark", "version", "track", "protocol", "name", "outcome", "origin",
                    "created"],
    "briefs": ["form", "version", "status", "content", "created"],
    "sums": ["units", "seeds", "content"],
    "meta": ["value"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("table", "column"), [(table, one) for table, names in COLUMNS.items() for one in names]
)
def test_a_missing_column_is_added_and_filled(
    hub: Path, command: Command, toy_predictions: Callable[..., Path], table: str, column: str
) -> None:
    before = command("leaderboard", "toy-line", "--json", "--all").fine()
    kept = ("briefs_of_board", f"ix_{table}_{column}")
    _execute(hub, "".join(f"drop index if exists {name};" for name in kept))
    _execute(hub, f"alter table {table} drop column {column}")
    assert command("leaderboard", "toy-line", "--json", "--all").fine() == before
    path = toy_predictions("new.csv", change=_moved(1.0))
    assert "rank 3 of 4" in command("submit", path, *SUBMIT, "--name", "new").fine()
    assert sorted(Store().names("toy-line")) == ["bad", "far", "near", "new"]


def test_boards_need_no_per_sample_tables(hub: Path, command: Command) -> None:
    before = command("leaderboard", "toy-line", "--json", "--all").fine()
    _execute(hub, "alter table submissions drop column samples")
    assert command("leaderboard", "toy-line", "--json", "--all").fine() == before


def test_a_column_of_a_newer_version_is_left_alone(
    hub: Path, command: Command, toy_predictions: Callable[..., Path]
) -> None:
    _execute(hub, "alter table submissions add column mood text not null default 'good'")
    path = toy_predictions("new.csv", change=_moved(1.0))
    assert "rank 3 of 4" in command("submit", path, *SUBMIT, "--name", "new").fine()
    assert _execute(hub, "select distinct mood from submissions where 1 = ?", 1) == [("good",)]


def test_a_registry_that_only_a_newer_version_can_write_is_read(
    hub: Path, command: Command, toy_predictions: Callable[..., Path]
) -> None:
    before = command("leaderboard", "toy-line", "--json").fine()
    (made,) = _execute(hub, "select sql from sqlite_master where name = ?", "submissions")[0]
    columns = ", ".join(["id", *COLUMNS["submissions"], "record", "samples"])
    newer = made.replace("submissions (", "newer (mood TEXT NOT NULL,")
    _execute(
        hub,
        f"{newer}; insert into newer (mood, {columns}) select 'good', {columns} from submissions;"
        "drop table submissions; alter table newer rename to submissions",
    )
    query = "select name, mood from submissions where 1 = ? order by name"
    rows = _execute(hub, query, 1)
    assert command("leaderboard", "toy-line", "--json").fine() == before
    path = toy_predictions("new.csv", change=_moved(1.0))
    line = command("submit", path, *SUBMIT, "--name", "new").refusal()
    assert "can be read but not changed" in line
    assert "update etchmark" in line
    assert _execute(hub, query, 1) == rows == [(name, "good") for name in ("bad", "far", "near")]


# --- reviewed records ---------------------------------------------------------------------------


def test_a_damaged_reviewed_row_is_taken_in_again_from_its_file(
    toy_content: Path, toy_predictions: Callable[..., Path], command: Command, tmp_path: Path,
    home: Path,
) -> None:  # fmt: skip
    export = tmp_path / "export"
    command("submit", toy_predictions(), *SUBMIT, "--name", "mine", "--export", export).fine()
    record = read_record(export / "record.json")
    folder = toy_content / "leaderboard" / "results" / record.benchmark
    folder.mkdir(parents=True)
    shutil.copy(export / "record.json", folder / f"{record.submission}.json")
    shutil.copy(export / "samples.parquet", folder / f"{record.submission}.parquet")
    shutil.rmtree(home)
    before = command("leaderboard", "toy-line", "--json").fine()
    _execute(home / "registry.sqlite", "update submissions set record = '{}'")
    with pytest.warns(UserWarning, match=record.submission[:12]):
        Store()
    assert command("leaderboard", "toy-line", "--json").fine() == before
    assert Store().entries("toy-line", 1)[0].origin == REVIEWED


def test_a_reviewed_row_of_a_newer_version_outlives_its_file_and_is_left_out(
    hub: Path, command: Command
) -> None:
    DAMAGE["newer schema"](hub)
    _execute(hub, "update submissions set origin = 'reviewed' where name = 'bad'")
    for _ in range(2):
        ran = command("leaderboard", "toy-line", "--json")
        assert (ran.rc, len(ran.stderr.splitlines())) == (0, 1)
        assert len(json.loads(ran.stdout)) == 2
    assert _execute(hub, "select count(*) from submissions where 1 = ?", 1) == [(3,)]
