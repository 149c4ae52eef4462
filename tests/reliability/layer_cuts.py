"""After which layer to cut an image encoder, by the number of training images; run as a script.

The claim is that of Li et al., Sci. Rep. 8 (2018) 13461, DOI 10.1038/s41598-018-31571-7: a network
pretrained on photographs serves microstructures too, and few of its layers are enough. Here on
``composite-stiffness-2d``: maps after one layer, averaged over positions, and the regression that
the boards use, with one number of principal components. Each draw takes so many training images at
random, smaller sets inside larger ones. ``leave-pair-out`` predicts every pair of morphologies from
images of the others; of ``iid``, draw number k predicts fold k. Predictions beyond the bounds of
Reuss and Voigt, which the image and the contrast give, are put on them.

A cut is also chosen as a user would: the smallest error on inner folds of the training images. Test
images have no part in that, and the errors after all other cuts are there to see what it costs.

Features are computed once and stored. Every finished draw is kept in a file of the hub folder, so
that the script continues where it stopped. Writes ``tests/reliability/layer_cuts.json``, from which
``docs/make_transfer.py`` makes the page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from etchmark import files, settings
from etchmark.artefacts.loading import import_model
from etchmark.catalog import catalog
from etchmark.data.loading import load_benchmark
from etchmark.features.extract import features
from etchmark.features.images import grey
from etchmark.features.spec import EncoderSpec, Output
from etchmark.features.weights import PRETRAINED, RANDOM
from etchmark.learning.surfaces import Data, PolynomialRidge
from etchmark.model import Samples
from etchmark.simulation import bounds

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "tests" / "reliability" / "layer_cuts.json"
BENCHMARK, TRACK, COMPONENTS = "composite-stiffness-2d", "images", 16
ENCODERS = ("vgg19-normalised-cut", "vgg19-pruned-cut", "squeezenet-cut")
"""Variants of foundation_features, whose encoder and layers these are."""
REFERENCE = "two_point_statistics/short-lags"
SIZES, DRAWS = (100, 300, 1000, 2000), 5
PROTOCOLS = ("leave-pair-out", "iid")


@dataclass(frozen=True)
class Board:
    """The samples of the board.

    Attributes:
        inputs: images and contrasts.
        target: stiffness, shape (samples,).
        folds: fold of each sample, by protocol.
        morphologies: of each sample.
        limits: bounds of Reuss and Voigt of each sample; None for no limits.
    """

    inputs: Mapping[str, np.ndarray]
    target: np.ndarray
    folds: Mapping[str, np.ndarray]
    morphologies: np.ndarray
    limits: tuple[np.ndarray, np.ndarray] | None = None

    def percent_errors(self, predicted: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Absolute percentage errors of predictions, brought between the limits."""
        if self.limits is not None:
            low, high = self.limits
            predicted = np.clip(predicted, low[rows], high[rows])
        return 100 * np.abs(predicted / self.target[rows] - 1)


@dataclass(frozen=True)
class Errors:
    """Absolute percentage errors of the test images after each cut.

    Attributes:
        after: shape (layers, test images).
        chosen: number of the layer with the smallest error inside the training images.
    """

    after: np.ndarray
    chosen: int


def board() -> Board:
    """The released samples."""
    benchmark = load_benchmark(BENCHMARK)
    columns = benchmark.inputs("samples", TRACK)
    truths = {name: benchmark.truth("samples", name, TRACK) for name in PROTOCOLS}
    fraction = columns["microstructure"].mean(axis=(1, 2), dtype=np.float64)
    contrast = columns["contrast"].astype(np.float64)
    return Board(
        {name: columns[name] for name in ("microstructure", "contrast")},
        np.asarray(truths["iid"].target, dtype=np.float64),
        {name: np.asarray(truth.folds) for name, truth in truths.items()},
        truths["iid"].units,
        (bounds.reuss(fraction, contrast, ndim=2), bounds.voigt(fraction, contrast, ndim=2)),
    )


def tested(protocol: str, draw: int, folds: np.ndarray) -> list[np.ndarray]:
    """Rows of each test fold of a draw."""
    numbers = np.unique(folds)
    if protocol == "iid":
        numbers = numbers[[draw]]
    return [np.flatnonzero(folds == number) for number in numbers]


def drawn(rows: int, test: np.ndarray, size: int, draw: int) -> np.ndarray:
    """Training rows: the first of all that are not tested, in an order that the draw decides."""
    rest = np.setdiff1d(np.arange(rows), test)
    return np.random.default_rng(draw).permutation(rest)[:size]


def errors(
    layers: Sequence[np.ndarray],
    data: Data,
    samples: Board,
    train: np.ndarray,
    test: np.ndarray,
) -> Errors:
    """Fit after every layer and predict the test images.

    Args:
        layers: features after each layer, shape (samples, channels).
        data: scalars, targets and groups of all samples; its features are not read.
        samples: what the errors are those of.
        train: rows to fit on, within which the cut is chosen.
        test: rows to predict.
    """
    groups = None if data.groups is None else data.groups[train]
    after, inside = [], []
    for values in layers:
        head = PolynomialRidge(2, components=(COMPONENTS,))
        head.fit(Data(values[train], data.scalars[train], data.target[train], groups))
        predicted = head.predict(values[test], data.scalars[test])
        after.append(samples.percent_errors(predicted, test))
        inside.append(head.left_out_error)
    return Errors(np.stack(after), int(np.argmin(inside)))


