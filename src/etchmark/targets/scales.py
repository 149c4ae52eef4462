"""Scales on which the sampling error of a score is nearly symmetric, for its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """A monotone function of a score, its inverse and its derivative, each elementwise."""

    name: str
    forward: Callable[[Array], Array]
    inverse: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    """Derivative of ``forward``."""
    bounded: bool = False
    """The score has an attainable limit on either side, where ``forward`` is infinite. A resample
    may reach it although the score does not, so errors are carried over by the slope."""


def _logit(share: Array) -> Array:
    return np.log(share / (1.0 - share))


def _logistic(value: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * value))


LINEAR = Scale("linear", lambda x: x, lambda x: x, np.ones_like)
"""For scores of any sign, such as differences."""
LOG = Scale("log", np.log, np.exp, lambda x: 1.0 / x)
"""For errors: positive, without a limit above."""
UNEXPLAINED = Scale(
    "log of 1 - score",
    lambda x: np.log(1.0 - x),
    lambda x: 1.0 - np.exp(x),
    lambda x: -1.0 / (1.0 - x),
)
"""For R²: the share of the variance that is not explained is an error."""
LOGIT = Scale("logit", _logit, _logistic, lambda x: 1.0 / (x * (1.0 - x)), bounded=True)
"""For shares between 0 and 1."""
LOGIT_PERCENT = Scale(
    "logit",
    lambda x: _logit(x / 100.0),
    lambda x: 100.0 * _logistic(x),
    lambda x: 100.0 / (x * (100.0 - x)),
    bounded=True,
)
"""For shares in per cent."""
