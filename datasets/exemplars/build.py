"""Builds the configs of ``exemplars``: images of a microstructure, and others of the same material.

Simulated materials are drawn from a family of microstructures with fixed parameters. Photographed
ones are windows of segmented micrographs, thresholded where upstream has no segmentation. Every
image of a material has as many pixels of phase 1 as its exemplar: ranks decide, so that no rounding
moves a pixel. A row depends on the key of its material and on nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from etchmark import descriptors
from etchmark.columns import array_column, array_feature, with_features
from etchmark.data import sources
from etchmark.data.shards import BuildContext, Shard, match
from etchmark.errors import UserError
from etchmark.simulation import microstructures as generate
from etchmark.simulation import morphologies
from etchmark.simulation.edges import NARROW, at_count, softened
from etchmark.targets.ensemble import properties

Parameters = Mapping[str, Any]
Shape = tuple[int, int]
EXEMPLAR, REALISATIONS, FURTHER, NOISE, EVEN = range(5)
"""Streams of random numbers of a material."""
LABELS = ("noise_distance", "stiffness", "stiffness_deviation", "overlap_limit")
PAINTED = (0, 0, 255)
"""Colour of secondary precipitates in upstream's overlays."""


@dataclass(frozen=True)
class Pictures:
    """The images of a material, uint8 of 0 and 1: shapes (n, n), (count, n, n), (further, n, n)."""

    exemplar: np.ndarray
    realisations: np.ndarray
    further: np.ndarray
    apart: list[int]
    """Realisations that share no pixel with each other."""
    origin: dict[str, Any]
    """What they were made with, or where the exemplar lies, as JSON values."""

    def digest(self) -> str:
        """Hash of all images."""
        whole = [self.exemplar[None], self.realisations, self.further]
        return generate.digest(np.concatenate(whole))


# --- simulated materials -------------------------------------------------------------------------


def _fibres(shape: Shape, p: Parameters, generator: np.random.Generator) -> np.ndarray:
    scatter, direction = (
        math.radians(p[name]) for name in ("scatter_degrees", "direction_degrees")
    )
    size = (p["size"][0], p["size"][1])
    return morphologies.aligned_fibres(
        shape, size, scatter, p["fraction"], generator, direction=direction
    )


STRUCTURES: dict[str, Callable[[Shape, Parameters, np.random.Generator], np.ndarray]] = {
    "spinodal": lambda s, p, g: generate.spinodal(s, p["wavelength"], p["fraction"], g),
    "disks": lambda s, p, g: generate.spheres(s, p["radius"], p["fraction"], g, gap=p["gap"]),
    "clustered_disks": lambda s, p, g: morphologies.clustered_disks(
        s, p["radius"], p["fraction"], p["crowding"], p["width"], g
    ),
    "aligned_fibres": _fibres,
    "rings": lambda s, p, g: morphologies.rings(s, p["radius"], p["thickness"], p["packing"], g),
    "cell_walls": lambda s, p, g: morphologies.cell_walls(s, p["cells"], p["width"], g),
    "lamellae": lambda s, p, g: morphologies.lamellae(
        s, p["wave"], p["fault"], p["faults"], p["fraction"], g
    ),
    "tilted_field": lambda s, p, g: morphologies.tilted_field(
        s, p["widths"], math.radians(p["angle_degrees"]), p["fraction"], g
    ),
    "field": lambda s, p, g: generate.random_field(s, p["width"], p["fraction"], g),
    "ellipses": lambda s, p, g: generate.ellipses(s, p["radius"], p["aspect"], p["fraction"], g),
    "strips": lambda s, p, g: morphologies.strips(s, p["directions"], p["counts"], p["width"], g),
    "cuboids": lambda s, p, g: morphologies.cuboids(s, p["rows"], p["channel"], p["axis"], g),
}
"""Generators by name: from shape, fixed parameters and random numbers to an image."""


def _stream(payload: Parameters, *stream: int) -> np.random.Generator:
    return generate.generator_of(payload["seed"], payload["key"], *stream)


def simulated(payload: Parameters) -> Pictures:
    """Draws of a family with fixed parameters."""
    shape, parameters = (payload["pixels"], payload["pixels"]), payload["made"]
    count = round(parameters["fraction"] * math.prod(shape))

    def image(stream: int, number: int) -> np.ndarray:
        make = STRUCTURES[parameters["structure"]]
        drawn = make(shape, parameters, _stream(payload, stream, number))
        return at_count(drawn, count, True, _stream(payload, EVEN, stream, number))

    def images(stream: int, number: int) -> np.ndarray:
        return np.stack([image(stream, each) for each in range(number)])

    return Pictures(
        image(EXEMPLAR, 0),
        images(REALISATIONS, payload["realisations"]),
        images(FURTHER, payload["further"]),
        list(range(payload["realisations"])),
        dict(parameters),
    )


# --- photographed materials ----------------------------------------------------------------------


