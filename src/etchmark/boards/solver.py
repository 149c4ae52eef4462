"""What the solver behind simulated labels costs where it is as accurate as a row of a board.

``tests/reliability/solver.py`` measures it and writes ``solver.json`` beside the reviewed results
of a content folder; a benchmark that has no solver is not in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field, ValidationError

from etchmark.boards.costs import RUN
from etchmark.catalog import Catalog, results_of
from etchmark.specs import BenchmarkSpec, Line, Record, reference_units
from etchmark.targets import metric as metric_by_id
from etchmark.text import number

FILE = "solver.json"
Seconds = Annotated[float, Field(ge=0)]


class _Point(Record):
    """One setting of the solver."""

    setting: Line
    cpu_seconds_each: Seconds
    """Processor seconds of one sample, or of one frame where frames are predicted."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Against the labels, by metric; empty where ``row`` has them."""
    row: str | None = None
    """The model on the board that is the solver with this setting."""


class _Measured(Record):
    """The settings of one board, timed in one run."""

    solver: Line
    split: str
    samples: int
    hardware: Line
    load_average: float
    reference_cpu_seconds: tuple[Seconds, Seconds]
    points: list[_Point]


@dataclass(frozen=True)
class SolverPoint:
    """A setting of the solver with its score on a board.

    Attributes:
        setting: in words.
        score: in the metric of the board.
        cpu_seconds_each: processor seconds of one sample or frame.
        units_each: the same in reference units.
    """

    setting: str
    score: float
    cpu_seconds_each: float
    units_each: float | None


@dataclass(frozen=True)
class Solver:
    """The settings of a board's solver, cheapest first.

    Attributes:
        name: of the solver, in words.
        samples: number of samples that it was timed on.
        direction: of the metric.
        points: the settings.
    """

    name: str
    samples: int
    direction: Literal["higher", "lower"]
    points: tuple[SolverPoint, ...]

    def as_accurate(self, score: float) -> SolverPoint | None:
        """The cheapest setting that is at least as accurate; None where none is."""
        higher = self.direction == "higher"
        for point in self.points:
            if point.score >= score if higher else point.score <= score:
                return point
        return None

    def of_row(self, row: Mapping[Any, Any]) -> SolverPoint | None:
        """The same for a row of the board; None also for the solver itself and without a score."""
        score = row["score"]
        if score is None or pd.isna(score) or row["role"] == "oracle":
            return None
        return self.as_accurate(float(score))

    def short(self, row: Mapping[Any, Any]) -> str:
        """Time and setting of the solver that is as accurate as a row; a dash where none is."""
        point = self.of_row(row)
        if point is None:
            return "–"
        return f"{number(1000 * point.cpu_seconds_each)} ms: {point.setting}"

    def in_words(self, row: Mapping[Any, Any], each: str) -> str | None:
        """A sentence on the solver that is as accurate as a row; None where none is.

        Args:
            row: of the board.
            each: what a prediction is of.
        """
        point = self.of_row(row)
        if point is None:
            return None
        units = "" if point.units_each is None else f" ({number(point.units_each)} reference units)"
        own = seconds_each(row)
        return (
            f"The solver ({self.name}; {point.setting}) is at least as accurate and takes"
            f" {number(1000 * point.cpu_seconds_each)} ms of processor time per {each}{units};"
            f" {'the time of this model is unknown' if own is None else f'this model takes {own}'}."
        )


def with_solver(frame: pd.DataFrame, solver: Solver | None) -> pd.DataFrame:
    """Rows of a board with setting, seconds and reference units of the solver beside each.

    The columns are ``solver_setting``, ``solver_cpu_seconds_each`` and ``solver_units_each``; the
    frame is returned as it is where there is no solver.
    """
    if solver is None:
        return frame
    points = [solver.of_row(row) for row in frame.to_dict("records")]
    nothing = SolverPoint("", float("nan"), float("nan"), None)
    known = [point or nothing for point in points]
    return frame.assign(
        solver_setting=pd.Series([point.setting or None for point in known], frame.index),
        solver_cpu_seconds_each=[point.cpu_seconds_each for point in known],
        solver_units_each=pd.Series([point.units_each for point in known], frame.index),
    )


def seconds_each(row: Mapping[Any, Any]) -> str | None:
    """Time of one prediction of a row: processor time where it is known, else wall time."""
    for column, mark in (("cpu_seconds_each", ""), ("seconds_each", " of wall time")):
        value = row[column]
        if row["status"] in RUN and value is not None and not pd.isna(value):
            return f"{number(1000 * value)} ms{mark}"
    return None


def solver_of(
    catalog: Catalog, spec: BenchmarkSpec, metric: str, split: str, frame: pd.DataFrame
) -> Solver | None:
    """The solver of a board; None where there is none, or none of its settings has a score.

    Args:
        catalog: the content in use.
        spec: the benchmark.
        metric: what is scored.
        split: on which samples.
        frame: rows of the board, of which those of the solver itself are read.
    """
    measured = _measured(catalog, spec)
    if measured is None or measured.split != split:
        return None
    rows = frame[(frame["role"] == "oracle") & frame["score"].notna()]
    of_rows = dict(zip(rows["model"], rows["score"], strict=True))
    points = []
    for point in measured.points:
        score: Any = point.scores.get(metric) if point.row is None else of_rows.get(point.row)
        if score is not None:
            seconds = point.cpu_seconds_each
            units = reference_units(seconds, measured.reference_cpu_seconds)
            points.append(SolverPoint(point.setting, float(score), seconds, units))
    if not points:
        return None
    points.sort(key=lambda point: point.cpu_seconds_each)
    direction = "higher" if metric_by_id(metric).higher_is_better else "lower"
    return Solver(measured.solver, measured.samples, direction, tuple(points))


def _measured(catalog: Catalog, spec: BenchmarkSpec) -> _Measured | None:
    for root in catalog.roots:
        try:
            boards = json.loads((results_of(root) / FILE).read_text(encoding="utf-8"))
            if isinstance(boards, dict) and spec.key in boards:
                return _Measured.model_validate_json(json.dumps(boards[spec.key]))
        except (OSError, ValueError, ValidationError):
            # No board depends on this file.
            continue
    return None
