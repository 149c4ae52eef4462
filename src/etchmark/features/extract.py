"""Features of many images, each computed once: from the store, else by the encoder, in batches.

The encoder is not even imported while the store has everything.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etchmark.errors import CannotRun
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
        seconds: what computing them took, whenever that was; each image counts once.
        spent: wall time of what was computed just now, with the loading of the encoder.
        computed: number of images the encoder was run on just now.
        recipe: everything but the images that decided them, of the first output.
        weights: where the weights come from, with their hash.
    """

    values: np.ndarray
    seconds: float
    spent: float
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
        given: file of weights that the caller names.
        say: is given a line every ten seconds while the encoder runs.

    Raises:
        CannotRun: weights or packages are not here and not to be had, or the store is unusable.
        UserError: an option is wrong.
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
    from etchmark.features.encoders import parameter_count

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
    found = spec.locate(given)
    recipes = [spec.recipe(found, one, device) for one in outputs]
    hashes = [image_hash(one) for one in pictures]
    first = {one: place for place, one in reversed(list(enumerate(hashes)))}
    shelves = [None if folder is None else Shelf(folder, one) for one in recipes]
    known = [{} if one is None else _known(one, list(first)) for one in shelves]
    missing = [one for one in first if any(one not in part for part in known)]
    started = time.perf_counter()
    if missing:
        job = _Job(pictures, first, spec, found, outputs, shelves, known, device)
        job.run(missing, say)
    spent = time.perf_counter() - started
    values = np.concatenate(
        [np.stack([part[one].vector for one in hashes]) for part in known], axis=1
    )
    # All outputs of an image come from one pass and carry its time.
    seconds = sum(known[0][one].seconds for one in first)
    return Features(values, seconds, spent, len(missing), recipes[0], found.source)


def _known(shelf: Shelf, hashes: Sequence[bytes]) -> dict[bytes, Found]:
    try:
        return shelf.get(hashes)
    except Damaged as damaged:
        aside = damaged.set_aside()
        _say(f"feature store: {damaged.path.name} is damaged, now {aside.name}")
        return {}


def _say(said: str) -> None:
    print(one_line(said), file=sys.stderr, flush=True)


class _Job:
    """What is left to encode."""

    def __init__(
        self,
        pictures: Sequence[np.ndarray],
        first: dict[bytes, int],
        spec: EncoderSpec,
        found: Weights,
        outputs: Sequence[Output],
        shelves: Sequence[Shelf | None],
        known: list[dict[bytes, Found]],
        device: str,
    ) -> None:
        self.pictures, self.first, self.spec = pictures, first, spec
        self.found, self.outputs, self.device = found, outputs, device
        self.shelves, self.known = shelves, known

    def run(self, missing: list[bytes], say: Callable[[str], None]) -> None:
        from etchmark.features.encoders import Encoder

        encoder = Encoder(self.spec, self.found, self.device)
        size = max(1, encoder.at_once // len(self.spec.views))
        # Two processes on the same images begin at different ones and take over from each other.
        batches = [missing[at : at + size] for at in range(0, len(missing), size)]
        random.Random(os.getpid()).shuffle(batches)  # noqa: S311
        say(f"{self.spec.name}: {len(missing)} images to encode")
        started = told = time.perf_counter()
        for count, batch in enumerate(batches):
            self._batch(encoder, batch)
            now = time.perf_counter()
            if now - told > STEP_S:
                told, done = now, (count + 1) / len(batches)
                left = (now - started) * (1 - done) / done
                say(f"{self.spec.name}: {done:.0%} of {len(missing)} images, {left:.0f} s left")

    def _batch(self, encoder: Encoder, batch: list[bytes]) -> None:
        for shelf, part in zip(self.shelves, self.known, strict=True):
            if shelf is not None:
                part.update(shelf.get(batch))
        left = [one for one in batch if any(one not in part for part in self.known)]
        if not left:
            return
        started = time.perf_counter()
        views = [self.spec.views.of(self.pictures[self.first[one]]) for one in left]
        made = encoder([one for part in views for one in part], self.outputs)
        means = [one.reshape(len(left), -1, one.shape[1]).mean(axis=1) for one in made]
        each = (time.perf_counter() - started) / len(left)
        for shelf, part, vectors in zip(self.shelves, self.known, means, strict=True):
            if not np.isfinite(vectors).all():
                raise FloatingPointError(f"{self.spec.name}: features are not finite")
            if shelf is not None:
                shelf.put(left, vectors, each)
            part.update({one: Found(row, each) for one, row in zip(left, vectors, strict=True)})
