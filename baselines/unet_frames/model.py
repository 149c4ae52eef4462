"""U-Net: the frame that follows, from the frames before it read at several sizes.

Source: Ronneberger, Fischer & Brox, MICCAI 2015, DOI 10.1007/978-3-319-24574-4_28; with periodic
convolutions, and means in place of maxima where the side is halved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from etchmark.learning.forecasting import Forecaster, FrameNetwork, Plan
from etchmark.learning.periodic import PeriodicConv, channels_last
from etchmark.learning.training import Schedule
from etchmark.saving import keeps_arguments, rebuild


class Pair(nn.Module):
    """Two convolutions, each followed by SiLU."""

    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        self.first, self.second = PeriodicConv(2, given, made), PeriodicConv(2, made, made)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return functional.silu(self.second(functional.silu(self.first(features))))


class UNet(nn.Module):
    """Frames side by side to the change that follows, shape (rows, given, n, n) to (rows, 1, n, n).

    Args:
        given: frames.
        widths: channels of each level, the whole side first, then halves of it.
    """

    def __init__(self, given: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.down = nn.ModuleList(Pair(a, b) for a, b in pairwise([given, *widths]))
        self.up = nn.ModuleList(
            Pair(low + high, high) for high, low in reversed(list(pairwise(widths)))
        )
        self.last = PeriodicConv(2, widths[0], 1)
        nn.init.zeros_(self.last.conv.weight)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        features, seen = frames, []
        for level, pair in enumerate(self.down):
            features = pair(functional.avg_pool2d(features, 2) if level else features)
            seen.append(features)
        for pair, beside in zip(self.up, reversed(seen[:-1]), strict=True):
            wide = functional.interpolate(features, scale_factor=2, mode="nearest")
            features = pair(torch.cat([wide, beside], 1))
        return self.last(features)


@keeps_arguments
def build(
    seed: int,
    device: str,
    *,
    schedule: Mapping[str, Any],
    plan: Mapping[str, Any],
    given: int = 10,
    widths: Sequence[int] = (16, 32, 64),
) -> Forecaster:
    """An untrained model.

    Args:
        seed: of weights and windows.
        device: ``cpu`` or ``cuda``.
        schedule: of ``etchmark.learning.training.Schedule``.
        plan: of ``etchmark.learning.forecasting.Plan``.
        given, widths: see ``UNet``.
    """

    def make() -> FrameNetwork:
        network = channels_last(UNet(given, widths), 2)
        return FrameNetwork(network, given=given, multiple=2 ** (len(widths) - 1))

    return Forecaster(make, seed, device, Schedule(**schedule), Plan(**plan))


def load(folder: Path, device: str) -> Forecaster:
    return rebuild(build, folder, device)
