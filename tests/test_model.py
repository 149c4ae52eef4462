"""What a model author uses: Samples, stack and SklearnModel."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, GroupKFold

import etchmark
from etchmark.model import Model, Samples, SklearnModel, stack


@pytest.fixture
def inputs() -> dict[str, np.ndarray]:
    return {
        "a": np.array([1, 2, 3, 4], dtype=np.int16),
        "name": np.array(["w", "x", "y", "z"], dtype=object),
        "grid": np.arange(16, dtype=np.float16).reshape(4, 2, 2),
        "flag": np.array([True, False, True, False]),
    }


def test_stack_takes_every_numeric_column_in_order(inputs):
    stacked = stack(inputs)
    assert stacked.dtype == np.float64
    assert stacked.shape == (4, 6)
    np.testing.assert_array_equal(stacked[1], [2, 4, 5, 6, 7, 0])


def test_stack_takes_named_columns_in_the_order_named(inputs):
    np.testing.assert_array_equal(stack(inputs, ["flag", "a"])[0], [1, 1])


def test_stack_refuses_text_that_was_asked_for(inputs):
    with pytest.raises(ValueError, match="'name' holds object"):
        stack(inputs, ["name"])


def test_stack_names_what_there_is_where_nothing_is_numeric(inputs):
    with pytest.raises(ValueError, match="no numeric column among name"):
        stack({"name": inputs["name"]})


def test_stack_of_an_unknown_column(inputs):
    with pytest.raises(KeyError):
        stack(inputs, ["b"])


def test_sklearn_model_is_a_model_and_fits(inputs):
    model = SklearnModel(LinearRegression(), columns=["a"])
    assert isinstance(model, Model)
    train = Samples(np.array(list("wxyz")), inputs, np.array([10.0, 20.0, 30.0, 40.0]))
    assert len(train) == 4
    assert model.fit(train, None) is model
    np.testing.assert_allclose(model.predict({"a": np.array([5.0])}), [50.0])


def test_sklearn_model_hands_over_the_groups(inputs):
    search = GridSearchCV(RidgeCV(), {"alphas": [[0.1], [1.0]]}, cv=GroupKFold(2))
    groups = np.array(["p", "p", "q", "q"])
    train = Samples(np.array(list("wxyz")), inputs, np.arange(4.0), groups)
    fitted = SklearnModel(search, columns=["a"], groups=True).fit(train)
    assert fitted.predict(inputs).shape == (4,)
    with pytest.raises(ValueError, match="groups"):
        SklearnModel(search, columns=["a"]).fit(train)


def test_sklearn_model_predicts_probabilities_in_the_order_asked_for(
    inputs: dict[str, np.ndarray],
) -> None:
    target = np.array(["low", "low", "high", "high"], dtype=object)
    train = Samples(np.array(list("wxyz")), inputs, target, classes=("low", "middle", "high"))
    model = SklearnModel(LogisticRegression(C=100), columns=["a"]).fit(train)
    shares = model.predict(inputs)
    assert shares.shape == (4, 3)
    assert shares.argmax(axis=1).tolist() == [0, 0, 2, 2]
    assert (shares[:, 1] == 0).all(), "no training sample is in the middle"
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    without = SklearnModel(RidgeCV(), columns=["a"])
    without.classes = train.classes
    with pytest.raises(ValueError, match="RidgeCV has no predict_proba, but probabilities are"):
        without.predict(inputs)
    # As it was saved before there were probabilities.
    model.restore({"estimator": model.estimator})
    assert model.predict(inputs).tolist() == target.tolist()


def test_public_names_are_the_same_objects():
    assert etchmark.SklearnModel is SklearnModel
    assert etchmark.Samples is Samples


def test_parameters_are_counted_where_they_are_known() -> None:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from etchmark.learning.heads import GroupedRidge

    random = np.random.default_rng(0)
    train = Samples(
        ids=np.array([f"s{row}" for row in range(20)]),
        inputs={"a": random.normal(size=20), "b": random.normal(size=(20, 3))},
        target=random.normal(size=20),
    )
    linear = SklearnModel(make_pipeline(StandardScaler(), LinearRegression())).fit(train)
    assert linear.parameter_count() == 5
    assert SklearnModel(GroupedRidge(), groups=True).fit(train).parameter_count() == 5
    forest = SklearnModel(RandomForestRegressor(n_estimators=2)).fit(train)
    assert forest.parameter_count() is None
