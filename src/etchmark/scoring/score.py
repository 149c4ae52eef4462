"""Scores a predictions file: one path for every submission, whoever made it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from etchmark.columns import Columns
from etchmark.data.loading import Benchmark
from etchmark.errors import UserError
from etchmark.predictions import arrange
from etchmark.predictions.arranging import check_scored
from etchmark.predictions.incoming import Request
from etchmark.scoring import intervals, uncertainty
from etchmark.scoring.doubts import Doubt, doubts_of
from etchmark.scoring.samples import SampleScores
from etchmark.scoring.subsets import subsets_of
from etchmark.specs import BenchmarkSpec, FoldScore, MetricScore, SplitScore, SubsetScore
from etchmark.targets import Metric, kind_of, metric
from etchmark.targets.base import Job, Read
from etchmark.targets.labels import Labels, Truth


@dataclass(frozen=True)
class Scored:
    """Scores of a predictions file, the outcomes they come from, and doubts about them."""

    scores: list[SplitScore]
    samples: list[SampleScores]
    doubts: list[Doubt] = field(default_factory=list)

    def doubted(self, more: Iterable[Doubt]) -> Scored:
        """The same with more doubts."""
        return replace(self, doubts=[*self.doubts, *more])


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _metric_score(scored: Metric, sums: uncertainty.SumsOfUnits) -> dict[str, float | None] | None:
    """Mean, interval and standard deviation over seeds; None if the mean is not finite."""
    per_seed = uncertainty.score(scored, sums)
    value = float(per_seed.mean())
    if not np.isfinite(value):
        return None
    bounds = intervals.interval(scored, sums)
    return {
        "value": value,
        "ci_low": bounds[0] if bounds else None,
        "ci_high": bounds[1] if bounds else None,
        "seed_sd": float(per_seed.std(ddof=1)) if len(per_seed) > 1 else None,
    }


def _worst(samples: SampleScores) -> str:
    """The id of the sample with the largest term; terms that overflowed are largest of all."""
    size = np.max([np.abs(term).max(axis=0) for term in samples.outcome.terms.values()], axis=0)
    return repr(str(samples.ids[int(np.argmax(np.nan_to_num(size, nan=np.inf)))]))


@np.errstate(over="ignore", invalid="ignore")  # Values that are not finite are refused below.
def score_samples(spec: BenchmarkSpec, protocol: str, samples: SampleScores) -> SplitScore:
    """Scores, intervals and counts of one split.

    Raises:
        UserError: a metric is not finite over the whole split.
    """
    sums = samples.sums()
    folds = fold_scores(spec.metrics, samples)
    with_fold_statistics = spec.protocols[protocol].fold_statistics
    scores: dict[str, MetricScore] = {}
    for name in spec.metrics:
        if not metric(name).applies(sums):
            continue
        score = _metric_score(metric(name), sums)
        if score is not None and with_fold_statistics:
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
        units=uncertainty.units_of(sums),
        seeds=len(samples.seeds),
        metrics=scores,
        folds=folds,
        subsets=_subset_scores(spec, samples),
    )


def _subset_scores(spec: BenchmarkSpec, samples: SampleScores) -> list[SubsetScore]:
    """Scores of each subset that has samples in this split."""
    scores = []
    for subset in spec.subsets:
        members = samples.subset(subset)
        if members is None:
            continue
        sums = members.sums()
        computed = {name: _metric_score(metric(name), sums) for name in spec.metrics}
        # All metrics are finite over the whole split, so one that is not finite here is undefined
        # for so few samples, and left out.
        metrics = {
            name: MetricScore.model_validate(score)
            for name, score in computed.items()
            if score and all(np.isfinite(part) for part in score.values() if part)
        }
        units = uncertainty.units_of(sums)
        scores.append(SubsetScore(subset=subset, n=len(members.ids), units=units, metrics=metrics))
    return scores


def fold_scores(metrics: Sequence[str], samples: SampleScores) -> list[FoldScore]:
    """Point values of each fold; an empty list if the split has no folds."""
    if samples.folds is None:
        return []
    scores = []
    for fold in np.unique(samples.folds):
        member = samples.folds == fold
        sums = samples.among(member).sums()
        values = {name: _finite(uncertainty.score(metric(name), sums).mean()) for name in metrics}
        scores.append(FoldScore(fold=int(fold), n=int(member.sum()), values=values))
    return scores


def fold_statistics(folds: Sequence[FoldScore], name: str) -> tuple[float | None, float | None]:
    """Mean and standard deviation of a metric over the folds on which it is defined."""
    values = np.array([fold.values[name] for fold in folds if fold.values[name] is not None])
    if not len(values):
        return None, None
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def split_of_ids(benchmark: Benchmark, splits: Iterable[str]) -> dict[str, str]:
    """The split of each sample, keyed by sample id."""
    track = benchmark.label_track()
    return {
        str(name): split
        for split in dict.fromkeys(splits)
        for name in Columns(benchmark.files(split, track), ["id"])["id"]
    }


def request_of(benchmark: Benchmark) -> Request:
    """Ids, shapes and cells of the predictions that a benchmark asks for, in any protocol."""
    protocols = benchmark.spec.protocols.values()
    splits = [split for protocol in protocols for split in (protocol.split, *protocol.extra_splits)]
    split_of = split_of_ids(benchmark, splits)
    shapes = {split: benchmark.prediction_shape(split) for split in splits}
    return Request(split_of, shapes, benchmark.kind.cells(benchmark.spec.target))


def read_for(benchmark: Benchmark, protocol: str, path: Path) -> Read:
    """Read a predictions file, refusing more rows or larger cells than the protocol asks for."""
    truths = benchmark.scored_splits(protocol)
    rows = sum(len(truth.ids) for truth in truths.values())
    target = benchmark.spec.target
    kind = kind_of(target)
    shapes = [kind.prediction_shape(truth.target, target) for truth in truths.values()]
    return kind.read_predictions(path, rows, shapes, target)


def score_predictions(benchmark: Benchmark, protocol: str, path: Path, read: Read) -> Scored:
    """Score the predictions of a file under one protocol.

    Args:
        benchmark: what is predicted.
        protocol: how the data are divided.
        path: the file, named in messages.
        read: what ``read_for`` returned.

    Raises:
        UserError: the predictions are not exactly what the benchmark asks for.
    """
    benchmark.check_target()
    spec, kind = benchmark.spec, kind_of(benchmark.spec.target)
    truths = benchmark.scored_splits(protocol)
    ids = {name: truth.ids for name, truth in truths.items()}
    known = {name for split in ids.values() for name in split}
    if not known.issuperset(read.ids):
        # Ids of a split that this protocol does not score get a message of their own.
        unscored = [split for split in benchmark.splits if split not in truths]
        check_scored(path, read.ids, protocol, split_of_ids(benchmark, unscored))
    kind.check_values(path, read, spec.target)
    headline, track = spec.protocols[protocol].split, benchmark.label_track()
    arranged = arrange(path, read.ids, read.seeds, ids, headline)
    jobs = {
        split: Job(
            benchmark=spec.id,
            target=spec.target,
            metrics=spec.metrics,
            truth=truths[split],
            columns=Columns(benchmark.files(split, track), spec.target.columns()),
            training=partial(training_labels, benchmark, protocol, truths[split]),
            seeds=seeds,
            order=order,
            pictured=split == headline,
        )
        for split, (seeds, order) in arranged.items()
    }
    outcomes = kind.measure(path, read, jobs)
    samples = [
        SampleScores(
            split=split,
            ids=job.truth.ids,
            units=job.truth.units,
            folds=job.truth.folds,
            seeds=job.seeds,
            kind=kind.name,
            outcome=outcomes[split],
            subsets=subsets_of(benchmark, split),
        )
        for split, job in jobs.items()
    ]
    try:
        scores = [score_samples(spec, protocol, split) for split in samples]
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    doubts = [
        doubt
        for score in scores
        for doubt in doubts_of(
            spec, score, outcomes[score.split].evidence, outcomes[score.split].trivial
        )
    ]
    return Scored(scores, samples, doubts)


def training_labels(
    benchmark: Benchmark, protocol: str, truth: Truth
) -> Iterator[tuple[np.ndarray | slice, Labels]]:
    """Groups of samples of a split, with the labels that a model may learn from to predict them.

    With folds, each group is a fold, and its labels are those of all other folds. Otherwise there
    is one group, the whole split, with the labels of the training split.
    """
    train = benchmark.spec.protocols[protocol].train_split
    if truth.folds is None:
        training = truth if train is None else benchmark.truth(train, protocol)
        yield slice(None), training.target
        return
    labels = truth.values
    for fold in np.unique(truth.folds):
        held_out = truth.folds == fold
        yield held_out, labels[~held_out]
