"""Frozen labels: shards merge into one table per config, and each is still checked on its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etchmark.data.labels import (
    FrozenLabels,
    frozen_table,
    merge,
    read_labels,
    read_stored,
    shards_of,
    unmerged_folder,
    write_labels,
)
from etchmark.data.shards import Shard
from etchmark.errors import UserError

PLAN = [
    Shard("train-0", "train", 3, {"start": 0}),
    Shard("train-1", "train", 2, {"start": 3}),
    Shard("test-0", "test", 4, {"start": 0}),
]


def table_of(shard: Shard, *names: str) -> pa.Table:
    values = np.arange(shard.rows) + 0.125 * len(shard.name)
    columns = {"id": [f"{shard.name}-{row}" for row in range(shard.rows)], "y": values}
    return pa.table({**columns, **dict.fromkeys(names, values)})


def store(dataset: Path, shards: list[Shard], config: str = "full") -> dict[str, Path]:
    """Each shard in a file of its own, with a key of its own."""
    folder = unmerged_folder(dataset, config)
    paths = {shard.name: folder / f"{shard.name}.parquet" for shard in shards}
    for shard in shards:
        write_labels(paths[shard.name], shard, f"key of {shard.name}", table_of(shard))
    return paths


def test_merged_labels_are_those_of_the_shards(tmp_path: Path) -> None:
    path = merge(tmp_path, "full", PLAN, store(tmp_path, PLAN))
    assert path == frozen_table(tmp_path, "full")
    assert [file.name for file in (tmp_path / "labels").iterdir()] == ["full.parquet"]
    assert [(one.name, one.rows) for one in shards_of(pq.read_table(path), path)] == [
        ("train-0", 3),
        ("train-1", 2),
        ("test-0", 4),
    ]
    for shard in PLAN:
        stored, labels = read_stored(path, shard)
        assert labels.equals(table_of(shard))
        assert (stored.digest, stored.key) == (shard.digest, f"key of {shard.name}")
        source = FrozenLabels(tmp_path).find("full", shard)
        assert source is not None
        assert (source.path, source.columns) == (path, {"id", "y"})


def test_a_table_grows_by_shards_computed_later(tmp_path: Path) -> None:
    path = merge(tmp_path, "full", PLAN[:2], store(tmp_path, PLAN[:2]))
    before = path.read_bytes()
    late = store(tmp_path, PLAN[2:])
    sources = [FrozenLabels(tmp_path).find("full", shard) for shard in PLAN]
    found = {shard.name: source.path for shard, source in zip(PLAN, sources, strict=True) if source}
    assert found == {"train-0": path, "train-1": path, **late}
    merge(tmp_path, "full", PLAN, found)
    assert [read_labels(path, shard).num_rows for shard in PLAN] == [3, 2, 4]
    assert read_stored(path, PLAN[0])[0].key == "key of train-0"
    assert path.read_bytes() != before
    # With nothing to add, the file stays as it is.
    stamp = path.stat().st_mtime_ns
    merge(tmp_path, "full", PLAN, dict.fromkeys(found, path))
    assert path.stat().st_mtime_ns == stamp


def test_a_merge_that_was_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    paths = store(tmp_path, PLAN)
    path = merge(tmp_path, "full", PLAN, paths)
    store(tmp_path, PLAN[1:])  # the table is written, and not all files were removed
    source = FrozenLabels(tmp_path).find("full", PLAN[2])
    assert source is not None
    assert source.path == path
    merge(tmp_path, "full", PLAN, dict.fromkeys(paths, path))
    assert not unmerged_folder(tmp_path, "full").exists()


def test_files_of_others_stay(tmp_path: Path) -> None:
    paths = store(tmp_path, PLAN)
    notes = unmerged_folder(tmp_path, "full") / "notes.txt"
    notes.write_text("mine")
    merge(tmp_path, "full", PLAN, paths)
    assert list(notes.parent.iterdir()) == [notes]


def test_labels_of_another_config_stay_there(tmp_path: Path) -> None:
    merge(tmp_path, "full", PLAN[2:], store(tmp_path, PLAN[2:]))
    planned = [replace(shard, labels_of="full") for shard in PLAN]
    assert [shard.digest for shard in planned] == [shard.digest for shard in PLAN]
    lookup = FrozenLabels(tmp_path)
    assert [lookup.find("more", shard) is None for shard in planned] == [True, True, False]
    paths = store(tmp_path, planned[:2], "more")
    paths["test-0"] = frozen_table(tmp_path, "full")
    path = merge(tmp_path, "more", planned, paths)
    assert [shard.name for shard in shards_of(pq.read_table(path), path)] == ["train-0", "train-1"]
    sources = [FrozenLabels(tmp_path).find("more", shard) for shard in planned]
    assert [source and source.path.stem for source in sources] == ["more", "more", "full"]
    # The other config has to mean the same samples.
    other = replace(planned[2], payload={"start": 4})
    with pytest.raises(UserError, match=r"full.parquet: its labels of shard test-0 were made for"):
        FrozenLabels(tmp_path).find("more", other)


def test_shards_with_other_columns_are_refused(tmp_path: Path) -> None:
    paths = store(tmp_path, PLAN)
    write_labels(paths["test-0"], PLAN[2], "key", table_of(PLAN[2], "z"))
    with pytest.raises(UserError, match=r"test-0.parquet: its columns are not those of shard trai"):
        merge(tmp_path, "full", PLAN, paths)
    assert not frozen_table(tmp_path, "full").exists()
    assert all(path.is_file() for path in paths.values())


@pytest.mark.parametrize("fault", ["rows", "ids", "index", "none"])
def test_a_damaged_table_gets_one_line(tmp_path: Path, fault: str) -> None:
    path = merge(tmp_path, "full", PLAN, store(tmp_path, PLAN))
    table = pq.read_table(path)
    meta = dict(table.schema.metadata)
    if fault == "rows":
        table = table.slice(1)
    elif fault == "ids":
        same = pa.array(["train-0-0"] * table.num_rows)
        table = table.set_column(0, "id", same)
    else:
        meta = {b"etchmark.shards": b"[{]"} if fault == "index" else {}
    pq.write_table(table.replace_schema_metadata(meta), path)
    for shard in PLAN:
        with pytest.raises(UserError, match=r"full.parquet: is not a whole table of labels \(.*re"):
            FrozenLabels(tmp_path).find("full", shard)
