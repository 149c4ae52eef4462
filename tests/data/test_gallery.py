"""What people look at is what the files hold."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from etchmark.catalog import catalog
from etchmark.data import building
from etchmark.data.gallery import Gallery, grey, groups, numbers
from etchmark.errors import UserError


def _gallery(dataset: str, config: str) -> Gallery:
    made = building.build(catalog(), dataset, config)
    return Gallery(made.folder, made.manifest)


def test_scalars_and_their_groups(toy_content: Path) -> None:
    found = _gallery("toy", "scalar-mini")
    assert found.splits == ["train", "test", "hard"]
    assert found.kinds == (["id", "a", "kind", "source", "fold", "y"], [], [], [])
    table = found.table("train")
    assert table["id"].tolist() == [f"train-{row:02d}" for row in range(12)]
    assert (groups(table), numbers(table)) == (["kind", "source"], ["a", "fold", "y"])
    assert groups(table[:1]) == numbers(table[:1]) == []
    assert found.thumbnail("train", 0) is None
    with pytest.raises(UserError, match=r"unknown split 'other'; choose from: train, test, hard"):
        found.table("other")


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1.0, 2.0], True),
        ([1.0, np.nan, 2.0], True),
        ([0.3, 0.30000000000000004], False),
        ([0.0, 0.0], False),
        ([1.0, np.inf], False),
        ([np.nan, np.nan], False),
    ],
)
def test_numbers_that_tell_something(values: list[float], shown: bool) -> None:
    assert numbers(pd.DataFrame({"x": values})) == (["x"] if shown else [])


def test_volumes_and_planes(toy_volumes: Path) -> None:
    found = _gallery("voxels", "cells-mini")
    assert found.kinds[1:] == (["slice"], ["cell"], [])
    cells = found.columns("test")["slice"]
    thumbnail = found.thumbnail("test", 2)
    assert thumbnail is not None
    np.testing.assert_array_equal(thumbnail, 255 * cells[2])
    assert found.cell("test", "cell", 1).shape == (3, 4, 5)


def test_films(toy_frames: Path) -> None:
    found = _gallery("waves", "waves-full")
    assert found.kinds == (["id", "horizon", "kappa"], [], [], ["seen", "next"])
    film = found.film("long", 1)
    assert film.shape == (12, 8, 8)
    exact = np.concatenate([found.columns("long")[name][1] for name in ("seen", "next")])
    np.testing.assert_allclose(film / 255, exact.astype(float), atol=0.5 / 255 + 1e-9)
    thumbnail = found.thumbnail("long", 1)
    assert thumbnail is not None
    np.testing.assert_array_equal(thumbnail, film[-1])


def test_a_split_as_one_file(toy_content: Path) -> None:
    found = _gallery("toy", "scalar-mini")
    name, content = found.file_name("test"), found.packed("test")
    (file,) = [one for one in found.manifest.files if one.split == "test"]
    assert name == "toy-scalar-mini-test.parquet"
    assert hashlib.sha256(content).hexdigest() == file.sha256
    assert len(content) == found.size("test")


def test_a_split_of_several_files_is_packed(toy_content: Path) -> None:
    found = _gallery("toy", "scalar-mini")
    # As if two splits were shards of one.
    shards = [file.model_copy(update={"split": "all"}) for file in found.manifest.files]
    found = Gallery(found.folder, found.manifest.model_copy(update={"files": shards}))
    name, content = found.file_name("all"), found.packed("all")
    assert name == "toy-scalar-mini-all.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        assert packed.testzip() is None
        for file in shards:
            assert hashlib.sha256(packed.read(file.path)).hexdigest() == file.sha256


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.array([[0, 1]], np.uint8), [[0, 255]]),
        (np.array([[0, 1, 7]], np.uint8), [[0, 1, 7]]),
        (np.array([[True, False]]), [[255, 0]]),
        (np.array([[-1.0, 0.5, 2.0]], np.float16), [[0, 128, 255]]),
        (np.zeros((0, 2), np.uint8), np.zeros((0, 2))),
    ],
)
def test_brightness(given: np.ndarray, expected: list) -> None:
    found = grey(given)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
