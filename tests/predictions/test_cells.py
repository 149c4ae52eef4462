"""Predictions that are text or whole numbers, in files and in tables in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etchmark.errors import UserError
from etchmark.predictions import incoming, read, write
from etchmark.predictions.incoming import Request
from etchmark.predictions.streaming import read_streamed

IDS = ["a", "b", "c"]
TEXT = Request(dict.fromkeys(IDS, "test"), {"test": ()}, "text")
WHOLE = Request(dict.fromkeys(IDS, "test"), {"test": (2, 2)}, "uint8")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_text_comes_through(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p.{suffix}"
    write(path, IDS, np.array(["x", "y, z", "NA"]))
    assert read(path, rows=3, cells="text").values.tolist() == ["x", "y, z", "NA"]


@pytest.mark.parametrize("coded", [True, False])
def test_text_as_others_store_it(tmp_path: Path, coded: bool) -> None:
    path = tmp_path / "p.parquet"
    table = pa.table({"id": IDS, "prediction": pd.Categorical(["x", "y", "x"])})
    pq.write_table(table, path, use_dictionary=coded)
    assert read(path, rows=3, cells="text").values.tolist() == ["x", "y", "x"]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([1.0, 2.0, 3.0]), "prediction holds double, not text; write the name of a class"),
        (pa.array(["x", None, "y"]), "column 'prediction' has 1 empty cell"),
        (pa.array(["x", "y" * 300, "y"]), "holds a prediction of 300 characters"),
    ],
)
def test_text_that_is_refused(tmp_path: Path, column: pa.Array, message: str) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"id": IDS, "prediction": column}), path)
    with pytest.raises(UserError, match=message):
        read(path, rows=3, cells="text")


def test_text_whose_size_cannot_be_seen_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    table = pa.table({"id": IDS, "prediction": ["x" * 200, "x" * 201, "x" * 202]})
    coding = {"prediction": "DELTA_BYTE_ARRAY"}
    pq.write_table(table, path, use_dictionary=False, column_encoding=coding)
    with pytest.raises(UserError, match="which hides its size"):
        read(path, rows=3, cells="text")


def test_an_empty_cell_of_a_csv_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("id,prediction\na,x\nb,\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 3: prediction is empty"):
        read(path, rows=3, cells="text")


@pytest.mark.parametrize("kind", ["pandas", "arrow"])
def test_a_table_of_text(tmp_path: Path, kind: str) -> None:
    table = pd.DataFrame({"id": IDS, "prediction": ["x", "y", "x"]})
    path = tmp_path / "p.parquet"
    incoming.write(pa.Table.from_pandas(table) if kind == "arrow" else table, TEXT, path)
    assert read(path, rows=3, cells="text").values.tolist() == ["x", "y", "x"]
    with pytest.raises(UserError, match="not text; write the name of a class"):
        incoming.write(table.assign(prediction=1.5), TEXT, path)


def test_whole_numbers(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    cells = [np.full((2, 2), value) for value in (0, 1, 200)]
    incoming.write(pd.DataFrame({"id": IDS, "prediction": cells}), WHOLE, path)
    streamed = read_streamed(path, rows=3, shapes=[(2, 2)], cells="uint8")
    assert [values.tolist() for _, values in streamed.values()] == [[0] * 4, [1] * 4, [200] * 4]
    for bad in (-1, 0.5, 256, np.nan):
        cells[1] = np.array([[0, 0], [bad, 0]])
        with pytest.raises(UserError, match=r"prediction of 'b' holds .*whole numbers"):
            incoming.write(pd.DataFrame({"id": IDS, "prediction": cells}), WHOLE, path)
    pq.write_table(pa.table({"id": IDS, "prediction": [[0.5] * 4] * 3}), path)
    with pytest.raises(UserError, match=r"lists of uint8; .* as a list of 4 uint8$"):
        read_streamed(path, rows=3, shapes=[(2, 2)], cells="uint8")
    with pytest.raises(UserError, match=r"as a list of at most 4 uint8$"):
        read_streamed(path, rows=3, shapes=[(2, 2), (1, 2)], cells="uint8")
