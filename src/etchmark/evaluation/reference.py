"""A fixed piece of work, timed before and after a run: how fast its machine was just then.

Seconds of models are only comparable between machines, and between a free and a busy one, beside
those of something that is always the same: a Fourier transform, a product of matrices, and a loop
in Python, each about a third of it.
"""

from __future__ import annotations

import time

import numpy as np
from threadpoolctl import threadpool_limits

ROUNDS = 16
"""About one second on one core of a server of 2023."""
CELLS, SIDE, STEPS = 64, 512, 400_000


KEYS = ("reference_seconds", "reference_cpu_seconds")
"""Keys of `Cost` that hold what the workload took before and after a run."""


def timed(rounds: int) -> dict[str, float]:
    """Seconds that so many rounds take, by the keys of `Cost`.

    ``reference_seconds`` is wall time on as many threads as the libraries choose,
    ``reference_cpu_seconds`` processor time on one thread; `etchmark.specs.reference_units` says
    why.
    """
    started = time.perf_counter()
    _work(rounds)
    seconds = time.perf_counter() - started
    return dict(zip(KEYS, (seconds, cpu_seconds(rounds)), strict=True))


def cpu_seconds(rounds: int) -> float:
    """Processor time that so many rounds take on one thread."""
    # On several threads the processor time would hold that of threads which only wait for others.
    with threadpool_limits(1):
        started = time.process_time()
        _work(rounds)
        return time.process_time() - started


def _work(rounds: int) -> None:
    generator = np.random.default_rng(0)
    cube, matrix = generator.random((CELLS,) * 3), generator.random((SIDE, SIDE))
    for _ in range(rounds):
        for _ in range(4):
            np.fft.irfftn(np.fft.rfftn(cube), s=cube.shape, axes=(0, 1, 2))
            np.matmul(matrix, matrix)
        total = 0
        for step in range(STEPS):
            total += step % 7
