"""Frozen features of a pretrained image encoder → light regression.

Reads every image column of a track (``microstructure`` of shape (samples, n, n), the three faces
``section_x``, ``section_y``, ``section_z``, or ``micrograph``), and beside it ``contrast`` where it
varies and the composition where it is asked for. Features are computed once and kept in the
feature store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from etchmark.errors import UserError
from etchmark.features.frozen import PIXELS, FrozenFeatures, encoder_named
from etchmark.features.images import Views, grey
from etchmark.features.spec import LAST, EncoderSpec, Layer, Output
from etchmark.learning.kernel_ridge import KernelRidge
from etchmark.learning.surfaces import MAX_TERMS, Data, GaussianProcess, PolynomialRidge
from etchmark.model import Inputs, Samples
from etchmark.saving import keeps_arguments, rebuild

IMAGES = ("microstructure", "section_x", "section_y", "section_z", "micrograph")
SECTIONS = ("concatenate", "mean", "max")
HEADS = ("pca-linear", "pca-quadratic", "ridge", "kernel-ridge", "gaussian-process")
CHOICE_COMPONENTS = 16
"""Principal components with which layers are compared, where the head reads components."""
OWN_SIZE, STRIDE = "images", 16
"""Size of an input that is the images' own, rounded up to a multiple of what encoders shrink by."""
ATOMIC_PERCENT = "_at"
"""How the columns of a composition end."""


class FoundationFeatures(FrozenFeatures):
    """Encoder, aggregation over faces, head.

    Args:
        encoder: None for plain pixels.
        outputs: layers and poolings, side by side.
        head: fitted on (features, scalars).
        sections: ``concatenate``, ``mean`` or ``max`` over the image columns of a sample.
        composition: also read the atomic percent of each element.
        chooser: fitted to each of the outputs, of which only the one with its smallest error on
            validation samples or inner folds of the training samples is read; None to read all.
        top: keep only this many features, the most important ones of a ridge regression.
        pixels: side to which plain pixels are averaged.
        device: ``cpu`` or ``cuda``.
        own_size: the encoder's input has the size of the training images where all have one.
        weights: file of weights named by the caller.
    """

    saved = ("reads_contrast", "kept", "weights_id", "head")

    def __init__(
        self,
        encoder: EncoderSpec | None,
        outputs: list[Output],
        head: Any,
        *,
        sections: str,
        composition: bool,
        chooser: Any,
        own_size: bool,
        top: int | None,
        pixels: int,
        device: str,
        weights: Path | None,
    ) -> None:
        super().__init__(encoder, outputs, head, pixels=pixels, device=device, weights=weights)
        self.sections, self.composition, self.top = sections, composition, top
        self.chooser, self.own_size = chooser, own_size
        self.layer: str | None = None

    def state(self) -> dict[str, Any]:
        size = {"size": self.encoder.size} if self.encoder is not None and self.own_size else {}
        return super().state() | size

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        if self.encoder is not None and self.own_size:
            self.encoder = replace(self.encoder, size=state["size"])

    # --- inputs ---

    def _features(self, inputs: Inputs) -> np.ndarray:
        """Shape (samples, features), float32."""
        columns = [name for name in IMAGES if name in inputs]
        if not columns:
            shown = ", ".join(list(inputs)[:5]) + (", …" if len(inputs) > 5 else "")
            raise UserError(
                f"this track has no images, faces or micrographs (its inputs: {shown}); give a"
                " --track that has some"
            )
        for name in columns:
            if np.ndim(inputs[name]) == 4:
                raise UserError(f"{name} holds volumes; this model reads images or faces")
        pictures = [one for name in columns for one in grey(name, inputs[name])]
        flat = self.encode(pictures)
        faces = flat.reshape(len(columns), -1, flat.shape[1])
        if self.sections == "concatenate":
            return np.concatenate(list(faces), axis=1)
        return faces.mean(axis=0) if self.sections == "mean" else faces.max(axis=0)

    def _scalars(self, inputs: Inputs) -> np.ndarray:
        count = len(next(iter(inputs[name] for name in inputs)))
        parts = []
        if self.reads_contrast:
            parts.append(np.log(np.asarray(inputs["contrast"], dtype=np.float64))[:, None])
        if self.composition:
            elements = sorted(name for name in inputs if name.endswith(ATOMIC_PERCENT))
            if not elements:
                raise UserError(f"composition: there is none among {', '.join(inputs)}")
            parts.append(np.stack([inputs[name] for name in elements], axis=1))
        return np.concatenate(parts, axis=1) if parts else np.empty((count, 0))

    def _data(self, samples: Samples) -> Data:
        found = self._features(samples.inputs)
        target = np.asarray(samples.target, dtype=np.float64)
        return Data(found, self._scalars(samples.inputs), target, samples.groups)

    # --- the model ---

    def fit(self, train: Samples, validation: Samples | None = None) -> FoundationFeatures:
        contrast = train.inputs["contrast"] if "contrast" in train.inputs else np.ones(1)
        self.reads_contrast = bool(np.ptp(contrast) > 0)
        self.weights_id = None
        if self.encoder is not None and self.own_size:
            self.encoder = replace(self.encoder, size=_own_size(train.inputs))
        data = self._data(train)
        held_out = None if validation is None else self._data(validation)
        self.weights_id = self.weights_present()
        self.kept = np.arange(data.features.shape[1])
        if self.chooser is not None and self.made is not None:
            self._choose_layer(data, held_out, self.made.widths)
        elif self.top is not None:
            self.kept = most_important(data)[: self.top]
        self.head.fit(*(self._reduced(one) for one in (data, held_out)))
        return self

    def _choose_layer(self, data: Data, held_out: Data | None, widths: tuple[int, ...]) -> None:
        """Keep the features of the layer with the smallest error off the samples of the fit."""
        ends = np.cumsum(widths)
        # One column per feature, one row per image of a sample.
        places = np.arange(data.features.shape[1]).reshape(-1, ends[-1])
        kept, best = self.kept, np.inf
        for output, columns in zip(self.outputs, np.split(places, ends[:-1], axis=1), strict=True):
            self.kept = columns.ravel()
            error = self.chooser.fit(*map(self._reduced, (data, held_out))).left_out_error
            if error < best:
                best, kept, self.layer = error, self.kept, str(output.layer)
        self.kept = kept

    def _reduced(self, data: Data | None) -> Data | None:
        if data is None:
            return None
        return Data(data.features[:, self.kept], data.scalars, data.target, data.groups)

    def predict(self, inputs: Inputs) -> np.ndarray:
        return self.head.predict(self._features(inputs)[:, self.kept], self._scalars(inputs))

    def made_with(self) -> dict[str, str]:
        """For the record: how many features, which weights, which precision, which cut."""
        told = {"features": str(len(self.kept)), **super().made_with()}
        return told if self.layer is None else told | {"layer": self.layer}


