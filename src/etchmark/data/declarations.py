"""What a benchmark declares is held to the built data, before any model is run on them.

The catalog knows the names of columns and splits where the dataset lists them. What columns hold,
and whether a subset has samples at all, is known from the data alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from etchmark.catalog.declared import missing_columns, missing_splits, scored_splits
from etchmark.columns import Columns, ColumnType, column_types
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec, Manifest, Subset
from etchmark.targets import kind_of
from etchmark.targets.cells import NUMBER, SINGLE_VALUE, WHOLE_NUMBER, CellRule
from etchmark.targets.labels import stored_numbers

TRUTH_VALUES = ("False", "True")


def check_declared(
    spec: BenchmarkSpec, track: str, folder: Path, manifest: Manifest, *, released: bool
) -> None:
    """Refuse a benchmark whose declarations do not fit the data that a track reads.

    Args:
        spec: the benchmark.
        track: one of its tracks.
        folder: the built config of the track.
        manifest: of that config.
        released: whether the data are the released ones. Others, such as those of a small config,
            may have frames of another size, and subsets without samples.

    Raises:
        UserError: a split or column is missing, a column holds what its role cannot use, or a
            subset has no sample in any scored split.
    """
    config = f"{manifest.name}:{manifest.config}"
    splits = list(dict.fromkeys(file.split for file in manifest.files))
    if missing := next(missing_splits(spec, splits, config), None):
        rebuild = f"`etchmark build {manifest.name} --config {manifest.config}`"
        raise UserError(
            f"{spec.id}.yaml: {missing}; correct this file, or rebuild with {rebuild} if"
            " dataset.yaml names the split"
        )
    types = column_types(pq.read_schema(folder / manifest.files[0].path))
    problems = [
        missing_columns(spec, track, types, config),
        _wrong_types(spec, types, config, released),
    ]
    if released:
        problems.append(_empty_subsets(spec, folder, manifest))
    for kind_of_problem in problems:
        # One after the other: each relies on what those before it have made sure of.
        if problem := next(kind_of_problem, None):
            raise UserError(f"{spec.id}.yaml: {problem}; correct this file")


def _wrong_types(
    spec: BenchmarkSpec, types: Mapping[str, ColumnType], config: str, released: bool
) -> Iterator[str]:
    for where, column, rule in _rules(spec, released):
        if not rule.allows(types[column]):
            yield (
                f"{where}: column {column!r} of {config} holds {types[column]}, not {rule.expected}"
            )
    for name, subset in spec.subsets.items():
        if subset.equals is not None and not _can_equal(types[subset.column], subset.equals):
            yield (
                f"subsets.{name}.equals: column {subset.column!r} of {config} holds"
                f" {types[subset.column]}, which is never {subset.equals!r}"
            )


def _rules(spec: BenchmarkSpec, released: bool) -> Iterator[tuple[str, str, CellRule]]:
    """What every column must hold in its role: the key that names it, the column, the rule."""
    for key, rule in kind_of(spec.target).cell_rules(spec.target, released=released).items():
        yield f"target.{key}", attrgetter(key)(spec.target), rule
    yield "unit_column", spec.unit_column, SINGLE_VALUE
    for name, protocol in spec.protocols.items():
        if protocol.fold_column is not None:
            yield f"protocols.{name}.fold_column", protocol.fold_column, WHOLE_NUMBER
        if protocol.group_column is not None:
            yield f"protocols.{name}.group_column", protocol.group_column, SINGLE_VALUE
    for name, subset in spec.subsets.items():
        rule = NUMBER if subset.equals is None else SINGLE_VALUE
        yield f"subsets.{name}.column", subset.column, rule


def _can_equal(column: ColumnType, text: str) -> bool:
    """Whether a cell of a column can have the value that a text stands for."""
    if column.element == "flag":
        return text in TRUTH_VALUES
    if column.element not in ("whole", "float"):
        return True
    try:
        np.dtype(column.stored_as).type(text)
    except (ValueError, OverflowError):
        return False
    return True


def members(columns: Mapping[str, np.ndarray], subset: Subset, benchmark: str) -> np.ndarray:
    """Which samples a subset holds, truth values of shape (samples,).

    Raises:
        UserError: its column cannot be used.
    """
    values = columns[subset.column]
    if subset.equals is not None:
        if values.dtype.kind in "iuf":
            return values == values.dtype.type(subset.equals)
        return values.astype(str) == subset.equals
    values = stored_numbers(columns, subset.column, benchmark)
    member = ~np.isnan(values)
    if subset.above is not None:
        member &= values > subset.above
    if subset.below is not None:
        member &= values < subset.below
    return member


def _empty_subsets(spec: BenchmarkSpec, folder: Path, manifest: Manifest) -> Iterator[str]:
    splits = scored_splits(list(spec.protocols.values()))
    paths = [folder / file.path for file in manifest.files if file.split in splits]
    for name, subset in spec.subsets.items():
        if not members(Columns(paths, [subset.column]), subset, spec.id).any():
            several = "s" if len(splits) > 1 else ""
            yield (
                f"subsets.{name}: holds no sample of the scored split{several} {', '.join(splits)}"
                f" of {manifest.name}:{manifest.config}"
            )
