"""Grain growth: a shrinking circle, von Neumann's law on average, and boxes beside whole fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from etchmark.simulation import grain_boxes, grain_tensors  # noqa: E402
from etchmark.simulation.grain_growth import GrainGrowth, Unstable, voronoi  # noqa: E402


def cells(n: int = 64, seeds: int = 20, seed: int = 0, batch: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.stack([voronoi(n, seeds, generator) for _ in range(batch)])


def disk(n: int, radius: float, centre: tuple[float, float]) -> np.ndarray:
    """A disk of label 1 on a periodic square of label 0; lengths in cells."""
    away = [np.abs(np.arange(n) + 0.5 - one) for one in centre]
    x, y = (np.minimum(one, n - one) for one in away)
    return (x[:, None] ** 2 + y[None] ** 2 < radius**2).astype(np.int64)


@pytest.fixture(params=[True, False], ids=["compiled", "torch"])
def compiled(request: pytest.FixtureRequest) -> bool:
    """Loops compiled for a CPU, and torch, which stands for other devices."""
    return request.param


# --- physics -----------------------------------------------------------------------------------


@pytest.mark.parametrize("centre", [(64.0, 64.0), (3.0, 120.5)])
@pytest.mark.parametrize(("loops", "tolerance"), [(False, 1e-4), (True, 3e-3)])
def test_a_circle_shrinks_at_the_analytic_rate(
    centre: tuple[float, float], loops: bool, tolerance: float
) -> None:
    """R² = R0² - 2 L kappa t within 2 %, on the grid and with the kappa of the dataset.

    The data are made by the compiled loops with the larger tolerance.
    """
    h, radius = 0.5, 20.0
    times = np.arange(10.0, 111.0, 10.0)
    solver = GrainGrowth(128, spacing=h, tolerance=tolerance, compiled=loops)
    made = solver.evolve(disk(128, radius / h, centre), times)
    # One order parameter's area: where it exceeds the other's.
    order = _compiled_fields if loops else _torch_fields
    fields = np.stack(list(order(solver, disk(128, radius / h, centre), times)))
    # The smaller one is the disk.
    squared = (fields / fields.sum(1, keepdims=True)).sum(2).min(1) * h**2 / np.pi
    slope = np.polyfit(times, squared, 1)[0]
    assert slope == pytest.approx(-2.0, rel=0.02)
    np.testing.assert_allclose(squared, squared[0] - 2 * (times - times[0]), rtol=0.02)
    assert (made.count == 2).all()


def _torch_fields(
    solver: GrainGrowth, labels: np.ndarray, times: np.ndarray
) -> Iterator[np.ndarray]:
    """Both order parameters on the whole cell at each time, shape (2, cells)."""
    run = grain_tensors.Run(solver, labels[None], torch.device("cpu"))
    for moment in times:
        run.frame(float(moment))
        fields = torch.zeros(2, solver.n**2, dtype=torch.float64)
        order = 0
        for group in run.groups:
            size = group.inner[0].numel()
            for row in range(len(group.inner)):
                part = slice(row * size, (row + 1) * size)
                fields[order].index_add_(0, group.index[part], group.inner[row].reshape(-1))
                order += 1
        yield fields.numpy()


def _compiled_fields(
    solver: GrainGrowth, labels: np.ndarray, times: np.ndarray
) -> Iterator[np.ndarray]:
    boxes = grain_boxes.Boxes(solver, labels)
    for moment in times:
        boxes.until(float(moment))
        fields = np.zeros((2, solver.n, solver.n))
        for field, box in zip(fields, boxes.boxes, strict=True):
            rows = (box[grain_boxes.ROW] + np.arange(box[grain_boxes.ROWS])) % solver.n
            columns = (box[grain_boxes.COLUMN] + np.arange(box[grain_boxes.COLUMNS])) % solver.n
            field[np.ix_(rows, columns)] = grain_boxes._inner(boxes.values, box)[1:-1, 1:-1]
        yield fields.reshape(2, -1)


def test_energy_falls_and_grains_go(compiled: bool) -> None:
    made = GrainGrowth(64, compiled=compiled).evolve(cells(seeds=30), np.arange(1.0, 61.0, 1.0))
    assert np.diff(made.energy).max() < 1e-9 * made.energy.max()
    assert made.count[0, 0] > 2 * made.count[0, -1] > 0
    assert (np.diff(made.count) <= 0).all()
    np.testing.assert_allclose(made.area * made.count, 32.0**2)
    assert made.frames.min() > 0.2
    assert made.frames.max() < 1.05


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_mean_grain_area_grows_linearly() -> None:
    """Averaged over 20 trajectories on the dataset's grid, R² of a line above 0.98."""
    times = np.arange(10.0, 50.0, 2.0)
    made = GrainGrowth(96).evolve(cells(96, 50, batch=20), times)
    area = made.area.mean(axis=0)
    line = np.polyval(np.polyfit(times, area, 1), times)
    assert 1 - np.sum((area - line) ** 2) / np.sum((area - area.mean()) ** 2) > 0.98


