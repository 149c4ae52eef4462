"""Edges of two-phase images, moved until a phase has a given number of pixels."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy.ndimage import convolve1d

NARROW, WIDE = (1, 4, 6, 4, 1), (1, 8, 28, 56, 70, 56, 28, 8, 1)
"""Binomial weights, of standard deviations 1 and 1.4 pixels; whole, so that sums are exact."""
AROUND = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
"""Steps to the neighbours of a pixel, in a circle."""


def softened(phase: np.ndarray, weights: tuple[int, ...], mode: str) -> np.ndarray:
    """Whole-number weighted sums around each pixel, along rows and then along columns (int64).

    `mode`: what lies beyond the edges, as scipy names it, such as ``wrap`` and ``reflect``.
    """
    rows = convolve1d(phase.astype(np.int64), weights, axis=0, mode=mode)
    return convolve1d(rows, weights, axis=1, mode=mode)


def at_count(phase: np.ndarray, count: int, periodic: bool, generator: Generator) -> np.ndarray:
    """An image with a given number of pixels of phase 1, made by moving edges.

    Pixels change their phase one after the other, those first that have most of the other one
    around them, unless that would open or close, join or part anything.

    Args:
        phase: 0 and 1, shape (n, m), of at most 2**13 pixels.
        count: pixels of phase 1 that the result has.
        periodic: whether opposite edges of the image meet; otherwise phase 0 lies beyond them.
        generator: decides between pixels whose surroundings are equal.

    Returns:
        The image, uint8, shape (n, m).

    Raises:
        ValueError: no edge can be moved any further.
    """
    mode, image = "wrap" if periodic else "reflect", phase.astype(np.uint8)
    while surplus := int(image.sum()) - count:
        before = int(surplus > 0)
        narrow, wide = (softened(image, weights, mode) for weights in (NARROW, WIDE))
        ties = generator.permutation(image.size).reshape(image.shape)
        # Whole numbers below 2**53: exact as floats, too.
        rank = ((narrow * 2**17) + wide) * 2**13 + ties
        order = np.argsort(rank, axis=None)[:: 1 if before else -1]
        left = abs(surplus)
        for place in order[image.ravel()[order] == before]:
            row, column = divmod(int(place), image.shape[1])
            if left and is_simple(image, row, column, periodic):
                image[row, column] = 1 - before
                left -= 1
        if left == abs(surplus):
            raise ValueError(f"no edge can move: {count} pixels of phase 1 cannot be had")
    return image


def is_simple(image: np.ndarray, row: int, column: int, periodic: bool) -> bool:
    """Whether a pixel may change its phase without changing how regions hang together.

    Pixels of phase 1 are neighbours along edges, those of phase 0 along corners, too.
    `periodic`: as in `at_count`.

    Source: Yokoi, Toriwaki & Fukumura, Comput. Graph. Image Process. 4 (1975) 63,
    DOI 10.1016/0146-664X(75)90022-2.
    """
    rows, columns = image.shape
    ring = []
    for down, right in AROUND:
        y, x = row + down, column + right
        if periodic or (0 <= y < rows and 0 <= x < columns):
            ring.append(int(image[y % rows, x % columns]))
        else:
            ring.append(0)
    numbers = (ring[k] - ring[k] * ring[k + 1] * ring[(k + 2) % 8] for k in (0, 2, 4, 6))
    return sum(numbers) == 1
