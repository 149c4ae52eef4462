"""Flags that depend on other rows of a board, or on what its benchmark says today.

They are made when a board is read and stand in no record: a row that was far ahead is so no longer
once another catches up. Ten thousand rows take a fraction of a second, since rows are grouped by a
sketch of their predictions, and two per-sample tables at most are read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from etchmark.errors import UserError
from etchmark.registry.tables import Brief
from etchmark.scoring.doubts import (
    BEYOND,
    DECLARED,
    MAX_FLAG,
    declared_doubts,
    kind_of_flag,
    metrics_read,
)
from etchmark.scoring.gains import errors_of, has_gains
from etchmark.scoring.separation import ALPHA, smallest_p, verdict
from etchmark.scoring.uncertainty import SumsOfUnits
from etchmark.specs import UNRANKED_ROLES, BenchmarkSpec
from etchmark.targets import Metric
from etchmark.text import number, one_line

FAR_AHEAD = 1 / 3
"""A row is far ahead if its error is less than this share of that of the next."""
LEADERS = 10
"""Rows that are looked at for a common lead at most, and at most a tenth of the rows."""
ALIKE = 1e-6
"""Sketches this close are of the same predictions: single precision moves them by 1e-7."""
NAMED = 3
"""Names that a flag lists at most."""
Row = Mapping[Any, Any]
Units = tuple[SumsOfUnits, tuple[str, ...]]


def flag(kind: str, message: str) -> str:
    """A flag as records hold them: one line that begins with its kind."""
    return shorten(one_line(f"{kind}: {message}"), MAX_FLAG, placeholder="…")


class _Value(NamedTuple):
    value: float


class _Scores(NamedTuple):
    split: str
    metrics: dict[str, _Value]


def of_today(spec: BenchmarkSpec, brief: Brief) -> list[str] | None:
    """Flags of a record, with those that follow from what the benchmark declares today."""
    kept = brief.content["flags"]
    found = []
    names = metrics_read(spec)
    for split, parts in brief.content["scores"].items() if names else ():
        values = parts[""]["metrics"]
        metrics = {name: _Value(values[name]["value"]) for name in names if name in values}
        found += [doubt.flag for doubt in declared_doubts(spec, _Scores(split, metrics))]
    others = [flag for flag in kept or () if kind_of_flag(flag) not in DECLARED]
    return [*others, *found] if kept is not None or found else None


def why_not_ranked(spec: BenchmarkSpec, brief: Brief, role: str) -> str | None:
    """Why a row of a role that is ranked is listed apart all the same; None if it is ranked."""
    if not spec.rank_limits or role in UNRANKED_ROLES:
        return None
    flags = of_today(spec, brief) or ()
    beyond = (flag for flag in flags if kind_of_flag(flag) == BEYOND)
    return next((flag.partition(": ")[2] for flag in beyond), None)


def alike(briefs: Sequence[Brief]) -> dict[str, int]:
    """A number for each submission with known predictions; equal where predictions are.

    Numbers are equal to about six digits: their sketches are no further apart than that.
    """
    kinds: dict[object, list[Brief]] = defaultdict(list)
    for brief in briefs:
        values = brief.content["values"]
        if brief.outcome == "ok" and values is not None:
            kinds[values if isinstance(values, str) else len(values)].append(brief)
    numbers: dict[str, int] = {}
    for kind, members in kinds.items():
        labels = np.zeros(len(members), dtype=int)
        if not isinstance(kind, str):
            labels = _clusters(np.array([brief.content["values"] for brief in members]))
        start = len(numbers)
        for brief, label in zip(members, labels.tolist(), strict=True):
            numbers[brief.submission] = start + label
    return numbers


def _clusters(points: np.ndarray) -> np.ndarray:
    """Labels of points, shape (points, coordinates), equal where neighbours are closer than
    ``ALIKE`` in every coordinate."""
    labels = np.zeros(len(points), dtype=int)
    for column in points.T:
        order = np.lexsort((column, labels))
        is_new = (np.diff(labels[order]) != 0) | (np.diff(column[order]) > ALIKE)
        labels[order] = np.concatenate([[0], np.cumsum(is_new)])
    return labels


def same_predictions(briefs: Sequence[Brief], numbers: Mapping[str, int]) -> dict[str, str]:
    """A flag for each submission whose predictions another name has as well, by submission.

    Both rows show it. Only submissions to one track and protocol are compared.

    Args:
        briefs: the rows of a board.
        numbers: from ``alike``.
    """
    groups: dict[tuple[str, int], list[Brief]] = defaultdict(list)
    for brief in briefs:
        if brief.submission in numbers:
            groups[brief.track, numbers[brief.submission]].append(brief)
    flags = {}
    for group in groups.values():
        if len({brief.name for brief in group}) < 2:
            continue
        group.sort(key=lambda brief: (brief.created, brief.submission))
        first = group[0].name
        later = list(dict.fromkeys(brief.name for brief in group if brief.name != first))
        more = f" and {len(later) - NAMED} more" if len(later) > NAMED else ""
        since = f"the same predictions were submitted later as {', '.join(later[:NAMED])}{more}"
        before = f"the same predictions were submitted before as {first}"
        since, before = (flag("same_predictions", text) for text in (since, before))
        for brief in group:
            flags[brief.submission] = since if brief.name == first else before
    return flags


def flags_of_rows(
    spec: BenchmarkSpec,
    metric: Metric,
    briefs: Sequence[Brief],
    ranked: pd.DataFrame,
    units_of: Callable[[str], Units | None],
) -> list[list[str] | None]:
    """All flags of each row of a board; None where nobody looked for doubts and none is found.

    Args:
        spec: the benchmark.
        metric: what the board is ranked by.
        briefs: the rows.
        ranked: those of them that are ranked, best first, whatever filters are set.
        units_of: unit sums of a submission with the names of its units.
    """
    numbers = alike(briefs)
    repeated = same_predictions(briefs, numbers)
    leads = far_ahead(spec, metric, ranked, numbers, units_of)
    rows: list[list[str] | None] = []
    for brief in briefs:
        flags = of_today(spec, brief)
        found = [repeated[brief.submission]] if brief.submission in repeated else []
        found += [leads[brief.submission]] if brief.submission in leads else []
        rows.append([*(flags or ()), *found] if found else flags)
    return rows


def far_ahead(
    spec: BenchmarkSpec,
    metric: Metric,
    ranked: pd.DataFrame,
    numbers: Mapping[str, int],
    units_of: Callable[[str], Units | None],
) -> dict[str, str]:
    """A flag for the first row, or the first few, if their error is far below that of the next one.

    The first row is compared with the next one. On a board of twenty rows and more, the first few
    are compared with the next entry as well, or two good files would hide each other. The last row
    of the lead and the next must be told apart, where so many units can tell any two models apart.

    Args:
        spec: the benchmark.
        metric: what the board is ranked by.
        ranked: the ranked rows, best first.
        numbers: from ``alike``; a copy of a row is no next row.
        units_of: unit sums of a submission with the names of its units.

    Returns:
        Flags by submission.
    """
    if not has_gains(metric) or len(ranked) < 2:
        return {}
    rows = _distinct(ranked, numbers)
    errors = errors_of(metric, rows["score"].to_numpy(dtype=float)).tolist()
    entries = np.flatnonzero((rows["role"] == "entry").to_numpy(dtype=bool))
    for size in range(max(1, min(LEADERS, len(rows) // 10)), 0, -1):
        places = range(size, len(rows)) if size == 1 else entries[entries >= size].tolist()
        if not places or not errors[size - 1] < FAR_AHEAD * errors[places[0]]:
            continue
        last, after = rows.iloc[[size - 1, places[0]]].to_dict("records")
        if _told_apart(spec, metric, (last, after), units_of):
            return {
                submission: _lead(spec, metric, after, (error, errors[places[0]]))
                for submission, error in zip(rows["submission"], errors[:size], strict=False)
            }
    return {}


def _distinct(ranked: pd.DataFrame, numbers: Mapping[str, int]) -> pd.DataFrame:
    """The rows without those whose predictions a better row has as well."""
    keys = [numbers.get(name, name) for name in ranked["submission"]]
    return pd.DataFrame(ranked[~pd.Series(keys, index=ranked.index, dtype=object).duplicated()])


def _told_apart(
    spec: BenchmarkSpec,
    metric: Metric,
    pair: tuple[Row, Row],
    units_of: Callable[[str], Units | None],
) -> bool:
    """Whether the first row is better than the second, or too few units could tell."""
    if smallest_p(int(pair[0]["units"])) > ALPHA:
        return True
    try:
        sums = [units_of(row["submission"]) for row in pair]
    except UserError:
        # A damaged table is no reason to show no board.
        return False
    if sums[0] is None or sums[1] is None or sums[0][1] != sums[1][1]:
        return False
    least = spec.smallest_difference_of(metric.id, float(pair[0]["score"]))
    return verdict(metric, sums[0][0], sums[1][0], least).relation == "better"


def _lead(spec: BenchmarkSpec, metric: Metric, after: Row, errors: tuple[float, float]) -> str:
    """The flag of a row that is far ahead of another."""
    unit = metric.unit_for(spec.target.unit)
    texts = [number(error) + ("" if unit == "1" else f" {unit}") for error in errors]
    what = f"1 − {metric.id}" if metric.higher_is_better else metric.id
    message = (
        f"split {after['split']!r}: {what} {texts[0]} is less than a third of {texts[1]}, that of"
        f" the next row, {after['model']}; so long a lead is worth a second look"
    )
    return flag("far_ahead", message)
