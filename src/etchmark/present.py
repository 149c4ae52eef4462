"""What the commands print; kept apart from ``cli.py`` so that ``--help`` imports none of it."""

from __future__ import annotations

import json
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from etchmark.catalog import Catalog, catalog, unknown
from etchmark.data.download import download as fetch_config
from etchmark.data.loading import find_config, load_benchmark, read_manifest
from etchmark.errors import UserError
from etchmark.evaluation.evaluate import Limits
from etchmark.registry import standings as board
from etchmark.registry import submissions
from etchmark.registry.store import Store
from etchmark.scoring.metrics import metric as metric_by_id
from etchmark.specs import BenchmarkSpec, MetricScore, ResultRecord, SplitScore

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def plain(text: str) -> str:
    """Text without characters that steer a terminal or turn the writing direction."""
    return "".join(
        char
        if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co"}
        else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def csv_safe(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def number(value: float | None) -> str:
    """Four significant digits, without an exponent where it can be helped."""
    if value is None or pd.isna(value):
        return "–"
    if abs(value) >= 1e9:
        return f"{value:.3e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:#.4g}" if abs(value) >= 1e-3 else f"{value:.3g}"


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


# --- list and show -----------------------------------------------------------------------------


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
        _print_json(spec.model_dump(mode="json", by_alias=True)) if as_json else _show_benchmark(
            spec
        )
    elif name in content.dataset_names():
        _show_dataset(content, name, as_json)
    elif name.partition("/")[0] in content.baseline_names():
        card = content.baseline(name.partition("/")[0])
        if "/" in name:
            content.model(name)
        if as_json:
            _print_json(card.model_dump(mode="json", by_alias=True))
            return
        print(f"{card.name}: {card.title}\n\n{textwrap.fill(card.description, 96)}\n")
        print("runs on: " + ", ".join(f"{k} (track {v.track})" for k, v in card.benchmarks.items()))
        for key, variant in card.variants.items():
            print(f"  {card.name}/{key:<34} {variant.title}")
    else:
        known = [*content.benchmark_names(), *content.dataset_names(), *content.baseline_names()]
        raise unknown("benchmark, dataset or baseline", name, known)


def show_fingerprints(name: str, as_json: bool) -> None:
    """What to write into a benchmark's card once its data are released."""
    loaded = load_benchmark(name, unofficial=True)
    tracks = {track: loaded.config_folder(track)[1].fingerprint for track in loaded.spec.tracks}
    if as_json:
        _print_json({"tracks": tracks, "target_fingerprint": loaded.target_fingerprint})
        return
    for track, value in tracks.items():
        print(f"tracks.{track}.fingerprint: {value}")
    print(f"target_fingerprint: {loaded.target_fingerprint}")


def _show_benchmark(spec: BenchmarkSpec) -> None:
    target = spec.target
    print(f"{spec.key}: {spec.title}\n\n{textwrap.fill(spec.summary.strip(), 96)}\n")
    print(f"target     {target.quantity} {target.symbol}, {target.unit} (column {target.column})")
    for position, (name, protocol) in enumerate(spec.protocols.items()):
        mark = " (headline)" if position == 0 else ""
        print(f"protocol   {name}{mark}: {protocol.title}")
    for name, track in spec.tracks.items():
        print(f"track      {name}: {track.title}")
    print(f"metrics    {', '.join(spec.metrics)} (primary {spec.primary_metric})")
    print(f"intervals  95 %, bootstrap over the {spec.unit_name}")
    print(f"licence    {spec.licence}")
    for citation in spec.citations:
        print(f"cite       {citation.title}" + (f", DOI {citation.doi}" if citation.doi else ""))


def _show_dataset(content: Catalog, name: str, as_json: bool) -> None:
    spec = content.dataset(name)
    if as_json:
        _print_json(spec.model_dump(mode="json", by_alias=True))
        return
    print(
        f"{spec.name} (version {spec.version}): {spec.title}\n\n{textwrap.fill(spec.summary, 96)}\n"
    )
    for config, declared in spec.configs.items():
        folder = find_config(content, name, config)
        state = "not on this machine" if folder is None else str(folder)
        needs = ", needs a download" if declared.network else ""
        print(f"config     {config}: {declared.title}, {declared.rows} rows{needs}; {state}")
        if folder is not None:
            print(f"           fingerprint {read_manifest(folder).fingerprint}")
    print(f"licence    {spec.licence}")


# --- data --------------------------------------------------------------------------------------


def download(name: str, *, split: str | None, track: str | None, out: Path | None) -> None:
    content = catalog()
    head, _, config = name.partition(":")
    if head.partition("@")[0] in content.benchmark_names():
        spec = content.benchmark(head)
        track = track or config or next(iter(spec.tracks))
        if track not in spec.tracks:
            raise unknown(f"track of {spec.id}", track, spec.tracks)
        others = [other for other in spec.tracks if other != track]
        dataset, config = spec.dataset, spec.tracks[track].config
        if others:
            print(f"track {track} of {spec.key}; other tracks: {', '.join(others)} (--track)")
    elif head in content.dataset_names():
        if track:
            raise UserError(f"{head} is a dataset; tracks belong to benchmarks: drop --track")
        dataset = head
    else:
        known = [*content.benchmark_names(), *content.dataset_names()]
        raise unknown("benchmark or dataset", head, known)
    got = fetch_config(content, dataset, config or None, split=split, out=out)
    print(f"{dataset}:{got.manifest.config}: {got.origin}; SHA-256 verified")
    print(f"fingerprint {got.manifest.fingerprint}")
    for path in got.files:
        print(path)


# --- scores ------------------------------------------------------------------------------------


def _interval(score: MetricScore) -> str:
    if score.ci_low is None or score.ci_high is None:
        return "–"
    return f"{number(score.ci_low)} … {number(score.ci_high)}"


def scores(spec: BenchmarkSpec, protocol: str, given: list[SplitScore], as_json: bool) -> None:
    if as_json:
        splits = [one.model_dump(mode="json") for one in given]
        _print_json({"benchmark": spec.key, "protocol": protocol, "splits": splits})
        return
    rows = [
        ["split", "metric", "score", "95 % interval", "unit", "n", f"{spec.unit_name}s", "folds"]
    ]
    for one in given:
        for name, score in one.metrics.items():
            folds = (
                ""
                if score.fold_mean is None
                else f"{number(score.fold_mean)} ± {number(score.fold_sd)}"
            )
            unit = metric_by_id(name).unit_for(spec.target.unit)
            rows.append(
                [
                    one.split,
                    name,
                    number(score.value),
                    _interval(score),
                    unit,
                    str(one.n),
                    str(one.units),
                    folds,
                ]
            )
    print(f"{spec.key}, protocol {protocol}")
    print(_columns(rows))


def evaluate(
    model: str,
    benchmark: str,
    *,
    track: str | None,
    protocol: str | None,
    keep: bool,
    seeds: int,
    device: str,
    limits: Limits,
    export: Path | None,
    unofficial: bool,
    show_log: bool,
    as_json: bool,
) -> None:
    if device not in {"cpu", "auto"} and not device.startswith("cuda"):
        raise UserError(f"unknown device {device!r}; known are: cpu, cuda, auto")
    loaded = load_benchmark(benchmark, unofficial=unofficial)
    source = loaded.catalog.model(model)
    if export is not None:
        submissions.check_export(export)
    # Opened first: a registry that cannot be written is found before the model has run.
    store = Store() if keep else None
    with submissions.temporary_folder() as folder:
        done = submissions.evaluate_model(
            loaded,
            source,
            Path(folder),
            track=track,
            protocol=protocol,
            seeds=seeds,
            device=device,
            limits=limits,
            progress=sys.stderr.isatty(),
        )
        record = done.prepared.record
        new = store is not None and submissions.commit(store, done.prepared)
        if export is not None and record.outcome == "ok":
            submissions.export(done.prepared, export)
    if record.outcome == "failed":
        if show_log and done.log.strip():
            print(textwrap.indent(plain_lines(done.log), "  | "), file=sys.stderr)
        noted = "recorded as failed, not ranked" if keep else "nothing stored"
        more = "" if show_log else "; --show-log prints what it said"
        raise UserError(f"{record.name} failed: {record.reason} ({noted}{more})")
    if as_json:
        _print_json(record.model_dump(mode="json", by_alias=True))
        return
    scores(loaded.spec, record.protocol, record.scores, as_json=False)
    cost = record.cost
    print(
        f"{plain(record.name)}, track {record.track}: fit {number(cost.fit_seconds)} s, predict"
        f" {number(cost.predict_seconds)} s, {(cost.peak_memory_bytes or 0) / 2**20:.0f} MiB"
    )
    if keep:
        said = "" if new else ": this very result was there already"
        print(f"stored as {record.submission[:12]}{said}")
    else:
        print("nothing stored")


def plain_lines(text: str, last: int = 15) -> str:
    return "\n".join(plain(line)[:200] for line in text.splitlines()[-last:])


def submit(
    file: Path,
    benchmark: str,
    *,
    name: str,
    card: Path | None,
    protocol: str | None,
    track: str | None,
    export: Path | None,
    as_json: bool,
) -> None:
    loaded = load_benchmark(benchmark)
    store = Store()
    prepared = submissions.prepare_file(
        loaded,
        file,
        name=name,
        card=submissions.read_card(card),
        track=track,
        protocol=protocol,
    )
    if export is not None:
        submissions.export(prepared, export)
    new = submissions.commit(store, prepared)
    record = prepared.record
    if as_json:
        _print_json(record.model_dump(mode="json", by_alias=True))
        return
    scores(loaded.spec, record.protocol, record.scores, as_json=False)
    where = _standing(loaded.spec, store, record)
    print(f"{'stored' if new else 'was stored already'} as {record.submission[:12]}{where}")
    if export is not None:
        print(f"exported to {export}; see CONTRIBUTING.md for the public board")


def _standing(spec: BenchmarkSpec, store: Store, record: ResultRecord) -> str:
    frame = board.standings(spec, store, protocol=record.protocol)
    row = frame[frame["submission"] == record.submission]
    if row.empty:
        return ""
    one = row.iloc[0]
    return f": rank {one['rank']} of {len(frame)} (95 % range {one['rank_low']}–{one['rank_high']})"


# --- leaderboard -------------------------------------------------------------------------------


def leaderboard(
    benchmark: str,
    *,
    track: str | None,
    protocol: str | None,
    split: str | None,
    metric: str | None,
    everything: bool,
    form: str,
) -> None:
    spec = catalog().benchmark(benchmark)
    frame = board.standings(
        spec,
        Store(),
        track=track,
        protocol=protocol,
        split=split,
        metric=metric,
        everything=everything,
    )
    if form == "json":
        _print_json(board.to_records(frame))
        return
    if form == "csv":
        print(to_csv(frame), end="")
        return
    if frame.empty:
        where = f" in track {track}" if track else ""
        print(f"no submission to {spec.key}{where} here yet; see `etchmark list`", file=sys.stderr)
        return
    first = frame.iloc[0]
    print(f"{spec.key}: {spec.title}")
    print(
        f"protocol {first['protocol']}, split {first['split']}, {first['metric']} in"
        f" {first['unit']}, 95 % interval and rank range over {first['units']} {spec.unit_name}s"
    )
    head = ["rank", "range", "model", "track", first["metric"], "95 % interval", "status", "fit s"]
    rows = [head]
    for row in frame.to_dict(orient="records"):
        ranked = not pd.isna(row["rank"])
        rows.append(
            [
                str(row["rank"]) if ranked else "–",
                f"{row['rank_low']}–{row['rank_high']}" if ranked else "–",
                plain(str(row["model"]))[:48],
                row["track"],
                number(row["score"]),
                f"{number(row['ci_low'])} … {number(row['ci_high'])}",
                row["status"] if row["outcome"] == "ok" else "failed",
                number(row["fit_seconds"]),
            ]
        )
    print(_columns(rows))
    if not everything:
        print("(--all also shows failed, incomplete and superseded submissions)")


def to_csv(frame: pd.DataFrame) -> str:
    """The board as CSV in which no name is taken for a formula."""
    safe = frame.copy()
    safe["tags"] = [";".join(tags) for tags in safe["tags"]]
    for column in ("model", "title", "reason", "tags", "hardware"):
        safe[column] = [
            csv_safe(value) if isinstance(value, str) else value for value in safe[column]
        ]
    return safe.to_csv(index=False)
