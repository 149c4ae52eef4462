"""A benchmark, dataset or baseline as it is declared."""

from __future__ import annotations

import textwrap

from etchmark.api import Hub, LocalHub
from etchmark.commands.present.scores import discretisation, with_unit
from etchmark.errors import UserError
from etchmark.specs import BaselineCard, BenchmarkSpec, DatasetSpec, ReferenceLine, Subset
from etchmark.text import one_line, print_json


def show(name: str, as_json: bool) -> None:
    """Whatever has this name: ``ID[@VERSION]``, a dataset, ``<baseline>[/<variant>]``."""
    hub = LocalHub()
    content = hub.find(name)
    if as_json and isinstance(content, BaselineCard):
        shown = content.model_dump(mode="json", by_alias=True, exclude={"benchmarks"})
        print_json({**shown, "runs_on": hub.boards_of(content.name)})
    elif as_json:
        print_json(content.model_dump(mode="json", by_alias=True))
    elif isinstance(content, BenchmarkSpec):
        _show_benchmark(hub, content)
    elif isinstance(content, DatasetSpec):
        _show_dataset(hub, content)
    else:
        _show_baseline(hub, content)


def show_fingerprints(name: str, as_json: bool) -> None:
    """What to write into a benchmark's YAML once its data are released."""
    data = LocalHub().fingerprints(name)
    if as_json:
        print_json({"tracks": data.tracks, "target_fingerprint": data.target})
        return
    for track, value in data.tracks.items():
        print(f"tracks.{track}.fingerprint: {value}")
    print(f"target_fingerprint: {data.target}")


def _show_baseline(hub: Hub, card: BaselineCard) -> None:
    _head(f"{card.name}: {card.title}", card.description)
    for benchmark, models in hub.boards_of(card.name).items():
        uses: dict[tuple[str, str], list[str]] = {}
        for name, use in models.items():
            uses.setdefault((use["track"], use["role"]), []).append(name.partition("/")[2])
        for (track, role), variants in uses.items():
            which = f": {', '.join(variants)}" if len(variants) < len(card.variants) else ""
            _row("runs on", f"{benchmark} (track {track}, {role}){which}")
    for key, variant in card.variants.items():
        print(f"  {card.name}/{key:<34} {one_line(variant.title)}")


def _head(title: str, text: str) -> None:
    print(f"{one_line(title)}\n\n{textwrap.fill(one_line(text), 96)}\n")


def _row(label: str, text: str) -> None:
    print(f"{label:<10} {one_line(text)}")


def _show_benchmark(hub: Hub, spec: BenchmarkSpec) -> None:
    target = spec.target
    _head(f"{spec.key}: {spec.title}", spec.summary)
    others = [key for key in hub.versions(spec.id) if key != spec.key]
    if others:
        _row("versions", f"also {', '.join(others)}; the current one is {hub.versions(spec.id)[0]}")
    unit = "" if target.unit == "1" else f", {target.unit}"
    _row("target", f"{target.quantity} {target.symbol}{unit} (column {target.column})")
    for position, (name, protocol) in enumerate(spec.protocols.items()):
        mark = " (headline)" if position == 0 else ""
        _row("protocol", f"{name}{mark}: {protocol.title}")
    for name, track in spec.tracks.items():
        _row("track", f"{name}: {track.title}")
    for name in spec.metrics:
        metric = hub.metric(spec, name)
        mark = " (primary)" if name == spec.primary_metric else ""
        shown = "" if metric.unit == "1" else f", in {metric.unit}"
        _row("metric", f"{name}{mark}: {metric.title}{shown}; {metric.definition}")
    _row("intervals", f"95 %, jackknife over {spec.unit_names}")
    for label, text in hub.target_facts(spec):
        _row(label, text)
    for name, subset in spec.subsets.items():
        _row("subset", f"{name}: {subset.title} ({condition(subset)})")
    if spec.discretisation_error:
        _row("labels", f"discretisation error: {discretisation(hub, spec)}")
    for line in spec.reference_lines:
        _row("reference", reference(hub, spec, line))
    for baseline, use in spec.baselines.items():
        seeds = f", {use.seeds} seeds" if use.seeds > 1 else ""
        seeds = ", deterministic" if use.deterministic else seeds
        without = f", without {', '.join(use.without)}" if use.without else ""
        _row("baseline", f"{baseline} (track {use.track}, {use.role}{seeds}){without}")
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


def reference(hub: Hub, spec: BenchmarkSpec, line: ReferenceLine) -> str:
    """A reference line in words: what is drawn, where it comes from, what must be known."""
    where = "" if line.benchmark is None else f" on {line.benchmark}"
    if line.value is not None and line.metric is not None:
        unit = hub.metric(spec, line.metric).unit
        text = f"{line.label}: {line.metric} {with_unit(line.value, unit)}"
    elif line.best:
        text = f"{line.label}: the best{where}"
    else:
        text = f"{line.label}: {line.model}{where}"
    limits = [f"{kind} {value}" for kind, value in _where(line) if value]
    text += f" ({', '.join(limits)})" if limits else ""
    text += f"; {line.note}" if line.note else ""
    if line.source is not None:
        text += f"; {line.source.title}" + (f", DOI {line.source.doi}" if line.source.doi else "")
    return text


def _where(line: ReferenceLine) -> list[tuple[str, str | None]]:
    return [("track", line.track), ("protocol", line.protocol), ("split", line.split)]


def _show_dataset(hub: Hub, spec: DatasetSpec) -> None:
    _head(f"{spec.name} (version {spec.version}): {spec.title}", spec.summary)
    for config, declared in spec.configs.items():
        folder = hub.config_folder(spec.name, config)
        state = "not on this machine" if folder is None else str(folder)
        needs = ", needs a download" if declared.network else ""
        _row("config", f"{config}: {declared.title}, {declared.rows} rows{needs}; {state}")
        if folder is not None:
            try:
                manifest = hub.manifest(spec.name, config)
                note = "" if manifest is None else f"fingerprint {manifest.fingerprint}"
            except UserError as error:  # one broken config must not hide the others
                note = f"cannot be used: {error}"
            _row("", note)
    _row("licence", spec.licence)
