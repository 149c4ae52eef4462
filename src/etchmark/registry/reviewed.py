"""The folder of reviewed results: ``leaderboard/results`` of a checkout, or of a wheel.

There is a folder for each version of a benchmark. It holds a record and a table of each submission
under readable names (``layout``), and the file ``SHA256SUMS`` with the digest of every table: one
line each, sorted by name, so that changes to different records merge. ``sha256sum *.parquet``
writes such a file and ``sha256sum --check SHA256SUMS`` checks it. Older content has none.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from etchmark import files, settings
from etchmark.catalog import KINDS, Catalog, catalog, content_roots, results_of
from etchmark.errors import UserError
from etchmark.registry import layout
from etchmark.registry.identity import id_of
from etchmark.registry.layout import (
    INDEX,
    digests,
    misplaced,
    path_of,
    read_index,
    record_files,
    records_in,
    scan_index,
    write_index,
)
from etchmark.registry.plausible import fault_beside_scores, fault_of_reviewed
from etchmark.registry.records import MAX_RECORD_BYTES, REMEDY, read_record
from etchmark.registry.replacing import finish, remove_record, table_of, write_together
from etchmark.scoring.refresh import without_intervals
from etchmark.scoring.samples import SampleScores, UnknownKind, from_table
from etchmark.scoring.stored import MAX_FILE_BYTES, disagreement, read_table
from etchmark.scoring.uncertainty import BOOTSTRAP
from etchmark.specs import OUTSIDE_ROLES, BenchmarkSpec, ResultRecord
from etchmark.specs.results import HUB_RAN, SINCE_2

__all__ = [
    "HUB_RAN",
    "INDEX",
    "MAX_RECORD_BYTES",
    "Plan",
    "alone",
    "digests",
    "folders",
    "is_writable",
    "migrate",
    "names",
    "plan",
    "read_all",
    "read_index",
    "read_record",
    "read_reviewed",
    "results_to_write",
    "write",
    "write_index",
]


# --- reading -----------------------------------------------------------------------------------


def read_all(results: Path) -> Iterator[tuple[ResultRecord, bytes | None] | UserError]:
    """Every reviewed record with its per-sample table, or why a file is left out."""
    paths = [
        path.relative_to(results).as_posix()
        for folder in folders(results)
        for path in records_in(folder)
    ]
    for _, read in read_some(results, paths):
        yield read if isinstance(read, UserError) else (read.record, read.content)


def read_some(results: Path, paths: Iterable[str]) -> Iterator[tuple[str, Reviewed | UserError]]:
    """Some reviewed records by their paths below the results folder; see ``read_all``.

    A faulty line of an index leaves out the record that it concerns. Of a folder whose index cannot
    be read at all every record is left out, in one message.
    """
    for name, group in groupby(sorted(paths), lambda path: path.partition("/")[0]):
        folder = results / name
        try:
            index, _ = scan_index(folder)
        except UserError as error:
            yield name, error
            continue
        spec, refused = benchmark_of(folder), list[str]()
        for path in group:
            try:
                yield path, checked(results / path, index, spec)
            except UserError:
                refused.append(path)
        if not refused:
            continue
        # A writer may have replaced a record since the index was read. One that is damaged is still
        # damaged when it is read again.
        time.sleep(layout.SETTLE_SECONDS)
        with suppress(UserError):
            index, _ = scan_index(folder)
        for path in refused:
            try:
                yield path, checked(results / path, index, spec)
            except UserError as error:
                yield path, error


def folders(results: Path) -> list[Path]:
    """Those that hold reviewed records."""
    return sorted({path.parent for path in results.glob("*/*.json") if path.name[0] != "."})


def benchmark_of(folder: Path) -> BenchmarkSpec | None:
    """The benchmark of a folder of results; None where the content around it lacks it."""
    root = folder.absolute().parents[2]
    if results_of(root) != folder.absolute().parent:
        return None
    try:
        # The benchmark of one layer's results may be declared in another.
        content = catalog() if root in content_roots() else Catalog(root)
        return content.benchmark(folder.name)
    except UserError:
        # Broken content is reported where boards are made.
        return None


def _check_origin(path: Path, record: ResultRecord, spec: BenchmarkSpec | None) -> None:
    """The id is that of what was submitted, and track and data are the benchmark's."""
    if id_of(record) != record.submission:
        raise UserError(
            f"{path}: its submission id is not that of its benchmark, track, protocol, predictions"
            " and name; restore the file"
        )
    if spec is None or (record.benchmark, record.benchmark_version) != (spec.id, spec.version):
        return
    for what, name, known in (
        ("track", record.track, spec.tracks),
        ("protocol", record.protocol, spec.protocols),
    ):
        if name not in known:
            raise UserError(f"{path}: {what} {name!r} is not of {spec.key}; restore the file")
    is_outside = spec.declared_role(record.name) is None
    if is_outside and record.role not in (None, *OUTSIDE_ROLES):
        raise UserError(
            f"{path}: its role is {record.role!r}, but {spec.key} declares no baseline"
            f" {record.name!a}; restore the file"
        )
    for what, stated, expected in (
        ("data", record.fingerprints.data, spec.tracks[record.track].fingerprint),
        ("target", record.fingerprints.target, spec.target_fingerprint),
    ):
        if stated != expected:
            raise UserError(
                f"{path}: its {what} fingerprint is not that of {spec.key}; restore the file"
            )


