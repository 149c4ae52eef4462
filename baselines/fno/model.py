"""Fourier neural operator: the frame that follows, from the low waves of the frames before it.

Source: Li et al., ICLR 2021, arXiv 2010.08895. The package ``neuraloperator`` holds it too; it asks
for a tracker of experiments and a tensor library, so its one layer is written out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from etchmark.learning.forecasting import Forecaster, FrameNetwork, Plan
from etchmark.learning.training import Schedule, full_precision
from etchmark.saving import keeps_arguments, rebuild


class SpectralConv(nn.Module):
    """Mixes channels wave by wave, with weights of its own for each; higher waves are dropped.

    Args:
        width: channels in and out.
        waves: along either axis, of both signs; at most half the side of a frame.
    """

    def __init__(self, width: int, waves: int) -> None:
        super().__init__()
        self.waves = waves
        # Real and imaginary parts: optimisers and files of weights hold real numbers.
        self.weight = nn.Parameter(torch.randn(width, width, 2 * waves, waves, 2) / width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        n, waves = features.shape[-1], self.waves
        if n < 2 * waves:
            raise ValueError(f"frames of {n} x {n} hold fewer than {waves} waves; give larger ones")
        with full_precision(features):
            given = torch.fft.rfft2(features.float())
            # Not negative along the second axis: the others follow, since frames are real.
            low = torch.cat([given[:, :, :waves, :waves], given[:, :, -waves:, :waves]], 2)
            weight = torch.view_as_complex(self.weight)
            mixed = torch.einsum("bixy,ioxy->boxy", low, weight)
            made = torch.zeros_like(given)
            made[:, :, :waves, :waves] = mixed[:, :, :waves]
            made[:, :, -waves:, :waves] = mixed[:, :, waves:]
            return torch.fft.irfft2(made, s=(n, n))


class Operator(nn.Module):
    """Frames side by side to the change that follows, shape (rows, given, n, n) to (rows, 1, n, n).

    Args:
        given: frames.
        width: channels.
        waves: of each spectral convolution.
        blocks: each a spectral convolution beside a product at every pixel.
    """

    def __init__(self, given: int, width: int, waves: int, blocks: int) -> None:
        super().__init__()
        self.lift = nn.Conv2d(given, width, 1)
        self.spectral = nn.ModuleList(SpectralConv(width, waves) for _ in range(blocks))
        self.local = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(blocks))
        self.project = nn.Sequential(nn.Conv2d(width, 2 * width, 1), nn.GELU())
        self.last = nn.Conv2d(2 * width, 1, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        features = self.lift(frames)
        for spectral, local in zip(self.spectral, self.local, strict=True):
            features = functional.gelu(spectral(features) + local(features))
        return self.last(self.project(features))


@keeps_arguments
def build(
    seed: int,
    device: str,
    *,
    schedule: Mapping[str, Any],
    plan: Mapping[str, Any],
    given: int = 10,
    width: int = 24,
    waves: int = 16,
    blocks: int = 4,
) -> Forecaster:
    """An untrained model.

    Args:
        seed: of weights and windows.
        device: ``cpu`` or ``cuda``.
        schedule: of ``etchmark.learning.training.Schedule``.
        plan: of ``etchmark.learning.forecasting.Plan``.
        given, width, waves, blocks: see ``Operator``.
    """

    def make() -> FrameNetwork:
        return FrameNetwork(Operator(given, width, waves, blocks), given=given)

    return Forecaster(make, seed, device, Schedule(**schedule), Plan(**plan))


def load(folder: Path, device: str) -> Forecaster:
    return rebuild(build, folder, device)
