"""From a predictions file to a stored result record: the way of every submission."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from etchmark import environment, files, predictions
from etchmark.catalog import (
    Catalog,
    ModelSource,
    explain,
    pick_protocol,
    pick_track,
    read_record,
)
from etchmark.data.loading import Benchmark
from etchmark.errors import UserError
from etchmark.evaluation.curves import Curves, Say
from etchmark.evaluation.evaluate import Options, one_line, resolve_track, run_model
from etchmark.names import first_alike, unfit
from etchmark.registry.identity import submission_id as submission_id
from etchmark.registry.store import LOCAL, REVIEWED, Found, Store
from etchmark.registry.tables import MIN_PREFIX, Entry
from etchmark.scoring.doubts import Doubt
from etchmark.scoring.samples import table_bytes
from etchmark.scoring.score import Scored, read_for, score_predictions
from etchmark.specs import (
    BenchmarkSpec,
    Cost,
    Curve,
    Fingerprints,
    ModelCard,
    ModelName,
    ResultRecord,
    Status,
)
from etchmark.specs.task import Task
from etchmark.text import escape_json

RECORD, TABLE, PREDICTIONS = "record.json", "samples.parquet", "predictions"
EXPORTED = frozenset((RECORD, TABLE, f"{PREDICTIONS}.parquet", f"{PREDICTIONS}.csv"))
"""Names of the files of an exported submission."""


@dataclass(frozen=True)
class Prepared:
    """A submission that has been scored and not yet stored."""

    record: ResultRecord
    samples: bytes | None
    predictions: list[Path]
    doubts: Sequence[Doubt] = ()
    """What about the predictions looks like a mistake; shown and not stored."""


def check_name(name: str) -> str:
    """A new model's name: one line of 1 to 100 characters, all of which a reader sees.

    Raises:
        UserError: it is none. Stored names, which older versions took in, are not held to this.
    """
    try:
        TypeAdapter(ModelName).validate_python(name)
    except ValidationError:
        raise UserError(
            f"name {name[:40]!a}: must be one line of 1 to 100 characters without control"
            " characters or outer blanks; give another name"
        ) from None
    fault = unfit(name)
    if fault is not None:
        raise UserError(f"name {name[:40]!a}: {fault}; give another name")
    return name


def read_card(path: Path | None) -> ModelCard:
    if path is None:
        return ModelCard()
    return read_record(path, ModelCard)


@dataclass(frozen=True)
class Stated:
    """Track and protocol of a predictions file, agreed between its metadata and the options."""

    track: str | None
    protocol: str


def agree(
    spec: BenchmarkSpec,
    declared: predictions.Declared,
    *,
    track: str | None,
    protocol: str | None,
    need_track: bool,
) -> Stated:
    """Refuse what contradicts itself or leaves open what must be said."""
    if declared.benchmark and declared.benchmark != spec.key:
        raise UserError(
            f"the file says it is for {declared.benchmark}, not {spec.key}; submit it there or make"
            f" it anew from `etchmark template {spec.id}`"
        )
    for what, said, asked in (
        ("track", declared.track, track),
        ("protocol", declared.protocol, protocol),
    ):
        if said and asked and said != asked:
            raise UserError(
                f"the file says {what} {said!r} but {asked!r} was chosen; choose what the file says"
                " or make it anew from the template"
            )
    said = declared.protocol or None
    chosen = pick_protocol(spec, said if protocol is None else protocol, default=False)
    named = declared.track if track is None else track
    if named is not None or need_track:
        named, _ = pick_track(spec, named, " what the model reads")
    return Stated(named, chosen)


def score_file(
    benchmark: Benchmark, path: Path, *, track: str | None = None, protocol: str | None = None
) -> tuple[Stated, Scored]:
    """Score a predictions file; nothing is stored."""
    # Bounds come from the widest protocol until the file has said which one it is for.
    widest = max(
        benchmark.spec.protocols, key=lambda name: len(benchmark.spec.protocols[name].extra_splits)
    )
    given = read_for(benchmark, protocol if protocol in benchmark.spec.protocols else widest, path)
    stated = agree(benchmark.spec, given.declared, track=track, protocol=protocol, need_track=False)
    return stated, score_predictions(benchmark, stated.protocol, path, given)


def _fingerprints(benchmark: Benchmark, track: str, hashes: list[str]) -> Fingerprints:
    spec = benchmark.spec
    return Fingerprints(
        data=spec.tracks[track].fingerprint, target=spec.target_fingerprint, predictions=hashes
    )


def prepare_file(
    benchmark: Benchmark,
    path: Path,
    *,
    name: str,
    card: ModelCard,
    track: str | None,
    protocol: str | None,
) -> Prepared:
    """Check and score somebody's predictions file."""
    _official(benchmark)
    check_name(name)
    check_baselines(benchmark.catalog, name)
    stated, scored = score_file(benchmark, path, track=track, protocol=protocol)
    chosen, _ = pick_track(benchmark.spec, stated.track, " what the model reads")
    hashes = [files.sha256_of(path)]
    record = _record(
        benchmark,
        track=chosen,
        protocol=stated.protocol,
        name=name,
        card=card,
        params={},
        status="scored",
        scored=scored,
        hashes=hashes,
        cost=Cost(),
    )
    return Prepared(record, table_bytes(scored.samples), [path], scored.doubts)


