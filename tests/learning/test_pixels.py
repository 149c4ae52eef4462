"""What models of one class per pixel share: against scikit-image, and by hand."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import jaccard_score

from etchmark.errors import UserError
from etchmark.learning import pixels


def picture(side: int = 60, seed: int = 0) -> np.ndarray:
    """Smooth grey blobs."""
    noise = np.random.default_rng(seed).normal(size=(side, side))
    smooth = ndimage.gaussian_filter(noise, 3)
    return np.interp(smooth, (smooth.min(), smooth.max()), (0, 255)).astype(np.uint8)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_thresholds_are_those_of_scikit_image(classes: int) -> None:
    filters = pytest.importorskip("skimage.filters")
    grey = picture()
    # There a threshold is the last grey level of a class, here the first of the next one.
    expected = filters.threshold_multiotsu(grey, classes, nbins=256)
    bands = np.digitize(grey, expected, right=True)
    assert (pixels.grey_bands(grey, classes) == bands).mean() > 0.99
    assert _between(grey, pixels.grey_bands(grey, classes)) >= _between(grey, bands) - 1e-9


def _between(grey: np.ndarray, bands: np.ndarray) -> float:
    """Variance between the bands, which thresholds are to make as large as can be."""
    whole = grey.mean()
    parts = [grey[bands == band] for band in np.unique(bands)]
    return sum(len(part) * (part.mean() - whole) ** 2 for part in parts) / grey.size


def test_more_classes_than_grey_levels() -> None:
    grey = np.repeat(np.array([10, 200], dtype=np.uint8), 8).reshape(4, 4)
    bands = pixels.grey_bands(grey, 4)
    assert bands.max() <= 3
    assert len(np.unique(bands)) <= 2


def test_regions_of_grey_levels_are_connected() -> None:
    grey = np.full((40, 40), 20, dtype=np.uint8)
    grey[5:15, 5:15] = grey[25:35, 25:35] = 230
    numbers = pixels.regions(grey, pixels.LEVELS, 2)
    # The ground and two squares, which are alike and apart.
    assert set(np.unique(numbers)) == {0, 1, 2}
    assert len({numbers[10, 10], numbers[30, 30], numbers[20, 2]}) == 3


def test_superpixels_are_about_as_large_as_asked_for() -> None:
    pytest.importorskip("skimage.segmentation")
    numbers = pixels.regions(picture(120), pixels.SLIC, 4)
    assert numbers.min() == 0
    assert 18 <= len(np.unique(numbers)) <= 72


def test_regions_come_from_the_picture_alone() -> None:
    """Regions of the true mask would nearly give the answer away: there is no way to hand it in."""
    assert list(inspect.signature(pixels.regions).parameters) == ["picture", "kind", "classes"]
    assert set(pixels.REGIONS) == {"levels", "slic"}
    with pytest.raises(UserError, match="regions 'mask': give one of levels, slic"):
        pixels.regions(picture(), "mask", 4)


def test_the_vote_of_a_region_by_hand() -> None:
    numbers = np.array([[0, 0, 1], [0, 1, 1]])
    shares = np.array([[[0.9, 0.3, 0.6], [0.4, 0.1, 0.2]], [[0.1, 0.7, 0.4], [0.6, 0.9, 0.8]]])
    # Region 0 holds 1.6 of class 0 and 1.4 of class 1, region 1 holds 0.9 and 2.1.
    assert pixels.vote(shares, numbers).tolist() == [[0, 0, 1], [0, 1, 1]]


def test_pixels_are_drawn_once_each() -> None:
    generator = np.random.default_rng(0)
    drawn = pixels.draw_pixels(50, 100, generator)
    assert len(set(drawn.tolist())) == 50
    assert (np.diff(drawn) > 0).all()
    assert pixels.draw_pixels(500, 100, generator).tolist() == list(range(100))


def test_inner_scores_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    truth, predicted = generator.integers(0, 3, (2, 500))
    expected = jaccard_score(truth, predicted, average="macro")
    assert pixels.pooled_iou(truth, predicted, 4) == pytest.approx(expected, rel=1e-12)


def test_a_track_without_micrographs() -> None:
    with pytest.raises(UserError, match="reads the input 'micrograph'"):
        pixels.pictures_of({"x": np.zeros(3)})
