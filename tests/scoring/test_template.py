"""What a submitter starts from: inputs without labels, and a file that must be filled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from etchmark import predictions
from etchmark.data.loading import load_benchmark
from etchmark.errors import UserError
from etchmark.scoring import template
from etchmark.submission.scoring import score_file


def test_a_holdout(toy_content: Path, tmp_path: Path) -> None:
    line = load_benchmark("toy-line")
    written = template.write(line, "features", "holdout", tmp_path / "out")
    assert [path.name for path in written.inputs] == ["inputs-test.parquet", "inputs-hard.parquet"]
    inputs = pd.read_parquet(written.inputs[0])
    assert list(inputs.columns) == ["id", "a", "kind"]
    assert inputs["id"].tolist() == line.truth("test").ids.tolist()
    assert [path.name for path in written.predictions] == ["predictions.parquet", "predictions.csv"]
    for path, message in zip(
        written.predictions,
        ("15 predictions are not finite", "prediction is empty"),
        strict=True,
    ):
        with pytest.raises(UserError, match=message):
            score_file(line, path, protocol="holdout")


def test_the_track_decides_what_is_given(toy_content: Path, tmp_path: Path) -> None:
    written = template.write(load_benchmark("toy-line"), "kinds", "holdout", tmp_path)
    assert pq.read_schema(written.inputs[0]).names == ["id", "kind"]


def test_folds_are_told(toy_content: Path, tmp_path: Path) -> None:
    written = template.write(load_benchmark("toy-line"), "features", "folds", tmp_path)
    assert pq.read_schema(written.inputs[0]).names == ["id", "a", "kind", "fold"]


def test_a_filled_template_is_scored_as_what_it_says(toy_content: Path, tmp_path: Path) -> None:
    line = load_benchmark("toy-line")
    written = template.write(line, "kinds", "folds", tmp_path)
    table = pq.read_table(written.predictions[0])
    filled = table.set_column(1, "prediction", [np.full(len(table), 100.0)])
    pq.write_table(filled, written.predictions[0])
    stated, scored = score_file(line, written.predictions[0])
    assert (stated.track, stated.protocol) == ("kinds", "folds")
    assert scored.scores[0].n == 12


def test_arrays(toy_content: Path, tmp_path: Path) -> None:
    fields = load_benchmark("toy-fields")
    written = template.write(fields, "features", "holdout", tmp_path)
    assert [path.name for path in written.predictions] == ["predictions.parquet"]
    found = predictions.read(written.predictions[0], rows=9, shape=(3, 2))
    assert found.values.shape == (9, 3, 2)
    assert np.isnan(found.values).all()
    assert found.declared == predictions.Declared("toy-fields@1", "features", "holdout")


def test_a_folder_that_cannot_be_written(toy_content: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written .*give another --out"):
        template.write(load_benchmark("toy-line"), "features", "holdout", tmp_path / "file")
