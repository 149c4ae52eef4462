"""What there is: benchmarks, datasets and baselines as they are declared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from etchmark.api.types import Contents, MetricInfo
from etchmark.catalog import Catalog, unknown
from etchmark.errors import UserError
from etchmark.specs import BaselineCard, BenchmarkSpec, DatasetSpec
from etchmark.targets import kind_of
from etchmark.targets import metric as metric_by_id


def contents(catalog: Catalog) -> Contents:
    """What there is, and one line for each card that cannot be used."""
    broken: list[str] = []

    def described(
        names: Sequence[str], describe: Callable[[str], list[dict[str, Any]]], key: str = "name"
    ) -> list[dict[str, Any]]:
        rows = []
        for name in names:
            try:
                rows += describe(name)
            except UserError as error:
                rows.append({key: name, "error": str(error)})
                broken.append(str(error))
        return rows

    def benchmark(name: str) -> list[dict[str, Any]]:
        spec = catalog.benchmark(name)
        tracks = list(spec.tracks)
        return [{"id": spec.id, "version": spec.version, "title": spec.title, "tracks": tracks}]

    def dataset(name: str) -> list[dict[str, Any]]:
        spec = catalog.dataset(name)
        configs = list(spec.configs)
        return [
            {"name": spec.name, "version": spec.version, "title": spec.title, "configs": configs}
        ]

    def baseline(name: str) -> list[dict[str, Any]]:
        variants = [f"{name}/{variant}" for variant in catalog.baseline(name).variants]
        return [
            {"name": model, "title": catalog.model(model).card.title}
            for model in variants or [name]
        ]

    benchmarks = described(catalog.benchmark_names(), benchmark, "id")
    broken += [fault for fault in catalog.broken_versions() if fault not in broken]
    return Contents(
        benchmarks=benchmarks,
        datasets=described(catalog.dataset_names(), dataset),
        baselines=described(catalog.baseline_names(), baseline),
        broken=broken,
    )


@lru_cache(maxsize=64)
def _benchmark(catalog: Catalog, name: str, stamp: tuple[int, int, int]) -> BenchmarkSpec:
    return catalog.benchmark(name)


def benchmark(catalog: Catalog, name: str) -> BenchmarkSpec:
    """A benchmark, read again only when its file has changed: pages ask for all of them."""
    return _benchmark(catalog, name, stamp(catalog.benchmark_card(name)))


def stamp(path: Path) -> tuple[int, int, int]:
    """What changes with a file: inode, time and size; zeros where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return (0, 0, 0)
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def baseline(catalog: Catalog, name: str) -> BaselineCard:
    """The card of ``<baseline>[/<variant>]``."""
    head, slash, _ = name.partition("/")
    card = catalog.baseline(head)
    if slash:
        catalog.model(name)
    return card


def boards_of(catalog: Catalog, name: str) -> dict[str, dict[str, dict[str, str]]]:
    """Track and role of each model of a baseline, by benchmark and by the model's name."""
    models = [f"{name}/{variant}" for variant in catalog.baseline(name).variants] or [name]
    boards: dict[str, dict[str, dict[str, str]]] = {}
    for model in models:
        for benchmark, use in catalog.boards_of(catalog.model(model)).items():
            boards.setdefault(benchmark, {})[model] = {"track": use.track, "role": use.role}
    return boards


def find(catalog: Catalog, name: str) -> BenchmarkSpec | DatasetSpec | BaselineCard:
    """Whatever has this name: ``ID[@VERSION]``, a dataset or ``<baseline>[/<variant>]``.

    Raises:
        UserError: nothing has it, or its card is broken.
    """
    if name.partition("@")[0] in catalog.benchmark_names():
        return benchmark(catalog, name)
    if name in catalog.dataset_names():
        return catalog.dataset(name)
    if name.partition("/")[0] in catalog.baseline_names():
        return baseline(catalog, name)
    known = [*catalog.benchmark_names(), *catalog.dataset_names(), *catalog.baseline_names()]
    raise unknown("benchmark, dataset or baseline", name, known)


def metric(spec: BenchmarkSpec, name: str) -> MetricInfo:
    """A metric with the unit that it has on this benchmark."""
    declared = metric_by_id(name)
    return MetricInfo(
        id=declared.id,
        title=declared.title,
        unit=declared.unit_for(spec.target.unit),
        higher_is_better=declared.higher_is_better,
        definition=declared.definition,
    )


def target_facts(spec: BenchmarkSpec) -> list[tuple[str, str]]:
    """What the kind of target says of a benchmark beside its metrics, as labels and texts."""
    return list(kind_of(spec.target).facts(spec.target))


def prediction_note(spec: BenchmarkSpec) -> str | None:
    """How a prediction is written, as Markdown; None where it is just a number."""
    return kind_of(spec.target).prediction_note(spec.target)


def predicted_piece(spec: BenchmarkSpec) -> str:
    """What the cost of predicting is counted by, such as a sample or a frame."""
    return kind_of(spec.target).piece
