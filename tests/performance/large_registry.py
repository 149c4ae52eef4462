"""A registry of many submissions, made out of the reviewed ones, to time the dashboard with.

    python tests/performance/large_registry.py FOLDER [--benchmarks 20] [--each 500]

writes FOLDER/content (as many benchmarks as asked for: the project's own, then copies of them) and
FOLDER/home (the registry). Serve it with ``ETCHMARK_CONTENT=FOLDER/content
ETCHMARK_CONTENT_ONLY=1 ETCHMARK_HOME=FOLDER/home etchmark dashboard``.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from etchmark.registry.store import LOCAL, Store, read_record
from etchmark.registry.tables import Entry
from etchmark.specs import ResultRecord

ROOT = Path(__file__).resolve().parents[2]
BATCH = 200


def content(folder: Path, count: int) -> list[tuple[str, Path]]:
    """A content folder with ``count`` benchmarks; each with the reviewed records it is fed from."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "benchmarks").mkdir(parents=True)
    for name in ("datasets", "baselines"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "leaderboard").mkdir()
    for one in (ROOT / "leaderboard").iterdir():
        if one.name != "results":
            (folder / "leaderboard" / one.name).symlink_to(one)
    cards = sorted((ROOT / "benchmarks").glob("*.yaml"))
    made = []
    for index in range(count):
        card = cards[index % len(cards)]
        text = yaml.safe_load(card.read_text(encoding="utf-8"))
        name = card.stem if index < len(cards) else f"{card.stem}-{index // len(cards) + 1}"
        text["id"] = name
        if name != card.stem:
            # Lists name benchmarks by their title.
            text["title"] += f", copy {index // len(cards)}"
        path = folder / "benchmarks" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(text, sort_keys=False), encoding="utf-8")
        results = ROOT / "leaderboard" / "results" / f"{card.stem}@{text['version']}"
        made.append((name, results))
    return made


def entries(benchmark: str, results: Path, count: int, seed: int) -> Iterator[Entry]:
    """Submissions like the reviewed ones, each with errors stretched by a factor of its own."""
    generator = np.random.Generator(np.random.PCG64(seed))
    found = [(read_record(path), path) for path in sorted(results.glob("*.json"))]
    found = [(one, path.with_suffix(".parquet")) for one, path in found if one.outcome == "ok"]
    tables = {one.submission: pq.read_table(path) for one, path in found}
    for number in range(count):
        record, _ = found[number % len(found)]
        factor = float(np.exp(generator.normal(0, 0.3)))
        table = tables[record.submission]
        # A class that is predicted cannot be stretched, nor can a share of right ones.
        if not is_numeric(table):
            factor = 1.0
        yield _entry(benchmark, record, table, number, factor)


def is_numeric(table: pa.Table) -> bool:
    """Whether a per-sample table holds predicted numbers."""
    names = table.column_names
    return "prediction" in names and pa.types.is_floating(table.schema.field("prediction").type)


def _entry(
    benchmark: str, record: ResultRecord, table: pa.Table, number: int, factor: float
) -> Entry:
    name = f"model-{number:04d}/{record.name.replace('/', '-')}"
    digest = hashlib.sha256(f"{benchmark} {name}".encode()).hexdigest()
    scores = [
        split.model_copy(
            update={
                "metrics": {
                    metric: one.model_copy(
                        update={
                            key: None if value is None else value * factor
                            for key, value in one.model_dump().items()
                        }
                    )
                    for metric, one in split.metrics.items()
                }
            }
        )
        for split in record.scores
    ]
    made = record.model_copy(
        update={
            "submission": digest,
            "benchmark": benchmark,
            "name": name[:100],
            "scores": scores,
            "created": record.created - timedelta(hours=number),
        }
    )
    if is_numeric(table):
        target, given = (table.column(one).to_numpy() for one in ("target", "prediction"))
        at = table.column_names.index("prediction")
        table = table.set_column(at, "prediction", pa.array(target + factor * (given - target)))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return Entry(made, sink.getvalue().to_pybytes(), LOCAL)


def build(folder: Path, benchmarks: int, each: int) -> None:
    made = content(folder / "content", benchmarks)
    shutil.rmtree(folder / "home", ignore_errors=True)
    store = Store(folder / "home", folder / "content" / "leaderboard" / "results")
    for seed, (benchmark, results) in enumerate(made):
        batch: list[Entry] = []
        for entry in entries(benchmark, results, each, seed):
            batch.append(entry)
            if len(batch) == BATCH:
                store.add_many(batch)
                batch = []
        store.add_many(batch)
        print(f"{benchmark}: {each} submissions", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--benchmarks", type=int, default=20)
    parser.add_argument("--each", type=int, default=500)
    given = parser.parse_args()
    build(given.folder, given.benchmarks, given.each)


if __name__ == "__main__":
    main()
