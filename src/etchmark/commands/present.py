"""What the commands print; kept apart from ``cli.py`` so that ``--help`` imports none of it."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from textwrap import shorten
from typing import Any, TextIO

import pandas as pd

from etchmark import files
from etchmark.boards import standings as board
from etchmark.boards.references import reference_values
from etchmark.catalog import catalog, unknown
from etchmark.data.building import Executors
from etchmark.data.download import download as fetch_config
from etchmark.data.loading import Benchmark, load_benchmark
from etchmark.errors import UserError
from etchmark.evaluation.evaluate import Options, resolve_track
from etchmark.evaluation.mini import mini_of
from etchmark.registry.store import Store
from etchmark.scoring.doubts import Doubt
from etchmark.scoring.score import Scored
from etchmark.specs import (
    BenchmarkSpec,
    MetricScore,
    ResultRecord,
    SplitScore,
    SubsetScore,
)
from etchmark.submission import submit as submissions
from etchmark.targets import metric as metric_by_id
from etchmark.text import csv_text, number, one_line, plain, print_json

TRACE_LINES = 15
NAME_WIDTH = 60
"""Characters of a model's name on a printed board; baselines' names are shorter."""


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text, the first of them the head, in columns; each cell is one plain line."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


# --- data --------------------------------------------------------------------------------------


def download(
    name: str,
    *,
    split: str | None,
    track: str | None,
    out: Path | None,
    force: bool,
    executors: Executors | None = None,
) -> bool:
    """Have data on this machine and say where; False if they are not those of the release."""
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
    got = fetch_config(
        content, dataset, config or None, split=split, out=out, force=force, executors=executors
    )
    print(f"{dataset}:{got.config}: {got.origin}; {got.check}")
    if got.manifest is not None:
        print(f"fingerprint {got.manifest.fingerprint}")
    else:
        print(
            f"split {split} alone; scoring needs them all: `etchmark download"
            f" {dataset}:{got.config}` makes the others"
        )
    for path in got.files:
        print(plain(str(path)))
    if got.difference is not None:
        print(f"error: {one_line(got.difference.advice())}", file=sys.stderr)
    return got.difference is None


# --- scores ------------------------------------------------------------------------------------


def _interval(score: MetricScore) -> str:
    if score.ci_low is None or score.ci_high is None:
        return "–"
    return f"{number(score.ci_low)} … {number(score.ci_high)}"


def scored(spec: BenchmarkSpec, protocol: str, outcome: Scored, as_json: bool) -> None:
    """Scores of a predictions file, and doubts about it on stderr."""
    if as_json:
        splits = [split.model_dump(mode="json") for split in outcome.scores]
        doubts = [asdict(doubt) for doubt in outcome.doubts]
        print_json(
            {"benchmark": spec.key, "protocol": protocol, "splits": splits, "doubts": doubts}
        )
    else:
        scores(spec, protocol, outcome.scores)
    _warn(outcome.doubts)


def _warn(doubts: Iterable[Doubt]) -> None:
    # What was printed before comes before it, though it goes elsewhere.
    sys.stdout.flush()
    for doubt in doubts:
        print(f"warning: {plain(doubt.message)}", file=sys.stderr)


def scores(spec: BenchmarkSpec, protocol: str, given: list[SplitScore]) -> None:
    rows = [["split", "metric", "score", "95 % interval", "unit", "n", spec.unit_names, "folds"]]
    for one in given:
        rows += _score_rows(spec, one.split, one)
        for some in one.subsets:
            rows += _score_rows(spec, f"{one.split}, {some.subset}", some)
    print(f"{spec.key}, protocol {protocol}")
    print(table(rows))


def _score_rows(
    spec: BenchmarkSpec, where: str, given: SplitScore | SubsetScore
) -> list[list[str]]:
    rows = []
    for name, score in given.metrics.items():
        folds = ""
        if score.fold_mean is not None:
            folds = f"{number(score.fold_mean)} ± {number(score.fold_sd)}"
        unit = metric_by_id(name).unit_for(spec.target.unit)
        counts = [str(given.n), str(given.units)]
        rows.append([where, name, number(score.value), _interval(score), unit, *counts, folds])
    return rows


def with_unit(value: float, unit: str) -> str:
    """A number and its unit, which is left out where it is one."""
    return number(value) if unit == "1" else f"{number(value)} {unit}"


def label_uncertainty(spec: BenchmarkSpec) -> str:
    """The band within which differences have no physical meaning, as one line."""
    declared = spec.label_uncertainty
    if declared is None:
        return ""
    unit = metric_by_id(declared.metric).unit_for(spec.target.unit)
    why = " ".join(declared.description.split())
    return (
        f"{declared.metric} {with_unit(declared.value, unit)} is the uncertainty of the labels;"
        f" differences below it have no physical meaning ({why})"
    )


def evaluate(
    model: str,
    benchmark: str,
    *,
    track: str | None,
    protocol: str | None,
    keep: bool,
    options: Options,
    export: Path | None,
    force: bool,
    unofficial: bool,
    show_log: bool,
    as_json: bool,
    mini: bool,
    curves: bool,
) -> None:
    loaded = load_benchmark(benchmark, unofficial=unofficial)
    source = loaded.catalog.model(model)
    if curves and not source.curves:
        raise UserError(f"{source.name} declares no curves on its card; drop --curves")
    if export is not None:
        submissions.check_export(export, force=force)
    if mini:
        track = resolve_track(source, loaded, track)
        # Nothing but JSON on stdout where JSON is asked for.
        loaded = _mini(loaded, track, export, sys.stderr if as_json else sys.stdout)
    # Opened first: a registry that cannot be written is found before the model has run.
    store = Store() if keep else None
    if store is not None:
        store.require_writable()
    submissions.check_source(store, loaded.catalog, source)
    # A run that is not stored is there to be watched.
    watched = show_log or mini
    with files.temporary_folder() as folder:
        done = submissions.evaluate_model(
            loaded,
            source,
            folder,
            track=track,
            protocol=protocol,
            options=replace(
                options,
                progress=sys.stderr.isatty() and not watched,
                echo=_echo if watched else None,
            ),
            say=(lambda said: print(one_line(said), file=sys.stderr)) if curves else None,
        )
        record = done.prepared.record
        new = store is not None and bool(submissions.commit(store, done.prepared))
        if export is not None and record.outcome == "ok":
            submissions.export(done.prepared, export, force=force)
        done.forget()
    if record.outcome == "failed":
        if show_log:
            for line in done.trace.splitlines()[-TRACE_LINES:]:
                _echo(line)
        noted = "recorded as failed, not ranked" if keep else "nothing stored"
        more = "; its checkpoints are kept for --resume" if options.resume else ""
        more += "" if show_log else "; --show-log prints what it printed and where it failed"
        raise UserError(f"{record.name} failed: {record.reason} ({noted}{more})")
    if as_json:
        print_json(record.model_dump(mode="json", by_alias=True))
        return
    _evaluated(loaded, record, store, new=new)


def _evaluated(loaded: Benchmark, record: ResultRecord, store: Store | None, *, new: bool) -> None:
    """Scores and cost of a model that ran, and where they are kept, if they are."""
    scores(loaded.spec, record.protocol, record.scores)
    cost = record.cost
    print(
        f"{one_line(record.name)}, track {record.track}: fit {number(cost.fit_seconds)} s, predict"
        f" {number(cost.predict_seconds)} s, {(cost.peak_memory_bytes or 0) / 2**20:.0f} MiB"
    )
    if store is None:
        print("nothing stored")
        return
    again = "" if new else " again, in place of the run that predicted the very same"
    where = _standing(loaded.spec, store, record)
    print(f"stored as {record.submission[:12]}{again}{where}")


def _mini(loaded: Benchmark, track: str, export: Path | None, out: TextIO) -> Benchmark:
    """The benchmark on its small config where it has one; said aloud, since scores differ."""
    if export is not None:
        raise UserError("a mini run is no submission; drop --mini or --export")
    small = mini_of(loaded, track)
    if small is None:
        return loaded
    print(f"mini: {small.spec.tracks[track].config}, not comparable", file=out)
    return small


def _echo(line: str) -> None:
    """Show a line that a model has printed."""
    print(f"  | {one_line(line)[:200]}".rstrip(), file=sys.stderr, flush=True)


def submit(
    file: Path,
    benchmark: str,
    *,
    name: str,
    card: Path | None,
    protocol: str | None,
    track: str | None,
    export: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    if export is not None:
        submissions.check_export(export, force=force)
    loaded = load_benchmark(benchmark)
    store = Store()
    store.require_writable()
    prepared = submissions.prepare_file(
        loaded,
        file,
        name=name,
        card=submissions.read_card(card),
        track=track,
        protocol=protocol,
    )
    submissions.check_stored(name, store.names())
    if export is not None:
        submissions.export(prepared, export, force=force)
    committed = submissions.commit(store, prepared)
    record = prepared.record
    if as_json:
        print_json(record.model_dump(mode="json", by_alias=True))
    else:
        scores(loaded.spec, record.protocol, record.scores)
        where = _standing(loaded.spec, store, record)
        print(f"{committed.value} as {record.submission[:12]}{where}")
        if export is not None:
            print(f"exported to {plain(str(export))}; see CONTRIBUTING.md for the public board")
    _warn(prepared.doubts)


def _standing(spec: BenchmarkSpec, store: Store, record: ResultRecord) -> str:
    frame = board.standings(spec, store, board.View(record.protocol))
    row = frame[frame["submission"] == record.submission]
    if row.empty:
        return ""
    one = row.iloc[0]
    earlier = submissions.earlier(store, record)
    place = f"rank {one['rank']} of {len(frame)} (95 % range {one['rank_low']}–{one['rank_high']})"
    return f": {place}" + (f", in the place of {earlier[-1].submission[:12]}" if earlier else "")


# --- leaderboard -------------------------------------------------------------------------------


def leaderboard(
    benchmark: str,
    *,
    track: str | None,
    protocol: str | None,
    split: str | None,
    metric: str | None,
    subset: str | None,
    where: Mapping[str, Any],
    everything: bool,
    form: str,
) -> None:
    spec = catalog().benchmark(benchmark)
    narrowed = board.Where.of(**where)
    store = Store()
    frame = board.standings(
        spec,
        store,
        board.View(protocol, split, metric, subset, track),
        where=narrowed,
        everything=everything,
    )
    if form == "json":
        print_json(board.to_records(frame))
        return
    if form == "csv":
        print(csv_text(frame), end="")
        return
    if frame.empty:
        place = f" in track {track}" if track else ""
        hint = "see `etchmark list`" if narrowed == board.Where() else "give fewer filters"
        print(f"no submission to {spec.key}{place} here yet; {hint}", file=sys.stderr)
        return
    first = frame.iloc[0]
    print(f"{spec.key}: {one_line(spec.title)}")
    among = f", subset {subset}" if subset else ""
    among += f", {first['metric']}" + ("" if first["unit"] == "1" else f" in {first['unit']}")
    print(
        f"protocol {first['protocol']}, split {first['split']}{among},"
        f" 95 % interval and rank range over {first['units']} {spec.unit_names}"
    )
    head = ["rank", "range", "model", "track", first["metric"], "95 % interval", "status", "fit s"]
    rows = [[*head, "note"] if everything else head]
    for row in frame.to_dict(orient="records"):
        ranked = not pd.isna(row["rank"])
        rows.append(
            [
                str(row["rank"]) if ranked else "–",
                f"{row['rank_low']}–{row['rank_high']}" if ranked else "–",
                _short_name(row["model"]),
                row["track"],
                number(row["score"]),
                f"{number(row['ci_low'])} … {number(row['ci_high'])}",
                row["status"] if row["outcome"] == "ok" else "failed",
                _fit_seconds(row),
                *([_unranked(row)] if everything else []),
            ]
        )
    print(table(rows))
    if subset is None:
        view = (str(first[name]) for name in ("protocol", "metric", "split"))
        _print_references(spec, store, *view)
    declared = spec.label_uncertainty
    if declared and declared.holds_for(str(first["metric"]), str(first["split"])):
        print(f"labels: {label_uncertainty(spec)}")
    if not everything:
        print("(--all also shows failed, incomplete and superseded submissions)")


def _short_name(name: str) -> str:
    """A name on one line; where it is cut, it shows that."""
    shown = one_line(name)
    return shown if len(shown) <= NAME_WIDTH else f"{shown[: NAME_WIDTH - 1]}…"


def _fit_seconds(row: Mapping[Any, Any]) -> str:
    """Seconds of fitting as measured, or as the submitter claims."""
    claimed = (row["claimed"] or {}).get("fit_seconds")
    if claimed is not None and pd.isna(row["fit_seconds"]):
        return f"{number(claimed)} claimed"
    return number(row["fit_seconds"])


def _unranked(row: Mapping[Hashable, Any]) -> str:
    """Why a row has no rank; empty if it has one."""
    if row["outcome"] != "ok":
        return f"failed: {shorten(plain(str(row['reason'])), 60, placeholder='…')}"
    if row["superseded"]:
        return "superseded by a newer submission of the same name"
    return "no score here" if pd.isna(row["score"]) else ""


def _print_references(
    spec: BenchmarkSpec, store: Store, protocol: str, metric: str, split: str
) -> None:
    """Reference lines that stand in no row of the board."""
    for declared, value in reference_values(
        catalog(), spec, store, protocol=protocol, metric=metric, split=split
    ):
        if declared.value is None and declared.benchmark is None:
            continue
        unit = metric_by_id(metric).unit_for(spec.target.unit)
        shown = number(value) + ("" if unit == "1" else f" {unit}")
        track = f", track {declared.track}," if declared.track else ""
        where = f" ({declared.model or 'best'}{track} on {declared.benchmark})"
        said = f"{declared.label} {shown}{where if declared.benchmark else ''}"
        said += f"; {declared.note}" if declared.note else ""
        said += f"; {declared.source.title}" if declared.source else ""
        print(f"reference: {one_line(said)}")
