"""Builds the configs of ``evolution``: frames of phase-field simulations from seeds.

A trajectory depends on its key (seed of the dataset, key of its split, its number) and on nothing
else. In the configs whose parameters vary, each trajectory draws its own. Frames are rounded to
multiples of a power of two before they are stored. Double precision differs between processors in
its last digits, which would turn a few values in a hundred million to the other side; what lies
that near to a boundary is listed with the labels and is put where the release has it, so that every
machine makes the same frames bit by bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from etchmark import files
from etchmark.columns import array_column, with_features
from etchmark.data.shards import BuildContext, Shard, hash_of, match
from etchmark.errors import UserError
from etchmark.simulation.microstructures import generator_of

PARAMETERS = 1
"""Last number of the key from which the parameters of a trajectory are drawn, not its start."""
DIGITS = 6
"""Of a drawn parameter, so that every machine draws the same."""
NEAR = 2e-8
"""Distance to a rounding boundary within which another processor may round otherwise."""
ENERGY_DIGITS = 9


@dataclass(frozen=True)
class Simulated:
    """Trajectories of one shard.

    Attributes:
        frames: shape (rows, frames, n, n), float64, not yet rounded.
        energy: total free energy, shape (rows, frames).
        grains: number of grains, shape (rows, frames); None where there are none.
    """

    frames: np.ndarray
    energy: np.ndarray
    grains: np.ndarray | None = None


# --- the plan ----------------------------------------------------------------------------------


def shards(context: BuildContext) -> list[Shard]:
    parameters, wanted = context.parameters, context.parameters[context.config]
    # The refined config simulates samples of another one again.
    settings = parameters[wanted.get("of", context.config)]
    size, planned = wanted["shard_rows"], []
    for name, split in settings["splits"].items():
        if name not in wanted.get("only", settings["splits"]):
            continue
        total = wanted.get("rows", split["rows"])
        for start in range(0, total, size):
            count = min(size, total - start)
            payload = {
                **parameters["models"][settings["model"]],
                **{key: value for key, value in split.items() if key not in ("rows", "ranges")},
                "model": settings["model"],
                "seed": parameters["seed"],
                "context": parameters["context"],
                "step": parameters["step"],
                "pixels": settings["pixels"],
                "name": name,
                "start": start,
                "rows": count,
            }
            if "ranges" in settings:
                payload["ranges"] = {**settings["ranges"], **split.get("ranges", {})}
                payload["growths"] = settings.get("growths")
            if "refined" in wanted:
                payload["refined"] = wanted["refined"]
            planned.append(Shard(f"{name}-{start // size:03d}", name, count, payload))
    return planned


def _ids(payload: Mapping[str, Any]) -> list[str]:
    numbers = range(payload["start"], payload["start"] + payload["rows"])
    return [f"{payload['name']}-{number:05d}" for number in numbers]


def _generators(payload: Mapping[str, Any]) -> Iterator[np.random.Generator]:
    for number in range(payload["start"], payload["start"] + payload["rows"]):
        yield generator_of(payload["seed"], payload["key"], number)


def _parameters(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each trajectory of a shard is simulated with: the payload, and what is drawn for it."""
    numbers = range(payload["start"], payload["start"] + payload["rows"])
    if "ranges" not in payload:
        return [dict(payload) for _ in numbers]
    rows = []
    for number in numbers:
        generator = generator_of(payload["seed"], payload["key"], number, PARAMETERS)
        drawn = {name: _drawn(generator, **each) for name, each in payload["ranges"].items()}
        rows.append(_in_own_time({**payload, **drawn}))
    return rows


def parameters(context: BuildContext) -> dict[str, dict[str, Any]]:
    """What each trajectory of a config is simulated with, by its id; nothing is simulated."""
    return {
        key: row
        for shard in shards(context)
        for key, row in zip(_ids(shard.payload), _parameters(shard.payload), strict=True)
    }


