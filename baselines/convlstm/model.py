"""ConvLSTM: a recurrent network whose gates are convolutions.

Source: Shi et al., NeurIPS 2015, arXiv 1506.04214. Without the weights on the memory at every place
of the frame ("peepholes"), which would tie the network to one size: all else is as there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from etchmark.learning.forecasting import Forecaster, PaddedConv, Plan, RecurrentNetwork
from etchmark.learning.periodic import channels_last
from etchmark.learning.training import Schedule
from etchmark.saving import keeps_arguments, rebuild

Memory = list[tuple[torch.Tensor, torch.Tensor]]


class Cell(nn.Module):
    """One layer: a memory that gates of the input and of the last output write and read.

    Source: equation 3 of Shi et al., the Hadamard products with the memory left out.
    """

    def __init__(self, given: int, hidden: int, kernel: int, *, periodic: bool) -> None:
        super().__init__()
        self.hidden = hidden
        # Convolutions of input and output are summed: one of both side by side.
        self.gates = PaddedConv(given + hidden, 4 * hidden, kernel, periodic=periodic)
        nn.init.zeros_(self.gates.conv.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            # Remembered at first: the gate that forgets is open.
            self.gates.conv.bias[hidden : 2 * hidden] = 1.0  # type: ignore[index]

    def forward(
        self, given: torch.Tensor, before: tuple[torch.Tensor, torch.Tensor] | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Output and memory, each (rows, hidden, n, n)."""
        if before is None:
            empty = given.new_zeros(len(given), self.hidden, *given.shape[2:])
            before = (empty, empty)
        output, memory = before
        gates = self.gates(torch.cat([given, output], 1)).float()
        write, keep, content, read = gates.chunk(4, 1)
        memory = torch.sigmoid(keep) * memory + torch.sigmoid(write) * torch.tanh(content)
        return torch.sigmoid(read) * torch.tanh(memory), memory


class ConvLSTM(nn.Module):
    """Layers of cells over patches of a frame, whose pixels are channels; a frame from the last."""

    def __init__(self, hidden: Sequence[int], kernel: int, patch: int, *, periodic: bool) -> None:
        super().__init__()
        self.patch = patch
        widths = [patch**2, *hidden]
        self.cells = nn.ModuleList(
            Cell(given, made, kernel, periodic=periodic) for given, made in pairwise(widths)
        )
        self.last = nn.Conv2d(widths[-1], patch**2, 1)

    def forward(self, frame: torch.Tensor, memory: Memory | None) -> tuple[torch.Tensor, Memory]:
        features, after = functional.pixel_unshuffle(frame, self.patch), []
        for number, cell in enumerate(self.cells):
            state = cell(features, memory[number] if memory else None)
            after.append(state)
            features = state[0]
        return functional.pixel_shuffle(self.last(features), self.patch), after


@keeps_arguments
def build(
    seed: int,
    device: str,
    *,
    schedule: Mapping[str, Any],
    plan: Mapping[str, Any],
    hidden: Sequence[int] = (128, 128, 128, 128),
    kernel: int = 5,
    patch: int = 4,
    given: int = 10,
    renewed: int | None = 10,
    periodic: bool = True,
    residual: bool = False,
) -> Forecaster:
    """An untrained model.

    Args:
        seed: of weights, windows and of the frames that are shown in training.
        device: ``cpu`` or ``cuda``.
        schedule: of ``etchmark.learning.training.Schedule``.
        plan: of ``etchmark.learning.forecasting.Plan``.
        hidden: channels of each layer.
        kernel: side of the gates' convolutions.
        patch: pixels per side that become channels of one.
        given: number of frames the memory starts from.
        renewed: number of forecast frames after which it starts again from the last ones.
        periodic: opposite edges meet; else there are zeros beyond them.
        residual: changes are made, not frames.
    """

    def make() -> RecurrentNetwork:
        network = channels_last(ConvLSTM(hidden, kernel, patch, periodic=periodic), 2)
        return RecurrentNetwork(
            network, given=given, renewed=renewed, residual=residual, multiple=patch
        )

    return Forecaster(make, seed, device, Schedule(**schedule), Plan(**plan))


def load(folder: Path, device: str) -> Forecaster:
    return rebuild(build, folder, device)
