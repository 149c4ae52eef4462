"""Predictions files through ``etchmark score``: what is read, and what a refusal says."""

from __future__ import annotations

import decimal
import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etchmark.data.loading import load_benchmark

Command = Callable[..., Any]
OPTIONS = ("--protocol", "holdout")


@pytest.fixture
def ids(toy_content: Path) -> list[str]:
    return load_benchmark("toy-line").truth("test").ids.tolist()


@pytest.fixture
def values(toy_content: Path) -> np.ndarray:
    return load_benchmark("toy-line").truth("test").target + 1.0


@pytest.fixture
def score(command: Command) -> Command:
    def run(path: Path, benchmark: str = "toy-line") -> Any:
        return command("score", path, benchmark, *OPTIONS)

    return run


# --- CSV ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", ["  \n", " ", "\t\n\n", ",\n", " , \n,\n", "\n \n,\n\n"])
def test_blank_lines_below_a_table(
    ids: list[str], values: np.ndarray, tmp_path: Path, score: Command, tail: str
) -> None:
    path = tmp_path / "p.csv"
    pd.DataFrame({"id": ids, "prediction": values}).to_csv(path, index=False)
    whole = score(path).fine()
    path.write_text(path.read_text() + tail)
    assert score(path).fine() == whole


def test_a_line_of_separators_among_the_rows(
    ids: list[str], values: np.ndarray, tmp_path: Path, score: Command
) -> None:
    path = tmp_path / "p.csv"
    pd.DataFrame({"id": ids, "prediction": values}).to_csv(path, index=False)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], ",", *lines[3:]]))
    assert "line 4 holds nothing but separators; fill or remove" in score(path).refusal()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (" {}".format, "9 ids are not in this benchmark (ids ' test-00', ' test-01', ' test-02',"
         " ' test-03', ' test-04' and 4 more): 9 match without the spaces around them; strip"
         " the spaces"),
        ("{}\u00a0".format, "9 match without the spaces around them"),
        (str.upper, "9 match in another case; write upper and lower case as the template does"),
        ("{}\u200b".format, "9 match in another spelling; copy the ids from the template"),
        ("other-{}".format, "'other-test-04' and 4 more); `etchmark template` writes the ids"),
    ],
)  # fmt: skip
def test_ids_that_are_nearly_right(
    ids: list[str],
    values: np.ndarray,
    tmp_path: Path,
    score: Command,
    suffix: str,
    change: Callable[[str], str],
    message: str,
) -> None:
    path = tmp_path / f"p.{suffix}"
    frame = pd.DataFrame({"id": [change(name) for name in ids], "prediction": values})
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    assert message in score(path).refusal()


def test_ids_of_a_split_that_is_not_scored(
    ids: list[str], values: np.ndarray, tmp_path: Path, score: Command
) -> None:
    path = tmp_path / "p.csv"
    train = load_benchmark("toy-line").truth("train").ids.tolist()
    frame = pd.DataFrame({"id": [*ids, *train], "prediction": [*values, *[1.0] * len(train)]})
    frame.to_csv(path, index=False)
    said = score(path).refusal()
    assert "12 ids are not in a split that protocol 'holdout' scores but in 'train'" in said
    assert said.endswith("leave these rows out")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("", "line 2: prediction is empty"),
        ("<NA>", "line 2: prediction '<NA>' is not a number; predict a number for every sample"),
        ("None", "line 2: prediction 'None' is not a number; predict a number for every sample"),
        ("True", "line 2: prediction 'True' is not a number; write numbers"),
        ("1+2j", "line 2: prediction '1+2j' is not a number; write numbers"),
    ],
)
def test_missing_values_in_csv(
    ids: list[str], values: np.ndarray, tmp_path: Path, score: Command, cell: str, message: str
) -> None:
    path = tmp_path / "p.csv"
    cells = [cell, *values[1:]]
    pd.DataFrame({"id": ids, "prediction": cells}).to_csv(path, index=False)
    assert message in score(path).refusal()


@pytest.mark.parametrize(
    ("seed", "message"),
    [("9" * 19, "has more than 18 digits"), ("1.5", "is not an integer"), ("", "not an integer")],
)
def test_seeds_in_csv(
    ids: list[str], values: np.ndarray, tmp_path: Path, score: Command, seed: str, message: str
) -> None:
    path = tmp_path / "p.csv"
    frame = pd.DataFrame({"id": ids, "prediction": values, "seed": seed})
    frame.to_csv(path, index=False)
    assert message in score(path).refusal()


# --- parquet -----------------------------------------------------------------------------------

