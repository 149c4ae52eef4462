"""Which models the data tell apart: the one module that every page, command and document asks.

All tests flip signs. If two models are equally good, then for each independent unit (paper,
trajectory, morphology) it is a matter of chance which of them did better, so the sign of each
unit's difference may be flipped (Fisher 1935; Good, Permutation Tests, 2000,
DOI 10.1007/978-1-4757-3235-1). All patterns of signs are tried for up to 12 units, else 9,999 drawn
ones beside that of the data.

Three questions are asked of a board, each with its own test:

- *Do these two models differ?* ``pair_p``: the p-value of that pair alone.
- *Is a model better than the declared reference?* ``gains_p``: the largest statistic of all rows in
  each pattern is the yardstick (max-T; Westfall & Young 1993), so that the chance of one false gain
  on the whole board is 5 %.
- *Which rows may be the best?* ``may_be_best``: rows that are told apart from a better one are
  taken away one by one, each time with max-T over all pairs of those left (Hansen, Lunde & Nason,
  Econometrica 79 (2011) 453, DOI 10.3982/ECTA5771). The leader was found by looking at the scores,
  so to test all others against it alone would find differences where there are none.

Rows whose scores are closer than the benchmark's smallest difference of interest are equal in
practice, whatever their p-value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from etchmark.scoring.intervals import counted, leave_one_out
from etchmark.scoring.uncertainty import SumsOfUnits, score
from etchmark.targets import Metric

ALPHA = 0.05
ENUMERATED_UNITS = 12
"""Up to so many units all patterns of signs are tried."""
FLIPS, FLIPS_OF_MANY = 9_999, 999
"""Drawn patterns beside that of the data, on boards of up to ``CONTENDERS`` rows and of more."""
CONTENDERS = 100
"""Rows are tested against so many of the best: all pairs of a huge board are out of reach."""
AT_ONCE = 1 << 23
"""Numbers that are held at once."""
SEED = 0
Sums = Mapping[str, np.ndarray]


@lru_cache(maxsize=8)
def _negative(units: int, flips: int) -> np.ndarray:
    """Which signs are negative in each pattern, eight to a byte; shape (patterns, bytes)."""
    if units <= ENUMERATED_UNITS:
        numbers = np.arange(1 << units)[:, None]
        bits = ((numbers >> np.arange(units)) & 1).astype(np.uint8)
        packed = np.packbits(bits, axis=1)
    else:
        generator = np.random.Generator(np.random.PCG64(SEED))
        packed = generator.integers(0, 256, size=(flips + 1, -(-units // 8)), dtype=np.uint8)
        packed[0] = 0
    packed.setflags(write=False)
    return packed


def patterns(units: int, flips: int = FLIPS, some: slice = slice(None)) -> np.ndarray:
    """Patterns of signs, the first of them that of the data: shape (patterns, units), float32.

    Args:
        units: how many there are.
        flips: drawn patterns beside that of the data.
        some: only these patterns.
    """
    bits = np.unpackbits(_negative(units, flips)[some], axis=1, count=units)
    signs = bits.astype(np.float32)
    signs *= -2.0
    signs += 1.0
    return signs


def flipped_sums(values: np.ndarray, flips: int = FLIPS) -> np.ndarray:
    """Sums over units under every pattern of signs, shape (patterns, rows), float32.

    Args:
        values: shape (rows, units).
        flips: drawn patterns beside that of the data.
    """
    columns = np.ascontiguousarray(values.T, dtype=np.float32)
    units = len(columns)
    count = len(_negative(units, flips))
    sums = np.empty((count, columns.shape[1]), dtype=np.float32)
    # Signs of many units are held some patterns at a time.
    step = max(1, AT_ONCE // max(1, units))
    for start in range(0, count, step):
        some = slice(start, start + step)
        np.matmul(patterns(units, flips, some), columns, out=sums[some])
    return sums


def smallest_p(units: int) -> float:
    """The smallest p-value that a two-sided test can give with so many units."""
    return 2.0 / (1 << units) if units <= ENUMERATED_UNITS else 1.0 / (FLIPS + 1)


# --- differences of units ----------------------------------------------------------------------


def losses(metric: Metric, sums: Sums) -> np.ndarray:
    """Loss of each unit, mean over seeds, shape (units,): what the signs are given to.

    Differences of these losses between two models add up to a difference of their scores, or to
    one that is monotone in it. Without such a form they are the jackknife's pseudo-values.
    """
    if metric.loss is not None:
        names = [name for name in metric.reads(sums) if name in sums]
        return metric.loss({name: sums[name] for name in names}).mean(axis=0)
    left_out = leave_one_out(metric, sums).mean(axis=0)
    if isinstance(sums, SumsOfUnits):
        whole = score(metric, sums).mean()
    else:
        whole = metric.of({name: values.sum(axis=1) for name, values in sums.items()}).mean()
    count = len(left_out)
    return metric.sign() * (whole - (count - 1) / count * left_out)


class Differences:
    """Differences of losses between the rows of a board, unit by unit.

    Args:
        metric: what the board is ranked by.
        sums: of each row, terms of shape (seeds, units) over the same units in the same order.
    """

    def __init__(self, metric: Metric, sums: Sequence[Sums]) -> None:
        self._metric = metric
        self.rows = len(sums)
        self._means: dict[str, np.ndarray] = {}
        self.losses: np.ndarray | None = None
        """Shape (rows, units); None where a difference is not one of two losses."""
        if metric.contrast is None:
            self.losses = np.stack([losses(metric, row) for row in sums])
            self.units = self.losses.shape[1]
        else:
            names = metric.reads(sums[0])
            self._means = {
                name: np.stack([row[name].mean(axis=0) for row in sums]) for name in names
            }
            self.units = self._means[names[0]].shape[1]

    def between(self, first: int, seconds: Sequence[int] | np.ndarray) -> np.ndarray:
        """Loss of a row minus those of others, shape (others, units)."""
        seconds = np.asarray(seconds, dtype=int)
        if self.losses is not None:
            return self.losses[first] - self.losses[seconds]
        if self._metric.contrast is None:
            raise RuntimeError("neither losses nor a contrast")
        one = {name: rows[first, None] for name, rows in self._means.items()}
        pairs = np.empty((len(seconds), self.units))
        step = max(1, AT_ONCE // (len(one) * self.units))
        for start in range(0, len(seconds), step):
            some = seconds[start : start + step]
            others = {name: rows[some] for name, rows in self._means.items()}
            pairs[start : start + step] = self._metric.contrast(one, others)
        return pairs

    def over_first(self) -> np.ndarray:
        """Loss of all other rows minus that of the first, shape (rows - 1, units)."""
        return -self.between(0, range(1, self.rows))

    def finite(self) -> bool:
        """Whether all differences are known."""
        if self.losses is not None:
            return bool(np.isfinite(self.losses).all())
        return all(np.isfinite(rows).all() for rows in self._means.values())


# --- tests -------------------------------------------------------------------------------------


def _size(differences: np.ndarray) -> np.ndarray:
    """Root of the sum of squares over units: no flip changes it."""
    return np.sqrt(np.einsum("...u,...u->...", differences, differences))


def _scaled(differences: np.ndarray) -> np.ndarray:
    """Differences of each pair divided by their size, so that pairs compare; zeros stay zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = differences / _size(differences)[:, None]
    return np.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)


