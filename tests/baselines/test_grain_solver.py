"""The solver from a map of grains goes on as the true evolution does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_module import model_module

pytest.importorskip("torch")
pytest.importorskip("numba")
pytest.importorskip("skimage")

from etchmark.catalog import Catalog
from etchmark.model import Model
from etchmark.simulation.grain_growth import GrainGrowth, voronoi

ROOT = Path(__file__).resolve().parents[2]
SIDE, KNOWN, FRAMES = 32, 2, 8


grain_solver = model_module("grain_solver")


def _true(mobility: float, anisotropy: float, seed: int) -> np.ndarray:
    """Frames of the resolved equation, float16."""
    solver = GrainGrowth(2 * SIDE, mobility=mobility, anisotropy=anisotropy, dt=0.04)
    start = voronoi(2 * SIDE, 22, np.random.default_rng(seed))
    made = solver.evolve(start, [10.0 + frame for frame in range(KNOWN + FRAMES)])
    frames = made.frames[0].reshape(-1, SIDE, 2, SIDE, 2).mean(axis=(2, 4))
    return frames.astype(np.float16)


LAWS = ((1.0, 0.0), (2.0, 0.0), (1.0, 0.5))


@pytest.fixture(scope="module")
def evolved() -> np.ndarray:
    return np.stack([_true(*law, seed) for seed, law in enumerate(LAWS)])


def _inputs(frames: np.ndarray, **changed) -> dict[str, np.ndarray]:
    rows = len(frames)
    return {
        "context": frames[:, :KNOWN],
        "horizon": np.full(rows, FRAMES, np.int32),
        "mobility": np.array([mobility for mobility, _ in LAWS]),
        "anisotropy": np.array([anisotropy for _, anisotropy in LAWS]),
        "gradient_energy": np.ones(rows),
        "frame_spacing": np.ones(rows),
        **changed,
    }


def _error(found: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """RMSE of each frame, shape (trajectories, frames)."""
    difference = found.astype(np.float64) - frames[:, KNOWN:]
    return np.sqrt(np.square(difference).mean(axis=(2, 3)))


def test_with_the_cells_of_the_data_it_follows_the_truth(evolved) -> None:
    frames = evolved
    errors = {
        name: _error(grain_solver.build(0, "cpu", **params).predict(_inputs(frames)), frames)
        for name, params in {
            "fine": {"cells": 2, "dt": 0.05},
            "long": {"cells": 2, "dt": 10.0},
            "coarse": {"cells": 1, "dt": 10.0},
            "off": {"cells": 2, "dt": 0.05, "mobility_factor": 1.5},
            "wide": {"cells": 2, "dt": 0.05, "wide": True},
        }.items()
    }
    still = _error(np.repeat(frames[:, KNOWN - 1 : KNOWN], FRAMES, axis=1), frames)
    # Boundaries have their width again, and are where they should be.
    assert errors["fine"][:, 2:].max() < 0.02
    assert errors["long"][:, 2:].max() < 0.025
    # Boundaries that begin as wide as at rest need not widen first.
    assert (errors["wide"][:, 0] < 0.7 * errors["fine"][:, 0]).all()
    assert (errors["wide"].mean(axis=1) < errors["fine"].mean(axis=1)).all()
    for name in ("coarse", "off"):
        assert (errors["fine"][:, -1] < 0.7 * errors[name][:, -1]).all()
        assert (errors[name][:, -1] < still[:, -1]).all()


def test_each_trajectory_has_its_own_law(evolved) -> None:
    frames = evolved
    model = grain_solver.build(0, "cpu", cells=1, dt=0.1)
    found = model.predict(_inputs(frames))
    given = {name: value[::-1] for name, value in _inputs(frames).items()}
    np.testing.assert_array_equal(found, model.predict(given)[::-1])
    told_wrong = _inputs(frames, mobility=np.ones(3))
    assert not np.array_equal(found[1], model.predict(told_wrong)[1])
    np.testing.assert_array_equal(found[0], model.predict(told_wrong)[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mobility": np.array([1.0, -1.0, 1.0])}, "mobility must be a finite number in its range"),
        ({"mobility": np.ones(2)}, "mobility must be"),
        ({"anisotropy": np.array([0.0, np.nan, 0.0])}, "anisotropy must be"),
        ({"anisotropy": np.array([0.0, 2.0, 0.0])}, "anisotropy"),
        ({"frame_spacing": np.zeros(3)}, "frame_spacing must be"),
        ({"context": np.zeros((3, 2, 8))}, "context"),
    ],
)
def test_wrong_inputs(evolved, change, said) -> None:
    model = grain_solver.build(0, "cpu", cells=1, dt=0.1)
    with pytest.raises(ValueError, match=said):
        model.predict(_inputs(evolved, **change))


@pytest.mark.parametrize("params", [(0, 0.1, 1.0), (1.5, 0.1, 1.0), (2, 0.0, 1.0), (2, 0.1, -1.0)])
def test_wrong_parameters(params) -> None:
    cells, dt, factor = params
    with pytest.raises(ValueError, match="positive"):
        grain_solver.build(0, "cpu", cells=cells, dt=dt, mobility_factor=factor)


def test_the_card_names_what_is_built() -> None:
    catalog = Catalog(ROOT)
    names = [name for name in catalog.model_names() if name.startswith("grain_solver/")]
    assert len(names) == 5
    for name in names:
        model = grain_solver.build(0, "cpu", **catalog.model(name).params)
        assert isinstance(model, Model)
        assert model.parameter_count() == 0
