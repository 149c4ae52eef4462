"""``results check`` and ``results add``: how an exported submission reaches the public board.

Nothing that a folder says of itself is taken as measured: scores are recomputed from its
predictions file, its status is ``scored``, its date is that of acceptance, and what it states of
cost, environment, settings and curves is kept as claims.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from etchmark import files
from etchmark.catalog import Catalog, results_of
from etchmark.columns import nesting
from etchmark.data.loading import Benchmark, load_benchmark
from etchmark.errors import UserError
from etchmark.names import shapes
from etchmark.registry import reviewed
from etchmark.registry.identity import submission_id
from etchmark.scoring import intervals, uncertainty
from etchmark.scoring.doubts import flags_of
from etchmark.scoring.refresh import with_intervals, without_intervals
from etchmark.scoring.samples import PICTURE, to_table
from etchmark.scoring.score import Scored
from etchmark.scoring.stored import MAX_FILE_BYTES, read_table
from etchmark.specs import BenchmarkSpec, Claims, Cost, ResultRecord, SplitScore
from etchmark.submission.export import EXPORTED, PREDICTIONS, RECORD, TABLE
from etchmark.submission.scoring import score_file, table_of
from etchmark.submission.seeds import shortage
from etchmark.submission.statements import check_baselines, check_name, check_stored
from etchmark.submission.training_sets import trained_on_test
from etchmark.text import hidden

RELATIVE_TOLERANCE = 1e-9
MAX_RECORD_BYTES = 1 << 20
"""A record of a submission from outside; those with the most curves have a fiftieth of it."""
_LONG_TEXTS = {"card.description", "card.training_data_note", "card.bibtex"}


@dataclass(frozen=True)
class Checked:
    """An exported submission whose scores were recomputed here and agree."""

    record: ResultRecord
    """As it goes to the board."""
    samples: bytes
    stated: ResultRecord
    """As the folder has it."""
    results: Path
    """The folder of reviewed results that it was checked against."""
    seeds_missing: str | None = None
    """What is said where it has fewer seeds than its benchmark asks for."""
    board_flags: tuple[str, ...] = ()
    """Doubts that follow from the other rows of its board, so that no record holds them."""

    def report(self) -> list[str]:
        """What is accepted, what is changed, and what ``results add`` writes, a line each."""
        record, stated = self.record, self.stated
        status = "" if stated.status == record.status else f" (the record says {stated.status})"
        lines = [
            f"ok: {record.name} on {record.benchmark}@{record.benchmark_version},"
            f" {record.protocol}",
            f"track {record.track}, role {record.role}, status {record.status}{status}",
            f"date: that of acceptance (the record says {stated.created:%Y-%m-%d %H:%M} UTC)",
        ]
        lines += [f"flag: {flag}" for flag in (*(record.flags or ()), *self.board_flags)]
        lines += [self.seeds_missing] if self.seeds_missing else []
        claims = claimed(record.claims)
        if claims:
            lines.append(f"kept as claims, not measured here: {', '.join(claims)}")
        if dropped := self._dropped():
            lines.append(f"dropped: {', '.join(dropped)}")
        planned = reviewed.plan(self.results, record)
        if planned.present:
            lines.append(f"results add: nothing, {planned.path} is there already")
        elif planned.obstacle:
            lines.append(f"results add: refused, {planned.obstacle}")
        else:
            option = ", with --replace" if planned.older else ""
            lines.append(f"results add: writes {planned.path}{option}")
            lines += [f"results add: replaces {path}" for path in planned.older]
        return lines

    def _dropped(self) -> list[str]:
        """What the folder states and the record on the board will not hold."""
        stated = self.stated
        kept, earlier = self.record.claims or Claims(), stated.claims or Claims()
        dropped = ["artefact (it is on the hub that ran the model)"] if stated.artefact else []
        known = set(self.record.flags or ())
        dropped += [f"flag {flag!r}" for flag in stated.flags or () if flag not in known]
        for name, empty in Claims():
            value = getattr(earlier, name)
            if value not in (empty, getattr(kept, name)):
                dropped.append(f"claims.{name} (the record states {name} itself)")
        return dropped


def claimed(claims: Claims | None) -> list[str]:
    """Names of what is claimed; empty if nothing is."""
    if claims is None:
        return []
    costs = [name for name, value in claims.cost.model_dump().items() if value is not None]
    curves = "curve" if len(claims.curves) == 1 else "curves"
    parts = {
        f"cost ({', '.join(costs)})": costs,
        "environment": claims.environment,
        "model settings": claims.params,
        "what it was made with": claims.made_with,
        f"{curves} {', '.join(curve.name for curve in claims.curves)}": claims.curves,
    }
    return [words for words, value in parts.items() if value]


def _prediction_file(folder: Path) -> Path:
    names = [f"{PREDICTIONS}{suffix}" for suffix in (".parquet", ".csv")]
    paths = [folder / name for name in names if (folder / name).exists()]
    if len(paths) != 1:
        raise UserError(
            f"{folder}: holds {len(paths)} files {PREDICTIONS}.parquet|csv, not one; export it"
            " again with `etchmark submit --export`"
        )
    return paths[0]


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"{folder}: is not a folder; give one made by `etchmark submit --export`")
    for path in sorted(folder.iterdir()):
        # A link could name any file of the machine that checks.
        if path.is_symlink() or not path.is_file():
            raise UserError(f"{path}: is not a plain file; export the submission again")
        if path.name not in EXPORTED:
            raise UserError(f"{path}: is not part of a submission; remove it or export again")


def _texts(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a plain value with the path to it, keys of mappings included."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield f"the key {key[:40]!a} of {where or 'the file'}", key
            yield from _texts(part, f"{where}.{key}".lstrip("."))
    elif isinstance(value, list):
        for at, part in enumerate(value):
            yield from _texts(part, f"{where}.{at}")


def _check_texts(path: Path, record: ResultRecord) -> None:
    """Refuse characters that control a terminal, change the writing direction or are invisible."""
    for where, text in _texts(record.model_dump(mode="json", by_alias=True)):
        allowed = {"\n", "\r", "\t"} if where in _LONG_TEXTS else set()
        for char in text:
            if hidden(char) and char not in allowed and not shapes(char):
                raise UserError(
                    f"{path}: {where!a} holds U+{ord(char):04X}, a control, direction, unassigned"
                    " or invisible character; remove it"
                )


def _stated(folder: Path) -> ResultRecord:
    """The record of an exported submission, as the folder has it."""
    _check_files(folder)
    record = reviewed.read_record(folder / RECORD, MAX_RECORD_BYTES)
    _check_texts(folder / RECORD, record)
    if record.outcome != "ok":
        raise UserError(
            f"{folder}: the submission failed ({record.reason}); there is nothing to add"
        )
    return record


def check(
    catalog: Catalog, folder: Path, *, results: Path | None = None, baseline: bool = False
) -> Checked:
    """Recompute all scores of an exported submission and compare them with its record.

    Args:
        catalog: the content in use.
        folder: made by ``etchmark submit --export``.
        results: reviewed results that it is to join; those beside its benchmark if None.
        baseline: whether it may bear a baseline's name: an export of ``results run --out``.

    Raises:
        UserError: a file is missing, a hash, the id, the data or a score does not agree, or the
            name can be taken for another's.
    """
    record = _stated(folder)
    benchmark: Benchmark = load_benchmark(
        f"{record.benchmark}@{record.benchmark_version}", catalog=catalog
    )
    results = results or results_of(catalog.root_of_benchmark(record.benchmark))
    path = _prediction_file(folder)
    _check_identity(benchmark, folder, record, path)
    _check_name(catalog, folder, record.name, results, baseline)
    # A file from a template names its track and protocol: the record has to agree.
    _, scored = score_file(
        benchmark, path, track=record.track, protocol=record.protocol, need_track=True
    )
    scored = scored.doubted(trained_on_test(benchmark, record.card, record.protocol))
    _check_scores(folder, record, scored)
    _check_role(folder, record, benchmark.spec)
    _check_table(folder / TABLE, to_table(scored.samples))
    # The predictions file may have been replaced while it was scored.
    if files.sha256_of(path) != record.fingerprints.predictions[0]:
        raise UserError(f"{path}: changed while it was checked; check it again")
    accepted = _accepted(record, scored, benchmark.spec)
    missing = shortage(benchmark.spec, accepted)
    return Checked(accepted, table_of(scored), record, results, missing)


def _check_identity(benchmark: Benchmark, folder: Path, record: ResultRecord, path: Path) -> None:
    """Refuse a record of other data, or whose id is not that of its predictions."""
    spec = benchmark.spec
    for what, name, known in (
        ("track", record.track, spec.tracks),
        ("protocol", record.protocol, spec.protocols),
    ):
        if name not in known:
            raise UserError(f"{folder}: {what} {name!r} is not of {spec.key}; export it again")
    sha256 = files.sha256_of(path)
    if record.fingerprints.predictions != [sha256]:
        raise UserError(f"{path}: SHA-256 is not the one in {RECORD}; export it again")
    expected = submission_id(spec.key, record.track, record.protocol, [sha256], record.name)
    if record.submission != expected:
        raise UserError(f"{folder / RECORD}: submission id is not {expected}; export it again")
    if record.fingerprints.data != spec.tracks[record.track].fingerprint:
        raise UserError(
            f"{folder / RECORD}: made from other data than {spec.key}; rerun and export"
        )
    if record.fingerprints.target != spec.target_fingerprint:
        raise UserError(f"{folder / RECORD}: scored against other labels than {spec.key}'s")


def _check_name(catalog: Catalog, folder: Path, name: str, results: Path, baseline: bool) -> None:
    if baseline:
        if name not in catalog.model_names():
            raise UserError(f"{folder}: {name!r} is not a baseline of this hub; drop --baseline")
        return
    try:
        check_name(name)
        check_baselines(catalog, name)
        check_stored(name, reviewed.names([results, *map(results_of, catalog.roots)]))
    except UserError as error:
        hint = ", or --baseline for an export of `results run --out`"
        known = name in catalog.model_names()
        raise UserError(f"{folder / RECORD}: {error}{hint if known else ''}") from None


def _check_scores(folder: Path, record: ResultRecord, scored: Scored) -> None:
    if [score.split for score in scored.scores] != [score.split for score in record.scores]:
        raise UserError(
            f"{folder / RECORD}: other splits than the predictions hold; export it again"
        )
    computed, stated = _comparable(record, scored)
    for ours, theirs in zip(computed, stated, strict=True):
        difference = _difference(ours.model_dump(), theirs.model_dump())
        if difference:
            raise UserError(
                f"{folder / RECORD}: {difference[0]} of split {ours.split!r} is said to be"
                f" {difference[2]} but the predictions give {difference[1]}; export it again"
            )


def _comparable(
    record: ResultRecord, scored: Scored
) -> tuple[Sequence[SplitScore], Sequence[SplitScore]]:
    """The scores computed here, with intervals of the record's own method, and those it states."""
    # Records that name no method are older than any but this one.
    method = record.interval_method or uncertainty.BOOTSTRAP
    if method == uncertainty.BOOTSTRAP and not uncertainty.draws_are_those_of_the_records():
        return without_intervals(scored.scores), without_intervals(record.scores)
    return with_intervals(scored.scores, scored.samples, method), record.scores