def _drawn(
    generator: np.random.Generator,
    *,
    low: float,
    high: float,
    scale: str = "linear",
    either_sign: bool = False,
) -> float | int:
    """A parameter between two limits, uniform in itself or in its logarithm."""
    at = generator.random()
    sign = -1 if either_sign and generator.random() < 0.5 else 1
    if scale == "whole":
        return int(low + math.floor(at * (high - low + 1)))
    value = low * (high / low) ** at if scale == "log" else low + at * (high - low)
    return sign * float(f"{value:.{DIGITS}g}")


def _in_own_time(row: dict[str, Any]) -> dict[str, Any]:
    """Time step and time of the first frame follow from the mobility, which scales the time.

    Where it depends on the direction of a boundary, its largest value decides on the step.

    Where a mixture separates, the first frame is taken after a multiple of the time in which its
    fastest wave grows e-fold, 4 kappa / (M f''(c)²) with f'' = 3 c² - 1 (Cahn, Acta Metall. 9
    (1961) 795, DOI 10.1016/0001-6160(61)90182-1).
    """
    mobility = row["mobility"]
    first = row["first"] / mobility
    if row["growths"] is not None:
        curvature = 3 * row["composition"] ** 2 - 1
        first = row["growths"] * 4 * row["gradient_energy"] / (mobility * curvature**2)
    largest = mobility * (1 + row.get("anisotropy", 0.0))
    return {**row, "dt": row["dt"] / largest, "first": float(f"{first:.{DIGITS}g}")}


def _times(payload: Mapping[str, Any]) -> list[float]:
    return [payload["first"] + payload["every"] * frame for frame in range(payload["frames"])]


# --- simulation --------------------------------------------------------------------------------


def _finer(field: np.ndarray, times: int) -> np.ndarray:
    """A periodic field on ``times`` as many nodes per side, by its Fourier series."""
    n = field.shape[-1]
    spectrum = np.fft.fftshift(np.fft.fft2(field), axes=(-2, -1))
    if n % 2 == 0:
        # The highest wave stands for two, one of either sign.
        spectrum = np.pad(spectrum, [(0, 0)] * (field.ndim - 2) + [(0, 1)] * 2)
        spectrum[..., 0, :] *= 0.5
        spectrum[..., n, :] = spectrum[..., 0, :]
        spectrum[..., :, 0] *= 0.5
        spectrum[..., :, n] = spectrum[..., :, 0]
    wide = np.zeros((*field.shape[:-2], n * times, n * times), dtype=complex)
    low = n * times // 2 - n // 2
    size = spectrum.shape[-1]
    wide[..., low : low + size, low : low + size] = spectrum
    return np.fft.ifft2(np.fft.ifftshift(wide, axes=(-2, -1))).real * times**2


def _spinodal(
    payload: Mapping[str, Any], generators: Sequence[np.random.Generator], finer: int
) -> Simulated:
    """Cahn–Hilliard; a frame is (c + 1) / 2."""
    from etchmark.simulation.phase_field import CahnHilliard, Polynomial, noise

    n = payload["pixels"]
    start = np.stack(
        [
            noise(n, generator, mean=payload["composition"], amplitude=payload["noise"])
            for generator in generators
        ]
    )
    solver = CahnHilliard(
        n * finer,
        Polynomial.double_well(),
        spacing=payload["spacing"] / finer,
        gradient_energy=payload["gradient_energy"],
        mobility=payload["mobility"],
        dt=payload["dt"] / finer,
    )
    evolution = solver.evolve(_finer(start, finer) if finer > 1 else start, _times(payload))
    return Simulated((evolution.frames[:, :, ::finer, ::finer] + 1) / 2, evolution.energy)


