"""Scores of a predictions file: splits, seeds, folds and the per-sample table."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn import metrics as peers

import etchmark
from etchmark.data.loading import Benchmark, load_benchmark
from etchmark.errors import UserError
from etchmark.scoring.score import (
    Scored,
)

Score = Callable[..., Scored]
HUGE = """
import numpy as np


class Huge:
    def fit(self, train, validation):
        self.size = 1e80 * (1 + len(set(train.target.tolist())) % 2)

    def predict(self, inputs):
        a = np.asarray(inputs["a"])
        return self.size * (1 + np.abs(a)) * np.sign(a)


def build(seed, device):
    return Huge()
"""


def test_the_headline_split_alone(line: Benchmark, score: Score) -> None:
    scored = score(line, "holdout", ["test"])
    assert [one.split for one in scored.scores] == ["test"]
    only = scored.scores[0]
    assert (only.n, only.units, only.seeds) == (9, 3, 1)
    assert list(only.metrics) == line.spec.metrics
    truth = line.truth("test")
    given = scored.samples[0].prediction
    assert given is not None
    assert only.metrics["mae"].value == pytest.approx(
        peers.mean_absolute_error(truth.target, given[0])
    )
    assert only.metrics["r2"].value == pytest.approx(peers.r2_score(truth.target, given[0]))
    # Three units are too few for an interval.
    assert (only.metrics["mae"].ci_low, only.metrics["mae"].ci_high) == (None, None)
    assert only.metrics["mae"].seed_sd is None
    assert only.folds == []


def test_splits_are_whole_or_left_out(line: Benchmark, score: Score) -> None:
    both = score(line, "holdout", ["hard", "test"])
    assert [one.split for one in both.scores] == ["test", "hard"]
    alone = score(line, "holdout", ["test"]).scores[0]
    assert alone.n == both.scores[0].n
    with pytest.raises(UserError, match=r"9 of 9 predictions of split 'test' are missing"):
        score(line, "holdout", ["hard"])
    with pytest.raises(UserError, match=r"1 of 6 predictions of split 'hard' is missing .*hard-00"):
        score(line, "holdout", ["test", "hard"], keep=lambda ids: ids != "hard-00")
    with pytest.raises(UserError, match=r"1 of 9 predictions of split 'test' is missing"):
        score(line, "holdout", ["test", "hard"], keep=lambda ids: ids != "test-08")
    with pytest.raises(UserError, match=r"12 ids are not in a split .* 'holdout' .* in 'train'"):
        score(line, "holdout", ["test", "train"])
    with pytest.raises(UserError, match=r"9 ids are not in a split .* 'folds' .* but in 'test'"):
        score(line, "folds", ["train", "test"])


def test_seeds_are_averaged_over_scores(line: Benchmark, score: Score) -> None:
    scored = score(line, "holdout", ["test", "hard"], seeds=3)
    for samples, one in zip(scored.samples, scored.scores, strict=True):
        assert one.seeds == 3
        truth = line.truth(one.split)
        assert samples.prediction is not None
        each = [peers.root_mean_squared_error(truth.target, row) for row in samples.prediction]
        assert one.metrics["rmse"].value == pytest.approx(np.mean(each))
        assert one.metrics["rmse"].seed_sd == pytest.approx(np.std(each, ddof=1))


def test_fold_statistics(line: Benchmark, score: Score) -> None:
    scored = score(line, "folds", ["train"], seeds=2)
    one, samples = scored.scores[0], scored.samples[0]
    assert (one.split, one.n, [fold.n for fold in one.folds]) == ("train", 12, [3, 3, 3, 3])
    truth = line.truth("train", "folds")
    assert truth.folds is not None
    assert samples.prediction is not None
    for name, peer in (("mae", peers.mean_absolute_error), ("r2", peers.r2_score)):
        each = [
            np.mean([peer(truth.target[truth.folds == fold], row[truth.folds == fold])
                     for row in samples.prediction])
            for fold in range(4)
        ]  # fmt: skip
        assert [fold.values[name] for fold in one.folds] == pytest.approx(each)
        assert one.metrics[name].fold_mean == pytest.approx(np.mean(each))
        assert one.metrics[name].fold_sd == pytest.approx(np.std(each, ddof=1))
        pooled = np.mean([peer(truth.target, row) for row in samples.prediction])
        assert one.metrics[name].value == pytest.approx(pooled)


def test_arrays(fields: Benchmark, score: Score) -> None:
    scored = score(fields, "holdout", ["test"], seeds=2)
    samples = scored.samples[0]
    assert samples.prediction is None
    assert samples.terms["n"].tolist() == [[6.0] * 9] * 2
    target = fields.truth("test").target
    assert target.shape == (9, 3, 2)
    each = []
    for seed in range(2):
        noise = np.random.default_rng(seed).normal(size=target.shape)
        given = (target.astype(float) + noise).astype(np.float32)
        each.append(peers.root_mean_squared_error(target.ravel(), given.ravel()))
    assert scored.scores[0].metrics["rmse"].value == pytest.approx(np.mean(each), rel=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["toy-line", "toy-fields"])
def test_predictions_too_large_to_score(toy_content: Path, score: Score, name: str) -> None:
    scale = 1e200 if name == "toy-line" else 1e36
    benchmark = load_benchmark(name)
    if name == "toy-line":
        with pytest.raises(
            UserError, match=r"rmse of split 'test' is not finite .* too large"
        ) as said:
            score(benchmark, "holdout", ["test"], scale=scale)
        assert re.search(r"largest error: 'test-0\d'", str(said.value))
    else:
        assert score(benchmark, "holdout", ["test"], scale=scale).scores[0].n == 9


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e80, 1e120, 1e150])
def test_predictions_whose_spread_over_folds_is_too_large(
    line: Benchmark, tmp_path: Path, scale: float
) -> None:
    # The errors differ from fold to fold, so that they spread as widely as they are large.
    truth = line.truth("train", "folds")
    signs = np.linspace(0.1, 1.0, len(truth.ids)) * np.resize([1.0, -1.0], len(truth.ids))
    path = tmp_path / "huge.csv"
    rows = [
        f"{name},{value!r}" for name, value in zip(truth.ids, (scale * signs).tolist(), strict=True)
    ]
    path.write_text("\n".join(["id,prediction", *rows]) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="too large to be scored"):
        etchmark.score(path, line, protocol="folds")


def test_a_model_whose_spread_over_folds_is_too_large_has_failed(
    line: Benchmark, tmp_path: Path
) -> None:
    model = tmp_path / "huge"
    model.mkdir()
    (model / "model.py").write_text(HUGE, encoding="utf-8")
    record = etchmark.evaluate(model, line, track="features", protocol="folds")
    assert record.outcome == "failed"
    assert "too large to be scored" in str(record.reason)


def test_labels_that_are_not_the_released_ones(toy_content: Path, score: Score) -> None:
    path = toy_content / "benchmarks" / "toy-line.yaml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(spec | {"target_fingerprint": "0" * 64}), encoding="utf-8")
    with pytest.raises(UserError, match=r"ids or labels on this machine .* use --unofficial"):
        score(load_benchmark("toy-line"), "holdout", ["test"])
    assert score(load_benchmark("toy-line", unofficial=True), "holdout", ["test"]).scores
