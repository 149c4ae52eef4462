"""Per-sample tables from elsewhere: what is read, what is refused, and at what cost."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from etchmark.data.loading import Benchmark, load_benchmark
from etchmark.errors import UserError
from etchmark.scoring.intervals import METHOD
from etchmark.scoring.refresh import with_intervals, without_intervals
from etchmark.scoring.samples import SampleScores, from_table, table_bytes, to_table
from etchmark.scoring.score import Scored
from etchmark.scoring.stored import disagreement, max_bytes, read_table
from etchmark.scoring.uncertainty import BOOTSTRAP
from etchmark.specs import SplitScore

RESULTS = Path(__file__).resolve().parents[2] / "leaderboard" / "results"


@pytest.fixture
def scored(toy_content: Path, score: Callable[..., Scored]) -> Scored:
    """Scores with intervals: each sample is a unit."""
    path = toy_content / "benchmarks" / "toy-line.yaml"
    spec = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**spec, "unit_column": "id", "unit_name": "sample"}))
    return score(load_benchmark("toy-line"), "holdout", ["test", "hard"], seeds=2)


def _fault(scores: list[SplitScore], samples: list[SampleScores]) -> str | None:
    return disagreement(scores, samples, METHOD)


def _rows(scored: Scored) -> int:
    return sum(one.n * one.seeds for one in scored.scores)


def test_an_honest_table_is_read_back(scored: Scored) -> None:
    table = read_table(table_bytes(scored.samples), rows=_rows(scored))
    assert table.equals(to_table(scored.samples))
    assert _fault(scored.scores, from_table(table)) is None


def test_every_reviewed_table_is_read_within_limits() -> None:
    largest = 0.0
    for path in sorted(RESULTS.glob("*/*.parquet"))[::7]:
        content = path.read_bytes()
        rows = pq.read_metadata(io.BytesIO(content)).num_rows
        assert read_table(content, rows=rows).equals(pq.read_table(io.BytesIO(content)))
        largest = max(largest, read_table(content, rows=rows).nbytes / max_bytes(rows))
    assert 0 < largest < 0.25


def _written(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", **options)
    return sink.getvalue()


def _with(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def _long_text(table: pa.Table) -> bytes:
    texts = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(table.num_rows, np.int32)), pa.array(["x" * 2_000_000])
    )
    return _written(_with(table, "unit", texts.cast(pa.string())))


def _shared_prefixes(table: pa.Table) -> bytes:
    # Each text repeats its predecessor, which takes no room in the file.
    shared = ["x" * 100_000 + str(row) for row in range(table.num_rows)]
    coded = dict.fromkeys(table.column_names, "PLAIN") | {"id": "DELTA_BYTE_ARRAY"}
    options = {"use_dictionary": False, "column_encoding": coded, "write_statistics": False}
    return _written(_with(table, "id", shared), **options)


REFUSED: dict[str, tuple[Callable[[pa.Table], bytes], str]] = {
    "no parquet": (lambda table: b"PAR1 none", "footer"),
    "nothing": (lambda table: b"", "footer"),
    "fewer rows": (lambda table: _written(table.slice(1)), "rows"),
    "an unknown column": (
        lambda table: _written(table.append_column("more", table["target"])),
        "column 'more'",
    ),
    "a nested column": (
        lambda table: _written(_with(table, "target", [[1.0]] * table.num_rows)),
        "column 'target'",
    ),
    "single precision": (
        lambda table: _written(_with(table, "target", table["target"].cast(pa.float32()))),
        "column 'target'",
    ),
    "a column twice": (
        lambda table: _written(
            pa.Table.from_arrays(
                [*table.columns, table["target"]], names=[*table.column_names, "target"]
            )
        ),
        "duplicate column",
    ),
    "no units": (lambda table: _written(table.drop_columns(["unit"])), "no column 'unit'"),
    "a text that is repeated by a dictionary": (_long_text, "characters"),
    "texts that share prefixes": (_shared_prefixes, "DELTA_BYTE_ARRAY"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_such_table_is_refused(scored: Scored, case: str) -> None:
    make, expected = REFUSED[case]
    with pytest.raises(ValueError, match=expected):
        read_table(make(to_table(scored.samples)), rows=_rows(scored))


BOMB = """
import resource, sys
from pathlib import Path
from etchmark.scoring.stored import read_table
honest, bomb = (Path(name).read_bytes() for name in sys.argv[1:])
read_table(honest, rows=30)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_table(bomb, rows=30)
except ValueError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_footer_that_lies_takes_no_memory(
    scored: Scored, lying_table: Callable[[pa.Table, int], bytes], tmp_path: Path
) -> None:
    honest, bomb = tmp_path / "honest.parquet", tmp_path / "bomb.parquet"
    honest.write_bytes(table_bytes(scored.samples))
    bomb.write_bytes(lying_table(to_table(scored.samples), 300_000_000))
    assert bomb.stat().st_size < 100_000
    done = subprocess.run(
        [sys.executable, "-c", BOMB, str(honest), str(bomb)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said, mebibytes = done.stdout.splitlines()
    assert "unpacks to 300," in said
    assert int(mebibytes) < 32


# --- scores against the table ------------------------------------------------------------------


def _edited(scores: list[SplitScore], *path: Any, to: Any) -> list[SplitScore]:
    dumped = [one.model_dump() for one in scores]
    place: Any = dumped
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to(place[path[-1]]) if callable(to) else to
    return [SplitScore.model_validate(one) for one in dumped]


EDITS: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "a score": ((0, "metrics", "mae", "value"), 0.5, "mae is said to be 0.5"),
    "a score in its ninth digit": (
        (1, "metrics", "rmse", "value"),
        lambda value: value * (1 + 3e-9),
        "rmse",
    ),
    "more samples": ((0, "n"), 900, "n is said to be 900"),
    "more units": ((0, "units"), 900, "units is said"),
    "more seeds": ((0, "seeds"), 5, "seeds is said"),
    "no spread over seeds": ((0, "metrics", "mae", "seed_sd"), None, "mae.seed_sd"),
    "an interval": ((0, "metrics", "mae", "ci_high"), 1e3, "mae.ci_high is said to be 1000 but"),
    "another split": ((1, "split"), "other", "its splits differ"),
    "an unknown metric": (
        (0, "metrics"),
        lambda metrics: {**metrics, "charm": metrics["mae"]},
        "unknown metric 'charm'",
    ),
    "a subset that is not there": (
        (0, "subsets"),
        [{"subset": "easy", "n": 1, "units": 1, "metrics": {}}],
        "subset 'easy'",
    ),
}


@pytest.mark.parametrize("case", EDITS)
def test_an_edit_by_hand_is_told(scored: Scored, case: str) -> None:
    path, to, expected = EDITS[case]
    fault = _fault(_edited(scored.scores, *path, to=to), scored.samples)
    assert fault is not None
    assert expected in fault


def test_rounding_is_no_edit(scored: Scored) -> None:
    nudged = _edited(
        scored.scores, 0, "metrics", "mae", "value", to=lambda value: value * (1 + 1e-12)
    )
    assert _fault(nudged, scored.samples) is None


@pytest.mark.parametrize(
    ("path", "to", "expected"),
    [
        ((0, "folds", 1, "values", "mae"), 0.5, "mae of fold 1"),
        ((0, "folds", 1, "n"), 30, "its folds differ"),
        ((0, "folds"), lambda folds: folds[:-1], "its folds differ"),
        ((0, "metrics", "mae", "fold_mean"), 0.5, "mae.fold_mean"),
        ((0, "metrics", "mae", "fold_sd"), 0.5, "mae.fold_sd"),
    ],
)
def test_an_edit_of_folds_is_told(
    line: Benchmark, score: Callable[..., Scored], path: tuple[Any, ...], to: Any, expected: str
) -> None:
    scored = score(line, "folds", ["train"])
    assert _fault(scored.scores, scored.samples) is None
    fault = _fault(_edited(scored.scores, *path, to=to), scored.samples)
    assert fault is not None
    assert expected in fault


def test_arrays_are_compared_by_their_terms(
    fields: Benchmark, score: Callable[..., Scored]
) -> None:
    scored = score(fields, "holdout", ["test"], seeds=2)
    table = read_table(table_bytes(scored.samples), rows=_rows(scored))
    assert _fault(scored.scores, from_table(table)) is None
    better = _edited(scored.scores, 0, "metrics", "rmse", "value", to=0.01)
    assert "rmse" in (_fault(better, from_table(table)) or "")


# --- intervals of another method ---------------------------------------------------------------


def test_intervals_of_records_of_before_are_recomputed_by_their_method(scored: Scored) -> None:
    older = with_intervals(scored.scores, scored.samples, BOOTSTRAP)
    assert older != scored.scores
    assert without_intervals(older) == without_intervals(scored.scores)
    assert disagreement(older, scored.samples) is None
    assert disagreement(older, scored.samples, BOOTSTRAP) is None
    assert "ci_low is said to be" in (_fault(older, scored.samples) or "")
    assert "ci_low is said to be" in (disagreement(scored.scores, scored.samples) or "")
    assert with_intervals(older, scored.samples) == scored.scores


def test_intervals_need_the_table_of_their_split(scored: Scored) -> None:
    with pytest.raises(UserError, match="split 'hard' is not in the per-sample table"):
        with_intervals(scored.scores, scored.samples[:1])
