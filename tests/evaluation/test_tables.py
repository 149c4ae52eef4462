"""The run folder's files: what is copied, what is picked and what it takes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etchmark.columns import encode_image
from etchmark.data.loading import load_benchmark
from etchmark.errors import UserError
from etchmark.evaluation import layout
from etchmark.evaluation.tables import Table, pick, write

FEATURES = {
    "x": {"shape": [2, 3], "dtype": "uint8", "_type": "Array2D"},
    "v": {"dtype": "float64", "_type": "Value"},
}
META = {"huggingface": json.dumps({"info": {"features": FEATURES}})}


def stored(rows: int, start: int = 0) -> pa.Table:
    cells = np.arange(start * 6, (start + rows) * 6, dtype=np.int64) % 251
    nested = cells.astype(np.uint8).reshape(rows, 2, 3).tolist()
    return pa.table(
        {
            "id": [f"s{start + row}" for row in range(rows)],
            "x": pa.array(nested, pa.list_(pa.list_(pa.uint8()))),
            "v": np.arange(start, start + rows) / 2,
            "maybe": pa.array([None if row % 3 == 0 else row for row in range(rows)], pa.int64()),
        }
    ).replace_schema_metadata(META)


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    pq.write_table(stored(50), paths[0], row_group_size=7)
    pq.write_table(stored(30, 50), paths[1], row_group_size=11)
    return paths


def test_columns_are_copied_batch_by_batch(
    shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "BATCH_VALUES", 24)
    out = tmp_path / "out.arrow"
    names = {"id": "id", "cells": "x", "again": "x", "v": "v", "maybe": "maybe"}
    fold = np.arange(80) % 3
    assert layout.copy_columns(shards, names, out, {"fold": fold}) == 80
    with pa.OSFile(str(out)) as source:
        assert pa.ipc.open_file(source).num_record_batches >= 20
    table = Table(out, ["cells", "again", "v", "maybe", "fold"])
    expected = (np.arange(480) % 251).astype(np.uint8).reshape(80, 2, 3)
    assert table["cells"].dtype == np.uint8
    assert np.array_equal(table["cells"], expected)
    assert np.array_equal(table["again"], expected)
    assert table["v"].tolist() == (np.arange(80) / 2).tolist()
    assert table["fold"].tolist() == fold.tolist()
    assert np.isnan(table["maybe"][0])
    assert table.rows() == 80
    assert list(table) == ["cells", "again", "v", "maybe", "fold"]
    assert table["cells"] is table["cells"]
    with pytest.raises(KeyError, match="'id' is not among the declared inputs"):
        table["id"]


def test_what_is_handed_out_may_be_changed(tmp_path: Path) -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    table = stored(5).append_column(
        "image", pa.array([{"bytes": encode_image(pixels), "path": None}] * 5)
    )
    features = {**FEATURES, "image": {"_type": "Image"}}
    meta = {"huggingface": json.dumps({"info": {"features": features}})}
    path = tmp_path / "t.arrow"
    write(path, table.replace_schema_metadata(meta))
    columns, before = Table(path), path.read_bytes()
    for name in ("x", "v", "maybe"):
        columns[name][:] = 0
        assert not columns[name].any()
    columns["id"][:] = "gone"
    for cell in columns["image"]:
        cell += 1
    assert np.array_equal(columns["image"][4], pixels + 1)
    assert path.read_bytes() == before
    again = Table(path)
    assert np.array_equal(again["image"][0], pixels)
    assert again["v"].tolist() == [0, 0.5, 1, 1.5, 2]
    assert again["id"][0] == "s0"


def test_a_column_that_is_not_there(shards: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no column 'y'; rebuild"):
        layout.copy_columns(shards, {"id": "id", "y": "y"}, tmp_path / "out.arrow")


@pytest.mark.parametrize("member", ["all", "none", "some", "ends"])
def test_pick_is_a_filter(tmp_path: Path, member: str) -> None:
    table = pa.concat_tables([stored(20), stored(20, 20)])
    chosen = {
        "all": np.ones(40, bool),
        "none": np.zeros(40, bool),
        "some": np.random.default_rng(0).random(40) < 0.4,
        "ends": np.isin(np.arange(40), [0, 19, 20, 39]),
    }[member]
    picked = pick(table, chosen)
    assert picked.equals(table.filter(pa.array(chosen)))
    write(tmp_path / "t.arrow", picked)
    assert Table(tmp_path / "t.arrow").rows() == chosen.sum()


SEES = """
import numpy as np
class Model:
    def fit(self, train, validation):
        {fit}
        self.mean = float(train.target.mean())
        self.ids = set(train.ids)
    def predict(self, inputs):
        assert inputs["slice"].dtype == inputs["cell"].dtype == np.uint8
        assert inputs["slice"].shape[1:] == (4, 5) and inputs["cell"].shape[1:] == (3, 4, 5)
        assert np.array_equal(inputs["slice"], inputs["cell"][:, 0])
        assert set(inputs["contrast"]) <= {{5.0, 50.0}}
        return np.full(len(inputs["contrast"]), self.mean)
def build(seed, device):
    return Model()
"""


@pytest.mark.parametrize("protocol", ["holdout", "folds"])
def test_arrays_reach_a_model(toy_volumes: Path, hub, protocol: str) -> None:
    fit = {
        "holdout": "assert len(train) == 32 and len(validation) == 8",
        "folds": "assert len(train) == 24 and validation is None",
    }[protocol]
    folder = hub.model(SEES.format(fit=fit))
    hub.command("evaluate", folder, "toy-volumes", "--protocol", protocol).fine()
    frame = load_benchmark("toy-volumes")
    assert frame.spec.protocols[protocol].kind == protocol


def test_array_inputs_of_folds_are_those_stored(toy_volumes: Path, hub) -> None:
    out = hub.folder / "seen.npz"
    fit = f"np.savez({str(out)!r}, ids=train.ids.astype(str), x=train.inputs['cell'])"
    folder = hub.model(SEES.format(fit=fit))
    hub.command("evaluate", folder, "toy-volumes", "--protocol", "folds").fine()
    seen = np.load(out)
    benchmark = load_benchmark("toy-volumes")
    cells = benchmark.inputs("train", "volumes")["cell"]
    at = {name: row for row, name in enumerate(benchmark.truth("train").ids)}
    assert len(seen["ids"]) == 24
    assert np.array_equal(seen["x"], cells[[at[name] for name in seen["ids"]]])
