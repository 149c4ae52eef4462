"""Arrays of numbers: metrics against numpy and scikit-learn, and the journey of a toy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as peers

from etchmark.errors import UserError
from etchmark.specs import ArrayTarget
from etchmark.targets import check_metrics, kind_named, metric
from etchmark.targets.array import array_terms, relative_norm

COMPONENTS = ["c11", "c12", "c22", "c23"]
TARGET = ArrayTarget(
    column="y", quantity="q", symbol="Y", unit="GPa", shape=[2, 2], components=COMPONENTS
)


def pair() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    truth = generator.normal(5, 2, (30, 2, 2))
    return truth, truth + generator.normal(0, 1, truth.shape)


def score(name: str, truth: np.ndarray, predicted: np.ndarray) -> float:
    terms = array_terms(truth, predicted[None], COMPONENTS)
    return float(metric(name).of({key: values.sum() for key, values in terms.items()}))


def test_relative_error_is_that_of_the_frobenius_norm() -> None:
    truth, predicted = pair()
    errors = [
        np.linalg.norm(b - a, "fro") / np.linalg.norm(a, "fro")
        for a, b in zip(truth, predicted, strict=True)
    ]
    assert score("relative_error", truth, predicted) == pytest.approx(100 * np.mean(errors))
    zero = np.zeros((2, 2, 2))
    assert relative_norm(zero, np.stack([zero[0], zero[0] + 1])).tolist() == [0.0, np.inf]


def test_errors_of_components_and_of_all_elements() -> None:
    truth, predicted = pair()
    flat = truth.reshape(30, 4), predicted.reshape(30, 4)
    for place, name in enumerate(COMPONENTS):
        expected = peers.mean_absolute_error(flat[0][:, place], flat[1][:, place])
        assert score(f"component_error:{name}", truth, predicted) == pytest.approx(expected)
    assert score("mae", truth, predicted) == pytest.approx(peers.mean_absolute_error(*flat))
    assert score("r2", truth, predicted) == pytest.approx(
        peers.r2_score(flat[0].ravel(), flat[1].ravel())
    )


def test_metrics_that_an_array_has() -> None:
    terms = array_terms(*(values[None] if at else values for at, values in enumerate(pair())))
    assert set(terms) <= set(kind_named("array").term_names(TARGET))
    check_metrics(TARGET, ["relative_error", "rmse", "component_error:c12"])
    for name in ("component_error:c99", "bound_violations", "ssim", "nothing"):
        with pytest.raises(UserError, match=f"unknown metric '{name}' of a target of kind array"):
            check_metrics(TARGET, [name])


def test_a_toy_of_arrays(journey: Callable[..., None], toy_kind: Callable[..., Any]) -> None:
    build = """
values = np.stack([x + 3, x * x + 1, x - 5, x * 0 + 2], axis=1).reshape(rows, 2, 2)
y, feature = array_column(values), array_feature(values)
"""
    model = """
class Model:
    def fit(self, train, validation):
        self.mean = train.target.mean(axis=0)

    def predict(self, inputs):
        return np.repeat(self.mean[None], len(inputs["x"]), axis=0)
"""
    target = {"kind": "array", "shape": [2, 2], "components": COMPONENTS}
    metrics = ["relative_error", "rmse", "component_error:c11"]
    journey(toy_kind(build, model, target, metrics, lambda labels: labels + 0.1))
