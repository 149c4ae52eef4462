"""The table of per-sample outcomes says all that scores are made from."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from etchmark.data.loading import Benchmark, load_benchmark
from etchmark.scoring.samples import from_table, table_bytes
from etchmark.scoring.score import Scored, score_samples

Score = Callable[..., Scored]


@pytest.mark.parametrize("name", ["toy-line", "toy-fields"])
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_table_gives_the_very_same_scores(
    toy_content: Path, score: Score, tmp_path: Path, name: str, seeds: int
) -> None:
    benchmark = load_benchmark(name)
    splits = ["test", "hard"] if name == "toy-line" else ["test"]
    scored = score(benchmark, "holdout", splits, seeds=seeds)
    table = pq.read_table(io.BytesIO(table_bytes(scored.samples)))
    assert table.num_rows == sum(one.n for one in scored.scores) * seeds
    assert ("sum_abs_e" in table.column_names) is (name == "toy-fields")
    found = from_table(table)
    again = [score_samples(benchmark.spec, "holdout", one) for one in found]
    assert again == scored.scores
    for before, after in zip(scored.samples, found, strict=True):
        assert before.ids.tolist() == after.ids.tolist()
        assert before.units.tolist() == after.units.tolist()
        assert before.seeds == after.seeds
        sums = after.sums()
        for term, values in before.sums().items():
            assert np.array_equal(values, sums[term], equal_nan=True)


def test_the_table_keeps_folds(line: Benchmark, score: Score) -> None:
    scored = score(line, "folds", ["train"])
    found = from_table(pq.read_table(io.BytesIO(table_bytes(scored.samples))))
    assert score_samples(line.spec, "folds", found[0]) == scored.scores[0]
