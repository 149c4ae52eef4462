"""Features of many images, each computed once: from the store, else by the encoder, in batches.

The encoder is imported only if the store lacks a feature.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etchmark.errors import CannotRun
from etchmark.features.locating import locate
from etchmark.features.spec import EncoderSpec, Output
from etchmark.features.store import Damaged, Found, Shelf, image_hash
from etchmark.features.weights import Weights
from etchmark.text import one_line

if TYPE_CHECKING:
    from etchmark.features.encoders import Encoder

STEP_S = 10.0
"""Seconds between lines of progress."""


@dataclass(frozen=True)
class Features:
    """Features of some images.

    Attributes:
        values: shape (images, features), float32; the outputs side by side.
        widths: number of features of each output.
        seconds: time it took to compute them, now or earlier; each image counts once.
        spent: wall time of this call, with the loading of the encoder.
        cpu_spent: processor time of the same.
        computed: number of images encoded in this call.
        recipe: everything but the images that determines them, of the first output.
        weights: where the weights come from, with their hash.
    """

    values: np.ndarray
    widths: tuple[int, ...]
    seconds: float
    spent: float
    cpu_spent: float
    computed: int
    recipe: dict[str, Any]
    weights: str


def features(
    pictures: Sequence[np.ndarray],
    spec: EncoderSpec,
    outputs: Sequence[Output],
    *,
    folder: Path | None,
    device: str = "cpu",
    given: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Features:
    """Pooled features of images by one forward pass per image, ever.

    Args:
        pictures: uint8 arrays of shape (height, width), 0 to 255; equal ones are encoded once.
        spec: the encoder and how images come into it.
        outputs: layers and poolings, put side by side.
        folder: the feature store; None keeps nothing.
        device: ``cpu`` or ``cuda``.
        given: file of weights named by the caller.
        say: called with a line of progress every ten seconds while the encoder runs.

    Raises:
        CannotRun: weights or packages are not available, or the store is unusable.
        UserError: an option is invalid.
    """
    try:
        return _features(pictures, spec, outputs, folder, device, given, say or _say)
    except ModuleNotFoundError as error:
        raise CannotRun(
            f"image features need {error.name}, which is not installed; install etchmark[features]"
        ) from None


def parameter_count(spec: EncoderSpec) -> int:
    """Parameters of an encoder without its classifier, from its architecture alone.

    Raises:
        ModuleNotFoundError: torch or timm is not installed.
        UserError: there is no such encoder.
    """
    from etchmark.features.networks import parameter_count

    return parameter_count(spec)


def _features(
    pictures: Sequence[np.ndarray],
    spec: EncoderSpec,
    outputs: Sequence[Output],
    folder: Path | None,
    device: str,
    given: Path | None,
    say: Callable[[str], None],
) -> Features:
    weights = locate(spec, given)
    recipes = [spec.recipe(weights, output, device) for output in outputs]
    hashes = [image_hash(picture) for picture in pictures]
    first = {key: place for place, key in reversed(list(enumerate(hashes)))}
    shelves = [None if folder is None else Shelf(folder, recipe) for recipe in recipes]
    known = [{} if shelf is None else _known(shelf, list(first)) for shelf in shelves]
    missing = [key for key in first if any(key not in stored for stored in known)]
    started, started_cpu = time.perf_counter(), time.process_time()
    if missing:
        job = _Job(pictures, first, spec, weights, outputs, device, shelves, known)
        job.run(missing, say)
    spent, cpu_spent = time.perf_counter() - started, time.process_time() - started_cpu
    parts = [np.stack([stored[key].vector for key in hashes]) for stored in known]
    widths = tuple(part.shape[1] for part in parts)
    # All outputs of an image come from one pass and carry its time.
    seconds = sum(known[0][key].seconds for key in first)
    return Features(
        np.concatenate(parts, axis=1),
        widths,
        seconds,
        spent,
        cpu_spent,
        computed=len(missing),
        recipe=recipes[0],
        weights=weights.source,
    )


def _known(shelf: Shelf, hashes: Sequence[bytes]) -> dict[bytes, Found]:
    try:
        return shelf.get(hashes)
    except Damaged as damaged:
        aside = damaged.set_aside()
        _say(f"feature store: {damaged.path.name} is damaged, now {aside.name}")
        return {}


def _say(text: str) -> None:
    print(one_line(text), file=sys.stderr, flush=True)


@dataclass(frozen=True)
class _Job:
    """Images to encode, and where their features go.

    Attributes:
        pictures: all images, equal ones included.
        first: place of the first of all equal images, by their hash.
        shelves: where the features of each output are stored, None to store nothing.
        known: features of each output by the hash of their image; grows while the job runs.
    """

    pictures: Sequence[np.ndarray]
    first: Mapping[bytes, int]
    spec: EncoderSpec
    weights: Weights
    outputs: Sequence[Output]
    device: str
    shelves: Sequence[Shelf | None]
    known: list[dict[bytes, Found]]

    def run(self, missing: list[bytes], say: Callable[[str], None]) -> None:
        from etchmark.features.encoders import Encoder

        encoder = Encoder(self.spec, self.weights, self.device)
        size = max(1, encoder.at_once // len(self.spec.views))
        # Two processes on the same images start at different ones and share the work.
        batches = [missing[at : at + size] for at in range(0, len(missing), size)]
        random.Random(os.getpid()).shuffle(batches)  # noqa: S311
        say(f"{self.spec.name}: {len(missing)} images to encode")
        started = reported = time.perf_counter()
        for count, batch in enumerate(batches):
            self._batch(encoder, batch)
            now = time.perf_counter()
            if now - reported > STEP_S:
                reported, done = now, (count + 1) / len(batches)
                left = (now - started) * (1 - done) / done
                say(f"{self.spec.name}: {done:.0%} of {len(missing)} images, {left:.0f} s left")

    def _batch(self, encoder: Encoder, batch: list[bytes]) -> None:
        # Another process may have stored some of them since.
        for shelf, known in zip(self.shelves, self.known, strict=True):
            if shelf is not None:
                known.update(shelf.get(batch))
        left = [key for key in batch if any(key not in known for known in self.known)]
        if not left:
            return
        started = time.perf_counter()
        views = [self.spec.views.of(self.pictures[self.first[key]]) for key in left]
        outputs = encoder([view for of_image in views for view in of_image], self.outputs)
        means = [output.reshape(len(left), -1, output.shape[1]).mean(axis=1) for output in outputs]
        each = (time.perf_counter() - started) / len(left)
        for shelf, known, vectors in zip(self.shelves, self.known, means, strict=True):
            if not np.isfinite(vectors).all():
                raise FloatingPointError(f"{self.spec.name}: features are not finite")
            if shelf is not None:
                shelf.put(left, vectors, each)
            known.update({key: Found(row, each) for key, row in zip(left, vectors, strict=True)})