def _grain_growth(
    payload: Mapping[str, Any], generators: Sequence[np.random.Generator], finer: int
) -> Simulated:
    """Allen–Cahn; a frame is sum eta² averaged over the cells of each pixel."""
    from etchmark.simulation.grain_growth import GrainGrowth, voronoi

    coarse = payload["pixels"] * payload["cells_per_pixel"]
    start = np.stack([voronoi(coarse, payload["grains"], generator) for generator in generators])
    # A finer grid starts from the same grains: drawing them again would give other ones.
    start = start.repeat(finer, axis=1).repeat(finer, axis=2)
    n, cells = coarse * finer, payload["cells_per_pixel"] * finer
    solver = GrainGrowth(
        n,
        spacing=1 / cells,
        gradient_energy=payload["gradient_energy"],
        mobility=payload["mobility"],
        gamma=payload["gamma"],
        # An explicit step must shrink with the square of the spacing.
        dt=payload["dt"] / finer**2,
        anisotropy=payload["anisotropy"],
        tolerance=payload["tolerance"],
    )
    evolution = solver.evolve(start, _times(payload))
    rows, frames = evolution.frames.shape[:2]
    blocks = evolution.frames.reshape(rows, frames, n // cells, cells, n // cells, cells)
    return Simulated(blocks.mean(axis=(3, 5)), evolution.energy, evolution.count)


_MODELS = {"spinodal": _spinodal, "grain-growth": _grain_growth}


def _simulated(payload: Mapping[str, Any], finer: int = 1) -> Simulated:
    simulate, generators = _MODELS[payload["model"]], list(_generators(payload))
    if "ranges" not in payload:
        return simulate(payload, generators, finer)
    rows = zip(_parameters(payload), generators, strict=True)
    made = [simulate(row, [generator], finer) for row, generator in rows]
    counts = [one.grains for one in made if one.grains is not None]
    return Simulated(
        np.concatenate([one.frames for one in made]),
        np.concatenate([one.energy for one in made]),
        np.concatenate(counts) if counts else None,
    )


# --- frames as they are stored -----------------------------------------------------------------


def _rounded(frames: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Frames in whole steps, and where another processor may have rounded otherwise."""
    places = frames / step
    whole = np.floor(places + 0.5)
    near = np.abs(places + 0.5 - np.rint(places + 0.5)) < NEAR / step
    return whole.astype(np.int16), near


def labels(context: BuildContext, shard: Shard) -> pa.Table:
    payload = shard.payload
    simulated = _simulated(payload)
    whole, near = _rounded(simulated.frames, payload["step"])
    frames = _stored(whole, payload["step"])
    _leave(context, shard, whole)
    columns: dict[str, Any] = {
        "id": _ids(payload),
        "hash": [hash_of(frame) for frame in frames],
    }
    if "refined" in payload:
        fine = _simulated(payload, payload["refined"])
        first = payload["context"]
        apart = (frames[:, first:].astype(np.float64) - fine.frames[:, first:]) ** 2
        columns["squared_error"] = array_column(apart.mean(axis=(2, 3)))
        return pa.table(columns)
    places = [np.flatnonzero(row) for row in near]
    sides = [row.ravel()[at] for row, at in zip(whole, places, strict=True)]
    columns |= {
        "near": pa.array(places, pa.list_(pa.int32())),
        "near_value": pa.array(sides, pa.list_(pa.int16())),
        # Rounded, which costs nothing and packs better.
        "energy": array_column(
            np.array([[_short(one) for one in row] for row in simulated.energy])
        ),
    }
    if simulated.grains is not None:
        columns["grains"] = array_column(simulated.grains.astype(np.int32))
    return pa.table(columns)


def _short(value: float) -> float:
    return float(f"{value:.{ENERGY_DIGITS}g}")


def _stored(whole: np.ndarray, step: float) -> np.ndarray:
    return (whole * step).astype(np.float16)


def _leave(context: BuildContext, shard: Shard, whole: np.ndarray) -> None:
    """Keep simulated frames for ``table``, where this machine has room for them."""
    if context.scratch is not None and "refined" not in shard.payload:
        path = context.scratch / f"{shard.name}.npy"
        with suppress(OSError), files.replacing(path) as temporary, temporary.open("wb") as handle:
            np.save(handle, whole, allow_pickle=False)


def _left(context: BuildContext, shard: Shard, labels: pa.Table) -> np.ndarray | None:
    """Frames that ``labels`` left, if they are those whose labels these are."""
    if context.scratch is None:
        return None
    try:
        whole = np.load(context.scratch / f"{shard.name}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    frames = _stored(whole, shard.payload["step"])
    return frames if [hash_of(frame) for frame in frames] == labels["hash"].to_pylist() else None


def _settled(simulated: Simulated, labels: pa.Table, ids: list[str], step: float) -> np.ndarray:
    """Frames as the release has them; values near a rounding boundary are taken from the labels."""
    whole, _ = _rounded(simulated.frames, step)
    known = {key: row for row, key in enumerate(labels.column("id").to_pylist())}
    for row, key in enumerate(ids):
        if key not in known:
            raise UserError(f"labels and rows have different ids ({key})")
        places = labels.column("near")[known[key]].values.to_numpy()
        values = labels.column("near_value")[known[key]].values.to_numpy()
        flat = whole[row].ravel()
        # A neighbour at most: anything else is another simulation, and its hash will tell.
        moved = np.abs(flat[places].astype(np.int32) - values) <= 1
        flat[places[moved]] = values[moved]
        whole[row] = flat.reshape(whole[row].shape)
    return _stored(whole, step)


# --- rows --------------------------------------------------------------------------------------


def _value(dtype: str) -> dict[str, str]:
    return {"dtype": dtype, "_type": "Value"}


def _list(dtype: str) -> dict[str, Any]:
    return {"feature": _value(dtype), "_type": "List"}


def table(context: BuildContext, shard: Shard, labels: pa.Table) -> pa.Table:
    payload = shard.payload
    ids = _ids(payload)
    if "refined" in payload:
        return _refined_table(labels)
    frames = _left(context, shard, labels)
    if frames is None:
        frames = _settled(_simulated(payload), labels, ids, payload["step"])
    labelled = match(labels, ids, [hash_of(frame) for frame in frames])
    seen, n, rows = payload["context"], payload["pixels"], len(ids)
    own = _parameters(payload)

    def each(name: str) -> list[float]:
        return [float(row[name]) for row in own]

    columns: dict[str, Any] = {
        "id": pa.array(ids),
        "context": array_column(frames[:, :seen]),
        "target": array_column(frames[:, seen:]),
        "horizon": np.full(rows, payload["frames"] - seen, dtype=np.int32),
        "frame_spacing": np.full(rows, float(payload["every"])),
        "mobility": each("mobility"),
        "gradient_energy": each("gradient_energy"),
        "energy": labelled.column("energy"),
        "last_energy": [one[-1].as_py() for one in labelled.column("energy")],
    }
    features: dict[str, Any] = {
        "context": {"shape": [seen, n, n], "dtype": "float16", "_type": "Array3D"},
        # Splits have their own numbers of frames.
        "target": {"shape": [None, n, n], "dtype": "float16", "_type": "Array3D"},
        "energy": _list("float64"),
    }
    if payload["model"] == "spinodal":
        columns["composition"] = each("composition")
    else:
        grains = labelled.column("grains")
        area = [float(n * n) / counts.values.to_numpy() for counts in grains]
        columns |= {
            "anisotropy": each("anisotropy"),
            "grains": grains,
            "grain_area": pa.array(area, pa.list_(pa.float64())),
        }
        features |= {"grains": _list("int32"), "grain_area": _list("float64")}
    if "ranges" in payload and payload["model"] == "grain-growth":
        columns["start_grains"] = each("grains")
    columns["parameters"] = [
        json.dumps({**_shown(row), "seed": [payload["seed"], payload["key"], number]})
        for number, row in enumerate(own, payload["start"])
    ]
    return with_features(pa.table(columns), features)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a trajectory without what is only about its shard."""
    hidden = ("name", "start", "rows", "ranges", "growths")
    return {key: value for key, value in row.items() if key not in hidden}


def _refined_table(labels: pa.Table) -> pa.Table:
    errors = [one.values.to_numpy() for one in labels.column("squared_error")]
    columns: dict[str, Any] = {
        "id": labels.column("id"),
        "rmse": [float(np.sqrt(one.mean())) for one in errors],
        "squared_error": labels.column("squared_error"),
    }
    return with_features(pa.table(columns), {"squared_error": _list("float64")})


if __name__ == "__main__":
    from etchmark.data.building import main

    main(__file__)
