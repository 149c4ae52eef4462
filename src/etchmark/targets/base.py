"""What a kind of target is: everything that differs between predicting a number and a mask.

A kind reads labels, reads and checks predictions, and turns both into *terms*: additive numbers of
single samples, named per kind. Scores, intervals, ranks and comparisons are made from the sums of
these terms alone, so nothing above this package knows which kinds there are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from etchmark import predictions
from etchmark.columns import Columns
from etchmark.predictions import Declared
from etchmark.predictions.reading import Cells
from etchmark.predictions.streaming import StreamedPredictions
from etchmark.targets.cells import CellRule
from etchmark.targets.definitions import Metric
from etchmark.targets.evidence import Evidence
from etchmark.targets.labels import Labels, Truth
from etchmark.targets.pictures import Pictures

Read = predictions.Predictions | StreamedPredictions
Part = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Ids, predictions and integer seeds of some rows of a predictions file."""


@dataclass(frozen=True)
class Job:
    """A split whose predictions are to be measured."""

    benchmark: str
    """Named in messages."""
    target: Any
    """The benchmark's ``Target``, of the kind that measures."""
    metrics: Sequence[str]
    truth: Truth
    columns: Columns
    """Those that the target declares."""
    training: Callable[[], Iterator[tuple[np.ndarray | slice, Labels]]]
    """Yields samples of the split with the labels that a model for them may learn from."""
    seeds: list[int]
    order: np.ndarray
    """Rows of the predictions file, shape (seeds, samples)."""
    pictured: bool = False
    """Keep a picture of one sample."""


@dataclass(frozen=True)
class Trivial:
    """Terms of a prediction that needs no model, for comparison with submitted ones."""

    terms: Mapping[str, np.ndarray]
    """Shape (samples,) each."""
    what: str
    """What was predicted, as the object of a sentence."""


@dataclass(frozen=True)
class Outcome:
    """What is kept of the predictions of a split.

    ``terms`` and ``outputs`` have the shape (seeds, samples, ...), ``labels`` (samples, ...).
    Together they make the per-sample table, where each stands under its name.
    """

    terms: dict[str, np.ndarray]
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    picture: bytes | None = None
    """A picture of some predictions of the first seed, as a PNG that the kind can read."""
    evidence: Evidence | None = None
    trivial: Trivial | None = None


