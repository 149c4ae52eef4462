"""How classifiers of morphology carry over between conditions; run as a script.

On ``morphology-transfer``, for several featurisations with the logistic regression of the boards:

- the matrix: fitted on micrographs of one condition, tested on those of every other; on its own
  condition fitted on four of the board's five folds, tested on the fifth;
- accuracy against the number of features kept, the most telling ones of the training samples first.
  Conditions are held out four at a time, so that each is predicted from every third micrograph of
  twelve others. These are not the folds of the board, and no setting of a row was chosen here.

The questions are those of Ling et al. (2017), Materials Discovery 10, 19, DOI
10.48550/arXiv.1711.00404. Every finished part is kept in a file of the hub folder, so that the
script continues where it stopped. Writes ``tests/reliability/morphology.json``, from which
``docs/make_morphology.py`` makes the page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etchmark import files, settings
from etchmark.artefacts.loading import import_model
from etchmark.catalog import catalog
from etchmark.data.loading import load_benchmark
from etchmark.learning.classifiers import Classifier

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "tests" / "reliability" / "morphology.json"
BENCHMARK, TRACK, SPLIT = "morphology-transfer", "micrographs", "samples"
MODELS = (
    "texture_statistics/two-point",
    "texture_statistics/texture",
    "foundation_classes/squeezenet-layers",
    "foundation_classes/vgg19-pruned-layers",
    "foundation_classes/vit-tiny-in21k",
)
"""Rows of the board whose features these are."""
KEPT = (5, 10, 20, 50, 100, None)
"""Numbers of features; None for all."""
HELD_OUT_SETS, EVERY = 4, 3


@dataclass(frozen=True)
class Board:
    """The samples of the board.

    Attributes:
        micrographs: shape (samples, height, width).
        target: family of each sample.
        classes: families, in the order of the board.
        condition: number of the condition of each sample, in the order of ``conditions``.
        conditions: their names.
        fold: of the protocol that mixes conditions.
    """

    micrographs: np.ndarray
    target: np.ndarray
    classes: Sequence[str]
    condition: np.ndarray
    conditions: Sequence[str]
    fold: np.ndarray


def board() -> Board:
    """The released samples."""
    benchmark = load_benchmark(BENCHMARK)
    apart = benchmark.truth(SPLIT, "leave-condition-out", TRACK)
    mixed = benchmark.truth(SPLIT, "iid", TRACK)
    number, units = np.asarray(apart.folds), np.asarray(apart.units)
    names = [str(units[number == each][0]) for each in np.unique(number)]
    return Board(
        benchmark.inputs(SPLIT, TRACK)["micrograph"],
        np.asarray(apart.target),
        benchmark.spec.target.classes,  # pyright: ignore[reportAttributeAccessIssue]
        number,
        names,
        np.asarray(mixed.folds),
    )


def features(model: str, samples: Board) -> np.ndarray:
    """What a row of the board reads of every sample, shape (samples, features)."""
    source = catalog().model(model)
    module = import_model(source.folder / "model.py")
    built = module.build(0, "cpu", **source.params)
    return built._features({"micrograph": samples.micrographs})


def right(
    values: np.ndarray, samples: Board, train: np.ndarray, test: np.ndarray, top: int | None = None
) -> np.ndarray:
    """Whether each test sample is named rightly.

    Args:
        values: features of all samples.
        train: rows to fit on; the penalty is chosen with whole conditions of them left out, or
            within the only one with whole folds of the board.
        test: rows to predict.
        top: number of features to keep.
    """
    head = Classifier(top=top)
    groups = samples.condition[train]
    if len(np.unique(groups)) == 1:
        groups = samples.fold[train]
    head.fit(values[train], samples.target[train], samples.classes, groups)
    named = np.asarray(samples.classes)[head.predict(values[test]).argmax(axis=1)]
    return named == samples.target[test]


def matrix(values: np.ndarray, samples: Board) -> list[list[float]]:
    """Accuracy by condition of training (rows) and of test (columns)."""
    count = len(samples.conditions)
    found = np.zeros((count, count))
    everything = np.arange(len(values))
    for row in range(count):
        own = samples.condition == row
        hits = np.zeros(len(values))
        hits[~own] = right(values, samples, everything[own], everything[~own])
        train, test = own & (samples.fold != 0), own & (samples.fold == 0)
        hits[test] = right(values, samples, everything[train], everything[test])
        tested = test | ~own
        found[row] = [hits[tested & (samples.condition == each)].mean() for each in range(count)]
    return found.tolist()


def by_kept(values: np.ndarray, samples: Board, top: int | None) -> list[float]:
    """Accuracy on each condition with so many features, conditions held out four at a time."""
    hits = np.zeros(len(values))
    held_out = samples.condition % HELD_OUT_SETS
    for number in range(HELD_OUT_SETS):
        train = np.flatnonzero(held_out != number)[::EVERY]
        test = np.flatnonzero(held_out == number)
        hits[test] = right(values, samples, train, test, top)
    numbers = range(len(samples.conditions))
    return [float(hits[samples.condition == each].mean()) for each in numbers]


def measure(kept: Path, only: Sequence[str]) -> None:
    """Measure what the file ``kept`` lacks, of some models."""
    done = {tuple(json.loads(line)["unit"]) for line in _lines(kept)}
    samples = board()
    for model in [each for each in MODELS if each in only or not only]:
        parts = ["matrix", *(f"kept {count}" for count in KEPT)]
        if all((model, part) in done for part in parts):
            continue
        values = features(model, samples)
        for part, count in zip(parts, [None, *KEPT], strict=True):
            if (model, part) in done:
                continue
            if part == "matrix":
                result: Any = matrix(values, samples)
            else:
                result = by_kept(values, samples, count)
            line = {"unit": [model, part], "features": values.shape[1], "result": result}
            with kept.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
            print(model, part, f"{np.mean(result):.4f}", flush=True)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def gathered(lines: Sequence[str], samples: Board) -> dict[str, Any]:
    """All parts in one tree: of each model its number of features, its matrix and its curve.

    Raises:
        SystemExit: some are missing.
    """
    found = {tuple(each["unit"]): each for each in map(json.loads, lines)}
    wanted = [(model, f"kept {count}") for model in MODELS for count in KEPT]
    wanted += [(model, "matrix") for model in MODELS]
    if missing := [unit for unit in wanted if unit not in found]:
        raise SystemExit(f"{len(missing)} parts are missing, such as {missing[0]}; run it again")
    return {
        "benchmark": load_benchmark(BENCHMARK).spec.key,
        "conditions": list(samples.conditions),
        "kept": KEPT,
        "results": {
            model: {
                "features": found[model, "matrix"]["features"],
                "matrix": found[model, "matrix"]["result"],
                "by_kept": [found[model, f"kept {count}"]["result"] for count in KEPT],
            }
            for model in MODELS
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="*", default=[], help="models to measure")
    arguments = parser.parse_args()
    kept = settings.home() / "morphology.jsonl"
    measure(kept, arguments.only)
    tree = gathered(_lines(kept), board())
    files.write_text(TARGET, json.dumps(tree) + "\n")


if __name__ == "__main__":
    main()
