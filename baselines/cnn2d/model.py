"""Stiffness from images: of three faces of a volume, or of a two-dimensional microstructure.

Design ``sections`` reads ``section_x``, ``section_y`` and ``section_z``, zeros and ones of shape
(samples, n, n): faces normal to x, with axes (y, z), to y (x, z) and to z (x, y). Design ``images``
reads ``microstructure`` of that shape, with axes (x, y), and ``contrast``, the Young's modulus of
the stiff phase. Both predict C1111, one number per sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from etchmark.learning.periodic import PeriodicConv, channels_last, coarse_grid, halve
from etchmark.learning.training import (
    BetweenLimits,
    FullPrecision,
    Schedule,
    batches,
    identity,
    parameter_count,
    percent_error,
    train,
)
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild
from etchmark.simulation import bounds

FACES = ("section_x", "section_y", "section_z")
Images = Mapping[str, torch.Tensor]


def _images(inputs: Inputs, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    # Eight bits per pixel to the end: only batches are ever turned into numbers.
    found = {name: np.asarray(inputs[name], dtype=np.uint8) for name in names}
    for name, images in found.items():
        if images.ndim != 3:
            raise ValueError(f"{name} of shape {images.shape} is not (samples, n, n)")
    return found


# --- networks ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """Size of an encoder: pixels per side that become channels, then levels of halved resolution.

    ``widths`` are the channels and ``blocks`` the residual blocks of each level.
    """

    pool: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]


class Residual(nn.Module):
    """x + conv(relu(conv(relu(x)))), zero at first in place of a normalisation.

    With a condition (one number per row), the inner features are scaled and shifted by it.
    Source: Perez et al., AAAI 2018, DOI 10.1609/aaai.v32i1.11671 (FiLM).
    """

    def __init__(self, width: int, *, conditioned: bool) -> None:
        super().__init__()
        self.first = PeriodicConv(2, width, width)
        self.second = PeriodicConv(2, width, width)
        nn.init.zeros_(self.second.conv.weight)
        self.film = None
        if conditioned:
            self.film = nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, 2 * width))

    def forward(self, given: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        inner = self.first(functional.relu(given))
        if self.film is not None and condition is not None:
            scale, shift = self.film(condition[:, None])[..., None, None].chunk(2, 1)
            inner = inner * (1 + scale) + shift
        return given + self.second(functional.relu(inner))


class Encoder(nn.Module):
    """Periodic convolutions; the mean over the image of each level's features.

    Images of any side are read, as many pixels to a unit of length as in training.
    """

    def __init__(self, size: Size, *, conditioned: bool) -> None:
        super().__init__()
        self.pool, self.features = size.pool, sum(size.widths)
        self.stem = PeriodicConv(2, size.pool**2, size.widths[0])
        self.levels = nn.ModuleList(
            nn.ModuleList(Residual(width, conditioned=conditioned) for _ in range(count))
            for width, count in zip(size.widths, size.blocks, strict=True)
        )
        self.mixes = nn.ModuleList(
            nn.Conv2d(given, made, 1) for given, made in pairwise(size.widths)
        )

    def forward(self, images: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        features, means = self.stem(coarse_grid(images, self.pool)), []
        for index, level in enumerate(self.levels):
            if index:
                features = self.mixes[index - 1](halve(features))
            for block in level:  # type: ignore[attr-defined]
                features = block(features, condition)
            means.append(functional.relu(features).float().mean((2, 3)))
        return torch.cat(means, 1)


def _head(features: int, dropout: float) -> FullPrecision:
    return FullPrecision(
        nn.Dropout(dropout), nn.Linear(features, 128), nn.SiLU(), nn.Linear(128, 1)
    )


class SectionsNetwork(nn.Module):
    """One encoder for the face across x, one for the two faces along it, whose first axis is x."""

    def __init__(self, size: Size, dropout: float) -> None:
        super().__init__()
        self.across = Encoder(size, conditioned=False)
        self.along = Encoder(size, conditioned=False)
        self.head = _head(2 * self.along.features, dropout)

    def forward(self, faces: Images) -> torch.Tensor:
        x, y, z = (faces[name] for name in FACES)
        along = self.along(torch.cat([y, z])).unflatten(0, (2, len(y))).mean(0)
        return self.head(torch.cat([self.across(x), along], 1))[:, 0]


class ImagesNetwork(nn.Module):
    """An encoder conditioned on the standardised logarithm of the contrast."""

    def __init__(self, size: Size, dropout: float) -> None:
        super().__init__()
        self.encoder = Encoder(size, conditioned=True)
        self.head = _head(self.encoder.features + 1, dropout)

    def forward(self, given: Images) -> torch.Tensor:
        condition = given["contrast"]
        features = self.encoder(given["microstructure"], condition)
        return self.head(torch.cat([features, condition[:, None]], 1))[:, 0]


# --- symmetries of C1111 -----------------------------------------------------------------------


def _rolled(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return np.roll(image, generator.integers(0, image.shape), axis=(0, 1))


def varied_faces(
    faces: Mapping[str, np.ndarray], generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Faces of a volume mirrored in x, y and z, with y and z exchanged, all at random.

    Each face is also shifted by itself. The shifted faces are those of no one volume, since they no
    longer share edges, but each is as likely a face as before.
    """
    x, y, z = (faces[name] for name in FACES)
    a, b, c = (slice(None, None, step) for step in generator.choice([-1, 1], 3))
    x, y, z = x[b, c], y[a, c], z[a, b]
    if generator.integers(2):
        x, y, z = x.T, z, y
    return {name: _rolled(face, generator) for name, face in zip(FACES, (x, y, z), strict=True)}