def most_important(data: Data) -> np.ndarray:
    """Features by falling absolute coefficient of a ridge regression, each in its own spread."""
    spread = data.features.std(axis=0)
    scaled = (data.features - data.features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    scalars = data.scalars
    ridge = KernelRidge("linear").fit(Data(scaled, scalars, data.target, data.groups))
    slopes = ridge.weights @ (ridge.train - ridge.train.mean(axis=0))[:, : scaled.shape[1]]
    return np.argsort(-np.abs(slopes), kind="stable")


def _own_size(inputs: Inputs) -> int | None:
    """Side of square images, rounded up; None where they differ."""
    shapes = {np.shape(image) for name in IMAGES if name in inputs for image in inputs[name]}
    sides = {side for shape in shapes for side in shape}
    return -(-sides.pop() // STRIDE) * STRIDE if len(sides) == 1 else None


def _head(name: str, log_target: bool, components: int | None, seed: int) -> Any:
    if name not in HEADS:
        raise UserError(f"head {name!r}: give one of {', '.join(HEADS)}")
    chosen: dict[str, Any] = {} if components is None else {"components": (components,)}
    degree = 2 if name == "pca-quadratic" else 1
    if components is not None and comb(components + degree, degree) > MAX_TERMS:
        raise UserError(f"components {components}: so many make over {MAX_TERMS} terms; give fewer")
    if name == "pca-linear":
        return PolynomialRidge(1, log_target=log_target, seed=seed, **chosen)
    if name == "pca-quadratic":
        return PolynomialRidge(2, log_target=log_target, seed=seed, **chosen)
    if components is not None:
        raise UserError(f"components {components}: {name} reads no principal components")
    if name == "gaussian-process":
        return GaussianProcess(log_target=log_target, seed=seed)
    return KernelRidge("rbf" if name == "kernel-ridge" else "linear", log_target=log_target)


def _chooser(name: str, log_target: bool, components: int | None, seed: int) -> Any:
    """A head that tells layers apart: one number of components, instead of a search for each."""
    if name.startswith("pca-"):
        components = components or CHOICE_COMPONENTS
    return _head(name, log_target, components, seed)


@keeps_arguments
def build(
    seed: int,
    device: str,
    encoder: str,
    head: str = "pca-quadratic",
    log_target: bool = True,
    weights: str = "pretrained",
    weights_file: str | None = None,
    local: str | None = None,
    size: int | str | None = None,
    preprocessing: str = "timm",
    crop: float | None = None,
    precision: str = "auto",
    layers: Layer | list[Layer] | None = None,
    choose_layer: bool = False,
    pooling: str = "class",
    sections: str = "concatenate",
    views: Mapping[str, Any] | None = None,
    composition: bool = False,
    components: int | None = None,
    top: int | None = None,
    pixels: int = 32,
    options: Mapping[str, Any] | None = None,
) -> FoundationFeatures:
    """An unfitted model.

    Args:
        seed: of random weights and of the head.
        device: ``cpu`` or ``cuda``.
        encoder: timm's name with its tag, ``squeezenet1_1``, ``vgg19_normalised``, ``vgg19_16x`` or
            ``pixels``.
        head: ``pca-linear``, ``pca-quadratic``, ``ridge``, ``kernel-ridge``, ``gaussian-process``.
        log_target: regress the logarithm.
        weights: ``pretrained`` or ``random``.
        weights_file: safetensors file (``--weights``).
        local: file name in ``ETCHMARK_WEIGHTS``, if it is not ``<encoder>.safetensors``.
        size: side of the encoder's input; ``images`` for that of the training images, rounded up to
            a multiple of 16, if they have one; None for the encoder's own.
        preprocessing: ``timm`` or ``as-published`` (square, no normalisation).
        crop: share of the resized image that is kept, None for the encoder's own.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        layers: ``last``, numbers of blocks or names, one or several side by side.
        choose_layer: of several, only the one that serves best inside the training data.
        pooling: one of ``etchmark.features.spec.POOLINGS``.
        sections: ``concatenate``, ``mean`` or ``max``.
        views: averaged over: ``turns`` (1, 2, 4), ``flips``, ``shifts``.
        composition: also read atomic percents.
        components: this many principal components; chosen by the head if None.
        top: only the most important features.
        pixels: side of plain pixels.
        options: further arguments of timm's ``create_model``.
    """
    if sections not in SECTIONS:
        raise UserError(f"sections {sections!r}: give one of {', '.join(SECTIONS)}")
    flags = {"composition": composition, "log_target": log_target, "choose_layer": choose_layer}
    for name, given in flags.items():
        if not isinstance(given, bool):
            raise UserError(f"{name} {given!r}: give true or false")
    for name, given in (("components", components), ("top", top), ("pixels", pixels)):
        if given is not None and (type(given) is not int or given < 1):
            raise UserError(f"{name} {given!r}: give a whole number from 1 on")
    if not isinstance(views or {}, Mapping) or set(views or {}) - {"turns", "flips", "shifts"}:
        raise UserError(f"views {views!r}: give turns, flips and shifts")
    if isinstance(layers, int | str):
        layers = [layers]
    if choose_layer and (encoder == PIXELS or len(layers or []) < 2 or top is not None):
        raise UserError("choose_layer: needs an encoder with several layers, and no top")
    if choose_layer and head == "gaussian-process":
        raise UserError(
            "choose_layer: a gaussian-process knows no error to choose by; give another"
        )
    if encoder == PIXELS and weights_file is not None:
        raise UserError("plain pixels have no weights; drop --weights")
    spec = encoder_named(
        encoder,
        weights=weights,
        seed=seed,
        size=None if size == OWN_SIZE else size,
        preprocessing=preprocessing,
        crop=crop,
        precision=precision,
        views=Views(**(views or {})),
        local=local,
        options=dict(options or {}),
    )
    return FoundationFeatures(
        spec,
        [Output(layer, pooling) for layer in layers or [LAST]],
        _head(head, log_target, components, seed),
        sections=sections,
        composition=composition,
        chooser=_chooser(head, log_target, components, seed) if choose_layer else None,
        own_size=size == OWN_SIZE,
        top=top,
        pixels=pixels,
        device=device,
        weights=None if weights_file is None else Path(weights_file),
    )


def load(folder: Path, device: str) -> FoundationFeatures:
    return rebuild(build, folder, device)
