"""Shades of phases, classes and values: one convention, said beside every picture."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

pytest.importorskip("streamlit")

from dashboard.charts import masks, shades, volumes
from pages import captions, figures, fine, page, start

from etchmark.api import Gallery, grey, open_hub
from etchmark.catalog import catalog
from etchmark.data import building
from etchmark.data.gallery import Kinds

BINARY = np.array([[0, 1], [1, 0]], np.uint8)


@pytest.mark.parametrize(
    ("cells", "said", "darkest", "lightest"),
    [
        (BINARY, shades.PHASES, 0, 1),
        (BINARY.astype(np.int64), shades.PHASES, 0, 1),
        (np.array([[-0.5, 0.0], [0.5, 1.5]]), shades.REAL_NUMBERS, -0.5, 1.5),
        (np.array([[0, 255], [40, 90]], np.uint8), shades.GREY_LEVELS, 0, 255),
    ],
)
def test_the_sentence_fits_the_shades(
    cells: np.ndarray, said: str, darkest: float, lightest: float
) -> None:
    assert shades.in_words(cells) == said
    drawn = grey(cells)
    assert set(drawn[cells == darkest].tolist()) == {0}
    assert set(drawn[cells == lightest].tolist()) == {255}


def test_only_real_numbers_and_micrographs_are_grey() -> None:
    assert grey(np.array([0.5])).tolist() == [128]
    assert "Phase" not in shades.REAL_NUMBERS
    assert shades.all_in_words([BINARY, BINARY]) == shades.PHASES
    assert shades.all_in_words([BINARY, BINARY / 2]) == f"{shades.PHASES} {shades.REAL_NUMBERS}"


def test_two_classes_look_as_two_phases_do() -> None:
    as_classes, as_phases = masks.coloured(BINARY, 2), grey(BINARY)
    np.testing.assert_array_equal(as_classes, np.stack([as_phases] * 3, axis=-1))
    assert shades.classes_in_words(2) == shades.PHASES
    three = "Class 0 is black, 1 white, 2 orange."
    assert shades.classes_in_words(3) == three
    assert "shades of grey" in shades.classes_in_words(9)
    assert len(masks.COLOUR_NAMES) == len(masks.COLOURS)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (np.stack([BINARY] * 3), f"The plane in the middle. {shades.PHASES}"),
        (np.full((3, 2, 2), 0.5), f"The last frame. {shades.REAL_NUMBERS}"),
    ],
)
def test_a_thumbnail_says_which_part_it_is(cells: np.ndarray, said: str) -> None:
    real = cells.dtype.kind == "f"
    kinds = Kinds([], [], [] if real else ["v"], ["f"] if real else [])
    gallery = SimpleNamespace(kinds=kinds, masks={}, cell=lambda *_: cells)
    assert shades.thumbnail_in_words(cast("Gallery", gallery), "test", 0) == said


def test_phase_1_of_a_volume_is_light(toy_volumes: Path) -> None:
    building.build(catalog(), "voxels", "cells-mini")
    app = fine(page("data", dataset="voxels", config="cells-mini"))
    (mesh,) = figures(app)[0]["data"]
    ends = [shade for _, shade in mesh["colorscale"]]
    assert ends == [volumes.SHADOW, volumes.LIGHT]
    assert ends == sorted(ends), "brighter towards the light"
    (said,) = [text for text in captions(app) if shades.SOLID in text]
    assert said.endswith("drag to turn.")
    assert shades.PHASES in captions(app)


def test_no_sentence_on_phases_stands_under_grey_frames(toy_frames: Path) -> None:
    building.build(catalog(), "waves", "waves-full")
    app = fine(page("data", dataset="waves", config="waves-full", split="long"))
    said = captions(app)
    assert f"The last frame. {shades.REAL_NUMBERS}" in said
    assert f"seen and next: 12 frames. {shades.REAL_NUMBERS}" in said
    assert not any("Phase 0" in text for text in said)


def test_the_picture_of_a_board_says_its_shades(toy_frames: Path) -> None:
    building.build(catalog(), "waves", "waves-full")
    app = fine(start(benchmark="toy-waves"))
    (image,) = app.get("image")[0].proto.imgs
    assert image.caption.replace("\\", "").endswith(shades.REAL_NUMBERS)


def test_pictures_of_cards_show_the_stiff_phase_light() -> None:
    spec = open_hub().dataset("composites")
    assert all("(1) light" in shown.caption for shown in spec.pictures)
    assert json.dumps([shown.caption for shown in spec.pictures]).count("dark") == 0
