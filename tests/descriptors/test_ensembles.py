"""Groups of descriptors and the distance of two sets of images."""

from __future__ import annotations

import numpy as np
import pytest

from etchmark.descriptors import GROUPS, descriptor_groups, energy_distance, group_distances


def stripes(width: int, size: int = 64) -> np.ndarray:
    """Rows of alternating phases, ``width`` cells each."""
    rows = np.arange(size) // width % 2
    return np.repeat(rows[:, None], size, axis=1).astype(np.uint8)


def noise(count: int, fraction: float, seed: int, size: int = 64) -> np.ndarray:
    return (np.random.default_rng(seed).random((count, size, size)) < fraction).astype(np.uint8)


@pytest.mark.parametrize("periodic", [True, False])
def test_descriptors_of_stripes_are_those_worked_out_by_hand(periodic: bool) -> None:
    groups = {
        name: values[0]
        for name, values in descriptor_groups(stripes(4)[None], periodic=periodic).items()
    }
    # Phase 1 along rows (axis 1 of the array): whole rows, so half of all segments lie inside.
    path = groups["lineal_path"].reshape(2, 2, 32)
    across, along = path[0]
    assert along == pytest.approx(np.full(32, 0.5))
    # Across: 8 runs of 4 cells in 64 rows; segments of r cells start at 4 - r + 1 places of each.
    starts = 64.0 if periodic else 64.0 - np.arange(4)
    assert across[:4] == pytest.approx(8 * np.array([4, 3, 2, 1]) / starts)
    assert across[4:] == pytest.approx(0.0)
    chords = groups["chord_length"].reshape(2, 2, 31)
    assert chords[0, 0].tolist() == [0.0] * 3 + [1.0] * 28
    right, down, *diagonals = groups["surface"]
    assert down == pytest.approx(16 / 64 if periodic else 15 / 63)
    assert right == 0.0
    assert diagonals == pytest.approx([down, down])
    # Eight bands of 4 x 64 cells: half of the image in clusters of 1 to 256 cells.
    shares, largest, number = np.split(groups["clusters"][:15], [13, 14])
    assert shares == pytest.approx([0.5] * 9 + [0.0] * 4)
    assert largest[0] == pytest.approx(256 / 4096)
    assert number[0] == pytest.approx(np.log2(9) / np.log2(4097))


def test_clusters_of_a_periodic_image_continue_across_its_edges() -> None:
    image = np.zeros((1, 64, 64), dtype=np.uint8)
    image[0, :2], image[0, -2:] = 1, 1
    inside = descriptor_groups(image, periodic=False)["clusters"][0]
    across = descriptor_groups(image, periodic=True)["clusters"][0]
    assert inside[13] == pytest.approx(128 / 4096)
    assert across[13] == pytest.approx(256 / 4096)


def test_descriptors_lie_between_0_and_1_even_of_one_phase() -> None:
    images = np.concatenate([noise(3, 0.3, 1), np.zeros((1, 64, 64)), np.ones((1, 64, 64))])
    for periodic in (True, False):
        for name, values in descriptor_groups(images, periodic=periodic).items():
            assert len(values) == 5, name
            assert np.isfinite(values).all()
            assert values.min() >= 0, name
            assert values.max() <= 1 + 1e-9, name


def test_two_point_statistics_without_edges_are_unbiased() -> None:
    # White noise of fraction f: S(r) = f² for every r but 0, with edges or without.
    values = descriptor_groups(noise(200, 0.3, 2), periodic=False)["two_point"].mean(axis=0)
    assert values[-1] == pytest.approx(0.3, abs=0.003)
    assert values[:-1] == pytest.approx(0.09, abs=0.003)


def test_energy_distance_of_normal_samples_is_that_of_the_closed_form() -> None:
    # E|X-Y| of N(0, 1) and N(d, 1) in one dimension: 2 E|N(d, 2)| - 2 · 2/√π.
    generator = np.random.default_rng(3)
    shift = 1.5
    x, y = generator.normal(size=(3000, 1)), generator.normal(shift, size=(3000, 1))
    from math import erf, exp, pi, sqrt

    between = 2 * sqrt(1 / pi) * exp(-(shift**2) / 4) + shift * erf(shift / 2)
    assert energy_distance(x, y) == pytest.approx(2 * between - 4 / sqrt(pi), rel=0.05)


def test_energy_distance_of_one_distribution_is_0_on_average() -> None:
    generator = np.random.default_rng(4)
    distances = [energy_distance(*generator.normal(size=(2, 16, 5))) for _ in range(400)]
    error = np.std(distances) / 20
    assert abs(np.mean(distances)) < 3 * error
    # The biased one would be off by far more.
    assert error < 0.02


def test_distances_tell_noise_from_stripes_in_every_group() -> None:
    turned = np.stack([np.roll(stripes(4), shift, axis=0) for shift in range(8)])
    apart = group_distances(noise(8, 0.5, 5), turned, periodic=True)
    same = group_distances(noise(8, 0.5, 5), noise(8, 0.5, 6), periodic=True)
    assert apart.shape == (len(GROUPS),)
    assert (apart > 20 * np.abs(same)).all()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((64, 64)), "have the shape"),
        (np.full((2, 64, 64), 2), "0 and 1 alone"),
        (np.full((2, 64, 64), np.nan), "0 and 1 alone"),
        (np.zeros((2, 20, 64)), "smaller than 33"),
    ],
)
def test_images_of_another_form_are_refused(images: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        descriptor_groups(images, periodic=True)


def test_one_sample_has_no_distance() -> None:
    with pytest.raises(ValueError, match="two samples"):
        energy_distance(np.zeros((1, 3)), np.zeros((4, 3)))
