"""Intervals of scores that are known, from the per-sample table that the scores were made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from etchmark.errors import UserError
from etchmark.scoring import intervals
from etchmark.scoring.samples import SampleScores
from etchmark.specs import MetricScore, SplitScore
from etchmark.specs.results import IntervalMethod
from etchmark.targets import metric


def with_intervals(
    scores: Sequence[SplitScore],
    samples: Sequence[SampleScores],
    method: IntervalMethod = intervals.METHOD,
) -> list[SplitScore]:
    """The same scores with the intervals of a method; nothing else of them changes.

    Args:
        scores: of some splits.
        samples: the table of these splits.
        method: how the intervals are computed.

    Raises:
        UserError: the table lacks a split or subset, or a metric is unknown here.
    """
    table = {part.split: part for part in samples}
    return [_of_split(score, table.get(score.split), method) for score in scores]


def _of_split(
    score: SplitScore, samples: SampleScores | None, method: IntervalMethod
) -> SplitScore:
    if samples is None:
        raise UserError(f"split {score.split!r} is not in the per-sample table")
    subsets = []
    for subset in score.subsets:
        members = samples.subset(subset.subset)
        if members is None:
            raise UserError(f"subset {subset.subset!r} is not in the per-sample table")
        metrics = _of_metrics(subset.metrics, members, method)
        subsets.append(subset.model_copy(update={"metrics": metrics}))
    changed: dict[str, object] = {"metrics": _of_metrics(score.metrics, samples, method)}
    if subsets:
        # A record that says nothing of subsets goes on saying nothing.
        changed["subsets"] = subsets
    return score.model_copy(update=changed)


def _of_metrics(
    scores: Mapping[str, MetricScore], samples: SampleScores, method: IntervalMethod
) -> dict[str, MetricScore]:
    computed = intervals.METHODS[method]([metric(name) for name in scores], samples.sums())
    ends = dict(zip(scores, computed, strict=True))
    return {name: _between(score, ends[name]) for name, score in scores.items()}


def _between(score: MetricScore, ends: tuple[float, float] | None) -> MetricScore:
    low, high = (None, None) if ends is None else ends
    return score.model_copy(update={"ci_low": low, "ci_high": high})


def without_intervals(scores: Sequence[SplitScore]) -> list[SplitScore]:
    """The same scores without any interval, to compare scores of different methods."""
    return [
        score.model_copy(
            update={
                "metrics": _bare(score.metrics),
                "subsets": [
                    subset.model_copy(update={"metrics": _bare(subset.metrics)})
                    for subset in score.subsets
                ],
            }
        )
        for score in scores
    ]


def _bare(scores: Mapping[str, MetricScore]) -> dict[str, MetricScore]:
    return {name: _between(score, None) for name, score in scores.items()}
