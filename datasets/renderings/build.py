"""Builds the configs of ``renderings``: micrographs of simulated microstructures of five families.

The families share their volume fractions and lengths of interface: both are drawn first, in the
same way for all of them, and a structure is drawn at one scale after the other until its interface
has the wanted length. Each structure is rendered once, under one condition.

A sample depends on its key (seed of the dataset, key of its family, its number) and on nothing
else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from etchmark.columns import array_column, array_feature, with_features
from etchmark.data.shards import BuildContext, Shard, match
from etchmark.simulation import families
from etchmark.simulation import microstructures as generate
from etchmark.simulation.imaging import render

Shape = tuple[int, int]
Maker = Callable[[Shape, float, float, np.random.Generator], np.ndarray]
WANTED, STRUCTURE, IMAGE = 0, 1, 2
"""Streams of random numbers of a sample: what is wanted of it, its structures, its image."""


# --- structures ----------------------------------------------------------------------------------


def _disks(
    shape: Shape, scale: float, fraction: float, generator: np.random.Generator
) -> np.ndarray:
    return generate.spheres(shape, (0.75 * scale, 1.25 * scale), fraction, generator)


def _ellipses(
    shape: Shape, scale: float, fraction: float, generator: np.random.Generator
) -> np.ndarray:
    return generate.ellipses(shape, (0.9 * scale, 1.1 * scale), (2.0, 3.0), fraction, generator)


def _cells(
    shape: Shape, scale: float, fraction: float, generator: np.random.Generator
) -> np.ndarray:
    count = max(2, round(math.prod(shape) / scale**2))
    return generate.voronoi(shape, count, fraction, generator)


FAMILIES: dict[str, Maker] = {
    "disks": _disks,
    "ellipses": _ellipses,
    "voronoi": _cells,
    "gaussian": generate.random_field,
    "spinodal": generate.spinodal,
}
"""Families by name: from shape, scale in pixels and volume fraction to a structure."""


def interface(phase: np.ndarray) -> float:
    """Pairs of unlike neighbours along rows and columns of a periodic cell, per pixel."""
    pairs = sum(np.count_nonzero(phase != np.roll(phase, 1, axis)) for axis in (0, 1))
    return pairs / phase.size


def _stream(payload: Mapping[str, Any], number: int, *stream: int) -> np.random.Generator:
    return generate.generator_of(payload["seed"], payload["key"], number, *stream)


def _structure(
    payload: Mapping[str, Any], fraction: float, scale: float, number: int, attempt: int
) -> np.ndarray:
    shape = (payload["cells"], payload["cells"])
    generator = _stream(payload, number, STRUCTURE, attempt)
    return FAMILIES[payload["family"]](shape, scale, fraction, generator)


def _wanted(payload: Mapping[str, Any], number: int) -> tuple[float, float]:
    """Volume fraction and length of interface of a sample, drawn alike for every family."""
    generator = _stream(payload, number, WANTED)
    fraction = families.uniform(generator, payload["fraction"])
    return fraction, families.uniform(generator, payload["interface"])


def _found(payload: Mapping[str, Any], number: int) -> tuple[float, int]:
    """Scale and attempt at which a structure has the wanted length of interface."""
    fraction, wanted = _wanted(payload, number)
    # Interface times scale is nearly constant: the first guess is near, each next one nearer.
    scale = round(payload["interface_times_scale"] * fraction * (1 - fraction) / wanted, 4)
    for attempt in range(payload["attempts"]):
        try:
            length = interface(_structure(payload, fraction, scale, number, attempt))
        except ValueError:
            continue  # found no room for its inclusions: other ones may
        if abs(length / wanted - 1) <= payload["tolerance"]:
            return scale, attempt
        scale = round(scale * float(np.clip(length / wanted, 0.8, 1.25)), 4)
    raise RuntimeError(f"{payload['family']} {number}: no structure with interface {wanted}")


# --- the plan ------------------------------------------------------------------------------------


def shards(context: BuildContext) -> list[Shard]:
    parameters, config = context.parameters, context.parameters[context.config]
    shared = {
        name: parameters[name]
        for name in ("seed", "fraction", "tolerance", "attempts", "levels", "folds")
    }
    planned = []
    for family, own in parameters["families"].items():
        for index, (condition, steps) in enumerate(parameters["conditions"].items()):
            payload = {
                **shared,
                **own,
                **config,
                "family": family,
                "condition": condition,
                "number": index,
                "steps": steps,
            }
            rows = config["rows"]
            planned.append(Shard(f"{family}-{condition}", "samples", rows, payload))
    return planned


def _numbers(payload: Mapping[str, Any]) -> range:
    """Numbers of a shard's samples within their family."""
    start = payload["number"] * payload["rows"]
    return range(start, start + payload["rows"])


def _ids(payload: Mapping[str, Any]) -> list[str]:
    stem = f"{payload['family']}-{payload['condition']}"
    return [f"{stem}-{row:03d}" for row in range(payload["rows"])]


def labels(context: BuildContext, shard: Shard) -> pa.Table:
    payload = shard.payload
    found = [_found(payload, number) for number in _numbers(payload)]
    structures = [
        _structure(payload, _wanted(payload, number)[0], scale, number, attempt)
        for number, (scale, attempt) in zip(_numbers(payload), found, strict=True)
    ]
    return pa.table(
        {
            "id": _ids(payload),
            "hash": [generate.digest(phase) for phase in structures],
            "scale": [scale for scale, _ in found],
            "attempt": pa.array([attempt for _, attempt in found], pa.int32()),
        }
    )


def table(context: BuildContext, shard: Shard, labels: pa.Table) -> pa.Table:
    payload, ids = shard.payload, _ids(shard.payload)
    by_id = {row["id"]: row for row in labels.to_pylist()}
    phases, images, drawn = [], [], []
    for name, number in zip(ids, _numbers(payload), strict=True):
        scale, attempt = by_id[name]["scale"], by_id[name]["attempt"]
        phase = _structure(payload, _wanted(payload, number)[0], scale, number, attempt)
        source = _stream(payload, number, IMAGE)
        image, rendered = render(phase, payload["levels"], payload["steps"], source)
        phases.append(phase)
        images.append(image)
        drawn.append(json.dumps({"scale": scale, **rendered}))
    match(labels, ids, [generate.digest(phase) for phase in phases])
    stacked, micrographs = np.stack(phases), np.stack(images)
    columns = {
        "id": pa.array(ids),
        "micrograph": array_column(micrographs),
        "microstructure": array_column(stacked),
        "morphology": pa.array([payload["family"]] * len(ids)),
        "condition": pa.array([payload["condition"]] * len(ids)),
        "fraction": stacked.mean(axis=(1, 2)),
        "interface": np.array([interface(phase) for phase in phases]),
        "fold_condition": pa.array([payload["number"]] * len(ids), pa.int32()),
        "fold_iid": pa.array([row % payload["folds"] for row in range(len(ids))], pa.int32()),
        "parameters": pa.array(drawn),
    }
    features = {
        "micrograph": array_feature(micrographs),
        "microstructure": array_feature(stacked),
    }
    return with_features(pa.table(columns), features)


if __name__ == "__main__":
    from etchmark.data.building import main

    main(__file__)
