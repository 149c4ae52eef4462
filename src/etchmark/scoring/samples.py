"""Per-sample outcomes of a split, and the table that keeps them beside a result record."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark.columns import array_column, nesting, to_numpy
from etchmark.scoring import uncertainty
from etchmark.scoring.metrics import TERMS, VALUE_TERMS, sample_terms
from etchmark.scoring.rollouts import Rollout, decode, encode

SUBSET = "subset_"
"""Prefix of the columns of the per-sample table that say which samples a subset holds."""
FRAME = "frame_"
"""Prefix of the columns of that table that hold one value per predicted frame."""
ROLLOUT = "rollout"
"""Column of the same table: a picture of one predicted sample of frames, null for all others."""
OUTSIDE = "outside"
"""Column of the same table: whether the prediction lies outside the sample's bounds."""


@dataclass(frozen=True)
class SampleScores:
    """Per-sample outcome of one split: all that scores, intervals and ranks are made from.

    ``terms`` holds arrays of shape (seeds, samples); ``prediction`` and ``target`` exist for
    scalar targets only, shapes (seeds, samples) and (samples,); ``outside``, shape
    (seeds, samples), where the benchmark declares bounds; ``subsets`` are truth values of shape
    (samples,) by name; ``frames`` errors of each predicted frame by name, shape
    (seeds, samples, frames); ``rollout`` what one sample of frames looks like, if it is kept.
    """

    split: str
    ids: np.ndarray
    units: np.ndarray
    folds: np.ndarray | None
    seeds: list[int]
    terms: dict[str, np.ndarray]
    target: np.ndarray | None
    prediction: np.ndarray | None
    outside: np.ndarray | None = None
    subsets: dict[str, np.ndarray] = field(default_factory=dict)
    frames: dict[str, np.ndarray] = field(default_factory=dict)
    rollout: Rollout | None = None

    def sums(self) -> np.ndarray:
        """Unit sums, shape (terms, seeds, units)."""
        return uncertainty.unit_sums(self.terms, self.units)

    def among(self, member: np.ndarray) -> SampleScores:
        """The same of some of the samples; ``member`` are truth values of shape (samples,)."""
        target = prediction = None
        beyond = None if self.outside is None else self.outside[:, member]
        if self.target is not None and self.prediction is not None:
            target, prediction = self.target[member], self.prediction[:, member]
            # The variance terms are taken about the mean of these samples, or rounding shows.
            terms = value_terms(target, prediction, beyond)
        else:
            terms = {name: value[:, member] for name, value in self.terms.items()}
        return SampleScores(
            split=self.split,
            ids=self.ids[member],
            units=self.units[member],
            folds=None if self.folds is None else self.folds[member],
            seeds=self.seeds,
            terms=terms,
            target=target,
            prediction=prediction,
            outside=beyond,
            subsets={name: one[member] for name, one in self.subsets.items()},
            frames={name: one[:, member] for name, one in self.frames.items()},
        )

    def subset(self, name: str) -> SampleScores | None:
        """The samples of a subset; None if membership is not known or there are none."""
        member = self.subsets.get(name)
        return None if member is None or not member.any() else self.among(member)


def _shift(target: np.ndarray) -> float:
    return float(np.mean(target, dtype=np.float64))


