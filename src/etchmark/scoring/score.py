"""Scores a checked set of predictions: the same function for everyone's."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark.data.columns import array_column, nesting, to_numpy
from etchmark.data.loading import Benchmark, Truth
from etchmark.errors import UserError
from etchmark.scoring import predictions as reader
from etchmark.scoring import uncertainty
from etchmark.scoring.marks import Marks, marks_of
from etchmark.scoring.metrics import (
    TERMS,
    VALUE_TERMS,
    Metric,
    metric,
    outside,
    sample_terms,
)
from etchmark.scoring.sequences import FramesFile, FrameTally, fill, read_frames
from etchmark.specs import BenchmarkSpec, FoldScore, MetricScore, SplitScore, SubsetScore

SUBSET = "subset_"
"""Prefix of the columns of the per-sample table that say which samples a subset holds."""
FRAME = "frame_"
"""Prefix of the columns of that table that hold one value per predicted frame."""
OUTSIDE = "outside"
"""Column of the same table: whether the prediction lies outside the sample's bounds."""


@dataclass(frozen=True)
class SampleScores:
    """Per-sample outcome of one split: all that scores, intervals and ranks are made from.

    ``terms`` holds arrays of shape (seeds, samples); ``prediction`` and ``target`` exist for
    scalar targets only, shapes (seeds, samples) and (samples,); ``outside``, shape
    (seeds, samples), where the benchmark declares bounds; ``subsets`` are truth values of shape
    (samples,) by name; ``frames`` errors of each predicted frame by name, shape
    (seeds, samples, frames).
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
            terms = _terms(target, prediction, beyond)
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


@dataclass(frozen=True)
class Scored:
    """Scores of a predictions file with the table they come from."""

    scores: list[SplitScore]
    samples: list[SampleScores]


def _shift(target: np.ndarray) -> float:
    return float(np.mean(target, dtype=np.float64))


def _terms(
    target: np.ndarray, values: np.ndarray, beyond: np.ndarray | None
) -> dict[str, np.ndarray]:
    shift = _shift(target)
    per_seed = [
        sample_terms(target, one, shift, None if beyond is None else beyond[seed])
        for seed, one in enumerate(values)
    ]
    return {name: np.stack([terms[name] for terms in per_seed]) for name in VALUE_TERMS}


def samples_of(
    split: str, truth: Truth, given: reader.SplitPredictions, marks: Marks
) -> SampleScores:
    """The per-sample outcome of one split."""
    scalar = truth.target.ndim == 1
    beyond = None if marks.bounds is None else outside(given.values, *marks.bounds)
    return SampleScores(
        split=split,
        ids=truth.ids,
        units=truth.units,
        folds=truth.folds,
        seeds=given.seeds,
        terms=_terms(truth.target, given.values, beyond),
        target=truth.target.astype(np.float64) if scalar else None,
        prediction=given.values.astype(np.float64) if scalar else None,
        outside=beyond,
        subsets=marks.subsets,
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _metric_score(chosen: Metric, sums: np.ndarray) -> dict[str, float | None] | None:
    """Value over seeds, interval and spread over seeds; None where it is not finite."""
    per_seed = uncertainty.evaluate(chosen, sums.sum(axis=2))
    value = float(per_seed.mean())
    if not np.isfinite(value):
        return None
    bounds = uncertainty.interval(uncertainty.bootstrap(chosen, sums))
    return {
        "value": value,
        "ci_low": bounds[0] if bounds else None,
        "ci_high": bounds[1] if bounds else None,
        "seed_sd": float(per_seed.std(ddof=1)) if len(per_seed) > 1 else None,
    }


def score_samples(spec: BenchmarkSpec, protocol: str, samples: SampleScores) -> SplitScore:
    """Scores, intervals and counts of one split."""
    sums = samples.sums()
    folds = _fold_scores(spec, samples)
    spread = spec.protocols[protocol].fold_statistics
    scores: dict[str, MetricScore] = {}
    for name in spec.metrics:
        chosen = metric(name)
        score = _metric_score(chosen, sums)
        if score is None:
            raise UserError(
                f"{name} of split {samples.split!r} is not finite; the predictions are too large to"
                " be scored or the metric is undefined for these targets"
            )
        over = [fold.values[name] for fold in folds]
        finite = np.array([value for value in over if value is not None])
        if spread and len(finite):
            score["fold_mean"] = float(finite.mean())
            score["fold_sd"] = float(finite.std(ddof=1)) if len(finite) > 1 else None
        scores[name] = MetricScore.model_validate(score)
    return SplitScore(
        split=samples.split,
        n=len(samples.ids),
        units=sums.shape[2],
        seeds=len(samples.seeds),
        metrics=scores,
        folds=folds,
        subsets=_subset_scores(spec, samples),
    )


def _subset_scores(spec: BenchmarkSpec, samples: SampleScores) -> list[SubsetScore]:
    """Scores of each subset that holds samples of this split."""
    scores = []
    for subset in spec.subsets:
        some = samples.subset(subset)
        if some is None:
            continue
        sums = some.sums()
        found = {name: _metric_score(metric(name), sums) for name in spec.metrics}
        # Finite over the whole split: what is not finite here is undefined for so few samples.
        metrics = {name: MetricScore.model_validate(one) for name, one in found.items() if one}
        scores.append(
            SubsetScore(subset=subset, n=len(some.ids), units=sums.shape[2], metrics=metrics)
        )
    return scores


def _fold_scores(spec: BenchmarkSpec, samples: SampleScores) -> list[FoldScore]:
    if samples.folds is None:
        return []
    scores = []
    for fold in np.unique(samples.folds):
        member = samples.folds == fold
        terms = samples.among(member).terms
        absent = np.full(len(samples.seeds), np.nan)
        sums = np.stack([terms[name].sum(axis=1) if name in terms else absent for name in TERMS])
        values = {
            name: _finite(uncertainty.evaluate(metric(name), sums).mean()) for name in spec.metrics
        }
        scores.append(FoldScore(fold=int(fold), n=int(member.sum()), values=values))
    return scores


def score_predictions(
    benchmark: Benchmark, protocol: str, path: Path, given: reader.Predictions | FramesFile
) -> Scored:
    """Score what a predictions file holds under one protocol."""
    benchmark.check_target()
    truths = benchmark.scored_splits(protocol)
    headline = benchmark.spec.protocols[protocol].split
    ids = {name: truth.ids for name, truth in truths.items()}
    if isinstance(given, FramesFile):
        placed = reader.arrange(path, given.ids, given.seeds, ids, headline)
        samples = samples_of_frames(benchmark, path, given, truths, placed)
        return _scored(benchmark.spec, protocol, path, samples)
    checked = reader.check(path, given, ids, headline)
    samples = [
        samples_of(name, truths[name], chosen, marks_of(benchmark, name))
        for name, chosen in checked.items()
    ]
    return _scored(benchmark.spec, protocol, path, samples)


def _scored(spec: BenchmarkSpec, protocol: str, path: Path, samples: list[SampleScores]) -> Scored:
    try:
        scores = [score_samples(spec, protocol, one) for one in samples]
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return Scored(scores, samples)


def read_for(benchmark: Benchmark, protocol: str, path: Path) -> reader.Predictions | FramesFile:
    """Read a predictions file with the bounds that a benchmark's protocol sets."""
    truths = benchmark.scored_splits(protocol)
    rows = sum(len(truth.ids) for truth in truths.values())
    if benchmark.spec.frames is not None:
        sizes = [math.prod(truth.frames.shape[1:]) for truth in truths.values() if truth.frames]
        return read_frames(path, rows=rows, elements=max(sizes))
    shape = [int(size or 0) for size in benchmark.spec.target.shape]
    return reader.read(path, rows=rows, shape=shape)


