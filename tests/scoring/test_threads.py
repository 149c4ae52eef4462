"""Readers of Parquet from Python objects leave no thread behind.

A thread of pyarrow that still holds such an object when the interpreter ends aborts the process now
and then (apache/arrow#33975): a command that has done its work then seems to have failed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etchmark.data.loading import load_benchmark
from etchmark.scoring.samples import table_bytes
from etchmark.scoring.score import Scored

SOURCE = Path(__file__).resolve().parents[2] / "src" / "etchmark"
COUNT = """
import sys
from pathlib import Path
from etchmark.predictions import reading
from etchmark.scoring import samples, stored
path, rows = Path(sys.argv[2]), int(sys.argv[3])
content = path.read_bytes()
readers = {
    "trusted table": lambda: samples.from_bytes(content),
    "table of others": lambda: stored.read_table(content, rows=rows),
    "predictions": lambda: reading.read(path, rows=rows),
}
def threads():
    return len(list(Path("/proc/self/task").iterdir()))
before = threads()
readers[sys.argv[1]]()
sys.exit(threads() - before)
"""


def _started(reader: str, path: Path, rows: int) -> int:
    """Threads that a reader adds to those of its process."""
    command = [sys.executable, "-c", COUNT, reader, str(path), str(rows)]
    return subprocess.run(command, timeout=120, check=False).returncode


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are not listed here")
def test_reading_starts_no_thread(
    toy_content: Path, score: Callable[..., Scored], tmp_path: Path
) -> None:
    scored = score(load_benchmark("toy-line"), "holdout", ["test"])
    table = tmp_path / "samples.parquet"
    table.write_bytes(table_bytes(scored.samples))
    rows = scored.scores[0].n
    assert _started("trusted table", table, rows) == 0
    assert _started("table of others", table, rows) == 0
    predictions = tmp_path / "predictions.parquet"
    columns = {"id": [f"s{row}" for row in range(rows)], "prediction": [0.5] * rows}
    pq.write_table(pa.table(columns), predictions)
    assert _started("predictions", predictions, rows) == 0


def test_every_file_object_is_opened_by_the_same_function() -> None:
    opened = re.compile(r"\bpq\.(?:ParquetFile|read_table)\(\s*(?:io\.|handle|buffer|content)")
    found = [path for path in SOURCE.rglob("*.py") if opened.search(path.read_text("utf-8"))]
    assert found == []
