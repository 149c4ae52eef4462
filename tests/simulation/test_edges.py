"""Edges move by a given number of pixels, and regions stay what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from etchmark.simulation.edges import at_count, is_simple, softened
from etchmark.simulation.microstructures import generator_of, random_field

CORNERS = np.ones((3, 3), int)


def regions(image: np.ndarray) -> tuple[int, int]:
    """Regions of phase 1, joined along edges, and of phase 0, joined along corners, too."""
    image = np.pad(image, 1)  # phase 0 lies beyond the edges
    labelled: Any = (ndimage.label(image), ndimage.label(image == 0, CORNERS))
    return labelled[0][1], labelled[1][1]


@pytest.mark.parametrize("change", [-150, -1, 0, 1, 150])
@pytest.mark.parametrize("seed", range(3))
def test_edges_move_and_regions_stay(change: int, seed: int) -> None:
    image = random_field((64, 64), 2.0, 0.4, generator_of(seed))
    count = int(image.sum()) + change
    made = at_count(image, count, False, generator_of(9))
    assert made.sum() == count
    assert (made != image).sum() == abs(change)
    assert regions(made) == regions(image)
    again = at_count(image, count, False, generator_of(9))
    assert np.array_equal(made, again)


def test_edges_move_across_the_edge_of_a_periodic_cell() -> None:
    image = np.zeros((16, 16), np.uint8)
    image[5:11, 5:11] = 1
    moved = np.roll(image, (8, 8), (0, 1))
    made = at_count(moved, 60, True, generator_of(1))
    assert made.sum() == 60
    assert regions(np.roll(made, (-8, -8), (0, 1))) == (1, 1)


def test_what_cannot_be_had_by_moving_edges_is_refused() -> None:
    point = np.zeros((8, 8), np.uint8)
    point[4, 4] = 1
    with pytest.raises(ValueError, match="no edge can move: 0 pixels"):
        at_count(point, 0, False, generator_of(0))


@pytest.mark.parametrize(
    ("rows", "simple"),
    [
        (("000", "010", "000"), False),  # would vanish
        (("111", "101", "111"), False),  # would close
        (("010", "010", "010"), False),  # would break
        (("000", "110", "000"), True),  # an end
        (("111", "111", "000"), True),  # an edge
        (("100", "010", "000"), False),  # joined by a corner alone: a region of its own
        (("110", "110", "000"), True),  # a corner
        (("111", "000", "111"), False),  # would join
    ],
)
def test_simple_pixels(rows: tuple[str, ...], simple: bool) -> None:
    image = np.zeros((5, 5), np.uint8)
    image[1:4, 1:4] = [[int(pixel) for pixel in row] for row in rows]
    assert is_simple(image, 2, 2, False) is simple
    # A cell that is no larger than these pixels: neighbours lie beyond its edges.
    rolled = np.roll(image, (2, 2), (0, 1))
    assert is_simple(rolled, 4, 4, True) is simple


def test_sums_are_whole_and_wrap_or_reflect() -> None:
    image = np.zeros((4, 4), np.uint8)
    image[0, 0] = 1
    wrapped = softened(image, (1, 2, 1), "wrap")
    assert wrapped.dtype == np.int64
    assert wrapped.tolist() == [[4, 2, 0, 2], [2, 1, 0, 1], [0, 0, 0, 0], [2, 1, 0, 1]]
    assert softened(image, (1, 2, 1), "reflect")[0].tolist() == [9, 3, 0, 0]
