"""Scores a checked set of predictions: the same function for everyone's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from etchmark import predictions as reader
from etchmark.columns import Columns
from etchmark.data.loading import Benchmark, Truth
from etchmark.errors import UserError
from etchmark.predictions.arranging import check_scored
from etchmark.predictions.incoming import Request
from etchmark.predictions.streaming import StreamedPredictions, read_streamed
from etchmark.scoring import uncertainty
from etchmark.scoring.doubts import Doubt, Evidence, Trivial, doubts_of, evidence_of, trivial_of
from etchmark.scoring.marks import Marks, marks_of
from etchmark.scoring.metrics import (
    TERMS,
    Metric,
    metric,
    outside,
)
from etchmark.scoring.samples import SampleScores, value_terms
from etchmark.scoring.sequences import FrameTally, fill
from etchmark.specs import BenchmarkSpec, FoldScore, MetricScore, SplitScore, SubsetScore


@dataclass(frozen=True)
class Scored:
    """Scores of a predictions file with the table they come from."""

    scores: list[SplitScore]
    samples: list[SampleScores]
    doubts: list[Doubt] = field(default_factory=list)


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
        terms=value_terms(truth.target, given.values, beyond),
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


def _worst(samples: SampleScores) -> str:
    """The id whose terms are largest, those that left the range of numbers first."""
    size = np.max([np.abs(term).max(axis=0) for term in samples.terms.values()], axis=0)
    return repr(str(samples.ids[int(np.argmax(np.nan_to_num(size, nan=np.inf)))]))


@np.errstate(over="ignore", invalid="ignore")  # What is not finite is refused by name.
def score_samples(spec: BenchmarkSpec, protocol: str, samples: SampleScores) -> SplitScore:
    """Scores, intervals and counts of one split."""
    sums = samples.sums()
    folds = fold_scores(spec.metrics, samples)
    spread = spec.protocols[protocol].fold_statistics
    scores: dict[str, MetricScore] = {}
    for name in spec.metrics:
        chosen = metric(name)
        score = _metric_score(chosen, sums)
        if score is not None and spread:
            score["fold_mean"], score["fold_sd"] = fold_statistics(folds, name)
        if score is None or not all(np.isfinite(part) for part in score.values() if part):
            raise UserError(
                f"{name} of split {samples.split!r} is not finite (largest error:"
                f" {_worst(samples)}); the predictions are too large to be scored or the metric is"
                " undefined for these targets"
            )
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
        metrics = {
            name: MetricScore.model_validate(score)
            for name, score in found.items()
            if score and all(np.isfinite(part) for part in score.values() if part)
        }
        scores.append(
            SubsetScore(subset=subset, n=len(some.ids), units=sums.shape[2], metrics=metrics)
        )
    return scores


def fold_scores(metrics: Sequence[str], samples: SampleScores) -> list[FoldScore]:
    """Point values of each fold; none where the split has no folds."""
    if samples.folds is None:
        return []
    scores = []
    for fold in np.unique(samples.folds):
        member = samples.folds == fold
        terms = samples.among(member).terms
        absent = np.full(len(samples.seeds), np.nan)
        sums = np.stack([terms[name].sum(axis=1) if name in terms else absent for name in TERMS])
        values = {
            name: _finite(uncertainty.evaluate(metric(name), sums).mean()) for name in metrics
        }
        scores.append(FoldScore(fold=int(fold), n=int(member.sum()), values=values))
    return scores


def fold_statistics(folds: Sequence[FoldScore], name: str) -> tuple[float | None, float | None]:
    """Mean and standard deviation of a metric over the folds on which it is defined."""
    values = np.array([fold.values[name] for fold in folds if fold.values[name] is not None])
    if not len(values):
        return None, None
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def split_of_ids(benchmark: Benchmark, splits: Iterable[str]) -> dict[str, str]:
    """The split of every sample of some splits, by its id."""
    track = benchmark.label_track()
    return {
        str(name): split
        for split in dict.fromkeys(splits)
        for name in Columns(benchmark.files(split, track), ["id"])["id"]
    }


def request_of(benchmark: Benchmark) -> Request:
    """What a benchmark asks predictions for, over all of its protocols."""
    protocols = benchmark.spec.protocols.values()
    splits = [split for protocol in protocols for split in (protocol.split, *protocol.extra_splits)]
    split_of = split_of_ids(benchmark, splits)
    return Request(split_of, {split: benchmark.prediction_shape(split) for split in splits})


def score_predictions(
    benchmark: Benchmark, protocol: str, path: Path, given: reader.Predictions | StreamedPredictions
) -> Scored:
    """Score what a predictions file holds under one protocol."""
    benchmark.check_target()
    truths = benchmark.scored_splits(protocol)
    headline = benchmark.spec.protocols[protocol].split
    ids = {name: truth.ids for name, truth in truths.items()}
    known = {name for split in ids.values() for name in split}
    if not known.issuperset(given.ids):
        unscored = [split for split in benchmark.splits if split not in truths]
        check_scored(path, given.ids, protocol, split_of_ids(benchmark, unscored))
    if isinstance(given, StreamedPredictions):
        placed = reader.arrange(path, given.ids, given.seeds, ids, headline)
        tallies = tally_frames(benchmark, path, given, truths, placed, drawn=headline)
        samples = samples_of_frames(benchmark, truths, placed, tallies)
        grounds = {name: (tally.evidence, tally.persistence()) for name, tally in tallies.items()}
        return _scored(benchmark.spec, protocol, path, samples, grounds)
    checked = reader.check(path, given, ids, headline)
    samples = [
        samples_of(name, truths[name], chosen, marks_of(benchmark, name))
        for name, chosen in checked.items()
    ]
    grounds = {
        name: (
            evidence_of(truths[name].target, chosen.values),
            trivial_of(
                benchmark.spec,
                truths[name].target,
                training_means(benchmark, protocol, truths[name]),
            ),
        )
        for name, chosen in checked.items()
    }
    return _scored(benchmark.spec, protocol, path, samples, grounds)


def training_means(benchmark: Benchmark, protocol: str, truth: Truth) -> np.ndarray:
    """Mean of the labels that a model may learn from.

    Returns:
        Shape (samples, ...) where folds are left out in turn, else that of one label.
    """
    train = benchmark.spec.protocols[protocol].train_split
    if truth.folds is None:
        learnt = truth if train is None else benchmark.truth(train, protocol)
        return learnt.target.mean(axis=0, dtype=np.float64)
    means = np.empty(truth.target.shape)
    for fold in np.unique(truth.folds):
        held_out = truth.folds == fold
        means[held_out] = truth.target[~held_out].mean(axis=0, dtype=np.float64)
    return means


def _scored(
    spec: BenchmarkSpec,
    protocol: str,
    path: Path,
    samples: list[SampleScores],
    grounds: Mapping[str, tuple[Evidence, Trivial | None]],
) -> Scored:
    try:
        scores = [score_samples(spec, protocol, one) for one in samples]
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    doubts = [doubt for score in scores for doubt in doubts_of(spec, score, *grounds[score.split])]
    return Scored(scores, samples, doubts)


def read_for(
    benchmark: Benchmark, protocol: str, path: Path
) -> reader.Predictions | StreamedPredictions:
    """Read a predictions file with the bounds that a benchmark's protocol sets."""
    truths = benchmark.scored_splits(protocol)
    rows = sum(len(truth.ids) for truth in truths.values())
    if benchmark.spec.frames is not None:
        sizes = [math.prod(truth.frames.shape[1:]) for truth in truths.values() if truth.frames]
        return read_streamed(path, rows=rows, elements=max(sizes))
    shape = [int(size or 0) for size in benchmark.spec.target.shape]
    return reader.read(path, rows=rows, shape=shape)


def tally_frames(
    benchmark: Benchmark,
    path: Path,
    given: StreamedPredictions,
    truths: Mapping[str, Truth],
    placed: Mapping[str, tuple[list[int], np.ndarray]],
    *,
    drawn: str,
) -> dict[str, FrameTally]:
    """What scores of every split are made from, in one pass over the file.

    Args:
        benchmark: what is predicted.
        path: named in messages.
        given: the predictions file.
        truths: what each split is scored against.
        placed: seeds of each split and its rows in the file, shape (seeds, samples).
        drawn: the split of which a picture is kept.
    """
    spec = benchmark.spec
    tallies = {
        split: FrameTally(spec, truth, benchmark.seen(split), *placed[split], drawn=split == drawn)
        for split, truth in truths.items()
        if split in placed
    }
    fill(tallies, path, given)
    return tallies


def samples_of_frames(
    benchmark: Benchmark,
    truths: Mapping[str, Truth],
    placed: Mapping[str, tuple[list[int], np.ndarray]],
    tallies: Mapping[str, FrameTally],
) -> list[SampleScores]:
    """The per-sample outcome of every split."""
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
            rollout=tally.rollout,
        )
        for split, tally in tallies.items()
    ]
