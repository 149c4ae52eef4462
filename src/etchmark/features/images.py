"""Images for an encoder: views of a sample, resizing, normalisation (numpy and torch)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from etchmark.errors import UserError

TIMM, AS_PUBLISHED = "timm", "as-published"
PREPROCESSING = (TIMM, AS_PUBLISHED)
MOST_SHIFTS = 64


@dataclass(frozen=True)
class Views:
    """Equivalent views of an image over which its features are averaged.

    Attributes:
        turns: multiples of 90 degrees, 1 (none), 2 (0 and 180) or 4.
        flips: also mirrored views.
        shifts: number of random periodic shifts, for periodic images; 0 for none.
    """

    turns: int = 1
    flips: bool = False
    shifts: int = 0

    def __post_init__(self) -> None:
        if type(self.turns) is not int or self.turns not in (1, 2, 4):
            raise UserError(f"views: turns {self.turns!r}: give 1, 2 or 4")
        if not isinstance(self.flips, bool):
            raise UserError(f"views: flips {self.flips!r}: give true or false")
        if type(self.shifts) is not int or not 0 <= self.shifts <= MOST_SHIFTS:
            raise UserError(f"views: shifts {self.shifts!r}: give a number from 0 to {MOST_SHIFTS}")

    def __len__(self) -> int:
        return self.turns * (2 if self.flips else 1) * max(1, self.shifts)

    def of(self, image: np.ndarray) -> list[np.ndarray]:
        """The views of one image, shape (height, width), the image itself first."""
        shifted = [image]
        # The same shifts for every image, as fractions of its sides.
        shifts = np.random.default_rng(0).random((max(0, self.shifts - 1), 2))
        shifted += [
            np.roll(image, np.round(shift * image.shape).astype(int), axis=(0, 1))
            for shift in shifts
        ]
        turned = [
            np.rot90(view, turn)
            for view in shifted
            for turn in ({1: (0,), 2: (0, 2), 4: (0, 1, 2, 3)}[self.turns])
        ]
        return turned + [view[:, ::-1] for view in turned] if self.flips else turned


def grey(column: str, images: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    """Images of a column as 0 to 255.

    Args:
        column: its name; ``micrograph`` holds grey levels, every other one phases 0 and 1.
        images: uint8 arrays of shape (height, width).
    """
    if column == "micrograph":
        return [np.asarray(image, dtype=np.uint8) for image in images]
    return [np.asarray(image, dtype=np.uint8) * np.uint8(255) for image in images]


def as_published(size: int) -> Callable[[np.ndarray], np.ndarray]:
    """Resize to a square and scale to 0..1, without normalisation (bicubic)."""
    from PIL import Image

    def prepare(image: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
        return np.broadcast_to(np.asarray(picture, dtype=np.float32) / 255.0, (3, size, size))

    return prepare
