"""Widths of the structures in an image."""

from __future__ import annotations

import numpy as np


def shortest_run(marked: np.ndarray) -> int:
    """Fewest neighbouring marked pixels between others in any row or column of a periodic cell."""
    shortest = max(marked.shape)
    for line in (*marked, *marked.T):
        if 0 < line.sum() < line.size:
            started = np.roll(line, -int(np.flatnonzero(line == 0)[0]))
            steps = np.diff(np.concatenate([[0], started.astype(int), [0]]))
            runs = np.flatnonzero(steps == -1) - np.flatnonzero(steps == 1)
            shortest = min(shortest, int(runs.min()))
    return shortest
