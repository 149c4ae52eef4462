"""``results refresh``: today's intervals in records of before, and nothing else of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from etchmark import files
from etchmark.registry.records import read_record
from etchmark.scoring.intervals import METHOD
from etchmark.submission import refresh

Command = Callable[..., Any]
PRESENT = ("ci_low", "ci_high")


@pytest.fixture
def records(toy_content: Path, command: Command, age: Callable[[Path, Path], None]) -> list[Path]:
    """Records of before of ``toy_mean`` on both protocols, with each sample as a unit."""
    path = toy_content / "benchmarks" / "toy-line.yaml"
    spec = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**spec, "unit_column": "id", "unit_name": "sample"}))
    command("results", "run", "toy-line").fine()
    folder = toy_content / "leaderboard" / "results" / "toy-line@1"
    records = sorted(folder.glob("*.json"))
    for record in records:
        age(record, record.with_suffix(".parquet"))
    assert len(records) == 2
    return records


def _bytes(records: list[Path]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(records[0].parent.iterdir())}


def _bare(value: Any) -> Any:
    """A record without all that a refresh may change."""
    changed = (*PRESENT, "schema", "flags", "interval_method")
    if isinstance(value, dict):
        return {key: _bare(part) for key, part in value.items() if key not in changed}
    return [_bare(part) for part in value] if isinstance(value, list) else value


def test_intervals_are_those_that_a_run_of_today_gives(
    records: list[Path], toy_content: Path, command: Command
) -> None:
    before = _bytes(records)
    said = command("results", "refresh").fine().splitlines()
    assert said == [*(f"toy-line@1/{path.name}: refreshed" for path in records),
                    "refreshed 2 records"]  # fmt: skip
    after = _bytes(records)
    for name, content in before.items():
        if not name.endswith(".json"):
            assert after[name] == content
            continue
        old, new = json.loads(content), json.loads(after[name])
        assert json.dumps(_bare(old)) == json.dumps(_bare(new))
        assert (new["schema"], new["interval_method"]) == (2, METHOD)
    refreshed = [read_record(path) for path in records]
    command("results", "run", "toy-line", "--again").fine()
    for record, path in zip(refreshed, records, strict=True):
        run = read_record(path)
        assert record.scores == run.scores
        # A table alone shows only some doubts: without any, flags stay unknown.
        assert record.flags in (None, run.flags)
        assert record.scores[0].metrics["mae"].ci_low is not None


def test_a_second_time_nothing_is_left_to_do(records: list[Path], command: Command) -> None:
    command("results", "refresh").fine()
    first = _bytes(records)
    assert command("results", "refresh").fine() == "refreshed 0 records\n"
    assert _bytes(records) == first


def test_a_process_that_stops_leaves_each_record_old_or_new(
    records: list[Path], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _bytes(records)
    write_text, written = files.write_text, list[Path]()

    def stopping(path: Path, text: str) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        write_text(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(refresh.files, "write_text", stopping)
        with pytest.raises(KeyboardInterrupt):
            list(refresh.refresh(records[0].parents[1]))
    half = _bytes(records)
    assert [name for name in before if half[name] != before[name]] == [records[0].name]
    rows = json.loads(command("leaderboard", "toy-line", "--json").fine())
    assert {row["interval_method"] for row in rows} == {METHOD}
    assert command("results", "refresh").fine().endswith("refreshed 1 records\n")


def test_a_record_without_its_table_keeps_its_intervals(
    records: list[Path], command: Command
) -> None:
    records[0].with_suffix(".parquet").unlink()
    before = records[0].read_bytes()
    ran = command("results", "refresh")
    assert ran.rc == 2
    assert f"toy-line@1/{records[0].name}: keeps its intervals: " in ran.stdout
    assert f"toy-line@1/{records[1].name}: refreshed" in ran.stdout
    assert "1 records keep their intervals" in ran.stderr
    assert records[0].read_bytes() == before
    assert read_record(records[1]).interval_method == METHOD


def test_a_curve_ends_at_the_refreshed_score(records: list[Path], command: Command) -> None:
    path = records[1]
    value = json.loads(path.read_text())
    whole = value["scores"][0]["metrics"]["mae"]
    part = {"value": 0.5, "samples": 15, "score": {**whole, "ci_high": 99.0}}
    curve = {
        "name": "size", "title": "Size", "axis": "samples", "metric": "mae",
        "split": value["scores"][0]["split"],
        "points": [part, {"value": 1.0, "samples": 30, "score": whole}],
    }  # fmt: skip
    path.write_text(json.dumps({**value, "curves": [curve]}))
    command("results", "refresh").fine()
    record = read_record(path)
    other, last = record.curves[0].points
    assert last.score == record.scores[0].metrics["mae"]
    # Nothing is known of the samples behind a score of fewer training samples.
    assert other.score is not None
    assert other.score.ci_high == 99.0


def test_flags_follow_what_the_table_and_the_benchmark_show_today(
    records: list[Path], toy_content: Path, command: Command
) -> None:
    command("results", "refresh").fine()
    before = _bytes(records)
    path = toy_content / "benchmarks" / "toy-line.yaml"
    spec = yaml.safe_load(path.read_text())
    error = {"metric": "mae", "value": 1e6, "split": "test", "description": "a finer grid"}
    path.write_text(yaml.safe_dump({**spec, "discretisation_error": error}))
    assert command("results", "refresh").fine().endswith("refreshed 1 records\n")
    (flagged,) = [record for record in records if record.read_bytes() != before[record.name]]
    old, new = json.loads(before[flagged.name]), json.loads(flagged.read_text())
    assert _bare(old) == _bare(new)
    constant = [flag for flag in new["flags"] if flag.startswith("constant: ")]
    assert old["flags"] == constant
    assert [flag.partition(":")[0] for flag in new["flags"][len(constant) :]] == [
        "below_discretisation_error"
    ]
    assert command("results", "refresh").fine() == "refreshed 0 records\n"
    path.write_text(yaml.safe_dump(spec))
    command("results", "refresh").fine()
    assert _bytes(records) == before
