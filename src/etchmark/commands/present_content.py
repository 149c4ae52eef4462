"""What ``list`` and ``show`` print: content as it is declared."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from etchmark.catalog import Catalog, catalog, unknown
from etchmark.commands.present import label_uncertainty, with_unit
from etchmark.data.loading import find_config, load_benchmark, read_config
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec, ReferenceLine, Subset
from etchmark.targets import kind_of
from etchmark.targets import metric as metric_by_id
from etchmark.text import one_line, print_json


def contents(content: Catalog) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """What there is, and one line for each card that cannot be read."""
    found: dict[str, list[dict[str, Any]]] = {"benchmarks": [], "datasets": [], "baselines": []}
    broken: list[str] = []

    def read(
        kind: str, names: Sequence[str], describe: Callable[[str], list[dict[str, Any]]]
    ) -> None:
        for name in names:
            try:
                found[kind] += describe(name)
            except UserError as error:
                broken.append(str(error))

    def benchmark(name: str) -> list[dict[str, Any]]:
        spec = content.benchmark(name)
        tracks = list(spec.tracks)
        return [{"id": spec.id, "version": spec.version, "title": spec.title, "tracks": tracks}]

    def dataset(name: str) -> list[dict[str, Any]]:
        spec = content.dataset(name)
        configs = list(spec.configs)
        return [
            {"name": spec.name, "version": spec.version, "title": spec.title, "configs": configs}
        ]

    def baseline(name: str) -> list[dict[str, Any]]:
        variants = [f"{name}/{variant}" for variant in content.baseline(name).variants]
        return [{"name": one, "title": content.model(one).card.title} for one in variants or [name]]

    read("benchmarks", content.benchmark_names(), benchmark)
    read("datasets", content.dataset_names(), dataset)
    read("baselines", content.baseline_names(), baseline)
    return found, broken


def show(name: str, as_json: bool) -> None:
    content = catalog()
    head = name.partition("@")[0]
    if head in content.benchmark_names():
        spec = content.benchmark(name)
        print_json(spec.model_dump(mode="json", by_alias=True)) if as_json else _show_benchmark(
            spec
        )
    elif name in content.dataset_names():
        _show_dataset(content, name, as_json)
    elif name.partition("/")[0] in content.baseline_names():
        card = content.baseline(name.partition("/")[0])
        if "/" in name:
            content.model(name)
        if as_json:
            print_json(card.model_dump(mode="json", by_alias=True))
            return
        _head(f"{card.name}: {card.title}", card.description)
        print("runs on: " + ", ".join(f"{k} (track {v.track})" for k, v in card.benchmarks.items()))
        for key, variant in card.variants.items():
            print(f"  {card.name}/{key:<34} {one_line(variant.title)}")
    else:
        known = [*content.benchmark_names(), *content.dataset_names(), *content.baseline_names()]
        raise unknown("benchmark, dataset or baseline", name, known)


def show_fingerprints(name: str, as_json: bool) -> None:
    """What to write into a benchmark's card once its data are released."""
    loaded = load_benchmark(name, unofficial=True)
    tracks = {track: loaded.config_folder(track)[1].fingerprint for track in loaded.spec.tracks}
    if as_json:
        print_json({"tracks": tracks, "target_fingerprint": loaded.target_fingerprint})
        return
    for track, value in tracks.items():
        print(f"tracks.{track}.fingerprint: {value}")
    print(f"target_fingerprint: {loaded.target_fingerprint}")


def _head(title: str, text: str) -> None:
    print(f"{one_line(title)}\n\n{textwrap.fill(one_line(text), 96)}\n")


def _row(label: str, text: str) -> None:
    print(f"{label:<10} {one_line(text)}")


def _show_benchmark(spec: BenchmarkSpec) -> None:
    target = spec.target
    _head(f"{spec.key}: {spec.title}", spec.summary)
    _row("target", f"{target.quantity} {target.symbol}, {target.unit} (column {target.column})")
    for position, (name, protocol) in enumerate(spec.protocols.items()):
        mark = " (headline)" if position == 0 else ""
        _row("protocol", f"{name}{mark}: {protocol.title}")
    for name, track in spec.tracks.items():
        _row("track", f"{name}: {track.title}")
    for name in spec.metrics:
        chosen = metric_by_id(name)
        mark = " (primary)" if name == spec.primary_metric else ""
        unit = chosen.unit_for(target.unit)
        shown = "" if unit == "1" else f", in {unit}"
        _row("metric", f"{name}{mark}: {chosen.title}{shown}; {chosen.definition}")
    _row("intervals", f"95 %, bootstrap over the {spec.unit_name}")
    for label, text in kind_of(target).facts(target):
        _row(label, text)
    for name, subset in spec.subsets.items():
        _row("subset", f"{name}: {subset.title} ({condition(subset)})")
    if spec.label_uncertainty:
        _row("labels", label_uncertainty(spec))
    for line in spec.reference_lines:
        _row("reference", reference(spec, line))
    _row("licence", spec.licence)
    for citation in spec.citations:
        _row("cite", citation.title + (f", DOI {citation.doi}" if citation.doi else ""))


def condition(subset: Subset) -> str:
    """Which samples a subset holds, such as ``contrast > 20``."""
    if subset.equals is not None:
        return f"{subset.column} = {subset.equals}"
    parts = [
        f"{subset.column} {sign} {value:g}"
        for sign, value in ((">", subset.above), ("<", subset.below))
        if value is not None
    ]
    return " and ".join(parts)


def reference(spec: BenchmarkSpec, line: ReferenceLine) -> str:
    """A reference line in words: what is drawn, where it comes from, what must be known."""
    where = "" if line.benchmark is None else f" on {line.benchmark}"
    if line.value is not None and line.metric is not None:
        unit = metric_by_id(line.metric).unit_for(spec.target.unit)
        said = f"{line.label}: {line.metric} {with_unit(line.value, unit)}"
    elif line.best:
        said = f"{line.label}: the best{where}"
    else:
        said = f"{line.label}: {line.model}{where}"
    limits = [f"{kind} {value}" for kind, value in _where(line) if value]
    said += f" ({', '.join(limits)})" if limits else ""
    said += f"; {line.note}" if line.note else ""
    if line.source is not None:
        said += f"; {line.source.title}" + (f", DOI {line.source.doi}" if line.source.doi else "")
    return said


def _where(line: ReferenceLine) -> list[tuple[str, str | None]]:
    return [("track", line.track), ("protocol", line.protocol), ("split", line.split)]


def _show_dataset(content: Catalog, name: str, as_json: bool) -> None:
    spec = content.dataset(name)
    if as_json:
        print_json(spec.model_dump(mode="json", by_alias=True))
        return
    _head(f"{spec.name} (version {spec.version}): {spec.title}", spec.summary)
    for config, declared in spec.configs.items():
        folder = find_config(content, name, config)
        state = "not on this machine" if folder is None else str(folder)
        needs = ", needs a download" if declared.network else ""
        _row("config", f"{config}: {declared.title}, {declared.rows} rows{needs}; {state}")
        if folder is not None:
            try:
                said = f"fingerprint {read_config(folder, name, config).fingerprint}"
            except UserError as error:  # one broken config must not hide the others
                said = f"cannot be used: {error}"
            _row("", said)
    _row("licence", spec.licence)
