"""Leaves pictures out of the reviewed results that a wheel carries.

Scores, intervals, ranks and comparisons are made of the numbers in a per-sample table: one value of
each term for each sample. Columns of lists (predicted arrays, the error of every frame) and of
pictures only serve drawings of the dashboard; without them the same boards fit in half the space.
A checkout and a source distribution keep the whole tables.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

RESULTS = Path("leaderboard") / "results"
INSTALLED = Path("etchmark") / "content" / RESULTS
INDEX = "SHA256SUMS"


class CompactResults(BuildHookInterface):
    """Puts compact tables and their index in the place of those that the wheel leaves out."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        self._scratch = tempfile.TemporaryDirectory(prefix="etchmark-wheel-")
        for path in compact_results(Path(self.root) / RESULTS, Path(self._scratch.name)):
            target = INSTALLED / path.relative_to(self._scratch.name)
            build_data["force_include"][str(path)] = target.as_posix()

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self._scratch.cleanup()


def compact_results(results: Path, out: Path) -> Iterator[Path]:
    """Write the compact table of every record, and an index of each folder; the files written."""
    for folder in sorted(path for path in results.iterdir() if path.is_dir()):
        tables = sorted(path for path in folder.glob("*.parquet") if path.name[0] != ".")
        lines = []
        for table in tables:
            content = compact_table(table.read_bytes())
            path = out / folder.name / table.name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            lines.append(f"{hashlib.sha256(content).hexdigest()}  {table.name}\n")
            yield path
        if tables:
            index = out / folder.name / INDEX
            index.write_text("".join(lines), encoding="utf-8")
            yield index


def compact_table(content: bytes) -> bytes:
    """A per-sample table without columns of lists and pictures, as parquet bytes.

    Numbers, texts and the table's metadata stay as they are.
    """
    table = pq.read_table(io.BytesIO(content))
    kept = [field for field in table.schema if not _is_drawn(field.type)]
    # Counts and truth values take few values, which a dictionary holds in the least space.
    repeating = [field.name for field in kept if _repeats(table.column(field.name))]
    buffer = io.BytesIO()
    pq.write_table(
        table.select([field.name for field in kept]),
        buffer,
        compression="zstd",
        compression_level=19,
        write_statistics=False,
        use_dictionary=repeating,
        column_encoding={
            field.name: "BYTE_STREAM_SPLIT"
            for field in kept
            if pa.types.is_floating(field.type) and field.name not in repeating
        },
    )
    return buffer.getvalue()


def _repeats(column: pa.ChunkedArray) -> bool:
    return pa.types.is_string(column.type) or (
        pa.types.is_floating(column.type) and 4 * len(column.unique()) < len(column)
    )


def _is_drawn(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_binary(kind)