def earlier(store: Store, record: ResultRecord) -> list[ResultRecord]:
    """Other submissions of the same name, track and protocol, which the newest one supersedes."""
    found = store.records(
        record.benchmark, record.benchmark_version, record.protocol, name=record.name
    )
    return [
        other
        for other in found
        if other.submission != record.submission
        and (other.track, other.outcome) == (record.track, "ok")
    ]


def superseded(store: Store, record: ResultRecord) -> bool:
    """Whether a newer submission of the same name, track and protocol is there."""
    return any(other.created > record.created for other in earlier(store, record))


def same_predictions(store: Store, record: ResultRecord) -> list[ResultRecord]:
    """Submissions under other names that were scored from the very same files."""
    hashes = record.fingerprints.predictions
    found = store.records(
        record.benchmark, record.benchmark_version, record.protocol, naming=hashes
    )
    return [
        other
        for other in found
        if other.name != record.name and other.fingerprints.predictions == hashes
    ]


def check_baselines(catalog: Catalog, name: str) -> None:
    """Refuse a name that is a baseline's, or that a reader could take for one."""
    baselines = [*catalog.model_names(), *catalog.baseline_names()]
    other = name if name in baselines else first_alike(name, baselines)
    if other is not None:
        looks = "is" if other == name else f"looks like {other!r}, which is"
        raise UserError(f"name {name!a} {looks} a baseline of this hub; give another name")


def check_stored(name: str, stored: Iterable[str]) -> None:
    """Refuse a name that a reader could take for another stored one.

    The very same name stands for the same model and is fine.
    """
    stored = set(stored)
    other = None if name in stored else first_alike(name, sorted(stored))
    if other is not None:
        raise UserError(
            f"name {name!a} looks like {other!a}, which is on the board; give that name if it is"
            " the same model, else another"
        )


def check_source(store: Store | None, catalog: Catalog, source: ModelSource) -> None:
    """Refuse the name of a model in somebody's folder before the model is run.

    Args:
        store: where its result is kept; None where nothing is.
        catalog: the content in use, whose baselines have their names to themselves.
        source: the model.
    """
    if (catalog.root / "baselines").resolve() in source.folder.resolve().parents:
        return
    try:
        check_baselines(catalog, source.name)
        if store is not None:
            check_stored(source.name, store.names())
    except UserError as error:
        hint = "(its folder's, or `name` in its card.yaml)"
        raise UserError(f"{source.folder}: {error} {hint}") from None


def _official(benchmark: Benchmark) -> None:
    if benchmark.unofficial:
        raise UserError(
            "data that are not the released ones never enter a board; drop --unofficial"
        )


def _record(
    benchmark: Benchmark,
    *,
    track: str,
    protocol: str,
    name: str,
    card: ModelCard,
    params: dict[str, Any],
    status: Status,
    scored: Scored | None,
    hashes: list[str],
    cost: Cost,
    reason: str | None = None,
    made_with: dict[str, str] | None = None,
    curves: Sequence[Curve] = (),
) -> ResultRecord:
    spec = benchmark.spec
    return ResultRecord(
        submission=submission_id(spec.key, track, protocol, hashes, name),
        benchmark=spec.id,
        benchmark_version=spec.version,
        track=track,
        protocol=protocol,
        name=name,
        card=card,
        params=params,
        made_with=made_with or {},
        status=status,
        outcome="failed" if scored is None else "ok",
        reason=reason,
        fingerprints=_fingerprints(benchmark, track, hashes),
        scores=[] if scored is None else scored.scores,
        curves=list(curves),
        cost=cost,
        environment=environment.current(),
        created=_now(),
    )


def _now() -> datetime:
    # With parts of a second: of two submissions of a name the later one stands.
    return datetime.now(UTC)


def dated_now(prepared: Prepared) -> Prepared:
    """The same with the time of storing, which decides what supersedes what."""
    return replace(prepared, record=prepared.record.model_copy(update={"created": _now()}))


