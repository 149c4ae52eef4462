"""Write ``docs/findings.md`` and ``docs/literature.md``: ``python docs/make_findings.py``.

Their templates, of the same names with ``.j2``, hold the sentences. Every number in them, and every
statement that one model is better than another, is computed here from the public Python interface,
as the leaderboard and the comparison page show it. A statement that the records do not support
stops the script, so the pages cannot say more than the boards do.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import etchmark
from etchmark.boards.compare import errors, sides
from etchmark.boards.samples import sample_scores
from etchmark.boards.solver import SolverPoint, solver_of
from etchmark.boards.statements import doubts, gains, the_best
from etchmark.catalog import catalog
from etchmark.registry.store import Store
from etchmark.scoring.separation import ALPHA, smallest_p
from etchmark.specs import BenchmarkSpec
from etchmark.specs.cards import TRAINING_CURVE

DOCS = Path(__file__).resolve().parent
PAGES = ("findings.md", "literature.md")
"""Each is written from the template of its name with ``.j2`` appended."""
NO_BREAK = "\N{NO-BREAK SPACE}"


class UnsupportedClaimError(Exception):
    """A sentence of the template says what the records do not show."""


def require(condition: object, claim: str) -> None:
    """Stop unless the records support a claim of the template."""
    if not condition:
        raise UnsupportedClaimError(f"the records do not show: {claim}; correct the template")


@cache
def _board(benchmark: str, protocol: str, split: str, metric: str) -> pd.DataFrame:
    frame = etchmark.standings(benchmark, protocol=protocol, split=split, metric=metric)
    require(frame["model"].is_unique, f"models of {benchmark}, {protocol} have names of their own")
    return frame.set_index("model")


@cache
def _pairs(benchmark: str, protocol: str, metric: str, models: tuple[str, str]) -> pd.DataFrame:
    frame = etchmark.compare(benchmark, *models, protocol=protocol, metric=metric)
    return frame.set_index("split")


def decimals(value: float, metric: str) -> int:
    """How many decimals a score of this size is shown with."""
    if metric.startswith("rmse"):
        return 4 if abs(value) < 0.01 else 3
    if metric == "reconstruction_score":
        return 3
    if metric == "mape":
        return 0 if abs(value) >= 100 else 1
    return 1


def span(values: Iterable[float], places: int) -> str:
    """Smallest and largest of several values, ``38 to 61``; one number where they round alike."""
    present = list(values)
    low, high = f"{min(present):.{places}f}", f"{max(present):.{places}f}"
    return low if low == high else f"{low} to {high}"


def significant(value: float, digits: int = 2) -> str:
    """A positive number with so many significant digits, without an exponent."""
    places = digits - 1 - math.floor(math.log10(value))
    return f"{round(value, places):.{max(places, 0)}f}"


def join(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


@dataclass(frozen=True)
class Difference:
    """Score of a first model minus that of a second, with the paired 95 % interval."""

    value: float
    low: float
    high: float
    better: str
    """The better of the two, empty where they are not told apart or equal in practice."""
    relation: str
    """Of the first to the second, in the words of ``etchmark.compare``."""

    def by(self, places: int) -> str:
        return f"{self.value:.{places}f}"

    def range(self, places: int) -> str:
        return f"{self.low:.{places}f} to {self.high:.{places}f}"


@dataclass(frozen=True)
class Score:
    """One metric on one split: what a column of a board holds."""

    benchmark: str
    protocol: str
    split: str
    metric: str

    def on(self, split: str) -> Score:
        """The same metric on another split."""
        return Score(self.benchmark, self.protocol, split, self.metric)

    def by(self, metric: str) -> Score:
        """Another metric on the same split."""
        return Score(self.benchmark, self.protocol, self.split, metric)

    @property
    def board(self) -> pd.DataFrame:
        return _board(self.benchmark, self.protocol, self.split, self.metric)

    def row(self, model: str) -> dict[str, Any]:
        """What the board says of a model, by column."""
        return {str(name): value for name, value in self.board.loc[model].items()}

    def models(self, *starts: str) -> list[str]:
        """Names that begin with one of these, best first; all if none is given."""
        return [name for name in self.board.index if name.startswith(starts or "")]

    def best(self, models: Iterable[str]) -> str:
        """The model with the smallest error."""
        return min(models, key=self.value)

    def value(self, model: str) -> float:
        return float(self.row(model)["score"])

    def values(self, models: Iterable[str]) -> list[float]:
        return [self.value(model) for model in models]

    def show(self, model: str, places: int | None = None) -> str:
        """The score as text."""
        value = self.value(model)
        return f"{value:.{decimals(value, self.metric) if places is None else places}f}"

    def interval(self, model: str) -> str:
        """The score with its 95 % interval as text."""
        row = self.row(model)
        places = decimals(row["score"], self.metric)
        return "{:.{p}f} [{:.{p}f}, {:.{p}f}]".format(
            row["score"], row["ci_low"], row["ci_high"], p=places
        )

    def span(self, models: Iterable[str], places: int) -> str:
        return span(self.values(models), places)

    def gap(self, first: str, second: str) -> Difference:
        pairs = _pairs(self.benchmark, self.protocol, self.metric, (first, second))
        row: dict[Any, Any] = pairs.loc[self.split].to_dict()
        names = ("difference", "ci_low", "ci_high", "better", "relation")
        return Difference(*(row[name] for name in names))

    def better(self, first: str, second: str) -> bool:
        """Whether the first model is shown to be better than the second."""
        return first != second and self.gap(first, second).better == first

    def closer(self, first: str, second: str) -> int:
        """On how many samples the first model has the smaller error."""
        stored = Store()
        entries = [stored.get(str(self.row(model)["submission"])) for model in (first, second)]
        pair = sides([entry for entry in entries if entry is not None])
        compared = errors(pair, self.split, self.metric)
        share, _ = compared.shares(*(side.name for side in pair))
        return round(share * len(compared.frame))

    def share_of_worst(self, model: str, count: int) -> float:
        """Share of the squared error that the worst samples hold."""
        entry = Store().get(str(self.row(model)["submission"]))
        samples = entry and sample_scores(entry, self.split)
        require(samples, f"a per-sample table of {model}")
        squared = np.sort(samples.terms["sum_sq_e"].mean(axis=0) if samples else ())
        return float(squared[-count:].sum() / squared.sum())

    def relation(self, first: str, second: str) -> str:
        """What the data show: better, worse, equal in practice or not told apart."""
        return self.gap(first, second).relation

    @property
    def spec(self) -> BenchmarkSpec:
        return catalog().benchmark(self.benchmark)

    def best_rows(self) -> str:
        """Which rows may be the best and which of them are flagged, as the board says it."""
        frame = self.board.reset_index()
        said = (the_best(self.spec, frame), doubts(frame))
        return self._quoted(" ".join(sentence for sentence in said if sentence))

    def gains(self) -> str:
        """How many entries beat the declared reference, as the board says it."""
        sentence = gains(self.spec, self.board.reset_index())
        require(sentence, f"gains over the reference of {self.benchmark}")
        return self._quoted(sentence or "")

    def _quoted(self, sentence: str) -> str:
        """A sentence with the names of models set as code."""
        # Longer names first: one may begin with another.
        names = "|".join(map(re.escape, sorted(self.models(), key=len, reverse=True)))
        return re.sub(rf"(?<![\w/-])(?:{names})(?![\w/-])", r"`\g<0>`", sentence)

    def solver(self, model: str) -> SolverPoint:
        """The cheapest setting of the board's solver that is at least as accurate as a model."""
        frame = self.board.reset_index()
        solver = solver_of(catalog(), self.spec, self.metric, self.split, frame)
        point = None if solver is None else solver.of_row({**self.row(model), "model": model})
        if point is None:
            raise UnsupportedClaimError(f"no solver of {self.benchmark} is as accurate as {model}")
        return point

    def solver_samples(self) -> int:
        """How many samples the board's solver was timed on."""
        frame = self.board.reset_index()
        solver = solver_of(catalog(), self.spec, self.metric, self.split, frame)
        return 0 if solver is None else solver.samples

    def shown(self) -> list[str]:
        """Entries that are shown to beat the declared reference, by the test of the whole board."""
        frame = self.board
        beats = (frame["gain_relation"] == "better") & (frame["role"] == "entry")
        return self._where(beats.fillna(value=False))

    def may_be_best(self) -> list[str]:
        """Models that may be the best, best first."""
        return self._where(self.board["may_be_best"].fillna(value=False))

    def ranked(self, *starts: str) -> list[str]:
        """Entries and references whose names begin with one of these, best first."""
        ranked = set(self._where(self.board["rank"].notna()))
        return [name for name in self.models(*starts) if name in ranked]

    def of_role(self, role: str) -> list[str]:
        """Models of one role, best first."""
        return self._where(self.board["role"] == role)

    def _where(self, kept: Any) -> list[str]:
        """Models for which a column of truth values holds, best first."""
        return [str(name) for name in self.board.index[kept.to_numpy(dtype=bool)]]

    def folds(self, model: str) -> list[float]:
        """The score of each fold."""
        entry = Store().get(str(self.row(model)["submission"]))
        scored = entry and entry.record.score_of(self.split)
        values = [fold.values[self.metric] for fold in scored.folds] if scored else []
        return [value for value in values if value is not None]

    def discretisation_error(self) -> float:
        """What the benchmark declares as the size of the discretisation error of its labels."""
        declared = self.spec.discretisation_error
        size = declared and declared.size_on(self.metric, self.split)
        if size is None:
            raise UnsupportedClaimError(
                f"{self.benchmark} declares no discretisation error of {self.metric} on"
                f" {self.split}"
            )
        return size


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    heading: str
    text: Callable[[str], str]
    value: Callable[[str], float] | None = None
    """Where the smallest value is set in bold."""


