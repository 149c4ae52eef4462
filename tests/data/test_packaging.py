"""A config is written whole or not at all, and read by others as it is."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from etchmark.catalog import catalog
from etchmark.data import building, packaging
from etchmark.data.loading import read_manifest
from etchmark.errors import UserError
from etchmark.files import sha256_of
from etchmark.specs import DatasetSpec

SPEC = DatasetSpec.model_validate(
    {
        "schema": 1,
        "name": "little",
        "version": 3,
        "title": "Little: a 'table' with # and: colons",
        "summary": "s",
        "licence": "CC0-1.0",
        "default_config": "c",
        "label_columns": ["y"],
        "parameters": {"seed": 1},
        "configs": {
            "c": {"title": "t", "description": "d", "splits": ["train", "test"], "rows": 3}
        },
    }
)


def splits(value: float = 1.0) -> dict[str, pa.Table]:
    return {
        "train": pa.table({"id": ["a", "b"], "y": [value, 2.0]}),
        "test": pa.table({"id": ["c"], "y": [3.0]}),
    }


def test_what_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "c"
    manifest = packaging.write_config(folder, SPEC, "c", splits())
    assert read_manifest(folder) == manifest
    assert (manifest.name, manifest.config, manifest.version) == ("little", "c", 3)
    assert manifest.parameters == {"seed": 1}
    assert {"etchmark", "python", "numpy", "pyarrow"} <= set(manifest.built_with)
    for file in manifest.files:
        path = folder / file.path
        assert (path.stat().st_size, sha256_of(path)) == (file.bytes, file.sha256)
    assert [(file.split, file.rows) for file in manifest.files] == [("train", 2), ("test", 1)]
    assert manifest.fingerprint == packaging.config_fingerprint(folder, manifest.files)
    assert json.loads((folder / "manifest.json").read_text())["schema"] == 1
    assert [entry.name for entry in folder.parent.iterdir()] == ["c"]


def test_the_card_is_valid_yaml(tmp_path: Path) -> None:
    packaging.write_config(tmp_path / "c", SPEC, "c", splits())
    text = (tmp_path / "c" / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---")[1])
    assert front["pretty_name"] == SPEC.title
    assert front["configs"][0]["config_name"] == "c"
    assert [file["split"] for file in front["configs"][0]["data_files"]] == ["train", "test"]


@pytest.mark.parametrize("config", ["scalar-mini", "fields-mini"])
def test_hugging_face_reads_it_as_it_is(
    toy_content: Path, home: Path, tmp_path: Path, config: str
) -> None:
    from datasets import load_dataset

    made = building.build(catalog(), "toy", config)
    found = load_dataset(str(made.folder.absolute()), config, cache_dir=str(tmp_path / "cache"))
    assert {name: table.num_rows for name, table in found.items()} == {
        file.split: file.rows for file in made.manifest.files
    }
    if config == "fields-mini":
        assert np.shape(found["test"][0]["y"]) == (3, 2)


def test_an_older_build_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    first = packaging.write_config(folder, SPEC, "c", splits())
    (folder / "left-over").touch()
    second = packaging.write_config(folder, SPEC, "c", splits(5.0))
    assert first.fingerprint != second.fingerprint
    assert read_manifest(folder) == second
    assert (folder / "left-over").exists(), "no build made it, so none removes it"
    assert [entry.name for entry in tmp_path.iterdir()] == ["c"]


def test_a_failure_leaves_the_older_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "c"
    manifest = packaging.write_config(folder, SPEC, "c", splits())

    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packaging, "_card", fail)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        packaging.write_config(folder, SPEC, "c", splits(5.0))
    assert read_manifest(folder) == manifest
    assert [entry.name for entry in tmp_path.iterdir()] == ["c"]


def test_builds_at_the_same_time(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    failures: list[BaseException] = []

    def build(value: float) -> None:
        try:
            for _ in range(4):
                packaging.write_config(folder, SPEC, "c", splits(value))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=build, args=(float(one),)) for one in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    manifest = read_manifest(folder)
    assert manifest.fingerprint == packaging.config_fingerprint(folder, manifest.files)
    assert [entry.name for entry in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": pa.table({"id": ["a"], "y": [1.0]})}, "id 'a' is empty or not unique"),
        ({"test": pa.table({"id": [""], "y": [1.0]})}, "id '' is empty or not unique"),
        ({"test": pa.table({"id": [None], "y": [1.0]}, pa.schema({"id": "string", "y": "double"}))},
         "id None is empty"),
        ({"test": pa.table({"id": [1], "y": [1.0]})}, "no column 'id' of type string"),
        ({"test": pa.table({"y": [1.0]})}, "no column 'id' of type string"),
        ({"more": pa.table({"id": ["z"], "y": [1.0]})}, "declares ['test', 'train']"),
        ({"test": pa.table({"id": ["c", "d"], "y": [1.0, 2.0]})}, "4 rows but declares 3"),
    ],
)  # fmt: skip
def test_builds_that_break_their_word(
    tmp_path: Path, change: dict[str, pa.Table], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        packaging.write_config(tmp_path / "c", SPEC, "c", splits() | change)
    assert not list(tmp_path.iterdir())


def test_the_target_fingerprint_does_not_depend_on_rows_or_splits() -> None:
    ids, labels = np.array(["a", "b", "c"], dtype=object), np.array([1.0, 2.0, 3.0])
    whole = packaging.target_fingerprint([ids], [labels])
    order = [2, 0, 1]
    assert packaging.target_fingerprint([ids[order]], [labels[order]]) == whole
    assert packaging.target_fingerprint([ids[2:], ids[:2]], [labels[2:], labels[:2]]) == whole
    assert packaging.target_fingerprint([ids], [labels[order]]) != whole


def test_arrays_are_stored_so_that_they_are_read_quickly(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from etchmark.columns import array_column

    rows = 70
    fields = np.random.default_rng(0).normal(size=(rows, 6, 6)).astype(np.float16)
    phases = np.random.default_rng(0).integers(0, 2, (rows, 51, 51, 51), dtype=np.uint8)
    columns = {"id": [f"{row}" for row in range(rows)], "f": array_column(fields)}
    packaging.write_table(pa.table({**columns, "m": array_column(phases)}), tmp_path / "a.parquet")
    stored = pq.read_metadata(tmp_path / "a.parquet")
    assert [stored.row_group(at).num_rows for at in range(stored.num_row_groups)] == [63, 7]
    found = {
        column.path_in_schema.partition(".")[0]: column.encodings
        for column in (stored.row_group(0).column(at) for at in range(3))
    }
    assert "BYTE_STREAM_SPLIT" in found["f"]
    assert "RLE_DICTIONARY" in found["m"]
    assert "RLE_DICTIONARY" in found["id"]


def test_a_label_that_is_an_array_is_frozen_and_compared(toy_content: Path, tmp_path: Path) -> None:
    source = toy_content / "datasets" / "toy"
    made = building.build(catalog(), "toy", "fields-mini", building.BuildOptions(freezing=True))
    assert made.frozen == source / "frozen" / "fields-mini.parquet"
    build = source / "build.py"
    line = "values = (a[:, None] + noise).astype(np.float32).reshape(rows, 3, 2)"
    text = build.read_text(encoding="utf-8")
    assert line in text
    more = f"{line}; values[2, 1, 1] += 0.5 * (split == 'test')"
    build.write_text(text.replace(line, more), encoding="utf-8")
    difference = building.build(catalog(), "toy", "fields-mini").difference
    assert difference is not None
    assert difference.rows == ["test-02"]
    assert difference.largest == pytest.approx({"y": 0.5})


def test_what_a_killed_swap_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("new", "build", ".build.abcd1234.old"):
        (tmp_path / name).mkdir()
    packaging.swap(tmp_path / "new", tmp_path / "build")
    # It may be that of a process that is at it right now.
    assert (tmp_path / ".build.abcd1234.old").exists()
    monkeypatch.setattr(packaging, "ABANDONED_S", -1.0)
    (tmp_path / "new").mkdir()
    packaging.swap(tmp_path / "new", tmp_path / "build")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["build"]
