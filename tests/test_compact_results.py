"""Tables of a wheel lack what only drawings need, and give the same scores and boards."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import shutil
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etchmark.boards.standings import Board, to_records
from etchmark.catalog import catalog
from etchmark.registry.layout import read_index
from etchmark.registry.records import read_record
from etchmark.registry.store import Store
from etchmark.scoring.samples import from_table
from etchmark.scoring.stored import disagreement, read_table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "leaderboard" / "results"
FOLDERS = sorted(path.name for path in RESULTS.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    """The build hook."""
    pytest.importorskip("hatchling")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hatch_build"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_compact_table_gives_the_same_terms(hook: ModuleType, folder: str) -> None:
    path = next(
        path
        for path in sorted((RESULTS / folder).glob("*.json"))
        if path.with_suffix(".parquet").is_file()
    )
    record, whole = read_record(path), path.with_suffix(".parquet").read_bytes()
    rows = sum(score.n * score.seeds for score in record.scores)
    compact = read_table(hook.compact_table(whole), rows=rows)
    drawn = [field for field in compact.schema if not _is_number_or_text(field.type)]
    assert drawn == []
    samples = from_table(compact)
    assert disagreement(record.scores, samples, record.interval_method) is None
    for mine, theirs in zip(samples, from_table(read_table(whole, rows=rows)), strict=True):
        assert mine.kind == theirs.kind
        for name in ("ids", "units", "folds"):
            assert np.array_equal(getattr(mine, name), getattr(theirs, name))
        assert mine.terms.keys() == theirs.terms.keys()
        assert mine.subsets.keys() == theirs.subsets.keys()
        for name, values in mine.terms.items():
            assert values.tobytes() == theirs.terms[name].tobytes(), name


def _is_number_or_text(kind: pa.DataType) -> bool:
    return any(
        check(kind)
        for check in (
            pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_string,
        )
    )  # fmt: skip


def test_a_table_without_drawings_keeps_every_column(hook: ModuleType) -> None:
    table = pa.table({"id": ["a", "b"], "target": [1.0, 2.0], "subset_x": [True, False]})
    table = table.replace_schema_metadata({b"etchmark.kind": b"scalar"})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    compact = pq.read_table(io.BytesIO(hook.compact_table(buffer.getvalue())))
    assert compact.equals(table, check_metadata=True)


def test_the_index_is_that_of_the_compact_tables(hook: ModuleType, tmp_path: Path) -> None:
    source = tmp_path / "results" / "toy@1"
    source.mkdir(parents=True)
    for name in ("a", "b"):
        pq.write_table(
            pa.table({"id": [name], "rollout": pa.array([b"png"], pa.binary())}),
            source / f"{name}.parquet",
        )
    (source / ".a.01234567.parquet").write_bytes(b"waits for its record")
    out = tmp_path / "out"
    out.mkdir()
    written = list(hook.compact_results(tmp_path / "results", out))
    folder = out / "toy@1"
    assert sorted(path.name for path in written) == ["SHA256SUMS", "a.parquet", "b.parquet"]
    assert read_index(folder) == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("a.parquet", "b.parquet")
    }
    assert pq.read_schema(folder / "a.parquet").names == ["id"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_compact_results_give_the_same_boards(hook: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "leaderboard" / "results"
    shutil.copytree(RESULTS, out)
    list(hook.compact_results(RESULTS, out))
    sizes = [sum(path.stat().st_size for path in of.glob("*/*.parquet")) for of in (RESULTS, out)]
    assert sizes[1] < 0.6 * sizes[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole, compact = Store(tmp_path / "1", RESULTS), Store(tmp_path / "2", out)
    rows = 0
    for name in catalog().benchmark_names():
        spec = catalog().benchmark(name)
        for protocol in spec.protocols:
            for metric in spec.metrics:
                boards = [
                    to_records(
                        Board(spec, store, protocol=protocol, metric=metric).standings(
                            everything=True
                        )
                    )
                    for store in (whole, compact)
                ]
                assert boards[0] == boards[1], (name, protocol, metric)
                rows += len(boards[0])
    assert rows > 1000
