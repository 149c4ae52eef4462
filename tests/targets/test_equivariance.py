"""The equivariance error: analytic tensors, brute force, and splits without rotated samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import ValidationError

import etchmark
from etchmark.catalog import Catalog
from etchmark.data.loading import Benchmark
from etchmark.errors import UserError
from etchmark.simulation.rotations import cube_rotations
from etchmark.specs import ArrayTarget
from etchmark.specs.targets import Orientations
from etchmark.targets import check_metrics, metric
from etchmark.targets.array import equivariance_terms

ERROR = "equivariance_error"
SOURCES = {"column": "rotation", "source": "source"}
TARGET: dict[str, Any] = {"column": "y", "quantity": "q", "symbol": "C", "unit": "GPa"}
PAIRS = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def about_z(angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def error(predicted: Any, rotations: Any, sources: Any = None) -> float:
    """The metric, in percent, of one seed."""
    rotations = np.asarray(rotations, dtype=float)
    names = np.zeros(len(rotations), int) if sources is None else np.asarray(sources)
    terms = equivariance_terms(np.asarray(predicted, dtype=float)[None], rotations, names)
    return float(metric(ERROR).of({name: values.sum() for name, values in terms.items()}))


def orthotropic(diagonal: list[float], c23: float, c13: float, c12: float) -> np.ndarray:
    matrix = np.diag(np.array(diagonal, dtype=float))
    matrix[1, 2] = matrix[2, 1] = c23
    matrix[0, 2] = matrix[2, 0] = c13
    matrix[0, 1] = matrix[1, 0] = c12
    return matrix


def fourth_rank(matrix: np.ndarray) -> np.ndarray:
    tensor = np.empty((3, 3, 3, 3))
    for row, (i, j) in enumerate(PAIRS):
        for column, (k, m) in enumerate(PAIRS):
            tensor[[i, j, i, j], [j, i, j, i], [k, k, m, m], [m, m, k, k]] = matrix[row, column]
    return tensor


def test_an_isotropic_prediction_is_equivariant_under_every_rotation() -> None:
    isotropic = orthotropic([8, 8, 8, 3, 3, 3], 2, 2, 2)
    turns = [about_z(angle) for angle in (0.3, 1.1, 2.0)]
    assert error([isotropic] * 3, turns) < 1e-12
    assert error([isotropic] * 24, cube_rotations()) < 1e-12


def test_a_cubic_prediction_that_does_not_turn_has_the_analytic_error() -> None:
    """Turned by 45° about z, C11 falls by δ/2 with δ = C11 - C12 - 2 C44; C12 and C66 rise."""
    c11, c12, c44 = 10.0, 4.0, 1.5
    delta = c11 - c12 - 2 * c44
    cubic = orthotropic([c11] * 3 + [c44] * 3, c12, c12, c12)
    turned = orthotropic(
        [c11 - delta / 2, c11 - delta / 2, c11, c44, c44, c44 + delta / 2],
        c12,
        c12,
        c12 + delta / 2,
    )
    size = (np.linalg.norm(cubic) + np.linalg.norm(turned)) / 2
    expected = 100 * np.sqrt(5) / 2 * abs(delta) / size
    assert error([cubic, cubic], [np.eye(3), about_z(np.pi / 4)]) == pytest.approx(expected)
    # What does turn has none, nor has a rotation that maps the cube onto itself.
    assert error([cubic, turned], [np.eye(3), about_z(np.pi / 4)]) < 1e-12
    assert error([cubic] * 2, cube_rotations()[[3, 17]]) < 1e-12


def test_a_transversely_isotropic_prediction_that_keeps_its_axis_has_the_analytic_error() -> None:
    a, b, c, f, shear = 9.0, 4.0, 20.0, 3.0, 2.0
    m = (a - b) / 2
    along_z = orthotropic([a, a, c, shear, shear, m], f, f, b)
    along_x = orthotropic([c, a, a, m, shear, shear], b, f, f)
    z_to_x = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    apart = np.sqrt(2 * (a - c) ** 2 + 4 * (b - f) ** 2 + 2 * (m - shear) ** 2)
    expected = 100 * apart / np.linalg.norm(along_z)
    assert error([along_z, along_z], [np.eye(3), z_to_x]) == pytest.approx(expected)
    assert error([along_z, along_x], [np.eye(3), z_to_x]) < 1e-12


def test_against_fourth_rank_tensors_of_several_orientations() -> None:
    generator = np.random.default_rng(3)
    rotations = cube_rotations()[[4, 9, 1, 20, 11, 7]]
    sources = np.array(["a", "b", "a", "c", "a", "b"])
    random = generator.normal(size=(2, 6, 6, 6))
    predicted = random + np.swapaxes(random, -1, -2)
    expected = np.zeros((2, 6))
    for seed in range(2):
        distances: dict[int, list[float]] = {row: [] for row in range(6)}
        for first, second in combinations(range(6), 2):
            if sources[first] != sources[second]:
                continue
            back = []
            for row in (first, second):
                turn = rotations[row].T
                tensor = fourth_rank(predicted[seed, row])
                tensor = np.einsum("ia,jb,kc,ld,abcd", *[turn] * 4, tensor, optimize=True)
                voigt = [[tensor[(*left, *right)] for right in PAIRS] for left in PAIRS]
                back.append(np.array(voigt))
            sizes = [np.linalg.norm(matrix) for matrix in back]
            distance = float(np.linalg.norm(back[0] - back[1]) / np.mean(sizes))
            distances[first].append(distance)
            distances[second].append(distance)
        expected[seed] = [np.mean(values) if values else 0 for values in distances.values()]
    terms = equivariance_terms(predicted, rotations, sources)
    np.testing.assert_allclose(terms["sum_equivariance"], expected, rtol=1e-12)
    assert terms["oriented"].tolist() == [[1, 1, 1, 0, 1, 1]] * 2


def test_predictions_of_nothing_agree_and_infinite_ones_are_not_hidden() -> None:
    zero = np.zeros((6, 6))
    assert error([zero, zero], cube_rotations()[:2]) == 0
    assert error([zero, np.eye(6)], cube_rotations()[:2]) == pytest.approx(200)
    assert not np.isfinite(error([zero + 1e300, np.eye(6)], cube_rotations()[:2]))


def test_only_a_target_with_rotations_has_the_metric() -> None:
    square = ArrayTarget(**TARGET, shape=[6, 6], rotation=Orientations(**SOURCES))
    check_metrics(square, [ERROR, "relative_error"])
    assert square.columns() == ["y", "rotation", "source"]
    plain = ArrayTarget(**TARGET, shape=[6, 6])
    with pytest.raises(ValueError, match=r"the metric equivariance_error needs target\.rotation"):
        plain.check_metrics([ERROR])
    with pytest.raises(UserError, match="unknown metric 'equivariance_error'"):
        check_metrics(plain, [ERROR])
    with pytest.raises(ValidationError, match=r"rotation needs the shape \[6, 6\]"):
        ArrayTarget(**TARGET, shape=[3, 3], rotation=Orientations(**SOURCES))


# --- a benchmark -------------------------------------------------------------------------------

BUILD = """
values = np.ones((rows, 6, 6)) + np.multiply.outer(1 + x * x, np.diag([9.0, 4, 6, 1, 2, 3]))
rotations = np.stack([np.eye(3)] * rows)
rotations[1::2] = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
y, feature = array_column(values), array_feature(values)
more = {"rotation": array_column(rotations), "source": SOURCE}
more_features = {"rotation": array_feature(rotations)}
"""
MODEL = """
class Model:
    def fit(self, train, validation):
        self.mean = train.target.mean(axis=0)

    def predict(self, inputs):
        return np.repeat(self.mean[None], len(inputs["x"]), axis=0)
