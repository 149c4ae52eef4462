"""Convolutional encoder, gated spatiotemporal attention, convolutional decoder: frames at once.

The family of SimVP with gSTA. Sources: Gao et al., CVPR 2022, DOI 10.1109/CVPR52688.2022.00317, for
encoder, translator and decoder; Tan et al. (2022), arXiv 2211.12509, for the attention; Guo et al.,
Comput. Vis. Media 9 (2023) 733, DOI 10.1007/s41095-023-0364-2, for its large kernel in two parts.
Every layer is a convolution: a network trained on one size of frame runs on any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from etchmark.learning.forecasting import Forecaster, FrameNetwork, PaddedConv, Plan
from etchmark.learning.periodic import channels_last
from etchmark.learning.training import Schedule
from etchmark.saving import keeps_arguments, rebuild

KERNEL, DILATION = 7, 3
"""Of the second part of the large kernel, which with the first covers 21 + 2 pixels."""


class Layer(nn.Module):
    """Convolution, normalisation in two groups and SiLU; halves or doubles the side if asked to."""

    def __init__(
        self, given: int, made: int, *, periodic: bool, halve: bool = False, double: bool = False
    ) -> None:
        super().__init__()
        self.doubling = double
        self.conv = PaddedConv(
            given, 4 * made if double else made, periodic=periodic, stride=2 if halve else 1
        )
        self.norm = nn.GroupNorm(2, made)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        made = self.conv(given)
        if self.doubling:
            made = functional.pixel_shuffle(made, 2)
        return functional.silu(self.norm(made))


class Attention(nn.Module):
    """Features weighted by a gate, both from a wide neighbourhood in space and all frames.

    Source: Tan et al. (2022), arXiv 2211.12509 (gSTA).
    """

    def __init__(self, width: int, *, periodic: bool) -> None:
        super().__init__()
        self.before = nn.Conv2d(width, width, 1)
        self.near = PaddedConv(width, width, 5, periodic=periodic, groups=width)
        self.far = PaddedConv(
            width, width, KERNEL, periodic=periodic, dilation=DILATION, groups=width
        )
        self.mix = nn.Conv2d(width, 2 * width, 1)
        self.after = nn.Conv2d(width, width, 1)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        wide = self.far(self.near(functional.gelu(self.before(given))))
        gate, value = self.mix(wide).chunk(2, 1)
        return self.after(torch.sigmoid(gate) * value)


class Block(nn.Module):
    """Attention, then a network at every pixel that also sees its neighbours; both added, weighted.

    The weights are small at first, so that a deep translator starts near the identity.
    """

    def __init__(self, width: int, expansion: int, *, periodic: bool) -> None:
        super().__init__()
        inner = width * expansion
        self.attention = nn.Sequential(nn.GroupNorm(1, width), Attention(width, periodic=periodic))
        self.network = nn.Sequential(
            nn.GroupNorm(1, width),
            nn.Conv2d(width, inner, 1),
            PaddedConv(inner, inner, periodic=periodic, groups=inner),
            nn.GELU(),
            nn.Conv2d(inner, width, 1),
        )
        self.weights = nn.Parameter(torch.full((2, width, 1, 1), 1e-2))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        given = given + self.weights[0] * self.attention(given)
        return given + self.weights[1] * self.network(given)


class Translator(nn.Module):
    """Blocks over the features of all frames side by side."""

    def __init__(
        self, width: int, hidden: int, blocks: int, expansion: int, *, periodic: bool
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, hidden, 1)
        self.blocks = nn.Sequential(
            *(Block(hidden, expansion, periodic=periodic) for _ in range(blocks))
        )
        self.last = nn.Conv2d(hidden, width, 1)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return self.last(self.blocks(self.first(given)))


class FrameTranslator(nn.Module):
    """As many frames as are given, shape (rows, frames, n, n) to the same.

    Args:
        frames: given and made.
        spatial: channels of encoder and decoder.
        hidden: channels of the translator.
        depth: layers of the encoder, and of the decoder; every second one halves the side.
        blocks: of the translator.
        expansion: widening of the network in a block.
        periodic: opposite edges meet; else there are zeros beyond them.
    """

    def __init__(
        self,
        frames: int,
        spatial: int,
        hidden: int,
        depth: int,
        blocks: int,
        expansion: int,
        *,
        periodic: bool,
    ) -> None:
        super().__init__()
        self.frames = frames
        halving = [number % 2 == 1 for number in range(depth)]
        widths = [1, *[spatial] * (depth - 1)]
        self.encoder = nn.ModuleList(
            Layer(given, spatial, periodic=periodic, halve=halve)
            for given, halve in zip(widths, halving, strict=True)
        )
        self.translator = Translator(frames * spatial, hidden, blocks, expansion, periodic=periodic)
        self.decoder = nn.ModuleList(
            Layer(spatial, spatial, periodic=periodic, double=double)
            for double in reversed(halving[1:])
        )
        self.join = Layer(2 * spatial, spatial, periodic=periodic)
        self.last = nn.Conv2d(spatial, 1, 1)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        # Frames are encoded one by one; what the first layer saw of each goes on to the last.
        features = early = self.encoder[0](given.flatten(0, 1).unsqueeze(1))
        for layer in self.encoder[1:]:
            features = layer(features)
        together = features.unflatten(0, (-1, self.frames)).flatten(1, 2)
        features = self.translator(together).unflatten(1, (self.frames, -1)).flatten(0, 1)
        for layer in self.decoder:
            features = layer(features)
        made = self.last(self.join(torch.cat([features, early], 1)))
        return made.squeeze(1).unflatten(0, (-1, self.frames))


@keeps_arguments
def build(
    seed: int,
    device: str,
    *,
    schedule: Mapping[str, Any],
    plan: Mapping[str, Any],
    frames: int = 10,
    spatial: int = 64,
    hidden: int = 512,
    depth: int = 4,
    blocks: int = 8,
    expansion: int = 8,
    periodic: bool = True,
    residual: bool = False,
) -> Forecaster:
    """An untrained model.

    Args:
        seed: of weights and windows.
        device: ``cpu`` or ``cuda``.
        schedule: of ``etchmark.learning.training.Schedule``.
        plan: of ``etchmark.learning.forecasting.Plan``.
        frames, spatial, hidden, depth, blocks, expansion, periodic: see ``FrameTranslator``.
        residual: changes since the last frame are made, not frames.
    """

    def make() -> FrameNetwork:
        network = FrameTranslator(
            frames, spatial, hidden, depth, blocks, expansion, periodic=periodic
        )
        return FrameNetwork(
            channels_last(network, 2),
            given=frames,
            made=frames,
            residual=residual,
            multiple=2 ** (depth // 2),
        )

    return Forecaster(make, seed, device, Schedule(**schedule), Plan(**plan))


def load(folder: Path, device: str) -> Forecaster:
    return rebuild(build, folder, device)
