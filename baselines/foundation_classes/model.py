"""Frozen features of a pretrained image encoder → light classifier.

Reads ``micrograph`` (samples, height, width). Features are computed once and kept in the feature
store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etchmark.errors import UserError
from etchmark.features.frozen import PIXELS, FrozenFeatures, encoder_named
from etchmark.features.images import grey
from etchmark.features.spec import GRID, LAST, EncoderSpec, Layer, Output
from etchmark.learning.classifiers import Classifier
from etchmark.learning.vlad import Vlad
from etchmark.model import Inputs, Samples
from etchmark.saving import keeps_arguments, rebuild

VLAD = "vlad"
"""Pooling whose centres are found in the training images."""
MEAN, DEVIATION = 128.0, 48.0
"""Grey levels of standardised images."""


class FoundationClasses(FrozenFeatures):
    """Encoder and classifier.

    Args:
        encoder: what computes the features; None for plain pixels.
        outputs: layers and poolings, side by side.
        head: fitted on the features.
        standardise: bring every image to one mean and one spread of grey levels first.
        vlad: aggregates the descriptors of a grid, which are the features then; None if they are
            not aggregated.
        pixels: side to which plain pixels are averaged.
        device: ``cpu`` or ``cuda``.
        weights: file of weights named by the caller.
    """

    saved = ("weights_id", "head", "vlad")

    def __init__(
        self,
        encoder: EncoderSpec | None,
        outputs: list[Output],
        head: Classifier,
        *,
        standardise: bool,
        vlad: Vlad | None,
        pixels: int,
        device: str,
        weights: Path | None,
    ) -> None:
        super().__init__(encoder, outputs, head, pixels=pixels, device=device, weights=weights)
        self.standardise, self.vlad = standardise, vlad

    def restore(self, state: Mapping[str, Any]) -> None:
        # Models that were saved before VLAD say nothing of it.
        super().restore({"vlad": None, **state})

    def _features(self, inputs: Inputs, *, fit: bool = False) -> np.ndarray:
        """Shape (samples, features), float64."""
        if "micrograph" not in inputs:
            raise UserError("this track has no micrographs; give a --track that has some")
        pictures = grey("micrograph", inputs["micrograph"])
        if self.standardise:
            pictures = [standardised(picture) for picture in pictures]
        if self.vlad is None:
            return self.encode(pictures, np.float64)
        grids = self.encode(pictures)
        descriptors = grids.reshape(len(grids), -1, GRID**2).transpose(0, 2, 1)
        if fit:
            self.vlad.fit(descriptors)
        return self.vlad.transform(descriptors)

    def fit(self, train: Samples, validation: Samples | None = None) -> FoundationClasses:
        if train.classes is None:
            raise UserError("foundation_classes predicts probabilities of classes alone")
        self.weights_id = None
        found = self._features(train.inputs, fit=True)
        self.weights_id = self.weights_present()
        self.head.fit(found, np.asarray(train.target), train.classes, train.groups)
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        return self.head.predict(self._features(inputs))

    def made_with(self) -> dict[str, str]:
        """For the record: how many features, which weights, which precision."""
        if self.made is None:
            return {}
        count = self.made.values.shape[1]
        if self.vlad is not None:
            count = count // GRID**2 * self.vlad.centres
        return {"features": str(count), **super().made_with()}


def standardised(image: np.ndarray) -> np.ndarray:
    """An image with a mean of 128 and a standard deviation of 48 grey levels, uint8."""
    values = image.astype(np.float64)
    scaled = (values - values.mean()) / max(float(values.std()), 1e-6)
    return np.rint(np.clip(MEAN + DEVIATION * scaled, 0, 255)).astype(np.uint8)


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
    centres: int = 16,
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
        pooling: one of ``etchmark.features.spec.POOLINGS``, or ``vlad`` of one layer.
        centres: of ``vlad``.
        size: side of the encoder's input, None for its own.
        crop: share of the resized image that is kept, None for the encoder's own.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        pixels: side of plain pixels.
        options: further arguments of timm's ``create_model``.
    """
    named = [layers] if isinstance(layers, str | int) else list(layers or [LAST])
    if pooling == VLAD and (len(named) > 1 or encoder == PIXELS):
        raise UserError("pooling vlad: reads one layer of an encoder; name one")
    return FoundationClasses(
        encoder_named(
            encoder,
            weights=weights,
            seed=seed,
            local=local,
            size=size,
            crop=crop,
            precision=precision,
            options=dict(options or {}),
        ),
        [Output(layer, "grid" if pooling == VLAD else pooling) for layer in named],
        Classifier(head, top=top, seed=seed),
        standardise=standardise,
        vlad=Vlad(centres, seed=seed) if pooling == VLAD else None,
        pixels=pixels,
        device=device,
        weights=None if weights_file is None else Path(weights_file),
    )


def load(folder: Path, device: str) -> FoundationClasses:
    return rebuild(build, folder, device)
