"""Crops of micrographs and of an encoder's maps, to train networks that name every pixel.

Needs torch. All of them have one size, so that they stack. What lies beyond a micrograph has no
class, and
``dice_and_entropy`` does not count it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

NO_CLASS = -100
"""Label of pixels beyond the micrograph, which no loss counts."""
GAIN, OFFSET, GAMMA = 0.3, 0.3, 0.3
"""Largest change of contrast (a share), of brightness (standard deviations of the micrograph) and
of the logarithm of the exponent of grey levels."""


def standardised(picture: NDArray[np.uint8]) -> torch.Tensor:
    """Grey levels with mean 0 and standard deviation 1, shape (1, height, width)."""
    grey = torch.from_numpy(picture.astype(np.float32))
    return ((grey - grey.mean()) / (grey.std() + 1.0))[None]


def padded(values: torch.Tensor, multiple: int) -> torch.Tensor:
    """Continued at the right and below by its mirror image, to multiples; shape (1, ...)."""
    more = [-side % multiple for side in values.shape[1:]]
    return functional.pad(values[None], (0, more[1], 0, more[0]), "reflect")[0]


def labels_of(mask: NDArray[np.integer], sides: Sequence[int]) -> torch.Tensor:
    """Classes as numbers, no class beyond the mask; shape ``sides``."""
    labels = torch.full(tuple(sides), NO_CLASS, dtype=torch.int64)
    labels[: mask.shape[0], : mask.shape[1]] = torch.from_numpy(mask.astype(np.int64))
    return labels


def turned(values: torch.Tensor, way: int) -> torch.Tensor:
    """One of the eight symmetries of a square, over the last two axes."""
    values = torch.rot90(values, way % 4, (-2, -1))
    return values.flip(-1) if way >= 4 else values


def regreyed(crop: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    """Another contrast, brightness and curve of grey levels."""
    gain, offset, gamma = generator.uniform(-1, 1, 3) * (GAIN, OFFSET, GAMMA)
    low, high = crop.min(), crop.max()
    span = (high - low).clamp_min(1e-3)
    curved = low + span * ((crop - low) / span).clamp(0, 1) ** float(np.exp(gamma))
    return curved * (1 + gain) + offset


class Pictures:
    """Crops of micrographs: turned, mirrored and changed in grey.

    Args:
        pictures: the training micrographs.
        masks: their classes.
        crop: side of a crop, pixels; less if a micrograph is smaller.
        multiple: of which sides are.
    """

    def __init__(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        masks: Sequence[NDArray[np.integer]],
        crop: int,
        multiple: int,
    ) -> None:
        self.pictures = [padded(standardised(each), multiple) for each in pictures]
        sides = [each.shape[1:] for each in self.pictures]
        self.labels = [labels_of(*pair) for pair in zip(masks, sides, strict=True)]
        self.crop = min(crop, *(side for pair in sides for side in pair)) // multiple * multiple

    def __call__(
        self, rows: np.ndarray, generator: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops (rows, 1, side, side) and their classes (rows, side, side)."""
        crops, labels = [], []
        for row in rows % len(self.pictures):
            picture, label = self.pictures[row], self.labels[row]
            top, left = (int(generator.integers(side - self.crop + 1)) for side in label.shape)
            place = (slice(top, top + self.crop), slice(left, left + self.crop))
            way = int(generator.integers(8))
            crops.append(turned(regreyed(picture[:, *place], generator), way))
            labels.append(turned(label[place], way))
        return torch.stack(crops), torch.stack(labels)


class FrozenMaps:
    """Crops of a frozen encoder's maps, of each micrograph and of its mirror image.

    Args:
        views: maps of each picture, every one half the side of the one before.
        masks: of each picture.
        crop: side of a crop, pixels of the picture; less if a micrograph is smaller.
        multiple: of which sides and places of crops are.
    """

    def __init__(
        self,
        views: Sequence[Sequence[torch.Tensor]],
        masks: Sequence[NDArray[np.integer]],
        crop: int,
        multiple: int,
    ) -> None:
        self.views, self.multiple = [[each.half() for each in maps] for maps in views], multiple
        sides = [maps[0].shape[1:] for maps in views]
        self.labels = [labels_of(*pair) for pair in zip(masks, sides, strict=True)]
        self.crop = min(crop, *(side for pair in sides for side in pair)) // multiple * multiple

    def __call__(
        self, rows: np.ndarray, generator: np.random.Generator
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Crops of all maps (rows, channels, ...) and classes (rows, side, side)."""
        crops, labels = [], []
        for row in rows % len(self.views):
            label = self.labels[row]
            steps = [(side - self.crop) // self.multiple + 1 for side in label.shape]
            top, left = (self.multiple * int(generator.integers(count)) for count in steps)
            crops.append(
                [
                    maps[
                        :,
                        top >> level : (top + self.crop) >> level,
                        left >> level : (left + self.crop) >> level,
                    ]
                    for level, maps in enumerate(self.views[row])
                ]
            )
            labels.append(label[top : top + self.crop, left : left + self.crop])
        # Autocast, as training uses it, takes no float16 together on a processor.
        stacked = [
            torch.stack([each.float() for each in level]) for level in zip(*crops, strict=True)
        ]
        return stacked, torch.stack(labels)


def dice_and_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus one minus the soft Dice coefficient, mean over the classes that occur.

    Args:
        logits: shape (rows, classes, height, width).
        labels: shape (rows, height, width), ``NO_CLASS`` where there is none.
    """
    logits = logits.float()
    entropy = functional.cross_entropy(logits, labels, ignore_index=NO_CLASS)
    known = (labels != NO_CLASS)[:, None]
    truth = functional.one_hot(labels.clamp_min(0), logits.shape[1]).movedim(-1, 1) * known
    shares = logits.softmax(dim=1) * known
    axes = (0, 2, 3)
    both, total = (shares * truth).sum(axes), shares.sum(axes) + truth.sum(axes)
    occurs = truth.sum(axes) > 0
    return entropy + 1 - (2 * both / total.clamp_min(1.0))[occurs].mean()
