"""How the validation error fell in training: told by a model, kept in its record as a curve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from etchmark import api
from etchmark.catalog import catalog
from etchmark.data.loading import load_benchmark
from etchmark.evaluation.evaluate import Options, run_model
from etchmark.specs import Curve
from etchmark.specs.task import Task

TOLD = """
from etchmark.model import TrainingHistory


class Telling(Last):
    def training_history(self):
        return {told}


def build(seed, device, offset=0.0):
    model = Telling(offset, seed)
    model.seed = seed
    return model
"""


def run(content: Path, folder: Path, told: str, seeds: int = 1) -> tuple[str | None, Curve | None]:
    code = content / "baselines" / "toy_last" / "model.py"
    base = code.read_text(encoding="utf-8").partition("\nfrom etchmark.model import")[0]
    code.write_text(base + TOLD.format(told=told), encoding="utf-8")
    benchmark = load_benchmark("toy-waves")
    task = Task(benchmark.spec, "frames", "holdout")
    options = Options(seeds=seeds, resume=False)
    done = run_model(catalog().model("toy_last"), benchmark, task, folder / "p.parquet", options)
    return done.failure, done.training


def test_a_history_becomes_a_curve_over_processor_seconds(toy_frames: Path, tmp_path: Path) -> None:
    told = "TrainingHistory('rmse', ((1.0, 0.5), (2.5, 0.25), (4.0, 0.3)))"
    failure, curve = run(toy_frames, tmp_path, told)
    assert failure is None
    assert curve is not None
    assert (curve.split, curve.scored_on, curve.metric) == ("validation", "validation", "rmse")
    assert [point.value for point in curve.points] == [1.0, 2.5, 4.0]
    assert [point.score.value for point in curve.points if point.score] == [0.5, 0.25, 0.3]
    assert {point.samples for point in curve.points} == {6}
    assert not curve.on_test_scores


def test_seeds_are_averaged_as_far_as_all_of_them_go(toy_frames: Path, tmp_path: Path) -> None:
    told = "TrainingHistory('rmse', ((1.0, 1.0), (2.0, 0.5), (3.0, 0.4))[: 3 - self.seed])"
    failure, curve = run(toy_frames, tmp_path, told, seeds=2)
    assert failure is None
    assert curve is not None
    assert [point.value for point in curve.points] == [1.0, 2.0]
    assert [point.draws for point in curve.points] == [[1.0, 1.0], [0.5, 0.5]]


def test_epochs_without_an_error_are_left_out_for_all_seeds(
    toy_frames: Path, tmp_path: Path
) -> None:
    first = "(1.0, float('inf') if self.seed else 1.0)"
    told = f"TrainingHistory('rmse', ({first}, (2.0, 0.5 + self.seed)))"
    failure, curve = run(toy_frames, tmp_path, told, seeds=2)
    assert failure is None
    assert curve is not None
    assert [(point.value, point.draws) for point in curve.points] == [(2.0, [0.5, 1.5])]


def test_an_empty_history_is_none(toy_frames: Path, tmp_path: Path) -> None:
    assert run(toy_frames, tmp_path, "TrainingHistory('rmse', ())") == (None, None)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("[(1.0, 0.5)]", "training_history() returned list, not TrainingHistory"),
        ("TrainingHistory('rmse', ((2.0, 0.5), (1.0, 0.4)))", "seconds that are not above 0 or do"),
        ("TrainingHistory('rmse', ((1.0, 0.5), (1.0, 0.4)))", "not above 0 or do not rise"),
        ("TrainingHistory('rmse', ((-1.0, 0.5),))", "seconds that are not above 0 or do not rise"),
        ("TrainingHistory('rmse', (1.0, 2.0))", "holds 1.0 (float); a point is a pair"),
        ("TrainingHistory('rmse', (None,))", "holds None (NoneType); a point is a pair"),
        ("TrainingHistory('rmse', ((1.0, float('nan')),))", "error is nan, not a finite number"),
        ("TrainingHistory('rmse', ((1.0, 'low'),))", "error is 'low' (str), not a number"),
        (
            "TrainingHistory('accuracy', ((1.0, 0.5),))",
            "names 'accuracy' (str), not a metric; choose from",
        ),
    ],
)
def test_a_history_that_makes_no_sense(
    toy_frames: Path, tmp_path: Path, told: str, words: str
) -> None:
    failure, curve = run(toy_frames, tmp_path, told)
    assert curve is None
    assert failure is not None
    assert words in failure


def test_a_record_keeps_the_curve(toy_frames: Path, command) -> None:
    # Epochs of hundredths of a second are told apart, too.
    told = "TrainingHistory('rmse', ((0.01, 0.5), (0.02, 0.25)))"
    code = toy_frames / "baselines" / "toy_last" / "model.py"
    code.write_text(code.read_text(encoding="utf-8") + TOLD.format(told=told), encoding="utf-8")
    command("evaluate", "toy_last", "toy-waves").fine()
    command("leaderboard", "toy-waves").fine()
    frame = api.LocalHub().curves("toy-waves")
    assert frame["curve"].tolist() == ["training", "training"]
    np.testing.assert_array_equal(frame["score"], [0.5, 0.25])
    assert frame["axis"].tolist() == 2 * ["processor seconds of training"]