def value_terms(
    target: np.ndarray, values: np.ndarray, beyond: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Terms of all samples, shape (seeds, samples) each."""
    shift = _shift(target)
    per_seed = [
        sample_terms(target, one, shift, None if beyond is None else beyond[seed])
        for seed, one in enumerate(values)
    ]
    return {name: np.stack([terms[name] for terms in per_seed]) for name in VALUE_TERMS}


def to_table(samples: list[SampleScores]) -> pa.Table:
    """Per-sample table: one row per split × seed × sample.

    For scalar targets it holds target and prediction; for arrays the terms of every metric.
    Beside them stand, where the benchmark declares bounds or subsets, whether the prediction lies
    outside its bounds and membership in each subset.
    """
    parts = []
    for one in samples:
        count, seeds = len(one.ids), len(one.seeds)
        columns: dict[str, object] = {
            "split": [one.split] * (count * seeds),
            "id": list(np.tile(one.ids, seeds)),
            "seed": np.repeat(np.array(one.seeds, dtype=np.int64), count),
            "unit": list(np.tile(one.units, seeds)),
            "fold": np.tile(one.folds, seeds).astype(np.int32)
            if one.folds is not None
            else pa.nulls(count * seeds, pa.int32()),
        }
        if one.prediction is not None and one.target is not None:
            columns["target"] = np.tile(one.target, seeds)
            columns["prediction"] = one.prediction.reshape(-1)
        else:
            own = {name: terms.reshape(-1) for name, terms in one.terms.items()}
            columns |= {name: terms for name, terms in own.items() if not np.isnan(terms).all()}
        for name, values in one.frames.items():
            # Enough for curves over the horizon; scores come from the sums.
            flat = values.reshape(count * seeds, -1).astype(np.float32)
            columns[FRAME + name] = array_column(flat)
        if one.outside is not None:
            columns[OUTSIDE] = one.outside.reshape(-1)
        columns |= {SUBSET + name: np.tile(member, seeds) for name, member in one.subsets.items()}
        if any(each.rollout for each in samples):
            pictures = [
                encode(one.rollout) if one.rollout and row == 0 else None
                for row in range(count * seeds)
            ]
            columns[ROLLOUT] = pa.array(pictures, pa.binary())
        parts.append(pa.table(columns))
    return pa.concat_tables(parts)


def table_bytes(samples: list[SampleScores]) -> bytes:
    """``to_table`` as a parquet file; small, since every record of the board carries one."""
    table = to_table(samples)
    texts = [one.name for one in table.schema if pa.types.is_string(one.type)]
    floats = [
        f"{one.name}{'.list.element' * nesting(one.type)[0]}"
        for one in table.schema
        if pa.types.is_floating(nesting(one.type)[1])
    ]
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        compression_level=9,
        use_dictionary=texts,  # pyright: ignore[reportArgumentType]
        column_encoding=dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
    )
    return buffer.getvalue()


def _frames_of(table: pa.Table, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Errors over the horizon of the rows of one split."""
    return {
        name.removeprefix(FRAME): to_numpy(table.column(name)).reshape(*shape, -1)
        for name in table.column_names
        if name.startswith(FRAME)
    }


def _rollout_of(table: pa.Table, row: int) -> Rollout | None:
    """The picture that is kept with the first row of a split, if there is one."""
    content = table.column(ROLLOUT)[row].as_py() if ROLLOUT in table.column_names else None
    return None if content is None else decode(str(table.column("id")[row]), content)


def from_table(table: pa.Table) -> list[SampleScores]:
    """The inverse of ``to_table``."""
    frame: Mapping[str, np.ndarray] = {
        name: table.column(name).to_numpy()
        for name in table.column_names
        if not name.startswith((FRAME, ROLLOUT))
    }
    found = []
    for split in dict.fromkeys(frame["split"].tolist()):
        rows = np.flatnonzero(frame["split"] == split)
        seeds = list(dict.fromkeys(frame["seed"][rows].tolist()))
        shape = (len(seeds), len(rows) // len(seeds))
        first = rows[: shape[1]]
        target = prediction = None
        beyond = frame[OUTSIDE][rows].reshape(shape).astype(bool) if OUTSIDE in frame else None
        if "prediction" in frame:
            target, prediction = frame["target"][first], frame["prediction"][rows].reshape(shape)
            terms = value_terms(target, prediction, beyond)
        else:
            terms = {name: frame[name][rows].reshape(shape) for name in TERMS if name in frame}
        folds = frame["fold"][first]
        missing = table.column("fold").null_count > 0
        found.append(
            SampleScores(
                split=str(split),
                ids=frame["id"][first].astype(str),
                units=frame["unit"][first].astype(str),
                folds=None if missing else folds.astype(int),
                seeds=[int(seed) for seed in seeds],
                terms=terms,
                target=target,
                prediction=prediction,
                outside=beyond,
                frames=_frames_of(table.take(rows), shape),
                rollout=_rollout_of(table, int(rows[0])),
                subsets={
                    name.removeprefix(SUBSET): frame[name][first].astype(bool)
                    for name in frame
                    if name.startswith(SUBSET)
                },
            )
        )
    return found
