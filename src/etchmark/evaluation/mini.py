"""A benchmark on the small config of its dataset: to see in seconds that a model runs."""

from __future__ import annotations

from etchmark.data.loading import Benchmark, ensure_config

FULL, MINI = "-full", "-mini"


def mini_of(benchmark: Benchmark, track: str) -> Benchmark | None:
    """The benchmark with one track that reads ``<variant>-mini`` in place of ``<variant>-full``.

    Its fingerprints are those of the small data, so that nothing made from them can be taken for
    a result. None where the track reads another config or the dataset has no such mini.
    """
    spec = benchmark.spec
    chosen = spec.tracks[track]
    config = chosen.config.removesuffix(FULL) + MINI
    if not chosen.config.endswith(FULL):
        return None
    if config not in benchmark.catalog.dataset(spec.dataset).configs:
        return None
    _, manifest = ensure_config(benchmark.catalog, spec.dataset, config)
    small = chosen.model_copy(update={"config": config, "fingerprint": manifest.fingerprint})
    spec = spec.model_copy(update={"tracks": {track: small}})
    labels = Benchmark(benchmark.catalog, spec, unofficial=True).target_fingerprint
    spec = spec.model_copy(update={"target_fingerprint": labels})
    return Benchmark(benchmark.catalog, spec, unofficial=True)
