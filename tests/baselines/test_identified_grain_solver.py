"""The grain solver that finds its parameters: near the one that is told them, or the last frame."""

from __future__ import annotations

import numpy as np
import pytest
from model_module import model_module

pytest.importorskip("torch")
pytest.importorskip("numba")
pytest.importorskip("skimage")

from etchmark.simulation.grain_growth import GrainGrowth, voronoi

SIDE, KNOWN, FRAMES = 32, 8, 8
LAWS = ((1.5, 0.0), (1.0, 0.4))

identified, told = model_module("identified_grain_solver"), model_module("grain_solver")


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    rows = []
    for seed, (mobility, anisotropy) in enumerate(LAWS):
        solver = GrainGrowth(2 * SIDE, mobility=mobility, anisotropy=anisotropy, dt=0.03)
        times = 10 / mobility + np.arange(KNOWN + FRAMES)
        start = voronoi(2 * SIDE, 22, np.random.default_rng(seed))
        found = solver.evolve(start, times.tolist()).frames[0]
        rows.append(found.reshape(-1, SIDE, 2, SIDE, 2).mean(axis=(2, 4)))
    return np.stack(rows).astype(np.float16)


def inputs_of(frames: np.ndarray, **changed) -> dict[str, np.ndarray]:
    rows = len(frames)
    return {
        "context": frames[:, :KNOWN],
        "horizon": np.full(rows, FRAMES, np.int32),
        "frame_spacing": np.ones(rows),
        **changed,
    }


def test_it_forecasts_nearly_as_the_solver_that_is_told(frames) -> None:
    model = identified.build(0, "cpu", cells=2).fit(None)
    found = model.predict(inputs_of(frames))
    assert (found.shape, found.dtype) == ((2, FRAMES, SIDE, SIDE), np.float16)
    mobility, anisotropy = np.array(LAWS).T
    inputs = inputs_of(frames, mobility=mobility, anisotropy=anisotropy, gradient_energy=np.ones(2))
    known = told.build(0, "cpu", cells=2, dt=0.05, wide=True).predict(inputs)
    truth = frames[:, KNOWN:].astype(np.float64)

    def error(predicted: np.ndarray) -> np.ndarray:
        return np.sqrt(np.square(predicted - truth).mean(axis=(1, 2, 3)))

    assert (error(found) < error(known) + 0.01).all()
    still = np.repeat(frames[:, KNOWN - 1 : KNOWN], FRAMES, axis=1)
    assert (error(found) < 0.3 * error(still)).all()
    assert not model.repeated
    assert model.parameter_count() == 0


def test_where_frames_say_nothing_the_last_is_repeated(frames, capsys) -> None:
    given = frames.copy()
    given[0] = given[0, :1]
    model = identified.build(0, "cpu", cells=1)
    found = model.predict(inputs_of(given))
    np.testing.assert_array_equal(found[0], given[0, KNOWN:])
    assert not np.array_equal(found[1], np.repeat(given[1, KNOWN - 1 : KNOWN], FRAMES, axis=0))
    line = "1 of 2 trajectories: the frames do not change; their last frame is repeated\n"
    assert capsys.readouterr().out == line


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"frame_spacing": np.array([4.0, 0.0])}, "frame_spacing must be a positive"),
        ({"context": np.zeros((2, 2, 8, 8), np.float16)}, "wants at least 3"),
    ],
)
def test_inputs_that_are_refused(frames, changed, words) -> None:
    with pytest.raises(ValueError, match=words):
        identified.build(0, "cpu", cells=1).predict(inputs_of(frames, **changed))


@pytest.mark.parametrize(("cells", "energy"), [(0, 1.0), (1.5, 1.0), (2, 0.0)])
def test_parameters_that_are_refused(cells, energy) -> None:
    with pytest.raises(ValueError, match="positive"):
        identified.build(0, "cpu", cells=cells, gradient_energy=energy)
