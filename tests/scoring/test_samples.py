"""The table of per-sample outcomes says all that scores are made from."""

from __future__ import annotations

import io
import subprocess
import sys
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


THREADS = """
import sys
from pathlib import Path
from etchmark.scoring.samples import from_bytes
content = Path(sys.argv[1]).read_bytes()
def threads():
    return len(list(Path("/proc/self/task").iterdir()))
before = threads()
from_bytes(content)
sys.exit(threads() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="this system does not list threads")
def test_reading_a_table_starts_no_thread_that_outlives_the_interpreter(
    toy_content: Path, score: Score, tmp_path: Path
) -> None:
    """Such a thread, still holding the table's bytes, aborts the process now and then as it ends."""
    scored = score(load_benchmark("toy-line"), "holdout", ["test"])
    path = tmp_path / "samples.parquet"
    path.write_bytes(table_bytes(scored.samples))
    done = subprocess.run([sys.executable, "-c", THREADS, str(path)], timeout=120, check=False)
    assert done.returncode == 0


def test_the_table_keeps_folds(line: Benchmark, score: Score) -> None:
    scored = score(line, "folds", ["train"])
    found = from_table(pq.read_table(io.BytesIO(table_bytes(scored.samples))))
    assert score_samples(line.spec, "folds", found[0]) == scored.scores[0]
