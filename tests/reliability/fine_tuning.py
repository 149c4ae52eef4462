"""Whether a pretrained network trained end to end beats one that begins at random; run as a script.

The claim is that of Li et al., Sci. Rep. 8 (2018) 13461, DOI 10.1038/s41598-018-31571-7: a network
that names properties learns from fewer microstructures where it begins with layers of a network
pretrained on photographs. ``layer_cuts.py`` measures features that stay as they are; here the
layers up to a cut and a head on their means over positions are trained together, on
``composite-stiffness-2d``, protocol ``iid``: draw number k predicts fold k, from the training
images that ``layer_cuts.py`` draws.

The encoder is SqueezeNet 1.1, an epoch of which takes seconds on one core, cut early and at its
end. Both begin with the same network but for its weights, which for the one that begins at random
are drawn as torchvision draws them, and have as many steps. The rate is that with the smaller error
on a fifth of the first draw's training images, left out for that, by cut, weights and number of
images. Test images have no part in it.

Every finished training is kept in a file of the hub folder, so that the script continues where it
stopped. Writes ``tests/reliability/fine_tuning.json``, which ``docs/make_transfer.py`` shows.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import layer_cuts
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from etchmark import files, settings
from etchmark.features.encoders import Encoder
from etchmark.features.locating import locate
from etchmark.features.networks import SQUEEZENET
from etchmark.features.spec import EncoderSpec
from etchmark.features.weights import PRETRAINED, RANDOM
from etchmark.learning.training import (
    BetweenLimits,
    FullPrecision,
    Schedule,
    batches,
    identity,
    percent_error,
    train,
)
from etchmark.predictions.arranging import counted
from etchmark.simulation import bounds

TARGET = Path(__file__).with_name("fine_tuning.json")
LOCAL = "squeezenet1_1.onnxzoo_in1k.safetensors"
CUTS, WEIGHTS, SIZES, DRAWS = ("fire3", "fire9"), (PRETRAINED, RANDOM), (300, 2000), 3
RATES, STEPS, BATCH, LEFT_OUT = (3e-4, 2e-3), 600, 32, 0.2
PROTOCOL = "iid"


class Property(nn.Module):
    """A log stiffness from an image and a contrast: layers up to a cut, means, two linear layers.

    Args:
        encoder: SqueezeNet, with the weights that it begins with.
        cut: name of the last layer that is read.
        images: training images, uint8, shape (images, n, n). The means over positions are
            standardised by what they are on these before the training.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, encoder: Encoder, cut: str, images: np.ndarray) -> None:
        super().__init__()
        self.encoder, self.last = encoder.network, encoder.network.layer_names.index(cut)
        grey = encoder.batch([np.zeros((8, 8), np.uint8), np.full((8, 8), 255, np.uint8)])
        # What the two phases look like to the encoder, black and white.
        self.register_buffer("phases", grey[:, :, 0, 0].clone())
        with torch.inference_mode():
            means = torch.cat(
                [self.means(torch.from_numpy(images[part])) for part in batches(len(images), BATCH)]
            )
        self.register_buffer("mean", means.mean(0).clone())
        self.register_buffer("spread", means.std(0).clamp_min(1e-6).clone())
        self.head = FullPrecision(nn.Linear(means.shape[1] + 1, 128), nn.SiLU(), nn.Linear(128, 1))

    def means(self, images: torch.Tensor) -> torch.Tensor:
        """Means over positions after the cut, shape (images, channels)."""
        shown = self.phases[images.long()].permute(0, 3, 1, 2)  # type: ignore[operator]
        *_, maps = self.encoder.forward_maps(shown, self.last)
        return maps.float().mean((2, 3))

    def forward(self, images: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        means = (self.means(images) - self.mean) / self.spread
        return self.head(torch.cat([means, condition[:, None]], 1))[:, 0]


@dataclass(frozen=True)
class Training:
    """How one network is trained.

    Attributes:
        cut, weights: of the encoder.
        rate: the highest of the schedule.
        draw: decides the training images, and the seed of everything random.
    """

    cut: str
    weights: str
    rate: float
    draw: int


def _limits(samples: layer_cuts.Board, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of Reuss and Voigt."""
    fraction = samples.inputs["microstructure"][rows].mean(axis=(1, 2), dtype=np.float64)
    contrast = samples.inputs["contrast"][rows].astype(np.float64)
    return bounds.reuss(fraction, contrast, ndim=2), bounds.voigt(fraction, contrast, ndim=2)


def turned(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """An image shifted and mirrored at random, which leaves the stiffness as it is."""
    down, across = (slice(None, None, step) for step in generator.choice([-1, 1], 2))
    return np.roll(image[down, across], generator.integers(0, image.shape), axis=(0, 1))


def error(
    training: Training, samples: layer_cuts.Board, rows: np.ndarray, test: np.ndarray
) -> float:
    """Train on some rows; mean absolute percentage error on others."""
    images = np.asarray(samples.inputs["microstructure"], dtype=np.uint8)
    logs = np.log(samples.inputs["contrast"].astype(np.float64))
    centre, width = float(logs[rows].mean()), float(logs[rows].std())
    condition = torch.from_numpy(((logs - centre) / width).astype(np.float32))
    spec = EncoderSpec(
        SQUEEZENET,
        weights=training.weights,
        size=images.shape[-1],
        crop=1.0,
        local=LOCAL,
        seed=training.draw,
    )
    torch.manual_seed(training.draw)
    network = Property(Encoder(spec, locate(spec)), training.cut, images[rows])
    scale = BetweenLimits(samples.target[rows], *_limits(samples, rows))

    def loss(chosen: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
        batch = np.stack([turned(images[rows[at]], generator) for at in chosen])
        found = network(torch.from_numpy(batch), condition[rows[chosen]])
        difference = scale.log_ratio(found, chosen)
        # Relative errors: squared below 5 %, absolute above, as cnn2d has it.
        return functional.smooth_l1_loss(difference, torch.zeros_like(difference), beta=0.05)

    epochs = max(1, round(STEPS * BATCH / len(rows)))
    schedule = Schedule(epochs, BATCH, training.rate, weight_decay=0.01)
    who = identity(training.draw, schedule, network)
    train(network, loss, len(rows), schedule, seed=training.draw, device="cpu", who=who)
    with torch.inference_mode():
        found = torch.cat(
            [
                network(torch.from_numpy(images[part]), condition[part])
                for part in np.array_split(test, -(-len(test) // 64))
            ]
        )
    return percent_error(
        scale.values(found.double().numpy(), *_limits(samples, test)), samples.target[test]
    )


def units() -> Iterator[tuple[str, str, int, str, float, int]]:
    """Cut, weights, size, ``rate`` or ``test``, rate and draw of everything that may be trained."""
    for cut in CUTS:
        for weights in WEIGHTS:
            for size in SIZES:
                for rate in RATES:
                    yield cut, weights, size, "rate", rate, 0
                for draw in range(DRAWS):
                    yield cut, weights, size, "test", 0.0, draw


def rows_of(
    samples: layer_cuts.Board, what: str, size: int, draw: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows to predict.

    Args:
        what: ``test`` predicts the fold of the draw; ``rate`` predicts the last fifth of its
            training images and trains on the others.
    """
    (test,) = layer_cuts.tested(PROTOCOL, draw, samples.folds[PROTOCOL])
    rows = layer_cuts.drawn(len(samples.target), test, size, draw)
    if what == "test":
        return rows, test
    kept = round(size * (1 - LEFT_OUT))
    return rows[:kept], rows[kept:]


def best_rate(done: dict[tuple[Any, ...], float], cut: str, weights: str, size: int) -> float:
    """The rate with the smaller error on images left out of the first draw's training images."""
    return min(RATES, key=lambda rate: done[cut, weights, size, "rate", rate, 0])


def kept_errors(lines: Sequence[str]) -> dict[tuple[Any, ...], float]:
    """Errors of the finished trainings of as many steps."""
    found = map(json.loads, lines)
    return {tuple(line["unit"]): line["error"] for line in found if line["steps"] == STEPS}


def measure(kept: Path, only: Sequence[str]) -> None:
    """Train what the file ``kept`` lacks, of some cuts; of all if none is named."""
    done = kept_errors(layer_cuts.kept_lines(kept))
    samples = layer_cuts.board()
    for unit in units():
        if unit in done or (only and unit[0] not in only):
            continue
        cut, weights, size, what, rate, draw = unit
        rate = rate or best_rate(done, cut, weights, size)
        began = time.process_time()
        found = error(
            Training(cut, weights, rate, draw), samples, *rows_of(samples, what, size, draw)
        )
        spent = time.process_time() - began
        done[unit] = found
        with kept.open("a", encoding="utf-8") as stream:
            stream.write(
                json.dumps({"unit": unit, "steps": STEPS, "error": found, "cpu_seconds": spent})
                + "\n"
            )
        print(*unit, f"{found:.2f} %, {spent:.0f} s", flush=True)


def gathered(lines: Sequence[str]) -> dict[str, Any]:
    """All trainings in one tree: cut, weights, size; the chosen rate and the errors of the draws.

    A cut up to which nothing was trained is left out.

    Raises:
        SystemExit: trainings of the others are missing.
    """
    done = kept_errors(lines)
    cuts = [cut for cut in CUTS if any(unit[0] == cut for unit in done)]
    missing = [unit for unit in units() if unit[0] in cuts and unit not in done]
    if missing or not cuts:
        missing = missing or list(units())
        raise SystemExit(
            f"{counted(len(missing), 'training')} missing, such as {missing[0]}; run it again"
        )
    results: dict[str, Any] = {}
    for cut in cuts:
        for weights in WEIGHTS:
            for size in SIZES:
                results.setdefault(cut, {}).setdefault(weights, {})[str(size)] = {
                    "rate": best_rate(done, cut, weights, size),
                    "errors": [
                        done[cut, weights, size, "test", 0.0, draw] for draw in range(DRAWS)
                    ],
                }
    spent = sum(json.loads(line)["cpu_seconds"] for line in lines)
    return {
        "benchmark": layer_cuts.load_benchmark(layer_cuts.BENCHMARK).spec.key,
        "rates": RATES,
        "steps": STEPS,
        "cpu_hours": round(spent / 3600, 1),
        "results": results,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="*", default=[], help="cuts to train up to")
    kept = settings.home() / "fine_tuning.jsonl"
    measure(kept, parser.parse_args().only)
    tree = gathered(layer_cuts.kept_lines(kept))
    files.write_text(TARGET, json.dumps(tree, indent=1) + "\n")


if __name__ == "__main__":
    main()
