"""Maps of grains from frames: every grain is found, wherever the periodic cell begins."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")
pytest.importorskip("skimage")

from etchmark.simulation.grain_growth import GrainGrowth, voronoi
from etchmark.simulation.grain_maps import grains_of

SIDE, KNOWN = 32, 2
LAWS = ((1.0, 0.0), (2.0, 0.0), (1.0, 0.5))


def _true(mobility: float, anisotropy: float, seed: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Frames of the resolved equation, float16; grains in the last of them and in the next."""
    solver = GrainGrowth(2 * SIDE, mobility=mobility, anisotropy=anisotropy, dt=0.04)
    start = voronoi(2 * SIDE, 22, np.random.default_rng(seed))
    made = solver.evolve(start, [10.0 + frame for frame in range(KNOWN + 1)])
    frames = made.frames[0].reshape(-1, SIDE, 2, SIDE, 2).mean(axis=(2, 4))
    counts = made.count[0, KNOWN - 1 : KNOWN + 1].tolist()
    return frames.astype(np.float16), (counts[0], counts[1])


@pytest.fixture(scope="module")
def evolved() -> tuple[np.ndarray, list[tuple[int, int]]]:
    made = [_true(*law, seed) for seed, law in enumerate(LAWS)]
    return np.stack([frames for frames, _ in made]), [count for _, count in made]


def test_every_grain_is_found(evolved) -> None:
    frames, counts = evolved
    for trajectory, (now, later) in zip(frames, counts, strict=True):
        for cells in (1, 2, 3):
            labels = grains_of(trajectory[KNOWN - 1], cells)
            assert labels.shape == (SIDE * cells, SIDE * cells)
            # One that is about to vanish may be darker than what is around it.
            assert later <= len(np.unique(labels)) <= now


@pytest.mark.parametrize("shift", [(5, 0), (0, 16), (31, 17)])
def test_grains_do_not_depend_on_where_the_cell_begins(evolved, shift) -> None:
    frame = evolved[0][0, 1]
    here = np.roll(grains_of(frame), shift, axis=(0, 1))
    there = grains_of(np.roll(frame, shift, axis=(0, 1)))
    # The same map but for the numbers, and for ties at boundaries.
    pairs, counts = np.unique(np.stack([here.ravel(), there.ravel()]), axis=1, return_counts=True)
    assert len(np.unique(here)) == len(np.unique(there))
    agreeing = sum(counts[pairs[0] == one].max() for one in np.unique(here))
    assert agreeing > 0.98 * here.size


def test_a_frame_without_boundaries_is_one_grain() -> None:
    assert len(np.unique(grains_of(np.ones((16, 16)), 2))) == 1
