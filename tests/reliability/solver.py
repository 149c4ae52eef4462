"""What the solver behind simulated labels costs at each accuracy; run as a script.

Stiffness: samples of a board, spread evenly over its test split, are solved with several tolerances
and on coarser grids. Their scores against the frozen labels are those of the board's own metrics.
Forecasts: the solvers are baselines of the role ``oracle``, whose scores stand on the board; here
they are timed on a few trajectories like those of the test split.

Every solution is timed in processor seconds on one thread, and the reference workload before and
after, in the same process. Writes ``leaderboard/results/solver.json``, which the boards show.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from etchmark import environment, files
from etchmark.api import LocalHub
from etchmark.artefacts.loading import import_model
from etchmark.columns import Columns
from etchmark.evaluation import reference
from etchmark.simulation.grain_growth import GrainGrowth, voronoi
from etchmark.simulation.homogenization import homogenize, isotropic
from etchmark.simulation.phase_field import CahnHilliard, Polynomial, noise
from etchmark.specs import BenchmarkSpec
from etchmark.targets import kind_of, metric
from etchmark.targets.array import relative_norm

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "leaderboard" / "results" / "solver.json"
POISSON = 0.3
CONTEXT, SPACING = 10, {"spinodal": 4.0, "grains": 1.0}
"""Frames that are given, and time between frames."""
Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Stiffness:
    """How a stiffness board is solved.

    Attributes:
        loads: load cases; all if None.
        settings: factor by which the grid is coarser, and tolerance.
        samples: number of samples.
    """

    loads: tuple[int, ...] | None
    settings: tuple[tuple[int, float], ...]
    samples: int


@dataclass(frozen=True)
class Forecast:
    """How a forecast board is solved.

    Attributes:
        start: makes so many trajectories.
        rows: baselines of the role ``oracle``, with their setting in words.
        horizon: frames to predict.
        samples: number of trajectories.
    """

    start: Callable[[int], Inputs]
    rows: Mapping[str, str]
    horizon: int
    samples: int


# --- stiffness ---------------------------------------------------------------------------------


def coarser(cells: np.ndarray, factor: int) -> np.ndarray:
    """Each block of ``factor`` cells in every direction as one cell, of the phase of most."""
    sides = [part for side in cells.shape for part in (side // factor, factor)]
    within = tuple(range(1, 2 * cells.ndim, 2))
    share = cells.reshape(sides).mean(axis=within)
    first = cells[(slice(None, None, factor),) * cells.ndim]
    # The first cell decides where both phases are equal, so that no phase gains.
    return np.where(share == 0.5, first, share > 0.5).astype(np.uint8)


def stiffness(cells: np.ndarray, contrast: float, plan: Stiffness, tolerance: float) -> np.ndarray:
    """Effective stiffness, C1111 alone or all components of the Voigt matrix."""
    if cells.min() == cells.max():
        modulus = contrast if cells.flat[0] else 1.0
        matrix = isotropic(modulus, POISSON, cells.ndim)
    else:
        solution = homogenize(cells, contrast, POISSON, loads=plan.loads, tolerance=tolerance)
        matrix = solution.stiffness
    return matrix if plan.loads is None else matrix[0, 0]


def solved(spec: BenchmarkSpec, plan: Stiffness, columns: Columns) -> list[dict[str, Any]]:
    """Scores and seconds of every setting."""
    rows = np.unique(np.linspace(0, columns.height - 1, plan.samples).round().astype(int)).tolist()
    volumes = [columns.rows("microstructure", row, row + 1)[0] for row in rows]
    contrasts = np.asarray(columns["contrast"], dtype=float)[rows].tolist()
    labels = np.stack([np.asarray(columns[spec.target.column][row]) for row in rows])
    points = []
    for factor, tolerance in plan.settings:
        predicted, spent = [], 0.0
        # The solver makes its tables for grids of one size once.
        stiffness(coarser(volumes[0], factor), contrasts[0], plan, 1.0)
        for cells, contrast in zip(volumes, contrasts, strict=True):
            started = time.process_time()
            coarse = cells if factor == 1 else coarser(cells, factor)
            predicted.append(stiffness(coarse, contrast, plan, tolerance))
            spent += time.process_time() - started
        words = f"tolerance {100 * tolerance:g} %"
        if factor > 1:
            words += f", one cell for {factor}{'²' if volumes[0].ndim == 2 else '³'}"
        points.append(
            {
                "setting": words,
                "cpu_seconds_each": _short(spent / len(rows)),
                "scores": scores(spec, labels, np.stack(predicted)),
            }
        )
        print(f"{spec.key}: {points[-1]}", flush=True)
    return points


def scores(spec: BenchmarkSpec, labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """The scores of predictions in the metrics of a benchmark that are errors.

    Args:
        spec: the benchmark.
        labels: shape (samples, ...).
        predicted: the same.
    """
    if labels.ndim > 1:
        # The one metric of a tensor that is computed from the values alone.
        return {"relative_error": _short(100 * float(relative_norm(labels, predicted).mean()))}
    kind = kind_of(spec.target)
    outputs = {"prediction": predicted[None].astype(np.float64)}
    terms = kind.terms_of({"target": labels.astype(np.float64)}, outputs)
    sums = {name: values.sum(axis=-1) for name, values in terms.items()}
    return {
        name: _short(float(metric(name).of(sums)[0]))
        for name in (spec.primary_metric, "mae", "rmse")
    }


# --- forecasts ---------------------------------------------------------------------------------


def spinodal(count: int) -> Inputs:
    """Trajectories of spinodal decomposition up to the last frame that is given."""
    fields = np.stack([noise(64, np.random.default_rng(seed)) for seed in range(count)])
    times = (20.0 + SPACING["spinodal"] * np.arange(CONTEXT)).tolist()
    solver = CahnHilliard(64, Polynomial.double_well(), dt=0.05)
    frames = (solver.evolve(fields, times).frames + 1) / 2
    return _inputs(frames, SPACING["spinodal"])


def grains(count: int) -> Inputs:
    """Trajectories of grain growth up to the last frame that is given."""
    solver = GrainGrowth(n=128, spacing=0.5, dt=0.05)
    times = (10.0 + SPACING["grains"] * np.arange(CONTEXT)).tolist()
    frames = []
    for seed in range(count):
        labels = voronoi(128, 90, np.random.default_rng(seed))
        fine = solver.evolve(labels, times).frames[0]
        frames.append(fine.reshape(CONTEXT, 64, 2, 64, 2).mean(axis=(2, 4)))
    return _inputs(np.stack(frames), SPACING["grains"]) | {"anisotropy": np.zeros(count)}


def _inputs(frames: np.ndarray, spacing: float) -> Inputs:
    ones = np.ones(len(frames))
    return {
        "context": frames.astype(np.float16),
        "mobility": ones,
        "gradient_energy": ones,
        "frame_spacing": spacing * ones,
    }


def forecast(spec: BenchmarkSpec, plan: Forecast, hub: LocalHub) -> list[dict[str, Any]]:
    """Seconds of every solver on the board."""
    inputs = plan.start(plan.samples) | {"horizon": np.full(plan.samples, plan.horizon)}
    points = []
    for row, words in plan.rows.items():
        source = hub.model(row)
        model = import_model(source.code).build(seed=0, device="cpu", **source.params)
        model.predict({name: values[:1] for name, values in inputs.items()})
        started = time.process_time()
        model.predict(inputs)
        each = (time.process_time() - started) / (plan.samples * plan.horizon)
        points.append({"setting": words, "cpu_seconds_each": _short(each), "row": row})
        print(f"{spec.key}: {points[-1]}", flush=True)
    return points


# --- boards ------------------------------------------------------------------------------------

FFT = "FFT homogenization"
PLANE = Stiffness(
    (0,),
    (
        (16, 0.3),
        (8, 0.3),
        (4, 0.1),
        (2, 0.1),
        (2, 0.01),
        (1, 0.3),
        (1, 0.1),
        (1, 0.03),
        (1, 0.01),
        (1, 0.001),
    ),
    32,
)
VOLUME = Stiffness(
    (0,), ((3, 0.3), (3, 0.1), (3, 0.01), (1, 0.3), (1, 0.1), (1, 0.03), (1, 0.01), (1, 0.001)), 6
)
TENSOR = Stiffness(None, ((3, 0.3), (3, 0.1), (3, 0.01), (1, 0.3), (1, 0.1), (1, 0.01)), 3)
STEPS = {
    f"coarse_solver/steps-{steps}": f"{steps} step{'s' if steps > 1 else ''} per frame"
    for steps in (1, 2, 4, 10)
}
CELLS = {
    "grain_solver/cells-1": "one cell per pixel, 4 steps per frame",
    "grain_solver/cells-2-long-steps": "2² cells per pixel, 12 steps per frame",
    "grain_solver/cells-2": "2² cells per pixel, 20 steps per frame",
}
BOARDS: dict[str, Stiffness | Forecast] = {
    "composite-stiffness-2d": PLANE,
    "composite-stiffness-3d": VOLUME,
    "composite-stiffness-tensor": TENSOR,
    "spinodal-forecast": Forecast(spinodal, STEPS, 90, 8),
    "spinodal-forecast-10": Forecast(spinodal, STEPS, 10, 8),
    "grain-growth-forecast": Forecast(grains, CELLS, 90, 3),
    "grain-growth-forecast-10": Forecast(grains, CELLS, 10, 3),
}
"""Boards whose models are given all that their solver needs."""


def study(name: str, hub: LocalHub) -> tuple[str, dict[str, Any]]:
    """The key of a board, and its curve."""
    spec, plan = hub.benchmark(name), BOARDS[name]
    before = reference.cpu_seconds(reference.ROUNDS)
    split = spec.protocols[spec.headline].split
    if isinstance(plan, Stiffness):
        found = hub.download(name, split=split).downloaded
        points = solved(spec, plan, Columns(found.files))
        solver = FFT
    else:
        points, solver = forecast(spec, plan, hub), "the equation itself, from the last frame"
    after = reference.cpu_seconds(reference.ROUNDS)
    return spec.key, {
        "solver": solver,
        "split": split,
        "samples": plan.samples,
        "hardware": environment.hardware("cpu"),
        "load_average": round(os.getloadavg()[0], 1),
        "reference_cpu_seconds": [_short(before), _short(after)],
        "points": points,
    }


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmarks", nargs="*", help="only these; the others stay as they are")
    options = parser.parse_args(arguments)
    # Beside this script stands one named as a package that numba looks for.
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).parent]
    torch.set_num_threads(1)
    hub = LocalHub()
    results = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.is_file() else {}
    for name in options.benchmarks or BOARDS:
        key, curve = study(name, hub)
        results[key] = curve
        files.write_text(TARGET, json.dumps(results, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