TOLERANCE = 1e-5
"""Statistics this close, relative to the larger, are equal: they are sums in single precision."""


def _share_at_least(drawn: np.ndarray, statistic: np.ndarray) -> np.ndarray:
    """Share of drawn statistics that are at least as large, for each statistic."""
    ordered = np.sort(drawn)
    reached = np.searchsorted(ordered, statistic * (1.0 - TOLERANCE) - 1e-12, side="left")
    return (len(ordered) - reached) / len(ordered)


def pair_statistics(differences: np.ndarray) -> np.ndarray:
    """Sum over units of one pair in every pattern of signs, the data's first: shape (patterns,).

    Args:
        differences: of each unit, shape (units,). They are divided by their size.
    """
    return flipped_sums(_scaled(np.atleast_2d(differences)))[:, 0]


def pair_p(differences: np.ndarray) -> float:
    """Two-sided p-value of one pair of models, of that pair alone.

    Args:
        differences: of each unit, shape (units,).
    """
    drawn = np.abs(pair_statistics(differences))
    return float(_share_at_least(drawn, drawn[:1])[0])


def gains_p(differences: np.ndarray) -> np.ndarray:
    """Two-sided p-values of many models against one reference, adjusted for their number (max-T).

    Args:
        differences: of each model from the reference, shape (models, units).

    Returns:
        Shape (models,).
    """
    scaled = _scaled(differences)
    flips = FLIPS if len(scaled) <= CONTENDERS else FLIPS_OF_MANY
    drawn = flipped_sums(scaled, flips)
    np.abs(drawn, out=drawn)
    return _share_at_least(drawn.max(axis=1), drawn[0])


