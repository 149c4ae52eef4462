"""Scores a checked set of predictions: the same function for everyone's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark import files
from etchmark.data.loading import Benchmark, Truth
from etchmark.errors import UserError
from etchmark.scoring import predictions as reader
from etchmark.scoring import uncertainty
from etchmark.scoring.metrics import TERMS, metric, sample_terms
from etchmark.specs import BenchmarkSpec, FoldScore, MetricScore, SplitScore


@dataclass(frozen=True)
class SampleScores:
    """Per-sample outcome of one split: all that scores, intervals and ranks are made from.

    ``terms`` holds arrays of shape (seeds, samples); ``prediction`` and ``target`` exist for
    scalar targets only, shapes (seeds, samples) and (samples,).
    """

    split: str
    ids: np.ndarray
    units: np.ndarray
    folds: np.ndarray | None
    seeds: list[int]
    terms: dict[str, np.ndarray]
    target: np.ndarray | None
    prediction: np.ndarray | None

    def sums(self) -> np.ndarray:
        """Unit sums, shape (terms, seeds, units)."""
        return uncertainty.unit_sums(self.terms, self.units)


@dataclass(frozen=True)
class Scored:
    """Scores of a predictions file with the table they come from."""

    scores: list[SplitScore]
    samples: list[SampleScores]


def _shift(target: np.ndarray) -> float:
    return float(np.mean(target, dtype=np.float64))


def _terms(target: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
    shift = _shift(target)
    per_seed = [sample_terms(target, one, shift) for one in values]
    return {name: np.stack([terms[name] for terms in per_seed]) for name in TERMS}


def samples_of(split: str, truth: Truth, given: reader.SplitPredictions) -> SampleScores:
    """The per-sample outcome of one split."""
    scalar = truth.target.ndim == 1
    return SampleScores(
        split=split,
        ids=truth.ids,
        units=truth.units,
        folds=truth.folds,
        seeds=given.seeds,
        terms=_terms(truth.target, given.values),
        target=truth.target.astype(np.float64) if scalar else None,
        prediction=given.values.astype(np.float64) if scalar else None,
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def score_samples(spec: BenchmarkSpec, protocol: str, samples: SampleScores) -> SplitScore:
    """Scores, intervals and counts of one split."""
    sums = samples.sums()
    folds = _fold_scores(spec, samples)
    spread = spec.protocols[protocol].fold_statistics
    scores: dict[str, MetricScore] = {}
    for name in spec.metrics:
        chosen = metric(name)
        per_seed = uncertainty.evaluate(chosen, sums.sum(axis=2))
        value = float(per_seed.mean())
        if not np.isfinite(value):
            raise UserError(
                f"{name} of split {samples.split!r} is not finite; the predictions are too large to"
                " be scored or the metric is undefined for these targets"
            )
        bounds = uncertainty.interval(uncertainty.bootstrap(chosen, sums))
        over = [fold.values[name] for fold in folds]
        finite = np.array([value for value in over if value is not None])
        scores[name] = MetricScore(
            value=value,
            ci_low=bounds[0] if bounds else None,
            ci_high=bounds[1] if bounds else None,
            seed_sd=float(per_seed.std(ddof=1)) if len(per_seed) > 1 else None,
            fold_mean=float(finite.mean()) if spread and len(finite) else None,
            fold_sd=float(finite.std(ddof=1)) if spread and len(finite) > 1 else None,
        )
    return SplitScore(
        split=samples.split,
        n=len(samples.ids),
        units=sums.shape[2],
        seeds=len(samples.seeds),
        metrics=scores,
        folds=folds,
    )


def _fold_scores(spec: BenchmarkSpec, samples: SampleScores) -> list[FoldScore]:
    if samples.folds is None:
        return []
    scores = []
    for fold in np.unique(samples.folds):
        member = samples.folds == fold
        terms = samples.terms
        if samples.target is not None and samples.prediction is not None:
            # The variance terms are taken about the fold's own mean, or rounding shows.
            terms = _terms(samples.target[member], samples.prediction[:, member])
        else:
            terms = {name: value[:, member] for name, value in terms.items()}
        sums = np.stack([terms[name].sum(axis=1) for name in TERMS])
        values = {
            name: _finite(uncertainty.evaluate(metric(name), sums).mean()) for name in spec.metrics
        }
        scores.append(FoldScore(fold=int(fold), n=int(member.sum()), values=values))
    return scores


def score_predictions(
    benchmark: Benchmark, protocol: str, path: Path, given: reader.Predictions
) -> Scored:
    """Score what a predictions file holds under one protocol."""
    benchmark.check_target()
    truths = benchmark.scored_splits(protocol)
    headline = benchmark.spec.protocols[protocol].split
    checked = reader.check(
        path, given, {name: truth.ids for name, truth in truths.items()}, headline
    )
    samples = [samples_of(name, truths[name], chosen) for name, chosen in checked.items()]
    try:
        scores = [score_samples(benchmark.spec, protocol, one) for one in samples]
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return Scored(scores, samples)


def read_for(benchmark: Benchmark, protocol: str, path: Path) -> reader.Predictions:
    """Read a predictions file with the bounds that a benchmark's protocol sets."""
    rows = sum(len(truth.ids) for truth in benchmark.scored_splits(protocol).values())
    return reader.read(path, rows=rows, shape=benchmark.spec.target.shape)


def to_table(samples: list[SampleScores]) -> pa.Table:
    """Per-sample table: one row per split × seed × sample.

    For scalar targets it holds target and prediction; for arrays the terms of every metric.
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
            columns |= {name: one.terms[name].reshape(-1) for name in TERMS}
        parts.append(pa.table(columns))
    return pa.concat_tables(parts)


def write_table(path: Path, samples: list[SampleScores]) -> None:
    with files.replacing(path) as temporary:
        pq.write_table(to_table(samples), temporary, compression="zstd")


def from_table(table: pa.Table) -> list[SampleScores]:
    """The inverse of ``to_table``."""
    frame: Mapping[str, np.ndarray] = {
        name: table.column(name).to_numpy() for name in table.column_names
    }
    found = []
    for split in dict.fromkeys(frame["split"].tolist()):
        rows = np.flatnonzero(frame["split"] == split)
        seeds = list(dict.fromkeys(frame["seed"][rows].tolist()))
        shape = (len(seeds), len(rows) // len(seeds))
        first = rows[: shape[1]]
        target = prediction = None
        if "prediction" in frame:
            target, prediction = frame["target"][first], frame["prediction"][rows].reshape(shape)
            terms = _terms(target, prediction)
        else:
            terms = {name: frame[name][rows].reshape(shape) for name in TERMS}
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
            )
        )
    return found
