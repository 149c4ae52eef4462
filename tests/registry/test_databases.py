"""The registry is the same in SQLite and in PostgreSQL, and takes over what older versions made."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, select

from etchmark import files
from etchmark.errors import UserError
from etchmark.registry import schema
from etchmark.registry.store import LOCAL, REVIEWED, Store, read_record
from etchmark.registry.tables import Base, BriefRow, Entry, PredictionRow, SumsRow
from etchmark.specs import Curve, CurvePoint, MetricScore, ResultRecord

Command = Callable[..., Any]
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "records-1" / "hub"
BOARD = ("toy-line", 1, "holdout")


def _other(record: ResultRecord, name: str, digit: str, **change: Any) -> ResultRecord:
    return record.model_copy(update={"name": name, "submission": digit * 64, **change})


def _entry(export: Path) -> Entry:
    record = read_record(export / "record.json")
    return Entry(record, (export / "samples.parquet").read_bytes(), LOCAL)


# --- the same in either database ----------------------------------------------------------------


def test_a_submission_is_read_back(database: str | None, submitted: Path) -> None:
    entry = _entry(submitted)
    store = Store()
    assert store.engine.dialect.name == ("sqlite" if database is None else "postgresql")
    assert store.read_only is None
    assert store.get(entry.record.submission) == entry
    assert store.entries("toy-line", 1) == [entry]
    assert store.names() == store.names("toy-line") == ["mine"]
    assert store.counts() == (1, 1)
    (newest,) = store.newest(3)
    assert newest["created"] == entry.record.created.replace(tzinfo=None)
    (match,) = store.find(entry.record.submission[:8])
    assert (match.name, match.version, match.origin) == ("mine", "1", LOCAL)
    (brief,) = store.briefs(*BOARD)
    assert brief.content["scores"]["test"][""]["metrics"]["mae"]["value"] == pytest.approx(1.0)
    with store.engine.connect() as connection:
        terms = list(connection.scalars(select(SumsRow.term)))
    sums = store.sums(*BOARD, split="test", subset="", terms=terms)
    assert set(sums[entry.record.submission].terms) == set(terms) != set()


def test_boards_are_the_same(database: str | None, submitted: Path, command: Command) -> None:
    (row,) = json.loads(command("leaderboard", "toy-line", "--json").fine())
    assert (row["model"], row["rank"], row["origin"]) == ("mine", 1, LOCAL)
    assert row["score"] == pytest.approx(1.0)


def test_adding_again_replaces_the_row_and_all_that_was_made_from_it(
    database: str | None, submitted: Path
) -> None:
    store, entry = Store(), _entry(submitted)
    hashes = ["1" * 64, "2" * 64]
    prints = entry.record.fingerprints.model_copy(update={"predictions": hashes})
    changed = entry.record.model_copy(update={"name": "renamed", "fingerprints": prints})
    store.add_many([entry, replace(entry, record=changed)])
    assert [brief.name for brief in store.briefs(*BOARD)] == ["renamed"]
    assert store.records(*BOARD, predictions=hashes) == [changed]
    assert store.records(*BOARD, predictions=entry.record.fingerprints.predictions) == []
    with store.engine.connect() as connection:
        named = connection.scalars(select(PredictionRow.sha256).order_by(PredictionRow.sha256))
        assert list(named) == hashes


def test_removing_leaves_nothing_behind(database: str | None, submitted: Path) -> None:
    store, entry = Store(), _entry(submitted)
    store.remove(entry.record.submission)
    assert store.get(entry.record.submission) is None
    with store.engine.connect() as connection:
        for table in Base.metadata.tables.values():
            if table.name != "meta":
                assert connection.execute(select(table)).all() == [], table.name


def test_a_predictions_file_goes_with_the_last_submission_that_names_it(
    database: str | None, submitted: Path
) -> None:
    store, entry = Store(), _entry(submitted)
    (sha256,) = entry.record.fingerprints.predictions
    other = _other(entry.record, "other", "a")
    store.add(replace(entry, record=other))
    assert store.records(*BOARD, predictions=[sha256], name="other") == [other]
    store.remove(entry.record.submission)
    assert store.remove_predictions([sha256, "f" * 64]) == []
    assert files.sha256_of(store.prediction_path(sha256)) == sha256
    store.remove(other.submission)
    assert store.remove_predictions([sha256]) == [sha256]
    assert not store.prediction_path(sha256).exists()


def test_only_records_with_curves_are_read_for_curves(
    database: str | None, submitted: Path
) -> None:
    store, entry = Store(), _entry(submitted)
    # The text of a record says nothing about its curves.
    text = entry.record.card.model_copy(update={"description": '"curves":[{'})
    points = [CurvePoint(value=1.0, samples=12, score=MetricScore(value=1.0))]
    curve = Curve(
        name="share", title="Share", axis="share", split="test", metric="mae", points=points
    )
    drawn = _other(entry.record, "drawn", "a", curves=[curve])
    store.add_many(
        [
            replace(entry, record=drawn),
            replace(entry, record=_other(entry.record, "plain", "b", card=text)),
        ]
    )
    assert store.with_curves("toy-line", 1, drawn.protocol) == [drawn]
    assert store.with_curves("toy-line", 1, "another") == []


def test_reviewed_records_come_and_go_with_their_files(
    database: str | None, submitted: Path, toy_content: Path
) -> None:
    entry = _entry(submitted)
    folder = toy_content / "leaderboard" / "results" / "toy-line"
    folder.mkdir()
    path = folder / f"{entry.record.submission}.json"
    shutil.copy(submitted / "record.json", path)
    shutil.copy(submitted / "samples.parquet", path.with_suffix(".parquet"))
    assert [stored.origin for stored in Store().entries("toy-line", 1)] == [REVIEWED]
    path.unlink()
    # It was submitted here, so it stays.
    assert [stored.origin for stored in Store().entries("toy-line", 1)] == [LOCAL]


def test_a_damaged_row_is_left_out_by_name_and_its_predictions_file_is_kept(
    database: str | None, submitted: Path
) -> None:
    entry = _entry(submitted)
    (sha256,) = entry.record.fingerprints.predictions
    Store().add(replace(entry, record=_other(entry.record, "other", "a")))
    with Store().engine.begin() as connection:
        connection.exec_driver_sql(
            "update submissions set record = replace(record, '\"schema\":', '\"form\":')"
            f" where id = '{entry.record.submission}'"
        )
    with pytest.warns(UserWarning, match=entry.record.submission[:12]):
        store = Store()
    assert [brief.name for brief in store.briefs(*BOARD)] == ["other"]
    store.remove("a" * 64)
    assert store.remove_predictions([sha256]) == []


def test_a_registry_of_a_newer_version_is_read_and_not_changed(
    database: str | None, submitted: Path, home: Path
) -> None:
    with Store().engine.begin() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    store = Store()
    assert [brief.name for brief in store.briefs(*BOARD)] == ["mine"]
    with pytest.raises(UserError, match="revision 9999; update etchmark"):
        store.add(_entry(submitted))


WORKER = """
import sys, time
from dataclasses import replace
from pathlib import Path
from etchmark.registry.store import LOCAL, Store, read_record
from etchmark.registry.tables import Entry
export, gate, number = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
record = read_record(export / "record.json")
samples = (export / "samples.parquet").read_bytes()
gate.with_name(f"{gate.name}-{number}").touch()
while not gate.exists():
    time.sleep(0.001)
