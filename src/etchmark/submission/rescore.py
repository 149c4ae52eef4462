"""``results rescore``: records of a benchmark's new version, from those of the one before.

Where a new version measures otherwise (another headline metric, other units for intervals) but
data, labels and splits are those of the old one, no model has to run again: the per-sample table of
a record says all that its scores are made from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from etchmark.catalog import Catalog
from etchmark.data.loading import Benchmark, load_benchmark
from etchmark.errors import UserError
from etchmark.registry import reviewed
from etchmark.registry.identity import id_of
from etchmark.registry.layout import record_files
from etchmark.registry.records import read_record
from etchmark.scoring import intervals
from etchmark.scoring.samples import SampleScores, from_table, table_bytes
from etchmark.scoring.score import score_samples
from etchmark.scoring.stored import read_table
from etchmark.specs import BenchmarkSpec, Protocol, ResultRecord
from etchmark.submission.refresh import flags_shown, with_whole

SPLITS = ("kind", "split", "train_split", "validation_split", "fold_column", "group_column",
          "extra_splits")  # fmt: skip
"""The keys of a protocol that say which samples are trained on and scored."""


def rescore(
    catalog: Catalog, benchmark: str, *, version: int | None = None, into: Path | None = None
) -> Iterator[str]:
    """Write a record of the current version for every record of an older one; a line for each.

    Records that the current version has already are left alone, and so are those of the older one.

    Args:
        catalog: the content in use.
        benchmark: its id.
        version: the older version; the one before the current if None.
        into: content folder whose reviewed results are written; the content in use if None.

    Raises:
        UserError: there is no such version, data or labels have changed, or (after all that can be
            rescored is written) a record cannot be.
    """
    loaded = load_benchmark(benchmark, catalog=catalog)
    new = loaded.spec
    if version is None and new.version == 1:
        raise UserError(
            f"{new.key} is the first version, so there are no earlier records to rescore"
        )
    old = catalog.benchmark(f"{new.id}@{new.version - 1 if version is None else version}")
    if old.version >= new.version:
        raise UserError(f"{old.key}: is the current version; give an older one with --from")
    changed = [what for what, value in _fixed(old).items() if value != _fixed(new)[what]]
    if changed:
        raise UserError(
            f"{new.key}: {changed[0]} differ from those of {old.key}, so the models have to run"
            f" again (`etchmark results run {new.id}`)"
        )
    results = reviewed.results_to_write(catalog, new.id, into)
    present = {_place(read_record(path)) for path in _files(results, new)}
    failures = []
    there = 0
    paths = _files(results, old)
    for path in paths:
        record = read_record(path)
        label = f"{record.name} {record.track} {record.protocol}"
        if _place(record) in present:
            there += 1
            continue
        if record.outcome != "ok":
            yield f"{label}: left out: the run failed, so there is nothing to rescore"
            continue
        try:
            written = _rescore_one(loaded, old, path, results)
        except UserError as error:
            failures.append(label)
            yield f"{label}: left out: {error}"
        else:
            yield f"{label}: wrote {written}"
    if not paths:
        yield f"{old.key} has no records to rescore"
    elif there == len(paths):
        yield f"{new.key} has all records of {old.key} already"
    if failures:
        raise UserError(
            f"{len(failures)} records cannot be rescored ({', '.join(failures[:5])}); run these"
            f" models again with `etchmark results run {new.id}`"
        )


def _fixed(spec: BenchmarkSpec) -> dict[str, object]:
    """What a version must share with the one before, or its records have to be run again."""
    return {"labels": (spec.target, spec.target_fingerprint), "subsets": spec.subsets}


def _files(results: Path, spec: BenchmarkSpec) -> list[Path]:
    """Files of the records of this very version."""
    paths = record_files(results, spec.id, spec.version)
    return [path for path in paths if read_record(path).benchmark_version == spec.version]


def _place(record: ResultRecord) -> tuple[str, str, str]:
    return record.name, record.track, record.protocol


def _rescore_one(loaded: Benchmark, old: BenchmarkSpec, path: Path, results: Path) -> Path:
    new = loaded.spec
    record, content = reviewed.read_reviewed(path, reviewed.read_index(path.parent), old)
    _check_unchanged(old, new, record)
    if content is None:
        raise UserError(f"{path}: has no per-sample table")
    rows = sum(score.n * score.seeds for score in record.scores)
    samples = from_table(read_table(content, rows=rows))
    if old.unit_column != new.unit_column:
        samples = [_with_units(loaded, split) for split in samples]
        content = table_bytes(samples)
    scores = [score_samples(new, record.protocol, split) for split in samples]
    flags = flags_shown(new, record.model_copy(update={"scores": scores}), samples)
    rescored = record.model_copy(
        update={
            "schema_": 2,
            "benchmark_version": new.version,
            "role": new.role_of(record.name, record.role),
            "flags": flags,
            "interval_method": intervals.METHOD,
            "scores": scores,
            "curves": [with_whole(curve, scores[0]) for curve in record.curves],
        }
    )
    rescored = rescored.model_copy(update={"submission": id_of(rescored)})
    # A table that says the same stays the same file, which version control then stores once.
    return reviewed.write(results, rescored, content, replacing=False)


def _check_unchanged(old: BenchmarkSpec, new: BenchmarkSpec, record: ResultRecord) -> None:
    """What the model read and was scored on is the same in both versions."""
    track, protocol = new.tracks.get(record.track), new.protocols.get(record.protocol)
    if track is None or protocol is None:
        raise UserError(f"its track or protocol is no longer of {new.key}")
    before = old.tracks[record.track]
    if (before.fingerprint, before.inputs) != (track.fingerprint, track.inputs):
        raise UserError(f"data or inputs of track {record.track!r} have changed")
    if _splits(old.protocols[record.protocol]) != _splits(protocol):
        raise UserError(f"splits of protocol {record.protocol!r} have changed")


def _splits(protocol: Protocol) -> tuple[object, ...]:
    return tuple(getattr(protocol, key) for key in SPLITS)


def _with_units(loaded: Benchmark, samples: SampleScores) -> SampleScores:
    """The same samples with the units that the new version resamples, which the data hold."""
    truth = loaded.truth(samples.split)
    unit_of = dict(zip(truth.ids, truth.units, strict=True))
    return replace(samples, units=np.array([unit_of[name] for name in samples.ids]))