class TargetKind(ABC):
    """Everything that the hub must know about one kind of target."""

    name: str
    metrics: tuple[Metric, ...]
    sample_metric: str
    """An error that every sample has by itself, for comparing models sample by sample."""
    streamed = False
    """Whether labels are too large to be held at once."""
    piece = "sample"
    """What prediction times are given for: a sample, or a part of one such as a frame."""
    least_samples = 10
    """With fewer training samples a curve has no point: no choice can be made inside of them."""

    # --- what is declared ---

    def metric(self, name: str) -> Metric | None:
        """A metric by its id; None if this kind has none of that name."""
        return next((metric for metric in self.metrics if metric.id == name), None)

    def families(self, target: Any) -> list[str]:
        """Ids of metrics that a target has beside ``metrics``, such as one per component."""
        return []

    @abstractmethod
    def term_names(self, target: Any) -> tuple[str, ...]:
        """Names of the terms that samples of a target have."""

    def facts(self, target: Any) -> list[tuple[str, str]]:
        """Labels and texts that describe a target beside its column and unit."""
        return []

    @abstractmethod
    def cell_rules(self, target: Any, *, released: bool) -> Mapping[str, CellRule]:
        """What the stored columns of a target must hold.

        Args:
            target: the benchmark's target.
            released: whether the data are the released ones; other data, such as those of a small
                config, may have frames of another size.

        Returns:
            Rules by the key of the target that names the column, such as ``bounds.lower``.
        """

    # --- labels ---

    def read(self, columns: Columns, target: Any) -> Labels:
        """Labels of a split."""
        return columns[target.column]

    def check_stored(  # noqa: B027 (a kind may have nothing to check)
        self, columns: Columns, target: Any, benchmark: str, *, scored: bool
    ) -> None:
        """Refuse a split whose stored values contradict what the target declares.

        Types are known to follow ``cell_rules``. It is called before a model is run, so that
        nothing of this kind ends a run that took hours.

        Args:
            columns: of the split.
            target: the benchmark's target.
            benchmark: named in messages.
            scored: whether predictions of the split are scored, or it is trained on alone.

        Raises:
            UserError: they do.
        """

    def prediction_shape(self, labels: Labels, target: Any) -> tuple[int, ...]:
        """Shape of one prediction of a split; empty for a single value."""
        return tuple(labels.shape[1:])

    def cells(self, target: Any) -> Cells:
        """What a prediction is made of."""
        return "number"

    def shares_of(self, target: Any) -> list[str] | None:
        """Classes whose probabilities a prediction holds, in this order; None if it holds none."""
        return None

    def prediction_note(self, target: Any) -> str | None:
        """One paragraph of Markdown on how a prediction is written; None if that is plain."""
        return None

    def input_limits(self, target: Any) -> dict[str, int]:
        """Largest value that some inputs of a model may have, by column."""
        return {}

    # --- predictions ---

    def pieces(self, shape: Sequence[int]) -> int:
        """How many of ``piece`` one prediction of this shape holds."""
        return 1

    def checked(self, returned: Any, rows: int, shape: Sequence[int], target: Any) -> np.ndarray:
        """What a model's ``predict`` returned, as it goes into a predictions file.

        Args:
            returned: what ``predict`` returned.
            rows: number of samples.
            shape: of one prediction.
            target: the declared fields as a dict, since a model's process reads no records.

        Raises:
            ValueError: it is not what was asked for.
        """
        return numbers(returned, rows, shape)

    def write(
        self, path: Path, parts: Iterable[Part], declared: Declared, *, seeds: bool = True
    ) -> None:
        """Write a predictions file.

        Args:
            path: where.
            parts: rows of the file.
            declared: kept in its metadata.
            seeds: whether the file says which seed made a row.
        """
        ids, values, numbers = (
            np.concatenate(parts) for parts in map(list, zip(*parts, strict=True))
        )
        predictions.write(path, ids, values, seeds=numbers if seeds else None, declared=declared)

    def write_template(
        self, folder: Path, truths: Iterable[Truth], target: Any, declared: Declared
    ) -> list[Path]:
        """Write ``predictions.parquet`` to fill in; it is refused until it is filled."""
        truths = list(truths)
        ids = np.concatenate([truth.ids for truth in truths])
        shape = self.prediction_shape(truths[0].target, target)
        paths = [folder / "predictions.parquet"]
        if not shape:
            paths.append(folder / "predictions.csv")
        for path in paths:
            predictions.write(path, ids, self.blank(len(ids), shape), declared=declared)
        return paths

    def blank(self, rows: int, shape: Sequence[int]) -> np.ndarray:
        """Predictions that a template holds."""
        return np.full((rows, *shape), np.nan)

    @abstractmethod
    def read_predictions(
        self, path: Path, rows: int, shapes: Iterable[tuple[int, ...]], target: Any
    ) -> Read:
        """Read a predictions file without trusting it.

        Args:
            path: the file.
            rows: number of samples that exist in all splits; bounds what is read.
            shapes: shapes of a prediction of each split.
            target: the benchmark's target.

        Raises:
            UserError: the file is not a well-formed predictions file.
        """

    def check_values(self, path: Path, given: Any, target: Any) -> None:
        """Refuse predictions in memory that the target cannot have as values.

        Args:
            path: named in messages.
            given: what ``read_predictions`` returned.
            target: the benchmark's target.

        Raises:
            UserError: there are some.
        """
        predictions.check_finite(path, given)

    # --- scores ---

    @abstractmethod
    def measure(self, path: Path, given: Any, jobs: Mapping[str, Job]) -> dict[str, Outcome]:
        """What scores of every split are made from.

        Args:
            path: named in messages.
            given: what ``read_predictions`` returned.
            jobs: by split.

        Raises:
            UserError: a prediction is not what was asked for.
        """

    def among(self, outcome: Outcome, member: np.ndarray) -> dict[str, np.ndarray]:
        """Terms of some of the samples; ``member`` are truth values of shape (samples,)."""
        return {name: values[:, member] for name, values in outcome.terms.items()}

    def derived_terms(self, terms: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Terms of samples that follow from others and are never stored, shape (seeds, samples)."""
        return {}

    # --- the per-sample table ---

    stores_terms = True
    """Whether the table holds terms; if not, they are made from the labels and outputs in it."""

    def column_type(self, name: str) -> pa.DataType | None:
        """What a column of a per-sample table holds; None if this kind has no such column."""
        return None

    def is_label(self, name: str) -> bool:
        """Whether a column of a per-sample table belongs to the labels."""
        return name == "target"

    def is_term(self, name: str) -> bool:
        """Whether a column of a per-sample table that is not a label holds a term."""
        return name != "prediction" and self.column_type(name) == pa.float64()

    def terms_of(
        self, labels: dict[str, np.ndarray], outputs: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Terms from what a table holds instead of them."""
        raise NotImplementedError

    def horizon(self, outcome: Outcome) -> np.ndarray | None:
        """Squared error of each step of a prediction, shape (seeds, samples, steps), if any."""
        return None

    def pictures(self, content: bytes, ids: Sequence[str]) -> Pictures:
        """What ``Outcome.picture`` shows.

        Args:
            content: the picture that was kept.
            ids: of the samples of the split, in the order of the table.

        Raises:
            ValueError: it is not a picture of this kind.
        """
        raise ValueError(f"predictions of kind {self.name} have no pictures")


def numbers(returned: Any, rows: int, shape: Sequence[int]) -> np.ndarray:
    """Finite numbers of shape (rows, *shape), as a model returned them.

    Raises:
        ValueError: they are something else.
    """
    values = _returned(returned, rows, shape, "biuf", "numbers")
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values.reshape(rows, -1)).all(axis=1)).sum())
        raise ValueError(f"predict returned {bad} rows that are not finite")
    return values


def whole_numbers(returned: Any, rows: int, shape: Sequence[int]) -> np.ndarray:
    """Whole numbers of shape (rows, *shape), as a model returned them.

    Raises:
        ValueError: they are something else.
    """
    return _returned(returned, rows, shape, "biu", "whole numbers")


def _returned(returned: Any, rows: int, shape: Sequence[int], kinds: str, what: str) -> np.ndarray:
    values = np.asarray(returned)
    if values.dtype.kind not in kinds:
        raise ValueError(f"predict returned {values.dtype}, not {what}")
    if values.shape == (rows, 1) and not shape:
        values = values[:, 0]
    if values.shape != (rows, *shape):
        raise ValueError(f"predict returned shape {values.shape}, expected {(rows, *shape)}")
    return values
