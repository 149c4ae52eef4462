"""Curves of a model: its score with less training data, or with other values of a parameter.

Every point is a run of the whole protocol by the same harness, scored by the same function: with
less training data on the headline split, with other values of a parameter inside the training data
(``evaluation.inner``), since whoever picks a value from the curve picks it by its scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from etchmark.catalog import ModelSource
from etchmark.data.loading import Benchmark
from etchmark.errors import UserError
from etchmark.evaluation.evaluate import Options, one_line, run_model
from etchmark.evaluation.inner import Inside, inside
from etchmark.evaluation.layout import train_counts
from etchmark.scoring.score import read_for, score_predictions
from etchmark.specs import Curve, CurvePoint, CurveSpec, MetricScore, SplitScore
from etchmark.specs.task import Task

Say = Callable[[str], None]


class Curves:
    """Measures the curves that a model's card declares.

    Args:
        source: the model.
        benchmark: the data it runs on.
        task: what it reads, and how data are divided.
        whole: score of the submission itself on the headline split: the point of all samples.
        folder: where predictions are kept while they are needed.
        options: how the model is run.
        say: told of every point.
    """

    def __init__(
        self,
        source: ModelSource,
        benchmark: Benchmark,
        task: Task,
        whole: SplitScore,
        folder: Path,
        options: Options,
        say: Say,
    ) -> None:
        self.source, self.benchmark, self.task = source, benchmark, task
        self.whole, self.folder, self.say = whole, folder, say
        # Many short runs: none is worth being kept halfway.
        self.options = replace(options, resume=False, progress=False, keep=False, reference=False)
        self.metric = benchmark.spec.primary_metric
        self.counts = train_counts(benchmark, task)

    def measure(self) -> list[Curve]:
        """All curves, point by point; a point whose model fails says why.

        Raises:
            CannotRun: the model needs something that this machine lacks.
        """
        return [self._curve(name, spec) for name, spec in self.source.curves.items()]

    def _curve(self, name: str, spec: CurveSpec) -> Curve:
        place = None if spec.param is None else self._inside
        known = isinstance(place, Inside)
        return Curve(
            name=name,
            title=spec.title,
            axis=spec.axis,
            param=spec.param,
            split=place.task.headline if known else self.whole.split,
            scored_on=place.scored_on if known else None if place is None else "inner folds",
            metric=self.metric,
            points=list(self._points(name, spec)),
        )

    @cached_property
    def _inside(self) -> Inside | str:
        """Where values of a parameter are scored, or why they cannot be."""
        try:
            return inside(self.benchmark, self.task)
        except UserError as error:
            return str(error)

    def _points(self, name: str, spec: CurveSpec) -> Iterator[CurvePoint]:
        for share in spec.shares:
            yield self._told(name, self._share(share, spec.draws))
        for value in spec.values:
            yield self._told(name, self._value(str(spec.param), value))

    def _told(self, name: str, point: CurvePoint) -> CurvePoint:
        shown = point.reason if point.score is None else f"{self.metric} {point.score.value:.4g}"
        self.say(f"curve {name} at {point.value:g}: {shown}")
        return point

    def _share(self, share: float, draws: int) -> CurvePoint:
        kept = [max(1, round(share * count)) for count in self.counts]
        samples = round(float(np.mean(kept)))
        if share == 1:
            return CurvePoint(value=share, samples=samples, score=self.whole.metrics[self.metric])
        if min(kept) < (least := self.benchmark.kind.least_samples):
            reason = f"fewer than {least} training samples"
            return CurvePoint(value=share, samples=samples, reason=reason)
        scores: list[MetricScore] = []
        for draw in range(draws):
            options = replace(self.options, share=share, draw=draw)
            score = self._run(self.source, self.benchmark, self.task, options)
            if isinstance(score, str):
                return CurvePoint(value=share, samples=samples, reason=score)
            scores.append(score)
        if draws == 1:
            return CurvePoint(value=share, samples=samples, score=scores[0])
        found = [one.value for one in scores]
        mean = MetricScore(value=float(np.mean(found)))
        return CurvePoint(value=share, samples=samples, score=mean, draws=found)

    def _value(self, param: str, value: float) -> CurvePoint:
        place = self._inside
        if isinstance(place, str):
            return CurvePoint(value=value, samples=0, reason=place)
        samples = round(float(np.mean(place.counts)))
        changed = replace(self.source, params={**self.source.params, param: value})
        options = replace(self.options, nested=place.nested)
        score = self._run(changed, place.benchmark, place.task, options)
        if isinstance(score, str):
            return CurvePoint(value=value, samples=samples, reason=score)
        return CurvePoint(value=value, samples=samples, score=score)

    def _run(
        self, source: ModelSource, benchmark: Benchmark, task: Task, options: Options
    ) -> MetricScore | str:
        """The primary metric on the headline split of a protocol, or why there is none."""
        path = self.folder / "curve.parquet"
        run = run_model(source, benchmark, task, path, options)
        if run.failure is not None:
            return run.failure
        try:
            given = read_for(benchmark, task.protocol, path)
            scored = score_predictions(benchmark, task.protocol, path, given)
        except UserError as error:
            return one_line(str(error).removeprefix(f"{path}: "))
        finally:
            path.unlink(missing_ok=True)
        split = next(score for score in scored.scores if score.split == task.headline)
        return split.metrics[self.metric]
