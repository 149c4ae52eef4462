"""Runs the baselines that benchmarks name, and writes their reviewed records.

A row is one model on one protocol of one benchmark. Rows run one after another on this machine, or
on the workers of a Dask cluster; either way this process alone writes the records.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from etchmark import files
from etchmark.catalog import Catalog, ModelSource, pick_protocol, unknown, use_of
from etchmark.catalog import catalog as installed
from etchmark.data.executors import Dask
from etchmark.errors import UserError
from etchmark.evaluation.options import Limits
from etchmark.registry import reviewed
from etchmark.registry.layout import record_files
from etchmark.registry.records import read_record
from etchmark.specs import BaselineUse, BenchmarkSpec
from etchmark.submission.export import PREDICTIONS, export
from etchmark.submission.rows import (
    Finished,
    NotRun,
    Row,
    digest_of,
    forget,
    run_row,
    run_row_elsewhere,
)
from etchmark.submission.submit import Prepared
from etchmark.text import one_line


@dataclass(frozen=True)
class Campaign:
    """Which rows to run, and where to write their records."""

    only: Sequence[str] = ("*",)
    """Names or patterns of models."""
    protocol: str | None = None
    """Only this protocol; all of them if None."""
    out: Path | None = None
    """Write export folders here instead of reviewed results. An export that goes through ``results
    add`` becomes ``scored``, like anyone else's; only results written directly have the
    status ``run`` and a measured cost."""
    into: Path | None = None
    """Content folder to write reviewed results into; the benchmark's own if None."""
    again: bool = False
    """Also run rows that have a record."""
    limits: Limits = field(default_factory=Limits)
    """Time and memory of each run."""
    curves: bool = True
    """Measure the curves that the models' cards declare, too."""
    keep_models: bool = False
    """Keep the fitted models in the hub folder of the machine that runs them."""


def models(
    catalog: Catalog, spec: BenchmarkSpec, only: Sequence[str]
) -> Iterator[tuple[ModelSource, BaselineUse]]:
    """Baselines that a benchmark names, or whose older card names it, filtered by patterns."""
    for name in catalog.model_names():
        if not any(fnmatch(name, pattern.strip()) for pattern in only):
            continue
        try:
            source = catalog.model(name)
        except UserError:
            # A broken card stops only the benchmarks that name it.
            if spec.use_of(name) is None:
                continue
            raise
        if (use := use_of(spec, source)) is not None:
            yield source, use


def _check_patterns(catalog: Catalog, benchmarks: Sequence[str], only: Sequence[str]) -> None:
    """Refuse a pattern that selects no baseline of these benchmarks: it is a misspelling.

    Args:
        catalog: the content in use.
        benchmarks: ids; broken ones are passed over.
        only: the patterns.

    Raises:
        UserError: a pattern is empty or matches nothing.
    """
    names: set[str] = set()
    for benchmark in benchmarks:
        try:
            spec = catalog.benchmark(benchmark)
            names |= {source.name for source, _ in models(catalog, spec, ["*"])}
        except UserError:
            # It is reported where its rows are made.
            continue
    of = f" of {benchmarks[0]}" if len(benchmarks) == 1 else ""
    for pattern in (pattern.strip() for pattern in only):
        if not pattern:
            raise UserError(
                "--only holds an empty name; give names or patterns of models, separated by commas,"
                " or leave --only out to run all of them"
            )
        if names and not any(fnmatch(name, pattern) for name in names):
            fault = f"no baseline{of} matches {pattern!r}"
            raise unknown("baseline pattern", pattern, names, fault)


def _done(results: Path, spec: BenchmarkSpec) -> dict[tuple[str, str, str], int]:
    """With how many seeds each row was run that has a record."""
    records = [read_record(path) for path in record_files(results, spec.id, spec.version)]
    return {
        (record.name, record.track, record.protocol): record.scores[0].seeds
        for record in records
        if record.outcome == "ok" and record.benchmark_version == spec.version
    }


def rows_of(catalog: Catalog, benchmark: str, campaign: Campaign) -> list[Row]:
    """The rows of a benchmark to run; those with a record of as many seeds are skipped.

    Raises:
        UserError: the benchmark or a baseline is broken, a protocol is unknown, or there is no
            folder to write to; raised before hours of work.
    """
    spec = catalog.benchmark(benchmark)
    protocols = list(spec.protocols)
    if campaign.protocol is not None:
        protocols = [pick_protocol(spec, campaign.protocol, default=True)]
    done: dict[tuple[str, str, str], int] = {}
    if campaign.out is None:
        results = reviewed.results_to_write(catalog, spec.id, campaign.into)
        done = {} if campaign.again else _done(results, spec)
    return [
        Row(
            benchmark=spec.id,
            model=source.name,
            track=use.track,
            protocol=protocol,
            digest=digest_of(spec, source),
            limits=campaign.limits,
            seeds=use.seeds,
            keep_models=campaign.keep_models,
            curves=campaign.curves,
            with_predictions=campaign.out is not None,
        )
        for source, use in models(catalog, spec, campaign.only)
        for protocol in protocols
        if done.get((source.name, use.track, protocol), 0) < use.seeds
    ]