class Reviewed(NamedTuple):
    """A reviewed record with its per-sample table, as bytes and as what these hold."""

    record: ResultRecord
    content: bytes | None
    samples: Sequence[SampleScores]


def read_reviewed(
    path: Path, index: Mapping[str, str] | None, spec: BenchmarkSpec | None = None
) -> tuple[ResultRecord, bytes | None]:
    """A reviewed record and its table; see ``checked``."""
    return checked(path, index, spec)[:2]


def checked(
    path: Path, index: Mapping[str, str] | None, spec: BenchmarkSpec | None = None
) -> Reviewed:
    """A reviewed record and its table, which must give the scores that the record states.

    Args:
        path: the record.
        index: SHA-256 of every table in its folder; None if the folder has no index.
        spec: the benchmark of its folder, whose tracks and data the record must be of; records of
            another version of it are not compared with it.

    Raises:
        UserError: record or table is damaged, or was changed by other means than a review.
    """
    record = read_record(path)
    _check_origin(path, record, spec)
    if fault := misplaced(path, record):
        raise UserError(f"{path}: {fault}; move or rename it")
    if fault := fault_of_reviewed(record):
        raise UserError(f"{path}: {fault}")
    if record.outcome != "ok":
        return Reviewed(record, None, [])
    table, digest = table_of(path, index)
    content = _content(table)
    if index is not None and digest != hashlib.sha256(content).hexdigest():
        known = "missing" if digest is None else "not the one"
        raise UserError(
            f"{table}: its SHA-256 is {known} in {INDEX} beside it; restore the file, or have the"
            " submission reviewed again"
        )
    try:
        rows = sum(score.n * score.seeds for score in record.scores)
        samples = from_table(read_table(content, rows=rows))
    except UnknownKind as error:
        raise UserError(f"{table}: {error}") from None
    except (ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise UserError(
            f"{table}: is not a table of per-sample results ({error}); {REMEDY}"
        ) from None
    fault = disagreement(record.scores, samples, record.interval_method) or fault_beside_scores(
        record, samples, spec
    )
    if fault is not None:
        raise UserError(f"{path}: {fault}; restore the file")
    return Reviewed(record, content, samples)


def _content(path: Path) -> bytes:
    try:
        files.require_ordinary(path)
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{path}: is too large for a table of per-sample results; {REMEDY}")
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or 'damaged'}); {REMEDY}"
        ) from None


def names(all_results: Iterable[Path]) -> set[str]:
    """Names of all models with a reviewed record in one of several results folders."""
    known = set()
    for path in (
        path
        for results in all_results
        for folder in folders(results)
        for path in records_in(folder)
    ):
        try:
            known.add(read_record(path).name)
        except UserError:
            # A damaged record is reported where records are taken in.
            continue
    return known


# --- writing -----------------------------------------------------------------------------------


def is_writable(root: Path) -> bool:
    """Whether a content folder was named, or is a checkout: installed content is left alone."""
    is_checkout = (root / ".git").exists() or (root / "pyproject.toml").is_file()
    return is_checkout or root in settings.content()


