"""Per-sample outcomes of a split, and the table that stores them beside a result record."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark.columns import array_column, nesting, parquet_file, to_numpy
from etchmark.scoring import uncertainty
from etchmark.specs import KINDS
from etchmark.targets import TargetKind, kind_named, untagged_kind
from etchmark.targets.base import Outcome

SUBSET = "subset_"
"""Prefix of the table's columns that say which samples belong to a subset."""
PICTURE = "rollout"
"""Column with a picture of one predicted sample, null for all others."""
COMMON = ("split", "id", "seed", "unit", "fold")
"""Columns that every per-sample table has."""
KIND = b"etchmark.kind"
"""Metadata key of the table that names its kind of target."""


@dataclass(frozen=True)
class SampleScores:
    """Per-sample outcome of one split: all that scores, intervals and ranks are computed from.

    Attributes:
        split: its name.
        ids: sample ids, shape (samples,).
        units: independent unit of each sample, shape (samples,).
        folds: fold of each sample, shape (samples,); None without folds.
        seeds: seeds of the predictions, in the order of the first axis of all terms.
        kind: name of the kind of target.
        outcome: what the kind of target keeps of labels and predictions.
        subsets: membership of each sample, shape (samples,) each, keyed by subset.
    """

    split: str
    ids: np.ndarray
    units: np.ndarray
    folds: np.ndarray | None
    seeds: list[int]
    kind: str
    outcome: Outcome
    subsets: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def terms(self) -> dict[str, np.ndarray]:
        """Terms that metrics are computed from, shape (seeds, samples) each.

        Those that are kept, and those that the kind derives from them.
        """
        return {**self.outcome.terms, **kind_named(self.kind).derived_terms(self.outcome.terms)}

    @property
    def target(self) -> np.ndarray | None:
        """Labels, shape (samples,); None unless they are single numbers."""
        return _numbers(self.outcome.labels.get("target"), 1)

    @property
    def prediction(self) -> np.ndarray | None:
        """Predictions, shape (seeds, samples); None unless they are single numbers."""
        return _numbers(self.outcome.outputs.get("prediction"), 2)

    def sums(self) -> uncertainty.SumsOfUnits:
        """Sums of every term over each unit, shape (seeds, units) each."""
        return self._sums

    @cached_property
    def _sums(self) -> uncertainty.SumsOfUnits:
        # Kept: scores, intervals and what boards read are all computed from them.
        return uncertainty.unit_sums(self.terms, self.units)

    def among(self, member: np.ndarray) -> SampleScores:
        """The outcome of the samples where ``member`` (shape (samples,)) is true."""
        whole = self.outcome
        outcome = Outcome(
            terms=kind_named(self.kind).among(whole, member),
            labels={name: values[member] for name, values in whole.labels.items()},
            outputs={name: values[:, member] for name, values in whole.outputs.items()},
        )
        return replace(
            self,
            ids=self.ids[member],
            units=self.units[member],
            folds=None if self.folds is None else self.folds[member],
            outcome=outcome,
            subsets={name: values[member] for name, values in self.subsets.items()},
        )

    def subset(self, name: str) -> SampleScores | None:
        """The outcome of a subset; None if it is empty or its membership is unknown."""
        if name not in self._subsets:
            member = self.subsets.get(name)
            known = member if member is not None and member.any() else None
            self._subsets[name] = None if known is None else self.among(known)
        return self._subsets[name]

    @cached_property
    def _subsets(self) -> dict[str, SampleScores | None]:
        return {}


def _numbers(values: np.ndarray | None, axes: int) -> np.ndarray | None:
    return values if values is not None and values.ndim == axes and values.dtype == float else None


def to_table(samples: list[SampleScores]) -> pa.Table:
    """Per-sample table: one row per split × seed × sample.

    Beside ids, units, folds and subsets it holds what the kind of target keeps: labels and
    predictions, or the terms of every metric.
    """
    has_picture = any(scores.outcome.picture for scores in samples)
    parts = [_split_table(scores, has_picture=has_picture) for scores in samples]
    return pa.concat_tables(parts)


def _split_table(scores: SampleScores, *, has_picture: bool) -> pa.Table:
    kind, outcome = kind_named(scores.kind), scores.outcome
    seeds = len(scores.seeds)
    rows = len(scores.ids) * seeds
    columns: dict[str, object] = {
        "split": [scores.split] * rows,
        "id": list(np.tile(scores.ids, seeds)),
        "seed": np.repeat(np.array(scores.seeds, dtype=np.int64), len(scores.ids)),
        "unit": list(np.tile(scores.units, seeds)),
        "fold": np.tile(scores.folds, seeds).astype(np.int32)
        if scores.folds is not None
        else pa.nulls(rows, pa.int32()),
    }
    for name, values in outcome.labels.items():
        columns[name] = _column(kind, name, np.concatenate([values] * seeds))
    if kind.stores_terms:
        for name, values in outcome.terms.items():
            # A term that no sample has takes no column.
            if not np.isnan(values).all():
                columns[name] = values.reshape(-1)
    for name, values in outcome.outputs.items():
        columns[name] = _column(kind, name, values.reshape(rows, *values.shape[2:]))
    columns |= {SUBSET + name: np.tile(member, seeds) for name, member in scores.subsets.items()}
    if has_picture:
        pictures = [outcome.picture, *[None] * (rows - 1)]
        columns[PICTURE] = pa.array(pictures, pa.binary())
    return pa.table(columns).replace_schema_metadata({KIND: scores.kind})


