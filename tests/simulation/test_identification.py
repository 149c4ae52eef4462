"""Parameters of the Cahn–Hilliard equation from frames: growth of waves, and simulated frames."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from etchmark.simulation.identification import NotIdentified, identify  # noqa: E402
from etchmark.simulation.phase_field import CahnHilliard, Polynomial, noise  # noqa: E402

N, INTERVAL, FRAMES = 32, 4.0, 10
LAWS = [(0.0, 1.0, 1.0), (0.35, 2.0, 0.7), (-0.3, 0.5, 1.4), (0.45, 1.0, 1.0), (0.0, 4.0, 1.8)]
"""Mean composition, mobility and gradient energy."""


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def simulated(mean: float, mobility: float, kappa: float) -> np.ndarray:
    """Frames from when a pattern has formed, in the steps of the released data."""
    solver = CahnHilliard(
        N,
        Polynomial.double_well(),
        gradient_energy=kappa,
        mobility=mobility,
        dt=0.05 / mobility,
    )
    growth = mobility * (3 * mean**2 - 1) ** 2 / (4 * kappa)
    times = 5 / growth + INTERVAL * np.arange(FRAMES)
    start = noise(N, np.random.default_rng(0), mean=mean)
    return solver.evolve(start, times.tolist()).frames[0]


def stored(frames: np.ndarray) -> np.ndarray:
    """As they are stored: (c + 1) / 2 in multiples of 2^-11, float16."""
    whole = np.floor((frames + 1) / 2 * 2048 + 0.5) / 2048
    return 2 * whole.astype(np.float16).astype(np.float64) - 1


@pytest.mark.parametrize(("mean", "mobility", "kappa"), LAWS)
def test_parameters_of_simulated_frames(mean: float, mobility: float, kappa: float) -> None:
    """Within 0.02 %, and within 0.1 % from frames as they are stored."""
    frames = simulated(mean, mobility, kappa)
    for given, near in ((frames, 2e-4), (stored(frames), 1e-3)):
        found = identify(given, INTERVAL)
        assert found.mobility == pytest.approx(mobility, rel=near)
        assert found.gradient_energy == pytest.approx(kappa, rel=near)
        assert max(found.errors) < near
    # What is left is the rounding of the frame compared with and, smoothed, of the one before.
    rounding = 2 / 2048 / math.sqrt(12)
    assert found.residual == pytest.approx(rounding, rel=0.1)


def test_growth_of_two_waves_tells_both_parameters() -> None:
    """Cahn's linear theory: a small wave grows at the rate M k² (1 - 3 c² - kappa k²)."""
    mean, mobility, kappa, interval = 0.1, 1.7, 0.6, 0.5
    x = np.arange(N)
    frames = np.full((5, N, N), mean)
    for frame, waves in ((f, w) for f in range(5) for w in (1, 4)):
        k = 2 * math.pi * waves / N
        rate = mobility * k**2 * (1 - 3 * mean**2 - kappa * k**2)
        frames[frame] += 1e-4 * math.exp(rate * interval * frame) * np.cos(k * x)[:, None]
    found = identify(frames, interval)
    assert found.mobility == pytest.approx(mobility, rel=3e-3)
    assert found.gradient_energy == pytest.approx(kappa, rel=3e-3)


def test_one_wave_tells_only_its_rate() -> None:
    x = np.arange(N)
    wave = 1e-4 * np.cos(2 * math.pi * 3 * x / N)[:, None] * np.ones(N)
    frames = np.stack([wave * math.exp(0.1 * frame) for frame in range(5)])
    with pytest.raises(NotIdentified):
        identify(frames, 1.0)


@pytest.mark.parametrize("spacing", [1e-6, 0.1, 2.0, 1e3])
def test_a_spacing_scales_lengths(spacing: float) -> None:
    """kappa counts squared lengths, M squared lengths per time."""
    frames = simulated(0.0, 1.0, 1.0)
    found = identify(frames, INTERVAL, spacing=spacing)
    assert found.mobility == pytest.approx(spacing**2, rel=1e-3)
    assert found.gradient_energy == pytest.approx(spacing**2, rel=1e-3)


def test_frames_that_say_nothing() -> None:
    frames = simulated(*LAWS[0])
    with pytest.raises(NotIdentified, match="do not change"):
        identify(np.repeat(frames[:1], 5, axis=0), INTERVAL)
    with pytest.raises(NotIdentified, match="do not change"):
        identify(np.full((5, 8, 8), 0.3), INTERVAL)
    generator = np.random.default_rng(1)
    for unlike in (
        generator.uniform(-1, 1, (6, 16, 16)),
        np.stack([np.roll(frames[0], 3 * frame, axis=0) for frame in range(5)]),
        frames[::-1],
    ):
        with pytest.raises(NotIdentified):
            identify(unlike, INTERVAL)


@pytest.mark.parametrize(
    ("frames", "interval", "words"),
    [
        (np.zeros((2, 8, 8)), 1.0, "must be"),
        (np.zeros((4, 8, 9)), 1.0, "must be"),
        (np.zeros((4, 0, 0)), 1.0, "must be"),
        (np.full((4, 8, 8), 1e160), 1.0, "beyond 100"),
        (np.full((4, 8, 8), np.nan), 1.0, "not finite"),
        (np.zeros((4, 8, 8)), 0.0, "interval"),
        (np.zeros((4, 8, 8)), math.inf, "interval"),
    ],
)
def test_what_is_refused(frames: np.ndarray, interval: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        identify(frames, interval)
