"""What baselines on a frozen image encoder have in common: features of pictures, and their cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from etchmark import settings
from etchmark.errors import CannotRun, UserError
from etchmark.features.extract import Features, features, parameter_count
from etchmark.features.spec import EncoderSpec, Output
from etchmark.features.weights import PRETRAINED, RANDOM
from etchmark.model import FeatureSeconds
from etchmark.saving import Savable

PIXELS = "pixels"
"""Given instead of an encoder's name: plain pixels."""


class FrozenFeatures(Savable):
    """Features of a frozen encoder, or plain pixels, and a head that a subclass fits on them.

    A subclass calls ``encode``, and ``weights_present`` after it has read its training samples.

    Args:
        encoder: what computes the features; None for plain pixels.
        outputs: layers and poolings, side by side.
        head: fitted on the features; tells its ``parameter_count``.
        pixels: side to which plain pixels are averaged.
        device: ``cpu`` or ``cuda``.
        weights: file of weights named by the caller.

    Attributes:
        made: the features that were read last; None for plain pixels.
        weights_id: hash of the weights that the head was fitted with; None before a fit.
    """

    def __init__(
        self,
        encoder: EncoderSpec | None,
        outputs: Sequence[Output],
        head: Any,
        *,
        pixels: int,
        device: str,
        weights: Path | None,
    ) -> None:
        self.encoder, self.outputs, self.head = encoder, outputs, head
        self.pixels, self.device, self.weights = pixels, device, weights
        self.seconds = FeatureSeconds()
        self.began: tuple[float, float] | None = None
        self.made: Features | None = None
        self.weights_id: str | None = None

    def encode(
        self, pictures: Sequence[np.ndarray], precision: DTypeLike = np.float32
    ) -> np.ndarray:
        """Features of pictures, each computed once and kept in the feature store.

        Args:
            pictures: uint8 arrays of shape (height, width).
            precision: type of the result.

        Returns:
            Shape (pictures, features).

        Raises:
            CannotRun: weights or packages are missing, or the weights are not those of the fit.
        """
        if self.encoder is None:
            return np.stack([shrunk(picture, self.pixels, precision) for picture in pictures])
        self.began = time.perf_counter(), time.process_time()
        self.made = features(
            pictures,
            self.encoder,
            self.outputs,
            folder=settings.features(),
            device=self.device,
            given=self.weights,
        )
        took = FeatureSeconds(self.made.seconds, self.made.spent, self.made.cpu_spent)
        self.began, self.seconds = None, self.seconds + took
        present = self.weights_present()
        if self.weights_id not in (None, present):
            raise CannotRun(
                f"the saved head was fitted on features of weights {self.weights_id}, and those on"
                f" this machine are {present}; put the former into ETCHMARK_WEIGHTS"
            )
        return self.made.values.astype(precision, copy=False)

    def weights_present(self) -> str | None:
        """Hash of the weights that the last features were computed with; None of plain pixels."""
        return None if self.made is None else self.made.recipe["weights"]

    def parameter_count(self) -> int:
        """What was fitted here; the encoder's own parameters were not."""
        return self.head.parameter_count()

    def total_parameter_count(self) -> int | None:
        """What was fitted here and the encoder's own parameters; None where timm is missing."""
        if self.encoder is None:
            return self.parameter_count()
        try:
            return self.parameter_count() + parameter_count(self.encoder)
        except ModuleNotFoundError:
            return None

    def feature_seconds(self) -> FeatureSeconds:
        """What the features read so far took, and what those being read have taken."""
        if self.began is None:
            return self.seconds
        began, began_cpu = self.began
        return self.seconds + FeatureSeconds(
            now=time.perf_counter() - began, cpu_now=time.process_time() - began_cpu
        )

    def made_with(self) -> dict[str, str]:
        """For the record: which encoder, weights and precision; nothing of plain pixels."""
        if self.encoder is None or self.made is None:
            return {}
        return {
            "encoder": self.encoder.name,
            "weights": self.made.weights,
            "precision": str(self.made.recipe["precision"]),
        }


def encoder_named(name: str, *, weights: str = PRETRAINED, **more: Any) -> EncoderSpec | None:
    """The encoder that a card names; None for ``pixels``.

    Args:
        name: of the encoder, as ``EncoderSpec`` knows it, or ``pixels``.
        weights: ``pretrained`` or ``random``.
        more: further arguments of ``EncoderSpec``.

    Raises:
        UserError: an argument is invalid, or random weights are asked for by a name that has a tag.
    """
    if name == PIXELS:
        return None
    if weights == RANDOM and "." in name:
        bare = name.partition(".")[0]
        raise UserError(f"{name} names trained weights; random ones are of {bare!r} alone")
    return EncoderSpec(name, weights=weights, **more)


def shrunk(image: np.ndarray, side: int, precision: DTypeLike = np.float32) -> np.ndarray:
    """Mean grey levels of a grid of ``side`` × ``side`` pixels, flat, 0 to 1."""
    from PIL import Image

    small = min(side, *image.shape)
    picture = Image.fromarray(image).resize((small, small), Image.Resampling.BOX)
    return np.asarray(picture, dtype=precision).ravel() / 255.0
