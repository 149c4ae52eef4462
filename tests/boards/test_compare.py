"""Models side by side: differences, groups, samples and horizons agree with plain arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from etchmark.boards import compare
from etchmark.boards.compare import Side
from etchmark.boards.samples import sample_scores
from etchmark.data.loading import load_benchmark
from etchmark.errors import UserError
from etchmark.predictions import write_parts
from etchmark.registry.store import LOCAL
from etchmark.registry.tables import Entry
from etchmark.specs import BenchmarkSpec, ModelCard
from etchmark.submission import submit as submissions

SPEC: Callable[[], BenchmarkSpec] = lambda: load_benchmark("toy-line").spec  # noqa: E731


def _moved(shift: np.ndarray, table: pa.Table) -> pa.Table:
    return table.set_column(1, "prediction", pa.array(table["prediction"].to_numpy() + shift))


def _entry(path: Path, name: str, protocol: str = "holdout", track: str = "features") -> Entry:
    prepared = submissions.prepare_file(
        load_benchmark("toy-line"),
        path,
        name=name,
        card=ModelCard(),
        track=track,
        protocol=protocol,
    )
    return Entry(prepared.record, prepared.samples, LOCAL)


def _sides(toy_predictions: Callable[..., Path]) -> list[Side]:
    turns = np.where(np.arange(15) % 2, -0.5, 0.5)
    files = [
        toy_predictions("a.csv"),
        toy_predictions("b.csv", change=partial(_moved, np.full(9, 2.0))),
        toy_predictions("c.csv", splits=("test", "hard"), change=partial(_moved, turns)),
    ]
    return compare.sides([_entry(path, name) for path, name in zip(files, "abc", strict=True)])


@pytest.fixture
def given(toy_predictions: Callable[..., Path]) -> list[Side]:
    """Errors of 1 everywhere; of 3 everywhere; of 0.5 or 1.5 by turns, also on ``hard``."""
    return _sides(toy_predictions)


@pytest.fixture
def of_samples(toy_samples: Path, toy_predictions: Callable[..., Path]) -> list[Side]:
    """The same where samples are the units: three sources could tell nothing apart."""
    return _sides(toy_predictions)


def test_differences_are_paired(of_samples: list[Side]) -> None:
    frame = compare.differences(SPEC(), of_samples, "test", "mae")
    assert frame[["first", "second"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    first, second, third = frame.to_dict("records")
    # Equal errors on all samples: to leave one out changes nothing.
    assert (first["difference"], first["ci_low"], first["ci_high"]) == pytest.approx((-2, -2, -2))
    assert first["better"] == "a"
    assert second["difference"] == pytest.approx(1 - (5 * 1.5 + 4 * 0.5) / 9)
    assert second["ci_low"] < 0 < second["ci_high"]
    assert second["better"] == ""
    assert second["relation"] == "not told apart"
    # All nine differences have one sign: two of 512 patterns are as extreme.
    assert first["p"] == pytest.approx(2 / 512)
    assert third["better"] == "c"


def test_where_larger_is_better(of_samples: list[Side]) -> None:
    first = compare.differences(SPEC(), of_samples[:2], "test", "r2").to_dict("records")[0]
    assert first["difference"] > 0
    assert first["better"] == "a"


def test_three_units_tell_nothing_apart(given: list[Side]) -> None:
    first = compare.differences(SPEC(), given, "test", "mae").to_dict("records")[0]
    assert (first["p"], first["relation"], first["better"]) == (0.25, "not told apart", "")
    assert np.isnan(first["ci_low"])
    assert compare.relation(first, "sources") == "a and b are not told apart by these sources"


def test_a_split_without_predictions_is_refused(given: list[Side]) -> None:
    with pytest.raises(UserError, match=r"a has no predictions of split 'hard'; leave it out"):
        compare.differences(SPEC(), given, "hard", "mae")


def test_groups(given: list[Side]) -> None:
    frame = compare.by_group(SPEC(), given, "holdout", "mae")
    rows = {(row["kind"], row["group"]): row for row in frame.to_dict("records")}
    assert set(frame["kind"]) == {"split", SPEC().unit_name}
    whole = rows["split", "test"]
    assert (whole["samples"], whole["a"], whole["b"]) == (9, pytest.approx(1), pytest.approx(3))
    hard = rows["split", "hard"]
    assert hard["samples"] == 6
    assert hard["c"] == pytest.approx(1)
    assert np.isnan(hard["a"])
    units = [row for (kind, _), row in rows.items() if kind == SPEC().unit_name]
    assert [row["samples"] for row in units] == [3, 3, 3]
    assert [row["c"] for row in units] == pytest.approx([3.5 / 3, 2.5 / 3, 3.5 / 3])


def test_folds(toy_predictions: Callable[..., Path]) -> None:
    path = toy_predictions(splits=("train",))
    given = compare.sides([_entry(path, "a", "folds"), _entry(path, "b", "folds")])
    frame = compare.by_group(SPEC(), given, "folds", "mae")
    # Every fold is one unit here, and is named as that.
    assert frame["kind"].tolist() == ["split"] + 4 * [SPEC().unit_name]
    assert frame["a"].tolist() == pytest.approx([1] * 5)
    whole = sample_scores(given[0].entry, "train")
    assert whole is not None
    assert whole.folds is not None
    two = replace(whole, folds=whole.folds // 2)
    found = compare._groups(SPEC(), two, headline=True)
    assert [key for key, _ in found if key[0] == "fold"] == [("fold", "0"), ("fold", "1")]
    assert [len(some.ids) for key, some in found if key[0] == "fold"] == [6, 6]


def test_errors_of_samples(given: list[Side]) -> None:
    found = compare.errors(given, "test", "mae")
    frame = found.frame
    assert found.metric == "mae"
    assert frame.columns.tolist() == ["id", "unit", "a", "b", "c"]
    assert frame["id"].tolist() == [f"test-{row:02d}" for row in range(9)]
    assert frame["b"].tolist() == pytest.approx([3] * 9)
    assert frame["c"].tolist() == pytest.approx([1.5, 0.5] * 4 + [1.5])
    # A sample alone has no R²: its absolute error instead.
    other = compare.errors(given, "test", "r2")
    assert other.metric == "rmse"
    assert other.frame["c"].tolist() == pytest.approx(frame["c"].tolist())
    assert compare.errors(given[:1], "hard", "mae").frame.empty
    assert found.shares("a", "b") == (1, 0)
    assert found.shares("c", "a") == pytest.approx((4 / 9, 0))
    assert found.shares("a", "a") == (0, 1)


def test_names_that_are_not_told_apart(toy_predictions: Callable[..., Path]) -> None:
    path = toy_predictions()
    one, other = _entry(path, "a"), _entry(path, "a", track="kinds")
    assert [side.name for side in compare.sides([one, other])] == ["a (features)", "a (kinds)"]
    again = _entry(toy_predictions("x.csv", change=partial(_moved, np.ones(9))), "a")
    names = [side.name for side in compare.sides([one, again])]
    assert len(set(names)) == 2
    assert all(name.startswith("a ") for name in names)


@pytest.mark.parametrize("name", compare.RESERVED)
def test_a_model_named_like_a_column(toy_predictions: Callable[..., Path], name: str) -> None:
    one = _entry(toy_predictions(), name)
    other = _entry(toy_predictions("x.csv", change=partial(_moved, np.ones(9))), "b")
    given = compare.sides([one, other])
    assert given[0].name == f"{name} (features)"
    assert compare.errors(given, "test", "mae").frame["id"].tolist()[0] == "test-00"
    frame = compare.by_group(SPEC(), given, "holdout", "mae")
    assert frame["kind"].tolist()[0] == "split"
    assert frame["samples"].tolist()[0] == 9


def test_horizons(toy_frames: Path, tmp_path: Path) -> None:
    benchmark = load_benchmark("toy-waves")
    found = benchmark.truth("test")
    truth = found.values.astype(np.float64)
    path = tmp_path / "p.parquet"
    write_parts(path, [(found.ids, truth + 0.25, np.zeros(5))])
    prepared = submissions.prepare_file(
        benchmark, path, name="waves", card=ModelCard(), track="frames", protocol="holdout"
    )
    given = compare.sides([Entry(prepared.record, prepared.samples, LOCAL)])
    frame = compare.horizons(given, "test")
    assert frame["ahead"].tolist() == [1, 2, 3, 4, 5, 6]
    assert frame["value"].to_numpy() == pytest.approx(0.25, rel=1e-2)
    # Five trajectories are too few for an interval.
    assert frame[["ci_low", "ci_high"]].isna().all(axis=None)
    for name in ("rmse", "ssim"):
        # Of the structural similarity the larger is the better one: no error.
        errors = compare.errors(given, "test", name)
        assert errors.metric == "rmse"
        assert errors.frame["waves"].to_numpy() == pytest.approx(0.25, rel=1e-2)


def test_no_horizon_without_frames(given: list[Side]) -> None:
    assert compare.horizons(given, "test").empty
