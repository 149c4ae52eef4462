"""``results rescore``: the records of a new version, as a run of that version would make them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from etchmark.catalog import Catalog
from etchmark.errors import UserError
from etchmark.registry import reviewed
from etchmark.registry.identity import id_of
from etchmark.registry.store import Store, read_record
from etchmark.specs import ResultRecord

Command = Callable[..., Any]


def _next_version(content: Path, **change: Any) -> None:
    """Version 2 of ``toy-line``; version 1 stands in ``benchmarks/old``."""
    path = content / "benchmarks" / "toy-line.yaml"
    spec = yaml.safe_load(path.read_text())
    old = content / "benchmarks" / "old" / f"toy-line@{spec['version']}.yaml"
    old.parent.mkdir(exist_ok=True)
    path.rename(old)
    path.write_text(yaml.safe_dump({**spec, "version": spec["version"] + 1, **change}))


def _records(content: Path, version: int) -> dict[tuple[str, str], ResultRecord]:
    folder = content / "leaderboard" / "results" / f"toy-line@{version}"
    records = [read_record(path) for path in folder.glob("*.json")]
    return {(record.name, record.protocol): record for record in records}


@pytest.fixture
def content(toy_content: Path, command: Command) -> Path:
    """Records of ``toy_mean`` on both protocols of version 1."""
    command("results", "run", "toy-line").fine()
    return toy_content


CHANGES: dict[str, dict[str, Any]] = {
    "headline metric": {"primary_metric": "rmse", "metrics": ["rmse", "mae"]},
    "unit": {"unit_column": "id", "unit_name": "sample"},
    "both": {"primary_metric": "r2", "unit_column": "id", "unit_name": "sample"},
}


@pytest.mark.parametrize("case", CHANGES)
def test_rescored_records_are_those_that_a_run_would_make(
    content: Path, command: Command, tmp_path: Path, case: str
) -> None:
    old = _records(content, 1)
    _next_version(content, **CHANGES[case])
    said = command("results", "rescore", "toy-line").fine()
    assert said.count("toy_mean features") == 2
    rescored = _records(content, 2)
    assert _records(content, 1) == old
    tables = {path.name: path.read_bytes() for path in
              (content / "leaderboard/results/toy-line@2").glob("*.parquet")}  # fmt: skip
    shutil.rmtree(content / "leaderboard" / "results" / "toy-line@2")
    command("results", "run", "toy-line").fine()
    run = _records(content, 2)
    assert rescored.keys() == run.keys() == {("toy_mean", "holdout"), ("toy_mean", "folds")}
    for place, record in run.items():
        assert rescored[place].scores == record.scores
        # The predictions are still those of the file that states the old version.
        assert rescored[place].fingerprints == old[place].fingerprints
        assert rescored[place].submission == id_of(rescored[place])
        # What was measured in the old run stays as it was.
        assert rescored[place].cost == old[place].cost
        assert rescored[place].created == old[place].created
    folder = content / "leaderboard" / "results" / "toy-line@2"
    assert {path.name: path.read_bytes() for path in folder.glob("*.parquet")} == tables


def test_both_versions_have_their_board(content: Path, command: Command) -> None:
    before = json.loads(command("leaderboard", "toy-line", "--json").fine())
    _next_version(content, primary_metric="rmse")
    assert json.loads(command("leaderboard", "toy-line", "--json").fine()) == []
    assert json.loads(command("leaderboard", "toy-line@1", "--json").fine()) == before
    command("results", "rescore", "toy-line").fine()
    said = command("leaderboard", "toy-line@1").fine()
    assert "superseded by toy-line@2: `etchmark leaderboard toy-line`\n" in said
    assert "earlier versions" not in said
    said = command("leaderboard", "toy-line").fine()
    assert "(earlier versions have boards of their own: toy-line@1)\n" in said
    assert "superseded by" not in said
    for key in ("toy-line", "toy-line@1"):
        other = "toy-line@1" if key == "toy-line" else "toy-line@2"
        said = command("show", key).fine()
        assert f"versions   also {other}; the current one is toy-line@2\n" in said
    (row,) = json.loads(command("leaderboard", "toy-line", "--json").fine())
    assert (row["model"], row["metric"], row["rank"]) == ("toy_mean", "rmse", 1)
    assert json.loads(command("leaderboard", "toy-line@1", "--json").fine()) == before


def test_a_table_that_says_the_same_is_the_same_file(content: Path, command: Command) -> None:
    results = content / "leaderboard" / "results"
    index = []
    for path in sorted((results / "toy-line@1").glob("*.parquet")):
        # An earlier version of the library wrote the same table otherwise.
        pq.write_table(pq.read_table(path).replace_schema_metadata(), path, compression="gzip")
        index.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    (results / "toy-line@1" / reviewed.INDEX).write_text("".join(index))
    _next_version(content, primary_metric="rmse")
    command("results", "rescore", "toy-line").fine()
    tables = [
        {
            path.name: path.read_bytes()
            for path in (results / f"toy-line@{version}").glob("*.parquet")
        }
        for version in (1, 2)
    ]
    assert len(tables[0]) == 2
    assert tables[0] == tables[1]


def test_a_rescored_submission_is_counted_once(content: Path, command: Command) -> None:
    assert Store().counts() == (2, 1)
    old = {row["id"] for row in Store().newest(9)}
    _next_version(content, primary_metric="rmse")
    command("results", "rescore", "toy-line").fine()
    store = Store()
    assert store.counts() == (2, 1)
    newest = store.newest(9)
    assert len(newest) == 2
    assert not old & {row["id"] for row in newest}
    assert not any(row["superseded"] for row in newest)


def test_what_the_new_version_has_is_left_alone(content: Path, command: Command) -> None:
    _next_version(content, primary_metric="rmse")
    command("results", "run", "toy-line", "--protocol", "folds").fine()
    run = _records(content, 2)["toy_mean", "folds"]
    assert command("results", "rescore", "toy-line").fine().count("wrote") == 1
    assert _records(content, 2)["toy_mean", "folds"] == run
    said = command("results", "rescore", "toy-line").fine()
    assert said == "toy-line@2 has all records of toy-line@1 already\n"


def test_the_first_version_has_none_before_it(content: Path, command: Command) -> None:
    said = command("results", "rescore", "toy-line").refusal()
    assert "toy-line@1 is the first version, so there are no earlier records to rescore" in said


def test_an_older_version_without_records_is_named(toy_content: Path, command: Command) -> None:
    command("build", "toy").fine()
    _next_version(toy_content, primary_metric="rmse")
    said = command("results", "rescore", "toy-line").fine()
    assert said == "toy-line@1 has no records to rescore\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_fingerprint": "0" * 64}, "labels differ from those of toy-line@1"),
        (
            {"subsets": {"high": {"title": "high", "column": "a", "above": 0}}},
            "subsets differ from those of toy-line@1",
        ),
    ],
)
def test_changed_labels_or_subsets_need_a_run(
    content: Path, command: Command, change: dict[str, Any], message: str
) -> None:
    _next_version(content, **change)
    said = command("results", "rescore", "toy-line").refusal()
    assert message in said
    assert "results run toy-line" in said
    assert _records(content, 2) == {}


def _tracks(content: Path, **change: Any) -> dict[str, Any]:
    spec = yaml.safe_load((content / "benchmarks" / "toy-line.yaml").read_text())
    return {**spec["tracks"], "features": {**spec["tracks"]["features"], **change}}


def _protocols(content: Path) -> dict[str, Any]:
    spec = yaml.safe_load((content / "benchmarks" / "toy-line.yaml").read_text())
    return {**spec["protocols"], "holdout": {**spec["protocols"]["holdout"], "extra_splits": []}}


def test_a_record_on_other_inputs_or_splits_is_left_out_and_named(
    content: Path, command: Command
) -> None:
    _next_version(content, protocols=_protocols(content))
    ran = command("results", "rescore", "toy-line")
    assert ran.rc == 2
    assert "toy_mean features holdout: left out: splits of protocol 'holdout' have" in ran.stdout
    assert "1 records cannot be rescored (toy_mean features holdout)" in ran.stderr
    assert _records(content, 2).keys() == {("toy_mean", "folds")}
    _next_version(content, tracks=_tracks(content, inputs=["a"]))
    ran = command("results", "rescore", "toy-line", "--from", "1")
    assert ran.rc == 2
    assert ran.stdout.count("data or inputs of track 'features' have changed") == 2


def test_a_damaged_table_is_left_out_and_named(content: Path, command: Command) -> None:
    _next_version(content, primary_metric="rmse")
    path = content / "leaderboard/results/toy-line@1/toy_mean--features--folds.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    ran = command("results", "rescore", "toy-line")
    assert ran.rc == 2
    assert f"its SHA-256 is not the one in {reviewed.INDEX}" in ran.stdout
    assert _records(content, 2).keys() == {("toy_mean", "holdout")}


# --- superseded versions ------------------------------------------------------------------------


def test_a_superseded_version_is_found(toy_content: Path) -> None:
    first = Catalog(toy_content).benchmark("toy-line")
    _next_version(toy_content, title="Another")
    _next_version(toy_content)
    catalog = Catalog(toy_content)
    assert catalog.benchmark("toy-line").version == 3
    assert catalog.benchmark("toy-line@3") == catalog.benchmark("toy-line")
    assert catalog.benchmark("toy-line@1") == first
    assert catalog.benchmark("toy-line@2").title == "Another"
    assert catalog.benchmark_names() == ["toy-fields", "toy-line"]
    with pytest.raises(
        UserError, match="is at version 3 here, not 4; use toy-line@3 or toy-line@1 or toy-line@2,"
    ):
        catalog.benchmark("toy-line@4")
    for version in ("", "0", "../1", "x", "01", "-1", "1@1", "١"):
        with pytest.raises(
            UserError, match=r"not a version, .* from: toy-line@3, toy-line@1, toy-line@2$"
        ):
            catalog.benchmark(f"toy-line@{version}")


def test_a_superseded_file_is_of_its_name_and_older(toy_content: Path) -> None:
    _next_version(toy_content)
    old = toy_content / "benchmarks" / "old"
    shutil.copy(old / "toy-line@1.yaml", old / "toy-line@7.yaml")
    with pytest.raises(UserError, match="holds toy-line@1, not toy-line@7; make them agree"):
        Catalog(toy_content).benchmark("toy-line@7")
    text = (old / "toy-line@1.yaml").read_text().replace("version: 1", "version: 7")
    (old / "toy-line@7.yaml").write_text(text)
    with pytest.raises(UserError, match="does not come before version 2"):
        Catalog(toy_content).benchmark("toy-line@7")


def test_curves_and_flags_follow_the_new_scores(
    content: Path, command: Command, age: Callable[[Path, Path], None]
) -> None:
    (path,) = (content / "leaderboard/results/toy-line@1").glob("*--holdout.json")
    age(path, path.with_suffix(".parquet"))
    value = json.loads(path.read_text())
    whole = value["scores"][0]["metrics"]["mae"]
    points = [{"value": 1.0, "samples": 30, "score": whole}]
    where = {"split": "test", "metric": "mae"}
    curve = {"name": "size", "title": "Size", "axis": "samples", **where, "points": points}
    path.write_text(json.dumps({**value, "curves": [curve]}))
    _next_version(content, unit_column="id", unit_name="sample")
    command("results", "rescore", "toy-line", "--from", "1").fine()
    record = _records(content, 2)["toy_mean", "holdout"]
    score = record.scores[0].metrics["mae"]
    assert score.ci_high != whole["ci_high"]
    assert record.curves[0].points[0].score == score
    assert [flag.partition(": ")[0] for flag in record.flags or ()] == ["constant"] * 2
    said = command("leaderboard", "toy-line", "--json")
    assert (said.rc, said.stderr) == (0, "")
    assert len(json.loads(said.stdout)) == 1
