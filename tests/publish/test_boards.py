"""Benchmarks and results are published with reviewed rows alone, and read back as they are."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from fake_hub import FakeHub


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


@pytest.fixture
def with_rows(released: Path, command: Callable[..., Any]) -> Path:
    """The toy with a reviewed row on either protocol of ``toy-line``."""
    command("results", "run", "toy-line", "--protocol", "holdout").fine()
    command("results", "run", "toy-line", "--protocol", "folds").fine()
    return released


def test_a_benchmark_is_published_with_its_protocols(
    with_rows: Path, tmp_path: Path, command: Any
) -> None:
    out = tmp_path / "out"
    command("publish", "toy-line", "--to", out).fine()
    own = out / "toy-line"
    assert yaml.safe_load((own / "benchmark.yaml").read_text())["id"] == "toy-line"
    holdout = pq.read_table(own / "protocols" / "holdout.parquet").to_pandas()
    frozen = pq.read_table(with_rows / "datasets/toy/frozen/scalar-mini.parquet").to_pandas()
    assert dict(zip(holdout["id"], holdout["split"], strict=True)) == dict(
        zip(frozen["id"], frozen["split"], strict=True)
    )
    assert set(zip(holdout["split"], holdout["part"], strict=True)) == {
        ("train", "train"),
        ("test", "test"),
        ("hard", "extra test"),
    }
    assert holdout.loc[holdout["part"] == "train", "unit"].isna().all()
    assert holdout.loc[holdout["part"] != "train", "unit"].notna().all()
    folds = pq.read_table(own / "protocols" / "folds.parquet").to_pandas()
    assert sorted(folds["fold"].unique()) == [0, 1, 2, 3]
    standings = rows(own / "standings.csv")
    assert {(row["protocol"], row["model"]) for row in standings} == {
        ("holdout", "toy_mean"),
        ("folds", "toy_mean"),
    }
    card = (own / "README.md").read_text("utf-8")
    assert "One ranked submission: there is nothing to compare it with yet." in card
    head = yaml.safe_load(card.split("---")[1])
    assert [config["config_name"] for config in head["configs"]] == ["holdout", "folds"]
    assert "nothing has changed" in command("publish", "toy-line", "--to", out).fine()


def test_protocols_without_rows_are_read_from_the_data(
    released: Path, tmp_path: Path, command: Any
) -> None:
    command("publish", "toy-line", "--to", tmp_path / "out").fine()
    folds = pq.read_table(tmp_path / "out/toy-line/protocols/folds.parquet").to_pandas()
    assert sorted(folds["fold"].unique()) == [0, 1, 2, 3]
    assert folds["unit"].notna().all()
    card = (tmp_path / "out" / "toy-line" / "README.md").read_text("utf-8")
    assert "No submission is ranked yet." in card


def test_nothing_is_built_to_publish_a_board(
    toy_content: Path, home: Path, tmp_path: Path, command: Any
) -> None:
    command("build", "toy", "--config", "scalar-mini", "--freeze").fine()
    shutil.rmtree(home / "datasets")
    said = command("publish", "toy-line", "--to", tmp_path / "out").refusal()
    assert "has no reviewed row yet, and its data are not here" in said
    assert not (home / "datasets").exists()


def test_what_is_not_reviewed_stays_here(
    with_rows: Path, tmp_path: Path, command: Any, toy_predictions: Callable[..., Path]
) -> None:
    predictions = toy_predictions(tmp_path / "mine.parquet")
    command(
        "submit",
        predictions,
        "toy-line",
        "--name",
        "my-secret",
        "--protocol",
        "holdout",
        "--track",
        "features",
    ).fine()
    out = tmp_path / "out"
    command("publish", "toy-line", "results", "--to", out).fine()
    assert {row["model"] for row in rows(out / "toy-line" / "standings.csv")} == {"toy_mean"}
    names = pq.read_table(out / "results" / "standings.parquet")["model"].to_pylist()
    assert set(names) == {"toy_mean"}
    for path in out.rglob("*"):
        assert path.is_dir() or b"my-secret" not in path.read_bytes()


def test_results_read_back(with_rows: Path, tmp_path: Path, command: Any) -> None:
    import datasets

    command("publish", "results", "--to", tmp_path / "out").fine()
    own = tmp_path / "out" / "results"
    (table,) = (with_rows / "leaderboard/results/toy-line@1").glob("*--holdout.parquet")
    read = datasets.load_dataset(
        str(own), "toy-line-v1", split="train", cache_dir=str(tmp_path / "cache")
    )
    frame = pd.DataFrame(read.to_dict())
    ours = frame[frame["protocol"] == "holdout"].reset_index(drop=True)
    assert ours["prediction"].tolist() == pq.read_table(table)["prediction"].to_pylist()
    assert set(ours["name"]) == {"toy_mean"}
    records = [json.loads(line) for line in (own / "toy-line-v1/records.jsonl").open()]
    assert {record["protocol"] for record in records} == {"holdout", "folds"}
    standings = datasets.load_dataset(
        str(own), "standings", split="train", cache_dir=str(tmp_path / "cache")
    )
    assert set(standings["model"]) == {"toy_mean"}


def test_without_results_there_is_nothing_to_publish(
    released: Path, tmp_path: Path, command: Any
) -> None:
    ran = command("publish", "results", "--to", tmp_path / "out")
    assert ran.refusal() == "results: there are no reviewed results to publish"


def test_an_archive_holds_a_version_with_checksums(
    with_rows: Path, tmp_path: Path, command: Any
) -> None:
    command("publish", "toy-line", "--to", tmp_path / "out").fine()
    path = tmp_path / "out" / "archives" / "toy-line-v1.zip"
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    sums = content.pop("toy-line-v1/SHA256SUMS").decode()
    listed = {line.split("  ")[1]: line.split("  ")[0] for line in sums.splitlines()}
    assert {f"toy-line-v1/{name}" for name in listed} == set(content)
    for name, digest in listed.items():
        assert hashlib.sha256(content[f"toy-line-v1/{name}"]).hexdigest() == digest
    assert "results/samples.parquet" in listed
    about = json.loads(content["toy-line-v1/datacite.json"])
    assert about["version"] == "1"
    assert about["types"]["resourceTypeGeneral"] == "Dataset"
    assert (
        "track features: toy:scalar-mini, fingerprint " in about["descriptions"][1]["description"]
    )
    # The same content makes the same bytes.
    before = path.read_bytes()
    path.unlink()
    command("publish", "toy-line", "--to", tmp_path / "out").fine()
    assert path.read_bytes() == before


def test_the_hub_has_no_archives(with_rows: Path, hub: FakeHub, command: Any) -> None:
    command("publish", "toy-line", "results", "--to", "hf://lab").fine()
    assert set(hub.repos) == {"lab/toy-line", "lab/results"}
    assert "protocols/holdout.parquet" in hub.files("lab/toy-line")


def test_protocols_of_an_older_version_are_removed(
    with_rows: Path, tmp_path: Path, command: Any
) -> None:
    command("publish", "toy-line", "--to", tmp_path / "out").fine()
    old = tmp_path / "out" / "toy-line" / "protocols" / "random.parquet"
    old.write_bytes(b"old")
    command("publish", "toy-line", "--to", tmp_path / "out").fine()
    assert not old.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "unknown dataset, benchmark or model 'nothing'"),
        (("toy_mean",), "toy_mean: no fitted model is kept here; run `etchmark evaluate toy_mean"),
        (("toy_mean:toy-line",), "no fitted model is kept here on toy-line"),
        (("toy_mean:nowhere",), "unknown benchmark 'nowhere'"),
        (("dashboard",), "dashboard: is published by --space"),
        (("toy-line:holdout",), "toy-line:holdout: is published whole; name toy-line"),
        ((), "name what to publish, or give --all or --space"),
        (("toy", "--all"), "name what to publish, or give --all, not both"),
    ],
)
def test_names_that_cannot_be(
    released: Path, tmp_path: Path, command: Any, arguments: tuple[str, ...], said: str
) -> None:
    assert said in command("publish", *arguments, "--to", tmp_path / "out").refusal()
    assert not (tmp_path / "out").exists()


def test_all_publishes_what_can_be(with_rows: Path, tmp_path: Path, command: Any) -> None:
    command("publish", "--all", "--to", tmp_path / "out").fine()
    there = {path.name for path in (tmp_path / "out").iterdir()}
    assert there == {"toy", "toy-line", "toy-fields", "results", "archives"}
