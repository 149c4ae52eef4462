"""Regression heads against scikit-learn, and that their choices respect groups."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge

from etchmark.learning.heads import (
    BlockScaler,
    GroupedRidge,
    PCARegression,
    Projection,
    inner_folds,
    linear_path,
)


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    features = random.normal(size=(60, 8)) @ random.normal(size=(8, 8))
    target = features @ random.normal(size=8) + random.normal(size=60) + 100.0
    return features, target, np.repeat(np.arange(12), 5)


def test_inner_folds_hold_out_whole_groups_once(data: tuple) -> None:
    groups = data[2]
    held = []
    for fit, out in inner_folds(60, groups):
        assert not set(groups[fit]) & set(groups[out])
        assert len(fit) + len(out) == 60
        held.extend(out)
    assert sorted(held) == list(range(60))


def test_inner_folds_without_groups_are_seeded_and_cover_everything() -> None:
    first = [out.tolist() for _, out in inner_folds(23, None, seed=1)]
    assert first == [out.tolist() for _, out in inner_folds(23, None, seed=1)]
    assert first != [out.tolist() for _, out in inner_folds(23, None, seed=2)]
    assert sorted(row for out in first for row in out) == list(range(23))


def test_linear_path_equals_regression_on_principal_components(data: tuple) -> None:
    features, target, _ = data
    path = linear_path(features[:40], target[:40], features[40:])
    pca = PCA(8).fit(features[:40])
    inside, outside = pca.transform(features[:40]), pca.transform(features[40:])
    for count in range(1, 9):
        reference = LinearRegression().fit(inside[:, :count], target[:40])
        np.testing.assert_allclose(path[count], reference.predict(outside[:, :count]), rtol=1e-9)
    np.testing.assert_allclose(path[0], target[:40].mean())


def test_projection_drops_directions_without_variance() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 3))
    space = Projection(np.hstack([rows, rows]))
    assert len(space.scale) == 3


def test_chosen_components_carry_over_to_new_rows(data: tuple) -> None:
    features, target, groups = data
    model = PCARegression().fit(features, target, groups)
    expected = linear_path(
        model.scaler.transform(features), target, model.scaler.transform(features[:7])
    )[model.components]
    np.testing.assert_allclose(model.predict(features[:7]), expected, rtol=1e-9)
    assert model.parameter_count() == model.components + 1


@pytest.mark.parametrize("head", ["linear", "svr"])
def test_heads_learn_a_linear_law(head: str, data: tuple) -> None:
    features, target, groups = data
    model = PCARegression(head).fit(features[:50], target[:50], groups[:50])
    error = np.abs(model.predict(features[50:]) - target[50:]).mean()
    assert error < 0.6 * np.abs(target[50:] - target[:50].mean()).mean()


def test_groups_change_the_choice() -> None:
    # Features that tell groups apart predict within a group and fail across groups. Random points,
    # since with one mark per group every penalty would leave the same error across groups.
    random = np.random.default_rng(5)
    groups = np.repeat(np.arange(10), 6)
    marks = random.normal(size=(10, 8))[groups]
    target = random.normal(size=10)[groups] * 10.0 + 0.1 * random.normal(size=60)
    alone = PCARegression().fit(marks, target, None)
    grouped = PCARegression().fit(marks, target, groups)
    assert alone.components > grouped.components
    assert GroupedRidge().fit(marks, target, groups).alpha > GroupedRidge().fit(marks, target).alpha


@pytest.mark.parametrize("standardise", [True, False])
def test_grouped_ridge_equals_scikit_learn_at_its_alpha(standardise: bool, data: tuple) -> None:
    features, target, groups = data
    model = GroupedRidge(standardise=standardise).fit(features, target, groups)
    spread = features.std(axis=0) if standardise else 1.0
    scaled = (features - features.mean(axis=0)) / spread
    reference = Ridge(alpha=model.alpha).fit(scaled, target)
    np.testing.assert_allclose(model.predict(features), reference.predict(scaled), rtol=1e-8)


def test_blocks_get_equal_total_variance() -> None:
    features = np.random.default_rng(0).normal(size=(30, 5)) * [1.0, 10.0, 3.0, 0.1, 0.2]
    scaled = BlockScaler([3, -1]).fit(features).transform(features)
    assert scaled[:, :3].var(axis=0).sum() == pytest.approx(1.0)
    assert scaled[:, 3:].var(axis=0).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("blocks", [[6], [5, -1], [2, 2]])
def test_blocks_that_do_not_fit_are_refused(blocks: list[int]) -> None:
    with pytest.raises(ValueError, match="blocks"):
        BlockScaler(blocks).fit(np.ones((4, 5)))


def test_unknown_head_is_refused() -> None:
    with pytest.raises(ValueError, match="cubic"):
        PCARegression("cubic")
