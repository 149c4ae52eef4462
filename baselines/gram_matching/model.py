"""Gram matrices of a network's layers, matched by gradient from noise.

Texture synthesis (Gatys, Ecker & Bethge, NeurIPS 2015, DOI 10.48550/arXiv.1505.07376), which Li et
al. (Sci. Rep. 8 (2018) 13461, DOI 10.1038/s41598-018-31571-7) brought to microstructures: the two
phases become black and white, the image that is found is decoded into two phases, and the volume
fraction is corrected. Here one cut by rank does both of the latter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from scipy import ndimage
from torch import nn

from etchmark.errors import UserError
from etchmark.features.encoders import Encoder
from etchmark.features.locating import locate
from etchmark.features.maps import MapSpec
from etchmark.features.networks import VGG
from etchmark.features.spec import FULL, EncoderSpec
from etchmark.learning.periodic import wrap
from etchmark.learning.reconstruction import Exemplar, Reconstruction, checked, generators
from etchmark.learning.statistics_matching import TwoPointLoss, descend, scaled_logits
from etchmark.saving import keeps_arguments, rebuild

SMOOTH_PX = 1.5
"""Blur of the noise that becomes logits: white noise seldom finds a way to large features."""
NOISES = 4
"""Images of white noise that Gram matrices are compared with."""
REACH = 31
"""Largest lag of the two-point function, pixels."""

Maps = Iterator[tuple[str, torch.Tensor]]


def layer_maps(network: VGG, images: torch.Tensor, last: str, *, periodic: bool) -> Maps:
    """Name and map of every layer up to one, each after its rectifier.

    Edges are continued by the image itself, where it is periodic, else by its mirror image,
    whatever the network was trained with: zeros would mark them.

    Args:
        network: whose convolutions are used.
        images: 0 to 1, shape (images, height, width).
        last: name of the deepest layer.
        periodic: whether opposite edges meet.
    """
    maps = network.normalised(images[:, None].expand(-1, 3, -1, -1))
    for number, name in enumerate(network.layer_names):
        convolution: nn.Conv2d = getattr(network, name)
        if number and name.endswith("_1"):
            maps = nn.functional.max_pool2d(maps, 2)
        padded = wrap(maps, 1) if periodic else nn.functional.pad(maps, (1, 1, 1, 1), "reflect")
        maps = nn.functional.conv2d(padded, convolution.weight, convolution.bias).relu()
        yield name, maps
        if name == last:
            return


def gram(maps: torch.Tensor) -> torch.Tensor:
    """Means over pixels of the products of two channels, shape (images, channels, channels)."""
    flat = maps.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


class GramLoss:
    """How far Gram matrices are from the exemplar's, relative to those of noise, mean over layers.

    The sum of the squared differences of a layer is divided by that of white noise with the same
    volume fraction, so that each layer counts for what it says of structure; relative to the size
    of the matrices themselves, the mean grey level would be nearly all that counts.

    Args:
        network: whose maps are read.
        layers: which of them.
        exemplar: whose Gram matrices are wanted.
        device: of the images.
    """

    def __init__(
        self, network: VGG, layers: Sequence[str], exemplar: Exemplar, device: str
    ) -> None:
        self.network, self.layers, self.periodic = network, set(layers), exemplar.periodic
        self.last = max(layers, key=network.layer_names.index)
        with torch.no_grad():
            image = torch.from_numpy(exemplar.image[None]).float().to(device)
            self.targets = dict(self._grams(image))
            draws = generators(0, exemplar.image, count=NOISES)
            noise = np.stack([exemplar.cut(draw.random(exemplar.image.shape)) for draw in draws])
            self.sizes = {
                name: self._apart(matrices, name).mean()
                for name, matrices in self._grams(torch.from_numpy(noise).float().to(device))
            }

    def _grams(self, images: torch.Tensor) -> Maps:
        for name, maps in layer_maps(self.network, images, self.last, periodic=self.periodic):
            if name in self.layers:
                yield name, gram(maps)

    def _apart(self, matrices: torch.Tensor, name: str) -> torch.Tensor:
        return (matrices - self.targets[name]).square().sum(dim=(1, 2))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(len(images), device=images.device)
        for name, matrices in self._grams(images):
            total = total + self._apart(matrices, name) / self.sizes[name]
        return total / len(self.targets)


class GramMatching(Reconstruction):
    """Noise that descends until its Gram matrices are the exemplar's.

    Args:
        spec: the encoder, and the layers whose Gram matrices are matched.
        steps: of each part of the descent.
        spreads: standard deviation of the logits at the start of each part of the descent; none if
            the grey levels themselves are changed, in one part.
        two_point: weight of the two-point function beside the Gram matrices.
        seed: of the noise.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(
        self,
        spec: MapSpec,
        steps: int,
        spreads: Sequence[float],
        two_point: float,
        *,
        seed: int,
        device: str,
    ) -> None:
        super().__init__(seed)
        self.spec, self.steps = spec, steps
        self.spreads, self.two_point, self.device = list(spreads), two_point, device
        self.source: str | None = None
        self._network: VGG | None = None

    @property
    def network(self) -> VGG:
        if self._network is None:
            spec, name = self.spec.encoder, self.spec.encoder.name
            weights = locate(spec, self.spec.file)
            network = Encoder(spec, weights, self.device).network
            if not isinstance(network, VGG):
                raise UserError(f"encoder {name}: give a network of the VGG family")
            if absent := [layer for layer in self.spec.layers if layer not in network.layer_names]:
                known = ", ".join(network.layer_names)
                raise UserError(f"{name}: has no layer {absent[0]!r}; give some of {known}")
            for parameter in network.parameters():
                parameter.requires_grad_(False)
            self._network, self.source = network, weights.source
        return self._network

    def draw(self, exemplar: Exemplar, generators: list[Generator]) -> np.ndarray:
        shape, fraction = exemplar.image.shape, exemplar.fraction
        noise = np.stack([generator.standard_normal(shape) for generator in generators])
        if self.spreads:
            noise = ndimage.gaussian_filter(noise, (0, SMOOTH_PX, SMOOTH_PX), mode="wrap")
        fields = torch.from_numpy(noise).float().to(self.device)
        grams = GramLoss(self.network, self.spec.layers, exemplar, self.device)
        two_point = TwoPointLoss(exemplar, REACH, self.device)

        def loss(images: torch.Tensor) -> torch.Tensor:
            total = grams(images)
            return total + self.two_point * two_point(images) if self.two_point else total

        if not self.spreads:
            fields = descend(fraction + 0.1 * fields, loss, self.steps)
        for spread in self.spreads:
            logits = scaled_logits(fields, fraction, spread)
            fields = descend(logits, lambda fields: loss(fields.sigmoid()), self.steps)
        return np.stack([exemplar.cut(field) for field in fields.cpu().numpy()])

    def total_parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())

    def made_with(self) -> dict[str, str]:
        """For the record: which weights."""
        if self.source is None:
            return {}
        return {"encoder": self.spec.encoder.name, "weights": self.source}


