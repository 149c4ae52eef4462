"""Classes: metrics against scikit-learn, files that are refused, and the journeys of two toys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn import metrics as peers

from etchmark.errors import UserError
from etchmark.predictions import Predictions
from etchmark.scoring.uncertainty import bootstrap, resample_counts, unit_sums
from etchmark.scoring.uncertainty import score as pooled
from etchmark.specs import KINDS
from etchmark.specs.targets import LabelTarget
from etchmark.targets import check_metrics, kind_named, metric
from etchmark.targets.label import BINS, label_terms

CLASSES = ["bainite", "ferrite", "martensite", "pearlite"]
COMMON = {"column": "y", "quantity": "q", "symbol": "Y", "unit": "1", "classes": CLASSES}
NAMED = LabelTarget.model_validate(COMMON)
SHARES = LabelTarget.model_validate({**COMMON, "probabilities": True})
KIND = kind_named("label")
ALL = ["macro_f1", "balanced_accuracy", "accuracy", "log_loss", "calibration_error", "error_rate"]


def sample(rows: int = 200, present: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True and predicted places, and probabilities; only the first classes occur as labels."""
    generator = np.random.default_rng(3)
    truth = generator.integers(0, present, rows)
    logits = generator.normal(0, 1, (rows, 4)) + 1.5 * np.eye(4)[truth]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, shares.argmax(axis=1), shares


def score(name: str, truth: np.ndarray, predicted: np.ndarray, shares: Any = None) -> float:
    terms = label_terms(truth, predicted, CLASSES, shares)
    return float(metric(name).of({key: values.sum() for key, values in terms.items()}))


@pytest.mark.parametrize("present", [2, 4])
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_against_scikit_learn(present: int) -> None:
    truth, predicted, shares = sample(present=present)
    expected = {
        "macro_f1": peers.f1_score(truth, predicted, average="macro"),
        "balanced_accuracy": peers.balanced_accuracy_score(truth, predicted),
        "accuracy": peers.accuracy_score(truth, predicted),
        "error_rate": peers.zero_one_loss(truth, predicted),
        "log_loss": peers.log_loss(truth, shares, labels=range(4)),
    }
    for name, value in expected.items():
        assert score(name, truth, predicted, shares) == pytest.approx(value, rel=1e-12), name


@pytest.mark.parametrize("decimals", [1, 6])
def test_the_area_under_the_curve_against_scikit_learn(decimals: int) -> None:
    truth, predicted, shares = sample()
    shares = np.round(shares, decimals) + 1e-9
    terms = label_terms(truth, predicted, CLASSES, shares)
    sums = unit_sums(terms, np.arange(len(truth)).astype(str))
    whole = shares / shares.sum(axis=1, keepdims=True)
    expected = peers.roc_auc_score(truth, whole, multi_class="ovr", average="macro")
    assert pooled(metric("roc_auc"), sums)[0] == pytest.approx(expected, rel=1e-12)


def test_a_pooled_metric_is_recomputed_for_every_resample() -> None:
    truth, predicted, shares = sample(60)
    units = np.arange(60) // 5
    sums = unit_sums(label_terms(truth, predicted, CLASSES, shares), units)
    scores = bootstrap(metric("roc_auc"), sums, 20)
    for value, count in zip(scores, resample_counts(12, 20), strict=True):
        rows = np.repeat(np.arange(60), count[units].astype(int))
        expected = peers.roc_auc_score(truth[rows], shares[rows], multi_class="ovr")
        assert value == pytest.approx(expected, rel=1e-12)
    with pytest.raises(TypeError, match="cannot be made from sums"):
        metric("roc_auc").finish(sums)


def test_a_class_that_occurs_nowhere_does_not_count() -> None:
    truth = np.array([0, 0, 1, 1])
    assert score("macro_f1", truth, truth) == 1.0
    assert score("balanced_accuracy", truth, truth) == 1.0
    assert score("macro_f1", truth, np.array([0, 0, 1, 2])) == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_certainty_that_is_wrong_has_the_loss_of_scikit_learn() -> None:
    shares = np.eye(4)[[0, 1]]
    expected = peers.log_loss([0, 2], shares, labels=range(4))
    assert score("log_loss", np.array([0, 2]), np.array([0, 1]), shares) == pytest.approx(expected)


def test_calibration_error_against_a_loop() -> None:
    truth, predicted, shares = sample()
    confidence, correct = shares.max(axis=1), truth == predicted
    total = 0.0
    for number in range(BINS):
        inside = (confidence > number / BINS) & (confidence <= (number + 1) / BINS)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - correct[inside].mean())
    assert score("calibration_error", truth, predicted, shares) == pytest.approx(total)
    sure = np.eye(4)[truth]
    assert score("calibration_error", truth, truth, sure) == 0.0


