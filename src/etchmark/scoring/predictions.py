"""The predictions file: the one door to every score.

Parquet (or CSV where the target is a scalar): ``id``, ``prediction``, optional integer ``seed``.
A file is taken whole or refused whole, with the count, the first offending ids and the remedy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark import files
from etchmark.scoring.reading import (
    MAX_SEEDS,
    META,
    Declared,
    Predictions,
    listing,
    max_file_bytes,
    read,
    refuse,
)

__all__ = [
    "MAX_SEEDS",
    "Declared",
    "Predictions",
    "SplitPredictions",
    "check",
    "max_file_bytes",
    "read",
    "write",
]


@dataclass(frozen=True)
class SplitPredictions:
    """Predictions of one whole split, in the order of its ids.

    ``values`` has shape (seeds, samples, *shape).
    """

    seeds: list[int]
    values: np.ndarray


def check(
    path: Path, predictions: Predictions, splits: Mapping[str, np.ndarray], headline: str
) -> dict[str, SplitPredictions]:
    """Order predictions by split; refuse anything but whole splits of finite values.

    Args:
        path: named in messages.
        predictions: what the file holds.
        splits: ids of each split that can be scored.
        headline: the split that must be there.
    """
    finite = np.isfinite(predictions.values).all(axis=tuple(range(1, predictions.values.ndim)))
    if not finite.all():
        bad = predictions.ids[~finite]
        raise refuse(
            path,
            f"{len(bad)} predictions are not finite (ids {listing(bad)})",
            "NaN and infinity are refused; predict a number for every sample",
        )
    split_of = {value: name for name, ids in splits.items() for value in ids}
    extra = [value for value in dict.fromkeys(predictions.ids) if value not in split_of]
    if extra:
        raise refuse(
            path,
            f"{len(extra)} ids are not of this benchmark (ids {listing(extra)})",
            "`etchmark template` writes the ids that are asked for",
        )
    seeds = sorted({int(seed) for seed in predictions.seeds})
    if len(seeds) > MAX_SEEDS:
        raise refuse(path, f"holds {len(seeds)} seeds", f"at most {MAX_SEEDS} are taken")
    rows: dict[tuple[str, int], int] = {}
    doubled: list[str] = []
    for row, key in enumerate(zip(predictions.ids, predictions.seeds.tolist(), strict=True)):
        if key in rows:
            doubled.append(key[0])
        rows[key] = row
    if doubled:
        raise refuse(
            path,
            f"{len(doubled)} rows repeat an id and seed (ids {listing(doubled)})",
            "give each sample one row per seed",
        )
    present = {split_of[value] for value in predictions.ids} | {headline}
    chosen: dict[str, SplitPredictions] = {}
    for name, ids in splits.items():
        if name not in present:
            continue
        missing = [value for seed in seeds or [0] for value in ids if (value, seed) not in rows]
        if missing:
            raise refuse(
                path,
                f"{len(missing)} of {len(ids) * max(len(seeds), 1)} predictions of split {name!r}"
                f" are missing (ids {listing(dict.fromkeys(missing))})",
                "give a split whole, for every seed, or leave it out (not the headline split)",
            )
        order = np.array([[rows[(value, seed)] for value in ids] for seed in seeds])
        chosen[name] = SplitPredictions(seeds, predictions.values[order])
    return chosen


def write(
    path: Path,
    ids: Sequence[str] | np.ndarray,
    values: np.ndarray,
    *,
    seeds: np.ndarray | None = None,
    declared: Declared = Declared(),
) -> None:
    """Write a predictions file (parquet, or CSV by its suffix).

    Args:
        path: where.
        ids: shape (rows,).
        values: shape (rows, ...), in the target's unit; arrays are stored flat.
        seeds: shape (rows,), integers; no seed column if None.
        declared: benchmark, track and protocol; kept in the metadata of parquet.
    """
    columns: dict[str, object] = {"id": pa.array([str(value) for value in ids], pa.string())}
    values = np.asarray(values)
    if values.ndim == 1:
        columns["prediction"] = pa.array(values.astype(np.float64))
    else:
        flat = values.reshape(len(values), -1)
        kind = np.float16 if values.dtype == np.float16 else np.float32
        columns["prediction"] = pa.FixedSizeListArray.from_arrays(
            pa.array(flat.astype(kind).ravel()), flat.shape[1]
        )
    if seeds is not None:
        columns["seed"] = pa.array(np.asarray(seeds, dtype=np.int64))
    table = pa.table(columns)
    if path.suffix.lower() == ".csv":
        with files.replacing(path) as temporary:
            table.to_pandas().to_csv(temporary, index=False)
        return
    said = {f"{META}{key}": value for key, value in vars(declared).items() if value is not None}
    with files.replacing(path) as temporary:
        pq.write_table(
            table.replace_schema_metadata(said),
            temporary,
            compression="zstd",
            write_page_checksum=True,
        )
