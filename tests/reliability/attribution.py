"""Whether maps of attribution point at what a network decides by; run as a script.

In every image one planted object alone says the class; all others occur in both classes alike. The
objects are pentominoes with the same area, the same contrast and the same length of edge, so
neither brightness nor edges tell the planted one. One small network names the class, and every map
explains that network; the same maps of a network with random weights stand beside them, as Adebayo
et al. (NeurIPS 2018, DOI 10.48550/arXiv.1810.03292) ask.

The measure is the average precision over the pixels of the planted object: of the pixels in the
order of the map, how many of the first are in it. The share of a map that lies in the object is
reported as well, and easily misled: a map of a single bright pixel can have all of it there.

Writes ``tests/reliability/attribution.json``, from which ``docs/make_attribution.py`` makes the
page, and the page's picture.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage, stats
from sklearn.metrics import average_precision_score
from torch import nn
from torch.nn import functional

from etchmark import files
from etchmark.learning import training
from etchmark.learning.training import Schedule

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "tests" / "reliability" / "attribution.json"
PICTURE = ROOT / "docs" / "attribution.png"

# --- images ------------------------------------------------------------------------------------

SIDE, CELL = 64, 6
"""Of an image, and of a square of a pentomino, pixels."""
SHAPES = {
    "T": ("###", ".#.", ".#."),
    "U": ("#.#", "###"),
    "F": (".##", "##.", ".#."),
    "W": ("#..", "##.", ".##"),
    "X": (".#.", "###", ".#."),
    "Z": ("##.", ".#.", ".##"),
}
"""Five squares each, with an edge of twelve; they fit into three by three."""
PLANTED = ("T", "U")
"""The object that decides, by class; no image has both."""
OTHERS = ("F", "W", "X", "Z")
"""They have as many corners as the planted ones or more, which is where edges are strongest."""
OBJECTS, PLACES = 5, 3
"""Objects of an image, and how many fit side by side."""
GROUND, CONTRAST, NOISE, UNEVEN = 0.4, (0.25, 0.35), 0.04, 0.05
"""Grey levels: of the ground, how much brighter objects are, and standard deviations of the noise
and of slow changes of the ground."""


@dataclass(frozen=True)
class Scene:
    """An image, shape (64, 64), its class, and the number of the object at each pixel.

    Object 1 is the planted one, 0 is the ground.
    """

    image: NDArray[np.float32]
    label: int
    objects: NDArray[np.int64]

    @property
    def mask(self) -> NDArray[np.bool_]:
        return self.objects == 1


def stamp(name: str, generator: np.random.Generator) -> NDArray[np.bool_]:
    """A pentomino, turned and mirrored at random."""
    cells = np.array([[sign == "#" for sign in row] for row in SHAPES[name]])
    cells = np.rot90(cells, int(generator.integers(4)))
    cells = cells[:, ::-1] if generator.random() < 0.5 else cells
    return cells.repeat(CELL, axis=0).repeat(CELL, axis=1)


def scene(generator: np.random.Generator) -> Scene:
    """One planted object and four others, at random places that do not touch."""
    label = int(generator.integers(2))
    names = [PLANTED[label], *generator.choice(OTHERS, OBJECTS - 1)]
    places = generator.permutation(PLACES**2)[:OBJECTS]
    pitch = SIDE // PLACES
    objects = np.zeros((SIDE, SIDE), dtype=np.int64)
    grey = np.zeros((SIDE, SIDE))
    for number, (name, place) in enumerate(zip(names, places, strict=True), 1):
        shape = stamp(str(name), generator)
        rows, columns = (
            pitch * corner + int(generator.integers(1, pitch - length))
            for corner, length in zip(divmod(int(place), PLACES), shape.shape, strict=True)
        )
        here = np.s_[rows : rows + shape.shape[0], columns : columns + shape.shape[1]]
        objects[here][shape] = number
        grey[here][shape] = generator.uniform(*CONTRAST)
    slow = ndimage.gaussian_filter(generator.normal(size=(SIDE, SIDE)), 8)
    noise = generator.normal(0, NOISE, (SIDE, SIDE))
    image = GROUND + ndimage.gaussian_filter(grey, 0.7) + UNEVEN * slow / slow.std() + noise
    return Scene(image.astype(np.float32), label, objects)


def scenes(count: int, seed: int) -> list[Scene]:
    generator = np.random.default_rng(seed)
    return [scene(generator) for _ in range(count)]


def stacked(shown: list[Scene]) -> torch.Tensor:
    """Images as a network reads them: the ground is 0; shape (images, 1, 64, 64)."""
    images = np.stack([each.image for each in shown])[:, None]
    return torch.from_numpy((images - GROUND) / 0.2)


# --- the network -------------------------------------------------------------------------------

SCHEDULE = Schedule(epochs=5, batch=32, learning_rate=4e-3, weight_decay=1e-3)
ROWS, NEEDED = 1200, 0.95
"""New images of an epoch, and the accuracy that the network must have."""


def network(seed: int) -> nn.Sequential:
    """Convolutions, the largest value over all places, one number per class; random weights."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for given, made in ((1, 16), (16, 32), (32, 64)):
        layers += [
            nn.Conv2d(given, made, 5, padding=2, bias=False),
            nn.BatchNorm2d(made),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    head = [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 2)]
    return nn.Sequential(*layers, *head).eval()