def run(benchmark: str, campaign: Campaign = Campaign(), *, executor: Dask | None = None) -> None:
    """Run the baselines of one benchmark, with their curves; see ``rows_of`` for those skipped.

    An interrupted training resumes from the model's own checkpoints. Output of a model goes to
    ``logs/<model>.log`` in the hub folder of the machine that runs it.

    Args:
        benchmark: its id.
        campaign: which rows to run, and where to write their records.
        executor: Dask cluster that runs the rows; this machine if None.

    Raises:
        UserError: a pattern matches no baseline, or a row failed (raised after all have run).
    """
    catalog = installed()
    spec = catalog.benchmark(benchmark)
    rows = rows_of(catalog, benchmark, campaign)
    _check_patterns(catalog, [spec.id], campaign.only)
    if not rows and not list(models(catalog, spec, ["*"])):
        raise UserError(f"{spec.id}: names no baseline; add one under baselines in its YAML")
    _run(catalog, rows, campaign, executor, [])


def run_all(campaign: Campaign = Campaign(), *, executor: Dask | None = None) -> None:
    """Run every missing row of every benchmark.

    A benchmark that is broken, or whose results cannot be written here, is reported and skipped.

    Raises:
        UserError: a protocol or pattern is of no benchmark; or a row failed or a benchmark was
            skipped (raised after all others have run).
    """
    catalog = installed()
    _check_protocol(catalog, campaign.protocol)
    _check_patterns(catalog, catalog.benchmark_names(), campaign.only)
    rows: list[Row] = []
    failures: list[str] = []
    for name in catalog.benchmark_names():
        try:
            if campaign.protocol not in {None, *catalog.benchmark(name).protocols}:
                continue
            rows += rows_of(catalog, name, campaign)
        except UserError as error:
            print(f"{name}: left out: {one_line(error)}", file=sys.stderr)
            failures.append(name)
    counts = Counter(row.benchmark for row in rows)
    listing = ", ".join(f"{benchmark} {count}" for benchmark, count in counts.items())
    print(f"rows missing: {len(rows)}{f' ({listing})' if listing else ''}", flush=True)
    _run(catalog, rows, campaign, executor, failures)


def _check_protocol(catalog: Catalog, protocol: str | None) -> None:
    known: set[str] = set()
    for name in catalog.benchmark_names():
        with suppress(UserError):
            known |= set(catalog.benchmark(name).protocols)
    if protocol is not None and known and protocol not in known:
        fault = f"no benchmark has a protocol {protocol!r}"
        raise unknown("protocol", protocol, known, fault)


def _run(
    catalog: Catalog,
    rows: Sequence[Row],
    campaign: Campaign,
    executor: Dask | None,
    failures: list[str],
) -> None:
    """Run rows and keep each record at once; UserError at the end if any row has none."""
    several = len({row.benchmark for row in rows}) > 1

    def label_of(row: Row) -> str:
        return f"{row.benchmark} {row.label}" if several else row.label

    possible = []
    for row in rows:
        target = _export_folder(campaign, row)
        if target is None or not target.exists():
            possible.append(row)
            continue
        # Refuse now rather than after hours of training whose result could not be kept.
        failures.append(label_of(row))
        print(f"{label_of(row)}: failed: {target}: exists; remove it or give another --out")
    work = _here(possible) if executor is None else executor.run(run_row_elsewhere, possible)
    with closing(work):
        for row, result in work:
            try:
                outcome = _kept(catalog, campaign, row, result)
            except UserError as error:
                outcome = f"failed: {error}"
            if isinstance(result, NotRun) and result.lacking:
                failures.append(label_of(row))
                print(f"{label_of(row)}: left out: {one_line(result.reason)}", file=sys.stderr)
                continue
            if outcome.startswith("failed"):
                failures.append(label_of(row))
            print(f"{label_of(row)}: {one_line(outcome)}", flush=True)
    if failures:
        runs = "run has" if len(failures) == 1 else "runs have"
        raise UserError(f"{len(failures)} {runs} no result: {', '.join(failures[:5])}")


def _here(rows: Sequence[Row]) -> Generator[tuple[Row, Finished | NotRun], None, None]:
    """Rows one after another on this machine."""
    for row in rows:
        yield row, run_row(row)


def _export_folder(campaign: Campaign, row: Row) -> Path | None:
    if campaign.out is None:
        return None
    return campaign.out / f"{row.model.replace('/', '--')}--{row.protocol}"


def _kept(catalog: Catalog, campaign: Campaign, row: Row, result: Finished | NotRun) -> str:
    """Keep the result of a row, if there is one, and describe it in one line."""
    if isinstance(result, NotRun):
        return f"failed: {result.reason}"
    record = result.record
    if record.outcome == "failed":
        return f"failed: {record.reason}"
    target = _export_folder(campaign, row)
    if target is not None:
        with files.temporary_folder() as folder:
            path = folder / f"{PREDICTIONS}.parquet"
            path.write_bytes(result.predictions or b"")
            target.parent.mkdir(parents=True, exist_ok=True)
            export(Prepared(record, result.samples, [path]), target)
    else:
        results = reviewed.results_to_write(catalog, row.benchmark, campaign.into)
        reviewed.write(results, record, result.samples, replacing=True)
    forget(result)
    metric = catalog.benchmark(row.benchmark).primary_metric
    value = record.scores[0].metrics[metric].value
    return f"{metric} {value:.4g}, fit {record.cost.fit_seconds:.1f} s"
