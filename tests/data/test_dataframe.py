"""Stored data as pandas frames: what may be given, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import etchmark
from etchmark.catalog import catalog
from etchmark.data import building
from etchmark.errors import UserError


def test_a_split_of_a_benchmark(toy_volumes: Path) -> None:
    benchmark = etchmark.load_benchmark("toy-volumes")
    frame = benchmark.frame("test")
    table = benchmark.split("test").to_pandas()
    assert frame.columns.tolist() == table.columns.tolist()
    for name in frame:
        if frame[name].dtype != object:
            pd.testing.assert_series_equal(frame[name], table[name])
    assert frame["cell"].iloc[0].dtype == np.uint8
    stored = np.array(benchmark.split("test")[:]["cell"])
    assert np.array_equal(np.stack(frame["cell"].to_list()), stored)
    frame["cell"].iloc[0][:] = 7  # a cell of one's own, not a view of a file
    assert benchmark.frame("test", columns=["id", "y"]).columns.tolist() == ["id", "y"]
    with pytest.raises(UserError, match="has no column 'z'"):
        benchmark.frame("test", columns=["z"])
    with pytest.raises(UserError, match="unknown split 'tset'"):
        benchmark.frame("tset")
    with pytest.raises(UserError, match="unknown track"):
        benchmark.frame("test", track="none")


def test_rows_that_were_selected(toy_volumes: Path) -> None:
    table = etchmark.load_benchmark("toy-volumes").split("train")
    selected = table.filter(lambda row: row["fold"] == 1).select([1, 0])
    frame = etchmark.to_frame(selected, columns=["id", "cell"])
    assert frame["id"].tolist() == selected["id"]
    assert np.array_equal(frame["cell"].iloc[0], np.array(selected[0]["cell"]))
    with pytest.raises(UserError, match="has no column 'z'"):
        etchmark.to_frame(selected, columns=["z"])


def test_files(toy_content: Path, tmp_path: Path) -> None:
    folder = building.build(catalog(), "toy", "fields-mini").folder / "data"
    both = etchmark.to_frame(folder / "*.parquet")
    assert len(both) == 21
    assert both["y"].iloc[0].shape == (3, 2)
    files = [str(path) for path in sorted(folder.iterdir())]
    pd.testing.assert_frame_equal(etchmark.to_frame(files), both)
    for wrong in (folder, folder / "none.parquet", folder / "none-*.parquet", tmp_path / "*"):
        with pytest.raises(UserError, match="is not a file; name parquet files"):
            etchmark.to_frame(wrong)
    with pytest.raises(UserError, match="no file is given"):
        etchmark.to_frame([])
    (tmp_path / "x.parquet").write_text("no parquet")
    with pytest.raises(UserError, match="cannot be read as parquet"):
        etchmark.to_frame(tmp_path / "x.parquet")