def one_draw(
    layers: Sequence[np.ndarray], samples: Board, protocol: str, size: int, draw: int
) -> dict[str, Any]:
    """Mean error after every cut, and after those that the folds of a draw choose.

    Returns:
        ``after``: mean error per layer, in %; ``chosen``: number of the layer per fold;
        ``after_chosen``: mean error after the chosen layers, in %.
    """
    log_contrast = np.log(samples.inputs["contrast"].astype(np.float64))[:, None]
    groups = samples.morphologies if protocol == "leave-pair-out" else None
    data = Data(np.empty((len(samples.target), 0)), log_contrast, samples.target, groups)
    results = [
        errors(layers, data, samples, drawn(len(samples.target), test, size, draw), test)
        for test in tested(protocol, draw, samples.folds[protocol])
    ]
    return {
        "after": np.concatenate([each.after for each in results], axis=1).mean(axis=1).tolist(),
        "chosen": [each.chosen for each in results],
        "after_chosen": float(np.concatenate([each.after[each.chosen] for each in results]).mean()),
    }


def reference(samples: Board, protocol: str, size: int, draw: int) -> float:
    """Mean error of two-point statistics at short lags, from the same training images."""
    source = catalog().model(REFERENCE)
    module = import_model(source.folder / "model.py")
    found = []
    for test in tested(protocol, draw, samples.folds[protocol]):
        train = drawn(len(samples.target), test, size, draw)
        groups = samples.morphologies[train] if protocol == "leave-pair-out" else None

        def part(rows: np.ndarray) -> dict[str, np.ndarray]:
            return {name: values[rows] for name, values in samples.inputs.items()}

        model = module.build(0, "cpu", **source.params)
        model.fit(Samples(train.astype(str), part(train), samples.target[train], groups), None)
        found.append(samples.percent_errors(model.predict(part(test)), test))
    return float(np.concatenate(found).mean())


def cuts(variant: str, weights: str, samples: Board) -> tuple[list[str], list[np.ndarray]]:
    """Names of an encoder's layers, and features of all samples after each."""
    params = catalog().model(f"foundation_features/{variant}").params
    images = samples.inputs["microstructure"]
    spec = EncoderSpec(
        params["encoder"],
        weights=PRETRAINED,
        size=images.shape[-1],
        crop=params["crop"],
        precision=params.get("precision", "auto"),
        local=params["local"],
    )
    outputs = [Output(layer, params["pooling"]) for layer in params["layers"]]
    made = features(
        grey("microstructure", images),
        spec if weights == PRETRAINED else replace(spec, weights=RANDOM),
        outputs,
        folder=settings.features(),
    )
    ends = np.cumsum(made.widths)[:-1]
    return list(params["layers"]), np.split(made.values, ends, axis=1)


def _units() -> Iterator[tuple[str, str, str, int, int]]:
    """Encoder, weights, protocol, size and draw of everything that is measured."""
    for encoder in (REFERENCE, *reversed(ENCODERS)):
        for weights in (PRETRAINED,) if encoder == REFERENCE else (PRETRAINED, RANDOM):
            for protocol in PROTOCOLS:
                for size in SIZES:
                    for draw in range(DRAWS):
                        yield encoder, weights, protocol, size, draw


def measure(kept: Path, only: Sequence[str]) -> None:
    """Measure what the file ``kept`` lacks, of some encoders."""
    done = {tuple(json.loads(line)["unit"]) for line in kept_lines(kept)}
    samples = board()
    loaded: tuple[str, str] | None = None
    names: list[str] = []
    layers: list[np.ndarray] = []
    for unit in _units():
        encoder, weights, protocol, size, draw = unit
        if unit in done or not (encoder in only or not only):
            continue
        if encoder == REFERENCE:
            result: dict[str, Any] = {"error": reference(samples, protocol, size, draw)}
        else:
            if loaded != (encoder, weights):
                names, layers = cuts(encoder, weights, samples)
                loaded = encoder, weights
            result = {"layers": names, **one_draw(layers, samples, protocol, size, draw)}
        with kept.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"unit": unit, **result}) + "\n")
        print(*unit, flush=True)


def kept_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def gathered(lines: Sequence[str]) -> dict[str, Any]:
    """All draws in one tree: encoder, weights, protocol, size; a list over draws of each number.

    An encoder of which nothing was measured is left out.

    Raises:
        SystemExit: draws of the others are missing.
    """
    found = {tuple(each.pop("unit")): each for each in map(json.loads, lines)}
    begun = {REFERENCE, *(unit[0] for unit in found)}
    units = [unit for unit in _units() if unit[0] in begun]
    missing = [unit for unit in units if unit not in found]
    if missing or begun == {REFERENCE}:
        missing = missing or [(ENCODERS[0],)]
        raise SystemExit(f"{len(missing)} draws are missing, such as {missing[0]}; run it again")
    tree: dict[str, Any] = {
        "benchmark": load_benchmark(BENCHMARK).spec.key,
        "components": COMPONENTS,
        "sizes": SIZES,
        "draws": DRAWS,
        "layers": {unit[0]: each["layers"] for unit, each in found.items() if "layers" in each},
        "results": {},
    }
    for unit in units:
        encoder, weights, protocol, size, _ = unit
        place = tree["results"]
        for key in (encoder, weights, protocol, str(size)):
            place = place.setdefault(key, {})
        for name, value in found[unit].items():
            if name != "layers":
                place.setdefault(name, []).append(value)
    return tree


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="*", default=[], help="encoders to measure")
    arguments = parser.parse_args()
    kept = settings.home() / "layer_cuts.jsonl"
    measure(kept, arguments.only)
    tree = gathered(kept_lines(kept))
    files.write_text(TARGET, json.dumps(tree, indent=1) + "\n")


if __name__ == "__main__":
    main()
