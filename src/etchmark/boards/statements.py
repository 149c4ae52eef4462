"""What a board says in words: the same on every page, on the command line and in documents."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from etchmark.scoring.doubts import TOO_GOOD, flags_to_show, in_words
from etchmark.scoring.separation import ALPHA, CONTENDERS, smallest_p
from etchmark.specs import BenchmarkSpec
from etchmark.text import declared_number, number


def _numbers(frame: pd.DataFrame, name: str) -> np.ndarray:
    """A column of numbers, NaN where they are missing."""
    return frame[name].to_numpy(dtype=float, na_value=math.nan)


def statements(spec: BenchmarkSpec, frame: pd.DataFrame) -> list[str]:
    """What a board says: ``the_best``, ``doubts``, and ``gains`` where they are known."""
    texts = (the_best(spec, frame), doubts(frame), gains(spec, frame))
    return [text for text in texts if text is not None]


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
    best, scores = _numbers(ranked, "may_be_best"), _numbers(ranked, "score")
    of_all = f"Of {len(ranked):,} ranked submissions,"
    units = int(_numbers(ranked, "units").max())
    tested = int(np.isfinite(best).sum())
    if not tested:
        return f"{of_all} none could be tested: they were scored on different samples."
    if smallest_p(units) > ALPHA:
        return (
            f"{of_all} any may be the best: with {units} {spec.unit_names} no two models can be"
            f" told apart, since no p-value can be below {number(smallest_p(units))}."
        )
    count = int((best == 1).sum())
    if count == 1:
        (name,) = ranked["model"].to_numpy(dtype=str)[best == 1]
        return f"{of_all} one alone may be the best: {name}."
    least = "at least " if tested < len(ranked) and best[np.isfinite(best)][-1] else ""
    many = "all" if count == len(ranked) else f"{least}{count:,}"
    metric, unit = (str(ranked[name].to_numpy()[0]) for name in ("metric", "unit"))
    why = _why(spec, scores[best == 1], metric, unit)
    against = f" They were tested against the best {CONTENDERS}." if tested > CONTENDERS else ""
    return f"{of_all} {many} may be the best: {why}{against}"


def simplest(frame: pd.DataFrame) -> str | None:
    """The submission with the fewest parameters, and then the lowest cost, that may be the best.

    Rows whose parameters are unknown do not count.

    Args:
        frame: rows of ``Board.standings``, best first.

    Returns:
        Its id; None where nothing was tested, or where no number of parameters is known.
    """
    may = frame["may_be_best"].fillna(False).to_numpy(dtype=bool)
    best = pd.DataFrame(frame[may & frame["total_parameters"].notna().to_numpy(dtype=bool)])
    if best.empty:
        return None
    simplest_first = best.sort_values(["total_parameters", "reference_units"], kind="stable")
    return str(simplest_first["submission"].iloc[0])


DOUBTED = 3
"""Doubted rows that a statement names at most."""


def doubts(frame: pd.DataFrame) -> str | None:
    """Which of the rows that may be the best have flags that question their score; None if none.

    Args:
        frame: rows of ``Board.standings``, best first.
    """
    ranked = pd.DataFrame(frame[frame["rank"].notna()])
    best = (_numbers(ranked, "may_be_best") == 1) | (_numbers(ranked, "rank") == 1)
    columns = (ranked[best][name].tolist() for name in ("model", "flags", "role"))
    texts = [
        f"{name} ({words})"
        for name, flags, role in zip(*columns, strict=True)
        if (words := in_words(flags_to_show(flags, role), TOO_GOOD))
    ]
    if not texts:
        return None
    more = f" and {len(texts) - DOUBTED:,} more" if len(texts) > DOUBTED else ""
    return f"Flagged, which changes no rank: {', '.join(texts[:DOUBTED])}{more}."


def _why(spec: BenchmarkSpec, scores: np.ndarray, metric: str, unit: str) -> str:
    """Why several rows may be the best: not told apart, or so close that it does not matter."""
    smallest = spec.smallest_difference_of(metric, float(scores[0]))
    equal = int((abs(scores[1:] - scores[0]) < smallest).sum())
    limit = declared_number(smallest) + ("" if unit == "1" else f" {unit}")
    if equal == len(scores) - 1:
        return (
            f"each differs from the first by less than {limit}, the smallest difference that"
            " matters here."
        )
    told = "these data do not tell them apart."
    if not equal:
        return told
    verb = "is" if equal == 1 else "are"
    return (
        f"{told} {equal:,} {verb} equal in practice to the first: closer than {limit}, the smallest"
        " difference that matters here."
    )


def gains(spec: BenchmarkSpec, frame: pd.DataFrame) -> str | None:
    """How many entries beat the declared reference, and by how much; None if that is not known.

    Args:
        spec: the benchmark.
        frame: rows of ``Board.standings``, best first.
    """
    entries = pd.DataFrame(frame[frame["rank"].notna() & (frame["role"] == "entry")])
    tested = entries["gain_relation"].notna().to_numpy(dtype=bool)
    known = np.flatnonzero(tested & np.isfinite(_numbers(entries, "gain")))
    if spec.gains_over is None or not len(known):
        return None
    names = ("gain", "gain_low", "gain_high")
    best = gain_text(*(float(_numbers(entries, name)[known[0]]) for name in names))
    shown = entries["gain_relation"].tolist().count("better")
    if not shown:
        told = f"No entry is shown to beat {spec.gains_over}"
        relation = entries["gain_relation"].tolist()[known[0]]
        if relation == "not told apart" and _numbers(entries, "gain_low")[known[0]] > 0:
            return (
                f"{told} when all rows are tested together; taken alone, the first entry gains"
                f" {best}."
            )
        return f"{told}; the first entry gains {best}."
    verb = "is" if shown == 1 else "are"
    noun = "entry" if len(known) == 1 else "entries"
    return (
        f"{shown:,} of {len(known):,} {noun} {verb} shown to beat {spec.gains_over};"
        f" the first gains {best}."
    )


def gain_text(gain: float, low: float, high: float) -> str:
    """A gain with its 95 % interval, NaN where it has none."""
    interval = "" if math.isnan(low) else f" ({_percent(low)} … {_percent(high)})"
    return f"{_percent(gain)} %{interval}"


def _percent(gain: float) -> str:
    return f"{gain:.1f}".replace("-", "−")
