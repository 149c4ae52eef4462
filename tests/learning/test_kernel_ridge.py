"""Closed-form left-out errors against fits that really leave samples out."""

from __future__ import annotations

import numpy as np
import pytest

from etchmark.learning.kernel_ridge import KernelRidge, Path, left_out_blocks
from etchmark.learning.surfaces import Data, mape


def problem(rows: int, seed: int = 0, features: int = 7) -> Data:
    generator = np.random.default_rng(seed)
    given, scalars = generator.random((rows, features)), generator.random((rows, 1))
    target = np.exp(given[:, 0] * scalars[:, 0] + 0.05 * generator.random(rows))
    return Data(given, scalars, target, generator.integers(0, 6, rows).astype(str))


def refitted(gram: np.ndarray, values: np.ndarray, penalty: float, held: np.ndarray) -> np.ndarray:
    """Residuals of ``held`` from a fit without them: ridge with an intercept, in the dual."""
    rest = np.setdiff1d(np.arange(len(values)), held)
    ones = np.ones((len(rest), 1))
    inner = gram[np.ix_(rest, rest)] + penalty * np.eye(len(rest))
    system = np.block([[inner, ones], [ones.T, np.zeros((1, 1))]])
    solution = np.linalg.solve(system, np.append(values[rest], 0.0))
    return values[held] - gram[np.ix_(held, rest)] @ solution[:-1] - solution[-1]


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("penalty", [1e-6, 1e-4, 1e-1])
def test_left_out_residuals_are_those_of_refits(kernel: str, grouped: bool, penalty: float) -> None:
    data = problem(60)
    model = KernelRidge(kernel).fit(data)
    values = np.log(data.target) - np.log(data.target).mean()
    gram = model._gram(model.train, model.train, model.length)
    path = model._path(model.length, values)
    blocks = left_out_blocks(60, data.groups if grouped else None)
    found = path.left_out(penalty, blocks)
    for held in blocks or [np.array([row]) for row in range(60)]:
        expected = refitted(gram, values, penalty * path.unit, held)
        np.testing.assert_allclose(found[held], expected, rtol=1e-5, atol=1e-10)


def test_few_columns_are_the_kernel_matrix_of_them() -> None:
    data = problem(90)
    model = KernelRidge("linear").fit(data)
    values = np.log(data.target) - np.log(data.target).mean()
    short = Path.of_rows(model.train, values)
    whole = Path.of_kernel(model.train @ model.train.T, values)
    assert short.axes.shape == whole.axes.shape == (90, 8)
    assert short.unit == pytest.approx(whole.unit)
    np.testing.assert_allclose(short.means, whole.means, atol=1e-12)
    centred = model.train - model.train.mean(axis=0)
    for penalty in (1e-6, 1.0):
        slopes = [path.weights(penalty)[0] @ centred for path in (short, whole)]
        np.testing.assert_allclose(*slopes, rtol=1e-8)


def test_linear_kernel_is_ridge_regression() -> None:
    from sklearn.linear_model import Ridge

    data, test = problem(80), problem(20, 1)
    model = KernelRidge("linear").fit(data)
    absolute = model.penalty * Path.of_rows(model.train, np.ones(80)).unit
    peer = Ridge(alpha=absolute).fit(model.train, np.log(data.target))
    rows = model._rows(test.features, test.scalars)
    ours = np.log(model.predict(test.features, test.scalars))
    np.testing.assert_allclose(ours, peer.predict(rows), rtol=1e-6)
    assert model.parameter_count() == 9


def test_a_kernel_sees_what_a_plane_cannot() -> None:
    data, test = problem(400), problem(100, 1)
    errors = {
        kernel: mape(
            test.target, KernelRidge(kernel).fit(data).predict(test.features, test.scalars)
        )
        for kernel in ("linear", "rbf")
    }
    assert errors["rbf"] < 0.6 * errors["linear"]


def test_more_features_than_samples_and_no_scalars() -> None:
    generator = np.random.default_rng(2)
    given = generator.normal(size=(30, 500))
    data = Data(given, np.empty((30, 0)), np.exp(0.1 * given[:, 0]))
    model = KernelRidge("linear").fit(data)
    assert np.isfinite(model.predict(given, np.empty((30, 0)))).all()
    assert model.left_out_error > 0


def test_constant_features_predict_the_mean() -> None:
    data = Data(np.ones((20, 3)), np.empty((20, 0)), np.full(20, 3.0))
    model = KernelRidge("rbf", log_target=False).fit(data)
    assert model.predict(np.ones((2, 3)), np.empty((2, 0))) == pytest.approx([3.0, 3.0])


def test_large_groups_are_left_out_in_parts() -> None:
    blocks = left_out_blocks(2500, np.repeat(["a", "b"], [2300, 200]))
    assert blocks is not None
    assert [len(one) for one in blocks] == [767, 767, 766, 200]
    assert left_out_blocks(5, None) is None
    assert left_out_blocks(5, np.array(["a"] * 5)) is None


def test_a_target_without_a_logarithm() -> None:
    data = Data(np.eye(4), np.empty((4, 0)), np.array([1.0, 2.0, -3.0, 4.0]))
    with pytest.raises(ValueError, match="has no logarithm"):
        KernelRidge("linear").fit(data)
    KernelRidge("linear", log_target=False).fit(data)


def test_unknown_kernel() -> None:
    with pytest.raises(ValueError, match="'linear' or 'rbf'"):
        KernelRidge("cubic")
