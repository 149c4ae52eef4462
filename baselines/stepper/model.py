"""A small residual network that makes the next frame of the last one, and so on.

It may be modulated by a code that stays the same for a whole forecast: parameters of the simulation
that it is told, or what an encoder makes of the frames given (FiLM; Perez et al., AAAI 2018, DOI
10.1609/aaai.v32i1.11671).

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

from etchmark.learning.forecasting import Forecaster, FrameNetwork, ModulatedNetwork, Plan
from etchmark.learning.periodic import PeriodicConv, channels_last
from etchmark.learning.training import FullPrecision, Schedule
from etchmark.saving import keeps_arguments, rebuild


class Residual(nn.Module):
    """x + conv(silu(conv(silu(x)))), zero at first in place of a normalisation.

    With a code, each channel in the middle is scaled and shifted by what two layers make of it.
    """

    def __init__(self, width: int, code: int = 0) -> None:
        super().__init__()
        self.first = PeriodicConv(2, width, width)
        self.second = PeriodicConv(2, width, width)
        nn.init.zeros_(self.second.conv.weight)
        self.film = None
        if code:
            self.film = nn.Sequential(nn.Linear(code, 32), nn.SiLU(), nn.Linear(32, 2 * width))

    def forward(self, given: torch.Tensor, code: torch.Tensor | None = None) -> torch.Tensor:
        inner = self.first(functional.silu(given))
        if self.film is not None and code is not None:
            scale, shift = self.film(code)[..., None, None].chunk(2, 1)
            inner = inner * (1 + scale) + shift
        return given + self.second(functional.silu(inner))


class StepNetwork(nn.Sequential):
    """The change in one frame, shape (rows, 1, n, n) to the same; none before it is trained."""

    def __init__(self, width: int, blocks: int) -> None:
        last = PeriodicConv(2, width, 1)
        nn.init.zeros_(last.conv.weight)
        layers = [Residual(width) for _ in range(blocks)]
        super().__init__(PeriodicConv(2, 1, width), *layers, nn.SiLU(), last)


class ModulatedStepNetwork(nn.Module):
    """The same, with a code (rows, numbers) that modulates every block."""

    def __init__(self, width: int, blocks: int, code: int) -> None:
        super().__init__()
        self.first = PeriodicConv(2, 1, width)
        self.blocks = nn.ModuleList(Residual(width, code) for _ in range(blocks))
        self.last = PeriodicConv(2, width, 1)
        nn.init.zeros_(self.last.conv.weight)

    def forward(self, frame: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        features = self.first(frame)
        for block in self.blocks:
            features = block(features, code)
        return self.last(functional.silu(features))


class Encoder(nn.Module):
    """A code from frames (rows, given, n, n): convolutions, means over the frame, two layers.

    It reads the frames and their changes from one to the next, which are small beside them.
    """

    def __init__(self, given: int, width: int, code: int) -> None:
        super().__init__()
        self.change = nn.Parameter(torch.tensor(10.0))
        self.maps = nn.Sequential(
            PeriodicConv(2, 2 * given - 1, width),
            nn.SiLU(),
            PeriodicConv(2, width, width),
            nn.SiLU(),
            PeriodicConv(2, width, 2 * width),
            nn.SiLU(),
        )
        self.head = FullPrecision(nn.Linear(2 * width, 32), nn.SiLU(), nn.Linear(32, code))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        changes = self.change * frames.diff(dim=1)
        maps = self.maps(torch.cat([frames, changes], 1))
        return self.head(maps.float().mean((2, 3)))


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
    told: Mapping[str, str] | None = None,
    code: int = 0,
    given: int = 10,
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
        told: inputs that modulate the network, ``linear`` or ``log`` by their names.
        code: numbers that an encoder makes of the frames given, to modulate the network.
        given: number of frames that the encoder reads.
    """

    if told and code:
        raise ValueError("give either told or code: the network has one code")

    def make() -> FrameNetwork:
        if not told and not code:
            network = channels_last(StepNetwork(width, blocks), 2)
            return FrameNetwork(network, conserving=conserving)
        numbers = len(told) if told else code
        network = channels_last(ModulatedStepNetwork(width, blocks, numbers), 2)
        if told:
            return ModulatedNetwork(network, told=numbers, conserving=conserving)
        encoder = channels_last(Encoder(given, width, code), 2)
        return ModulatedNetwork(network, encoder=encoder, given=given, conserving=conserving)

    return Forecaster(make, seed, device, Schedule(**schedule), Plan(**plan), told)


def load(folder: Path, device: str) -> Forecaster:
    return rebuild(build, folder, device)
