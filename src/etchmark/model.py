"""What a model is: ``model.py`` defines ``build(seed, device, **params)`` that returns one.

In three lines, with scikit-learn::

    from etchmark import SklearnModel
    from sklearn.linear_model import Ridge
    def build(seed: int, device: str): return SklearnModel(Ridge(), columns=["Cr", "Al"])

A model runs in a working directory of its own, empty for every fold and seed, where it may write
what it likes. With ``etchmark evaluate --resume`` (and ``etchmark results run``) that directory
outlives an interruption: a model that saves its state there while it fits, and looks for it when
``fit`` begins, goes on where it stopped. The process may be killed at any moment, so a state is
written under another name and then renamed. The time of fitting is summed over interruptions. Other
code, parameters, data or device start from nothing, and once the result is stored the directory is
removed.

A fitted model that can be used later has ``save(folder)``, and its ``model.py`` a function
``load(folder, device)`` beside ``build``; ``etchmark evaluate --keep-model`` wants both. Neither
uses pickle: see ``etchmark.saving``, which most models need two lines of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from etchmark.saving import Savable

Inputs = Mapping[str, np.ndarray]


@dataclass
class Samples:
    """Labelled samples handed to ``fit``.

    Arrays may be changed in place and attributes set (``train.target -= mean``): a model that is
    evaluated has them to itself.

    Attributes:
        ids: shape (samples,), text.
        inputs: declared columns by name, each with samples on its first axis, in stored dtypes,
            read from disk when first used; image columns are object arrays of uint8 arrays.
        target: shape (samples, ...), in the benchmark's unit.
        groups: group label of each sample, shape (samples,), or None; choices made inside the
            training data (hyper-parameters) are to be made with whole groups left out.
        classes: names of the classes in the order in which ``predict`` returns their
            probabilities; None unless probabilities are to be predicted.
    """

    ids: np.ndarray
    inputs: Inputs
    target: np.ndarray
    groups: np.ndarray | None = None
    classes: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class FeatureSeconds:
    """What the features that a model has read so far took.

    Attributes:
        ever: their computation, whenever that was.
        now: wall time spent on computing those that were not stored, in this process.
        cpu_now: processor time of the same.
    """

    ever: float = 0.0
    now: float = 0.0
    cpu_now: float = 0.0

    def __add__(self, other: FeatureSeconds) -> FeatureSeconds:
        return FeatureSeconds(
            self.ever + other.ever, self.now + other.now, self.cpu_now + other.cpu_now
        )

    def __sub__(self, other: FeatureSeconds) -> FeatureSeconds:
        return FeatureSeconds(
            self.ever - other.ever, self.now - other.now, self.cpu_now - other.cpu_now
        )


@dataclass(frozen=True)
class TrainingHistory:
    """How the error on validation samples fell while a model was trained.

    Attributes:
        metric: id of the metric that the error is a value of.
        points: processor seconds of training so far, rising, and the error; infinite where there
            is none.
    """

    metric: str
    points: tuple[tuple[float, float], ...]


@runtime_checkable
class Model(Protocol):
    """Fits on labelled samples, then predicts from inputs alone.

    Optional methods: ``parameter_count() -> int | None`` tells the number of fitted parameters,
    ``total_parameter_count() -> int | None`` that of all, fitted elsewhere included (networks of
    torch that the model holds are counted without it),
    ``flops() -> float | None`` the floating-point operations of predicting one sample, or one frame
    where frames are predicted, ``feature_seconds() -> FeatureSeconds`` the time of features that
    are kept between runs, so that a run from the store and one without it tell the same times,
    ``training_history() -> TrainingHistory | None`` how the error on validation samples fell,
    ``save(folder)`` writes the fitted model into an empty folder, for a module function
    ``load(folder, device)`` to read.
    """

    def fit(self, train: Samples, validation: Samples | None) -> Any: ...

    def predict(self, inputs: Inputs) -> np.ndarray: ...


def stack(inputs: Inputs, columns: Sequence[str] | None = None) -> np.ndarray:
    """Numeric columns side by side: scalars and flat arrays, shape (samples, features), float64.

    Args:
        inputs: columns by name.
        columns: which of them, in this order; every numeric one if None.
    """
    chosen = list(inputs) if columns is None else list(columns)
    parts = []
    for name in chosen:
        values = np.asarray(inputs[name])
        if not (np.issubdtype(values.dtype, np.number) or values.dtype == bool):
            if columns is None:
                continue
            raise ValueError(f"column {name!r} holds {values.dtype}, not numbers")
        parts.append(values.reshape(len(values), -1).astype(np.float64))
    if not parts:
        raise ValueError(f"no numeric column among {', '.join(inputs)}")
    return np.concatenate(parts, axis=1)


class SklearnModel(Savable):
    """A scikit-learn estimator on stacked numeric columns.

    Where a benchmark asks for probabilities, they are those of the estimator's ``predict_proba``,
    and 0 for a class that no training sample has.

    It can be saved if the estimator is scikit-learn's own or ``etchmark.saving.Savable``.

    Args:
        estimator: anything with ``fit(X, y)`` and ``predict(X)``.
        columns: the inputs it reads; every numeric one if None.
        groups: hand the groups to ``fit(X, y, groups=...)``, for estimators that choose
            hyper-parameters by grouped cross-validation.
    """

    saved = ("estimator", "classes")

    def __init__(
        self, estimator: Any, columns: Sequence[str] | None = None, *, groups: bool = False
    ) -> None:
        self.estimator = estimator
        self.columns = columns
        self.groups = groups
        self.classes: Sequence[str] | None = None

    def restore(self, state: Mapping[str, Any]) -> None:
        # Models that were saved before there were probabilities name no classes.
        super().restore({"classes": None, **state})

    def fit(self, train: Samples, validation: Samples | None = None) -> SklearnModel:
        features = stack(train.inputs, self.columns)
        self.classes = train.classes
        if self.groups:
            self.estimator.fit(features, train.target, groups=train.groups)
        else:
            self.estimator.fit(features, train.target)
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        features = stack(inputs, self.columns)
        if self.classes is None:
            return np.asarray(self.estimator.predict(features))
        if not hasattr(self.estimator, "predict_proba"):
            name = type(self.estimator).__name__
            raise ValueError(f"{name} has no predict_proba, but probabilities are asked for")
        place = {name: number for number, name in enumerate(self.classes)}
        shares = np.zeros((len(features), len(self.classes)))
        known = [place[str(name)] for name in self.estimator.classes_]
        shares[:, known] = self.estimator.predict_proba(features)
        return shares

    def parameter_count(self) -> int | None:
        """What the estimator says of itself, else the size of its linear coefficients."""
        if hasattr(self.estimator, "parameter_count"):
            return int(self.estimator.parameter_count())
        last = self.estimator[-1] if hasattr(self.estimator, "steps") else self.estimator
        if not hasattr(last, "coef_"):
            return None
        return int(np.size(last.coef_) + np.size(getattr(last, "intercept_", ())))
