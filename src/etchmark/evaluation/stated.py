"""What a model says of itself: checked, so that a wrong answer is named as what it is."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

from etchmark.model import FeatureSeconds

PARTS = ("ever", "now", "cpu_now")


def parameter_count(model: Any) -> int | None:
    """The number of fitted parameters; None where the model does not say.

    Raises:
        TypeError: it is not a number.
        ValueError: it is not whole, negative, or beyond what can be stored.
    """
    return _count(model, "parameter_count")


def total_parameter_count(model: Any) -> int | None:
    """The number of parameters, those included that were fitted elsewhere; None where not said.

    Raises:
        TypeError, ValueError: as ``parameter_count``.
    """
    return _count(model, "total_parameter_count")


def _count(model: Any, method: str) -> int | None:
    count = getattr(model, method)() if hasattr(model, method) else None
    if count is None:
        return None
    value = _number(f"{method}()", count)
    if not (0 <= value < 2**63 and value == int(count)):
        raise ValueError(
            f"{method}() is {value:.17g}, not a number of parameters; return a whole number,"
            " 0 or more, or None"
        )
    return int(count)


def flops(model: Any) -> float | None:
    """Floating-point operations of one prediction; None where the model does not say.

    Raises:
        TypeError: it is not a number.
        ValueError: it is negative or not finite.
    """
    count = model.flops() if hasattr(model, "flops") else None
    if count is None:
        return None
    value = _number("flops()", count)
    if value < 0:
        raise ValueError(f"flops() is {value:g}; return a number of operations, 0 or more, or None")
    return value


def made_with(model: Any) -> dict[str, str]:
    """Names and values of what the model used beside its code and the data.

    Raises:
        TypeError: it is not a mapping.
    """
    used = model.made_with() if hasattr(model, "made_with") else None
    if used is None:
        return {}
    if not isinstance(used, Mapping):
        raise TypeError(f"made_with() is {_shown(used)}, not a dict of names and values")
    return {str(name): str(value) for name, value in used.items()}


def feature_seconds(model: Any) -> FeatureSeconds:
    """What the features that a model has read so far took; nothing where it does not say.

    Raises:
        TypeError: it is of another type, or holds what is not a number.
        ValueError: a part is negative or not finite.
    """
    spent = model.feature_seconds() if hasattr(model, "feature_seconds") else FeatureSeconds()
    if not isinstance(spent, FeatureSeconds):
        raise TypeError(f"feature_seconds() returned {type(spent).__name__}, not FeatureSeconds")
    for part in PARTS:
        value = _number(f"feature_seconds().{part}", getattr(spent, part))
        if value < 0:
            raise ValueError(f"feature_seconds().{part} is {value:g}; give seconds, 0 or more")
    return spent


def predict_seconds(measured: float, fitted: FeatureSeconds, total: FeatureSeconds) -> float:
    """Seconds of predicting, in which features that are kept between runs always count.

    Args:
        measured: wall time of the calls.
        fitted: time of features when fitting was over.
        total: the same when everything was predicted.

    Raises:
        ValueError: the time of features became less.
    """
    for part in PARTS:
        before, after = getattr(fitted, part), getattr(total, part)
        if after < before:
            raise ValueError(
                f"feature_seconds().{part} fell from {before:g} to {after:g} while predicting; it"
                " counts everything since the model was built"
            )
    predicted = total - fitted
    return max(0.0, measured - predicted.now) + predicted.ever


def _number(what: str, value: Any) -> float:
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, numbers.Real | np.bool_):
        raise TypeError(f"{what} is {_shown(value)}, not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{what} is {number}, not a finite number")
    return number


def _shown(value: Any) -> str:
    """A value and its type, in few characters."""
    try:
        return f"{repr(value)[:50]} ({type(value).__name__})"
    except Exception:
        return f"a {type(value).__name__}"
