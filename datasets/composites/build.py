"""Builds the configs of ``composites``: microstructures from seeds, stiffness by homogenization.

A sample depends on its key (seed of the dataset, key of its split or family, its number) and on
nothing else. Drawn parameters are rounded before they are used, so that they are stored exactly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from etchmark.columns import array_column, with_features
from etchmark.data.shards import BuildContext, Shard, match
from etchmark.simulation import bounds, families
from etchmark.simulation import microstructures as generate
from etchmark.simulation.rotations import cube_rotations, rotate_volume

ROTATIONS = cube_rotations()
Sample = tuple[str, np.ndarray, dict[str, Any]]


# --- the plan ----------------------------------------------------------------------------------


def _families(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What is drawn in a config, by split (3D) or by family in one split (2D)."""
    return settings["splits"] if "splits" in settings else settings["families"]


def _rotated(wanted: Mapping[str, Any], families: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The split of rotated volumes, as a family; none if a config has no such split."""
    if "rotated" not in wanted:
        return {}
    turns = wanted["rotated"]
    family = families[turns["split"]]
    samples = turns.get("samples", family["rows"])
    return {"rotated": {**family, "turns": turns, "rows": samples * turns["orientations"]}}


def _rows(wanted: Mapping[str, Any], name: str, all_rows: int) -> int:
    """Number of samples that a config takes of a split or family."""
    rows = wanted.get("rows", all_rows)
    return rows.get(name, all_rows) if isinstance(rows, Mapping) else rows


def _pieces(
    wanted: Mapping[str, Any], name: str, all_rows: int, size: int
) -> list[tuple[str, int, int]]:
    """Shards of a split or family: whose samples they are, the first of them and how many."""
    parts = [(name, 0, _rows(wanted, name, all_rows))]
    if name in wanted.get("more", {}):
        more = wanted["more"][name]
        parts.append((more["of"], more["start"], more["rows"]))
    return [
        (source, start, min(size, first + rows - start))
        for source, first, rows in parts
        for start in range(first, first + rows, size)
    ]


def shards(context: BuildContext) -> list[Shard]:
    parameters, wanted = context.parameters, context.parameters[context.config]
    # A config may hold further labels of another one's samples.
    settings = parameters[wanted.get("of", context.config)]
    drawn = _families(settings)
    size, planned = wanted["shard_rows"], []
    # A config may also hold samples of a split turned by rotations of the cube.
    named = drawn | _rotated(wanted, drawn)
    for index, (name, family) in enumerate(named.items()):
        if name not in wanted.get("only", named):
            continue
        pieces = _pieces(wanted, name, family["rows"], size)
        for number, (source, start, count) in enumerate(pieces):
            family = named[source]
            payload = {
                "seed": parameters["seed"],
                "key": family["key"],
                "name": source,
                "start": start,
                "rows": count,
                "cells": settings["cells"],
                "dimensions": 3 if "splits" in settings else 2,
                "contrast": settings["contrast"],
                "poisson": parameters["poisson"],
                "tolerance": parameters["tolerance"],
                "loads": wanted.get("loads"),
                "sample": family["sample"],
                "folds": settings.get("folds"),
                "family": family.get("fold", index),
            }
            if "refined" in wanted:
                # Parts into which voxels are split along each axis.
                payload["refined"] = wanted["refined"]
            if settings.get("polarities"):
                payload |= {"polarities": True, "isotropic": family["isotropic"]}
            if "turns" in family:
                payload["turns"] = family["turns"]
            split = name
            if "families" in settings:
                split = "test" if "of" in wanted else "samples"
            shard = Shard(f"{name}-{number:03d}", split, count, payload)
            planned.append(replace(shard, labels_of=wanted.get("labels_of")))
    return planned


# --- samples -----------------------------------------------------------------------------------


def _is_marked_phase_stiff(number: int) -> bool:
    """Polarity of a sample where both occur equally often: by turns, whatever is drawn."""
    return number % 2 == 0


def _rotations(payload: Mapping[str, Any], number: int) -> np.ndarray:
    """Rotations of a sample's orientations, all different, none the identity.

    The first is the next one in turn, so that every rotation occurs; the others are drawn.
    """
    turns = payload["turns"]
    generator = generate.generator_of(payload["seed"], turns["key"], number)
    others = len(ROTATIONS) - 1
    steps = 1 + generator.permutation(others - 1)[: turns["orientations"] - 1]
    return ROTATIONS[1 + (number + np.array([0, *steps])) % others]


def _samples(payload: Mapping[str, Any]) -> Iterator[Sample]:
    """Id, microstructure and parameters of each sample of a shard."""
    shape = (payload["cells"],) * payload["dimensions"]
    turns = payload.get("turns")
    for row in range(payload["start"], payload["start"] + payload["rows"]):
        # All orientations of a volume follow one another.
        number, orientation = (row, 0) if turns is None else divmod(row, turns["orientations"])
        generator = generate.generator_of(payload["seed"], payload["key"], number)
        contrast, family = payload["contrast"], payload["sample"]
        if isinstance(contrast, list):
            contrast = families.log_uniform(generator, contrast)
        if payload.get("polarities"):
            family = {**family, "stiff": _is_marked_phase_stiff(number)}
        made, drawn = families.draw(shape, family, generator)
        if turns is not None:
            rotation = _rotations(payload, number)[orientation]
            made = rotate_volume(made, rotation)
            drawn["rotation"] = rotation.tolist()
            drawn["source"] = f"{turns['split']}-{number:05d}"
        drawn |= {"contrast": float(contrast), "seed": [payload["seed"], payload["key"], number]}
        yield f"{payload['name']}-{row:05d}", made, drawn


# --- labels ------------------------------------------------------------------------------------


def _solver(payload: Mapping[str, Any]) -> Callable[..., Any]:
    import torch

    from etchmark.simulation.homogenization import homogenize

    # The rule and the precision the released labels were made with: a tolerance of the stiffness
    # would end other iterations, and give other digits.
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def solve(microstructure: np.ndarray, contrast: float, loads: list[int] | None) -> Any:
        return homogenize(
            microstructure,
            contrast,
            payload["poisson"],
            loads=loads,
            residual=payload["tolerance"],
            dtype=torch.float32,
            device=device,
        )

    return solve


def labels(context: BuildContext, shard: Shard) -> pa.Table:
    payload = shard.payload
    solve = _solver(payload)
    if payload.get("refined"):
        return _refined_labels(payload, solve)
    size = 6 if payload["dimensions"] == 3 else 3
    upper = np.triu_indices(size)
    columns: dict[str, list[Any]] = {name: [] for name in ("id", "hash", "iterations", "residual")}
    stiffness = []
    for name, microstructure, drawn in _samples(payload):
        solved = solve(microstructure, drawn["contrast"], payload["loads"])
        columns["id"].append(name)
        columns["hash"].append(generate.digest(microstructure))
        columns["iterations"].append(int(solved.iterations.max()))
        columns["residual"].append(float(solved.residual.max()))
        stiffness.append(solved.stiffness[upper])
    entries = np.array(stiffness)
    named = {
        f"c{row + 1}{column + 1}": entries[:, index]
        for index, (row, column) in enumerate(zip(*upper, strict=True))
        # Load cases that were not computed leave no column.
        if np.isfinite(entries[:, index]).all()
    }
    return pa.table({**columns, **named})


def _refined_labels(payload: Mapping[str, Any], solve: Callable[..., Any]) -> pa.Table:
    columns: dict[str, list[Any]] = {"id": [], "hash": []}
    columns |= {f"c1111_split_{times}": [] for times in payload["refined"]}
    for name, microstructure, drawn in _samples(payload):
        columns["id"].append(name)
        columns["hash"].append(generate.digest(microstructure))
        for times in payload["refined"]:
            split = microstructure
            for axis in range(split.ndim):
                split = np.repeat(split, times, axis)
            solved = solve(split, drawn["contrast"], [0])
            columns[f"c1111_split_{times}"].append(float(solved.stiffness[0, 0]))
    return pa.table(columns)


def _extrapolated(values: Sequence[float], splits: Sequence[int]) -> tuple[float, float]:
    """Limit and order p of c + a h^p through the values at two or three sizes h = 1 / splits.

    Where no order between 1/2 and 2 fits, and through two values, the first order through the two
    finest is taken.
    """
    order = _order(values, splits) if len(values) == 3 else None
    *_, coarse, fine = values
    *_, less, most = splits
    if order is None:
        return (most * fine - less * coarse) / (most - less), 1.0
    return fine + (fine - coarse) / ((most / less) ** order - 1), order


def _order(values: Sequence[float], splits: Sequence[int]) -> float | None:
    """Order of convergence through three values; None if it is not between 1/2 and 2."""
    coarse, middle, fine = values
    if coarse == middle:
        return None
    target = (middle - fine) / (coarse - middle)

    def ratio(order: float) -> float:
        one, two, three = (parts**-order for parts in splits)
        return (two - three) / (one - two)

    low, high = 0.5, 2.0
    if not ratio(high) <= target <= ratio(low):
        return None
    for _ in range(60):
        order = (low + high) / 2
        low, high = (order, high) if ratio(order) > target else (low, order)
    return (low + high) / 2


# --- rows --------------------------------------------------------------------------------------

SCALARS = {
    "fraction": "float64",
    "contrast": "float64",
    "c1111": "float64",
    "voigt": "float64",
    "reuss": "float64",
    "hashin_shtrikman_lower": "float64",
    "hashin_shtrikman_upper": "float64",
}


def _value(dtype: str) -> dict[str, str]:
    return {"dtype": dtype, "_type": "Value"}


def _array(shape: tuple[int, ...], dtype: str) -> dict[str, Any]:
    return {"shape": list(shape), "dtype": dtype, "_type": f"Array{len(shape)}D"}


def _tensor(found: pa.Table, size: int) -> np.ndarray:
    """Voigt stiffness of each row."""
    tensor = np.empty((found.num_rows, size, size))
    for row in range(size):
        for column in range(row, size):
            values = found.column(f"c{row + 1}{column + 1}").to_numpy()
            tensor[:, row, column] = tensor[:, column, row] = values
    return tensor


def _tensor_table(found: pa.Table) -> pa.Table:
    columns = {
        "id": found.column("id"),
        "c1111": found.column("c11"),
        "stiffness": array_column(_tensor(found, 6)),
        "iterations": found.column("iterations").cast(pa.int32()),
    }
    features = {
        "id": _value("string"),
        "c1111": _value("float64"),
        "stiffness": _array((6, 6), "float64"),
        "iterations": _value("int32"),
    }
    return with_features(pa.table(columns), features)


def table(context: BuildContext, shard: Shard, labels: pa.Table) -> pa.Table:
    payload = shard.payload
    drawn = list(_samples(payload))
    ids = [name for name, _, _ in drawn]
    found = match(labels, ids, [generate.digest(made) for _, made, _ in drawn])
    if payload.get("refined"):
        return _refined_table(found, payload)
    wanted = context.parameters[context.config]
    if "of" in wanted and not wanted.get("volumes"):
        return _tensor_table(found)
    volumes = np.stack([made for _, made, _ in drawn])
    cells, dimensions = payload["cells"], payload["dimensions"]
    fraction = volumes.reshape(len(volumes), -1).mean(axis=1)
    contrast = np.array([parameters["contrast"] for _, _, parameters in drawn])
    size = 6 if dimensions == 3 else 3
    given = {"poisson": payload["poisson"], "ndim": dimensions}
    lower, upper = bounds.hashin_shtrikman(fraction, contrast, **given)
    # Where a family is known to be anisotropic these are no bounds.
    anisotropic = np.full(len(ids), not payload.get("isotropic", True))
    columns: dict[str, Any] = {"id": pa.array(ids), "microstructure": array_column(volumes)}
    features: dict[str, Any] = {
        "id": _value("string"),
        "microstructure": _array((cells,) * dimensions, "uint8"),
    }
    if dimensions == 3:
        sections = [generate.sections(volume) for volume in volumes]
        for name in sections[0]:
            columns[name] = array_column(np.stack([faces[name] for faces in sections]))
            features[name] = _array((cells, cells), "uint8")
    columns |= {
        "fraction": fraction,
        "contrast": contrast,
        "c1111": found.column("c11"),
        "voigt": bounds.voigt(fraction, contrast, **given),
        "reuss": bounds.reuss(fraction, contrast, **given),
        "hashin_shtrikman_lower": pa.array(lower, mask=anisotropic),
        "hashin_shtrikman_upper": pa.array(upper, mask=anisotropic),
        "iterations": found.column("iterations").cast(pa.int32()),
        "morphology": [_morphology(payload)] * len(ids),
        "parameters": [json.dumps(parameters) for _, _, parameters in drawn],
    }
    features |= {name: _value(dtype) for name, dtype in SCALARS.items()}
    features |= {
        "iterations": _value("int32"),
        "morphology": _value("string"),
        "parameters": _value("string"),
    }
    if payload["loads"] is None:
        columns["stiffness"] = array_column(_tensor(found, size))
        features["stiffness"] = _array((size, size), "float64")
    if "rotated" in wanted:
        identity = ROTATIONS[0].tolist()
        turned = [parameters.get("rotation", identity) for _, _, parameters in drawn]
        columns["source"] = [parameters.get("source", name) for name, _, parameters in drawn]
        columns["rotation"] = array_column(np.array(turned, dtype=np.int8))
        features |= {"source": _value("string"), "rotation": _array((3, 3), "int8")}
    if payload["folds"]:
        numbers = np.arange(payload["start"], payload["start"] + payload["rows"])
        columns["fold_morphology"] = np.full(len(ids), payload["family"], dtype=np.int32)
        columns["fold_iid"] = (numbers % payload["folds"]).astype(np.int32)
        features |= {name: _value("int32") for name in ("fold_morphology", "fold_iid")}
    if payload.get("polarities"):
        polarity = [_is_marked_phase_stiff(parameters["seed"][-1]) for _, _, parameters in drawn]
        columns["polarity"] = ["stiff" if stiff else "soft" for stiff in polarity]
        features["polarity"] = _value("string")
    return with_features(pa.table(columns), features)


def _morphology(payload: Mapping[str, Any]) -> str:
    # Splits of other morphologies are called by what they hold; the rest are random fields.
    return "gaussian" if payload["sample"]["morphology"] == "gaussian" else payload["name"]


def _refined_table(found: pa.Table, payload: Mapping[str, Any]) -> pa.Table:
    splits = payload["refined"]
    names = [f"c1111_split_{times}" for times in splits]
    values = np.stack([found.column(name).to_numpy() for name in names], axis=1)
    limits = np.array([_extrapolated(list(row), splits) for row in values])
    columns: dict[str, Any] = {
        "id": found.column("id"),
        "c1111": values[:, 0],
        **{name: values[:, index] for index, name in enumerate(names)},
        "c1111_extrapolated": limits[:, 0],
        "order": limits[:, 1],
    }
    columns["discretisation_error_percent"] = 100 * (values[:, 0] / limits[:, 0] - 1)
    columns["morphology"] = [_morphology(payload)] * len(limits)
    texts = {"id", "morphology"}
    features = {name: _value("string" if name in texts else "float64") for name in columns}
    return with_features(pa.table(columns), features)


if __name__ == "__main__":
    from etchmark.data.building import main

    main(__file__)
