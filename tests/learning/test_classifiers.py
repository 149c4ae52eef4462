"""Classifiers of features."""

from __future__ import annotations

import numpy as np
import pytest

from etchmark.errors import UserError
from etchmark.learning import classifiers
from etchmark.learning.classifiers import Classifier

CLASSES = ("one", "two", "three")


def clouds(features: int = 6, rows: int = 90) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three Gaussian clouds that two of the features tell apart, in six groups."""
    generator = np.random.default_rng(0)
    which = np.arange(rows) % 3
    found = generator.standard_normal((rows, features))
    found[:, 0] += 6 * (which == 1)
    found[:, 1] += 6 * (which == 2)
    return found, np.array(CLASSES)[which], np.arange(rows) // 15


@pytest.mark.parametrize("head", classifiers.HEADS)
def test_clouds_far_apart_are_told_apart(head: str) -> None:
    features, target, groups = clouds()
    model = Classifier(head).fit(features[:60], target[:60], CLASSES, groups[:60])
    shares = model.predict(features[60:])
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert np.mean(np.array(CLASSES)[shares.argmax(axis=1)] == target[60:]) > 0.95


def test_probabilities_stand_in_the_order_of_the_classes() -> None:
    features, target, groups = clouds()
    there = Classifier().fit(features, target, CLASSES, groups).predict(features)
    back = Classifier().fit(features, target, CLASSES[::-1], groups).predict(features)
    np.testing.assert_allclose(there, back[:, ::-1])


def test_a_class_without_training_samples_is_never_predicted() -> None:
    features, target, groups = clouds()
    shares = Classifier().fit(features, target, (*CLASSES, "four"), groups).predict(features)
    assert shares.shape == (90, 4)
    assert not shares[:, 3].any()


def test_the_most_telling_features_are_kept() -> None:
    features, target, groups = clouds()
    model = Classifier(top=2).fit(features, target, CLASSES, groups)
    assert set(model.kept.tolist()) == {0, 1}
    changed = features.copy()
    changed[:, 2:] = 1e6
    np.testing.assert_array_equal(model.predict(changed), model.predict(features))


@pytest.mark.parametrize(("rows", "features"), [(400, 200), (150, 400)])
def test_principal_axes_hold_the_largest_variance(rows: int, features: int) -> None:
    generator = np.random.default_rng(1)
    matrix = generator.standard_normal((rows, features)) * np.geomspace(1, 1e-2, features)
    matrix -= matrix.mean(axis=0)
    axes = classifiers._principal_axes(matrix)
    kept = ((matrix @ axes) ** 2).sum()
    singular = np.linalg.svd(matrix, compute_uv=False)
    assert kept == pytest.approx((singular[: classifiers.COMPONENTS] ** 2).sum(), rel=1e-9)
    np.testing.assert_allclose(axes.T @ axes, np.eye(classifiers.COMPONENTS), atol=1e-7)


def test_the_penalty_is_chosen_with_whole_groups_left_out() -> None:
    groups = clouds()[2]
    left_out = classifiers._few_folds(90, groups, 0)
    assert len(left_out) == classifiers.INNER_FOLDS
    for fit, held_out in left_out:
        assert not set(groups[fit]) & set(groups[held_out])


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(UserError, match="head 'svm': give one of linear, forest"):
        Classifier("svm")