def _column(kind: TargetKind, name: str, values: np.ndarray) -> pa.Array:
    """Values of shape (rows, ...) as the kind stores them."""
    declared = kind.column_type(name)
    if declared is None:
        raise ValueError(f"a table of kind {kind.name} has no column {name!r}")
    depth, scalar = nesting(declared)
    if depth == 0:
        return pa.array(values.tolist() if values.dtype.kind in "OU" else values, declared)
    return array_column(values.astype(scalar.to_pandas_dtype()))


def table_bytes(samples: list[SampleScores]) -> bytes:
    """``to_table`` as a parquet file, kept small: every record on a board has one."""
    table = to_table(samples)
    # Texts repeat, so they get dictionaries; floats compress better with their bytes transposed.
    texts = [column.name for column in table.schema if pa.types.is_string(column.type)]
    floats = [
        f"{column.name}{'.list.element' * nesting(column.type)[0]}"
        for column in table.schema
        if pa.types.is_floating(nesting(column.type)[1])
    ]
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        compression_level=9,
        use_dictionary=texts,  # pyright: ignore[reportArgumentType]
        column_encoding=dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
    )
    return buffer.getvalue()


class UnknownKind(ValueError):
    """A per-sample table of a kind of target that only a newer version of etchmark has."""


def kind_of_table(schema: pa.Schema) -> TargetKind:
    """The kind of target of a per-sample table.

    Raises:
        UnknownKind: the table names a kind that does not exist here.
    """
    tag = (schema.metadata or {}).get(KIND)
    if tag is None:
        return untagged_kind(schema.names)
    name = tag.decode("ascii", "replace")
    if name not in KINDS:
        raise UnknownKind(
            f"its per-sample table is of the kind {name[:40]!r}, which this version of etchmark"
            " does not know; update etchmark"
        )
    return kind_named(name)


def from_bytes(content: bytes) -> list[SampleScores]:
    """The splits of a per-sample table that is trusted; ``stored.read_table`` reads others.

    Raises:
        pyarrow.ArrowException: the content is damaged.
    """
    with parquet_file(io.BytesIO(content)) as file:
        return from_table(file.read(use_threads=False))


def from_table(table: pa.Table) -> list[SampleScores]:
    """The inverse of ``to_table``."""
    kind = kind_of_table(table.schema)
    splits = table.column("split").to_numpy()
    scores = []
    for split in dict.fromkeys(splits.tolist()):
        rows = np.flatnonzero(splits == split)
        scores.append(_split_scores(kind, str(split), table.take(rows)))
    return scores


def _split_scores(kind: TargetKind, split: str, table: pa.Table) -> SampleScores:
    common = {name: table.column(name).to_numpy() for name in COMMON}
    seeds = list(dict.fromkeys(common["seed"].tolist()))
    shape = (len(seeds), len(table) // len(seeds))
    # Rows are ordered by seed, then sample: the first block holds each sample once.
    first_seed = slice(shape[1])
    terms: dict[str, np.ndarray] = {}
    labels: dict[str, np.ndarray] = {}
    outputs: dict[str, np.ndarray] = {}
    subsets: dict[str, np.ndarray] = {}
    for name in table.column_names:
        if name in COMMON or name == PICTURE:
            continue
        values = to_numpy(table.column(name))
        if name.startswith(SUBSET):
            subsets[name.removeprefix(SUBSET)] = values[first_seed].astype(bool)
        elif kind.is_label(name):
            labels[name] = values[first_seed]
        elif kind.stores_terms and kind.is_term(name):
            terms[name] = values.reshape(shape)
        else:
            outputs[name] = values.reshape(*shape, *values.shape[1:])
    picture = table.column(PICTURE)[0].as_py() if PICTURE in table.column_names else None
    has_folds = table.column("fold").null_count == 0
    return SampleScores(
        split=split,
        ids=common["id"][first_seed].astype(str),
        units=common["unit"][first_seed].astype(str),
        folds=common["fold"][first_seed].astype(int) if has_folds else None,
        seeds=[int(seed) for seed in seeds],
        kind=kind.name,
        outcome=Outcome(
            terms=terms if kind.stores_terms else kind.terms_of(labels, outputs),
            labels=labels,
            outputs=outputs,
            picture=picture,
        ),
        subsets=subsets,
    )