def results_to_write(catalog: Catalog, benchmark: str, into: Path | None = None) -> Path:
    """The results folder that a review may change: beside the benchmark, unless one is named.

    Args:
        catalog: the content in use.
        benchmark: the benchmark whose results are written.
        into: a content folder, such as a checkout, that the caller named.

    Raises:
        UserError: none was named and the benchmark belongs to installed content, or what was named
            is not a content folder.
    """
    if into is not None:
        if not any((into / kind).is_dir() for kind in KINDS):
            raise UserError(
                f"{into}: has no folder {', '.join(KINDS[:-1])} or {KINDS[-1]}; give a checkout or"
                " another content folder"
            )
        return results_of(into)
    root = catalog.root_of_benchmark(benchmark)
    if not is_writable(root):
        raise UserError(
            f"{root}: is installed content, not a checkout; name the checkout (or content folder)"
            " to write to with --into DIR"
        )
    return results_of(root)


@dataclass(frozen=True)
class Plan:
    """What writing a record would do to a folder of reviewed results."""

    path: Path
    """Where the record goes."""
    present: bool
    """The very same record is there already, whatever its date and what older schemas lack."""
    older: list[Path]
    """Records of the same model on the same track and protocol, which it replaces."""
    obstacle: str | None
    """Why it cannot be written even where replacing is asked for."""


def plan(results: Path, record: ResultRecord) -> Plan:
    """See ``Plan``."""
    path = path_of(results, record)
    others = record_files(results, record.benchmark, record.benchmark_version)
    read = [(other, read_record(other)) for other in others]
    older = [(other, old) for other, old in read if other == path or _same_place(old, record)]
    present = [
        other
        for other, old in older
        if old.submission == record.submission and _same_content(old, record)
    ]
    return Plan(
        path=present[0] if present else path,
        present=bool(present),
        older=[other for other, _ in older],
        obstacle=_obstacle(path, record, older),
    )


def _obstacle(
    path: Path, record: ResultRecord, older: list[tuple[Path, ResultRecord]]
) -> str | None:
    for other, old in older:
        if other == path and not _same_place(old, record):
            return f"{other}: holds the record of {old.name!r}; choose another name"
        if old.status in HUB_RAN and record.status not in HUB_RAN:
            return (
                f"{other}: is a run of {record.name!r} by this hub, which no predictions file"
                " replaces; choose another name, or run it again with `etchmark results run"
                " --again`"
            )
    return None


def _same_content(old: ResultRecord, new: ResultRecord) -> bool:
    """Whether a record says nothing that the stored one, of a date and schema of its own, lacks."""
    unknown = [key for key in SINCE_2 if getattr(old, key) is None]
    ignored = {"created": new.created, "schema_": new.schema_}
    if (old.interval_method or BOOTSTRAP) != (new.interval_method or BOOTSTRAP):
        # Intervals of another method say the same of the same predictions: `results refresh`.
        old, new = (
            part.model_copy(
                update={"scores": without_intervals(part.scores), "interval_method": None}
            )
            for part in (old, new)
        )
    return old.model_copy(update=ignored | {key: getattr(new, key) for key in unknown}) == new


def _same_place(old: ResultRecord, new: ResultRecord) -> bool:
    return (old.name, old.track, old.protocol, old.benchmark_version) == (
        new.name,
        new.track,
        new.protocol,
        new.benchmark_version,
    )


def alone(results: Path) -> AbstractContextManager[Any]:
    """Hold off every other process that writes into a results folder, whatever its hub."""
    from filelock import FileLock

    results.mkdir(parents=True, exist_ok=True)
    return FileLock(results / ".lock")


def write(results: Path, record: ResultRecord, samples: bytes | None, *, replacing: bool) -> Path:
    """Write a record, its per-sample table and the digest; the path of the record.

    A process that is killed meanwhile leaves the old or the new record readable.

    Raises:
        UserError: a record of the same model is there and is not to be replaced.
    """
    # Runs of several models may end at the same time, and the digests share a file.
    with alone(results):
        finish(layout.folder_of(results, record))
        planned = plan(results, record)
        if planned.present:
            return planned.path
        if planned.obstacle:
            raise UserError(planned.obstacle)
        if planned.older and not replacing:
            raise UserError(
                f"{planned.older[0]}: is a reviewed record of {record.name!r} on the same track and"
                " protocol; choose another name, or --replace if it is the same model"
            )
        path = planned.path
        text = record.model_dump_json(by_alias=True, indent=2) + "\n"
        write_together(path, text, samples)
        for other in planned.older:
            if other != path:
                remove_record(other)
    return path


def migrate(results: Path) -> list[tuple[Path, Path]]:
    """See ``layout.migrate``; nobody else writes meanwhile."""
    with alone(results):
        for folder in folders(results):
            finish(folder)
        return layout.migrate(results)