def samples_of_frames(
    benchmark: Benchmark,
    path: Path,
    given: FramesFile,
    truths: Mapping[str, Truth],
    placed: Mapping[str, tuple[list[int], np.ndarray]],
) -> list[SampleScores]:
    """The per-sample outcome of every split, in one pass over the file.

    Args:
        benchmark: what is predicted.
        path: named in messages.
        given: the predictions file.
        truths: what each split is scored against.
        placed: seeds of each split and its rows in the file, shape (seeds, samples).
    """
    spec = benchmark.spec
    tallies = {
        split: FrameTally(spec, truth, benchmark.seen(split), *placed[split])
        for split, truth in truths.items()
        if split in placed
    }
    fill(tallies, path, given)
    return [
        SampleScores(
            split=split,
            ids=truths[split].ids,
            units=truths[split].units,
            folds=truths[split].folds,
            seeds=placed[split][0],
            terms=tally.terms,
            target=None,
            prediction=None,
            subsets=marks_of(benchmark, split).subsets,
            frames=tally.frames,
        )
        for split, tally in tallies.items()
    ]


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


def from_table(table: pa.Table) -> list[SampleScores]:
    """The inverse of ``to_table``."""
    frame: Mapping[str, np.ndarray] = {
        name: table.column(name).to_numpy()
        for name in table.column_names
        if not name.startswith(FRAME)
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
            terms = _terms(target, prediction, beyond)
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
                subsets={
                    name.removeprefix(SUBSET): frame[name][first].astype(bool)
                    for name in frame
                    if name.startswith(SUBSET)
                },
            )
        )
    return found
