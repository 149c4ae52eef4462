"""Doubts: what is legal and looks like a mistake is scored, with a warning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import etchmark
from etchmark import predictions
from etchmark.columns import Columns
from etchmark.data.loading import Benchmark, load_benchmark
from etchmark.scoring.doubts import Doubt, better_than_on_validation, equal_in_table
from etchmark.scoring.samples import SampleScores
from etchmark.specs import Curve, CurvePoint, MetricScore, ModelCard, SplitScore
from etchmark.submission.preview import preview
from etchmark.submission.scoring import score_file
from etchmark.submission.statements import Statement
from etchmark.targets.base import Outcome
from etchmark.targets.labels import StoredArrays

Command = Callable[..., Any]
Change = Callable[[np.ndarray], np.ndarray]


def noise(values: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(3)
    return np.asarray(values, dtype=float) + generator.normal(size=np.shape(values))


@pytest.fixture
def write(toy_content: Path, tmp_path: Path) -> Callable[..., Path]:
    """A predictions file: the labels of the headline split after a change."""

    def made(change: Change, benchmark: str = "toy-line", split: str = "test") -> Path:
        truth = load_benchmark(benchmark).truth(split)
        path = tmp_path / "p.parquet"
        predictions.write(path, truth.ids, np.asarray(change(truth.target)))
        return path

    return made


def doubts(command: Command, path: Path, benchmark: str = "toy-line") -> list[dict[str, str]]:
    """Doubts in the JSON of ``score``, which are the warnings on stderr."""
    ran = command("score", path, benchmark, "--protocol", "holdout", "--json")
    assert ran.rc == 0
    found = json.loads(ran.stdout)["doubts"]
    assert ran.stderr.splitlines() == [f"warning: {doubt['message']}" for doubt in found]
    text = command("score", path, benchmark, "--protocol", "holdout")
    assert (text.rc, text.stderr) == (0, ran.stderr)
    assert "warning" not in text.stdout
    return found


CASES: list[tuple[Change, list[str], str]] = [
    (noise, [], ""),
    (lambda y: y + 1, [], ""),
    (lambda y: y * 0, ["constant"], "split 'test': every prediction is 0; it tells no sample"),
    (lambda y: np.full_like(y, 101.5), ["constant"], "every prediction is 101.5"),
    (lambda y: y, ["equal_to_labels"], "9 of 9 predictions equal their labels"),
    (lambda y: y * (1 + 1e-8), ["equal_to_labels"], "9 of 9 predictions equal their labels"),
    (lambda y: np.where(np.arange(9) < 3, y, y + 1), ["equal_to_labels"], "3 of 9 predictions"),
    (lambda y: np.where(np.arange(9) < 2, y, y + 1), [], ""),
    (lambda y: noise(y) / 1000, ["orders_of_magnitude"], "are about 0.001 times the labels"),
    (lambda y: noise(y) * 40, ["orders_of_magnitude"], "check their unit and scale"),
    (lambda y: -noise(y) * 1e6, ["orders_of_magnitude"], "check their unit and scale"),
    (lambda y: y[::-1], ["worse_than_trivial"], "mm, which predicting the mean training label"),
]


@pytest.mark.parametrize(("change", "kinds", "message"), CASES)
def test_numbers(
    write: Callable[..., Path], command: Command, change: Change, kinds: list[str], message: str
) -> None:
    found = doubts(command, write(change))
    assert [doubt["kind"] for doubt in found] == kinds
    assert all(message in doubt["message"] for doubt in found), found


def set_unit(content: Path, unit: str) -> None:
    path = content / "benchmarks" / "toy-line.yaml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["target"]["unit"] = unit
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")


@pytest.mark.parametrize(
    ("unit", "factor", "other"),
    [
        ("HV", 0.00980665, "GPa"),
        ("HV", 9.80665, "MPa"),
        ("GPa", 1000, "MPa"),
        ("%", 0.01, "shares"),
    ],
)
def test_another_unit_is_named(
    toy_content: Path,
    write: Callable[..., Path],
    command: Command,
    unit: str,
    factor: float,
    other: str,
) -> None:
    set_unit(toy_content, unit)
    (doubt,) = doubts(command, write(lambda labels: noise(labels) * factor))
    assert doubt["kind"] == "orders_of_magnitude"
    assert doubt["message"].endswith(f"as if they were in {other}; predict in {unit}")


def test_the_trivial_reference_is_the_mean_that_a_model_may_learn(
    write: Callable[..., Path], command: Command
) -> None:
    """The mean itself is no worse than itself; anything farther off is."""
    line = load_benchmark("toy-line")
    mean = line.truth("train").target.mean()
    target = line.truth("test").target
    worse = np.abs(target - mean).mean()

    def about(step: float) -> Change:
        # Constant but for a hair, so that it is judged by its error alone.
        return lambda labels: mean + step * np.sign(mean - labels) + 1e-9 * np.arange(9)

    assert doubts(command, write(about(0))) == []
    (doubt,) = doubts(command, write(about(0.5)))
    assert doubt["kind"] == "worse_than_trivial"
    assert f"is worse than {worse:.4g} mm" in doubt["message"]


def test_folds_are_held_against_the_other_folds(toy_content: Path, tmp_path: Path) -> None:
    line = load_benchmark("toy-line")
    truth = line.truth("train", "folds")
    assert truth.folds is not None
    others = [truth.target[truth.folds != fold].mean() for fold in truth.folds]
    path = tmp_path / "p.parquet"
    predictions.write(path, truth.ids, np.array(others))
    assert score_file(line, path, protocol="folds")[1].doubts == []
    farther = np.array(others) + 0.2 * np.sign(np.array(others) - truth.target)
    predictions.write(path, truth.ids, farther)
    (doubt,) = score_file(line, path, protocol="folds")[1].doubts
    assert (doubt.kind, doubt.split) == ("worse_than_trivial", "train")


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (noise, []),
        (lambda y: y, ["equal_to_labels"]),
        (lambda y: y * 0, ["constant"]),
        (lambda y: np.broadcast_to(np.arange(6).reshape(3, 2), y.shape), ["constant"]),
        (lambda y: y * 1000.0, ["orders_of_magnitude"]),
        (lambda y: -y, ["worse_than_trivial"]),
    ],
)
def test_arrays(
    write: Callable[..., Path], command: Command, change: Change, kinds: list[str]
) -> None:
    found = doubts(command, write(change, "toy-fields"), "toy-fields")
    assert [doubt["kind"] for doubt in found] == kinds


def test_one_seed_is_enough(toy_content: Path, tmp_path: Path, command: Command) -> None:
    truth = load_benchmark("toy-line").truth("test")
    path = tmp_path / "p.parquet"
    values = np.concatenate([noise(truth.target), truth.target, np.full(9, 100.0)])
    seeds = np.repeat([0, 1, 2], 9)
    predictions.write(path, np.tile(truth.ids, 3), values, seeds=seeds)
    kinds = [doubt["kind"] for doubt in doubts(command, path)]
    assert kinds == ["equal_to_labels", "constant"]


# --- frames ------------------------------------------------------------------------------------


@pytest.fixture
def waves(toy_frames: Path) -> Benchmark:
    return load_benchmark("toy-waves")


def repeated(waves: Benchmark, frames: int = 6) -> np.ndarray:
    """The last frame given of each sample, repeated."""
    seen = StoredArrays(Columns(waves.files("test", "frames")), "seen")
    return np.stack([np.repeat(seen[row][-1:], frames, axis=0) for row in range(len(seen))])


FRAMES: list[tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], list[str], str]] = [
    (lambda truth, last: truth + 0.01, [], ""),
    (lambda truth, last: last, [], ""),
    (lambda truth, last: truth, ["equal_to_labels"], "5 of 5 predictions equal their labels"),
    (lambda truth, last: truth * 0, ["constant"], "every prediction is 0"),
    (lambda truth, last: truth * 0 + truth.mean(axis=(1, 2, 3), keepdims=True), ["constant"],
     "5 of 5 predictions are uniform frames; they have no structure"),
    (lambda truth, last: truth * 255, ["orders_of_magnitude"], "are about 255 times the labels"),
    (lambda truth, last: truth + 2 * (last - truth), ["worse_than_trivial"],
     "which repeating the last frame given would score"),
]  # fmt: skip


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize(("change", "kinds", "message"), FRAMES)
def test_frames(
    waves: Benchmark,
    tmp_path: Path,
    command: Command,
    change: Callable[[np.ndarray, np.ndarray], np.ndarray],
    kinds: list[str],
    message: str,
    kind: type,
) -> None:
    truth = waves.truth("test").values.astype(np.float64)
    values = change(truth, repeated(waves).astype(np.float64))
    path = tmp_path / "p.parquet"
    parts = [(waves.truth("test").ids, values, np.zeros(5, dtype=int))]
    predictions.write_parts(path, parts, kind=kind)
    found = doubts(command, path, "toy-waves")
    assert [doubt["kind"] for doubt in found] == kinds
    assert all(message in doubt["message"] for doubt in found), found


def test_the_typical_error_is_compared_with_that_of_the_trivial_forecast(
    toy_frames: Path, tmp_path: Path, command: Command
) -> None:
    path = toy_frames / "benchmarks" / "toy-waves.yaml"
    spec = yaml.safe_load(path.read_text())
    metrics = ["rmse_typical", *spec["metrics"]]
    path.write_text(yaml.safe_dump({**spec, "metrics": metrics, "primary_metric": metrics[0]}))
    waves = load_benchmark("toy-waves")
    truth, last = waves.truth("test").values.astype(np.float64), repeated(waves)
    errors = np.sqrt(((truth - last) ** 2).mean(axis=(1, 2, 3)))
    for times, kinds in ((2.0, ["worse_than_trivial"]), (0.5, [])):
        file = tmp_path / f"{times}.parquet"
        values = truth + times * (last - truth)
        parts = [(waves.truth("test").ids, values, np.zeros(5, dtype=int))]
        predictions.write_parts(file, parts)
        shown = doubts(command, file, "toy-waves")
        assert [doubt["kind"] for doubt in shown] == kinds
        typical = f"{np.exp(np.log(errors).mean()):.4g}"
        assert all(f"worse than {typical}, which" in doubt["message"] for doubt in shown)


# --- how many equal labels are too many --------------------------------------------------------

MANY = np.random.default_rng(7).normal(100.0, 10.0, size=1000)


def table(labels: np.ndarray, values: np.ndarray) -> SampleScores:
    """A per-sample table of predictions of single values under one seed."""
    numbers = labels.dtype.kind == "f"
    outcome = Outcome(terms={}, labels={"target": labels}, outputs={"prediction": values[None]})
    ids = np.arange(len(labels)).astype(str)
    return SampleScores("test", ids, ids, None, [0], "scalar" if numbers else "label", outcome)


@pytest.mark.parametrize(
    ("labels", "equal", "is_doubted"),
    [
        (MANY, 10, True),
        (MANY, 9, False),
        (MANY[:200], 3, True),
        (MANY[:200], 2, False),
        # Labels that repeat are met by whoever returns a training label: all must be equal.
        (np.round(MANY), 900, False),
        (np.round(MANY), 1000, True),
        (np.concatenate([MANY, np.full(9000, 5.0)]), 99, False),
        (np.concatenate([MANY, np.full(9000, 5.0)]), 100, True),
    ],
)
def test_one_number_in_a_hundred(labels: np.ndarray, equal: int, is_doubted: bool) -> None:
    values = labels + 1.7
    values[:equal] = labels[:equal] * (1 + 1e-8)
    found = equal_in_table([table(labels, values)])
    assert [doubt.kind for doubt in found] == ["equal_to_labels"] * is_doubted


def test_an_honest_nearest_neighbour_is_not_doubted() -> None:
    # Rounded labels, predictions among them: hundreds are met exactly.
    labels = np.round(MANY)
    values = np.round(labels + np.random.default_rng(8).normal(0.0, 3.0, size=1000))
    assert (values == labels).mean() > 0.1
    assert equal_in_table([table(labels, values)]) == []


@pytest.mark.parametrize(
    ("count", "wrong", "is_doubted"), [(50, 0, True), (49, 0, False), (1000, 1, False)]
)
def test_classes_are_doubted_only_if_all_of_many_are_right(
    count: int, wrong: int, is_doubted: bool
) -> None:
    labels = np.where(np.arange(count) % 2 == 0, "pore", "crack").astype(object)
    values = labels.copy()
    values[:wrong] = "crack"
    found = equal_in_table([table(labels, values)])
    assert [doubt.kind for doubt in found] == ["equal_to_labels"] * is_doubted
    assert not found or found[0].message.endswith("a perfect model does that, and so does a file of"
                                                  " the labels")  # fmt: skip


# --- test and validation -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_test", "on_validation", "changes", "is_doubted"),
    [
        ((1.0, 0.9, 1.1), (3.0, 2.5, 3.5), {}, True),
        ((1.0, None, None), (3.0, None, None), {}, True),
        ((1.0, 0.4, 2.6), (3.0, 2.5, 3.5), {}, False),
        ((1.6, 1.5, 1.7), (3.0, 2.5, 3.5), {}, False),
        ((3.0, 2.5, 3.5), (1.0, 0.9, 1.1), {}, False),
        # Scored on test samples, as older curves are; of another metric; of another value.
        ((1.0, 0.9, 1.1), (3.0, 2.5, 3.5), {"scored_on": None}, False),
        ((1.0, 0.9, 1.1), (3.0, 2.5, 3.5), {"metric": "rmse"}, False),
        ((1.0, 0.9, 1.1), (3.0, 2.5, 3.5), {"param": "depth"}, False),
    ],
)
def test_far_better_on_test_than_on_validation_samples(
    toy_content: Path,
    on_test: tuple[float, float | None, float | None],
    on_validation: tuple[float, float | None, float | None],
    changes: dict[str, Any],
    is_doubted: bool,
) -> None:
    def scored(value: float, low: float | None, high: float | None) -> MetricScore:
        return MetricScore(value=value, ci_low=low, ci_high=high)

    whole = SplitScore(split="test", n=9, units=9, seeds=1, metrics={"mae": scored(*on_test)})
    points = [
        CurvePoint(value=2, samples=9, score=scored(*on_validation)),
        CurvePoint(value=4, samples=9, score=scored(1.0, None, None)),
    ]
    curve = Curve.model_validate(
        {
            "name": "width", "title": "Width", "axis": "width", "param": "width", "split": "val",
            "scored_on": "validation", "metric": "mae", "points": points, **changes,
        }
    )  # fmt: skip
    spec = load_benchmark("toy-line").spec
    doubt = better_than_on_validation(spec, whole, [curve], {"width": 2})
    assert (doubt is not None) == is_doubted
    assert doubt is None or doubt.message.startswith(
        "split 'test': mae 1 mm is far better than 3 mm on validation; "
    )


# --- who is told -------------------------------------------------------------------------------

SUBMIT = ("--protocol", "holdout", "--track", "features", "--name", "mine")


def test_submit_warns_and_stores(write: Callable[..., Path], command: Command) -> None:
    path = write(lambda labels: labels)
    ran = command("submit", path, "toy-line", *SUBMIT)
    assert ran.rc == 0
    assert ran.stderr.startswith("warning: split 'test': 9 of 9 predictions equal their labels")
    assert "stored as" in ran.stdout
    as_json = command("submit", path, "toy-line", *SUBMIT, "--json")
    assert as_json.stderr == ran.stderr
    assert "doubts" not in json.loads(as_json.stdout)


def test_evaluate_does_not_doubt_the_baselines_of_the_hub(
    toy_content: Path, command: Command
) -> None:
    command("evaluate", "toy_mean", "toy-line").fine()


def test_preview_hands_doubts_over(write: Callable[..., Path]) -> None:
    path = write(lambda labels: labels * 0)
    statement = Statement("mine", ModelCard(), track="features", protocol="holdout")
    prepared = preview(path, "toy-line", statement)
    assert prepared.doubts == [
        Doubt("constant", "test", "split 'test': every prediction is 0; it tells no sample from"
              " another")
    ]  # fmt: skip


def test_every_split_is_named(toy_content: Path) -> None:
    line = load_benchmark("toy-line")
    truths = [line.truth(split) for split in ("test", "hard")]
    frame = pd.DataFrame(
        {
            "id": np.concatenate([truth.ids for truth in truths]),
            "prediction": np.concatenate([truth.target for truth in truths]),
        }
    )
    with pytest.warns(etchmark.DoubtWarning) as caught:
        etchmark.score(frame, line, protocol="holdout")
    doubts = [warning for warning in caught if warning.category is etchmark.DoubtWarning]
    assert [str(doubt.message).partition(":")[0] for doubt in doubts] == [
        "split 'test'",
        "split 'hard'",
    ]