class Committed(Enum):
    """What storing a submission came to; true if it is a new one."""

    NEW = "stored"
    CARD_CORRECTED = "card corrected; stored"
    SAME = "was stored already"
    REVIEWED = "was stored already, and only a review corrects its card: a reviewed record"

    def __bool__(self) -> bool:
        return self is Committed.NEW


def commit(store: Store, prepared: Prepared) -> Committed:
    """Store a submission, or correct the card of the very same one.

    Files come first and the row last, so whatever moment the process dies at, a row that is
    there is complete.

    Raises:
        UserError: the name can be taken for a stored one, the predictions file has changed since it
            was scored, or the hub can only be read.
    """
    # Of two names that look alike the second one is refused, also if they come at the same time.
    with store.alone():
        return _commit(store, prepared)


def _commit(store: Store, prepared: Prepared) -> Committed:
    record = prepared.record
    if record.status == "scored":
        check_stored(record.name, store.names())
    existing = store.get(record.submission)
    kept = [store.keep_prediction(path) for path in prepared.predictions]
    if kept != record.fingerprints.predictions:
        raise UserError("the predictions file changed while it was scored; submit it again")
    corrected = existing is not None and existing.record.card != record.card
    if existing is not None and record.outcome == "ok" and existing.origin != LOCAL:
        return Committed.REVIEWED if corrected else Committed.SAME
    store.add(Entry(record, prepared.samples, LOCAL))
    for path, sha256 in zip(prepared.predictions, kept, strict=True):
        # A submission of the same file may have been withdrawn meanwhile.
        if not store.prediction_path(sha256).is_file():
            store.keep_prediction(path)
    if existing is None:
        return Committed.NEW
    return Committed.CARD_CORRECTED if corrected else Committed.SAME


@dataclass(frozen=True)
class Withdrawn:
    """A submission that is no longer in the registry."""

    found: Found
    again: ResultRecord | None
    """What it superseded, which stands on the board again."""
    removed: int
    """Predictions files that no other submission names, and that went with it."""
    kept: int
    """Predictions files that others name too, or of a record that cannot be read."""


def to_withdraw(store: Store, text: str) -> Found:
    """The local submission whose id is, or begins with, a text.

    Raises:
        UserError: there is none or several, or it is a reviewed record.
    """
    wanted = text.strip().lower()
    found = store.find(wanted) if len(wanted) >= MIN_PREFIX else []
    if len(found) > 1:
        listing = "; ".join(f"{one.short} {one.name} ({one.track})" for one in found[:5])
        raise UserError(f"submission {text!r}: {len(found)} begin so ({listing}); give more of it")
    if not found:
        raise UserError(
            f"submission {text[:64]!r}: there is none in {store.home}; give an id or at least its"
            f" first {MIN_PREFIX} characters (`etchmark leaderboard BENCHMARK --all --json` has"
            " them)"
        )
    (one,) = found
    if one.origin == REVIEWED:
        raise UserError(
            f"submission {one.short} ({one.name}) is a reviewed record and would be taken in again;"
            f" remove its files from leaderboard/results/{one.benchmark} by a pull request"
        )
    return one


def withdraw(store: Store, found: Found) -> Withdrawn:
    """Remove a submission for good, with its predictions file if no other one names it.

    The row goes first: whatever moment the process dies at, at most a file is left that nothing
    names.
    """
    entry = store.get(found.submission)
    record = None if entry is None else entry.record
    before: list[ResultRecord] = []
    if record is not None and record.outcome == "ok":
        same = sorted(
            [record, *earlier(store, record)], key=lambda one: (one.created, one.submission)
        )
        before = same[:-1] if same[-1] == record else []
    hashes = [] if record is None else record.fingerprints.predictions
    store.remove(found.submission)
    removed = store.remove_predictions(hashes)
    kept = len(hashes) - len(removed)
    return Withdrawn(found, before[-1] if before else None, len(removed), kept)


def check_export(folder: Path, *, force: bool = False) -> None:
    """Refuse a folder in which an export would replace anything.

    Args:
        folder: where the export shall stand.
        force: an earlier export there may be replaced; what is of none may not.

    Raises:
        UserError: something stands there, or no folder can have this name.
    """
    if "\0" in str(folder):
        raise UserError(f"{str(folder)!r}: is no path; give another --export")
    try:
        if not folder.exists():
            return
        present = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else None
    except (OSError, ValueError) as error:
        raise _not_written(folder, error) from None
    if present is None or (present and not force):
        again = "" if present is None else ", or --force to replace the submission in it"
        raise UserError(
            f"{folder}: exists and is not an empty folder; give another --export{again}"
        )
    others = [name for name in present if name not in EXPORTED]
    if others:
        raise UserError(
            f"{folder / others[0]}: is no part of a submission and is left alone; give another"
            " --export"
        )


