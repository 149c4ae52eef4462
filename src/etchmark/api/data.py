"""Data of a benchmark or dataset on this machine: downloads and templates."""

from __future__ import annotations

from pathlib import Path

from etchmark.api.types import DataFingerprints, Download, TemplateFiles
from etchmark.catalog import Catalog, pick_protocol, pick_track, unknown
from etchmark.data import download as downloads
from etchmark.data import executors as pools
from etchmark.data.building import Executors
from etchmark.data.loading import Benchmark, load_benchmark
from etchmark.errors import UserError
from etchmark.scoring import template as templates
from etchmark.specs import BenchmarkSpec


def download(
    catalog: Catalog, name: str, track: str | None, options: downloads.Options
) -> Download:
    """Have the data of ``BENCHMARK`` or ``DATASET[:CONFIG]`` on this machine, verified."""
    dataset, config, spec, track = _resolve(catalog, name, track)
    return Download(dataset, downloads.download(catalog, dataset, config, options), spec, track)


def executors_of(kind: str, *, scheduler: str | None, workers: int | None) -> Executors:
    """Where data are built: ``local``, ``processes`` or ``dask``.

    Raises:
        UserError: options that do not exist or do not go together.
    """
    return Executors(
        pools.executor_of(kind, scheduler=scheduler, workers=workers),
        pools.local_executor(kind, workers),
    )


def _resolve(
    catalog: Catalog, name: str, track: str | None
) -> tuple[str, str | None, BenchmarkSpec | None, str | None]:
    """Dataset, config, and the benchmark with its track if the name is a benchmark's."""
    head, colon, config = name.partition(":")
    if head.partition("@")[0] in catalog.benchmark_names():
        spec = catalog.benchmark(head)
        if track is None:
            track = config if colon else next(iter(spec.tracks))
        pick_track(spec, track)
        return spec.dataset, spec.tracks[track].config, spec, track
    if head not in catalog.dataset_names():
        known = [*catalog.benchmark_names(), *catalog.dataset_names()]
        raise unknown("benchmark or dataset", head, known)
    if track is not None:
        raise UserError(f"{head} is a dataset; tracks belong to benchmarks: drop --track")
    return head, config if colon else None, None, None


def template(
    benchmark: Benchmark,
    folder: Path,
    *,
    track: str | None = None,
    protocol: str | None = None,
    force: bool = False,
) -> TemplateFiles:
    """Write test inputs and a predictions file to fill.

    Args:
        benchmark: what is to be predicted.
        folder: where the files are written.
        track: inputs that are written; the first track if None.
        protocol: splits that are written; those of the headline protocol if None.
        force: replace files that have other content.

    Raises:
        UserError: a name is not declared, or a file with other content is in the way.
    """
    spec = benchmark.spec
    track, _ = pick_track(spec, next(iter(spec.tracks)) if track is None else track)
    protocol = pick_protocol(spec, protocol, default=True)
    written = templates.write(benchmark, track, protocol, folder, force=force)
    return TemplateFiles(spec, track, protocol, written.inputs, written.predictions)


def fingerprints(catalog: Catalog, name: str) -> DataFingerprints:
    """What to write into a benchmark's YAML once its data are released."""
    loaded = load_benchmark(name, unofficial=True, catalog=catalog)
    tracks = {track: loaded.config_folder(track)[1].fingerprint for track in loaded.spec.tracks}
    return DataFingerprints(tracks, loaded.target_fingerprint)
