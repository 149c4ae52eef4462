"""Stored columns as arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etchmark.data.columns import Columns, decode_image, encode_image, features_of, to_numpy
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
