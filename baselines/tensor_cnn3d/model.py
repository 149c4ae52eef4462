"""Stiffness tensor from the voxels, by a periodic convolutional network.

The network's 21 outputs are the entries of a symmetric matrix, to which the logarithm of the
self-consistent estimate is added. The exponential of the sum is the stiffness in Mandel's notation,
so that every prediction is symmetric and positive definite.
"""

from __future__ import annotations

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
    FullPrecision,
    Schedule,
    batches,
    identity,
    parameter_count,
    train,
)
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild
from etchmark.simulation import bounds
from etchmark.simulation.rotations import cube_rotations, rotate_stiffness, rotate_volume

POISSON = 0.3
UPPER = np.triu_indices(6)
MANDEL = np.multiply.outer(*2 * [np.sqrt([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])])
"""Factors that turn a Voigt stiffness into Mandel's notation."""
ROTATIONS = cube_rotations()


def logarithm(stiffness: np.ndarray) -> np.ndarray:
    """Matrix logarithm of Voigt stiffnesses in Mandel's notation, shape (..., 6, 6)."""
    values, vectors = np.linalg.eigh(stiffness * MANDEL)
    return (vectors * np.log(values)[..., None, :]) @ np.swapaxes(vectors, -1, -2)


def rotate_logarithm(logarithms: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Logarithms of the rotated stiffness: they turn as the stiffness does."""
    return rotate_stiffness(logarithms / MANDEL, rotation) * MANDEL


class TensorNetwork(nn.Module):
    """Periodic convolutions on a grid coarser by ``pool``, whose voxels are its channels.

    The mean over the cell of each level's features goes into a small dense network.
    """

    def __init__(self, pool: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.pool = pool
        self.stem = PeriodicConv(3, pool**3, widths[0])
        self.levels = nn.ModuleList(
            nn.Sequential(*(PeriodicResidual(3, width) for _ in range(count)))
            for width, count in zip(widths, blocks, strict=True)
        )
        self.mixes = nn.ModuleList(nn.Conv3d(last, width, 1) for last, width in pairwise(widths))
        self.head = FullPrecision(nn.Linear(sum(widths), 128), nn.SiLU(), nn.Linear(128, 21))

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        features, means = self.stem(coarse_grid(volumes, self.pool)), []
        for index, level in enumerate(self.levels):
            if index:
                features = self.mixes[index - 1](halve(features))
            features = level(features)
            means.append(functional.relu(features).float().mean((2, 3, 4)))
        return self.head(torch.cat(means, 1))


class PeriodicTensor(Savable):
    """Trains ``TensorNetwork`` on the logarithm of the stiffness, with rotated volumes."""

    saved = ("spread", "network")

    def __init__(
        self, seed: int, device: str, schedule: Schedule, design: dict[str, Any], views: int
    ) -> None:
        self.seed, self.device, self.schedule = seed, device, schedule
        self.design, self.views = design, views

    def fit(self, train: Samples, validation: Samples | None = None) -> PeriodicTensor:
        volumes = np.asarray(train.inputs["microstructure"], dtype=np.uint8)
        logs = logarithm(train.target)
        difference = logs - _estimate(train.inputs)
        self.spread = float(difference.std()) or 1.0
        self.network = self._fresh()

        def loss(rows: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
            turned, targets = [], []
            for row in rows:
                rotation = ROTATIONS[generator.integers(len(ROTATIONS))]
                moved = np.roll(volumes[row], generator.integers(0, volumes[row].shape), (0, 1, 2))
                turned.append(rotate_volume(moved, rotation))
                targets.append(rotate_logarithm(difference[row], rotation)[UPPER] / self.spread)
            outputs = self.network(torch.from_numpy(np.stack(turned)).to(self.device)).float()
            expected = torch.from_numpy(np.stack(targets).astype(np.float32)).to(self.device)
            weight = torch.where(torch.from_numpy(UPPER[0] == UPPER[1]), 1.0, 2.0)
            error = functional.smooth_l1_loss(outputs, expected, beta=0.1, reduction="none")
            return (error * weight.to(error.device)).mean()

        more = {"design": self.design, "ids": train.ids, "y": logs}
        _train(self, loss, len(volumes), identity(self.seed, self.schedule, self.network, **more))
        return self

    def _fresh(self) -> nn.Module:
        torch.manual_seed(self.seed)
        return channels_last(TensorNetwork(**self.design), 3).to(self.device)

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network = self._fresh()
        super().restore(state)

    def predict(self, inputs: Inputs) -> np.ndarray:
        volumes = np.asarray(inputs["microstructure"], dtype=np.uint8)
        logs = _estimate(inputs)
        self.network.eval()
        with torch.inference_mode():
            for part in batches(len(volumes), 16):
                logs[part] += self.spread * self._difference(volumes[part])
        values, vectors = np.linalg.eigh(logs)
        return (vectors * np.exp(values)[:, None, :]) @ np.swapaxes(vectors, 1, 2) / MANDEL

    def _difference(self, volumes: np.ndarray) -> np.ndarray:
        """Mean over rotated views, each turned back; shape (samples, 6, 6)."""
        total = np.zeros((len(volumes), 6, 6))
        # The first of these turn about the space diagonal: each axis comes to each place.
        for rotation in _views(self.views):
            turned = np.stack([rotate_volume(volume, rotation) for volume in volumes])
            outputs = self.network(torch.from_numpy(turned).to(self.device)).double().cpu().numpy()
            matrices = np.zeros_like(total)
            matrices[:, UPPER[0], UPPER[1]] = matrices[:, UPPER[1], UPPER[0]] = outputs
            total += rotate_logarithm(matrices, rotation.T)
        return total / self.views

    def parameter_count(self) -> int:
        return parameter_count(self.network)


def _estimate(inputs: Inputs) -> np.ndarray:
    """Logarithm of the self-consistent estimate, shape (samples, 6, 6)."""
    fraction = np.array([volume.mean() for volume in inputs["microstructure"]])
    contrast = np.asarray(inputs["contrast"], dtype=np.float64)
    return logarithm(bounds.stiffness("self_consistent", fraction, contrast, POISSON))


def _views(count: int) -> list[np.ndarray]:
    """Rotations whose mean a prediction is: the identity, cyclic ones of the axes, then others."""
    cyclic = [matrix for matrix in ROTATIONS if (matrix >= 0).all()]
    known = {matrix.tobytes() for matrix in cyclic}
    others = [matrix for matrix in ROTATIONS if matrix.tobytes() not in known]
    return [*cyclic, *others][:count]


def _train(model: PeriodicTensor, loss: Any, rows: int, who: str) -> None:
    train(model.network, loss, rows, model.schedule, seed=model.seed, device=model.device, who=who)


@keeps_arguments
def build(
    seed: int,
    device: str,
    *,
    epochs: int,
    batch: int = 16,
    learning_rate: float = 2e-3,
    widths: Sequence[int] = (32, 64),
    pool: int = 3,
    blocks: Sequence[int] = (2, 3),
    views: int = 3,
) -> PeriodicTensor:
    """An untrained model.

    Args:
        seed: of weights, order and augmentation.
        device: ``cpu`` or ``cuda``.
        epochs: passes over the training volumes.
        batch: volumes per step.
        learning_rate: the highest.
        widths: channels of each level.
        pool: voxels per side that become channels of one voxel.
        blocks: residual blocks of each level.
        views: rotated views that a prediction is the mean of, 1 to 24; with 24 it is exactly
            equivariant.
    """
    schedule = Schedule(epochs, batch, learning_rate, weight_decay=0.01)
    design = {"pool": pool, "widths": tuple(widths), "blocks": tuple(blocks)}
    return PeriodicTensor(seed, device, schedule, design, views)


def load(folder: Path, device: str) -> PeriodicTensor:
    return rebuild(build, folder, device)
