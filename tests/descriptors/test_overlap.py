"""The search for copies: every kind of copy is found, and images of one material are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from etchmark.descriptors import largest_overlaps, overlap_limits

SIZE = 64


def blobs(count: int, seed: int, fraction: float = 0.4) -> np.ndarray:
    """Periodic images of one material: smoothed noise, cut at its own quantile."""
    generator = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(
        generator.normal(size=(count, SIZE, SIZE)), (0, 2.0, 2.0), mode="wrap"
    )
    level = np.quantile(smooth.reshape(count, -1), 1 - fraction, axis=1)[:, None, None]
    return (smooth > level).astype(np.uint8)


EXEMPLAR = blobs(1, 1)[0]
REALISATIONS = blobs(24, 2)
LIMITS = overlap_limits(EXEMPLAR, REALISATIONS)
OTHER = blobs(1, 3)[0]


def flipped(share: float) -> np.ndarray:
    """A copy in which a share of the cells has the other phase."""
    change = np.random.default_rng(5).random((SIZE, SIZE)) < share
    return np.where(change, 1 - EXEMPLAR, EXEMPLAR)


def half() -> np.ndarray:
    return np.concatenate([EXEMPLAR[:, :32], OTHER[:, 32:]], axis=1)


def shifted_into_view() -> np.ndarray:
    """The exemplar, moved by a third, with something else where it no longer reaches."""
    image = OTHER.copy()
    image[:43, :43] = EXEMPLAR[21:, 21:]
    return image


def tiles() -> np.ndarray:
    """Patches of 32 x 32 cells from places of the exemplar, laid side by side."""
    wide = np.pad(EXEMPLAR, ((0, 32), (0, 32)), mode="wrap")
    corners = [[(3, 7), (20, 30)], [(9, 41), (33, 15)]]
    rows = [[wide[y : y + 32, x : x + 32] for y, x in row] for row in corners]
    return np.block(rows)


def quarters() -> np.ndarray:
    """Corners of four realisations side by side, with the seams moved off the grid of patches."""
    first, second, third, fourth = (image[:32, :32] for image in REALISATIONS[:4])
    return np.roll(np.block([[first, second], [third, fourth]]), (16, 16), axis=(0, 1))


def middle() -> np.ndarray:
    """The middle of a realisation, with something else around it."""
    image = OTHER.copy()
    image[11:51, 11:51] = REALISATIONS[5][11:51, 11:51]
    return image


COPIES: dict[str, Callable[[], np.ndarray]] = {
    "as it is": lambda: EXEMPLAR,
    "shifted": lambda: np.roll(EXEMPLAR, (17, 40), axis=(0, 1)),
    "turned": lambda: np.rot90(EXEMPLAR),
    "mirrored and shifted": lambda: np.roll(EXEMPLAR.T, 9, axis=0),
    "thickened": lambda: ndimage.binary_dilation(EXEMPLAR, ndimage.generate_binary_structure(2, 1)),
    "with noise": lambda: flipped(0.05),
    "half of it": half,
    "moved within the view": shifted_into_view,
    "in tiles": tiles,
    "of quarters of realisations, off the grid": quarters,
    "of the middle of a realisation": middle,
    "of a realisation": lambda: np.roll(REALISATIONS[7], (5, 11), axis=(0, 1)),
}


def is_copy(image: np.ndarray) -> bool:
    others = np.concatenate([EXEMPLAR[None], REALISATIONS])
    found = largest_overlaps(image[None], others, stride=8)
    return bool((np.array([found.whole[0], found.patch[0]]) > LIMITS).any())


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_found(kind: str) -> None:
    assert is_copy(COPIES[kind]().astype(np.uint8))


def test_new_realisations_are_no_copies() -> None:
    assert not any(is_copy(image) for image in blobs(20, 11))


def test_the_overlap_of_a_copy_is_1_and_of_its_negative_image_is_not() -> None:
    images = np.stack([np.roll(EXEMPLAR, 5, axis=0), 1 - EXEMPLAR])
    whole, patch = largest_overlaps(images, EXEMPLAR[None])
    assert whole[0] == pytest.approx(1.0, abs=1e-5)
    assert patch[0] == pytest.approx(1.0, abs=1e-5)
    assert whole[1] < LIMITS[0]


def test_overlaps_of_a_patch_agree_with_a_plain_search() -> None:
    image, other = blobs(2, 21)
    _, patch = largest_overlaps(image[None], other[None])
    wide = np.pad(other, ((0, 31), (0, 31)), mode="wrap").astype(float)
    windows = np.lib.stride_tricks.sliding_window_view(wide, (32, 32)).reshape(-1, 1024)
    # No window varies less than the smallest that counts, or its deviation would be raised.
    deviation = np.sqrt(np.maximum(windows.var(axis=1), 0.5 * other.var()))
    best = 0.0
    for corner in (image[:32, :32], image[:32, 32:], image[32:, :32], image[32:, 32:]):
        for turned in (np.rot90(part, turns) for part in (corner, corner.T) for turns in range(4)):
            centred = (turned - turned.mean()).ravel()
            scale = max(float(turned.std()), float(deviation.min())) * 1024
            best = max(best, float((windows @ centred / deviation).max()) / scale)
    assert patch[0] == pytest.approx(best, abs=1e-4)


def test_patches_of_nearly_one_phase_are_no_copies_of_each_other() -> None:
    generator = np.random.default_rng(8)
    images = np.zeros((2, SIZE, SIZE), dtype=np.uint8)
    for image in images:
        image[generator.integers(0, SIZE, 30), generator.integers(0, SIZE, 30)] = 1
    # One single cell in a patch matches one single cell anywhere.
    assert largest_overlaps(images[:1], images[1:]).patch[0] < 0.9


@pytest.mark.parametrize(
    ("first", "second"),
    [((1, 64, 64), (1, 48, 48)), ((1, 64, 48), (1, 64, 48)), ((1, 16, 16),) * 2],
)
def test_images_of_other_sizes_are_refused(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="squares of one size"):
        largest_overlaps(np.zeros(first), np.zeros(second))
