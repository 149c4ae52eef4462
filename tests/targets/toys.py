"""A toy benchmark of any kind, as content that tests add to that of the other toys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from etchmark.catalog import Catalog
from etchmark.columns import Columns
from etchmark.data import building, fingerprint, packaging
from etchmark.data.loading import Benchmark, load_benchmark
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

from etchmark.columns import IMAGE, array_column, array_feature, image_column, with_features
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
    options = building.BuildOptions(out=scratch)
    built = building.build(Catalog(root), "kinds", "kinds-mini", options)
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
        "title": "The toy of one kind",
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