def test_grains_of_equal_angles_stand_still(compiled: bool) -> None:
    """Stripes have flat boundaries: nothing drives them."""
    stripes = np.repeat(np.arange(4), 16)[:, None] * np.ones((1, 64), dtype=np.int64)
    made = GrainGrowth(64, compiled=compiled).evolve(stripes, [10.0, 60.0])
    assert (made.count == 4).all()
    np.testing.assert_allclose(made.frames[0, 1], made.frames[0, 0], atol=2e-3)


def test_boundaries_move_faster_where_mobility_is_higher(compiled: bool) -> None:
    labels = disk(96, 30, (48, 48))
    round_, fast = (
        GrainGrowth(96, anisotropy=delta, compiled=compiled).evolve(labels, [20.0]).frames[0, 0]
        < 0.9
        for delta in (0.0, 0.5)
    )
    spans = [
        [int(np.ptp(np.flatnonzero(part.any(axis)))) for axis in (1, 0)] for part in (round_, fast)
    ]
    assert spans[0][0] == spans[0][1]
    assert spans[1][0] < spans[0][0] < spans[1][1], "the first axis shrinks faster"


# --- boxes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [3, 12, 40])
def test_boxes_give_what_whole_fields_give(seeds: int, compiled: bool) -> None:
    """Also where grains span the cell, cross its edges, or vanish."""
    labels, times = cells(64, seeds, seed=seeds), [0.5, 3.0, 20.0]
    whole = GrainGrowth(64, tolerance=0, compiled=compiled).evolve(labels, times)
    boxes = GrainGrowth(64, tolerance=1e-4, compiled=compiled).evolve(labels, times)
    np.testing.assert_allclose(boxes.frames, whole.frames, atol=1e-5)
    np.testing.assert_allclose(boxes.energy, whole.energy, rtol=1e-6)
    assert (boxes.count == whole.count).all()


@pytest.mark.parametrize("delta", [0.0, 0.4])
@pytest.mark.parametrize("tolerance", [0.0, 1e-4])
def test_compiled_loops_do_what_torch_does(delta: float, tolerance: float) -> None:
    labels, times = cells(64, 25, seed=1), [0.5, 3.0, 20.0]
    loops, torch_ = (
        GrainGrowth(64, anisotropy=delta, tolerance=tolerance, compiled=one).evolve(labels, times)
        for one in (True, False)
    )
    # Whole fields agree to rounding; boxes end at other places.
    apart = 1e-5 if tolerance else 1e-11
    np.testing.assert_allclose(loops.frames, torch_.frames, atol=apart)
    np.testing.assert_allclose(loops.energy, torch_.energy, rtol=apart)
    assert (loops.count == torch_.count).all()


