"""A convolutional network in space and time: the frames known are a volume, time its third axis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from etchmark.learning.forecasting import Forecaster, FrameNetwork, Plan
from etchmark.learning.periodic import PeriodicConv, channels_last, wrap
from etchmark.learning.training import Schedule
from etchmark.saving import keeps_arguments, rebuild


class SpaceTimeConv(nn.Module):
    """Convolution over three by three pixels of the periodic frame and some frames.

    Nothing is added before the first frame or after the last one: there are fewer frames after it.
    """

    def __init__(self, given: int, made: int, frames: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(given, made, (frames, 3, 3))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        rows = len(given)
        # Padded frame by frame, which with the channels last is a view.
        apart = wrap(given.transpose(1, 2).flatten(0, 1), 1)
        return self.conv(apart.unflatten(0, (rows, -1)).transpose(1, 2))


class Residual(nn.Module):
    """x + conv(silu(conv(silu(x)))) on a frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = PeriodicConv(2, width, width)
        self.second = PeriodicConv(2, width, width)
        nn.init.zeros_(self.second.conv.weight)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        inner = functional.silu(self.first(functional.silu(given)))
        return given + self.second(inner)


class VolumeNetwork(nn.Module):
    """Frames that follow a stack of frames, shape (rows, given, n, n) to (rows, made, n, n).

    Args:
        given: frames, an even number: pairs of convolutions over three of them leave two, then one.
        made: frames.
        width: channels while there is a time axis.
        wide: channels after it.
        blocks: residual blocks after it.
        patch: pixels per side that become channels of one.
    """

    def __init__(
        self, given: int, made: int, width: int, wide: int, blocks: int, patch: int
    ) -> None:
        super().__init__()
        if given < 4 or given % 2:
            raise ValueError(f"frames given must be an even number of at least 4, not {given}")
        self.patch = patch
        layers: list[nn.Module] = [SpaceTimeConv(patch**2, width, 3), nn.SiLU()]
        for _ in range(given // 2 - 2):
            layers += [SpaceTimeConv(width, width, 3), nn.SiLU()]
        self.volume = nn.Sequential(*layers, SpaceTimeConv(width, wide, 2))
        self.frame = nn.Sequential(
            *(Residual(wide) for _ in range(blocks)), nn.SiLU(), nn.Conv2d(wide, made * patch**2, 1)
        )

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        rows = len(given)
        patches = functional.pixel_unshuffle(given.flatten(0, 1).unsqueeze(1), self.patch)
        volume = patches.unflatten(0, (rows, -1)).transpose(1, 2)
        return functional.pixel_shuffle(self.frame(self.volume(volume).squeeze(2)), self.patch)


@keeps_arguments
def build(
    seed: int,
    device: str,
    *,
    schedule: Mapping[str, Any],
    plan: Mapping[str, Any],
    given: int = 10,
    made: int = 5,
    width: int = 24,
    wide: int = 64,
    blocks: int = 2,
    patch: int = 2,
) -> Forecaster:
    """An untrained model.

    Args:
        seed: of weights and windows.
        device: ``cpu`` or ``cuda``.
        schedule: of ``etchmark.learning.training.Schedule``.
        plan: of ``etchmark.learning.forecasting.Plan``.
        given, made, width, wide, blocks, patch: see ``VolumeNetwork``.
    """

    def make() -> FrameNetwork:
        network = VolumeNetwork(given, made, width, wide, blocks, patch)
        network = channels_last(channels_last(network, 3), 2)
        return FrameNetwork(network, given=given, made=made, multiple=patch)

    return Forecaster(make, seed, device, Schedule(**schedule), Plan(**plan))


def load(folder: Path, device: str) -> Forecaster:
    return rebuild(build, folder, device)