def _check_role(folder: Path, record: ResultRecord, spec: BenchmarkSpec) -> None:
    """What a record says of its role holds here, or it says nothing."""
    role = spec.role_of(record.name, record.role)
    if record.role not in (None, role):
        raise UserError(
            f"{folder / RECORD}: role is said to be {record.role!r}, but on {spec.key}"
            f" {record.name!a} is {role!r}; export it again"
        )


def _accepted(record: ResultRecord, scored: Scored, spec: BenchmarkSpec) -> ResultRecord:
    """The record as it goes to the board: what was computed here, and the rest as claims."""
    earlier = record.claims or Claims()
    claims = Claims(
        params=record.params or earlier.params,
        made_with=record.made_with or earlier.made_with,
        cost=record.cost if record.cost != Cost() else earlier.cost,
        environment=record.environment or earlier.environment,
        curves=record.curves or earlier.curves,
    )
    return record.model_copy(
        update={
            # An older version's export lacks what is found here.
            "schema_": 2,
            "role": spec.role_of(record.name, record.role),
            "flags": flags_of(scored.doubts),
            "interval_method": intervals.METHOD,
            "status": "scored",
            "scores": scored.scores,
            "params": {},
            "made_with": {},
            "cost": Cost(),
            "environment": None,
            "curves": [],
            # The artefact lies on the hub that ran the model.
            "artefact": None,
            "claims": claims if claims != Claims() else None,
            "created": datetime.now(UTC),
        }
    )


