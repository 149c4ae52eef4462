"""What a model says of itself: checked, so that a wrong answer is named as what it is."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from etchmark.model import FeatureSeconds, TrainingHistory

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


def training_history(model: Any, metrics: Collection[str]) -> dict[str, Any] | None:
    """Metric and points of a model's training; None where it does not say.

    Args:
        model: after its fit.
        metrics: ids of those that the kind of target has.

    Raises:
        TypeError: it is of another type, or holds what is not a number.
        ValueError: seconds are not positive or do not rise, or the metric is unknown.
    """
    told = model.training_history() if hasattr(model, "training_history") else None
    if told is None:
        return None
    if not isinstance(told, TrainingHistory):
        raise TypeError(f"training_history() returned {type(told).__name__}, not TrainingHistory")
    if told.metric not in metrics:
        raise ValueError(
            f"training_history() names {_shown(told.metric)}, not a metric; choose from"
            f" {', '.join(metrics)}"
        )
    points = [_point(point) for point in told.points]
    seconds = [0.0, *(spent for spent, _ in points)]
    if any(later <= earlier for earlier, later in pairwise(seconds)):
        raise ValueError("training_history() holds seconds that are not above 0 or do not rise")
    return {"metric": told.metric, "points": points} if points else None


def _point(point: Any) -> tuple[float, float | None]:
    """Seconds and error of a training so far; None for an error without a number."""
    if not isinstance(point, Sequence) or isinstance(point, str) or len(point) != 2:
        raise TypeError(
            f"training_history() holds {_shown(point)}; a point is a pair of seconds and error"
        )
    spent, error = point
    if isinstance(error, float) and math.isinf(error):
        return _number("training_history() seconds", spent), None
    return (
        _number("training_history() seconds", spent),
        _number("training_history() error", error),
    )


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
