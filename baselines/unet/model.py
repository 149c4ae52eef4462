"""Segmentation networks trained end to end: U-Net, FCN-8s, and a U-Net on a frozen encoder.

U-Net: Ronneberger, Fischer & Brox, MICCAI 2015, DOI 10.1007/978-3-319-24574-4_28. FCN-8s: Long,
Shelhamer & Darrell, CVPR 2015, DOI 10.1109/CVPR.2015.7298965. Both are trained on crops of the
training micrographs, turned, mirrored and changed in grey, with cross-entropy and the soft Dice
loss side by side (Isensee et al., Nat. Methods 18 (2021) 203, DOI 10.1038/s41592-020-01008-z).
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
from torch.nn import functional

from etchmark import settings
from etchmark.errors import UserError
from etchmark.features.extract import parameter_count as encoder_parameters
from etchmark.features.maps import MapReader, Maps, MapSpec
from etchmark.features.spec import FULL, EncoderSpec
from etchmark.learning import training
from etchmark.learning.crops import FrozenMaps, Pictures, dice_and_entropy, padded, standardised
from etchmark.learning.pixels import class_count, pictures_of
from etchmark.learning.training import Schedule
from etchmark.model import FeatureSeconds, Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild

DESIGNS = ("unet", "fcn8s")
# --- networks ----------------------------------------------------------------------------------


def block(given: int, made: int) -> nn.Sequential:
    """Two 3 x 3 convolutions, each with batch normalisation and a rectifier."""
    layers: list[nn.Module] = []
    for width in (given, made):
        layers += [
            nn.Conv2d(width, made, 3, padding=1, bias=False),
            nn.BatchNorm2d(made),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def enlarged(given: torch.Tensor, times: int) -> torch.Tensor:
    """A map with sides so many times as long."""
    if times == 1:
        return given
    return functional.interpolate(given, scale_factor=times, mode="bilinear", align_corners=False)


class Decoder(nn.Module):
    """From maps of falling resolution, each half of the one before, to one number per class.

    Args:
        channels: of the maps, the finest first.
        widths: of the decoder at each resolution but the coarsest.
        classes: how many there are.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int], classes: int) -> None:
        super().__init__()
        below = [*widths[1:], channels[-1]]
        self.blocks = nn.ModuleList(
            block(own + deeper, made)
            for own, deeper, made in zip(channels[:-1], below, widths, strict=True)
        )
        self.last = nn.Conv2d(widths[0], classes, 1)

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        made = maps[-1]
        for own, layer in zip(reversed(maps[:-1]), reversed(self.blocks), strict=True):
            made = layer(torch.cat([own, enlarged(made, 2)], dim=1))
        return self.last(made)


class UNet(nn.Module):
    """Logits (rows, classes, height, width) from grey pictures (rows, 1, height, width).

    Sides must be multiples of ``multiple``.

    Args:
        widths: of the levels, the finest first; each has half the side of the one before.
        classes: how many there are.
        shrink: picture and logits have sides so many times shorter than what is given.
    """

    def __init__(self, widths: Sequence[int], classes: int, shrink: int) -> None:
        super().__init__()
        self.shrink, self.multiple = shrink, shrink * 2 ** (len(widths) - 1)
        self.encoder = nn.ModuleList(block(*pair) for pair in pairwise([1, *widths]))
        self.decoder = Decoder(widths, widths[:-1], classes)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        maps = [self.encoder[0](functional.avg_pool2d(pictures, self.shrink))]
        for layer in self.encoder[1:]:
            maps.append(layer(functional.max_pool2d(maps[-1], 2)))
        return self.decoder(maps)