def trained(seed: int = 0) -> nn.Sequential:
    """A network taught on images that it sees once."""
    made = network(seed)

    def loss(rows: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
        shown = [scene(generator) for _ in rows]
        labels = torch.tensor([each.label for each in shown])
        return functional.cross_entropy(made(stacked(shown)), labels)

    who = training.identity(seed, SCHEDULE, made)
    training.train(made, loss, ROWS, SCHEDULE, seed=seed, device="cpu", who=who)
    return made


@torch.inference_mode()
def accuracy(made: nn.Module, shown: list[Scene]) -> float:
    labels = np.array([each.label for each in shown])
    return float((made(stacked(shown)).argmax(1).numpy() == labels).mean())


# --- maps --------------------------------------------------------------------------------------

PATCH, STRIDE, STEPS = 10, 6, 24

Map = Callable[[nn.Module, torch.Tensor, int], NDArray[np.floating]]
"""A map of an image (1, 1, 64, 64), for the class that it has; larger where it says more."""


def evidence(made: nn.Module, images: torch.Tensor, label: int) -> torch.Tensor:
    """By how much a network prefers a class to the other, shape (images,)."""
    logits = made(images)
    return logits[:, label] - logits[:, 1 - label]


def slopes(made: nn.Module, images: torch.Tensor, label: int) -> torch.Tensor:
    """Gradient of the evidence with respect to each pixel, the shape of the images."""
    images = images.detach().requires_grad_()
    return torch.autograd.grad(evidence(made, images, label).sum(), images)[0]


def uniform(made: nn.Module, image: torch.Tensor, label: int) -> NDArray[np.floating]:
    return np.ones((SIDE, SIDE))


def brightness(made: nn.Module, image: torch.Tensor, label: int) -> NDArray[np.floating]:
    return (image - image.min())[0, 0].numpy()


def sobel(made: nn.Module, image: torch.Tensor, label: int) -> NDArray[np.floating]:
    grey = image[0, 0].numpy()
    return np.hypot(ndimage.sobel(grey, 0), ndimage.sobel(grey, 1))


@torch.inference_mode()
def occlusion(made: nn.Module, image: torch.Tensor, label: int) -> NDArray[np.floating]:
    """How much evidence is lost when a patch is replaced by ground, mean over patches.

    Source: Zeiler & Fergus, ECCV 2014, DOI 10.1007/978-3-319-10590-1_53.
    """
    corners = range(0, SIDE - PATCH + 1, STRIDE)
    places = [np.s_[:, row : row + PATCH, col : col + PATCH] for row in corners for col in corners]
    hidden = image.repeat(len(places), 1, 1, 1)
    for each, place in zip(hidden, places, strict=True):
        each[place] = 0.0
    lost = (evidence(made, image, label) - evidence(made, hidden, label)).clamp_min(0).numpy()
    total, count = np.zeros((1, SIDE, SIDE)), np.zeros((1, SIDE, SIDE))
    for value, place in zip(lost, places, strict=True):
        total[place] += value
        count[place] += 1
    return (total / count)[0]


def gradient(made: nn.Module, image: torch.Tensor, label: int) -> NDArray[np.floating]:
    """Source: Simonyan, Vedaldi & Zisserman, DOI 10.48550/arXiv.1312.6034."""
    return slopes(made, image, label)[0, 0].abs().numpy()


def gradient_times_input(made: nn.Module, image: torch.Tensor, label: int) -> NDArray[np.floating]:
    """Source: Shrikumar et al., DOI 10.48550/arXiv.1605.01713; the ground is 0."""
    return (slopes(made, image, label) * image)[0, 0].abs().numpy()


def signed_integrated(made: nn.Module, image: torch.Tensor, label: int) -> torch.Tensor:
    """Gradients along the way from bare ground to the image, times the image; shape (64, 64).

    They sum to the difference of the evidence. Source: Sundararajan, Taly & Yan, ICML 2017,
    DOI 10.48550/arXiv.1703.01365.
    """
    shares = (torch.arange(STEPS) + 0.5) / STEPS
    way = shares[:, None, None, None] * image
    return (slopes(made, way, label).mean(dim=0) * image[0])[0]


def integrated_gradients(made: nn.Module, image: torch.Tensor, label: int) -> NDArray[np.floating]:
    return signed_integrated(made, image, label).abs().numpy()


PLAIN: Mapping[str, Map] = {"uniform": uniform, "brightness": brightness, "Sobel": sobel}
"""Maps that look at no network."""
MAPS: Mapping[str, Map] = {
    **PLAIN,
    "occlusion": occlusion,
    "gradient": gradient,
    "gradient × input": gradient_times_input,
    "integrated gradients": integrated_gradients,
}

# --- measures ----------------------------------------------------------------------------------

SMOOTHED_PX = 2.0


def precision(values: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """Average precision of a map for the pixels of a mask, 0 to 1."""
    return float(average_precision_score(mask.ravel(), values.ravel()))


def share(values: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """Share of a map, which is nowhere negative, that lies in a mask."""
    return float(values[mask].sum() / max(values.sum(), 1e-12))


def sobel_peaks(shown: list[Scene]) -> float:
    """How often the largest value of a Sobel filter is nearest to the planted object."""
    hits = 0
    for each in shown:
        values = sobel(nn.Identity(), torch.from_numpy(each.image)[None, None], each.label)
        # A peak may lie on the ground beside an edge.
        nearest = ndimage.distance_transform_edt(
            each.objects == 0, return_distances=False, return_indices=True
        )
        place = tuple(int(axis.flat[values.argmax()]) for axis in np.asarray(nearest))
        hits += each.objects[place] == 1
    return hits / len(shown)


def summary(values: list[float]) -> dict[str, float]:
    """Mean over images with its 95 % interval (Student)."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    mean = float(np.mean(values))
    return {"mean": mean, "low": mean - float(half), "high": mean + float(half)}


def measured(made: nn.Module, shown: list[Scene], maps: Mapping[str, Map]) -> dict[str, Any]:
    """Average precision of each map, as it is and smoothed, and its share, over images."""
    found: dict[str, Any] = {}
    for name, compute in maps.items():
        rows: dict[str, list[float]] = {"precision": [], "smoothed": [], "share": []}
        for each, image in zip(shown, stacked(shown).split(1), strict=True):
            values = np.asarray(compute(made, image, each.label), dtype=np.float64)
            smooth = ndimage.gaussian_filter(values, SMOOTHED_PX)
            rows["precision"].append(precision(values, each.mask))
            rows["smoothed"].append(precision(smooth, each.mask))
            rows["share"].append(share(values, each.mask))
        found[name] = {measure: summary(numbers) for measure, numbers in rows.items()}
    return found


# --- the picture -------------------------------------------------------------------------------

SHOWN, TILE, GAP, TOP, LEFT = 4, 150, 8, 60, 10


def overlay(each: Scene, values: NDArray[np.floating]) -> Image.Image:
    """A map in red over its image; the planted object has a green outline."""
    grey = np.clip((each.image - 0.2) / 0.7, 0, 1)[..., None].repeat(3, axis=2)
    high = max(float(np.quantile(values, 0.995)), 1e-12)
    heat = np.clip(values / high, 0, 1)[..., None]
    mixed = grey * (1 - 0.75 * heat) + np.array([0.85, 0.1, 0.1]) * 0.75 * heat
    tile = np.asarray(Image.fromarray((255 * mixed).astype(np.uint8)).resize((TILE, TILE), 0))
    large = np.asarray(Image.fromarray(each.mask).resize((TILE, TILE), 0))
    edge = ndimage.binary_dilation(large, iterations=2) & ~large
    return Image.fromarray(np.where(edge[..., None], (30, 150, 70), tile).astype(np.uint8))


def draw(made: nn.Module, other: nn.Module, shown: list[Scene]) -> bytes:
    """Maps over the first images, as a PNG: a row per image, a column per map."""
    columns = [(name, made, compute) for name, compute in MAPS.items()]
    columns += [(f"{name}, random", other, MAPS[name]) for name in ("gradient",)]
    size = (LEFT + (TILE + GAP) * len(columns), TOP + (TILE + GAP) * SHOWN)
    picture = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    for column, (name, of, compute) in enumerate(columns):
        left = LEFT + column * (TILE + GAP)
        pen.text(
            (left, 8), name.replace("×", "x").replace(", ", ",\n"), fill=(30, 30, 30), font=font
        )
        for row, (each, image) in enumerate(zip(shown, stacked(shown).split(1), strict=False)):
            if row < SHOWN:
                values = np.asarray(compute(of, image, each.label), dtype=np.float64)
                picture.paste(overlay(each, values), (left, TOP + row * (TILE + GAP)))
    stream = io.BytesIO()
    picture.quantize(128).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=200, help="explained")
    count: int = parser.parse_args().images
    torch.set_num_threads(1)
    made, other, tested = trained(), network(1), scenes(1000, 1)
    reached = accuracy(made, tested)
    if reached < NEEDED:
        raise SystemExit(f"the network names {reached:.1%}; at least {NEEDED:.0%} are needed")
    known = made(stacked(tested)).argmax(1).numpy() == [each.label for each in tested]
    shown = [each for each, right in zip(tested, known, strict=True) if right][:count]
    networks = {name: compute for name, compute in MAPS.items() if name not in PLAIN}
    results = {
        "images": count,
        "accuracy": reached,
        "area": float(np.mean([each.mask.mean() for each in shown])),
        "sobel_peaks": sobel_peaks(tested),
        "trained": measured(made, shown, MAPS),
        "random": measured(other, shown, networks),
    }
    files.write_text(TARGET, json.dumps(results, indent=1) + "\n")
    files.write_bytes(PICTURE, draw(made, other, shown))


if __name__ == "__main__":
    main()
