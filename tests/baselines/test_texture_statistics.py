"""Statistics of micrographs: thresholds, binary patterns, co-occurrence."""

from __future__ import annotations

import numpy as np
import pytest
from model_module import model_module

texture = model_module("texture_statistics")
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)


def test_otsu_divides_two_levels() -> None:
    image = np.where(np.arange(100) < 30, 60, 190).astype(np.uint8).reshape(10, 10)
    assert 60 <= texture.otsu(image) < 190
    assert ((image > texture.otsu(image)) == (image == 190)).all()


def test_two_point_statistics_begin_with_what_the_threshold_leaves() -> None:
    values = texture.two_point(NOISE)
    # The last entry of half of all lags is lag zero: the share of bright pixels.
    assert values[-1] == pytest.approx((texture.otsu(NOISE) < NOISE).mean())


def test_a_turned_image_has_the_same_binary_patterns() -> None:
    for turned in (np.rot90(NOISE), NOISE[::-1]):
        np.testing.assert_allclose(
            texture.binary_patterns(np.ascontiguousarray(turned)), texture.binary_patterns(NOISE)
        )


def test_binary_patterns_do_not_see_brightness_and_contrast() -> None:
    dim = (NOISE // 2 * 2).astype(np.uint8)
    np.testing.assert_array_equal(
        texture.binary_patterns(dim), texture.binary_patterns((dim // 2 + 7).astype(np.uint8))
    )


def test_a_flat_image_is_all_bright_neighbours() -> None:
    patterns = texture.binary_patterns(np.full((20, 20), 9, np.uint8)).reshape(-1, 10)
    assert (patterns[:, 8] == 1).all()
    assert np.isfinite(texture.co_occurrence(np.full((20, 20), 9, np.uint8))).all()


def test_co_occurrence_of_stripes_and_of_noise() -> None:
    stripes = np.where(np.arange(64) % 2, 255, 0).astype(np.uint8) + np.zeros((64, 1), np.uint8)
    contrast, homogeneity, energy, correlation = texture.co_occurrence(stripes)[:4]
    # Beside each other levels differ by 15 in three of four directions, and never along a stripe.
    share = 64 * 63 / (64 * 63 + 2 * 63 * 63 + 63 * 64)
    assert contrast == pytest.approx(15**2 * (1 - share))
    assert homogeneity == pytest.approx(share + (1 - share) / (1 + 15**2))
    assert energy > 0.5
    assert correlation == pytest.approx(2 * share - 1, abs=1e-3)
    assert abs(texture.co_occurrence(NOISE)[3]) < 0.05
