"""Frozen features of a pretrained image encoder → light classifier.

Reads ``micrograph`` (samples, height, width). Features are computed once and kept in the feature
store.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etchmark import settings
from etchmark.errors import CannotRun, UserError
from etchmark.features.extract import Features, features, parameter_count
from etchmark.features.images import grey
from etchmark.features.spec import LAST, EncoderSpec, Layer, Output
from etchmark.features.weights import RANDOM
from etchmark.learning.classifiers import Classifier
from etchmark.model import FeatureSeconds, Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild

PIXELS = "pixels"
MEAN, DEVIATION = 128.0, 48.0
"""Grey levels of standardised images."""


class FoundationClasses(Savable):
    """Encoder and classifier.

    Args:
        encoder: what computes the features; None for plain pixels.
        outputs: layers and poolings, side by side.
        head: fitted on the features.
        standardise: bring every image to one mean and one spread of grey levels first.
        pixels: side to which plain pixels are averaged.
        device: ``cpu`` or ``cuda``.
        weights: file of weights named by the caller.
    """

    saved = ("weights_id", "head")

    def __init__(
        self,
        encoder: EncoderSpec | None,
        outputs: list[Output],
        head: Classifier,
        *,
        standardise: bool,
        pixels: int,
        device: str,
        weights: Path | None,
    ) -> None:
        self.pixels = pixels
        self.encoder, self.outputs, self.head = encoder, outputs, head
        self.standardise, self.device, self.weights = standardise, device, weights
        self.seconds = FeatureSeconds()
        self.began: tuple[float, float] | None = None
        self.made: Features | None = None
        self.weights_id: str | None = None

    def _features(self, inputs: Inputs) -> np.ndarray:
        """Shape (samples, features), float64."""
        if "micrograph" not in inputs:
            raise UserError("this track has no micrographs; give a --track that has some")
        pictures = grey("micrograph", inputs["micrograph"])
        if self.standardise:
            pictures = [standardised(picture) for picture in pictures]
        if self.encoder is None:
            return np.stack([shrunk(picture, self.pixels) for picture in pictures])
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
        present = self.made.recipe["weights"]
        if self.weights_id not in (None, present):
            raise CannotRun(
                f"the saved head was fitted on features of weights {self.weights_id}, and those on"
                f" this machine are {present}; put the former into ETCHMARK_WEIGHTS"
            )
        return self.made.values.astype(np.float64)

    def fit(self, train: Samples, validation: Samples | None = None) -> FoundationClasses:
        if train.classes is None:
            raise UserError("foundation_classes predicts probabilities of classes alone")
        self.weights_id = None
        found = self._features(train.inputs)
        self.weights_id = None if self.made is None else self.made.recipe["weights"]
        self.head.fit(found, np.asarray(train.target), train.classes, train.groups)
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        return self.head.predict(self._features(inputs))

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
        """For the record: which weights, which precision."""
        if self.encoder is None or self.made is None:
            return {}
        return {
            "features": str(self.made.values.shape[1]),
            "encoder": self.encoder.name,
            "weights": self.made.weights,
            "precision": str(self.made.recipe["precision"]),
        }


def standardised(image: np.ndarray) -> np.ndarray:
    """An image with a mean of 128 and a standard deviation of 48 grey levels, uint8."""
    values = image.astype(np.float64)
    scaled = (values - values.mean()) / max(float(values.std()), 1e-6)
    return np.rint(np.clip(MEAN + DEVIATION * scaled, 0, 255)).astype(np.uint8)


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
    """Mean grey levels of a grid of pixels, flat, 0 to 1."""
    from PIL import Image

    small = min(side, *image.shape)
    picture = Image.fromarray(image).resize((small, small), Image.Resampling.BOX)
    return np.asarray(picture, dtype=np.float64).ravel() / 255.0


@keeps_arguments
def build(
    seed: int,
    device: str,
    encoder: str,
    head: str = "linear",
    top: int | None = None,
    standardise: bool = False,
    weights: str = "pretrained",
    weights_file: str | None = None,
    local: str | None = None,
    layers: Layer | Sequence[Layer] | None = None,
    pooling: str = "class",
    size: int | None = None,
    crop: float | None = None,
    precision: str = "auto",
    pixels: int = 32,
    options: Mapping[str, Any] | None = None,
) -> FoundationClasses:
    """An unfitted model.

    Args:
        seed: of random weights and of the head.
        device: ``cpu`` or ``cuda``.
        encoder: timm's name with its tag, ``squeezenet1_1``, ``vgg19_normalised``, ``vgg19_16x`` or
            ``pixels``.
        head: ``linear`` or ``forest``.
        top: only this many features, the most telling ones of the training samples.
        standardise: bring every image to one mean and one spread of grey levels first.
        weights: ``pretrained`` or ``random``.
        weights_file: safetensors file (``--weights``).
        local: file name in ``ETCHMARK_WEIGHTS``, if it is not ``<encoder>.safetensors``.
        layers: ``last``, numbers of blocks or names, one or several side by side.
        pooling: ``class``, ``mean``, ``both`` or ``pyramid``.
        size: side of the encoder's input, None for its own.
        crop: share of the resized image that is kept, None for the encoder's own.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        pixels: side of plain pixels.
        options: further arguments of timm's ``create_model``.
    """
    if weights == RANDOM and "." in encoder:
        bare = encoder.partition(".")[0]
        raise UserError(f"{encoder} names trained weights; random ones are of {bare!r} alone")
    named = [layers] if isinstance(layers, str | int) else list(layers or [LAST])
    spec = None
    if encoder != PIXELS:
        spec = EncoderSpec(
            encoder,
            weights=weights,
            seed=seed,
            local=local,
            size=size,
            crop=crop,
            precision=precision,
            options=dict(options or {}),
        )
    return FoundationClasses(
        spec,
        [Output(layer, pooling) for layer in named],
        Classifier(head, top=top, seed=seed),
        standardise=standardise,
        pixels=pixels,
        device=device,
        weights=None if weights_file is None else Path(weights_file),
    )


def load(folder: Path, device: str) -> FoundationClasses:
    return rebuild(build, folder, device)
