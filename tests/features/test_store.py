"""The feature store: whole, apart, and never trusted blindly."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from etchmark.errors import CannotRun
from etchmark.features.store import Damaged, Shelf, image_hash, recipe_key

RECIPE = {"encoder": "e", "size": 32}


def rows(count: int, seed: int = 0) -> tuple[list[bytes], np.ndarray]:
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 255, (count, 4, 4), dtype=np.uint8)
    return [image_hash(one) for one in images], generator.normal(size=(count, 8)).astype("f4")


def test_what_is_put_is_got(tmp_path: Path) -> None:
    hashes, vectors = rows(1200)
    shelf = Shelf(tmp_path, RECIPE)
    assert shelf.get(hashes) == {}
    shelf.put(hashes[:700], vectors[:700], 0.5)
    found = Shelf(tmp_path, dict(reversed(RECIPE.items()))).get(hashes)
    assert len(found) == 700
    assert all(
        np.array_equal(found[one].vector, vectors[row]) for row, one in enumerate(hashes[:700])
    )
    assert found[hashes[0]].seconds == 0.5


def test_another_recipe_is_another_shelf(tmp_path: Path) -> None:
    hashes, vectors = rows(3)
    Shelf(tmp_path, RECIPE).put(hashes, vectors, 0.0)
    assert Shelf(tmp_path, {**RECIPE, "size": 64}).get(hashes) == {}
    assert recipe_key(RECIPE) != recipe_key({**RECIPE, "size": 64})


def test_an_image_is_its_pixels_shape_and_type() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert image_hash(image) == image_hash(np.asfortranarray(image)) == image_hash(image[:, :4])
    others = [image.reshape(4, 3), image.astype(np.int8), image.T, image + np.uint8(1)]
    assert len({image_hash(one) for one in [image, *others]}) == 5


def test_a_flipped_bit_is_computed_again(tmp_path: Path) -> None:
    hashes, vectors = rows(2)
    shelf = Shelf(tmp_path, RECIPE)
    shelf.put(hashes, vectors, 0.0)
    with sqlite3.connect(shelf.path) as connection:
        damaged = bytearray(vectors[0].tobytes())
        damaged[5] ^= 1
        connection.execute(
            "UPDATE features SET vector = ? WHERE image = ?", (bytes(damaged), hashes[0])
        )
    assert list(shelf.get(hashes)) == [hashes[1]]
    shelf.put(hashes[:1], vectors[:1], 0.0)
    assert len(shelf.get(hashes)) == 2


@pytest.mark.parametrize("content", [b"", b"no database" * 500])
def test_a_damaged_file_is_set_aside(tmp_path: Path, content: bytes) -> None:
    hashes, vectors = rows(2)
    shelf = Shelf(tmp_path, RECIPE)
    shelf.put(hashes, vectors, 0.0)
    shelf.path.write_bytes(content)
    for rest in ("-wal", "-shm"):
        shelf.path.with_name(shelf.path.name + rest).unlink(missing_ok=True)
    if content:
        with pytest.raises(Damaged) as raised:
            shelf.get(hashes)
        assert raised.value.set_aside().is_file()
    assert shelf.get(hashes) == {}
    shelf.put(hashes, vectors, 0.0)
    assert len(shelf.get(hashes)) == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotRun, match="ETCHMARK_FEATURES"):
        Shelf(tmp_path / "file", RECIPE).put(*rows(1), 0.0)


def _write(folder: Path, part: int) -> None:
    hashes, vectors = rows(400)
    shelf = Shelf(folder, RECIPE)
    for start in range(part, 400, 20):
        shelf.put(hashes[start : start + 20], vectors[start : start + 20], 0.0)


def test_a_store_that_cannot_be_written_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes, vectors = rows(3)
    shelf = Shelf(tmp_path, RECIPE)
    shelf.put(hashes[:2], vectors[:2], 0.5)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    assert len(shelf.get(hashes)) == 2
    with pytest.raises(CannotRun, match="ETCHMARK_FEATURES"):
        shelf.put(hashes, vectors, 0.5)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_processes_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write, args=(tmp_path, part)) for part in (0, 0, 10)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(60)
        assert one.exitcode == 0
    hashes, vectors = rows(400)
    found = Shelf(tmp_path, RECIPE).get(hashes)
    assert np.array_equal(np.stack([found[one].vector for one in hashes]), vectors)