def _sizes(losses: np.ndarray, contenders: np.ndarray) -> np.ndarray:
    """Sizes of the differences of each row from each contender, shape (rows, contenders)."""
    squares = np.einsum("ru,ru->r", losses, losses)
    both = squares[:, None] + squares[contenders]
    squared = both - 2.0 * losses @ losses[contenders].T
    # Inner products lose the digits of rows that are nearly alike.
    for row, place in np.argwhere(squared < 1e-6 * both):
        difference = losses[row] - losses[contenders[place]]
        squared[row, place] = difference @ difference
    return np.sqrt(squared)


class _Pairs:
    """Statistics of all pairs of rows, of which the second is one of the contenders.

    Args:
        differences: of the rows.
        contenders: rows that others are tested against.
    """

    def __init__(self, differences: Differences, contenders: np.ndarray) -> None:
        self._differences, self.contenders = differences, contenders
        flips = FLIPS if differences.rows <= CONTENDERS else FLIPS_OF_MANY
        self._flips, self._patterns = flips, len(_negative(differences.units, flips))
        self.observed = np.zeros((differences.rows, len(contenders)))
        """How far a row is behind a contender, shape (rows, contenders)."""
        self._sums: np.ndarray | None = None
        if differences.losses is not None:
            whole = differences.losses
            centred = whole - whole.mean(axis=0)
            sizes = _sizes(centred, contenders)
            scale = float(sizes.max()) or 1.0
            self._sums = flipped_sums(centred / scale, flips)
            total = centred.sum(axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                behind = (total[:, None] - total[contenders]) / sizes
                self._inverse = np.nan_to_num(scale / sizes, posinf=0.0).astype(np.float32)
            self.observed = np.nan_to_num(behind, nan=0.0, posinf=0.0, neginf=0.0)
        else:
            for place, second in enumerate(contenders):
                pairs = -differences.between(int(second), range(differences.rows))
                self.observed[:, place] = _scaled(pairs).sum(axis=1)

    def largest(self, rows: np.ndarray) -> np.ndarray:
        """Largest statistic in every pattern among pairs of these rows, shape (patterns,)."""
        kept = np.flatnonzero(np.isin(self.contenders, rows))
        # Contenders first, so that each pair of them is visited once.
        others = np.concatenate([self.contenders[kept], rows[~np.isin(rows, self.contenders)]])
        largest = np.zeros(self._patterns, dtype=np.float32)
        if self._sums is None:
            for at, place in enumerate(kept):
                pairs = self._differences.between(int(self.contenders[place]), others[at + 1 :])
                drawn = np.abs(flipped_sums(_scaled(pairs), self._flips))
                np.maximum(largest, drawn.max(axis=1, initial=0.0), out=largest)
            return largest
        sums, inverse = self._sums[:, others], self._inverse[others]
        # Some patterns at a time, so that they stay in the processor's cache.
        step = max(1, (1 << 18) // max(1, len(others)))
        for start in range(0, len(sums), step):
            part = sums[start : start + step]
            top = largest[start : start + step]
            for at, place in enumerate(kept):
                drawn = part[:, at + 1 :] - part[:, at : at + 1]
                drawn *= inverse[at + 1 :, place]
                np.abs(drawn, out=drawn)
                np.maximum(top, drawn.max(axis=1, initial=0.0), out=top)
        return largest


def may_be_best(
    differences: Differences, scores: np.ndarray, smallest_difference: float | np.ndarray = 0.0
) -> np.ndarray:
    """Which rows may be the best, as truth values; the chance to miss the best row is 5 %."""
    return shown_ahead(differences, scores, smallest_difference) < 0


def shown_ahead(
    differences: Differences, scores: np.ndarray, smallest_difference: float | np.ndarray = 0.0
) -> np.ndarray:
    """The best row that each row is shown to be behind; -1 where there is none.

    Args:
        differences: of the rows.
        scores: of the rows, smaller is better, shape (rows,).
        smallest_difference: rows closer than this to a better one are equal to it in practice;
            one for all, or one for each better row, shape (rows,).
    """
    order = np.argsort(scores, kind="stable")
    pairs = _Pairs(differences, order[:CONTENDERS])
    left, ahead = np.ones(differences.rows, dtype=bool), np.full(differences.rows, -1)
    # Only a difference that matters takes a row away, and only one that the scores show as well.
    least = np.maximum(np.broadcast_to(smallest_difference, len(scores))[pairs.contenders], 0.0)
    apart = scores[:, None] - scores[pairs.contenders] > least
    behind = np.where(apart, pairs.observed, 0.0)
    limit = -1.0
    while left.sum() > 1:
        still = left[pairs.contenders]
        worst_of = np.where(left, behind[:, still].max(axis=1, initial=0.0), 0.0)
        worst = int(np.argmax(worst_of))
        if limit < 0 or worst_of[worst] <= limit:
            # The limit falls as rows are taken away: it is found again only when it decides.
            before, limit = limit, _limit(pairs.largest(np.flatnonzero(left)))
            if worst_of[worst] <= limit or limit == before:
                break
        left[worst] = False
        ahead[worst] = pairs.contenders[np.flatnonzero(still & (behind[worst] > limit))[0]]
    return ahead


def _limit(largest: np.ndarray) -> float:
    """The value that a statistic must exceed for its p-value to be at most ``ALPHA``."""
    ordered = np.sort(largest)[::-1]
    beyond = int(np.floor(ALPHA * len(ordered) + 1e-9))
    return float(ordered[beyond]) * (1.0 + TOLERANCE) if beyond else float("inf")


# --- verdicts ----------------------------------------------------------------------------------

Relation = Literal["better", "worse", "equal in practice", "not told apart"]


@dataclass(frozen=True)
class Verdict:
    """What the data say of one model against another."""

    relation: Relation
    """Of the first to the second."""
    p: float
    """Of this pair alone; NaN where it cannot be tested."""


def differences_of_pair(metric: Metric, first: SumsOfUnits, second: SumsOfUnits) -> np.ndarray:
    """Loss of the first minus that of the second, of each unit that counts: shape (units,)."""
    units = counted(metric, first) & counted(metric, second)
    return Differences(metric, [first, second]).between(0, [1])[0][units]


def verdict(
    metric: Metric,
    first: SumsOfUnits,
    second: SumsOfUnits,
    smallest_difference: float = 0.0,
) -> Verdict:
    """Whether two models are told apart, from unit sums over the same units.

    Args:
        metric: what is compared.
        first: of the model that ``relation`` speaks of.
        second: of the other model.
        smallest_difference: in the metric's unit; scores closer than this are equal in practice.
    """
    gap = metric.sign() * float(score(metric, first).mean() - score(metric, second).mean())
    differences = differences_of_pair(metric, first, second)
    p = pair_p(differences) if np.isfinite(differences).all() and len(differences) else float("nan")
    return Verdict(relation(gap, float(differences.sum()), p, smallest_difference), p)


def relation(gap: float, behind: float, p: float, smallest_difference: float) -> Relation:
    """What a tested difference shows of the first of two models.

    Args:
        gap: how much worse its score is.
        behind: sum over units of what the signs were given to.
        p: of the test.
        smallest_difference: scores closer than this are equal in practice.
    """
    if abs(gap) < smallest_difference or gap == 0:
        return "equal in practice"
    # Over several seeds the mean of scores and the mean of losses may point to different sides.
    if p <= ALPHA and behind * gap > 0:
        return "better" if gap < 0 else "worse"
    return "not told apart"