def test_the_shortest_arc_of_a_circle() -> None:
    for places, (first, length) in {
        (): (0, 0),
        (3,): (3, 1),
        (0, 9): (9, 2),
        (8, 9, 0, 1): (8, 4),
        (2, 5): (2, 4),
        (0, 5): (0, 6),
        tuple(range(10)): (0, 10),
    }.items():
        occupied = np.zeros(10, dtype=bool)
        occupied[list(places)] = True
        assert grain_boxes._arc(occupied) == (first, length), places


def test_a_batch_is_its_members(compiled: bool) -> None:
    labels = cells(48, 10, batch=3)
    together = GrainGrowth(48, compiled=compiled).evolve(labels, [2.0, 9.0])
    for row in range(3):
        alone = GrainGrowth(48, compiled=compiled).evolve(labels[row], [2.0, 9.0])
        np.testing.assert_allclose(alone.frames[0], together.frames[row], atol=1e-12)
        np.testing.assert_allclose(alone.energy[0], together.energy[row], rtol=1e-12)
        assert (alone.count[0] == together.count[row]).all()


def test_a_shift_of_the_cell_is_a_shift_of_the_frames(compiled: bool) -> None:
    labels = cells(48, 10)[0]
    moved = np.roll(labels, (17, -9), (0, 1))
    solver = GrainGrowth(48, compiled=compiled)
    first, second = (solver.evolve(one, [5.0]).frames[0, 0] for one in (labels, moved))
    np.testing.assert_allclose(np.roll(first, (17, -9), (0, 1)), second, atol=1e-6)


def test_voronoi_cells_are_nearest_to_their_seed_across_edges() -> None:
    labels = voronoi(32, 5, np.random.default_rng(4))
    points = np.random.default_rng(4).random((5, 2)) * 32
    for row, column in ((0, 0), (31, 7), (16, 31)):
        # Of a cell its centre counts.
        away = np.abs(points - (row + 0.5, column + 0.5))
        squared = (np.minimum(away, 32 - away) ** 2).sum(axis=1)
        assert labels[row, column] == squared.argmin()


def test_finer_cells_show_the_same_grains() -> None:
    coarse, fine = (voronoi(n, 12, np.random.default_rng(5)) for n in (32, 96))
    # The middle one of three cells has the same centre.
    assert (fine[1::3, 1::3] == coarse).all()


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"n": 4}, "n 4"),
        ({"mobility": -1.0}, "mobility"),
        ({"gradient_energy": float("nan")}, "gradient_energy"),
        ({"gamma": 0.4}, "gamma"),
        ({"anisotropy": 1.0}, "anisotropy"),
        ({"tolerance": 0.5}, "tolerance"),
        ({"dt": 0.2}, "unstable on this grid; take at most 0.08"),
        ({"dt": 0.05, "spacing": 0.25}, "unstable"),
    ],
)
def test_wrong_parameters_are_refused(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        GrainGrowth(**{"n": 64, **changed})


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (np.zeros((64, 63), dtype=int), r"\(64, 63\)"),
        (np.zeros((0, 64, 64), dtype=int), r"\(0, 64, 64\)"),
        (np.zeros((64, 64)), "whole numbers"),
        (np.full((64, 64), -1), "at least 0"),
        ([[1, 2], [3]], "every row has to be as long as n"),
    ],
)
def test_wrong_labels_are_refused(labels: np.ndarray, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        GrainGrowth(64).evolve(labels, [1.0])


def test_cells_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="n 0 must be a whole number from 2"):
        voronoi(0, 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="seeds 5 must be"):
        voronoi(2, 5, np.random.default_rng(0))


def test_wrong_times_are_refused() -> None:
    with pytest.raises(ValueError, match="times"):
        GrainGrowth(64).evolve(cells(), [3.0, 1.0])


def test_a_value_that_is_not_finite_is_told(
    monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    solver = GrainGrowth(64, compiled=compiled)
    monkeypatch.setattr(solver, "dt", 1.0)
    with pytest.raises(Unstable, match=r"not finite at t = \d+; take a smaller dt"):
        solver.evolve(cells(), [400.0])