ODD_COLUMNS: list[tuple[str, Any, str]] = [
    ("prediction", pa.array([True] * 9), "prediction holds bool, not numbers"),
    ("prediction", pa.array([decimal.Decimal("1.5")] * 9), "not numbers; convert them to float64"),
    ("prediction", pa.array([datetime(2020, 1, 1)] * 9), "holds timestamp[us], not numbers"),
    ("prediction", pa.array(["1.5"] * 9), "prediction holds string, not numbers"),
    ("prediction", pa.array([None, *[1.0] * 8]), "column 'prediction' has 1 empty cell"),
    ("seed", pa.array([2**63] * 9, pa.uint64()), "seed 9223372036854775808 does not fit"),
    ("seed", pa.array([True] * 9), "seed holds bool, not integers"),
    ("seed", pa.array([1.0] * 9), "seed holds double, not integers"),
]


@pytest.mark.parametrize(("name", "column", "message"), ODD_COLUMNS)
def test_columns_of_another_type(
    ids: list[str],
    values: np.ndarray,
    tmp_path: Path,
    score: Command,
    name: str,
    column: pa.Array,
    message: str,
) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"id": ids, "prediction": values, name: column}), path)
    assert message in score(path).refusal()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([[1.0, 2.0, 3.0]] * 2, "not lists of floats; write each prediction flat"),
        ([[1.0, 2.0]] * 3, "not lists of floats; write each prediction flat"),
        ([1.0] * 5 + [None], "predictions hold 9 empty cells"),
        ([1.0] * 5, "9 predictions of the wrong length (row 0: 5)"),
    ],
)
def test_lists_of_another_shape(
    toy_content: Path, tmp_path: Path, score: Command, cell: list[Any], message: str
) -> None:
    ids = load_benchmark("toy-fields").truth("test").ids.tolist()
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"id": ids, "prediction": [cell] * 9}), path)
    assert message in score(path, "toy-fields").refusal()


@pytest.mark.parametrize("empty", [pa.null(), pa.float64(), pa.string()], ids=str)
def test_a_file_without_rows(
    toy_content: Path, tmp_path: Path, score: Command, empty: pa.DataType
) -> None:
    path = tmp_path / "p.parquet"
    column = pa.array([], empty)
    pq.write_table(pa.table({"id": column, "prediction": column, "seed": column}), path)
    for benchmark in ("toy-line", "toy-fields"):
        said = score(path, benchmark).refusal()
        assert "9 of 9 predictions of split 'test' are missing" in said


def test_ids_that_share_their_beginnings(
    ids: list[str], values: np.ndarray, tmp_path: Path, score: Command
) -> None:
    """DELTA_BYTE_ARRAY says how long ids are only once they are decoded."""
    plain, path = tmp_path / "plain.parquet", tmp_path / "p.parquet"
    encodings = {"id": "DELTA_BYTE_ARRAY", "prediction": "PLAIN"}

    def write(names: list[Any]) -> None:
        table = pa.table({"id": pa.array(names, pa.string()), "prediction": values})
        pq.write_table(table, path, use_dictionary=False, column_encoding=encodings)

    pq.write_table(pa.table({"id": ids, "prediction": values}), plain)
    write(ids)
    assert score(path).fine() == score(plain).fine()
    write([*ids[:8], "x" * 1_000_000])
    assert "holds an id of 1,000,000 characters" in score(path).refusal()
    write([*ids[:8], None])
    assert "column 'id' has 1 empty cell" in score(path).refusal()


@pytest.mark.skipif(sys.platform != "linux", reason="needs names that are no Unicode")
@pytest.mark.parametrize("suffix", [b".csv", b".parquet"])
def test_a_name_that_is_not_unicode(
    ids: list[str], values: np.ndarray, tmp_path: Path, score: Command, suffix: bytes
) -> None:
    path = tmp_path / f"p{suffix.decode()}"
    frame = pd.DataFrame({"id": ids, "prediction": values})
    frame.to_csv(path, index=False) if suffix == b".csv" else frame.to_parquet(path)
    whole = score(path).fine()
    named = Path(os.fsdecode(os.fsencode(tmp_path) + b"/h\xe4rte" + suffix))
    path.rename(named)
    assert score(named).fine() == whole


def test_frames_in_a_file_whose_name_is_not_unicode(
    toy_frames: Path, tmp_path: Path, score: Command
) -> None:
    truth = load_benchmark("toy-waves").truth("test")
    rows = [(truth.target[row] + np.float16(0.05)).ravel().tolist() for row in range(5)]
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/h\xe4rte.parquet"))
    with path.open("wb") as handle:
        table = pa.table({"id": truth.ids.tolist(), "prediction": rows})
        pq.write_table(table, handle)
    assert "rmse" in score(path, "toy-waves").fine()


@pytest.mark.parametrize("cells", [[1.7e308] * 9, [1.7e308, -1.7e308] * 4 + [0.0], [-1e200] * 9])
def test_no_warning_goes_before_a_refusal(
    ids: list[str], tmp_path: Path, score: Command, cells: list[float]
) -> None:
    """``refusal`` takes one line on stderr and no more."""
    path = tmp_path / "p.parquet"
    pd.DataFrame({"id": ids, "prediction": cells}).to_parquet(path)
    assert "of split 'test' is not finite" in score(path).refusal()
