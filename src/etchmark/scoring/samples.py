"""Per-sample outcomes of a split, and the table that keeps them beside a result record."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark.columns import array_column, nesting, to_numpy
from etchmark.scoring import uncertainty
from etchmark.specs import KINDS
from etchmark.targets import TargetKind, kind_named, untagged_kind
from etchmark.targets.base import Outcome

SUBSET = "subset_"
"""Prefix of the columns of the per-sample table that say which samples a subset holds."""
PICTURE = "rollout"
"""Column of the same table: a picture of one predicted sample, null for all others."""
COMMON = ("split", "id", "seed", "unit", "fold")
"""Columns that every such table has."""
KIND = b"etchmark.kind"
"""Key of the table's metadata that names the kind of its target."""


@dataclass(frozen=True)
class SampleScores:
    """Per-sample outcome of one split: all that scores, intervals and ranks are made from.

    ``subsets`` are truth values of shape (samples,) by name.
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
        """Shape (seeds, samples) each."""
        return self.outcome.terms

    @property
    def target(self) -> np.ndarray | None:
        """Labels, shape (samples,); None unless they are single numbers."""
        return _numbers(self.outcome.labels.get("target"), 1)

    @property
    def prediction(self) -> np.ndarray | None:
        """Predictions, shape (seeds, samples); None unless they are single numbers."""
        return _numbers(self.outcome.outputs.get("prediction"), 2)

    def sums(self) -> uncertainty.SumsOfUnits:
        """Unit sums of every term, shape (seeds, units) each."""
        return uncertainty.unit_sums(self.terms, self.units)

    def among(self, member: np.ndarray) -> SampleScores:
        """The same of some of the samples; ``member`` are truth values of shape (samples,)."""
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
        """The samples of a subset; None if membership is not known or there are none."""
        member = self.subsets.get(name)
        return None if member is None or not member.any() else self.among(member)


def _numbers(values: np.ndarray | None, axes: int) -> np.ndarray | None:
    return values if values is not None and values.ndim == axes and values.dtype == float else None


def to_table(samples: list[SampleScores]) -> pa.Table:
    """Per-sample table: one row per split × seed × sample.

    Beside ids, units, folds and membership in subsets it holds what the kind of target keeps:
    labels and predictions, or the terms of every metric.
    """
    pictured = any(scores.outcome.picture for scores in samples)
    parts = [_split_table(scores, pictured=pictured) for scores in samples]
    return pa.concat_tables(parts)


def _split_table(scores: SampleScores, *, pictured: bool) -> pa.Table:
    kind, kept = kind_named(scores.kind), scores.outcome
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
    for name, values in kept.labels.items():
        columns[name] = _column(kind, name, np.concatenate([values] * seeds))
    if kind.stores_terms:
        for name, values in kept.terms.items():
            if not np.isnan(values).all():
                columns[name] = values.reshape(-1)
    for name, values in kept.outputs.items():
        columns[name] = _column(kind, name, values.reshape(rows, *values.shape[2:]))
    columns |= {SUBSET + name: np.tile(member, seeds) for name, member in scores.subsets.items()}
    if pictured:
        pictures = [kept.picture, *[None] * (rows - 1)]
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
    """``to_table`` as a parquet file; small, since every record of the board carries one."""
    table = to_table(samples)
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


def kind_of_table(schema: pa.Schema) -> TargetKind:
    """The kind of target that a per-sample table is of.

    Raises:
        ValueError: it names a kind that does not exist.
    """
    tag = (schema.metadata or {}).get(KIND)
    if tag is None:
        return untagged_kind(schema.names)
    name = tag.decode("ascii", "replace")
    if name not in KINDS:
        raise ValueError(f"it is of the unknown kind {name[:40]!r}")
    return kind_named(name)


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
    first = slice(shape[1])
    terms: dict[str, np.ndarray] = {}
    labels: dict[str, np.ndarray] = {}
    outputs: dict[str, np.ndarray] = {}
    subsets: dict[str, np.ndarray] = {}
    for name in table.column_names:
        if name in COMMON or name == PICTURE:
            continue
        values = to_numpy(table.column(name))
        if name.startswith(SUBSET):
            subsets[name.removeprefix(SUBSET)] = values[first].astype(bool)
        elif kind.is_label(name):
            labels[name] = values[first]
        elif kind.stores_terms and kind.is_term(name):
            terms[name] = values.reshape(shape)
        else:
            outputs[name] = values.reshape(*shape, *values.shape[1:])
    picture = table.column(PICTURE)[0].as_py() if PICTURE in table.column_names else None
    missing = table.column("fold").null_count > 0
    return SampleScores(
        split=split,
        ids=common["id"][first].astype(str),
        units=common["unit"][first].astype(str),
        folds=None if missing else common["fold"][first].astype(int),
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
