"""Mobility and anisotropy of grain growth from frames of the resolved equation."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")
pytest.importorskip("skimage")

from etchmark.simulation.grain_growth import GrainGrowth, voronoi
from etchmark.simulation.grain_identification import NotIdentified, identify_grains

N, FRAMES = 64, 10


def simulated(mobility: float, anisotropy: float, interval: float = 1.0) -> np.ndarray:
    """Frames as they are stored, from some thirty grains."""
    solver = GrainGrowth(
        2 * N, mobility=mobility, anisotropy=anisotropy, dt=0.05 / mobility / (1 + anisotropy)
    )
    times = 10 / mobility + interval * np.arange(FRAMES)
    start = voronoi(2 * N, 50, np.random.default_rng(3))
    frames = solver.evolve(start, times.tolist()).frames[0]
    return frames.reshape(FRAMES, N, 2, N, 2).mean(axis=(2, 4)).astype(np.float16)


@pytest.mark.parametrize(("mobility", "anisotropy"), [(0.6, 0.5), (1.0, 0.0), (2.0, 0.3)])
def test_parameters_of_simulated_frames(mobility: float, anisotropy: float) -> None:
    found = identify_grains(simulated(mobility, anisotropy), 1.0)
    assert found.mobility == pytest.approx(mobility, rel=0.06)
    assert found.anisotropy == pytest.approx(anisotropy, abs=0.08)
    assert found.residual < 0.03


def test_time_between_frames_scales_the_mobility() -> None:
    frames = simulated(1.0, 0.3)
    once, twice = identify_grains(frames, 1.0), identify_grains(frames, 2.0)
    assert twice.mobility == pytest.approx(once.mobility / 2, rel=1e-3)
    assert twice.anisotropy == pytest.approx(once.anisotropy, abs=1e-3)


def test_frames_that_say_nothing() -> None:
    frames = simulated(1.0, 0.0)
    with pytest.raises(NotIdentified, match="do not change"):
        identify_grains(np.repeat(frames[:1], 4, axis=0), 1.0)
    fading = np.ones((4, 16, 16)) * np.linspace(1, 0.9, 4)[:, None, None]
    with pytest.raises(NotIdentified, match="one grain"):
        identify_grains(fading, 1.0)
    # Backwards, rolled on or unrelated: no mobility explains it.
    rolled = np.stack([np.roll(frames[0], 5 * frame, axis=0) for frame in range(5)])
    unlike = np.random.default_rng(1).uniform(0, 1, (5, 16, 16))
    for other in (frames[::-1], rolled, unlike):
        with pytest.raises(NotIdentified):
            identify_grains(other, 1.0)


@pytest.mark.parametrize(
    ("frames", "interval", "words"),
    [
        (np.zeros((2, 8, 8)), 1.0, "must be"),
        (np.zeros((4, 8, 9)), 1.0, "must be"),
        (np.full((4, 8, 8), np.nan), 1.0, "not finite"),
        (np.full((4, 8, 8), 7.0), 1.0, "beyond 2"),
        (np.zeros((4, 8, 8)), 0.0, "interval"),
    ],
)
def test_what_is_refused(frames: np.ndarray, interval: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        identify_grains(frames, interval)
