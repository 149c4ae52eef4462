"""What the rows of a board show of each other: rank ranges, the best, gains over the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from etchmark.scoring import gains, uncertainty
from etchmark.scoring.separation import Differences, Relation, gains_p, relation, shown_ahead
from etchmark.specs import BenchmarkSpec
from etchmark.targets import Metric

Sums = Mapping[str, np.ndarray]
MOST_TESTED = 1000
"""Rows, from the best on, that are tested whether they may be the best."""


def may_be_best(ahead: np.ndarray) -> np.ndarray:
    """Which rows may be the best, of ``PairedRows.shown_ahead``: 1, 0, or NaN if not tested."""
    return np.where(np.isnan(ahead), np.nan, ahead < 0)


class PairedRows:
    """The rows of a board over the same units.

    Args:
        spec: the benchmark.
        metric: what the board is ranked by.
        sums: of each row, terms of shape (seeds, units) over the same units in the same order;
            None for a row without.
    """

    def __init__(self, spec: BenchmarkSpec, metric: Metric, sums: Sequence[Sums | None]) -> None:
        self._spec, self._metric, self._sums = spec, metric, sums
        self._known = [place for place, row in enumerate(sums) if row is not None]

    def _differences(self, places: Sequence[int]) -> Differences:
        rows = [row for place in places if (row := self._sums[place]) is not None]
        return Differences(self._metric, rows)

    @cached_property
    def ranges(self) -> uncertainty.RankRanges:
        """Rank ranges among any rows."""
        resampled = uncertainty.bootstrap_many(self._metric, self._sums)
        return uncertainty.RankRanges(self._metric.sign() * resampled)

    def gains(self, reference: int | None) -> np.ndarray:
        """Gain of every row over one of them, in %, its 95 % interval, and its adjusted p-value.

        Returns:
            Shape (rows, 4), NaN where there is none.
        """
        table = np.full((len(self._sums), 4), np.nan)
        base = None if reference is None else self._sums[reference]
        if reference is None or base is None or not gains.has_gains(self._metric):
            return table
        table[:, :3] = gains.gains(self._metric, self._sums, base)
        others = [place for place in self._known if place != reference]
        behind = self._differences([reference, *others]).over_first()
        finite = np.isfinite(behind).all(axis=1)
        if finite.any():
            table[np.array(others)[finite], 3] = gains_p(behind[finite])
        return table

    def relations(
        self, reference: int | None, scores: np.ndarray, p: np.ndarray
    ) -> list[Relation | None]:
        """What the test of gains shows of every row: how it compares with the reference.

        Args:
            reference: the row that others are compared with.
            scores: of every row, NaN where there is none.
            p: adjusted, from ``gains``; None is returned where it is NaN.
        """
        known = np.flatnonzero(np.isfinite(p))
        if reference is None or not len(known):
            return [None] * len(self._sums)
        sign = self._metric.sign()
        behind = self._differences([reference, *known.tolist()]).over_first().sum(axis=1)
        shown: list[Relation | None] = [None] * len(self._sums)
        for place, total in zip(known.tolist(), behind.tolist(), strict=True):
            pair = [float(scores[place]), float(scores[reference])]
            least = self._spec.smallest_difference_of(
                self._metric.id, min(pair, key=lambda score: sign * score)
            )
            shown[place] = relation(sign * (pair[0] - pair[1]), total, float(p[place]), least)
        return shown

    def shown_ahead(self, scores: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The best of them that each row is shown to be behind, by its index in ``places``.

        It is -1 for a row that may be the best, and NaN where that is not tested.

        Args:
            scores: smaller is better, shape (k,).
            places: of the rows, shape (k,).
        """
        result = np.full(len(places), np.nan)
        known = np.flatnonzero([self._sums[place] is not None for place in places])
        tested = known[np.argsort(scores[known], kind="stable")[:MOST_TESTED]]
        if not len(tested):
            return result
        differences = self._differences(places[tested].tolist())
        if differences.finite():
            # A share of the better score of each pair, as wherever a pair is judged.
            least = [
                self._spec.smallest_difference_of(self._metric.id, score)
                for score in scores[tested].tolist()
            ]
            ahead = shown_ahead(differences, scores[tested], np.array(least))
            result[tested] = np.where(ahead < 0, -1, tested[ahead])
        return result
