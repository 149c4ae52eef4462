"""A few submissions side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from etchmark.boards import compare
from etchmark.boards.compare import Errors, Side
from etchmark.boards.samples import sample_scores
from etchmark.boards.view import View
from etchmark.catalog import pick_protocol, unknown
from etchmark.errors import UserError
from etchmark.registry.store import Store
from etchmark.scoring.samples import SampleScores
from etchmark.specs import BenchmarkSpec


@dataclass(frozen=True)
class Comparison:
    """Submissions to one protocol under names that tell them apart."""

    spec: BenchmarkSpec
    protocol: str
    split: str
    metric: str
    sides: tuple[Side, ...]
    subset: str | None = None
    """Only the samples of this subset; all samples if None."""

    @property
    def names(self) -> list[str]:
        """One name per submission, in order; columns of the frames below bear them."""
        return [side.name for side in self.sides]

    def differences(self) -> pd.DataFrame:
        """Score of each model minus that of each later one; see ``boards.compare.differences``."""
        return compare.differences(self.spec, self.sides, self.split, self.metric, self.subset)

    def sign_flips(self) -> np.ndarray:
        """Statistic of the first two models in every pattern of signs; see ``boards.compare``."""
        return compare.sign_flips(self.sides[:2], self.split, self.metric, self.subset)

    def errors(self, names: Sequence[str] | None = None) -> Errors:
        """Error of every sample; only of the submissions with these names if some are given."""
        sides = [side for side in self.sides if names is None or side.name in names]
        return compare.errors(sides, self.split, self.metric, self.subset)

    def by_group(self) -> pd.DataFrame:
        """Scores by split, subset, fold and unit; see ``boards.compare.by_group``."""
        return compare.by_group(self.spec, self.sides, self.protocol, self.metric)

    def samples(self) -> dict[str, SampleScores]:
        """Outcome on the split by name, of those submissions that have predictions of it."""
        outcomes = {
            side.name: sample_scores(side.entry, self.split, self.subset) for side in self.sides
        }
        return {name: scores for name, scores in outcomes.items() if scores is not None}

    def horizons(self) -> pd.DataFrame:
        """Error of every predicted frame; empty where no frames are predicted."""
        return compare.horizons(self.sides, self.split, self.subset)


def comparison(
    spec: BenchmarkSpec, store: Store, submissions: Sequence[str], view: View
) -> Comparison:
    """Read the submissions and settle what the view leaves open."""
    protocol = pick_protocol(spec, view.protocol, default=True)
    metric = spec.primary_metric if view.metric is None else view.metric
    if metric not in spec.metrics:
        fault = f"{spec.id} has no metric {metric!r}"
        raise unknown("metric", metric, spec.metrics, fault)
    entries = [entry for one in submissions if (entry := store.get(one)) is not None]
    if len(entries) < len(submissions):
        raise UserError("a submission was withdrawn or cannot be read; choose the models again")
    if view.subset is not None and view.subset not in spec.subsets:
        raise unknown(f"subset of {spec.id}", view.subset, spec.subsets)
    split = view.split or spec.protocols[protocol].split
    return Comparison(spec, protocol, split, metric, tuple(compare.sides(entries)), view.subset)
