"""From a predictions file to a stored result record: the path of every submission."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from etchmark import environment, files
from etchmark.catalog import pick_track
from etchmark.data.loading import Benchmark
from etchmark.errors import UserError
from etchmark.registry.identity import submission_id
from etchmark.registry.store import LOCAL, Store
from etchmark.registry.tables import Entry
from etchmark.scoring import intervals
from etchmark.scoring.doubts import Doubt, flags_of
from etchmark.scoring.score import Scored
from etchmark.specs import Cost, Curve, Fingerprints, ModelCard, ResultRecord, Role
from etchmark.specs.results import Artefact
from etchmark.specs.task import Task
from etchmark.submission.scoring import score_file, table_of
from etchmark.submission.statements import (
    agreed_role,
    check_baselines,
    check_name,
    check_stored,
)
from etchmark.submission.training_sets import trained_on_test


@dataclass(frozen=True)
class Prepared:
    """A submission that has been scored and not yet stored."""

    record: ResultRecord
    samples: bytes | None
    """Parquet bytes of the per-sample table; None if the run failed."""
    predictions: list[Path]
    doubts: Sequence[Doubt] = ()
    """What about the predictions looks like a mistake: shown, and kept as flags of the record."""


@dataclass(frozen=True)
class Outcome:
    """Result of a submission: scores and file hashes, or the reason of failure."""

    scored: Scored | None
    hashes: list[str]
    reason: str | None = None


@dataclass(frozen=True)
class RunFacts:
    """What this hub measured because it ran the model itself."""

    params: dict[str, Any]
    cost: Cost
    made_with: dict[str, str] = field(default_factory=dict)
    curves: Sequence[Curve] = ()
    artefact: Artefact | None = None
    """The fitted models, if they were kept."""


def prepare_file(
    benchmark: Benchmark,
    path: Path,
    *,
    name: str,
    card: ModelCard,
    track: str | None,
    protocol: str | None,
    role: str | None = None,
) -> Prepared:
    """Check and score a predictions file; nothing is stored.

    Args:
        benchmark: what it is for, with the released data.
        path: the file.
        name: the model's name on the board.
        card: what the submission says of the model.
        track: inputs that the model read; None if the file says.
        protocol: protocol that the predictions follow; None if the file says.
        role: ``entry``, ``exploratory`` or ``oracle``; None if the card says, or for an entry.

    Raises:
        UserError: the name, the role or the file is refused.
    """
    _official(benchmark)
    check_name(name)
    card, stated_role = agreed_role(card, role)
    check_baselines(benchmark.catalog, name)
    stated, scored = score_file(benchmark, path, track=track, protocol=protocol)
    scored = scored.doubted(trained_on_test(benchmark, card, stated.protocol))
    track, _ = pick_track(benchmark.spec, stated.track, " (the one that the model reads)")
    outcome = Outcome(scored, [files.sha256_of(path)])
    task = Task(benchmark.spec, track, stated.protocol)
    record = make_record(task, name=name, card=card, outcome=outcome, role=stated_role)
    return Prepared(record, table_of(scored), [path], scored.doubts)


def make_record(
    task: Task,
    *,
    name: str,
    card: ModelCard,
    outcome: Outcome,
    run: RunFacts | None = None,
    role: Role | None = None,
) -> ResultRecord:
    """The record of a submission, created now.

    Args:
        task: what was predicted, from which inputs and under which protocol.
        name: the model's name on the board.
        card: what is said of the model.
        outcome: scores, or the reason why there are none.
        run: what was measured if this hub ran the model (status ``run``); None for a predictions
            file from outside (status ``scored``).
        role: what is stated of it; the role that the benchmark declares counts before it.
    """
    spec = task.benchmark
    facts = RunFacts({}, Cost()) if run is None else run
    return ResultRecord(
        submission=submission_id(spec.key, task.track, task.protocol, outcome.hashes, name),
        benchmark=spec.id,
        benchmark_version=spec.version,
        track=task.track,
        protocol=task.protocol,
        name=name,
        card=card,
        params=facts.params,
        made_with=facts.made_with,
        status="scored" if run is None else "run",
        outcome="failed" if outcome.scored is None else "ok",
        reason=outcome.reason,
        fingerprints=Fingerprints(
            data=task.reads.fingerprint,
            target=spec.target_fingerprint,
            predictions=outcome.hashes,
        ),
        scores=[] if outcome.scored is None else outcome.scored.scores,
        curves=list(facts.curves),
        cost=facts.cost,
        role=spec.role_of(name, role),
        flags=None if outcome.scored is None else flags_of(outcome.scored.doubts),
        interval_method=None if outcome.scored is None else intervals.METHOD,
        artefact=facts.artefact,
        environment=environment.current(),
        created=_now(),
    )


def earlier(store: Store, record: ResultRecord) -> list[ResultRecord]:
    """Other submissions of the same name, track and protocol, which the newest one supersedes."""
    place = (record.benchmark, record.benchmark_version, record.protocol)
    return [
        other
        for other in store.records(*place, name=record.name)
        if other.submission != record.submission
        and (other.track, other.outcome) == (record.track, "ok")
    ]


def superseded(store: Store, record: ResultRecord) -> bool:
    """Whether there is a newer submission of the same name, track and protocol."""
    return any(other.created > record.created for other in earlier(store, record))


def same_predictions(store: Store, record: ResultRecord) -> list[ResultRecord]:
    """Submissions under other names that were scored from identical files."""
    hashes = record.fingerprints.predictions
    place = (record.benchmark, record.benchmark_version, record.protocol)
    return [
        other
        for other in store.records(*place, predictions=hashes)
        if other.name != record.name and other.fingerprints.predictions == hashes
    ]


def _official(benchmark: Benchmark) -> None:
    if benchmark.unofficial:
        raise UserError(
            "data that are not the released ones never enter a board; drop --unofficial"
        )


def _now() -> datetime:
    # With fractions of a second: the later of two submissions of one name supersedes the other.
    return datetime.now(UTC)


def dated_now(prepared: Prepared) -> Prepared:
    """The same record with the time of storing, which decides which one supersedes."""
    return replace(prepared, record=prepared.record.model_copy(update={"created": _now()}))


class Committed(Enum):
    """Result of storing a submission; true if it is a new one."""

    NEW = "stored"
    CARD_CORRECTED = "card corrected; stored"
    ROLE_CHANGED = "role changed; stored"
    SAME = "was stored already"
    REVIEWED = "was stored already, and only a review corrects its card or role: a reviewed record"

    def __bool__(self) -> bool:
        return self is Committed.NEW


class NameTaken(UserError):
    """Others stored a submission under this name after the submitter last looked.

    Attributes:
        records: what they stored, oldest first.
    """

    def __init__(self, name: str, records: Sequence[ResultRecord]) -> None:
        self.records = tuple(records)
        last = self.records[-1]
        super().__init__(
            f"name {name!a}: submission {last.submission[:12]} was stored under it meanwhile, at"
            f" {last.created:%Y-%m-%d %H:%M} UTC; give another name, or replace that submission"
        )


def commit(store: Store, prepared: Prepared, known: Collection[str] | None = None) -> Committed:
    """Store a submission, or update card and role if it is stored already.

    Files come first and the row last, so whatever moment the process dies at, a row that is
    there is complete.

    Args:
        store: the registry.
        prepared: what was scored.
        known: ids of the submissions that the submitter knows to be replaced; whatever has the
            name if None.

    Raises:
        NameTaken: it would replace a submission that is not among those; nothing is stored.
        UserError: the name looks like a stored one, the predictions file has changed since it was
            scored, or the hub is read-only.
    """
    # Checked again inside the lock: two names that look alike may arrive at the same time.
    with store.alone():
        return _commit(store, prepared, known)


def replaced_by(store: Store, record: ResultRecord) -> list[ResultRecord]:
    """Stored submissions in whose place a record would stand, oldest first.

    They have its name, track and protocol; or its predictions too, and another card or role.
    """
    existing = store.get(record.submission)
    same = [] if existing is None else [existing.record]
    corrected = [other for other in same if _change(other, record) is not None]
    return sorted([*earlier(store, record), *corrected], key=lambda other: other.created)


def _commit(store: Store, prepared: Prepared, known: Collection[str] | None) -> Committed:
    record = prepared.record
    if record.status == "scored":
        check_stored(record.name, store.names())
    if known is not None:
        meanwhile = [other for other in replaced_by(store, record) if other.submission not in known]
        if meanwhile:
            raise NameTaken(record.name, meanwhile)
    existing = store.get(record.submission)
    kept = [store.keep_prediction(path) for path in prepared.predictions]
    if kept != record.fingerprints.predictions:
        raise UserError("the predictions file changed while it was scored; submit it again")
    change = None if existing is None else _change(existing.record, record)
    if existing is not None and record.outcome == "ok" and existing.origin != LOCAL:
        return Committed.SAME if change is None else Committed.REVIEWED
    store.add(Entry(record, prepared.samples, LOCAL))
    for path, sha256 in zip(prepared.predictions, kept, strict=True):
        # A submission of the same file may have been withdrawn meanwhile.
        if not store.prediction_path(sha256).is_file():
            store.keep_prediction(path)
    if existing is None:
        return Committed.NEW
    return Committed.SAME if change is None else change


def _change(stored: ResultRecord, record: ResultRecord) -> Committed | None:
    """What a submission of the same predictions corrects; None if it says the same."""
    # Records from before roles were kept are entries, or what the benchmark says.
    if record.role != (stored.role or record.role):
        return Committed.ROLE_CHANGED
    return Committed.CARD_CORRECTED if stored.card != record.card else None
