"""Hypercolumns of a frozen encoder, and a small network that names each pixel.

PixelNet (Bansal et al. (2017), arXiv 1702.06506) as DeCost et al. (Microsc. Microanal. 25 (2019)
21, DOI 10.1017/S1431927618015635) used it on this steel: what several layers of a pretrained
network hold at a pixel goes into a network of its own, trained on pixels drawn from the training
micrographs. Here the encoder stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from etchmark import settings
from etchmark.errors import UserError
from etchmark.features.extract import parameter_count as encoder_parameters
from etchmark.features.maps import MapReader, Maps, MapSpec, at_pixels, over_picture
from etchmark.features.spec import FULL, EncoderSpec
from etchmark.learning import training
from etchmark.learning.pixels import REGIONS, class_count, draw_pixels, pictures_of, regions, vote
from etchmark.learning.training import Schedule
from etchmark.model import FeatureSeconds, Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild

ROWS_AT_ONCE = 120
"""Rows of a picture that are named at once, so that memory stays small."""
LEAST_SPREAD = 0.01
"""Of a channel, as a share of the median spread of its map."""


class PixelNetwork(nn.Module):
    """Standardisation, hidden layers, one number per class.

    The first layer is linear in the hypercolumn, and so is interpolation: over a whole picture it
    is applied on each map's own grid, before the result is interpolated.

    Args:
        channels: of each map.
        hidden: widths of the hidden layers; none for a linear head.
        classes: how many there are.
        dropout: share of hidden numbers that are left out in training.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(
        self, channels: Sequence[int], hidden: Sequence[int], classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.channels = list(channels)
        width = sum(channels)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        widths = [width, *hidden, classes]
        self.first = nn.Linear(width, widths[1])
        rest: list[nn.Module] = []
        for given, made in pairwise(widths[1:]):
            rest += [nn.ReLU(), nn.Dropout(dropout), nn.Linear(given, made)]
        self.rest = nn.Sequential(*rest)

    def standardise(self, columns: torch.Tensor) -> None:
        """Take mean and spread from training columns, shape (pixels, channels)."""
        self.mean.copy_(columns.mean(dim=0))
        spreads = columns.std(dim=0).split(self.channels)
        # A channel that hardly ever fires would be blown up where it does.
        floors = [LEAST_SPREAD * spread.median() + 1e-6 for spread in spreads]
        kept = [torch.maximum(*pair) for pair in zip(spreads, floors, strict=True)]
        self.spread.copy_(torch.cat(kept))

    def forward(self, columns: torch.Tensor) -> torch.Tensor:
        """Logits, shape (pixels, classes), from hypercolumns (pixels, channels)."""
        return self.rest(self.first((columns - self.mean) / self.spread))

    def over(self, maps: Maps, sides: Sequence[int], padded: Sequence[int]) -> torch.Tensor:
        """Logits of a whole picture, shape (classes, height, width)."""
        weight = self.first.weight / self.spread
        bias = self.first.bias - weight @ self.mean
        total = bias[:, None, None].expand(-1, *sides).clone()
        for part, grid in zip(weight.split(self.channels, dim=1), maps, strict=True):
            reduced = torch.einsum("oc,chw->ohw", part, grid)
            total += over_picture(reduced, sides, padded)
        named = [self.rest(rows.permute(1, 2, 0)) for rows in total.split(ROWS_AT_ONCE, dim=1)]
        return torch.cat(named).permute(2, 0, 1)


class Hypercolumns(Savable):
    """Encoder, drawn pixels, network.

    Args:
        spec: maps that are read.
        hidden: widths of the hidden layers.
        schedule: of the training.
        pixels: drawn of each training micrograph.
        balance: pixels of a class weigh as its share of the pixels to the power of minus this.
        dropout: of the hidden layers.
        vote_in: regions in which a class is voted on, None for none.
        seed: of pixels and weights.
        device: ``cpu`` or ``cuda``.
    """

    saved = ("classes", "channels", "network")

    def __init__(
        self,
        spec: MapSpec,
        hidden: Sequence[int],
        schedule: Schedule,
        *,
        pixels: int,
        balance: float,
        dropout: float,
        vote_in: str | None,
        seed: int,
        device: str,
    ) -> None:
        self.spec, self.hidden, self.schedule = spec, list(hidden), schedule
        self.pixels, self.balance, self.dropout = pixels, balance, dropout
        self.vote_in, self.seed, self.device = vote_in, seed, device
        self.network: PixelNetwork | None = None
        self._reader: MapReader | None = None

    @property
    def reader(self) -> MapReader:
        if self._reader is None:
            self._reader = MapReader(self.spec, self.device, settings.features())
        return self._reader

    def fit(self, train: Samples, validation: Samples | None = None) -> Hypercolumns:
        self.classes = class_count(train.target)
        columns, labels = self._drawn(train)
        torch.manual_seed(self.seed)
        network = PixelNetwork(self.channels, self.hidden, self.classes, self.dropout)
        network = network.to(self.device)
        network.standardise(columns.float())
        counts = torch.bincount(labels, minlength=self.classes).float().clamp_min(1.0)
        weights = (counts / counts.sum()) ** -self.balance
        weights = (weights / (weights * counts).sum() * counts.sum()).to(self.device)

        def loss(rows: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
            chosen = torch.from_numpy(rows)
            logits = network(columns[chosen].to(self.device).float())
            return nn.functional.cross_entropy(logits, labels[chosen].to(self.device), weights)

        who = training.identity(self.seed, self.schedule, network, balance=self.balance)
        training.train(
            network, loss, len(labels), self.schedule, seed=self.seed, device=self.device, who=who
        )
        self.network = network
        return self

    def _drawn(self, train: Samples) -> tuple[torch.Tensor, torch.Tensor]:
        """Hypercolumns and classes of pixels drawn from all training micrographs."""
        generator = np.random.default_rng(self.seed)
        columns, labels = [], []
        for picture, mask in zip(pictures_of(train.inputs), train.target, strict=True):
            maps = self.reader(picture)
            self.channels = [len(each) for each in maps]
            places = draw_pixels(self.pixels, picture.size, generator)
            padded = self.spec.padded(picture.shape)
            columns.append(at_pixels(maps, places, picture.shape, padded).half().cpu())
            labels.append(torch.from_numpy(mask.ravel()[places].astype(np.int64)))
        return torch.cat(columns), torch.cat(labels)

    def predict(self, inputs: Inputs) -> np.ndarray:
        return np.stack([self._mask(picture) for picture in pictures_of(inputs)])

    @torch.inference_mode()
    def _mask(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.network is None:
            raise RuntimeError("the model is not fitted")
        padded = self.spec.padded(picture.shape)
        logits = self.network.over(self.reader(picture), picture.shape, padded)
        if self.vote_in is None:
            return logits.argmax(dim=0).cpu().numpy().astype(np.uint8)
        shares = logits.softmax(dim=0).cpu().numpy()
        return vote(shares, regions(picture, self.vote_in, self.classes))

    def restore(self, state: Mapping[str, Any]) -> None:
        classes, channels = int(state["classes"]), [int(number) for number in state["channels"]]
        self.network = PixelNetwork(channels, self.hidden, classes, self.dropout).to(self.device)
        super().restore(state)

    def parameter_count(self) -> int:
        """What was fitted here; the encoder's own parameters were not."""
        return 0 if self.network is None else training.parameter_count(self.network)

    def total_parameter_count(self) -> int:
        return self.parameter_count() + encoder_parameters(self.spec.encoder)

    def feature_seconds(self) -> FeatureSeconds:
        return FeatureSeconds() if self._reader is None else self._reader.spent()

    def made_with(self) -> dict[str, str]:
        """For the record: which weights, how long a hypercolumn is."""
        channels = getattr(self, "channels", [])
        weights = self.reader.weights.source
        return {
            "encoder": self.spec.encoder.name,
            "weights": weights,
            "channels": str(sum(channels)),
        }


@keeps_arguments
def build(
    seed: int,
    device: str,
    encoder: str,
    layers: Sequence[str],
    hidden: Sequence[int] = (64, 64),
    scales: Sequence[float] = (1.0,),
    weights: str = "pretrained",
    weights_file: str | None = None,
    local: str | None = None,
    options: Mapping[str, Any] | None = None,
    pixels: int = 4000,
    balance: float = 0.0,
    dropout: float = 0.2,
    vote_in: str | None = None,
    schedule: Mapping[str, Any] | None = None,
) -> Hypercolumns:
    """An unfitted model.

    Args:
        seed: of random weights, pixels and the network.
        device: ``cpu`` or ``cuda``.
        encoder: timm's name with its tag, or an encoder of etchmark's own.
        layers: names of the encoder's modules.
        hidden: widths of the hidden layers; empty for a linear head.
        scales: at which the picture is read, multiples of its size.
        weights: ``pretrained`` or ``random``.
        weights_file: safetensors file (``--weights``).
        local: file name in ``ETCHMARK_WEIGHTS``, if it is not ``<encoder>.safetensors``.
        options: further arguments of timm's ``create_model``.
        pixels: drawn of each training micrograph.
        balance: exponent of the class weights, 0 for none.
        dropout: of the hidden layers.
        vote_in: regions in which a class is voted on: ``levels`` or ``slic``.
        schedule: of ``etchmark.learning.training.Schedule``.
    """
    if vote_in is not None and vote_in not in REGIONS:
        raise UserError(f"vote_in {vote_in!r}: give one of {', '.join(REGIONS)}")
    spec = EncoderSpec(
        encoder, weights, seed, local=local, precision=FULL, options=dict(options or {})
    )
    file = None if weights_file is None else Path(weights_file)
    return Hypercolumns(
        MapSpec(spec, tuple(layers), tuple(scales), file),
        hidden,
        Schedule(
            **{"epochs": 20, "batch": 1024, "learning_rate": 2e-3, "weight_decay": 1e-2}
            | dict(schedule or {})
        ),
        pixels=pixels,
        balance=balance,
        dropout=dropout,
        vote_in=vote_in,
        seed=seed,
        device=device,
    )


def load(folder: Path, device: str) -> Hypercolumns:
    return rebuild(build, folder, device)
