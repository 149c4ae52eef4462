"""A small residual network that makes the next frame of the last one, and so on.

After Lan et al. (2025), arXiv 2511.10171: what happens in a frame follows from the neighbourhood of
a pixel, so a few periodic convolutions at full resolution are enough, on cells of any size.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from etchmark.learning.forecasting import Forecaster, FrameNetwork, Plan
from etchmark.learning.periodic import PeriodicConv, channels_last
from etchmark.learning.training import Schedule
from etchmark.saving import keeps_arguments, rebuild


class Residual(nn.Module):
    """x + conv(silu(conv(silu(x)))), zero at first in place of a normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = PeriodicConv(2, width, width)
        self.second = PeriodicConv(2, width, width)
        nn.init.zeros_(self.second.conv.weight)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        inner = functional.silu(self.first(functional.silu(given)))
        return given + self.second(inner)


class StepNetwork(nn.Sequential):
    """The change in one frame, shape (rows, 1, n, n) to the same; none before it is trained."""

    def __init__(self, width: int, blocks: int) -> None:
        last = PeriodicConv(2, width, 1)
        nn.init.zeros_(last.conv.weight)
        layers = [Residual(width) for _ in range(blocks)]
        super().__init__(PeriodicConv(2, 1, width), *layers, nn.SiLU(), last)


@keeps_arguments
def build(
    seed: int,
    device: str,
    *,
    conserving: bool,
    schedule: Mapping[str, Any],
    plan: Mapping[str, Any],
    width: int = 24,
    blocks: int = 3,
) -> Forecaster:
    """An untrained model.

    Args:
        seed: of weights and windows.
        device: ``cpu`` or ``cuda``.
        conserving: the mean of an update is removed, so that every frame has the mean of the last
            one known.
        schedule: of ``etchmark.learning.training.Schedule``.
        plan: of ``etchmark.learning.forecasting.Plan``.
        width: channels.
        blocks: residual blocks, of two convolutions each.
    """

    def make() -> FrameNetwork:
        network = channels_last(StepNetwork(width, blocks), 2)
        return FrameNetwork(network, conserving=conserving)

    return Forecaster(make, seed, device, Schedule(**schedule), Plan(**plan))


def load(folder: Path, device: str) -> Forecaster:
    return rebuild(build, folder, device)
