"""The solver with long steps: it converges to the solver with short ones, and knows M and kappa."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_module import model_module

torch = pytest.importorskip("torch")

from etchmark.catalog import Catalog  # noqa: E402
from etchmark.model import Model  # noqa: E402
from etchmark.simulation.phase_field import CahnHilliard, Polynomial, noise  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SPACING, KNOWN, FRAMES = 4.0, 2, 6


coarse_solver = model_module("coarse_solver")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _true(mobility: float, kappa: float, rows: int, seed: int = 0) -> np.ndarray:
    """Frames of the resolved equation, float16."""
    generator = np.random.default_rng(seed)
    start = np.stack([noise(32, generator) for _ in range(rows)])
    solver = CahnHilliard(
        32, Polynomial.double_well(), gradient_energy=kappa, mobility=mobility, dt=0.1
    )
    times = [20 + SPACING * frame for frame in range(KNOWN + FRAMES)]
    return ((solver.evolve(start, times).frames + 1) / 2).astype(np.float16)


LAWS = ((1.0, 1.0), (0.5, 1.0), (1.0, 1.5))


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """Two trajectories of each law, the laws taking turns."""
    return np.stack([_true(*law, rows=2) for law in LAWS], axis=1).reshape(6, -1, 32, 32)


def _inputs(frames: np.ndarray, **changed) -> dict[str, np.ndarray]:
    rows = len(frames)
    laws = np.array([LAWS[row % len(LAWS)] for row in range(rows)])
    return {
        "context": frames[:, :KNOWN],
        "horizon": np.full(rows, FRAMES, np.int32),
        "mobility": laws[:, 0],
        "gradient_energy": laws[:, 1],
        "frame_spacing": np.full(rows, SPACING),
        **changed,
    }


def _error(found: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """RMSE of each trajectory."""
    difference = found.astype(np.float64) - frames[:, KNOWN:]
    return np.sqrt(np.square(difference).mean(axis=(1, 2, 3)))


def test_it_converges_with_the_steps_to_what_is_true_for_every_law(frames):
    inputs = _inputs(frames)
    errors = {}
    for steps in (1, 2, 4, 10):
        model = coarse_solver.build(0, "cpu", steps=steps)
        assert isinstance(model, Model)
        found = model.fit(None).predict(inputs)
        assert (found.shape, found.dtype) == ((6, FRAMES, 32, 32), np.float16)
        errors[steps] = _error(found, frames)
    still = _error(np.repeat(frames[:, KNOWN - 1 : KNOWN], FRAMES, axis=1), frames)
    assert (errors[1] < 0.7 * still).all()
    assert (errors[2] < 0.5 * errors[1]).all()
    assert (errors[4] < 0.5 * errors[2]).all()
    # Down to what rounding of the frames leaves.
    assert (errors[10] < 1e-3).all()


def test_a_wrong_mobility_or_gradient_energy_shows(frames):
    right = _error(coarse_solver.build(0, "cpu", steps=10).predict(_inputs(frames)), frames)
    off = coarse_solver.build(0, "cpu", steps=10, mobility_factor=1.1)
    assert (_error(off.predict(_inputs(frames)), frames) > 5 * right).all()
    # The factor is that of the mobility and of nothing else.
    mobility = _inputs(frames)["mobility"] / 1.1
    corrected = off.predict(_inputs(frames, mobility=mobility))
    np.testing.assert_allclose(_error(corrected, frames), right, rtol=0.05)
    wrong = _inputs(frames, gradient_energy=np.full(6, 2.0))
    found = coarse_solver.build(0, "cpu", steps=10).predict(wrong)
    assert (_error(found, frames) > 5 * right).all()


def test_trajectories_are_solved_alike_alone_or_together(frames, monkeypatch):
    model = coarse_solver.build(0, "cpu", steps=1)
    together = model.predict(_inputs(frames))
    for row in (1, 5):
        alone = model.predict({name: part[row : row + 1] for name, part in _inputs(frames).items()})
        np.testing.assert_allclose(alone[0], together[row], atol=1e-3)
    monkeypatch.setitem(coarse_solver.AT_ONCE, "cpu", 1)
    np.testing.assert_allclose(model.predict(_inputs(frames)), together, atol=1e-3)


def test_longer_and_larger_with_steps_as_long_as_a_frame():
    fine = CahnHilliard(48, Polynomial.double_well(), dt=0.1)
    early = fine.evolve(noise(48, np.random.default_rng(1)), [16.0, 20.0]).frames
    field = ((early + 1) / 2).astype(np.float16)
    one = {"mobility": np.ones(1), "gradient_energy": np.ones(1), "frame_spacing": np.full(1, 4.0)}
    inputs = {"context": field, "horizon": np.array([120]), **one}
    model = coarse_solver.build(0, "cpu", steps=1)
    assert model.flops() is None
    found = model.predict(inputs)
    assert found.shape == (1, 120, 48, 48)
    assert np.isfinite(found).all()
    # Phases have formed, and their mean is still what it was.
    assert found[0, -1].std() > 0.4 > 1.5 * field[0, -1].std()
    drift = found.mean(axis=(2, 3), dtype=np.float64) - field[:, -1:].mean(axis=(2, 3), dtype=float)
    assert np.abs(drift).max() < 1e-4
    pixels = 48**2
    assert model.flops() == pytest.approx(pixels * (5 * np.log2(pixels) + 20))
    assert model.parameter_count() == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mobility": np.array([1.0, -1, 1, 1, 1, 1])}, "mobility must be a positive"),
        ({"frame_spacing": np.full(6, np.nan)}, "frame_spacing must be a positive"),
        ({"gradient_energy": np.ones(5)}, "gradient_energy must be a positive"),
        ({"horizon": np.arange(6)}, "horizon must be one positive"),
        ({"context": np.zeros((6, 2, 32, 32), np.uint8)}, "not floats"),
    ],
)
def test_inputs_that_make_no_sense_are_refused(frames, changed, message):
    with pytest.raises(ValueError, match=message):
        coarse_solver.build(0, "cpu", steps=1).predict(_inputs(frames, **changed))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"steps": 1, "mobility_factor": 0.0}])
def test_parameters_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="whole number from 1 on, and mobility_factor"):
        coarse_solver.build(0, "cpu", **wrong)


def test_the_cards_variants():
    card = Catalog(ROOT).baseline("coarse_solver")
    steps = {name: one.params["steps"] for name, one in card.variants.items()}
    assert steps == {
        "steps-1": 1,
        "steps-2": 2,
        "steps-4": 4,
        "steps-10": 10,
        "mobility-10-percent-off": 10,
    }
    assert card.variants["mobility-10-percent-off"].params["mobility_factor"] == 1.1