store = Store()
for name, key in ((f"model-{number}", number * 64), ("same", "f" * 64)):
    store.add(Entry(record.model_copy(update={"name": name, "submission": key}), samples, LOCAL))
"""


def test_processes_that_open_an_empty_database_at_once_all_store(
    database: str | None, submitted: Path, toy_content: Path, tmp_path: Path,
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import time

    monkeypatch.setenv("ETCHMARK_HOME", str(tmp_path / "fresh"))
    if database is not None:
        url = request.getfixturevalue("new_database")()
        monkeypatch.setenv("ETCHMARK_REGISTRY", url)
    gate = tmp_path / "gate"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(submitted), str(gate), str(number)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    while len(list(tmp_path.glob("gate-*"))) < len(workers):
        assert all(worker.poll() is None for worker in workers)
        time.sleep(0.01)
    gate.touch()
    for worker in workers:
        _, said = worker.communicate(timeout=120)
        assert (worker.returncode, said) == (0, "")
    names = sorted(brief.name for brief in Store().briefs(*BOARD))
    assert names == ["model-0", "model-1", "model-2", "same"]


@pytest.mark.parametrize("url", ["sqlite:///x", "nonsense", "mysql://host/x"])
def test_only_postgresql_is_taken_by_url(
    toy_content: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("ETCHMARK_REGISTRY", url)
    with pytest.raises(UserError, match="ETCHMARK_REGISTRY: is not a URL such as postgresql://"):
        Store()


def test_a_server_that_is_down_is_one_line(
    toy_content: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    pytest.importorskip("psycopg", reason="psycopg (extra `postgresql`) is not installed")
    url = "postgresql://me:secret@localhost:1/none"
    monkeypatch.setenv("ETCHMARK_REGISTRY", url)
    line = command("leaderboard", "toy-line").refusal()
    assert "start the server, or correct ETCHMARK_REGISTRY" in line
    assert "secret" not in line


# --- revisions ----------------------------------------------------------------------------------


def _described(store: Store) -> dict[str, Any]:
    """Columns with types, keys and indexes of every table."""
    inspector = inspect(store.engine)
    return {
        name: (
            sorted((one["name"], str(one["type"]), one["nullable"])
                   for one in inspector.get_columns(name)),
            inspector.get_pk_constraint(name)["constrained_columns"],
            sorted((one["name"], one["column_names"]) for one in inspector.get_indexes(name)),
        )
        for name in inspector.get_table_names()
    }  # fmt: skip


def _upgraded_from(store: Store, revision: str | None) -> None:
    """Throw all tables away and make those of a revision, by its own migration."""
    from alembic import command
    from alembic.config import Config

    Base.metadata.drop_all(store.engine)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("drop table alembic_version")
        config = Config()
        config.set_main_option("script_location", str(schema.MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        if revision is None:
            connection.exec_driver_sql("drop table alembic_version")


@pytest.mark.parametrize("revision", [None, "0001"])
def test_migrated_tables_are_those_that_a_new_registry_gets(
    database: str | None, toy_content: Path, revision: str | None
) -> None:
    store = Store()
    expected = _described(store)
    _upgraded_from(store, revision)
    assert _described(store) != expected
    again = Store()
    assert again.read_only is None
    assert _described(again) == expected


def test_the_stated_head_is_that_of_the_migrations() -> None:
    from alembic.script import ScriptDirectory

    assert ScriptDirectory(str(schema.MIGRATIONS)).get_current_head() == schema.HEAD


@pytest.fixture
def old_hub(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a hub that etchmark 0.1.0 made, before registries stated a revision."""
    folder = tmp_path / "old"
    shutil.copytree(FIXTURES, folder)
    monkeypatch.setenv("ETCHMARK_HOME", str(folder / "home"))
    monkeypatch.setenv("ETCHMARK_CONTENT", str(folder / "content"))
    monkeypatch.setenv("ETCHMARK_CONTENT_ONLY", "1")
    return folder / "home" / "registry.sqlite"