def _difference(ours: Any, theirs: Any, where: str = "") -> tuple[str, str, str] | None:
    """Where two plain values differ by more than rounding: name, ours, theirs."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        parts = [(f"{where}.{key}".strip("."), ours[key], theirs[key]) for key in ours]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        parts = [(f"{where}.{at}", *pair) for at, pair in enumerate(zip(ours, theirs, strict=True))]
    elif isinstance(ours, float) and isinstance(theirs, float) and _close(ours, theirs):
        return None
    else:
        return None if ours == theirs else (where, _short(ours), _short(theirs))
    differences = (_difference(mine, other, name) for name, mine, other in parts)
    return next((difference for difference in differences if difference), None)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:80]


def _close(ours: Any, theirs: Any) -> bool:
    return bool(np.allclose(ours, theirs, rtol=RELATIVE_TOLERANCE, atol=1e-12, equal_nan=True))


def _alike(ours: Any, theirs: Any) -> bool:
    """Whether two columns of one type are equal, numbers to within rounding."""
    depth, kind = nesting(ours.type)
    if not pa.types.is_floating(kind) or depth > 1:
        return bool(ours.equals(theirs))
    if depth == 0:
        return _close(ours.to_numpy(), theirs.to_numpy())
    parts = [column.combine_chunks() for column in (ours, theirs)]
    if not parts[0].value_lengths().equals(parts[1].value_lengths()):
        return False
    mine, other = (part.flatten().to_numpy(zero_copy_only=False) for part in parts)
    # Errors over the horizon are kept in single precision.
    return bool(np.allclose(mine, other, rtol=1e-6, atol=1e-12, equal_nan=True))


def _check_table(path: Path, ours: pa.Table) -> None:
    """Refuse a per-sample table that differs from the one computed here."""
    remedy = "export the submission again"
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{path}: is larger than {MAX_FILE_BYTES:,} bytes; {remedy}")
        limit = 4 * ours.nbytes + (1 << 20)
        theirs = read_table(path.read_bytes(), rows=ours.num_rows, limit=limit)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except ValueError as error:
        raise UserError(f"{path}: is not what the predictions give ({error}); {remedy}") from None
    alike = theirs.schema.equals(ours.schema) and all(
        # Other library versions compress the same picture into other bytes: keep our own.
        name == PICTURE or _alike(ours[name], theirs[name])
        for name in ours.column_names
    )
    if not alike:
        raise UserError(f"{path}: is not what the predictions give; {remedy}")


def add(
    catalog: Catalog,
    folder: Path,
    *,
    replace: bool = False,
    into: Path | None = None,
    baseline: bool = False,
) -> Path:
    """Check an exported submission and write it into ``leaderboard/results``.

    Args:
        catalog: the content in use.
        folder: made by ``etchmark submit --export``.
        replace: whether an older record of the same model may be replaced.
        into: content folder to write to, such as a checkout; the one that declares the benchmark
            if None.
        baseline: see ``check``.

    Raises:
        UserError: the submission is refused, or there is no folder to write to.
    """
    results = reviewed.results_to_write(catalog, _stated(folder).benchmark, into)
    checked = check(catalog, folder, results=results, baseline=baseline)
    return reviewed.write(results, checked.record, checked.samples, replacing=replace)