def varied_image(
    images: Mapping[str, np.ndarray], generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """An image shifted and mirrored in x and y at random; exchanging them would give C2222."""
    a, b = (slice(None, None, step) for step in generator.choice([-1, 1], 2))
    return {name: _rolled(image[a, b], generator) for name, image in images.items()}


def face_views(faces: Images) -> list[Images]:
    """The same volumes seen as they are, from the other side, and with y and z exchanged."""
    turned = {name: face.flip((1, 2)) for name, face in faces.items()}
    exchanged = [
        {
            "section_x": one["section_x"].mT,
            "section_y": one["section_z"],
            "section_z": one["section_y"],
        }
        for one in (faces, turned)
    ]
    return [faces, turned, *exchanged]


def image_views(given: Images) -> list[Images]:
    """The same images mirrored in neither axis, one, or both."""
    return [
        {**given, "microstructure": given["microstructure"].flip(axes)}
        for axes in ((), (1,), (2,), (1, 2))
    ]


# --- models ------------------------------------------------------------------------------------


class _Model(Savable, ABC):
    """What both designs share: batches, views, the loop."""

    names: tuple[str, ...]
    network: nn.Module
    vary: Callable[..., dict[str, np.ndarray]]
    views: Callable[[Images], list[Images]]

    def __init__(
        self, seed: int, device: str, schedule: Schedule, size: Size, dropout: float
    ) -> None:
        self.seed, self.device, self.schedule = seed, device, schedule
        self.size, self.dropout = size, dropout

    def _given(self, images: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        return {
            name: torch.from_numpy(np.array(image)).to(self.device)
            for name, image in images.items()
        }

    def _batch(
        self, images: Mapping[str, np.ndarray], rows: np.ndarray, generator: np.random.Generator
    ) -> dict[str, torch.Tensor]:
        chosen = [{name: images[name][row] for name in self.names} for row in rows]
        varied = [type(self).vary(one, generator) for one in chosen]
        return self._given({name: np.stack([one[name] for one in varied]) for name in self.names})

    def _outputs(self, images: Mapping[str, np.ndarray], views: int | None) -> np.ndarray:
        """Outputs of the network, the mean over equivalent views (all if None), float64."""
        found = []
        self.network.eval()
        with torch.inference_mode():
            for part in batches(len(images[self.names[0]]), 64):
                given = self._given({name: image[part] for name, image in images.items()})
                seen = [self.network(view).double() for view in type(self).views(given)[:views]]
                found.append(torch.stack(seen).mean(0).cpu().numpy())
        return np.concatenate(found)

    @abstractmethod
    def _network(self) -> nn.Module:
        """The network of the design, with fresh weights."""

    def _fresh(self) -> nn.Module:
        torch.manual_seed(self.seed)
        return channels_last(self._network(), 2).to(self.device)

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network = self._fresh()
        super().restore(state)

    @abstractmethod
    def predict(self, inputs: Inputs, views: int | None = None) -> np.ndarray: ...

    def _train(self, loss: Any, samples: Samples, validation: Samples | None) -> None:
        more = {"size": str(self.size), "dropout": self.dropout}
        more |= {"ids": samples.ids, "y": np.asarray(samples.target)}

        def report() -> str:
            if validation is None:
                return "no validation"
            # One view is enough to follow a training, at a quarter of the time.
            found = self.predict(validation.inputs, views=1)
            return f"validation MAPE {percent_error(found, validation.target):.3f} %"

        train(
            self.network,
            loss,
            len(samples),
            self.schedule,
            seed=self.seed,
            device=self.device,
            who=identity(self.seed, self.schedule, self.network, **more),
            report=report,
        )

    def parameter_count(self) -> int:
        return parameter_count(self.network)


class Sections(_Model):
    """Trains ``SectionsNetwork`` on log C1111 by the mean relative error."""

    saved = ("mean", "spread", "network")
    names = FACES
    vary, views = staticmethod(varied_faces), staticmethod(face_views)

    def _network(self) -> nn.Module:
        return SectionsNetwork(self.size, self.dropout)

    def fit(self, train: Samples, validation: Samples | None = None) -> Sections:
        images = _images(train.inputs, FACES)
        logs = np.log(np.asarray(train.target, dtype=np.float64))
        self.mean, self.spread = float(logs.mean()), float(logs.std()) or 1.0
        wanted = torch.from_numpy(logs.astype(np.float32))
        self.network = self._fresh()

        def loss(rows: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
            found = self.network(self._batch(images, rows, generator)).float()
            error = self.mean + self.spread * found - wanted[rows].to(self.device)
            # Faces leave much open: then the best guess depends on the error that is counted.
            return torch.expm1(error).abs().mean()

        self._train(loss, train, validation)
        return self

    def predict(self, inputs: Inputs, views: int | None = None) -> np.ndarray:
        return np.exp(self.mean + self.spread * self._outputs(_images(inputs, FACES), views))


class ImagesOfContrast(_Model):
    """Trains ``ImagesNetwork`` on log C1111, placed between the bounds of Reuss and Voigt.

    Whatever it is shown, no prediction leaves the bounds (plane strain).
    """

    saved = ("scale", "centre", "width", "network")
    parts = (BetweenLimits,)
    names = ("microstructure",)
    vary, views = staticmethod(varied_image), staticmethod(image_views)

    def _network(self) -> nn.Module:
        return ImagesNetwork(self.size, self.dropout)

    def _limits(self, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Reuss's and Voigt's bound of each image."""
        images = _images(inputs, self.names)["microstructure"]
        fraction = images.mean(axis=(1, 2), dtype=np.float64)
        contrast = np.asarray(inputs["contrast"], dtype=np.float64)
        return bounds.reuss(fraction, contrast, ndim=2), bounds.voigt(fraction, contrast, ndim=2)

    def _condition(self, inputs: Inputs) -> np.ndarray:
        logs = np.log(np.asarray(inputs["contrast"], dtype=np.float64))
        return ((logs - self.centre) / self.width).astype(np.float32)

    def fit(self, train: Samples, validation: Samples | None = None) -> ImagesOfContrast:
        images = _images(train.inputs, self.names)
        target = np.asarray(train.target, dtype=np.float64)
        self.scale = BetweenLimits(target, *self._limits(train.inputs))
        logs = np.log(np.asarray(train.inputs["contrast"], dtype=np.float64))
        self.centre, self.width = float(logs.mean()), float(logs.std()) or 1.0
        condition = torch.from_numpy(self._condition(train.inputs))
        self.network = self._fresh()

        def loss(rows: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
            given = self._batch(images, rows, generator)
            given["contrast"] = condition[rows].to(self.device)
            error = self.scale.log_ratio(self.network(given), rows)
            # Relative errors: squared below 5 %, absolute above.
            return functional.smooth_l1_loss(error, torch.zeros_like(error), beta=0.05)

        self._train(loss, train, validation)
        return self

    def predict(self, inputs: Inputs, views: int | None = None) -> np.ndarray:
        given = {**_images(inputs, self.names), "contrast": self._condition(inputs)}
        return self.scale.values(self._outputs(given, views), *self._limits(inputs))


@keeps_arguments
def build(
    seed: int,
    device: str,
    *,
    design: str,
    epochs: int,
    batch: int = 32,
    learning_rate: float = 2e-3,
    weight_decay: float = 0.01,
    dropout: float = 0.0,
    pool: int = 4,
    widths: Sequence[int] = (32, 64, 96),
    blocks: Sequence[int] = (2, 2, 2),
) -> Sections | ImagesOfContrast:
    """An untrained model.

    Args:
        seed: of weights, order, augmentation and dropout.
        device: ``cpu`` or ``cuda``.
        design: ``sections`` or ``images``.
        epochs: passes over the training samples.
        batch: samples per step.
        learning_rate: the highest.
        weight_decay: see ``Schedule``.
        dropout: share of features that the head does not see in a training step.
        pool: pixels per side that become channels of one pixel.
        widths: channels of each level.
        blocks: residual blocks of each level.
    """
    kinds = {"sections": Sections, "images": ImagesOfContrast}
    if design not in kinds:
        raise ValueError(f"design is 'sections' or 'images', not {design!r}")
    schedule = Schedule(epochs, batch, learning_rate, weight_decay)
    return kinds[design](seed, device, schedule, Size(pool, tuple(widths), tuple(blocks)), dropout)


def load(folder: Path, device: str) -> Sections | ImagesOfContrast:
    return rebuild(build, folder, device)
