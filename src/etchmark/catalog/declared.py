"""Checks what a benchmark declares against its dataset and the rest of the content.

All of this is known before anything is built, so a mistake is reported when the card is read, not
by a model that fails after an hour. If a dataset does not list its columns, those that a benchmark
reads are checked against the built data, as are the types of all columns (see
``etchmark.data.declarations``).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from etchmark.catalog.names import unknown_in_card
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec, DatasetSpec, Protocol, ReferenceLine


@dataclass(frozen=True)
class Surroundings:
    """The content that a benchmark is checked against."""

    dataset: DatasetSpec | None
    """The dataset that the benchmark names; None if its card is broken."""
    benchmarks: Mapping[str, BenchmarkSpec | None]
    """All benchmarks by name; None for those that it does not name, or whose card is broken."""
    baselines: Collection[str]
    """Names of all baselines, without their variants."""
    model_problem: Callable[[str, bool], str | None]
    """Says what is wrong with the name of a model, or None. If the second argument is true, the
    name of a baseline may stand for all of its variants."""


def problems(spec: BenchmarkSpec, surroundings: Surroundings) -> Iterator[str]:
    """What is wrong with a benchmark, each as "key: what"."""
    if surroundings.dataset is not None:
        yield from _data(spec, surroundings.dataset)
    yield from _metrics(spec)
    yield from _discretisation_error(spec)
    for name, use in spec.baselines.items():
        for model in (name, *(f"{name}/{variant}" for variant in use.without)):
            if problem := surroundings.model_problem(model, True):
                yield f"baselines.{name}: {problem}"
    for index, line in enumerate(spec.reference_lines):
        for key, problem in _reference_line(spec, line, surroundings):
            yield f"reference_lines.{index}.{key}: {problem}"


def _data(spec: BenchmarkSpec, dataset: DatasetSpec) -> Iterator[str]:
    """Configs, splits, columns and units must be those of the dataset."""
    for track, declared in spec.tracks.items():
        if declared.config not in dataset.configs:
            yield f"tracks.{track}.config: " + unknown_in_card(
                f"config of {dataset.name}", declared.config, dataset.configs
            )
            continue
        config = dataset.configs[declared.config]
        yield from missing_splits(spec, config.splits, f"{dataset.name}:{declared.config}")
        if config.columns:
            yield from missing_columns(
                spec, track, config.columns, f"{dataset.name}:{declared.config}"
            )
    yield from _units(spec, dataset)


def missing_splits(spec: BenchmarkSpec, splits: Collection[str], config: str) -> Iterator[str]:
    """Splits that a benchmark names and that a config lacks, all of them in one message.

    Args:
        spec: the benchmark.
        splits: all splits of the config.
        config: how the config is called in messages.
    """
    missing = [(where, split) for where, split in _splits(spec) if split not in splits]
    if missing:
        names = [repr(split) for split in dict.fromkeys(split for _, split in missing)]
        noun = "split" if len(names) == 1 else "splits"
        has = f"{config} has no {noun} {', '.join(names)}"
        yield f"{missing[0][0]}: {has}, only {', '.join(splits)}"


def missing_columns(
    spec: BenchmarkSpec, track: str, columns: Collection[str], config: str
) -> Iterator[str]:
    """Columns that a benchmark reads through a track and that its config lacks.

    Args:
        spec: the benchmark.
        track: one of its tracks.
        columns: all columns of the track's config.
        config: name of the config in messages.
    """
    for where, column in columns_read(spec, track):
        if column not in columns:
            yield f"{where}: " + unknown_in_card(f"column of {config}", column, columns)


def columns_read(spec: BenchmarkSpec, track: str) -> Iterator[tuple[str, str]]:
    """Each stored column that a benchmark reads through a track, after the key that names it."""
    declared = dict(_texts(spec.target.model_dump(), "target"))
    for column in spec.target.columns():
        # Only the kind of target knows which of its keys name columns.
        yield next(key for key, value in declared.items() if value == column), column
    yield "unit_column", spec.unit_column
    for column in spec.tracks[track].inputs:
        yield f"tracks.{track}.inputs", column
    for name, protocol in spec.protocols.items():
        for key in ("fold_column", "group_column"):
            if column := getattr(protocol, key):
                yield f"protocols.{name}.{key}", column
    for name, subset in spec.subsets.items():
        yield f"subsets.{name}.column", subset.column


def _splits(spec: BenchmarkSpec) -> Iterator[tuple[str, str]]:
    for name, protocol in spec.protocols.items():
        for key in ("train_split", "validation_split", "split"):
            if split := getattr(protocol, key):
                yield f"protocols.{name}.{key}", split
        for split in protocol.extra_splits:
            yield f"protocols.{name}.extra_splits", split


def scored_splits(protocols: Collection[Protocol]) -> list[str]:
    """Splits that some of these protocols score, each once."""
    named = [split for protocol in protocols for split in (protocol.split, *protocol.extra_splits)]
    return list(dict.fromkeys(named))


def _texts(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Each text in a plain mapping, after the path of keys to it."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _texts(part, f"{where}.{key}")
    elif isinstance(value, str):
        yield where, value


def _metrics(spec: BenchmarkSpec) -> Iterator[str]:
    """Metrics must exist for the kind of target."""
    # Imported here, because it is slow and finding a folder does not need it.
    from etchmark.targets import check_metrics, metric

    try:
        check_metrics(spec.target, spec.metrics)
    except UserError as error:
        yield f"metrics: {str(error).replace('; ', ', ')}"
        return
    if metric(spec.primary_metric).counted_by is not None:
        yield f"primary_metric: {spec.primary_metric} has no value on some splits, choose another"


def _units(spec: BenchmarkSpec, dataset: DatasetSpec) -> Iterator[str]:
    """Target and bounds must be in the unit that the dataset states for their columns."""
    for where, column in spec.target.in_unit().items():
        unit = dataset.unit_of(column)
        if unit is not None and unit != spec.target.unit:
            yield (
                f"target.{where}: column {column!r} of {dataset.name} is in {unit!r}, the target in"
                f" {spec.target.unit!r}"
            )


def _discretisation_error(spec: BenchmarkSpec) -> Iterator[str]:
    split = spec.discretisation_error.split if spec.discretisation_error else None
    known = scored_splits(list(spec.protocols.values()))
    if split is not None and split not in known:
        yield "discretisation_error.split: " + unknown_in_card(
            f"scored split of {spec.id}", split, known
        )


def _reference_line(
    spec: BenchmarkSpec, line: ReferenceLine, surroundings: Surroundings
) -> Iterator[tuple[str, str]]:
    """What is wrong with a reference line: key and problem."""
    protocols = list(spec.protocols.values())
    if line.protocol is not None:
        if line.protocol in spec.protocols:
            protocols = [spec.protocols[line.protocol]]
        else:
            yield (
                "protocol",
                unknown_in_card(f"protocol of {spec.id}", line.protocol, spec.protocols),
            )
    splits = scored_splits(protocols)
    if line.split is not None and line.split not in splits:
        yield "split", unknown_in_card(f"scored split of {spec.id}", line.split, splits)
    if line.metric is not None and line.metric not in spec.metrics:
        yield "metric", unknown_in_card(f"metric of {spec.id}", line.metric, spec.metrics)
    is_baseline = line.model and _is_meant_as_baseline(line.model, surroundings.baselines)
    if is_baseline and (problem := surroundings.model_problem(str(line.model), False)):
        yield "model", problem
    others = surroundings.benchmarks
    if line.benchmark is None:
        return
    if line.benchmark not in others:
        yield "benchmark", unknown_in_card("benchmark", line.benchmark, others)
        return
    other = others[line.benchmark]
    if other is not None and line.track is not None and line.track not in other.tracks:
        yield "track", unknown_in_card(f"track of {other.id}", line.track, other.tracks)


def _is_meant_as_baseline(model: str, baselines: Collection[str]) -> bool:
    """Whether a reference line names a baseline, perhaps misspelt, and not a submission."""
    head = model.partition("/")[0]
    return bool(difflib.get_close_matches(head, baselines, n=1, cutoff=0.8))