def _not_written(folder: Path, error: Exception) -> UserError:
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return UserError(f"{folder}: cannot be written ({why}); give another --export")


def export(prepared: Prepared, folder: Path, *, force: bool = False) -> None:
    """Write a submission as a folder that ``results check`` and ``results add`` take.

    Raises:
        UserError: something stands there (see ``check_export``), or it cannot be written.
    """
    check_export(folder, force=force)
    folder = folder.resolve()
    token = f"{os.getpid()}-{secrets.token_hex(4)}"
    # Not longer than the name of the folder may be.
    staging = folder.with_name(f".{folder.name[:40]}.{token}.tmp")
    spare = folder.with_name(f".{folder.name[:40]}.{token}.old")
    try:
        for path in prepared.predictions:
            suffix = ".csv" if path.suffix.lower() == ".csv" else ".parquet"
            files.write_bytes(staging / f"{PREDICTIONS}{suffix}", path.read_bytes())
        if prepared.samples is not None:
            files.write_bytes(staging / TABLE, prepared.samples)
        text = prepared.record.model_dump_json(by_alias=True, indent=2)
        files.write_text(staging / RECORD, escape_json(text) + "\n")
        if folder.exists():
            folder.replace(spare)
        staging.replace(folder)
    except (OSError, UnicodeError) as error:
        raise _not_written(folder, error) from None
    finally:
        if folder.exists():
            shutil.rmtree(spare, ignore_errors=True)
        elif spare.exists():
            spare.replace(folder)
        shutil.rmtree(staging, ignore_errors=True)


@dataclass(frozen=True)
class Evaluated:
    """A model that was run: its record and per-sample table, and what it printed."""

    prepared: Prepared
    log: str
    checkpoints: Path | None = None
    trace: str = ""
    """The traceback of a failure."""

    def forget(self) -> None:
        """Remove the checkpoints of a run whose outcome is kept elsewhere by now."""
        if self.checkpoints is not None and self.prepared.record.outcome == "ok":
            shutil.rmtree(self.checkpoints, ignore_errors=True)


def evaluate_model(
    benchmark: Benchmark,
    source: ModelSource,
    folder: Path,
    *,
    track: str | None = None,
    protocol: str | None = None,
    options: Options = Options(),
    say: Say | None = None,
) -> Evaluated:
    """Run a model, then score the predictions file it wrote; nothing is stored.

    Args:
        folder: where the predictions file is kept while it is needed.
        options: how it is run; with ``resume``, ``forget`` the checkpoints once it is stored.
        say: also measure the curves that the model's card declares, and tell of every point.

    Raises:
        CannotRun: the model needs something that this machine lacks.
    """
    task = Task(
        benchmark.spec,
        resolve_track(source, benchmark, track),
        pick_protocol(benchmark.spec, protocol, default=True),
    )
    check_name(source.name)
    check_source(None, benchmark.catalog, source)
    path = folder / f"{PREDICTIONS}.parquet"
    run = run_model(source, benchmark, task, path, options)
    failure, scored = run.failure, None
    if failure is None:
        try:
            given = read_for(benchmark, task.protocol, path)
            scored = score_predictions(benchmark, task.protocol, path, given)
        except UserError as error:
            # What the model predicted cannot be scored: its failure, not the caller's.
            failure = one_line(str(error).removeprefix(f"{path}: "))
    curves: list[Curve] = []
    if scored is not None and say is not None:
        whole = next(score for score in scored.scores if score.split == task.headline)
        curves = Curves(source, benchmark, task, whole, folder, options, say).measure()
    record = _record(
        benchmark,
        track=task.track,
        protocol=task.protocol,
        name=source.name,
        card=source.card,
        params=source.params,
        status="run",
        scored=scored,
        hashes=[files.sha256_of(path)] if scored is not None else [],
        cost=run.cost,
        made_with=run.made_with,
        curves=curves,
        reason=failure,
    )
    samples = table_bytes(scored.samples) if scored is not None else None
    prepared = Prepared(record, samples, [path] if scored is not None else [])
    return Evaluated(prepared, run.log, run.checkpoints, run.trace)


def card_from_mapping(value: dict[str, Any]) -> ModelCard:
    """A card from a mapping, unknown keys refused."""
    try:
        return ModelCard.model_validate(value)
    except ValidationError as error:
        raise UserError(f"card: {explain(error)}; correct it") from None
