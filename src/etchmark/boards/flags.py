"""Flags that depend on other rows of a board, or on what its benchmark says today.

They are made when a board is read and stand in no record: a row that was far ahead is so no longer
once another catches up. Ten thousand rows take a fraction of a second, since rows are grouped by a
sketch of their predictions, and two per-sample tables at most are read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd

from etchmark.errors import UserError
from etchmark.registry.tables import Brief
from etchmark.scoring.doubts import BELOW, MAX_FLAG, below_discretisation_error, kind_of_flag
from etchmark.scoring.gains import errors_of, has_gains
from etchmark.scoring.separation import ALPHA, smallest_p, verdict
from etchmark.scoring.uncertainty import SumsOfUnits
from etchmark.specs import BenchmarkSpec, MetricScore, SplitScore
from etchmark.targets import Metric
from etchmark.text import number, one_line

FAR_AHEAD = 1 / 3
"""The first row is far ahead if its error is less than this share of that of the next."""
ALIKE = 1e-6
"""Sketches this close are of the same predictions: single precision moves them by 1e-7."""
NAMED = 3
"""Names that a flag lists at most."""
Units = tuple[SumsOfUnits, tuple[str, ...]]


def flag(kind: str, message: str) -> str:
    """A flag as records hold them: one line that begins with its kind."""
    return shorten(one_line(f"{kind}: {message}"), MAX_FLAG, placeholder="…")


def of_today(spec: BenchmarkSpec, brief: Brief) -> list[str] | None:
    """Flags of a record, with those that follow from what the benchmark declares today."""
    kept = brief.content["flags"]
    found = []
    for split, parts in brief.content["scores"].items():
        score = SplitScore.model_construct(split=split, metrics=_metrics(parts[""]["metrics"]))
        doubt = below_discretisation_error(spec, score)
        found += [] if doubt is None else [doubt.flag]
    others = [flag for flag in kept or () if kind_of_flag(flag) != BELOW]
    return [*others, *found] if kept is not None or found else None


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
        for brief in group:
            text = since if brief.name == first else before
            flags[brief.submission] = flag("same_predictions", text)
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
    first = None if ranked.empty else numbers.get(ranked["submission"].iloc[0])
    copies = [first is not None and numbers.get(name) == first for name in ranked["submission"]]
    lead = far_ahead(spec, metric, ranked, copies, units_of)
    rows: list[list[str] | None] = []
    for brief in briefs:
        flags = of_today(spec, brief)
        found = [repeated[brief.submission]] if brief.submission in repeated else []
        if lead is not None and lead[0] == brief.submission:
            found.append(lead[1])
        rows.append([*(flags or ()), *found] if found else flags)
    return rows


def far_ahead(
    spec: BenchmarkSpec,
    metric: Metric,
    ranked: pd.DataFrame,
    copies: Sequence[bool],
    units_of: Callable[[str], Units | None],
) -> tuple[str, str] | None:
    """The first row and its flag, if its error is far below that of the next one.

    The two must also be told apart, where so many units can tell any two models apart.

    Args:
        spec: the benchmark.
        metric: what the board is ranked by.
        ranked: the ranked rows, best first.
        copies: which of them hold the predictions of the first: a copy is no next row.
        units_of: unit sums of a submission with the names of its units.
    """
    place = next((place for place, is_copy in enumerate(copies) if not is_copy), None)
    if not place or not has_gains(metric):
        return None
    errors = errors_of(metric, ranked["score"].to_numpy(dtype=float)[[0, place]])
    if not errors[0] < FAR_AHEAD * errors[1]:
        return None
    first, second = ranked.iloc[0], ranked.iloc[place]
    if smallest_p(int(first["units"])) <= ALPHA:
        try:
            sums = [units_of(row["submission"]) for row in (first, second)]
        except UserError:
            # A damaged table is no reason to show no board.
            return None
        if sums[0] is None or sums[1] is None or sums[0][1] != sums[1][1]:
            return None
        least = spec.smallest_difference_of(metric.id, float(first["score"]))
        if verdict(metric, sums[0][0], sums[1][0], least).relation != "better":
            return None
    unit = metric.unit_for(spec.target.unit)
    texts = [number(error) + ("" if unit == "1" else f" {unit}") for error in errors.tolist()]
    what = f"1 − {metric.id}" if metric.higher_is_better else metric.id
    message = (
        f"split {first['split']!r}: {what} {texts[0]} is less than a third of {texts[1]}, that of"
        f" the next row, {second['model']}; so long a lead is worth a second look"
    )
    return first["submission"], flag("far_ahead", message)


def _metrics(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, MetricScore]:
    return {name: MetricScore.model_construct(value=score["value"])
            for name, score in metrics.items()}  # fmt: skip
