"""Which encoder, and how images are prepared for it (no torch, no timm)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from etchmark.environment import cpu_multiplies_bfloat16
from etchmark.errors import UserError
from etchmark.features import images, weights

LAST = "last"
POOLINGS = ("class", "mean", "both", "pyramid", "max", "gram", "grid")
"""How a map becomes a vector: its class token, the mean over positions, both, the mean and those of
four quarters, the largest value of each channel, products of channels (``gram``), or means over
``GRID`` x ``GRID`` cells, channel by channel (``grid``)."""
GRID = 8
FULL, HALF = "float32", "bfloat16"
LEAST_CROP = 0.1
# These decide which weights are loaded and what comes out: a card cannot set them.
OWN_OPTIONS = {
    "cache_dir", "checkpoint_path", "exportable", "features_only", "global_pool", "img_size",
    "in_chans", "num_classes", "scriptable",
}  # fmt: skip

Layer = int | str
"""``last``, the index of a block from 0 (negative counts from the end), or a layer's name where the
encoder has names: ``conv1_1`` to ``conv5_4``, ``fire2`` to ``fire9``."""


@dataclass(frozen=True)
class Output:
    """One pooled output of a forward pass."""

    layer: Layer = LAST
    pooling: str = "mean"

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise UserError(f"pooling {self.pooling!r}: give one of {', '.join(POOLINGS)}")
        if type(self.layer) is not int and not (isinstance(self.layer, str) and self.layer):
            raise UserError(f"layer {self.layer!r}: give '{LAST}', the number of a block or a name")


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder and how images are prepared for it.

    Attributes:
        name: a timm model with its tag (``vit_base_patch16_clip_224.openai``), ``squeezenet1_1``,
            ``vgg19_normalised`` or ``vgg19_16x``.
        weights: ``pretrained`` or ``random``.
        seed: of the random weights.
        size: side of the input in pixels; None for the model's own.
        preprocessing: ``timm``: the model's own resizing, cropping and normalisation;
            ``as-published``: resized to a square, scaled to 0..1, not normalised.
        crop: share of the resized image that is kept; None for the model's own.
        precision: ``float32``, ``bfloat16``, or ``auto``: bfloat16 where the hardware gains by it.
        views: of an image, over which its features are averaged.
        local: file name of its weights in ``ETCHMARK_WEIGHTS``, if not ``<name>.safetensors``.
        options: further arguments of ``timm.create_model`` (embed_dim, depth, ...).
    """

    name: str
    weights: str = weights.PRETRAINED
    seed: int = 0
    size: int | None = None
    preprocessing: str = images.TIMM
    crop: float | None = None
    precision: str = "auto"
    views: images.Views = field(default_factory=images.Views)
    local: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("weights", self.weights, (weights.PRETRAINED, weights.RANDOM)),
            ("preprocessing", self.preprocessing, images.PREPROCESSING),
            ("precision", self.precision, ("auto", FULL, HALF)),
        ):
            if value not in known:
                raise UserError(f"{name} {value!r}: give one of {', '.join(known)}")
        if not isinstance(self.name, str):
            raise UserError(f"encoder {self.name!r}: give a name of timm's, as text")
        if self.size is not None and (type(self.size) is not int or not 16 <= self.size <= 4096):
            raise UserError(f"size {self.size}: give a whole side between 16 and 4096 pixels")
        crop = self.crop
        if crop is not None and not (type(crop) in (int, float) and LEAST_CROP <= crop <= 1):
            raise UserError(f"crop {crop}: give a share from {LEAST_CROP} to 1")
        if not isinstance(self.options, Mapping):
            raise UserError(f"options {self.options!r}: give names with values")
        for name in self.options:
            if name in OWN_OPTIONS or str(name).startswith("pretrained"):
                raise UserError(f"options: a card cannot set {name!r}; remove it")

    def precision_on(self, device: str) -> str:
        """The precision that is used on a device."""
        if self.precision != "auto":
            return self.precision
        if device == "cpu":
            return HALF if cpu_multiplies_bfloat16() else FULL
        from etchmark.learning.training import multiplies_bfloat16

        return HALF if multiplies_bfloat16(device) else FULL

    def recipe(self, source: weights.Weights, output: Output, device: str) -> dict[str, Any]:
        """Everything but the image that decides a feature vector."""
        views = [self.views.turns, self.views.flips, self.views.shifts]
        return {
            "schema": 1,
            "encoder": self.name,
            "options": dict(self.options),
            "weights": source.id,
            "size": self.size,
            "preprocessing": self.preprocessing,
            "crop": self.crop,
            "precision": self.precision_on(device),
            "views": views,
            "layer": output.layer,
            "pooling": output.pooling,
        }
