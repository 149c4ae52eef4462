"""Small forecasters, and sequences of frames from which they learn in seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
from model_module import model_module

from etchmark.model import Samples

SCHEDULE = {"epochs": 2, "batch": 2, "learning_rate": 0.01}
TINY: dict[str, dict[str, Any]] = {
    "cnn_frames": {
        "given": 4,
        "made": 2,
        "width": 4,
        "wide": 6,
        "blocks": 1,
        "patch": 2,
        "schedule": SCHEDULE,
        "plan": {"unroll": 3},
    },
    "convlstm": {
        "hidden": [6, 6],
        "kernel": 3,
        "patch": 2,
        "given": 3,
        "renewed": 3,
        "schedule": SCHEDULE,
        "plan": {"unroll": 3, "teacher": 0.8},
    },
    "fcn": {
        "frames": 3,
        "spatial": 4,
        "hidden": 8,
        "depth": 2,
        "blocks": 1,
        "expansion": 2,
        "schedule": SCHEDULE,
        "plan": {"unroll": 3},
    },
    "fno": {
        "given": 3,
        "width": 6,
        "waves": 4,
        "blocks": 1,
        "schedule": SCHEDULE,
        "plan": {"unroll": 2},
    },
    "unet_frames": {
        "given": 3,
        "widths": [6, 8],
        "schedule": SCHEDULE,
        "plan": {"unroll": 2},
    },
    "stepper": {
        "conserving": False,
        "width": 6,
        "blocks": 1,
        "schedule": SCHEDULE,
        "plan": {"unroll": 2},
    },
}
"""Parameters of a network of each baseline that trains in a second."""
KNOWN = {"cnn_frames": 4, "convlstm": 4, "fcn": 4, "fno": 4, "unet_frames": 4, "stepper": 3}
"""Frames that each is shown."""


def built(baseline: str, seed: int = 0, **params: Any) -> Any:
    """A small forecaster that is not trained."""
    return model_module(baseline).build(seed, "cpu", **{**TINY[baseline], **params})


def random_network(baseline: str, **params: Any) -> Any:
    """A network that changes frames at every place."""
    import torch

    model = built(baseline, **params)
    model.network.measure(sequences(baseline, 3, 6))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in model.network.parameters():
            part.add_(0.2 * torch.randn(part.shape, generator=generator))
    return model.network


def spreading(rows: int, frames: int, side: int = 12, seed: int = 0) -> np.ndarray:
    """Noise that spreads out, frame by frame; shape (rows, frames, side, side), float16."""
    field = np.random.default_rng(seed).normal(0.5, 0.3, (rows, side, side))
    sequence = []
    for _ in range(frames):
        sequence.append(field)
        field = field + 0.05 * _laplacian(field)
    return np.stack(sequence, 1).astype(np.float16)


def sharpening(rows: int, frames: int, side: int = 12, seed: int = 0) -> np.ndarray:
    """Noise that sharpens towards 0 and 1 while it spreads, as in Allen–Cahn; as ``spreading``."""
    field = np.random.default_rng(seed).uniform(0, 1, (rows, side, side))
    sequence = []
    for _ in range(frames):
        sequence.append(field)
        field = field + 0.1 * _laplacian(field) + 0.4 * field * (1 - field) * (2 * field - 1)
    return np.stack(sequence, 1).astype(np.float16)


def _laplacian(field: np.ndarray) -> np.ndarray:
    neighbours = sum(np.roll(field, shift, axis) for shift in (-1, 1) for axis in (1, 2))
    return neighbours - 4 * field


def sequences(baseline: str, rows: int, frames: int, side: int = 12, seed: int = 0) -> np.ndarray:
    """Frames that the baseline can learn: the stepper's own are not a straight line in time."""
    make = sharpening if baseline == "stepper" else spreading
    return make(rows, frames, side, seed)


def samples(baseline: str, frames: np.ndarray) -> Samples:
    """Sequences as training samples: the first frames are known, the rest is asked for."""
    rows, count = frames.shape[:2]
    known = KNOWN[baseline]
    inputs = {"context": frames[:, :known], "horizon": np.full(rows, count - known, np.int32)}
    return Samples(np.arange(rows).astype(str), inputs, frames[:, known:])
