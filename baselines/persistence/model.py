"""What needs no model: the last frame stands still, or goes on changing as it just did.

Needs no torch, so that the least that any model must beat is there for everyone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild

KINDS = ("last-frame", "linear")


class Persistence(Savable):
    """Repeats the last frame, or adds the last change to it again and again; learns nothing."""

    def __init__(self, kind: str) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}, not {kind!r}")
        self.kind = kind
        self._pixels: int | None = None

    def fit(self, train: Samples, validation: Samples | None = None) -> Persistence:
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Frames of shape (samples, horizon, n, n), float16, not clipped.

        Raises ValueError if the context has a wrong shape or the horizons differ.
        """
        context, horizons = np.asarray(inputs["context"]), np.unique(inputs["horizon"])
        needed = 1 + (self.kind == "linear")
        if context.ndim != 4 or context.shape[1] < needed:
            raise ValueError(
                f"context of shape {context.shape} is not (samples, {needed} or more, n, n)"
            )
        if not np.isfinite(context).all():
            raise ValueError("context holds values that are not finite")
        if len(horizons) != 1 or horizons.dtype.kind not in "iu" or horizons[0] < 1:
            raise ValueError(
                f"horizon must be one positive whole number, not {horizons[:5].tolist()}"
            )
        rows, _, *side = context.shape
        self._pixels = side[0] * side[1]
        predicted = np.empty((rows, int(horizons[0]), *side), np.float16)
        ahead = np.arange(1, predicted.shape[1] + 1, dtype=np.float32)[:, None, None]
        for row, frames in enumerate(context):
            last = frames[-1].astype(np.float32)
            change = last - frames[-2] if self.kind == "linear" else 0.0
            predicted[row] = last + ahead * change
        return predicted

    def parameter_count(self) -> int:
        return 0

    def flops(self) -> float | None:
        """A product and a sum per pixel of a frame, or nothing at all."""
        if self.kind == "last-frame":
            return 0.0
        return None if self._pixels is None else 2.0 * self._pixels


@keeps_arguments
def build(seed: int, device: str, *, kind: str) -> Persistence:
    """A model that is never trained.

    Args:
        seed: not used.
        device: not used.
        kind: ``last-frame`` or ``linear``.
    """
    return Persistence(kind)


def load(folder: Path, device: str) -> Persistence:
    return rebuild(build, folder, device)
