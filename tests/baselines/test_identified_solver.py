"""The solver that finds its parameters: as good as the one that is told them, or the last frame."""

from __future__ import annotations

import re

import numpy as np
import pytest
from model_module import model_module

torch = pytest.importorskip("torch")

from etchmark.simulation import long_steps  # noqa: E402
from etchmark.simulation.phase_field import (  # noqa: E402
    CahnHilliard,
    Polynomial,
    Unstable,
    noise,
)

SPACING, KNOWN, FRAMES = 4.0, 5, 6
LAWS = ((1.0, 1.0), (0.5, 1.3))

identified, coarse = model_module("identified_solver"), model_module("coarse_solver")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    rows = []
    for seed, (mobility, kappa) in enumerate(LAWS):
        solver = CahnHilliard(
            32, Polynomial.double_well(), gradient_energy=kappa, mobility=mobility, dt=0.1
        )
        times = [20 / mobility + SPACING * frame for frame in range(KNOWN + FRAMES)]
        found = solver.evolve(noise(32, np.random.default_rng(seed)), times).frames[0]
        rows.append((found + 1) / 2)
    return np.stack(rows).astype(np.float16)


def inputs_of(frames: np.ndarray, **changed) -> dict[str, np.ndarray]:
    rows = len(frames)
    return {
        "context": frames[:, :KNOWN],
        "horizon": np.full(rows, FRAMES, np.int32),
        "frame_spacing": np.full(rows, SPACING),
        **changed,
    }


def test_it_forecasts_like_the_solver_that_is_told(frames) -> None:
    inputs = inputs_of(frames)
    model = identified.build(0, "cpu", steps=10).fit(None)
    found = model.predict(inputs)
    assert (found.shape, found.dtype) == ((2, FRAMES, 32, 32), np.float16)
    mobility, kappa = np.array(LAWS).T
    told = coarse.build(0, "cpu", steps=10).predict(
        {**inputs, "mobility": mobility, "gradient_energy": kappa}
    )
    truth = frames[:, KNOWN:].astype(np.float64)

    def error(predicted: np.ndarray) -> float:
        return float(np.sqrt(np.square(predicted - truth).mean()))

    assert error(found) < 1.1 * error(told) + 1e-4
    assert error(found) < 0.05 * error(np.repeat(frames[:, KNOWN - 1 : KNOWN], FRAMES, axis=1))
    assert not model.repeated
    assert model.parameter_count() == 0


def test_where_frames_say_nothing_the_last_is_repeated(frames, capsys) -> None:
    given = frames.copy()
    given[0] = given[0, :1]
    model = identified.build(0, "cpu", steps=4)
    found = model.predict(inputs_of(given))
    np.testing.assert_array_equal(found[0], given[0, KNOWN:])
    assert not np.array_equal(found[1], np.repeat(given[1, KNOWN - 1 : KNOWN], FRAMES, axis=0))
    assert dict(model.repeated) == {"the frames do not change": 1}
    line = "1 of 2 trajectories: the frames do not change; their last frame is repeated\n"
    assert capsys.readouterr().out == line


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"frame_spacing": np.array([4.0, 0.0])}, "frame_spacing must be a positive"),
        ({"frame_spacing": np.array([4.0])}, "frame_spacing must be a positive"),
        ({"context": np.zeros((2, 2, 8, 8), np.float16)}, "wants at least 3"),
    ],
)
def test_inputs_that_are_refused(frames, changed, words) -> None:
    with pytest.raises(ValueError, match=words):
        identified.build(0, "cpu", steps=1).predict(inputs_of(frames, **changed))


@pytest.mark.parametrize("steps", [0, 1.5, True])
def test_steps_that_are_refused(steps) -> None:
    with pytest.raises(ValueError, match="whole number"):
        identified.build(0, "cpu", steps=steps)


def test_where_steps_are_too_long_more_are_taken(frames, capsys, monkeypatch) -> None:
    """Without the stabilising curvature one step per frame blows up; which is said."""
    monkeypatch.setattr(long_steps, "STABILISER", 0.0)
    inputs = inputs_of(frames[:1], mobility=np.array([1.0]), gradient_energy=np.array([1.0]))
    model = coarse.build(0, "cpu", steps=1)
    found = model.predict(inputs).astype(np.float64)
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"1 trajectory took \d+ steps per frame: fewer were not stable", line)
    assert np.sqrt(np.square(found - frames[:1, KNOWN:].astype(np.float64)).mean()) < 0.02
    monkeypatch.setattr(long_steps, "DOUBLINGS", 0)
    with pytest.raises(Unstable):
        model.predict(inputs)
