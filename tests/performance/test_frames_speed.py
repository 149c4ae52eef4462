"""Speed and memory of the metrics of frames; ``make speed`` prints them."""

from __future__ import annotations

import math
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from etchmark.specs import FrameChecks, FreeEnergy, GrainRule
from etchmark.targets.frames.metrics import frame_terms

pytestmark = [pytest.mark.speed, pytest.mark.timeout(1200)]

N, FRAMES = 64, 250
VALUES = 1e8
WELL = FreeEnergy(coefficients=[0.25, 0.0, -0.5, 0.0, 0.25], gradient_energy=1.0, tolerance=1e-3)
COMMON = ["ssim", "structure_factor_error", "length_error", "out_of_range"]
SETS = {
    "spinodal": (FrameChecks(low=-1.1, high=1.1, energy=WELL),
                 [*COMMON, "composition_drift", "energy_rises"]),
    "grains": (FrameChecks(low=-0.1, high=1.1, grains=GrainRule(above=0.75, min_pixels=4)),
               [*COMMON, "grain_count_error", "grain_area_error"]),
}  # fmt: skip


def frames(kind: str, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Target and prediction as float16: two phases, or grains between dark boundaries."""
    generator = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(
        generator.standard_normal((samples * FRAMES, N, N)), (0, 3, 3), mode="wrap"
    )
    smooth /= smooth.std()
    field = np.tanh(1.5 * smooth)
    if kind == "grains":
        field = 0.5 + 0.5 * np.sqrt(np.abs(field))
    noise = 0.03 * generator.standard_normal(field.shape)
    shape = (samples, FRAMES, N, N)
    return tuple(one.astype(np.float16).reshape(shape) for one in (field, field + noise))  # type: ignore[return-value]


@pytest.mark.parametrize("kind", SETS)
def test_metrics_of_1e8_values(kind: str, report: Callable[..., None]) -> None:
    checks, wanted = SETS[kind]
    target, prediction = frames(kind, 4)
    last = target[:, 0]
    rounds = math.ceil(VALUES / target.size)
    count = rounds * len(target) * FRAMES
    terms, _ = frame_terms(target[:1], prediction[:1], last[:1], checks, wanted)
    started, busy = time.perf_counter(), time.process_time()
    for _ in range(rounds):
        terms, _ = frame_terms(target, prediction, last, checks, wanted)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    assert all(np.isfinite(terms[f"sum_{name}"]).all() for name in ("ssim", "structure", "length"))
    report(
        f"Metrics of {kind}: {count} predicted frames of {N} x {N}",
        ("time", seconds, "s"),
        ("processor time", busy, "s"),
        ("processor time per frame", 1e6 * busy / count, "µs"),
        goal="<= 60 s",
    )
    assert seconds <= 60


@pytest.mark.parametrize("kind", SETS)
def test_what_each_metric_costs(
    kind: str, report: Callable[..., None], shortest: Callable[..., list[float]]
) -> None:
    checks, wanted = SETS[kind]
    target, prediction = frames(kind, 1)
    last = target[:, 0]
    sets = [[], *([name] for name in wanted), wanted]
    calls = [
        lambda names=names: frame_terms(target, prediction, last, checks, names) for names in sets
    ]
    nothing, *each, whole = (1e6 * one / FRAMES for one in shortest(5, *calls))
    report(
        f"{kind}, per frame of {N} x {N}",
        ("reading and squared error", nothing, "µs"),
        *((name, one - nothing, "µs") for name, one in zip(wanted, each, strict=True)),
        ("all of them together", whole, "µs"),
        goal="together no more than one by one",
    )
    # Twice as much is beyond any disturbance by other work.
    assert whole <= 2 * (sum(each) - (len(each) - 1) * nothing)


@pytest.mark.parametrize("kind", SETS)
def test_memory_does_not_grow_with_the_number_of_frames(
    kind: str, report: Callable[..., None]
) -> None:
    checks, wanted = SETS[kind]
    target, prediction = frames(kind, 4)
    frame_terms(target[:1], prediction[:1], target[:1, 0], checks, wanted)
    peaks = []
    for samples in (1, 4):
        rows = slice(samples)
        tracemalloc.start()
        frame_terms(target[rows], prediction[rows], target[rows, 0], checks, wanted)
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    report(
        f"Memory beside the arrays, {kind}",
        (f"{FRAMES} frames", peaks[0], "MiB"),
        (f"{4 * FRAMES} frames", peaks[1], "MiB"),
        goal="<= 16 MiB, and no more than 1 MiB more for 750 frames (24 MiB in float64) more",
    )
    assert max(peaks) <= 16
    assert peaks[1] - peaks[0] <= 1