def test_a_hub_from_before_revisions_is_taken_over_with_every_row(old_hub: Path) -> None:
    query = "select id, record, samples, origin from submissions order by id"
    with closing(sqlite3.connect(old_hub)) as connection:
        before = connection.execute(query).fetchall()
        assert not connection.execute(
            "select 1 from sqlite_master where name like 'alembic%'"
        ).fetchall()
    store = Store()
    assert store.read_only is None
    with closing(sqlite3.connect(old_hub)) as connection:
        assert connection.execute(query).fetchall() == before
        assert connection.execute("select version_num from alembic_version").fetchall() == [
            (schema.HEAD,)
        ]
    with store.engine.connect() as connection:
        briefs = connection.execute(select(BriefRow.id, BriefRow.record_bytes)).all()
    assert {row.id: row.record_bytes for row in briefs} == {
        row[0]: len(row[1].encode()) for row in before
    }
    (alpha,) = store.records(*BOARD, name="alpha")
    assert alpha in store.records(*BOARD, predictions=alpha.fingerprints.predictions)


OPENED = """
import sys
from etchmark.registry.store import Store
Store()
print("alembic" in sys.modules)
"""


def test_alembic_is_imported_only_where_the_revision_is_another(old_hub: Path) -> None:
    def imported() -> str:
        done = subprocess.run(
            [sys.executable, "-c", OPENED], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert imported() == "True"
    assert imported() == "False"
    old_hub.unlink()
    assert imported() == "False", "a new registry gets all tables at once"


def test_nothing_is_replaced_or_searched_for_in_texts() -> None:
    for path in schema.MIGRATIONS.parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8").lower()
        for phrase in ("or replace", "or ignore", "record.contains", "record.like"):
            assert phrase not in text, path
        assert "pragma " not in text or path.name == "dialects.py", path
