"""Bounds and subsets: scored beside the split, and again from the per-sample table alone."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

import etchmark
from etchmark import predictions
from etchmark.columns import Columns
from etchmark.data.loading import Benchmark, load_benchmark
from etchmark.errors import UserError
from etchmark.registry.store import Store
from etchmark.scoring.samples import from_table, table_bytes, to_table
from etchmark.scoring.score import Scored, read_for, score_predictions, score_samples
from etchmark.scoring.subsets import subsets_of
from etchmark.targets import metric
from etchmark.targets.scalar import outside, read_bounds
from etchmark.targets.values import sample_terms

BOARD = ("leaderboard", "toy-volumes")


@pytest.fixture
def volumes(toy_volumes: Path) -> Benchmark:
    return load_benchmark("toy-volumes")


def stored(benchmark: Benchmark, split: str) -> Columns:
    return Columns(benchmark.files(split, "volumes"))


def change(content: Path, **keys: object) -> Benchmark:
    path = content / "benchmarks" / "toy-volumes.yaml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(spec | keys, sort_keys=False), encoding="utf-8")
    return load_benchmark("toy-volumes")


def predict(benchmark: Benchmark, path: Path, off: dict[str, np.ndarray], seeds: int = 1) -> Scored:
    """Scores of target plus what is given for each split and sample."""
    truths = {split: benchmark.truth(split) for split in off}
    ids = np.concatenate([truth.ids for truth in truths.values()])
    values = np.concatenate([truths[split].target + off[split] for split in off])
    parts = [values * (1 + 0.001 * seed) for seed in range(seeds)]
    numbers = np.repeat(np.arange(seeds), len(ids)) if seeds > 1 else None
    predictions.write(path, np.tile(ids, seeds), np.concatenate(parts), seeds=numbers)
    return score_predictions(benchmark, "holdout", path, read_for(benchmark, "holdout", path))


def bounds_of(benchmark: Benchmark) -> object:
    target = benchmark.spec.target
    columns = Columns(benchmark.files("test", "volumes"), target.columns())
    return read_bounds(columns, target, benchmark.spec.id)


# --- bounds ------------------------------------------------------------------------------------


def test_what_touches_a_bound_does_not_violate_it() -> None:
    lower, upper = np.full(6, 2.0), np.full(6, 4.0)
    given = np.array([2.0, 4.0, 2 * (1 - 9e-7), 4 * (1 + 9e-7), 2 * (1 - 2e-6), 4 * (1 + 2e-6)])
    assert outside(given, lower, upper).tolist() == [False] * 4 + [True] * 2
    negative = outside(np.array([-2.0 * (1 + 2e-6), -2.0]), np.full(2, -2.0), np.zeros(2))
    assert negative.tolist() == [True, False]


def test_the_rate_of_violations(volumes: Benchmark, tmp_path: Path) -> None:
    width = stored(volumes, "test")["upper"] - stored(volumes, "test")["lower"]
    off = np.zeros(16)
    off[[1, 3, 8]] = [0.6, -0.6, 0.49]
    scored = predict(volumes, tmp_path / "p.parquet", {"test": off * width})
    score = scored.scores[0].metrics["bound_violations"]
    assert score.value == pytest.approx(100 * 2 / 16)
    assert score.ci_low is not None
    assert score.ci_high is not None
    assert score.ci_low < score.value < score.ci_high
    assert metric("bound_violations").unit_for("GPa") == "%"
    assert metric("bound_violations").sign() == 1
    labels = predict(volumes, tmp_path / "p.parquet", {"test": np.zeros(16)})
    assert labels.scores[0].metrics["bound_violations"].value == 0


def test_without_bounds_there_is_no_rate() -> None:
    terms = sample_terms(np.ones(3), np.ones(3))
    assert np.isnan(terms["sum_outside"]).all()


def test_a_missing_or_turned_bound_is_refused(volumes: Benchmark, toy_volumes: Path) -> None:
    turned = {"lower": "upper", "upper": "lower", "title": "turned"}
    with pytest.raises(UserError, match=r"in 16 samples 'upper' is above 'lower'"):
        bounds_of(change(toy_volumes, bounds=turned))
    nowhere = {"lower": "lower", "upper": "nowhere", "title": "t"}
    with pytest.raises(UserError, match=r"target\.bounds\.upper: unknown column of .* 'nowhere'"):
        bounds_of(change(toy_volumes, bounds=nowhere))
    text = {"lower": "lower", "upper": "morphology", "title": "t"}
    with pytest.raises(UserError, match=r"'morphology' of \S+ holds text, not one number per"):
        bounds_of(change(toy_volumes, bounds=text))


def test_turned_bounds_are_told_before_a_model_is_run(toy_volumes: Path, command) -> None:
    change(toy_volumes, bounds={"lower": "upper", "upper": "lower", "title": "turned"})
    refusal = command("evaluate", "between/near", "toy-volumes").refusal()
    assert refusal.startswith("toy-volumes.yaml: in 32 samples 'upper' is above 'lower'")


# --- subsets -----------------------------------------------------------------------------------


def test_a_subset_is_scored_as_if_it_were_alone(volumes: Benchmark, tmp_path: Path) -> None:
    off = np.random.default_rng(0).normal(size=16)
    scored = predict(volumes, tmp_path / "p.parquet", {"test": off}, seeds=2)
    split = scored.scores[0]
    assert [one.subset for one in split.subsets] == ["high-contrast", "grains"]
    member = stored(volumes, "test")["contrast"] > 20
    high = split.subset_of("high-contrast")
    assert high is not None
    assert (high.n, high.units, split.n) == (8, 8, 16)
    samples = scored.samples[0]
    assert samples.target is not None
    assert samples.prediction is not None
    relative = np.abs(samples.prediction - samples.target) / samples.target
    assert high.metrics["mape"].value == pytest.approx(100 * relative[:, member].mean())
    assert high.metrics["mape"].seed_sd is not None
    spread = samples.target[member] - samples.target[member].mean()
    r2 = 1 - (samples.prediction - samples.target)[:, member] ** 2 @ np.ones(8) / (spread @ spread)
    assert high.metrics["r2"].value == pytest.approx(r2.mean())
    low, up = high.metrics["mape"].ci_low, high.metrics["mape"].ci_high
    assert low is not None
    assert up is not None
    assert low < high.metrics["mape"].value < up
    grains = split.subset_of("grains")
    assert grains is not None
    kinds = stored(volumes, "test")["morphology"] == "grains"
    assert grains.metrics["mape"].value == pytest.approx(100 * relative[:, kinds].mean())


def test_all_conditions_hold(volumes: Benchmark, toy_volumes: Path) -> None:
    subset = {"title": "t", "column": "lower", "above": 1.2, "below": 1.6}
    benchmark = change(toy_volumes, subsets={"some": subset})
    lower = stored(benchmark, "test")["lower"]
    member = subsets_of(benchmark, "test")["some"]
    assert member.tolist() == ((lower > 1.2) & (lower < 1.6)).tolist()
    assert 0 < member.sum() < 16


def test_a_subset_without_samples_of_a_split_is_left_out(
    volumes: Benchmark, toy_volumes: Path, tmp_path: Path
) -> None:
    subset = {"title": "t", "column": "id", "equals": "hard-00"}
    benchmark = change(toy_volumes, subsets={"hard-alone": subset})
    assert predict(benchmark, tmp_path / "p.parquet", {"test": np.ones(16)}).scores[0].subsets == []


def test_what_is_undefined_for_few_samples_is_left_out(
    volumes: Benchmark, toy_volumes: Path, tmp_path: Path
) -> None:
    first = {"title": "t", "column": "id", "equals": "test-00"}
    benchmark = change(toy_volumes, subsets={"first": first})
    scored = predict(benchmark, tmp_path / "p.parquet", {"test": np.ones(16)})
    only = scored.scores[0].subset_of("first")
    assert only is not None
    assert list(only.metrics) == ["mape", "bound_violations"]


# --- the table ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_table_alone_gives_the_same_scores(
    volumes: Benchmark, tmp_path: Path, seeds: int
) -> None:
    off = {"test": np.linspace(-9, 9, 16), "hard": np.linspace(-3, 9, 12)}
    scored = predict(volumes, tmp_path / "p.parquet", off, seeds)
    found = from_table(pq.read_table(io.BytesIO(table_bytes(scored.samples))))
    assert [score_samples(volumes.spec, "holdout", one) for one in found] == scored.scores


def test_a_table_from_before_still_loads(volumes: Benchmark, tmp_path: Path) -> None:
    scored = predict(volumes, tmp_path / "p.parquet", {"test": np.ones(16)})
    table = to_table(scored.samples)
    new = [name for name in table.column_names if name.startswith(("outside", "subset_"))]
    assert new == ["outside", "subset_high-contrast", "subset_grains"]
    (old,) = from_table(table.drop_columns(new))
    assert "outside" not in old.outcome.outputs
    assert old.subset("grains") is None
    mape = ["n", "sum_rel_e", "sum_sq_e"]
    for name in mape:
        assert np.array_equal(old.terms[name], scored.samples[0].terms[name])


# --- the board ---------------------------------------------------------------------------------


@pytest.fixture
def entered(volumes: Benchmark, tmp_path: Path) -> Benchmark:
    """Two models: one is better everywhere, the other where the contrast is high."""
    for name, far in (("flat", (0.2, 0.2)), ("high", (0.9, 0.1))):
        relative = np.where(np.arange(16) % 2, far[1], far[0])
        target = volumes.truth("test").target
        path = tmp_path / f"{name}.parquet"
        predictions.write(path, volumes.truth("test").ids, target * (1 + relative))
        etchmark.submit(path, volumes, name=name, protocol="holdout")
    return volumes


def test_a_board_of_a_subset(entered: Benchmark, command) -> None:
    rows = json.loads(command(*BOARD, "--json").fine())
    assert [(row["model"], row["n"], row["subset"]) for row in rows] == [
        ("flat", 16, None),
        ("high", 16, None),
    ]
    rows = json.loads(command(*BOARD, "--subset", "high-contrast", "--json").fine())
    assert [(row["model"], row["rank"], row["rank_high"]) for row in rows] == [
        ("high", 1, 1),
        ("flat", 2, 2),
    ]
    assert [row["score"] for row in rows] == pytest.approx([10, 20])
    assert {(row["n"], row["units"], row["seeds"], row["subset"]) for row in rows} == {
        (8, 8, 1, "high-contrast")
    }
    frame = etchmark.standings("toy-volumes", subset="grains", metric="bound_violations")
    assert frame["n"].tolist() == [8, 8]
    assert "subset high-contrast" in command(*BOARD, "--subset", "high-contrast").fine()


def test_a_board_of_a_subset_needs_no_dataset(entered: Benchmark, toy_volumes: Path, command):
    before = command(*BOARD, "--subset", "grains", "--json").fine()
    for folder in (toy_volumes / "datasets", Store().home / "datasets", Store().home / "data"):
        if folder.is_dir():
            folder.rename(folder.with_name("gone"))
    assert command(*BOARD, "--subset", "grains", "--json").fine() == before


def test_subsets_that_cannot_be_shown(entered: Benchmark, toy_volumes: Path, command) -> None:
    line = command(*BOARD, "--subset", "grain").refusal()
    assert "unknown subset of toy-volumes 'grain'; did you mean: grains" in line
    assert "unknown subset" in command("leaderboard", "toy-line", "--subset", "x").refusal()
    change(toy_volumes, subsets={"late": {"title": "t", "column": "lower", "above": 1.0}})
    line = command(*BOARD, "--subset", "late").refusal()
    assert "no submission has scores of subset 'late' of split 'test'" in line
    assert "submit them again" in line


def test_commands_tell_of_subsets(entered: Benchmark, tmp_path: Path, command) -> None:
    said = command("show", "toy-volumes").fine()
    assert "bounds     lower to upper: Voigt and Reuss" in said
    assert "subset     high-contrast: contrast above 20 (contrast > 20)" in said
    assert "subset     grains: grains alone (morphology = grains)" in said
    said = command("score", tmp_path / "flat.parquet", "toy-volumes", "--protocol", "holdout")
    rows = [line.split() for line in said.fine().splitlines()]
    assert ["test,", "grains", "mape", "20.00"] in [row[:4] for row in rows]
    said = command("evaluate", "between/above", "toy-volumes", "--mini").fine()
    assert ["hard,", "high-contrast", "bound_violations", "100.0"] in [
        line.split()[:4] for line in said.splitlines()
    ]
