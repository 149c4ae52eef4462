"""The repository of results: standings of all boards, records, and their per-sample tables."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark.catalog import Catalog, content_roots, installed_root, results_of
from etchmark.data import packaging
from etchmark.errors import UserError
from etchmark.publish import cards, citation, standings
from etchmark.publish.repository import MARKS, Item, Repository
from etchmark.publish.standings import Reviewed
from etchmark.registry.layout import records_in
from etchmark.specs import BenchmarkSpec

NAME = "results"
TITLE = "Results of the boards of etchmark"
LICENCE = "as each benchmark declares"
RECORDS, SAMPLES = "records.jsonl", "samples.parquet"
OF_RECORD = ("name", "track", "protocol", "submission")
ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Shown:
    """A version of a benchmark, and the files of its records."""

    spec: BenchmarkSpec
    items: list[Item]

    @property
    def folder(self) -> str:
        return folder_of(self.spec)

    @property
    def has_samples(self) -> bool:
        return any(item.path.endswith(SAMPLES) for item in self.items)

    @property
    def records(self) -> int:
        """How many there are."""
        (lines,) = (item.content for item in self.items if item.path.endswith(RECORDS))
        return lines.count(b"\n") if isinstance(lines, bytes) else 0


def repository(catalog: Catalog, reviewed: Reviewed) -> Repository:
    """The repository of all reviewed results.

    Args:
        catalog: where benchmarks are declared.
        reviewed: rows of this hub that are shown.

    Raises:
        UserError: there is none.
    """
    specs = [
        catalog.benchmark(key)
        for name in catalog.benchmark_names()
        for key in catalog.versions(catalog.benchmark(name))
    ]
    boards = [Shown(spec, record_items(catalog, spec)) for spec in specs]
    boards = [board for board in boards if board.items]
    if not boards:
        raise UserError(f"{NAME}: there are no reviewed results to publish")
    frames = [standings.of(board.spec, reviewed.of(board.spec)) for board in boards]
    frame = pd.concat([each for each in frames if len(each)], ignore_index=True)
    items = [
        Item(MARKS[0], b"published by etchmark\n"),
        *(item for board in boards for item in board.items),
        Item("standings.parquet", _parquet(frame)),
        Item(
            citation.FILE, citation.citation_file(installed_root(), TITLE, 1, LICENCE, (), "data")
        ),
        Item(packaging.README, _card(boards, frame).encode()),
    ]
    owned = tuple(folder_of(spec) for spec in specs)
    return Repository(NAME, "dataset", TITLE, LICENCE, tuple(items), owned=owned)


def folder_of(spec: BenchmarkSpec) -> str:
    """Where the records of a version of a benchmark lie; ``@`` means a commit on the Hub."""
    return f"{spec.id}-v{spec.version}"


def record_items(catalog: Catalog, spec: BenchmarkSpec) -> list[Item]:
    """Reviewed records of one version of a benchmark, and their per-sample tables as one.

    A record is a line of ``records.jsonl``; rows of ``samples.parquet`` name the model, track,
    protocol and submission that they are of. Where sources of the data grant no licence,
    pictures and arrays, which may show them, are left out.
    """
    lines, tables = [], []
    configs = catalog.dataset(spec.dataset).configs
    own_use = any(configs[track.config].own_use for track in spec.tracks.values())
    for root in content_roots():
        folder = results_of(root) / spec.key
        for path in records_in(folder) if folder.is_dir() else ():
            record = json.loads(path.read_bytes())
            lines.append(json.dumps(record, ensure_ascii=False, sort_keys=True) + "\n")
            samples = path.with_suffix(".parquet")
            if samples.is_file():
                table = pq.read_table(samples)
                if own_use:
                    table = table.select(_numbers(table.schema))
                for place, name in enumerate(OF_RECORD):
                    column = pa.array([record[name]] * len(table), pa.string())
                    table = table.add_column(place, name, column.dictionary_encode())
                tables.append(table.replace_schema_metadata(None))
    items = []
    if tables:
        buffer = io.BytesIO()
        # Boards that have tracks with further columns leave those of others empty.
        whole = pa.concat_tables(tables, promote_options="permissive")
        pq.write_table(whole, buffer, compression="zstd", row_group_size=ROWS_AT_ONCE)
        items.append(Item(f"{folder_of(spec)}/{SAMPLES}", buffer.getvalue()))
    if lines:
        items.append(Item(f"{folder_of(spec)}/{RECORDS}", "".join(lines).encode()))
    return items


def _numbers(schema: pa.Schema) -> list[str]:
    """Columns that hold a number, a name or a truth value in each row."""
    kept = (pa.types.is_primitive, pa.types.is_string, pa.types.is_large_string)
    return [field.name for field in schema if any(is_kept(field.type) for is_kept in kept)]


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


def _card(boards: list[Shown], frame: pd.DataFrame) -> str:
    configs = [{"config_name": "standings", "default": True, "data_files": "standings.parquet"}]
    configs += [
        {"config_name": board.folder, "data_files": f"{board.folder}/{SAMPLES}"}
        for board in boards
        if board.has_samples
    ]
    return "\n".join(
        [
            *cards.head(TITLE, LICENCE, configs=configs),
            f"# {TITLE}",
            "",
            "`standings` has a row per board, protocol and model: score, interval, rank range, gain"
            " over the declared reference and cost. The other configs hold per-sample values, from"
            " which every score and interval can be computed again; `records.jsonl` beside each"
            " table has the record of every run.",
            "",
            "A lower rank is not a better model where rows are not told apart: read `may_be_best`"
            " and `gain_relation`. Rows with another role than `entry` and `reference` have no"
            " rank.",
            "",
            *cards.table(
                ("config", "benchmark", "records", "licence"),
                (
                    (f"`{board.folder}`", board.spec.title, board.records, board.spec.licence)
                    for board in boards
                ),
            ),
            f"{len(frame)} rows of {len(boards)} benchmark versions. Each has the licence of its"
            " benchmark; cite the works that the benchmark builds on.",
            "",
            "```python",
            "from datasets import load_dataset",
            f'standings = load_dataset("{cards.HERE}/{NAME}", "standings", split="train")',
            "```",
            "",
        ]
    )
