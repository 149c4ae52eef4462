"""A fixed piece of work, timed before and after a run: how fast its machine was just then.

Seconds of models are only comparable between machines, and between a free and a busy one, beside
those of something that is always the same: a Fourier transform, a product of matrices, and a loop
in Python, each about a third of it.
"""

from __future__ import annotations

import time

import numpy as np

ROUNDS = 16
"""About one second together on one core of a server of 2023."""
CELLS, SIDE, STEPS = 64, 512, 400_000


def seconds(rounds: int) -> float:
    """Wall time of so many rounds, on as many threads as the libraries choose."""
    generator = np.random.default_rng(0)
    cube, matrix = generator.random((CELLS,) * 3), generator.random((SIDE, SIDE))
    started = time.perf_counter()
    for _ in range(rounds):
        for _ in range(4):
            np.fft.irfftn(np.fft.rfftn(cube), s=cube.shape, axes=(0, 1, 2))
            np.matmul(matrix, matrix)
        total = 0
        for step in range(STEPS):
            total += step % 7
    return time.perf_counter() - started
