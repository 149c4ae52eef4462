"""What a microscope does to an image."""

from __future__ import annotations

import numpy as np
import pytest

from etchmark.simulation import imaging
from etchmark.simulation.imaging import render

LEVELS = [60, 190]
PHASE = (np.add.outer(np.arange(32), np.arange(32)) % 16 < 6).astype(np.uint8)


def generator() -> np.random.Generator:
    return np.random.default_rng(3)


def rendered(*steps: dict[str, object]) -> np.ndarray:
    return render(PHASE, LEVELS, steps, generator())[0]


def test_without_steps_there_are_two_grey_levels() -> None:
    assert (rendered() == np.where(PHASE, 190, 60)).all()
    assert rendered().dtype == np.uint8


def test_inverting_twice_changes_nothing() -> None:
    assert (rendered({"step": "invert"}) == np.where(PHASE, 65, 195)).all()
    assert (rendered({"step": "invert"}, {"step": "invert"}) == rendered()).all()


def test_blur_keeps_the_mean_and_damps_a_wave_as_a_gaussian_does() -> None:
    wave = 128 + 50 * np.cos(2 * np.pi * np.arange(64) / 16)
    image = np.broadcast_to(wave, (64, 64))
    blurred = imaging.blur(image, 2.0)
    expected = 50 * np.exp(-((2 * np.pi / 16 * 2.0) ** 2) / 2)
    assert blurred.mean() == pytest.approx(128)
    assert np.ptp(blurred) / 2 == pytest.approx(expected, rel=2e-3)


def test_noise_has_the_stated_spread() -> None:
    grey = np.full((256, 256), 100.0)
    assert imaging.gaussian_noise(grey, 20, generator()).std() == pytest.approx(20, rel=0.02)
    # 100 of 255 at 40 electrons for white are 15.7 electrons, counted to within their root.
    expected = 100 / np.sqrt(40 * 100 / 255)
    assert imaging.shot_noise(grey, 40, generator()).std() == pytest.approx(expected, rel=0.02)


def test_a_lower_resolution_is_the_mean_of_blocks() -> None:
    coarse = imaging.coarsen(np.arange(16.0).reshape(4, 4), 2)
    assert coarse[:2, :2].tolist() == [[2.5, 2.5], [2.5, 2.5]]
    assert coarse.mean() == 7.5
    with pytest.raises(ValueError, match="factor 3 must divide"):
        imaging.coarsen(np.zeros((4, 4)), 3)


def test_light_from_one_side_reaches_its_strength_in_opposite_corners() -> None:
    grey = np.full((33, 33), 100.0)
    lit = imaging.tilt(grey, 0.5, np.pi / 4)
    assert (lit[0, 0], lit[16, 16], lit[-1, -1]) == pytest.approx((50, 100, 150))
    dark = imaging.vignette(grey, 0.6)
    assert (dark[16, 16], dark[0, 0], dark[-1, 0]) == pytest.approx((100, 40, 40))


def test_a_curve_and_a_weak_contrast() -> None:
    image = np.array([[0.0, 127.5, 255.0]])
    assert imaging.curve(image, 2.0).tolist() == [[0.0, 63.75, 255.0]]
    assert imaging.flatten(image, 0.2)[0].tolist() == pytest.approx([102.0, 127.5, 153.0])


def test_scratches_and_edges_touch_what_they_should() -> None:
    grey = np.full((64, 64), 100.0)
    scratched = imaging.scratch(grey, 3, 0.8, 50, generator())
    assert 0.02 < np.mean(np.abs(scratched - 100) > 10) < 0.4
    assert (imaging.scratch(grey, 0, 0.8, 50, generator()) == 100).all()
    step = np.where(np.arange(64) < 32, 60.0, 190.0) + np.zeros((64, 1))
    bright = imaging.edges(step, 1.0)
    # An edge of 130 levels, smoothed by one pixel, has the slope 130 / sqrt(2 pi) in its middle.
    assert bright[:, 31].max() - 60 == pytest.approx(130 / np.sqrt(2 * np.pi), rel=0.15)
    assert bright[:, 16].tolist() == pytest.approx([60.0] * 64)


def test_what_was_drawn_is_told_and_inside_its_range() -> None:
    steps = [{"step": "gaussian_noise", "level": [5, 6]}, {"step": "coarsen", "factor": 2}]
    image, drawn = render(PHASE, [[50, 60], 190], steps, generator())
    again, _ = render(PHASE, drawn["levels"], drawn["steps"], generator())
    assert 50 <= drawn["levels"][0] <= 60
    assert drawn["levels"][1] == 190
    assert 5 <= drawn["steps"][0]["level"] <= 6
    assert drawn["steps"][1] == {"step": "coarsen", "factor": 2}
    assert image.shape == again.shape == PHASE.shape


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ({"step": "magic"}, "step 'magic' must be one of blur"),
        ({"step": "blur", "width": -1}, "width"),
        ({"step": "shot_noise", "electrons": 1}, "electrons"),
        ({"step": "tilt", "strength": 2, "angle": 0}, "strength"),
        ({"step": "curve", "gamma": 0}, "gamma"),
        ({"step": "edges", "gain": float("nan")}, "gain"),
    ],
)
def test_odd_parameters_are_refused(step: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        rendered(step)
