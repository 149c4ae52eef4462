"""Runs every baseline of a benchmark: how the reviewed board is made, and made anew."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from etchmark import files
from etchmark.catalog import Catalog, ModelSource, pick_protocol
from etchmark.catalog import catalog as installed
from etchmark.data.loading import Benchmark, load_benchmark
from etchmark.data.sources import SourcesUnavailable
from etchmark.errors import CannotRun, UserError
from etchmark.evaluation.options import Limits, Options
from etchmark.registry import reviewed
from etchmark.registry.layout import record_files
from etchmark.registry.records import read_record
from etchmark.specs import BenchmarkSpec
from etchmark.submission import running
from etchmark.submission.export import export
from etchmark.text import one_line


def models(catalog: Catalog, benchmark: str, only: Sequence[str]) -> Iterator[ModelSource]:
    """Baselines whose card names the benchmark, filtered by patterns."""
    for name in catalog.model_names():
        source = catalog.model(name)
        if benchmark in source.uses and any(fnmatch(name, pattern.strip()) for pattern in only):
            yield source


def _done(results: Path, spec: BenchmarkSpec) -> set[tuple[str, str, str]]:
    records = [read_record(path) for path in record_files(results, spec.id, spec.version)]
    return {
        (record.name, record.track, record.protocol)
        for record in records
        if record.outcome == "ok" and record.benchmark_version == spec.version
    }


def run(
    benchmark: str,
    *,
    only: Sequence[str] = ("*",),
    protocol: str | None = None,
    out: Path | None = None,
    into: Path | None = None,
    again: bool = False,
    limits: Limits = Limits(),
) -> None:
    """Run baselines one after another, with their curves; those with a record are passed over.

    An interrupted training goes on from the model's own checkpoints; what a model prints is in
    ``logs/<model>.log`` of the hub folder while it runs.

    Args:
        benchmark: its id.
        only: names or patterns of the models.
        protocol: only this protocol; all of them if None.
        out: write export folders here; the reviewed results if None. What an export becomes on
            its way through ``results add`` is ``scored``, as of anybody; only results that are
            written from here have the status ``run`` and a measured cost.
        into: content folder whose reviewed results are written; the content in use if None.
        again: also run what has a record.
        limits: time and memory of each run.

    Raises:
        UserError: none matches, or at least one failed (after all have run).
    """
    catalog = installed()
    loaded: Benchmark = load_benchmark(benchmark, catalog=catalog)
    spec = loaded.spec
    chosen = [pick_protocol(spec, protocol, default=True)] if protocol else list(spec.protocols)
    # Asked before anything runs: hours of work must not end at a folder that may not be written.
    results = None if out else reviewed.results_to_write(catalog, into)
    done = set() if again or results is None else _done(results, spec)
    found = list(models(catalog, spec.id, only))
    if not found:
        raise UserError(f"no baseline of {spec.id} matches {', '.join(only)}; see `etchmark list`")
    failures: list[str] = []
    for source in found:
        for name in chosen:
            if (source.name, source.uses[spec.id], name) in done:
                continue
            label = f"{source.name} {name}"
            try:
                line = _one(loaded, source, name, out, results, limits)
            except (SourcesUnavailable, CannotRun) as error:
                print(f"{label}: left out: {one_line(error)}", file=sys.stderr)
                failures.append(label)
                continue
            except UserError as error:
                line = f"failed: {error}"
            if line.startswith("failed"):
                failures.append(label)
            print(f"{label}: {one_line(line)}", flush=True)
    if failures:
        raise UserError(f"{len(failures)} runs have no result: {', '.join(failures[:5])}")


def _one(
    loaded: Benchmark,
    source: ModelSource,
    protocol: str,
    out: Path | None,
    results: Path | None,
    limits: Limits,
) -> str:
    target = None
    if out is not None:
        target = out / f"{source.name.replace('/', '--')}--{protocol}"
        # Before hours are spent on what could not be kept.
        if target.exists():
            raise UserError(f"{target}: exists; remove it or give another --out")
    with files.temporary_folder() as folder:
        done = running.evaluate_model(
            loaded,
            source,
            folder,
            protocol=protocol,
            options=Options(limits=limits, resume=True),
            say=lambda said: print(f"{source.name} {protocol}: {one_line(said)}", flush=True),
        )
        record = done.prepared.record
        if record.outcome == "failed":
            return f"failed: {record.reason}"
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            export(done.prepared, target)
        elif results is not None:
            reviewed.write(results, record, done.prepared.samples, replacing=True)
        done.forget()
    head = record.scores[0].metrics[loaded.spec.primary_metric]
    return f"{loaded.spec.primary_metric} {head.value:.4g}, fit {record.cost.fit_seconds:.1f} s"
