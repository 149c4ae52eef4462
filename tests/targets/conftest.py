"""The journey that every kind must make: nothing here asks which.

Template, evaluate, submit, leaderboard, compare and model page work from what the kind says.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from toys import NAME, Toy, write

import etchmark
from etchmark.data.loading import Benchmark
from etchmark.errors import DoubtWarning
from etchmark.registry.store import Store
from etchmark.scoring import template
from etchmark.scoring.samples import from_table
from etchmark.scoring.score import score_samples
from etchmark.scoring.stored import disagreement, read_table
from etchmark.specs import ResultRecord


@pytest.fixture
def journey(toy_content: Path, tmp_path: Path, command: Callable[..., Any]) -> Callable[..., None]:
    """Every use of a benchmark, in the order of a newcomer."""

    def travel(toy: Toy) -> None:
        benchmark = write(toy, toy_content, tmp_path / "built")
        shown = command("show", NAME).fine()
        for label, text in benchmark.kind.facts(benchmark.spec.target):
            assert f"{label:<10} {text}" in shown
        for path in _template(toy, benchmark, tmp_path):
            assert command("score", path, NAME).rc == 2, "a template is refused until it is filled"
        records = _submitted(toy, benchmark)
        _compared(toy)
        for record in records:
            _rescored(benchmark, record)

    return travel


def _template(toy: Toy, benchmark: Benchmark, folder: Path) -> list[Path]:
    written = template.write(benchmark, "all", "holdout", folder / "template")
    assert pq.read_schema(written.inputs[0]).names == ["id", "x"]
    return written.predictions


def _submitted(toy: Toy, benchmark: Benchmark) -> list[ResultRecord]:
    truth = benchmark.truth("test")
    labels = truth.values
    table = pd.DataFrame({"id": truth.ids, "prediction": list(toy.perfect(labels))})
    with warnings.catch_warnings():
        # Labels as predictions are what the hub doubts.
        warnings.simplefilter("ignore", DoubtWarning)
        (score,) = etchmark.score(table, NAME)
        perfect = etchmark.submit(table, NAME, name="perfect", track="all")
        worse = table.assign(prediction=list(toy.worse(labels)))
        other = etchmark.submit(worse, NAME, name="worse", track="all")
    assert set(score.metrics) == set(toy.metrics)
    assert perfect.scores[0].metrics == score.metrics
    record = etchmark.evaluate("toy_model", NAME, seeds=2)
    assert record.outcome == "ok", record.reason
    assert record.scores[0].seeds == 2
    return [perfect, other, record]


def _compared(toy: Toy) -> None:
    assert etchmark.standings(NAME)["model"].iloc[0] == "perfect"
    for metric in toy.metrics:
        board = etchmark.standings(NAME, metric=metric)
        assert set(board["model"]) == {"perfect", "worse", "toy_model"}
        assert board["rank_low"].notna().all(), metric
    pair = etchmark.compare(NAME, "perfect", "worse")
    assert pair["better"].tolist() == ["perfect"]
    assert pair["units"].tolist() == [9]


def _rescored(benchmark: Benchmark, record: ResultRecord) -> None:
    """Scores follow from the per-sample table alone."""
    entry = Store().get(record.submission)
    assert entry is not None
    assert entry.samples is not None
    (samples,) = from_table(read_table(entry.samples, rows=9 * record.scores[0].seeds))
    assert samples.kind == benchmark.kind.name
    # A page shows predictions beside labels, and never as terms.
    assert "prediction" not in samples.terms
    assert score_samples(benchmark.spec, "holdout", samples) == record.scores[0]
    assert disagreement(record.scores, [samples], record.interval_method) is None


@pytest.fixture
def write_toy(toy_content: Path, tmp_path: Path) -> Callable[[Toy], Benchmark]:
    """Writes a toy's content, and nothing more."""
    return lambda toy: write(toy, toy_content, tmp_path / "built")


@pytest.fixture
def toy_kind() -> type[Toy]:
    return Toy
