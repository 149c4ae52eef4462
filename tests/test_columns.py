"""Stored columns as arrays."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etchmark.columns import (
    Columns,
    array_column,
    array_feature,
    decode_image,
    encode_image,
    features_of,
    to_numpy,
    with_features,
)
from etchmark.errors import UserError


def store(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None) -> Path:
    table = pa.table(columns)
    if features is not None:
        meta = {"huggingface": json.dumps({"info": {"features": features}})}
        table = table.replace_schema_metadata(meta)
    pq.write_table(table, path)
    return path


def test_scalars_and_text(tmp_path: Path) -> None:
    path = store(tmp_path / "a.parquet", {"id": ["a", "b"], "n": [1, 2], "x": [0.5, None]})
    columns = Columns([path])
    assert list(columns) == ["id", "n", "x"]
    assert len(columns) == 3
    assert columns["id"].dtype == object
    assert columns["n"].dtype == np.int64
    assert np.isnan(columns["x"][1])
    assert columns["n"] is columns["n"]


def test_files_are_joined_and_read_when_asked_for(tmp_path: Path) -> None:
    paths = [store(tmp_path / f"{i}.parquet", {"id": [f"{i}"], "x": [float(i)]}) for i in range(3)]
    columns = Columns(paths, ["x"])
    with pytest.raises(KeyError, match="'id' is not among the declared inputs: x"):
        columns["id"]
    assert columns["x"].tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(UserError, match="has no column 'y'; rebuild"):
        Columns(paths, ["x", "y"])


@pytest.mark.parametrize("kind", ["list", "fixed", "array2d"])
def test_arrays(tmp_path: Path, kind: str) -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    features = {"y": {"shape": [3, 2], "dtype": "float32", "_type": "Array2D"}}
    if kind == "list":
        column = pa.array(values.tolist(), pa.list_(pa.list_(pa.float32())))
    elif kind == "fixed":
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 6)
    else:
        datasets = pytest.importorskip("datasets")
        table = datasets.Dataset.from_dict(
            {"y": values}, features=datasets.Features({"y": datasets.Array2D((3, 2), "float32")})
        )
        table.to_parquet(str(tmp_path / "a.parquet"))
        assert np.array_equal(Columns([tmp_path / "a.parquet"])["y"], values)
        return
    path = store(tmp_path / "a.parquet", {"y": column}, features)
    found = Columns([path])["y"]
    assert found.dtype == np.float32
    assert np.array_equal(found, values)
    flat = Columns([store(tmp_path / "b.parquet", {"y": column})])["y"]
    assert np.array_equal(flat, values.reshape(4, 6))


@pytest.mark.parametrize("rows", [[[1.0, 2.0, 3.0], [4.0]], [[1.0], [2.0, 3.0]], [[1.0, 2.0], []]])
def test_lists_of_different_length_are_not_pressed_into_shape(rows: list[list[float]]) -> None:
    with pytest.raises(UserError, match="rows of different length"):
        to_numpy(pa.chunked_array([pa.array(rows)]))


def test_lists_with_empty_cells_and_without_rows() -> None:
    with pytest.raises(UserError, match="empty cells"):
        to_numpy(pa.chunked_array([pa.array([[1.0], None])]))
    empty = pa.chunked_array([pa.array([], pa.list_(pa.float32(), 3))])
    assert to_numpy(empty).shape[0] == 0
    feature = {"_type": "Array2D", "shape": [3, 2]}
    nested = pa.chunked_array([pa.array([], pa.list_(pa.list_(pa.float32())))])
    assert to_numpy(nested, feature).shape == (0, 3, 2)


def test_a_slice_of_a_list_column() -> None:
    column = pa.chunked_array(
        [pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float64(), 2))]
    )
    assert to_numpy(column.slice(1)).tolist() == [[3.0, 4.0], [5.0, 6.0]]


def test_images_of_different_size(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, size, dtype=np.uint8) for size in ((5, 7), (3, 2))]
    cells = [{"bytes": encode_image(image), "path": None} for image in images]
    path = store(tmp_path / "a.parquet", {"m": cells}, {"m": {"_type": "Image"}})
    found = Columns([path])["m"]
    assert found.dtype == object
    for before, after in zip(images, found, strict=True):
        assert after.dtype == np.uint8
        assert np.array_equal(before, after)
    assert np.array_equal(decode_image(encode_image(images[0])), images[0])


def test_features_are_optional() -> None:
    assert features_of(pa.schema([("a", pa.int8())])) == {}


def test_a_damaged_file_gets_one_line(tmp_path: Path) -> None:
    path = store(tmp_path / "a.parquet", {"x": np.arange(1000.0)})
    content = bytearray(path.read_bytes())
    columns = Columns([path])
    content[20:400] = bytes(380)
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as parquet"):
        columns["x"]
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read as parquet"):
        Columns([path])


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64", "int64"])
@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (5, 4, 3, 2)])
def test_array_columns(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    column = array_column(values)
    assert column.to_pylist() == values.tolist()
    back = to_numpy(pa.chunked_array([column]), array_feature(values))
    assert back.dtype == values.dtype
    assert np.array_equal(back, values)
    assert np.array_equal(to_numpy(pa.chunked_array([array_column(values[::-1])])).ravel(),
                          values[::-1].ravel())  # fmt: skip


def test_what_is_no_array_column() -> None:
    for shape in ((3,), (3, 0), (3, 2, 0)):
        with pytest.raises(UserError, match="is not a column of arrays"):
            array_column(np.zeros(shape, np.uint8))
    huge = np.broadcast_to(np.uint8(0), (2**22, 32, 32))
    with pytest.raises(UserError, match="make smaller shards"):
        array_column(huge)


def volumes(path: Path, rows: int = 10) -> dict[str, np.ndarray]:
    """A file with volumes and fields in row groups of four, and what stands in it."""
    generator = np.random.default_rng(rows)
    values = {
        "phases": generator.integers(0, 2, (rows, 5, 4, 3), dtype=np.uint8),
        "field": generator.normal(size=(rows, 2, 3)).astype(np.float32),
        "y": generator.normal(size=rows),
    }
    features = {name: array_feature(values[name]) for name in ("phases", "field")}
    columns: dict[str, Any] = {"id": [f"{path.stem}-{row}" for row in range(rows)]}
    columns |= {name: array_column(values[name]) for name in features} | {"y": values["y"]}
    pq.write_table(with_features(pa.table(columns), features), path, row_group_size=4)
    return values


def test_hugging_face_gives_arrays_back(tmp_path: Path) -> None:
    import datasets

    values = volumes(tmp_path / "a.parquet")
    table = datasets.Dataset.from_parquet(
        str(tmp_path / "a.parquet"), cache_dir=str(tmp_path / "cache")
    )
    assert table.features["phases"] == datasets.Array3D((5, 4, 3), "uint8")
    assert table.features["field"] == datasets.Array2D((2, 3), "float32")
    assert table.features["id"] == datasets.Value("string")
    assert table.features["y"] == datasets.Value("float64")
    found = table.with_format("numpy", columns=["phases"], dtype=np.uint8)[:]["phases"]
    assert found.dtype == np.uint8
    assert np.array_equal(found, values["phases"])
    stream = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "a.parquet"), split="train", streaming=True
    )
    first = next(iter(stream.with_format("numpy")))
    assert np.array_equal(first["phases"], values["phases"][0])
    assert np.array_equal(first["field"], values["field"][0])
    # Once the library is loaded, its own type comes out of the file; the arrays are the same.
    assert np.array_equal(Columns([tmp_path / "a.parquet"])["phases"], values["phases"])


def test_features_that_are_wrong_or_lacking() -> None:
    table = pa.table({"id": ["a"], "m": array_column(np.zeros((1, 2, 2)))})
    with pytest.raises(UserError, match=r"column 'm' of .* needs a feature"):
        with_features(table, {})
    with pytest.raises(UserError, match="feature 'n' has no column"):
        with_features(table, {"m": {"_type": "Value"}, "n": {"_type": "Value"}})


def test_columns_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{part}.parquet" for part in range(3)]
    parts = [volumes(path, rows) for path, rows in zip(paths, (10, 3, 8), strict=True)]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns = Columns(paths)
    assert columns.height == 21
    read: list[int] = []
    inner = Columns._read_group
    monkeypatch.setattr(
        Columns, "_read_group", lambda self, name, group: read.append(1) or inner(self, name, group)
    )
    for size in (1, 4, 5, 100, None):
        for name in ("phases", "field", "y"):
            read.clear()
            batches = list(Columns(paths).batches(name, size))
            assert np.array_equal(np.concatenate(batches), whole[name])
            assert len(read) == (0 if name == "y" else 6), "each row group is read once"
            if size:
                assert {len(batch) for batch in batches[:-1]} <= {size}
    for start, stop in ((0, 3), (3, 5), (9, 14), (0, 21), (20, 99), (5, 5), (21, 30)):
        read.clear()
        assert np.array_equal(columns.rows("phases", start, stop), whole["phases"][start:stop])
        assert columns.rows("phases", start, stop).shape[1:] == (5, 4, 3)
        assert columns.rows("id", start, stop).tolist() == columns["id"][start:stop].tolist()
    assert np.array_equal(columns["phases"], whole["phases"])
    assert columns["phases"].dtype == np.uint8
    with pytest.raises(KeyError, match="not among the declared inputs"):
        Columns(paths, ["y"]).rows("phases", 0, 1)


def test_parts_that_do_not_make_one_whole(tmp_path: Path) -> None:
    one = store(tmp_path / "a.parquet", {"y": [[1.0, 2.0], [3.0, 4.0]]})
    two = store(tmp_path / "b.parquet", {"y": [[1.0, 2.0, 3.0]]})
    with pytest.raises(UserError, match="rows of different length"):
        Columns([one, two])["y"]
    # Integers with an empty place somewhere become floats everywhere.
    three = store(tmp_path / "c.parquet", {"n": [[1, 2], [3, 4]]})
    four = store(tmp_path / "d.parquet", {"n": [[5, None]]})
    found = Columns([three, four])["n"]
    assert found.dtype == np.float64
    assert np.array_equal(found, [[1, 2], [3, 4], [5, np.nan]], equal_nan=True)


def test_a_column_is_read_without_a_second_copy(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "a.parquet"
    values = np.random.default_rng(0).integers(0, 2, (400, 24, 24, 24), dtype=np.uint8)
    table = with_features(pa.table({"m": array_column(values)}), {"m": array_feature(values)})
    pq.write_table(table, path, row_group_size=20)
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    tracemalloc.start()
    found = Columns([path])["m"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(found, values)
    assert peak < 1.2 * values.nbytes
    # Arrow's own threads let go of their buffers in their own time.
    for _ in range(100):
        if pa.total_allocated_bytes() - before < 0.2 * values.nbytes:
            break
        time.sleep(0.05)
    assert pa.total_allocated_bytes() - before < 0.2 * values.nbytes, pool.backend_name
