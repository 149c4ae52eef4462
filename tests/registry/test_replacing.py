"""A record is replaced as a whole: whenever the writer dies, the old or the new one is read."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from etchmark.registry import replacing, reviewed
from etchmark.registry.layout import INDEX, read_index
from etchmark.registry.store import Store, read_record
from etchmark.specs import ResultRecord

SUBMIT = ("toy-line", "--track", "features", "--protocol", "holdout", "--name", "mine")
DIED = 99
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")


@pytest.fixture
def versions(
    toy_content: Path, toy_predictions: Callable[..., Path], command: Any, tmp_path: Path
) -> list[tuple[ResultRecord, bytes]]:
    """Two records of one model, the second with other predictions, and their tables."""

    def worse(table: pa.Table) -> pa.Table:
        return table.set_column(1, "prediction", pa.array(table["prediction"].to_numpy() + 2.0))

    made = []
    for name, change in (("first", None), ("second", worse)):
        file = toy_predictions(f"{name}.parquet", change=change)
        command("submit", file, *SUBMIT, "--export", tmp_path / name).fine()
        record = read_record(tmp_path / name / "record.json")
        made.append((record, (tmp_path / name / "samples.parquet").read_bytes()))
        command("withdraw", record.submission[:12], "--yes").fine()
    return made


def _dying(work: Callable[[], object], at: int) -> bool:
    """Do something in a process that is ended at its nth change of a file; whether it was."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) in (0, DIED)
        return os.waitstatus_to_exitcode(status) == DIED
    count = 0

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            # Odd: before the change; even: after it.
            if count * 2 - 1 == at:
                os._exit(DIED)
            result = change(*arguments, **options)
            if count * 2 == at:
                os._exit(DIED)
            return result

        return call

    try:
        Path.replace = counted(Path.replace)
        Path.unlink = counted(Path.unlink)
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)


def _read(results: Path, home: Path) -> list[tuple[str, float]]:
    """Model and score of each record, which must be readable."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        entries = Store(home, results).entries("toy-line", 1)
    return [
        (entry.record.submission, entry.record.scores[0].metrics["mae"].value) for entry in entries
    ]


def _assert_tidy(results: Path) -> None:
    """Nothing waits, and the index is that of the tables."""
    folder = results / "toy-line@1"
    assert [path.name for path in folder.glob(".*.parquet")] == []
    assert read_index(folder) == reviewed.digests(folder)


@needs_fork
def test_whenever_the_writer_dies_the_old_or_the_new_record_is_read(
    versions: list[tuple[ResultRecord, bytes]], tmp_path: Path
) -> None:
    (old, old_table), (new, new_table) = versions
    scores = {record.submission: record.scores[0].metrics["mae"].value for record in (old, new)}
    outcomes = []
    for at in range(1, 100):
        results = tmp_path / f"results-{at}"
        reviewed.write(results, old, old_table, replacing=False)
        died = _dying(partial(reviewed.write, results, new, new_table, replacing=True), at)
        ((submission, score),) = _read(results, tmp_path / f"home-{at}")
        assert score == scores[submission]
        outcomes.append(submission)
        # Whoever writes next finishes it.
        reviewed.write(results, new, new_table, replacing=True)
        assert _read(results, tmp_path / f"home-{at}")[0][0] == new.submission
        _assert_tidy(results)
        if not died:
            break
    # Every file that changes has a step before and after it: table, index, record, table, index.
    assert len(outcomes) > 10
    assert outcomes == sorted(outcomes, key=[old.submission, new.submission].index)
    assert set(outcomes) == set(scores)


@needs_fork
def test_a_new_record_is_there_or_not(
    versions: list[tuple[ResultRecord, bytes]], tmp_path: Path
) -> None:
    record, table = versions[0]
    for at in range(1, 100):
        results = tmp_path / f"results-{at}"
        died = _dying(partial(reviewed.write, results, record, table, replacing=False), at)
        assert len(_read(results, tmp_path / f"home-{at}")) in ((0, 1) if died else (1,))
        reviewed.write(results, record, table, replacing=False)
        _assert_tidy(results)
        if not died:
            break
    assert len(list(tmp_path.glob("results-*"))) > 6


def test_a_waiting_table_belongs_to_one_content_of_the_record(
    versions: list[tuple[ResultRecord, bytes]], tmp_path: Path
) -> None:
    (old, old_table), (_, new_table) = versions
    path = reviewed.write(tmp_path, old, old_table, replacing=False)
    waiting = replacing.waiting_table(path, b"another record")
    waiting.write_bytes(new_table)
    index = (path.parent / INDEX).read_text()
    digest = hashlib.sha256(new_table).hexdigest()
    (path.parent / INDEX).write_text(f"{digest}  {waiting.name}\n{index}")
    assert replacing.table_of(path, read_index(path.parent))[0] == path.with_suffix(".parquet")
    assert replacing.finish(path.parent) == reviewed.digests(path.parent)
    _assert_tidy(tmp_path)
    assert path.with_suffix(".parquet").read_bytes() == old_table


def test_a_failed_run_takes_the_table_with_it(
    versions: list[tuple[ResultRecord, bytes]], tmp_path: Path
) -> None:
    record, table = versions[0]
    path = reviewed.write(tmp_path, record, table, replacing=False)
    failed = {"outcome": "failed", "reason": "it fell", "scores": [], "created": record.created}
    changed = record.model_copy(update=failed)
    reviewed.write(tmp_path, changed, None, replacing=True)
    assert not path.with_suffix(".parquet").exists()
    assert read_index(path.parent) == {}


def test_a_record_that_is_replaced_while_it_is_read_is_not_left_out(
    versions: list[tuple[ResultRecord, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old, old_table), (new, new_table) = versions
    path = reviewed.write(tmp_path, old, old_table, replacing=False)
    first = reviewed.scan_index

    def outdated(folder: Path) -> tuple[dict[str, str] | None, list[str]]:
        index = first(folder)
        monkeypatch.setattr(reviewed, "scan_index", first)
        # The writer is quicker than the reader, who has read the index only.
        reviewed.write(tmp_path, new, new_table, replacing=True)
        return index

    monkeypatch.setattr(reviewed, "scan_index", outdated)
    ((_, read),) = reviewed.read_some(tmp_path, [path.relative_to(tmp_path).as_posix()])
    assert read[:2] == (new, new_table)


def test_a_damaged_record_is_read_twice_and_left_out_once(
    versions: list[tuple[ResultRecord, bytes]], tmp_path: Path
) -> None:
    record, table = versions[0]
    path = reviewed.write(tmp_path, record, table, replacing=False)
    path.with_suffix(".parquet").write_bytes(versions[1][1])
    ((_, read),) = reviewed.read_some(tmp_path, [path.relative_to(tmp_path).as_posix()])
    assert "its SHA-256 is not the one in SHA256SUMS" in str(read)
