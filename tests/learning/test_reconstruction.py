"""What models share that draw images from an exemplar."""

from __future__ import annotations

import numpy as np
import pytest

from etchmark.errors import UserError
from etchmark.learning.reconstruction import (
    Exemplar,
    Reconstruction,
    checked,
    exemplars_of,
    generators,
)

IMAGE = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0]], np.uint8)


def test_a_field_is_cut_at_the_exemplars_number_of_pixels() -> None:
    exemplar = Exemplar(IMAGE, True)
    assert exemplar.fraction == pytest.approx(4 / 9)
    field = np.arange(9.0).reshape(3, 3)
    assert (exemplar.cut(field) == (field >= 5)).all()


def test_the_two_point_function_knows_whether_edges_meet() -> None:
    # One row below: three pairs across the edge's nine, two of six inside.
    assert Exemplar(IMAGE, True).two_point(1)[2, 1] == pytest.approx(3 / 9)
    assert Exemplar(IMAGE, False).two_point(1)[2, 1] == pytest.approx(2 / 6)


def test_generators_follow_the_exemplar_and_the_seed_alone() -> None:
    def numbers(seed: int, image: np.ndarray) -> list[float]:
        return [generator.random() for generator in generators(seed, image, count=3)]

    assert numbers(0, IMAGE) == numbers(0, IMAGE.copy())
    assert len({*numbers(0, IMAGE), *numbers(1, IMAGE), *numbers(0, 1 - IMAGE)}) == 9


def test_a_track_without_an_exemplar_is_refused() -> None:
    with pytest.raises(UserError, match=r"reads the input 'exemplar'.*its inputs: further"):
        exemplars_of({"further": np.zeros((1, 16, 3, 3))})
    with pytest.raises(UserError, match="reads the input 'periodic'"):
        Reconstruction(0).predict({"exemplar": IMAGE[None]})


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "3", True, None])
def test_options_that_are_not_large_enough_numbers_are_refused(value: object) -> None:
    checked({"steps": (1, 1)})
    with pytest.raises(UserError, match=r"steps .*: give a number from 1 on"):
        checked({"steps": (value, 1)})  # pyright: ignore[reportArgumentType]
