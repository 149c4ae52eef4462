"""The columns of every config can be worked with in pandas, polars, PyTorch and `datasets`.

A few rows of each config are made as a build makes them, from its own plan and frozen labels, so
that the large configs are tested on their own schema too.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="torch (extra `simulate`) is not installed")

import etchmark  # noqa: E402
from etchmark.catalog import Catalog  # noqa: E402
from etchmark.data import packaging, shards  # noqa: E402
from etchmark.data.labels import FrozenLabels, read_labels  # noqa: E402
from etchmark.data.plan import make_plan  # noqa: E402
from etchmark.data.shards import BuildContext, Shard  # noqa: E402
from etchmark.data.sources import SourcesUnavailable  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
CATALOG = Catalog(ROOT)
ROWS = 2
SLOW = 256  # pixels per side from which a frame of a simulation takes long


def _configs() -> Iterator[Any]:
    for dataset in CATALOG.dataset_names():
        spec = CATALOG.dataset(dataset)
        for config, declared in spec.configs.items():
            marks = [pytest.mark.mirror] if declared.network else []
            if spec.parameters.get(config, {}).get("pixels", 0) >= SLOW:
                marks += [pytest.mark.slow, pytest.mark.timeout(900)]
            yield pytest.param((dataset, config), id=f"{dataset}:{config}", marks=marks)


def _first_rows(module: Any, context: BuildContext, planned: list[Shard]) -> pa.Table:
    """The first rows of the first split of a plan, with their frozen labels; one if it is slow."""
    slow = planned[0].payload.get("pixels", 0) >= SLOW
    tables, missing = [], 1 if slow else ROWS
    for shard in planned:
        if missing and shard.split == planned[0].split:
            rows = min(missing, shard.rows)
            source = FrozenLabels(context.folder).find(context.config, shard)
            assert source is not None
            small = replace(shard, rows=rows, payload={**shard.payload, "rows": rows})
            labels = read_labels(source.path, shard).slice(0, rows)
            tables.append(module.table(context, small, labels))
            missing -= rows
    return pa.concat_tables(tables)


@pytest.fixture(scope="module")
def _written() -> dict[tuple[str, str], list[Path]]:
    return {}


@pytest.fixture
def parts(
    request: pytest.FixtureRequest,
    _written: dict[tuple[str, str], list[Path]],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Path]:
    """Parquet files with the first rows of the first and of the last split of a config."""
    dataset, config = request.param
    if (dataset, config) not in _written:
        if CATALOG.dataset(dataset).configs[config].network:
            request.getfixturevalue("mirror")
        context = BuildContext(
            CATALOG.dataset_folder(dataset), config, CATALOG.dataset(dataset).parameters, True
        )
        module = shards.load_builder(context.folder)
        if shards.is_sharded(module):
            planned = make_plan(CATALOG, CATALOG.dataset(dataset), module, context).shards
            last = [shard for shard in planned if shard.split == planned[-1].split]
            several = len(last) < len(planned)
            tables = [_first_rows(module, context, planned)]
            tables += [_first_rows(module, context, last)] if several else []
        else:
            try:
                first, *_, last = [*module.build(context).values()] * 2
            except SourcesUnavailable as error:
                if (context.folder / "frozen" / f"{config}.parquet").is_file():
                    raise
                pytest.skip(f"nobody has built it yet: {error}")
            tables = [first.slice(0, ROWS), last.slice(len(last) - ROWS)]
        folder = tmp_path_factory.mktemp(config)
        paths = [folder / f"part-{number}.parquet" for number in range(len(tables))]
        for table, path in zip(tables, paths, strict=True):
            packaging.write_table(table, path)
        _written[dataset, config] = paths
    return _written[dataset, config]


every_config = pytest.mark.parametrize("parts", list(_configs()), indirect=True)


def _dataset(paths: list[Path]) -> Any:
    from datasets import Dataset

    return Dataset.from_parquet([str(path) for path in paths], cache_dir=str(paths[0].parent))


def _cell(value: pa.Scalar) -> Any:
    """A stored cell, read by nothing but pyarrow; nested lists as an array."""
    if not isinstance(value, pa.ListScalar):
        return value.as_py()
    values: Any = value.values
    lengths = [1, len(values)]
    while pa.types.is_list(values.type):
        values = values.flatten()
        lengths.append(len(values))
    shape = [inner // max(outer, 1) for outer, inner in pairwise(lengths)]
    return values.to_numpy(zero_copy_only=False).reshape(shape)


def _truth(path: Path) -> dict[str, list[Any]]:
    """What a file holds, column by column."""
    columns: dict[str, list[Any]] = {}
    table = pq.read_table(path)
    for name in table.column_names:
        chunks = table[name].chunks
        storages = [c.storage if isinstance(c, pa.ExtensionArray) else c for c in chunks]
        columns[name] = [_cell(value) for storage in storages for value in storage]
    return columns


def _arrays(truth: dict[str, list[Any]]) -> list[str]:
    return [name for name, values in truth.items() if isinstance(values[0], np.ndarray)]


def _equal(cell: Any, stored: np.ndarray) -> bool:
    """Whether an array or nested lists of arrays hold just what is stored."""
    if isinstance(cell, np.ndarray) and cell.dtype == object:
        return len(cell) == len(stored) and all(map(_equal, cell, stored))
    return np.array_equal(cell, stored)


def _work(frame: pd.DataFrame, truth: dict[str, list[Any]]) -> None:
    """What anybody does with a frame; every cell stays what is stored."""
    arrays = _arrays(truth)

    def same(row: pd.Series, place: int) -> None:
        assert row["id"] == truth["id"][place]
        for name in arrays:
            assert _equal(row[name], truth[name][place])

    ids, at = truth["id"], len(truth["id"]) - 1
    same(frame.iloc[0], 0)
    same(frame[frame["id"] == ids[at]].iloc[0], at)
    same(frame.query(f"id == '{ids[at]}'").iloc[0], at)
    same(frame.set_index("id", drop=False).loc[ids[at]], at)
    same(frame.merge(frame[["id"]], on="id", how="inner").iloc[at], at)
    same(pd.concat([frame, frame.head(1)], ignore_index=True).iloc[len(frame)], 0)
    same(frame.sample(frac=1.0, random_state=0).sort_index().iloc[at], at)
    same(frame.sort_values("id", key=lambda column: column.map(ids.index)).iloc[0], 0)
    outer = frame.merge(pd.DataFrame({"id": [ids[at], "nobody"]}), on="id", how="right")
    same(outer.iloc[0], at)
    for name in arrays:
        assert outer[name].isna().tolist() == [False, True]
        assert not frame[name].isna().any()
    assert frame.copy().equals(frame) or not frame.select_dtypes("number").notna().all().all()


@every_config
def test_pandas_by_way_of_datasets(parts: list[Path]) -> None:
    for path in parts:
        _work(_dataset([path]).to_pandas(), _truth(path))


@every_config
def test_pandas_on_its_own_with_datasets_imported(parts: list[Path]) -> None:
    import datasets

    assert "datasets" in sys.modules
    assert datasets.__version__
    for path in parts:
        _work(pd.read_parquet(path), _truth(path))


@every_config
def test_a_frame_has_one_numpy_array_per_cell(parts: list[Path]) -> None:
    for source in (parts[-1], _dataset(parts[-1:])):
        frame = etchmark.to_frame(source)
        truth = _truth(parts[-1])
        _work(frame, truth)
        for name in _arrays(truth):
            cell = frame[name].iloc[0]
            assert isinstance(cell, np.ndarray)
            assert (cell.shape, cell.dtype) == (truth[name][0].shape, truth[name][0].dtype)
            batch = torch.from_numpy(np.stack(frame[name].to_list()))
            assert tuple(batch.shape) == (len(frame), *cell.shape)
        for name in [name for name, values in truth.items() if isinstance(values[0], dict)]:
            with Image.open(io.BytesIO(truth[name][0]["bytes"])) as image:
                assert np.array_equal(frame[name].iloc[0], np.asarray(image))
            assert frame[name].iloc[0].ndim == 2
    # Splits whose arrays differ in shape stand in one frame.
    both = etchmark.to_frame(parts)
    assert both["id"].tolist() == [key for path in parts for key in _truth(path)["id"]]
    assert etchmark.to_frame(_dataset(parts))["id"].tolist() == both["id"].tolist()


@every_config
def test_polars(parts: list[Path]) -> None:
    for path in parts:
        truth = _truth(path)
        table = pl.read_parquet(path).filter(pl.col("id") == truth["id"][-1])
        table = table.join(table.select("id"), on="id")
        assert table["id"].to_list() == [truth["id"][-1]]
        for name in _arrays(truth):
            assert np.array_equal(np.array(table[name][0].to_list()), truth[name][-1])


@every_config
def test_pytorch(parts: list[Path]) -> None:
    for path in parts:
        truth = _truth(path)
        arrays = _arrays(truth)
        table = _dataset([path]).select_columns(arrays or ["id"]).with_format("torch")
        (batch,) = torch.utils.data.DataLoader(table, batch_size=ROWS)
        for name in arrays:
            assert np.array_equal(
                batch[name], np.stack(truth[name]).astype(batch[name].numpy().dtype)
            )


@pytest.mark.parametrize(
    "imports",
    [
        "import datasets, etchmark",
        "import etchmark\nimport datasets",
        "import etchmark\nfrom datasets import load_dataset",
        "import pandas, etchmark\nimport datasets.features.features",
    ],
)
def test_in_whatever_order_things_are_imported(tmp_path: Path, imports: str) -> None:
    path = tmp_path / "arrays.parquet"
    features = {"cells": {"shape": [1, 2], "dtype": "uint8", "_type": "Array2D"}}
    from etchmark.columns import array_column, with_features

    values = np.arange(6, dtype=np.uint8).reshape(3, 1, 2)
    table = pa.table({"id": ["a", "b", "c"], "cells": array_column(values)})
    packaging.write_table(with_features(table, features), path)
    code = f"""{imports}
import json, sys
import pandas as pd
frame = pd.read_parquet(sys.argv[1])
second = frame[frame["id"] == "b"]
print(json.dumps([row["cells"].tolist() for row in (frame.iloc[2], second.iloc[0])]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[[4, 5]], [[2, 3]]]