class FCN8s(nn.Module):
    """Like ``UNet``; classes are named on the three coarsest grids, enlarged and added.

    With five halvings, that of ``shrink`` counted, the finest of the three has an eighth of the
    side, as in FCN-8s.
    """

    def __init__(self, widths: Sequence[int], classes: int, shrink: int) -> None:
        super().__init__()
        self.shrink, self.multiple = shrink, shrink * 2 ** len(widths)
        self.encoder = nn.ModuleList(block(*pair) for pair in pairwise([1, *widths]))
        self.scores = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in widths[-3:])

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        maps, made = [], functional.avg_pool2d(pictures, self.shrink)
        for layer in self.encoder:
            made = functional.max_pool2d(layer(made), 2)
            maps.append(made)
        fine, middle, coarse = (
            score(each) for score, each in zip(self.scores, maps[-3:], strict=True)
        )
        total = fine + enlarged(middle + enlarged(coarse, 2), 2)
        return enlarged(total, self.multiple // (4 * self.shrink))


class OverMaps(nn.Module):
    """A U-Net whose encoder is frozen elsewhere: a decoder over the encoder's maps.

    Args:
        channels: of the maps; each has half the side of the one before.
        widths: of the decoder; as many, the last for the coarsest map.
        classes: how many there are.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int], classes: int) -> None:
        super().__init__()
        self.multiple = 2 ** (len(channels) - 1)
        self.reducing = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(given), nn.Conv2d(given, made, 1), nn.ReLU(inplace=True))
            for given, made in zip(channels, widths, strict=True)
        )
        self.decoder = Decoder(widths, widths[:-1], classes)

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        return self.decoder([layer(each) for layer, each in zip(self.reducing, maps, strict=True)])


# --- the model ---------------------------------------------------------------------------------


class Segmenter(Savable):
    """A network over whole pictures, trained on crops.

    Args:
        design: ``unet`` or ``fcn8s``; not read with an encoder.
        widths: of the network.
        spec: maps of a frozen encoder; None to learn from the grey levels.
        shrink: how many times shorter the sides are that the network reads; not with an encoder.
        crop: side of a crop, pixels.
        schedule: of the training.
        rows: crops of an epoch.
        seed: of weights and crops.
        device: ``cpu`` or ``cuda``.
    """

    saved = ("classes", "channels", "network")

    def __init__(
        self,
        design: str,
        widths: Sequence[int],
        spec: MapSpec | None,
        schedule: Schedule,
        *,
        shrink: int,
        crop: int,
        rows: int,
        seed: int,
        device: str,
    ) -> None:
        self.design, self.widths, self.spec = design, list(widths), spec
        self.schedule, self.shrink, self.crop, self.rows = schedule, shrink, crop, rows
        self.seed, self.device = seed, device
        self.channels: list[int] = []
        self.network: nn.Module | None = None
        self._reader: MapReader | None = None

    @property
    def reader(self) -> MapReader | None:
        if self._reader is None and self.spec is not None:
            self._reader = MapReader(self.spec, self.device, settings.features())
        return self._reader

    def _untrained(self) -> Any:
        """An untrained network for as many classes and channels as are known."""
        if self.spec is not None:
            network = OverMaps(self.channels, self.widths, self.classes)
        else:
            design = UNet if self.design == "unet" else FCN8s
            network = design(self.widths, self.classes, self.shrink)
        return network.to(self.device).to(memory_format=torch.channels_last)

    def fit(self, train: Samples, validation: Samples | None = None) -> Segmenter:
        self.classes = class_count(train.target)
        pictures = pictures_of(train.inputs)
        views: list[Maps] = []
        if (reader := self.reader) is not None:
            views = [reader(each) for each in pictures]
            views += [reader(np.ascontiguousarray(each[:, ::-1])) for each in pictures]
            self.channels = channels_of(
                views[0], reader.spec.padded(pictures[0].shape), self.widths
            )
        torch.manual_seed(self.seed)
        network = self._untrained()
        if views:
            masks = [*train.target, *(mask[:, ::-1].copy() for mask in train.target)]
            crops: Any = FrozenMaps(views, masks, self.crop, network.multiple)
        else:
            crops = Pictures(pictures, list(train.target), self.crop, network.multiple)

        def loss(rows: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
            given, labels = crops(rows, generator)
            # Crops are turned at random, so that no corner of a coarser pixel is preferred.
            labels = labels[:, :: self.shrink, :: self.shrink].to(self.device)
            return dice_and_entropy(network(self._here(given)), labels)

        who = training.identity(self.seed, self.schedule, network, crop=self.crop, rows=self.rows)
        training.train(
            network, loss, self.rows, self.schedule, seed=self.seed, device=self.device, who=who
        )
        self.network = network
        return self

    def _here(self, given: torch.Tensor | list[torch.Tensor]) -> Any:
        if isinstance(given, list):
            return [each.to(self.device) for each in given]
        return given.to(self.device, memory_format=torch.channels_last)

    def predict(self, inputs: Inputs) -> np.ndarray:
        return np.stack([self._mask(picture) for picture in pictures_of(inputs)])

    @torch.inference_mode()
    def _mask(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.network is None:
            raise RuntimeError("the model is not fitted")
        network: Any = self.network
        if (reader := self.reader) is not None:
            given: Any = [each[None] for each in reader(picture)]
        else:
            given = padded(standardised(picture), network.multiple)[None]
        classes = enlarged(network(self._here(given)), self.shrink)[0].argmax(dim=0)
        return classes[: picture.shape[0], : picture.shape[1]].cpu().numpy().astype(np.uint8)

    def restore(self, state: Mapping[str, Any]) -> None:
        self.classes = int(state["classes"])
        self.channels = [int(number) for number in state["channels"]]
        self.network = self._untrained()
        super().restore(state)

    def parameter_count(self) -> int:
        """What was fitted here; a frozen encoder's own parameters were not."""
        return 0 if self.network is None else training.parameter_count(self.network)

    def total_parameter_count(self) -> int:
        frozen = 0 if self.spec is None else encoder_parameters(self.spec.encoder)
        return self.parameter_count() + frozen

    def feature_seconds(self) -> FeatureSeconds:
        return FeatureSeconds() if self._reader is None else self._reader.spent()

    def made_with(self) -> dict[str, str]:
        """For the record: which weights the encoder has."""
        if self.spec is None or self.reader is None:
            return {}
        return {"encoder": self.spec.encoder.name, "weights": self.reader.weights.source}


def channels_of(maps: Maps, sides: Sequence[int], widths: Sequence[int]) -> list[int]:
    """Channels of maps that a decoder can read: one per width, each half the one before.

    Raises:
        UserError: there are others.
    """
    found = [tuple(each.shape[1:]) for each in maps]
    needed = [(sides[0] >> level, sides[1] >> level) for level in range(len(widths))]
    if found != needed:
        shown = ", ".join(" x ".join(map(str, each)) for each in found)
        raise UserError(
            f"layers: their maps have {shown} points; choose {len(widths)} layers, as many as"
            f" widths, the first with a point per pixel, each with half the side of the one before"
        )
    return [len(each) for each in maps]


@keeps_arguments
def build(
    seed: int,
    device: str,
    *,
    design: str = "unet",
    widths: Sequence[int] = (8, 16, 32, 64, 128),
    shrink: int = 1,
    encoder: str | None = None,
    layers: Sequence[str] = (),
    weights: str = "pretrained",
    weights_file: str | None = None,
    local: str | None = None,
    crop: int = 256,
    rows: int = 80,
    schedule: Mapping[str, Any] | None = None,
) -> Segmenter:
    """An untrained model.

    Args:
        seed: of weights and crops.
        device: ``cpu`` or ``cuda``.
        design: ``unet`` or ``fcn8s``; not read with an encoder.
        widths: channels of the levels, the finest first.
        shrink: how many times shorter the sides are that the network reads; 1 with an encoder.
        encoder: a frozen one, by its name, whose maps a U-Net's decoder reads.
        layers: names of its modules, one per level.
        weights: ``pretrained`` or ``random``, of the encoder.
        weights_file: safetensors file (``--weights``).
        local: file name in ``ETCHMARK_WEIGHTS``, if it is not ``<encoder>.safetensors``.
        crop: side of a crop, pixels.
        rows: crops of an epoch.
        schedule: of ``etchmark.learning.training.Schedule``.
    """
    if design not in DESIGNS:
        raise UserError(f"design {design!r}: give one of {', '.join(DESIGNS)}")
    spec = None
    if encoder is not None:
        frozen = EncoderSpec(encoder, weights, seed, local=local, precision=FULL)
        file = None if weights_file is None else Path(weights_file)
        spec = MapSpec(frozen, tuple(layers), file=file)
    given = {"epochs": 48, "batch": 4, "learning_rate": 1e-2, "weight_decay": 1e-2}
    return Segmenter(
        design,
        widths,
        spec,
        Schedule(**given | dict(schedule or {})),
        shrink=shrink,
        crop=crop,
        rows=rows,
        seed=seed,
        device=device,
    )


def load(folder: Path, device: str) -> Segmenter:
    return rebuild(build, folder, device)
