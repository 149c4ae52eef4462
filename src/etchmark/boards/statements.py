"""What a board says in words: the same on every page, on the command line and in documents."""

from __future__ import annotations

import pandas as pd

from etchmark.scoring.intervals import FEWEST_UNITS
from etchmark.scoring.separation import ALPHA, CONTENDERS, smallest_p
from etchmark.specs import BenchmarkSpec
from etchmark.text import number


def the_best(spec: BenchmarkSpec, frame: pd.DataFrame) -> str:
    """Which of the ranked rows of a board may be the best, as far as its data can tell.

    Args:
        spec: the benchmark.
        frame: rows of ``Board.standings``, best first.
    """
    ranked = pd.DataFrame(frame[frame["rank"].notna()])
    if ranked.empty:
        return "No submission is ranked yet."
    if len(ranked) == 1:
        return "One ranked submission: there is nothing to compare it with yet."
    best = ranked["may_be_best"]
    of_all = f"Of {len(ranked):,} ranked submissions,"
    units = int(ranked["units"].max())
    if not best.notna().any():
        return f"{of_all} none could be tested: they were scored on different samples."
    if smallest_p(units) > ALPHA:
        return (
            f"{of_all} any may be the best: with {units} {spec.unit_names} no two models can be told"
            f" apart, since no p-value can be below {number(smallest_p(units))}."
        )
    count = int(best.fillna(False).sum())
    if count == 1:
        return f"{of_all} one alone may be the best: {ranked['model'].iloc[0]}."
    tested = int(best.notna().sum())
    least = "at least " if tested < len(ranked) and best.dropna().iloc[-1] else ""
    sentence = f"{of_all} {least}{count:,} may be the best: these data do not tell them apart."
    if tested > CONTENDERS:
        sentence += f" They were tested against the best {CONTENDERS}."
    return sentence + _equal(spec, ranked[best.fillna(False)])


def _equal(spec: BenchmarkSpec, best: pd.DataFrame) -> str:
    """How many of the best are so close to the first that the difference does not matter."""
    scores = best["score"].to_numpy(dtype=float)
    metric = str(best["metric"].iloc[0])
    least = spec.smallest_difference_of(metric, float(scores[0]))
    equal = int((abs(scores[1:] - scores[0]) < least).sum())
    if not equal:
        return ""
    unit = "" if best["unit"].iloc[0] == "1" else f" {best['unit'].iloc[0]}"
    verb = "is" if equal == 1 else "are"
    return (
        f" {equal:,} {verb} equal in practice to the first: closer than {number(least)}{unit}, the"
        " smallest difference that matters here."
    )


def too_few_units(spec: BenchmarkSpec, units: int) -> str | None:
    """Why a score has no interval, if it is for want of units."""
    if units >= FEWEST_UNITS:
        return None
    return f"no interval: {units} {spec.unit_names} are too few"