def column(heading: str, score: Score, *, interval: bool = False, bold: bool = False) -> Column:
    """Scores of one kind."""

    def in_one_line(model: str) -> str:
        return score.interval(model).replace(" ", NO_BREAK)

    return Column(heading, in_one_line if interval else score.show, score.value if bold else None)


def time_column(heading: str, score: Score) -> Column:
    """Milliseconds per predicted sample or frame."""
    return Column(heading, lambda model: significant(1000 * score.row(model)["seconds_each"]))


def table(
    title: str, columns: Sequence[Column], rows: Mapping[str, str | Sequence[str | None]]
) -> str:
    """A table in Markdown.

    Args:
        title: heading of the first column.
        columns: the others.
        rows: by label, the model of the row, or one for each column; None leaves a cell empty.
    """
    models = [
        [given] * len(columns) if isinstance(given, str) else list(given) for given in rows.values()
    ]
    cells = [
        [column.text(name) if name else "" for column, name in zip(columns, row, strict=True)]
        for row in models
    ]
    for at, column in enumerate(columns):
        if column.value is not None:
            values = [column.value(row[at] or "") if row[at] else math.inf for row in models]
            best = values.index(min(values))
            score, space, rest = cells[best][at].partition(NO_BREAK)
            cells[best][at] = f"**{score}**{space}{rest}"
    headings = [title, *(column.heading for column in columns)]
    lines = [headings, ["---"] * len(headings)]
    lines += [[label, *row] for label, row in zip(rows, cells, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parameters(score: Score, model: str) -> str:
    """The number of fitted parameters, in thousands."""
    return f"{score.row(model)['parameters'] / 1000:.0f} k"


def fit_minutes(model: str, *boards: Score) -> list[float]:
    """Training time of a model on each board."""
    return [float(board.row(model)["fit_seconds"]) / 60 for board in boards]


def training(score: Score, model: str) -> list[tuple[float, float]]:
    """Processor minutes and the error on validation samples, epoch by epoch of a training."""
    entry = Store().get(str(score.row(model)["submission"]))
    curves = entry.record.curves if entry else []
    points = [
        (point.value / 60, point.score.value)
        for curve in curves
        if curve.name == TRAINING_CURVE
        for point in curve.points
        if point.score is not None
    ]
    require(points, f"how the training of {model} went")
    return points


def minutes_until(score: Score, model: str, other: str) -> float:
    """Processor minutes until a model is as good on validation samples as another in the end."""
    goal = min(error for _, error in training(score, other))
    reached = [minutes for minutes, error in training(score, model) if error <= goal]
    require(reached, f"{model} becomes as good as {other}")
    return reached[0]


def step_milliseconds() -> list[float]:
    """Time per frame of every run of the stepper."""
    boards = [
        Score(benchmark, "holdout", "test", "rmse")
        for benchmark in catalog().benchmark_names()
        if benchmark.endswith(("-forecast", "-forecast-10"))
    ]
    return [
        1000 * float(board.row(name)["seconds_each"])
        for board in boards
        for name in board.models("stepper/")
    ]


def fine_tuning(cut: str, weights: str, images: str) -> list[float]:
    """Errors of the draws of the study of fine-tuning, in %."""
    path = DOCS.parent / "tests" / "reliability" / "fine_tuning.json"
    tree = json.loads(path.read_text(encoding="utf-8"))["results"]
    return tree[cut][weights][images]["errors"]


def page(name: str) -> str:
    """A page as the records have it."""
    environment = Environment(
        loader=FileSystemLoader(DOCS),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (Markdown, from our own records)
        extensions=["jinja2.ext.do"],
    )
    environment.tests |= {
        "below": lambda model, score, value: score.value(model) < value,
        "begins": str.startswith,
        "ends": str.endswith,
        "better_than": lambda model, score, other: score.better(model, other),
        "worse_than": lambda model, score, other: score.better(other, model),
    }
    environment.filters |= {
        "ceiling": lambda value, places: math.ceil(value * 10**places) / 10**places,
        "fit_minutes": fit_minutes,
        "gain": lambda model, score, other: score.value(other) - score.value(model),
        "on_split": lambda split, score, model: score.on(split).value(model),
        "prefix": lambda text, start: start + text,
        "ratio": lambda model, score, other: score.value(model) / other.value(model),
        "time_ratio": lambda score, model, other: (
            score.row(model)["seconds_each"] / score.row(other)["seconds_each"]
        ),
    }
    words: dict[str, Any] = {
        "score": Score,
        "column": column,
        "time_column": time_column,
        "table": table,
        "require": require,
        "span": span,
        "significant": significant,
        "smallest_p": smallest_p,
        "alpha": ALPHA,
        "parameters": parameters,
        "step_milliseconds": step_milliseconds,
        "training": training,
        "minutes_until": minutes_until,
        "fine_tuning": fine_tuning,
    }
    return environment.get_template(f"{name}.j2").render(words)


def main() -> None:
    # Only the reviewed results of this checkout count, not what was submitted on this machine.
    os.environ.pop("ETCHMARK_CONTENT", None)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ETCHMARK_HOME"] = folder
        try:
            texts = {name: page(name) for name in PAGES}
        except UnsupportedClaimError as error:
            sys.exit(f"error: {error}")
    from etchmark import files

    for name, text in texts.items():
        files.write_text(DOCS / name, text)


if __name__ == "__main__":
    main()
