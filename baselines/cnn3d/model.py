"""Stiffness from the voxels: the network of Yang et al. (2018), and a periodic one.

Both read ``microstructure``, zeros and ones of shape (samples, n, n, n), and predict C1111, one
number per sample. ``periodic`` also reads ``contrast``, the Young's modulus of the stiff phase.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from etchmark.learning.periodic import (
    PeriodicConv,
    PeriodicResidual,
    channels_last,
    coarse_grid,
    halve,
)
from etchmark.learning.training import (
    BetweenLimits,
    FullPrecision,
    Schedule,
    batches,
    identity,
    parameter_count,
    percent_error,
    train,
)
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild
from etchmark.simulation import bounds


def _volumes(inputs: Inputs) -> np.ndarray:
    # Eight bits per voxel to the end: only batches are ever turned into numbers.
    volumes = np.asarray(inputs["microstructure"], dtype=np.uint8)
    if volumes.ndim != 4:
        raise ValueError(f"microstructure of shape {volumes.shape} is not (samples, n, n, n)")
    return volumes


# --- as published ------------------------------------------------------------------------------

TOGETHER = 4
"""Volumes of a step that go through the convolutions at once."""


class YangNetwork(nn.Module):
    """Five 3³ convolutions, each with ReLU and 2³ average pooling, then three dense layers.

    Source: Yang et al., Comput. Mater. Sci. 151 (2018) 278, DOI 10.1016/j.commatsci.2018.05.014.
    """

    def __init__(self, cells: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((1, *widths)):
            # Sides are rounded up, 51 → 26 → 13 → 7 → 4 → 2, so that no voxel is left out and the
            # last map has 2³ · 256 = 2048 numbers.
            pool = nn.AvgPool3d(2, ceil_mode=True)
            layers += [nn.Conv3d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True), pool]
            cells = math.ceil(cells / 2)
        self.convolutions = nn.Sequential(*layers)
        self.dense = FullPrecision(
            nn.Linear(widths[-1] * cells**3, 2048),
            nn.ReLU(),
            nn.Linear(2048, 1024),
            nn.ReLU(),
            nn.Linear(1024, 1),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        # The phases are ±1/2 to the network.
        phases = (volumes.unsqueeze(1).float() - 0.5).contiguous()
        # Maps of a few volumes at a time stay in the processor's cache: half the time of a batch.
        maps = [self.convolutions(part) for part in phases.split(TOGETHER)]
        return self.dense(torch.cat(maps).flatten(1))[:, 0]


class Yang(Savable):
    """Trains ``YangNetwork`` on the standardised target by mean squared error."""

    saved = ("mean", "spread", "side", "network")

    def __init__(self, seed: int, device: str, schedule: Schedule, widths: tuple[int, ...]) -> None:
        self.seed, self.device, self.schedule, self.widths = seed, device, schedule, widths

    def fit(self, train: Samples, validation: Samples | None = None) -> Yang:
        volumes = _volumes(train.inputs)
        target = np.asarray(train.target, dtype=np.float64)
        self.mean, self.spread = float(target.mean()), float(target.std()) or 1.0
        standardised = torch.from_numpy(((target - self.mean) / self.spread).astype(np.float32))
        self.side = volumes.shape[-1]
        self.network = self._fresh()

        def loss(rows: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
            batch = torch.from_numpy(volumes[rows]).to(self.device)
            outputs = self.network(batch).float()
            return functional.mse_loss(outputs, standardised[rows].to(self.device))

        who = identity(self.seed, self.schedule, self.network, ids=train.ids, y=target)
        _run(self, loss, len(volumes), who, validation)
        return self

    def _fresh(self) -> YangNetwork:
        torch.manual_seed(self.seed)
        return YangNetwork(self.side, self.widths).to(self.device)

    def restore(self, state: Mapping[str, Any]) -> None:
        self.side = int(state["side"])
        self.network = self._fresh()
        super().restore(state)

    def predict(self, inputs: Inputs) -> np.ndarray:
        volumes, outputs = _volumes(inputs), []
        self.network.eval()
        with torch.inference_mode():
            for part in batches(len(volumes), 16):
                batch = torch.from_numpy(np.array(volumes[part])).to(self.device)
                outputs.append(self.network(batch).double().cpu().numpy())
        return self.mean + self.spread * np.concatenate(outputs)

    def report(self, validation: Samples) -> float:
        return percent_error(self.predict(validation.inputs), validation.target)

    def parameter_count(self) -> int:
        return parameter_count(self.network)


# --- periodic ----------------------------------------------------------------------------------


class Halve(nn.Module):
    """Means over 2³ voxels of the periodic cell, then more channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mix = nn.Conv3d(inputs, outputs, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.mix(halve(features))


class PeriodicNetwork(nn.Module):
    """Periodic convolutions on a grid coarser by ``pool``, with the voxels as its channels.

    A small dense network reads each level's features, averaged over the cell. Cells may have any
    side, at the number of voxels per unit of length that was used in training.
    """

    def __init__(self, pool: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.pool = pool
        self.stem = PeriodicConv(3, pool**3, widths[0])
        self.levels = nn.ModuleList(
            nn.Sequential(*(PeriodicResidual(3, width) for _ in range(count)))
            for width, count in zip(widths, blocks, strict=True)
        )
        self.halves = nn.ModuleList(Halve(finer, coarser) for finer, coarser in pairwise(widths))
        self.head = FullPrecision(nn.Linear(sum(widths), 128), nn.SiLU(), nn.Linear(128, 1))

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        features, means = self.stem(coarse_grid(volumes, self.pool)), []
        for index, level in enumerate(self.levels):
            if index:
                features = self.halves[index - 1](features)
            features = level(features)
            means.append(functional.relu(features).float().mean((2, 3, 4)))
        return self.head(torch.cat(means, 1))[:, 0]


def varied(volume: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A volume of the same C1111: shifted, mirrored, y and z exchanged, all at random."""
    moved = np.roll(volume, generator.integers(0, volume.shape), axis=(0, 1, 2))
    if generator.integers(2):
        moved = moved.swapaxes(1, 2)
    x, y, z = (slice(None, None, step) for step in generator.choice([-1, 1], 3))
    return moved[x, y, z]


def equivalent(volumes: torch.Tensor) -> list[torch.Tensor]:
    """Four views of the same C1111: with y and z exchanged or not, from either side."""
    turned = volumes.flip((1, 2, 3))
    return [volumes, turned.transpose(2, 3), volumes.transpose(2, 3), turned]


class Periodic(Savable):
    """Trains ``PeriodicNetwork`` on log C1111, placed between the bounds of Reuss and Voigt.

    Whatever it is shown, no prediction leaves the bounds.
    """

    saved = ("scale", "network")
    parts = (BetweenLimits,)

    def __init__(
        self, seed: int, device: str, schedule: Schedule, design: dict[str, Any], views: int
    ) -> None:
        self.seed, self.device, self.schedule = seed, device, schedule
        self.design, self.views = design, views

    def _limits(self, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Reuss's and Voigt's bound of each volume."""
        fraction = np.array([volume.mean() for volume in _volumes(inputs)])
        contrast = np.asarray(inputs["contrast"], dtype=np.float64)
        return bounds.reuss(fraction, contrast), bounds.voigt(fraction, contrast)

    def fit(self, train: Samples, validation: Samples | None = None) -> Periodic:
        volumes = _volumes(train.inputs)
        target = np.asarray(train.target, dtype=np.float64)
        self.scale = BetweenLimits(target, *self._limits(train.inputs))
        self.network = self._fresh()

        def loss(rows: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
            batch = np.stack([varied(volumes[row], generator) for row in rows])
            outputs = self.network(torch.from_numpy(batch).to(self.device))
            error = self.scale.log_ratio(outputs, rows)
            # Relative errors: squared below 5 %, absolute above.
            return functional.smooth_l1_loss(error, torch.zeros_like(error), beta=0.05)

        more = {"design": self.design, "ids": train.ids, "y": target}
        who = identity(self.seed, self.schedule, self.network, **more)
        _run(self, loss, len(volumes), who, validation)
        return self

    def _fresh(self) -> nn.Module:
        torch.manual_seed(self.seed)
        return channels_last(PeriodicNetwork(**self.design), 3).to(self.device)

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network = self._fresh()
        super().restore(state)

    def predict(self, inputs: Inputs, views: int | None = None) -> np.ndarray:
        volumes, outputs = _volumes(inputs), []
        self.network.eval()
        with torch.inference_mode():
            for part in batches(len(volumes), 16):
                batch = torch.from_numpy(np.array(volumes[part])).to(self.device)
                seen = equivalent(batch)[: views or self.views]
                of_views = [self.network(view).double() for view in seen]
                outputs.append(torch.stack(of_views).mean(0).cpu().numpy())
        return self.scale.values(np.concatenate(outputs), *self._limits(inputs))

    def report(self, validation: Samples) -> float:
        # One view is enough to follow a training, at a quarter of the time.
        predicted = self.predict(validation.inputs, views=1)
        return percent_error(predicted, validation.target)

    def parameter_count(self) -> int:
        return parameter_count(self.network)


def _run(model: Any, loss: Any, rows: int, who: str, validation: Samples | None) -> None:
    def report() -> str:
        if validation is None:
            return "no validation"
        return f"validation MAPE {model.report(validation):.3f} %"

    train(
        model.network,
        loss,
        rows,
        model.schedule,
        seed=model.seed,
        device=model.device,
        who=who,
        report=report,
    )


@keeps_arguments
def build(
    seed: int,
    device: str,
    *,
    design: str,
    epochs: int,
    batch: int = 16,
    learning_rate: float = 2e-3,
    widths: Sequence[int] | None = None,
    pool: int = 3,
    blocks: Sequence[int] = (2, 3),
    views: int = 4,
) -> Yang | Periodic:
    """An untrained model.

    Args:
        seed: of weights, order and augmentation.
        device: ``cpu`` or ``cuda``.
        design: ``yang`` or ``periodic``.
        epochs: passes over the training volumes.
        batch: volumes per step.
        learning_rate: the highest.
        widths: channels of each level; by default those of the design.
        pool: of ``periodic``: voxels per side that become channels of one voxel.
        blocks: of ``periodic``: residual blocks of each level.
        views: of ``periodic``: equivalent views that a prediction is the mean of, 1 to 4.
    """
    if design == "yang":
        # Adam as published; its rate is brought down to zero, so that the last epoch can be taken.
        schedule = Schedule(epochs, batch, learning_rate, warmup=0.0, clip=None)
        return Yang(seed, device, schedule, tuple(widths or (16, 32, 64, 128, 256)))
    if design != "periodic":
        raise ValueError(f"design is 'yang' or 'periodic', not {design!r}")
    schedule = Schedule(epochs, batch, learning_rate, weight_decay=0.01)
    size = {"pool": pool, "widths": tuple(widths or (32, 64)), "blocks": tuple(blocks)}
    return Periodic(seed, device, schedule, size, views)


def load(folder: Path, device: str) -> Yang | Periodic:
    return rebuild(build, folder, device)
