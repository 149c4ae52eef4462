"""Built data, found on disk and checked against the release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from etchmark import files
from etchmark.catalog import catalog
from etchmark.data import building
from etchmark.data.loading import ensure_config, find_config, load_benchmark, read_manifest
from etchmark.data.sources import SourcesUnavailable
from etchmark.errors import UserError


def test_what_needs_no_network_is_built_when_it_is_needed(toy_content: Path, home: Path) -> None:
    assert find_config(catalog(), "toy", "scalar-mini") is None
    folder, manifest = ensure_config(catalog(), "toy", "scalar-mini")
    assert (
        folder
        == home / "datasets" / "toy" / "scalar-mini"
        == find_config(catalog(), "toy", "scalar-mini")
    )
    stamp = (folder / "manifest.json").stat().st_mtime_ns
    assert ensure_config(catalog(), "toy", "scalar-mini") == (folder, manifest)
    assert (folder / "manifest.json").stat().st_mtime_ns == stamp


def test_the_data_of_a_checkout_are_found(toy_content: Path) -> None:
    folder = toy_content / "datasets" / "toy" / "data" / "scalar-mini"
    building.build(catalog(), "toy", None, building.BuildOptions(out=folder))
    assert find_config(catalog(), "toy", "scalar-mini") == folder
    assert len(load_benchmark("toy-line").truth("test").ids) == 9


def test_truth(toy_content: Path) -> None:
    line = load_benchmark("toy-line@1")
    assert line.splits == ["train", "test", "hard"]
    truth = line.truth("train")
    assert truth.ids.tolist() == [f"train-{row:02d}" for row in range(12)]
    assert truth.units.tolist() == [f"train-p{row // 3}" for row in range(12)]
    assert truth.folds is None
    assert truth.groups is not None
    assert truth.groups.tolist() == truth.units.tolist()
    folds = line.truth("train", "folds")
    assert folds.folds is not None
    assert folds.folds.tolist() == [row // 3 for row in range(12)]
    assert folds.groups is None
    assert list(line.scored_splits("holdout")) == ["test", "hard"]
    assert list(line.scored_splits("folds")) == ["train"]
    line.check_target()


def test_inputs_are_those_declared(toy_content: Path) -> None:
    line = load_benchmark("toy-line")
    assert list(line.inputs("test", "features")) == ["a", "kind"]
    assert list(line.inputs("test", "kinds")) == ["kind"]
    with pytest.raises(KeyError):
        line.inputs("test", "kinds")["y"]


def test_a_split_as_users_read_it(toy_content: Path) -> None:
    table = load_benchmark("toy-line").split("test")
    assert table.num_rows == 9
    assert table.column_names == ["id", "a", "kind", "source", "fold", "y"]


def test_names_that_do_not_exist(toy_content: Path) -> None:
    line = load_benchmark("toy-line")
    with pytest.raises(UserError, match="unknown split 'text' of toy-line; choose from: train"):
        line.truth("text")
    with pytest.raises(UserError, match="unknown track of toy-line"):
        line.files("test", "other")
    with pytest.raises(UserError, match="unknown protocol of toy-line"):
        line.truth("test", "other")
    with pytest.raises(UserError, match="unknown benchmark"):
        load_benchmark("other")


def test_damaged_builds_name_the_remedy(toy_content: Path) -> None:
    folder, manifest = ensure_config(catalog(), "toy", "scalar-mini")
    path = folder / manifest.files[0].path
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    remedy = "rebuild with `etchmark build toy --config scalar-mini`"
    with pytest.raises(UserError, match=f"missing or damaged; {remedy}"):
        load_benchmark("toy-line").truth("train")
    for place in range(0, len(content), 97):
        # Such a bit may still decode: the content counts, not whether it can be read.
        flipped = bytearray(content)
        flipped[place] ^= 4
        path.write_bytes(flipped)
        with pytest.raises(UserError, match=f"missing or damaged; {remedy}"):
            load_benchmark("toy-line").truth("train")
    path.unlink()
    with pytest.raises(UserError, match="missing or damaged"):
        ensure_config(catalog(), "toy", "scalar-mini")
    for text in ("", "{", "[]", '{"schema": 1}', "\0"):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(UserError, match=r"manifest.json: .*rebuild with"):
            read_manifest(folder)
    with pytest.raises(UserError, match="cannot be read"):
        read_manifest(folder / "nowhere")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not valid JSON"),
        ("\0\xff", "is not valid JSON"),
        ("[" * 5000, "is not valid JSON"),
        ('{"name": "my extension", "version": 1}', "config"),
        (None, "is that of toy:fields-mini, not of toy:scalar-mini"),
    ],
    ids=["empty", "binary", "deep", "foreign", "another config"],
)
def test_a_manifest_that_is_not_the_configs(
    toy_content: Path, command: Any, toy_predictions: Any, text: str | None, reason: str
) -> None:
    predictions = toy_predictions()
    folder, _ = ensure_config(catalog(), "toy", "scalar-mini")
    path = folder / "manifest.json"
    if text is None:
        other, _ = ensure_config(catalog(), "toy", "fields-mini")
        text = (other / "manifest.json").read_text(encoding="utf-8")
    path.write_text(text, encoding="latin-1")
    for arguments in (
        ("download", "toy"),
        ("download", "toy", "--split", "test"),
        ("score", predictions, "toy-line", "--protocol", "holdout", "--unofficial"),
        ("show", "toy-line", "--fingerprints"),
    ):
        said = command(*arguments).refusal()
        assert said.startswith(f"{path}: ")
        assert reason in said
        assert said.endswith("; rebuild with `etchmark build toy --config scalar-mini`")
    # One config that cannot be used hides no other.
    shown = command("show", "toy").fine()
    assert f"cannot be used: {path}" in shown
    assert "config     fields-mini" in shown
    command("build", "toy", "--config", "scalar-mini").fine()
    command("score", predictions, "toy-line", "--protocol", "holdout").fine()


def test_a_folder_in_the_place_of_a_config(toy_content: Path, home: Path, command: Any) -> None:
    folder = building.hub_folder("toy", "scalar-mini")
    folder.mkdir(parents=True)
    (folder / "thesis.tex").touch()
    said = command("download", "toy").refusal()
    assert said == f"{folder}: is not empty and holds no earlier build; move it"
    assert (folder / "thesis.tex").exists()


def test_labels_changed_on_disk_are_noticed(toy_content: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder, manifest = ensure_config(catalog(), "toy", "scalar-mini")
    file = manifest.files[1]
    table = pq.read_table(folder / file.path)
    labels = table["y"].to_numpy().copy()
    labels[0] += 1.0
    pq.write_table(table.set_column(5, "y", pa.array(labels)), folder / file.path)
    size = (folder / file.path).stat().st_size
    text = (folder / "manifest.json").read_text()
    text = text.replace(f'"bytes": {file.bytes}', f'"bytes": {size}')
    text = text.replace(file.sha256, files.sha256_of(folder / file.path))
    (folder / "manifest.json").write_text(text)
    with pytest.raises(UserError, match="ids or labels on this machine"):
        load_benchmark("toy-line").check_target()
    load_benchmark("toy-line", unofficial=True).check_target()


def test_data_of_another_release(toy_content: Path) -> None:
    path = toy_content / "benchmarks" / "toy-line.yaml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["tracks"]["kinds"]["fingerprint"] = "1" * 64
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    load_benchmark("toy-line").inputs("test", "features")
    with pytest.raises(UserError, match=r"is not the released 111111111111… of toy-line@1, track"):
        load_benchmark("toy-line").inputs("test", "kinds")
    load_benchmark("toy-line", unofficial=True).inputs("test", "kinds")


@pytest.mark.parametrize("column", ["a", "kind"])
def test_folds_are_whole_numbers(toy_content: Path, column: str) -> None:
    path = toy_content / "benchmarks" / "toy-line.yaml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["protocols"]["folds"]["fold_column"] = column
    for track in spec["tracks"].values():
        track["inputs"] = ["source"]
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    split = spec["protocols"]["folds"]["split"]
    with pytest.raises(UserError, match=rf"fold_column: column '{column}' of .*, not one whole"):
        load_benchmark("toy-line").truth(split, "folds")


def test_what_needs_the_network_is_not_fetched_in_passing(home: Path) -> None:
    with pytest.raises(SourcesUnavailable) as refused:
        load_benchmark("superalloy-hardness").inputs("samples", "micrographs")
    line = str(refused.value)
    assert "run `etchmark download superalloys:micrographs`" in line
    assert "https://raw.githubusercontent.com/" in line
    assert "ETCHMARK_MIRROR" in line
    assert "MB" in line
    assert not (home / "datasets" / "superalloys").exists()