@keeps_arguments
def build(
    seed: int,
    device: str,
    encoder: str,
    layers: Sequence[str],
    weights: str = "pretrained",
    weights_file: str | None = None,
    local: str | None = None,
    steps: int = 120,
    spreads: Sequence[float] = (1.0, 3.0),
    two_point: float = 0.0,
    deepest: int | None = None,
) -> GramMatching:
    """A model.

    Args:
        seed: of the noise and of random weights.
        device: ``cpu`` or ``cuda``.
        encoder: ``vgg19_normalised`` or ``vgg19_16x``.
        layers: names of layers whose Gram matrices are matched, from the first on.
        weights: ``pretrained`` or ``random``.
        weights_file: a file of the encoder's weights, in the place of the usual ones.
        local: file name in ``ETCHMARK_WEIGHTS``, if it is not ``<encoder>.safetensors``.
        steps: of each part of the descent.
        spreads: standard deviation of the logits at the start of each part of the descent; empty if
            the grey levels themselves are changed, in one part.
        two_point: weight of the two-point function beside the Gram matrices.
        deepest: only so many of the layers are matched, the first ones.
    """
    checked({"steps": (steps, 1), "two_point": (two_point, 0)})
    if deepest is not None:
        checked({"deepest": (deepest, 1)})
    spec = EncoderSpec(encoder, weights, seed, local=local, precision=FULL)
    file = None if weights_file is None else Path(weights_file)
    maps = MapSpec(spec, tuple(list(layers)[:deepest]), file=file)
    return GramMatching(maps, steps, spreads, two_point, seed=seed, device=device)


def load(folder: Path, device: str) -> GramMatching:
    return rebuild(build, folder, device)