def test_metrics_that_classes_have() -> None:
    assert "label" in KINDS
    terms = label_terms(*sample()[:2], CLASSES, sample()[2])
    assert sorted(terms) == sorted(KIND.term_names(NAMED))
    check_metrics(SHARES, [*ALL, "roc_auc"])
    with pytest.raises(ValueError, match=r"log_loss needs target\.probabilities"):
        NAMED.check_metrics(["accuracy", "log_loss"])
    with pytest.raises(ValidationError, match="a class is named twice"):
        LabelTarget.model_validate({**COMMON, "classes": ["a", "a"]})


def test_probabilities_that_are_none() -> None:
    ids = np.array(["a", "b", "c"], dtype=object)
    shares = np.array([[0.5, 0.5, 0, 0], [1.1, -0.1, 0, 0], [0.2, 0.2, 0.2, 0.2]])
    rows = Predictions(ids, np.zeros(3, dtype=int), shares)
    with pytest.raises(UserError, match=r"p: 2 predictions are not probabilities \(ids 'b', 'c'\)"):
        KIND.check_values(Path("p"), rows, SHARES)
    with pytest.raises(ValueError, match="2 rows that are not probabilities"):
        KIND.checked(shares, 3, (4,), SHARES.model_dump())
    order = ", ".join(CLASSES)
    for returned, what in ((shares[:, :3], r"shape \(3, 3\)"), (np.array(["a"] * 3), "<U1")):
        message = f"predict returned {what}.*; return one probability per class: {order}$"
        with pytest.raises(ValueError, match=message):
            KIND.checked(returned, 3, (4,), SHARES.model_dump())


def test_classes_that_are_none() -> None:
    ids = np.array(["a", "b"], dtype=object)
    rows = Predictions(ids, np.zeros(2, dtype=int), np.array(["ferrite", "Ferrite"], dtype=object))
    with pytest.raises(UserError, match=r"1 prediction is of an unknown class") as caught:
        KIND.check_values(Path("p"), rows, NAMED)
    assert str(caught.value) == (
        "p: 1 prediction is of an unknown class ('Ferrite'; ids 'b');"
        f" write one of: {', '.join(CLASSES)}"
    )
    for returned, what in (
        (["ferrite", "steel"], f"the unknown class 'steel'; return one of: {', '.join(CLASSES)}$"),
        ([0, 1], "int64 of shape"),
        (["ferrite"], "<U7 of shape"),
    ):
        with pytest.raises(ValueError, match=f"predict returned {what}"):
            KIND.checked(returned, 2, (), NAMED.model_dump())


BUILD = """
y = np.where(x > 0.4, "martensite", np.where(x < -0.4, "ferrite", "pearlite"))
y[:3] = ["ferrite", "martensite", "pearlite"]
"""
MODEL = """
class Model:
    def fit(self, train, validation):
        self.classes, counts = np.unique(train.target.astype(str), return_counts=True)
        self.common = self.classes[counts.argmax()]
        assert train.classes == ASKED, train.classes

    def predict(self, inputs):
        return RETURNED
"""


def shifted(labels: np.ndarray) -> np.ndarray:
    """Every label is the next class."""
    return np.array([CLASSES[CLASSES.index(label) - 1] for label in labels])


def test_a_toy_of_classes(journey: Callable[..., None], toy_kind: Callable[..., Any]) -> None:
    model = MODEL.replace("RETURNED", 'np.full(len(inputs["x"]), self.common)')
    model = model.replace("ASKED", "None")
    target = {"kind": "label", "classes": CLASSES}
    metrics = ["macro_f1", "balanced_accuracy", "accuracy"]
    journey(toy_kind(BUILD, model, target, metrics, shifted))


def probabilities(labels: np.ndarray, sure: float = 0.9) -> np.ndarray:
    """Most of the probability on each label."""
    shares = np.full((len(labels), 4), (1 - sure) / 3)
    shares[np.arange(len(labels)), [CLASSES.index(name) for name in labels]] = sure
    return shares


def test_a_toy_of_probabilities(journey: Callable[..., None], toy_kind: Callable[..., Any]) -> None:
    model = MODEL.replace("RETURNED", 'np.full((len(inputs["x"]), 4), 0.25)')
    model = model.replace("ASKED", repr(tuple(CLASSES)))
    target = {"kind": "label", "classes": CLASSES, "probabilities": True}
    worse = lambda labels: probabilities(shifted(labels))  # noqa: E731
    journey(
        toy_kind(
            BUILD, model, target, ["log_loss", *ALL[:3], ALL[4], "roc_auc"], worse, probabilities
        )
    )
