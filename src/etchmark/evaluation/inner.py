"""A benchmark seen from inside its training data: where settings of a model may be compared.

The values of a parameter that are compared on test samples are chosen on them, whoever does it. So
they are scored on what a model may choose by: the validation split where a protocol has one (the
model is then fitted without it), else inner folds of the training data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from etchmark.data.loading import Benchmark, Truth
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec, Protocol
from etchmark.specs.task import Task

PROTOCOL = "inside-the-training-data"
INNER_FOLDS = 5
FOLDS_SEED = 20261128


class _Folded(Benchmark):
    """A benchmark whose protocol ``PROTOCOL`` has folds that stand in no column."""

    def __init__(self, outer: Benchmark, spec: Protocol, folds: Truth) -> None:
        super().__init__(outer.catalog, _with(outer, spec), unofficial=outer.unofficial)
        self._truth = folds

    def truth(self, split: str, protocol: str | None = None, track: str | None = None) -> Truth:
        if protocol == PROTOCOL and split == self.spec.protocols[PROTOCOL].split:
            return self._truth
        return super().truth(split, None if protocol == PROTOCOL else protocol, track)


def _with(outer: Benchmark, protocol: Protocol) -> BenchmarkSpec:
    protocols = {**outer.spec.protocols, PROTOCOL: protocol}
    return outer.spec.model_copy(update={"protocols": protocols})


@dataclass(frozen=True)
class Inside:
    """Where values of a parameter are scored.

    Attributes:
        benchmark: the benchmark with the protocol that is scored.
        task: it, with that protocol.
        scored_on: what the scored samples are.
        nested: run with ``Options.nested``.
        counts: how many samples each fold trains on.
    """

    benchmark: Benchmark
    task: Task
    scored_on: Literal["validation", "inner folds"]
    nested: bool
    counts: list[int]


def inside(benchmark: Benchmark, task: Task) -> Inside:
    """Where values of a parameter are scored instead of on the test samples of a protocol.

    Raises:
        UserError: the training data cannot be divided.
    """
    spec, track = task.divides, task.track
    if spec.kind == "folds":
        folds = benchmark.truth(spec.split, task.protocol, track).folds
        _, counts = np.unique(np.asarray(folds), return_counts=True)
        if len(counts) < 3:
            raise UserError(
                f"{benchmark.spec.id}: curves of a parameter need at least 3 folds, and protocol"
                f" {task.protocol} has {len(counts)}; drop --curves"
            )
        remaining = counts.sum() - counts - np.roll(counts, 1)
        return Inside(benchmark, task, "inner folds", True, remaining.tolist())
    if spec.train_split is None:
        raise UserError(
            f"{benchmark.spec.id}: protocol {task.protocol} has no train_split; drop --curves"
        )
    truth = benchmark.truth(spec.train_split, task.protocol, track)
    changed = {"extra_splits": [], "validation_split": None}
    if spec.validation_split is not None:
        scored = spec.model_copy(update={**changed, "split": spec.validation_split})
        held = Benchmark(
            benchmark.catalog, _with(benchmark, scored), unofficial=benchmark.unofficial
        )
        inner = Task(held.spec, track, PROTOCOL)
        return Inside(held, inner, "validation", False, [len(truth.ids)])
    numbers = _divided(truth.units if truth.groups is None else truth.groups)
    changed |= {"kind": "folds", "split": spec.train_split, "train_split": None}
    scored = spec.model_copy(update=changed)
    _, counts = np.unique(numbers, return_counts=True)
    folded = _Folded(benchmark, scored, replace(truth, folds=numbers))
    inner = Task(folded.spec, track, PROTOCOL)
    return Inside(folded, inner, "inner folds", False, (counts.sum() - counts).tolist())


def _divided(groups: np.ndarray) -> np.ndarray:
    """A fold of each sample; whole groups stand together, the same way for every model."""
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise UserError(
            "curves of a parameter need at least 2 groups of training samples, and there is 1; drop"
            " --curves"
        )
    order = np.random.default_rng(FOLDS_SEED).permutation(len(names))
    return (order % min(INNER_FOLDS, len(names)))[member]
