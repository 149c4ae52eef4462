"""Regression on principal components: recovers what it can represent, chooses without the test."""

from __future__ import annotations

import numpy as np
import pytest

from etchmark.learning import surfaces
from etchmark.learning.surfaces import (
    PENALTIES,
    Components,
    Data,
    GaussianProcess,
    PolynomialRidge,
    mape,
    ridge_path,
)


def _problem(rows: int, seed: int, noise: float = 0.0) -> Data:
    """Twelve features from three hidden variables; a positive target quadratic in their log."""
    generator = np.random.default_rng(seed)
    hidden = generator.normal(size=(rows, 3)) * [3.0, 2.0, 1.0]
    mixing = np.random.default_rng(99).normal(size=(3, 12))
    scalar = generator.uniform(0, 2, size=(rows, 1))
    exponent = 0.3 * hidden[:, 0] - 0.1 * hidden[:, 1] ** 2 + 0.5 * scalar[:, 0] * hidden[:, 2] / 3
    target = np.exp(exponent + noise * generator.normal(size=rows))
    return Data(hidden @ mixing, scalar, target)


def test_quadratic_in_the_logarithm_is_recovered():
    train, validation, test = _problem(400, 0), _problem(100, 1), _problem(200, 2)
    model = PolynomialRidge(2, log_target=True).fit(train, validation)
    assert mape(test.target, model.predict(test.features, test.scalars)) < 0.5
    # The scalar and three components carry everything.
    assert model.columns >= 4


@pytest.mark.parametrize("samples", [12, 60])
def test_coefficients_are_those_of_the_normal_equations(samples: int) -> None:
    """With more terms than samples (12 of 30) and with fewer."""
    generator = np.random.default_rng(4)
    terms = generator.normal(size=(samples, 30)) * generator.uniform(0.1, 9, 30)
    values = generator.normal(size=samples)
    mean, scale, offset, slopes = PolynomialRidge._paths(terms, values)
    scaled = (terms - terms.mean(axis=0)) / terms.std(axis=0)
    np.testing.assert_allclose((mean, scale), (terms.mean(axis=0), terms.std(axis=0)))
    assert offset == pytest.approx(values.mean())
    for penalty, found in zip(PENALTIES, slopes, strict=True):
        left = scaled.T @ scaled / samples + penalty * np.eye(30)
        right = scaled.T @ (values - values.mean()) / samples
        np.testing.assert_allclose(left @ found, right, atol=1e-9)


@pytest.mark.parametrize("size", [1, 2, 3, 40, 300])
def test_one_reduction_solves_for_every_penalty(size: int) -> None:
    rows = np.random.default_rng(size).normal(size=(size // 2 + 1, size))
    matrix, vector = rows.T @ rows / size, np.arange(size) + 1.0
    found = ridge_path(matrix, vector, PENALTIES)
    for penalty, one in zip(PENALTIES, found, strict=True):
        expected = np.linalg.solve(matrix + penalty * np.eye(size), vector)
        np.testing.assert_allclose(one, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())


def test_linear_target_cannot_represent_it():
    train, test = _problem(400, 0), _problem(200, 2)
    linear = PolynomialRidge(2, log_target=False).fit(train)
    assert mape(test.target, linear.predict(test.features, test.scalars)) > 5


def test_scalars_alone_are_enough():
    train, test = _problem(400, 0), _problem(200, 2)
    none = np.empty((400, 0)), np.empty((200, 0))
    scalars = [np.concatenate([one.features[:, :3], one.scalars], axis=1) for one in (train, test)]
    model = PolynomialRidge(2).fit(Data(none[0], scalars[0], train.target))
    assert mape(test.target, model.predict(none[1], scalars[1])) < 0.5
    assert model.columns == 4


def test_gaussian_process_beats_the_mean_by_far():
    train, validation, test = _problem(300, 0), _problem(60, 1), _problem(100, 2)
    model = GaussianProcess(log_target=True, seed=0).fit(train, validation)
    own = mape(test.target, model.predict(test.features, test.scalars))
    assert own < 0.2 * mape(test.target, np.full(100, train.target.mean()))
    assert model.parameter_count() > 300


def test_without_validation_whole_groups_are_left_out():
    """Group labels that give the target away inside groups only: grouped choice is not fooled."""
    generator = np.random.default_rng(3)
    groups = np.repeat(np.arange(6), 40)
    shift = generator.normal(size=6)[groups]
    # Large components tell the group, a small one what carries over.
    telling = np.eye(6)[groups] * 10
    useful = generator.normal(size=240)
    features = np.concatenate([telling, useful[:, None]], axis=1)
    target = np.exp(shift + 0.3 * useful)
    alone = PolynomialRidge(1, components=(2, 6)).fit(Data(features, np.zeros((240, 1)), target))
    grouped = PolynomialRidge(1, components=(2, 6)).fit(
        Data(features, np.zeros((240, 1)), target, groups.astype(str))
    )
    assert alone.penalty < grouped.penalty


def test_same_seed_same_model():
    train, test = _problem(200, 0, noise=0.1), _problem(50, 2)
    first, second = (PolynomialRidge(2, seed=4).fit(train) for _ in range(2))
    np.testing.assert_array_equal(
        first.predict(test.features, test.scalars), second.predict(test.features, test.scalars)
    )


def test_constant_scalars_and_features_do_no_harm():
    train = _problem(100, 0)
    flat = Data(
        np.concatenate([train.features, np.ones((100, 2))], axis=1), np.ones((100, 1)), train.target
    )
    assert np.isfinite(PolynomialRidge(2).fit(flat).predict(flat.features, flat.scalars)).all()


@pytest.mark.parametrize("rows", [3, 8])
def test_few_samples(rows):
    data = _problem(rows, 0)
    assert PolynomialRidge(1).fit(data).predict(data.features, data.scalars).shape == (rows,)


def test_components_keep_their_relative_size():
    rows = _problem(300, 0).features
    scores = Components(rows, 3, seed=0).scores(rows)
    spread = scores.std(axis=0)
    assert spread[0] == pytest.approx(1, rel=0.01)
    assert spread[0] > spread[1] > spread[2]


def test_gaussian_process_starts_again_where_all_would_be_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From lengths so short that no two samples resemble each other, there is no way up."""
    generator = np.random.default_rng(5)
    rows = generator.normal(size=(200, 3))
    values = np.sin(rows[:, 0]) + 0.5 * rows[:, 1]
    values = (values - values.mean()) / values.std()
    process = GaussianProcess(log_target=False, seed=0)
    lost = (2e-3, 0.9)
    monkeypatch.setattr(surfaces, "GP_STARTS", (lost,))
    stuck = process._maximum(rows, values, rows.std(axis=0))
    assert np.ptp(stuck.predict(generator.normal(size=(50, 3)))) < 1e-6
    monkeypatch.setattr(surfaces, "GP_STARTS", (lost, (10.0, 0.03), (30.0, 0.3)))
    found = process._maximum(rows, values, rows.std(axis=0))
    assert np.mean((found.predict(rows) - values) ** 2) < 0.01
    assert found.log_marginal_likelihood_value_ > stuck.log_marginal_likelihood_value_ + 100
