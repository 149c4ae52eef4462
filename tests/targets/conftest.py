"""A toy benchmark of any kind, and the journey that every kind must make: nothing here asks which.

Template, evaluate, submit, leaderboard, compare and model page work from what the kind says.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

import etchmark
from etchmark.catalog import Catalog
from etchmark.columns import Columns
from etchmark.data import building, fingerprint, packaging
from etchmark.data.loading import Benchmark, load_benchmark
from etchmark.errors import DoubtWarning
from etchmark.registry.store import Store
from etchmark.scoring import template
from etchmark.scoring.samples import from_table
from etchmark.scoring.score import score_samples
from etchmark.scoring.stored import disagreement, read_table
from etchmark.specs import ResultRecord
from etchmark.targets import kind_named

NAME = "toy-kind"
HOLDOUT = {
    "title": "train, then test",
    "kind": "holdout",
    "description": "Fixed splits.",
    "split": "test",
    "train_split": "train",
}


@dataclass(frozen=True)
class Toy:
    """What differs between the toys.

    Attributes:
        build: lines that set ``y``, a column of ``rows`` labels, and its ``feature``; ``more``
            columns and ``more_features`` if there are any.
        model: class ``Model`` of a ``model.py``.
        target: what the benchmark declares beside column, quantity, symbol and unit.
        metrics: the first is the primary one.
        worse: predictions that are worse than the labels, from the labels.
        perfect: predictions that could not be better, from the labels.
    """

    build: str
    model: str
    target: dict[str, Any]
    metrics: list[str]
    worse: Callable[[np.ndarray], Any]
    perfect: Callable[[np.ndarray], Any] = lambda labels: labels


BUILD = '''
"""Builds the toy."""

import numpy as np
import pyarrow as pa

from etchmark.columns import array_column, array_feature, with_features
from etchmark.data.building import main


def build(context):
    generator = np.random.default_rng(context.parameters["seed"])
    splits = {}
    for split, rows in {"train": 12, "test": 9}.items():
        x = np.round(generator.normal(size=rows), 3)
        feature, more, more_features = None, {}, {}
LABELS
        columns = {"id": [f"{split}-{row:02d}" for row in range(rows)], "x": x, "y": y, **more}
        features = ({} if feature is None else {"y": feature}) | more_features
        splits[split] = with_features(pa.table(columns), features)
    return splits


if __name__ == "__main__":
    main(__file__)
'''
MODEL = """
import numpy as np

CLASS

def build(seed, device):
    return Model()
"""


def indented(text: str) -> str:
    return "\n".join(f"        {line}" for line in text.strip().splitlines())


def write(toy: Toy, root: Path, scratch: Path) -> Benchmark:
    """The toy's content below ``root``, which holds the toys of all tests."""
    spec = yaml.safe_load((root / "datasets" / "toy" / "dataset.yaml").read_text("utf-8"))
    config = {"title": "toy", "description": "Toy.", "splits": ["train", "test"], "rows": 21}
    spec |= {"name": "kinds", "default_config": "kinds-mini", "configs": {"kinds-mini": config}}
    folder = root / "datasets" / "kinds"
    folder.mkdir()
    (folder / "dataset.yaml").write_text(yaml.safe_dump({**spec, "label_columns": ["x"]}), "utf-8")
    (folder / "build.py").write_text(BUILD.replace("LABELS", indented(toy.build)), "utf-8")
    model = root / "baselines" / "toy_model"
    model.mkdir()
    (model / "model.py").write_text(MODEL.replace("CLASS", toy.model), "utf-8")
    card = {"schema": 1, "name": "toy_model", "title": "Model", "training_data": "none"}
    (model / "card.yaml").write_text(yaml.safe_dump(card), "utf-8")
    built = building.build(Catalog(root), "kinds", "kinds-mini", out=scratch)
    splits = {file.split: Columns([built.folder / file.path]) for file in built.manifest.files}
    if kind_named(toy.target["kind"]).streamed:
        paths = {file.split: built.folder / file.path for file in built.manifest.files}
        target = fingerprint.of_splits(
            {split: Columns([path], ["id", "y"]) for split, path in paths.items()}
        )
    else:
        labels = [columns["y"] for columns in splits.values()]
        target = packaging.target_fingerprint([part["id"] for part in splits.values()], labels)
    benchmark = yaml.safe_load((root / "benchmarks" / "toy-line.yaml").read_text("utf-8"))
    track = {"title": "all", "config": "kinds-mini", "inputs": ["x"]}
    benchmark |= {
        "id": NAME,
        "dataset": "kinds",
        "unit_column": "id",
        "unit_name": "sample",
        "target": {"column": "y", "quantity": "outcome", "symbol": "y", "unit": "1", **toy.target},
        "target_fingerprint": target,
        "tracks": {"all": {**track, "fingerprint": built.manifest.fingerprint}},
        "protocols": {"holdout": HOLDOUT},
        "metrics": toy.metrics,
        "primary_metric": toy.metrics[0],
        "baselines": {"toy_model": {"track": "all"}},
    }
    (root / "benchmarks" / f"{NAME}.yaml").write_text(yaml.safe_dump(benchmark), "utf-8")
    return load_benchmark(NAME)


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
    assert score_samples(benchmark.spec, "holdout", samples) == record.scores[0]
    assert disagreement(record.scores, [samples]) is None


@pytest.fixture
def write_toy(toy_content: Path, tmp_path: Path) -> Callable[[Toy], Benchmark]:
    """Writes a toy's content, and nothing more."""
    return lambda toy: write(toy, toy_content, tmp_path / "built")


@pytest.fixture
def toy_kind() -> type[Toy]:
    return Toy