"""
PAIRED = '[f"{split}-{row // 2:02d}" for row in range(rows)]'
ALONE = '[f"{split}-{row:02d}" for row in range(rows)]'


@pytest.fixture
def toy(toy_kind: Callable[..., Any]) -> Callable[[str], Any]:
    def of(source: str) -> Any:
        target = {"kind": "array", "shape": [6, 6], "rotation": SOURCES}
        metrics = ["relative_error", ERROR]
        return toy_kind(BUILD.replace("SOURCE", source), MODEL, target, metrics, lambda y: 2 * y)

    return of


def predictions(benchmark: Benchmark, factor: float) -> pd.DataFrame:
    """The labels, times a factor."""
    truth = benchmark.truth("test")
    return pd.DataFrame({"id": truth.ids, "prediction": list(truth.values * factor)})


def test_a_benchmark_with_rotated_samples(journey: Any, toy: Any) -> None:
    journey(toy(PAIRED))


@pytest.mark.filterwarnings("ignore::etchmark.errors.DoubtWarning")
def test_a_split_without_rotated_samples_has_no_score_of_it(
    write_toy: Any, toy: Any, command: Any
) -> None:
    benchmark = write_toy(toy(ALONE))
    for factor in (2, 3):
        table = predictions(benchmark, factor)
        record = etchmark.submit(table, benchmark.spec.id, name=f"times {factor}", track="all")
        assert set(record.scores[0].metrics) == {"relative_error"}
    board = command("leaderboard", benchmark.spec.id, "--metric", ERROR, "--all").fine()
    assert "no score here" in board
    said = command("compare", benchmark.spec.id, "times 2", "times 3", "--metric", ERROR).refusal()
    assert "equivariance_error has no value on test; choose another split" in said


def test_a_matrix_that_is_no_rotation_is_refused(write_toy: Any, toy: Any) -> None:
    paired = toy(PAIRED)
    broken = paired.build.replace("[0, 1, 0]]", "[0, 2, 0]]")
    benchmark = write_toy(replace(paired, build=broken))
    with pytest.raises(UserError, match="column 'rotation' does not hold rotation matrices"):
        etchmark.score(predictions(benchmark, 1.1), benchmark.spec.id)


def test_it_cannot_be_the_primary_metric(write_toy: Any, toy: Any, toy_content: Any) -> None:
    spec = write_toy(toy(PAIRED)).spec
    path = toy_content / "benchmarks" / f"{spec.id}.yaml"
    declared = yaml.safe_load(path.read_text("utf-8")) | {"primary_metric": ERROR}
    path.write_text(yaml.safe_dump(declared), "utf-8")
    with pytest.raises(UserError, match="primary_metric: equivariance_error has no value on some"):
        Catalog(toy_content).benchmark(spec.id)