def _fetch(context: BuildContext, source: str, names: list[str]) -> list[Path]:
    """Local paths of upstream files."""
    declared = context.parameters["sources"][source]
    listing = context.folder / declared["listing"]
    repository = {name: declared[name] for name in ("host", "owner", "repo", "commit")}
    pinned = {file.path: file for file in sources.read_listing(listing, **repository)}
    if absent := [name for name in names if name not in pinned]:
        raise UserError(f"{listing}: does not list {absent[0]}; add it")
    wanted = [pinned[name] for name in names]
    paths = sources.fetch(wanted, offline=context.offline, progress=context.progress)
    return [paths[file] for file in wanted]


def _opened(path: Path) -> np.ndarray:
    try:
        if path.suffix == ".npy":
            pixels = np.load(path, allow_pickle=False)
        else:
            with Image.open(path, formats=["TIFF"]) as image:
                pixels = np.asarray(image)
    except (OSError, ValueError, UnidentifiedImageError) as error:
        raise UserError(f"{path}: cannot be read ({error}); download it again") from None
    if pixels.dtype != np.uint8:
        raise UserError(f"{path}: holds {pixels.dtype}, not uint8; the source changed")
    return pixels


def coarsened(values: np.ndarray, factor: int) -> np.ndarray:
    """Sums over squares of `factor` pixels a side (int64); what is left over at two edges goes."""
    rows, columns = (size // factor * factor for size in values.shape)
    squares = values[:rows, :columns].astype(np.int64)
    return squares.reshape(rows // factor, factor, columns // factor, factor).sum(axis=(1, 3))


def bright_particles(grey: np.ndarray, window: int, fraction: float) -> np.ndarray:
    """The pixels that are brightest relative to the mean of a square around them (uint8).

    `grey` is blurred by one pixel first; `fraction` of the pixels are marked.
    """
    near = softened(grey, NARROW, "reflect") * window**2
    around = softened(grey, (1,) * window, "reflect") * sum(NARROW) ** 2
    return generate.threshold(near - around, fraction)


def phase_of(pixels: np.ndarray, made: Parameters) -> np.ndarray:
    """Phase 1 of a picture (uint8), at the resolution of the windows."""
    factor = made.get("coarsened", 1)
    if made["phase"] == "bright":
        return bright_particles(coarsened(pixels, factor), made["window"], made["fraction"])
    if made["phase"] == "painted":
        marked = (pixels[..., :3] == np.array(PAINTED, np.uint8)).all(axis=2)
    else:
        marked = pixels == made["phase"]
    return (2 * coarsened(marked, factor) > factor**2).astype(np.uint8)


@dataclass(frozen=True)
class Window:
    """A window of a picture of a material."""

    picture: int
    row: int
    column: int
    count: int
    """Pixels of the phase of which there are fewer."""


def _windows(phases: list[np.ndarray], payload: Parameters, shift: int) -> Iterator[Window]:
    """Windows on a grid, which begins `shift` pixels from the corner."""
    size, step = payload["pixels"], payload["made"]["step"]
    for picture, phase in enumerate(phases):
        for row in range(shift, phase.shape[0] - size + 1, step):
            for column in range(shift, phase.shape[1] - size + 1, step):
                window = phase[row : row + size, column : column + size]
                count = int((window == payload["made"]["minority"]).sum())
                yield Window(picture, row, column, count)


def interface(phase: np.ndarray) -> int:
    """Pairs of unlike neighbours along rows and columns."""
    return sum(int((np.diff(phase.astype(np.int8), axis=axis) != 0).sum()) for axis in (0, 1))


def typical(windows: list[Window], interfaces: list[int], share: float) -> Window:
    """Of the windows with about the median count, the one with the median interface."""
    middle = sorted(window.count for window in windows)[len(windows) // 2]
    near = [
        (length, place)
        for place, length in enumerate(interfaces)
        if abs(windows[place].count / middle - 1) <= share
    ]
    return windows[sorted(near)[len(near) // 2][1]]


def photographed(context: BuildContext, payload: Parameters) -> Pictures:
    """Windows of pictures of one material."""
    made, size = payload["made"], payload["pixels"]
    paths = _fetch(context, made["source"], made["files"])
    phases = [phase_of(_opened(path), made) for path in paths]
    views = made.get("views", list(range(len(phases))))
    on_grid = list(_windows(phases, payload, 0))

    def cut(window: Window) -> np.ndarray:
        rows, columns = (slice(at, at + size) for at in (window.row, window.column))
        return phases[window.picture][rows, columns]

    chosen = typical(on_grid, [interface(cut(window)) for window in on_grid], payload["share"])

    def apart(window: Window, other: Window) -> bool:
        if views[window.picture] != views[other.picture]:
            return True
        far = max(abs(window.row - other.row), abs(window.column - other.column)) >= size
        # Where a view lies in several pictures, pixels of one may be those of another.
        return far and views.count(views[window.picture]) == 1

    def alike(windows: list[Window], number: int) -> list[Window]:
        fitting = [
            w
            for w in windows
            if apart(w, chosen) and abs(w.count / chosen.count - 1) <= payload["share"]
        ]
        if len(fitting) < number:
            raise UserError(
                f"{payload['material']}: {len(fitting)} windows are like the exemplar, {number} are"
                " needed; lower `step` in dataset.yaml"
            )
        return [fitting[len(fitting) * place // number] for place in range(number)]

    exemplar = cut(chosen)
    count = int(exemplar.sum())

    def images(windows: list[Window], stream: int) -> np.ndarray:
        generators = (_stream(payload, EVEN, stream, place) for place in range(len(windows)))
        pairs = zip(windows, generators, strict=True)
        return np.stack([at_count(cut(window), count, False, each) for window, each in pairs])

    compared = alike(on_grid, payload["realisations"])
    disjoint: list[int] = []
    for place, window in enumerate(compared):
        if all(apart(window, compared[other]) for other in disjoint):
            disjoint.append(place)
    between = list(_windows(phases, payload, made["step"] // 2))
    where = {"file": made["files"][chosen.picture], "row": chosen.row, "column": chosen.column}
    return Pictures(
        exemplar,
        images(compared, REALISATIONS),
        images(alike(between, payload["further"]), FURTHER),
        disjoint,
        {**where, "coarsened": made.get("coarsened", 1)},
    )


def pictures_of(context: BuildContext, payload: Parameters) -> Pictures:
    """All images of a material."""
    return photographed(context, payload) if "source" in payload["made"] else simulated(payload)


# --- the plan ------------------------------------------------------------------------------------


def shards(context: BuildContext) -> list[Shard]:
    parameters, config = context.parameters, context.parameters[context.config]
    shared = {name: parameters[name] for name in ("seed", "pixels", "share", "further", "noise")}
    planned = []
    for split in ("train", "test"):
        for material in config[split]:
            declared = dict(parameters["materials"][material])
            payload = {
                **shared,
                "realisations": config["realisations"],
                "material": material,
                "key": declared.pop("key"),
                "made": declared,
            }
            planned.append(Shard(material, split, 1, payload))
            if "source" in declared:
                # Files that cannot be had are told before anything costly.
                _fetch(context, declared["source"], declared["files"])
    return planned


def white_noise(exemplar: np.ndarray, payload: Parameters) -> np.ndarray:
    """Images of independent pixels with as many of phase 1 as the exemplar (uint8)."""
    fraction = exemplar.sum() / exemplar.size
    draws = (_stream(payload, NOISE, number) for number in range(payload["noise"]))
    return np.stack([generate.threshold(draw.random(exemplar.shape), fraction) for draw in draws])


def labels(context: BuildContext, shard: Shard) -> pa.Table:
    payload = shard.payload
    pictures = pictures_of(context, payload)
    periodic = "source" not in payload["made"]
    noise = white_noise(pictures.exemplar, payload)
    # Overlaps tell copies from independent images, so that windows must not share pixels here.
    independent = pictures.realisations[pictures.apart]
    stiffness = properties.stiffness_of(pictures.realisations)
    measured = {
        "noise_distance": descriptors.group_distances(
            noise, pictures.realisations, periodic=periodic
        ),
        "stiffness": stiffness.mean(axis=0),
        "stiffness_deviation": stiffness.std(axis=0, ddof=1),
        "overlap_limit": descriptors.overlap_limits(pictures.exemplar, independent),
    }
    columns = {name: [[float(value) for value in values]] for name, values in measured.items()}
    return pa.table({"id": [payload["material"]], "hash": [pictures.digest()], **columns})


def table(context: BuildContext, shard: Shard, labels: pa.Table) -> pa.Table:
    payload, material = shard.payload, shard.payload["material"]
    pictures = pictures_of(context, payload)
    labelled = match(labels, [material], [pictures.digest()])
    photographed = "source" in payload["made"]
    images = {
        "exemplar": pictures.exemplar[None],
        "realisations": pictures.realisations[None],
        "further": pictures.further[None],
    }
    columns: dict[str, Any] = {
        "id": [material],
        "material": [material],
        "source": ["photographed" if photographed else "simulated"],
        "periodic": pa.array([int(not photographed)], pa.int32()),
        "fraction": [float(pictures.exemplar.mean())],
        **{name: array_column(values) for name, values in images.items()},
        **{name: labelled.column(name) for name in LABELS},
        "parameters": [json.dumps(pictures.origin)],
    }
    features: dict[str, Any] = {name: array_feature(values) for name, values in images.items()}
    # Configs have their own numbers of realisations.
    features["realisations"]["shape"][0] = None
    number = {"dtype": "float64", "_type": "Value"}
    features |= {name: {"feature": number, "_type": "List"} for name in LABELS}
    return with_features(pa.table(columns), features)


if __name__ == "__main__":
    from etchmark.data.building import main

    main(__file__)
