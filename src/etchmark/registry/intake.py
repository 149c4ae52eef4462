"""Reviewed records, taken into a registry from the files of a results folder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session

from etchmark.errors import UserError
from etchmark.registry import reviewed
from etchmark.registry.layout import index_faults, scan_index, stray_lines
from etchmark.registry.reading import STORED
from etchmark.registry.tables import (
    DERIVED,
    LOCAL,
    REVIEWED,
    UNREADABLE,
    Entry,
    MetaRow,
    ReviewedRow,
    Row,
    SubmissionRow,
    entry_of,
    record_of,
    rows_of,
)
from etchmark.registry.writing import Writer, put
from etchmark.scoring.samples import SampleScores

log = logging.getLogger(__name__)

MANY = 50
"""Records that take seconds to read, so that somebody is told."""
TAKEN, RECOVERED = "reviewed", "recovered"
"""Keys of what the registry remembers: the files it holds, and the damage it tried to repair."""


def take_reviewed(store: Writer, folders: Sequence[Path]) -> None:
    """Bring the reviewed rows of a registry in line with the files, unless these are the same.

    Results may lie in several folders, of which the upper ones come first.

    Only files that changed since they were taken in are read.
    """
    listings = [(folder, list_files(folder)) for folder in folders]
    listed = [[str(folder), listing] for folder, listing in listings]
    digest = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    with Session(store.engine) as session:
        known = session.get(MetaRow, TAKEN)
        if known is not None and known.value == digest:
            return
        taken = {row.path: row for row in session.scalars(select(ReviewedRow))}
        # A file is known only as long as its row is there.
        stored = set(session.scalars(select(SubmissionRow.id)))
        session.expunge_all()
    taken = {path: row for path, row in taken.items() if row.id in stored}
    files, changed = _listed_states(listings, taken)
    read = _read_all(store, listings, changed, stored)
    # Made before the transaction, which keeps others from writing.
    rows = [row for made in read.rows.values() for row in made]
    rows += [
        ReviewedRow(path=path, id=submission, state=files[path])
        for path, submission in read.submissions.items()
    ]
    rows.append(MetaRow(key=TAKEN, value=digest))
    kept = {path: taken[path].id for path in files if path not in changed}
    here = {*kept.values(), *read.rows}
    stale = [{"gone": path} for path in taken if path not in kept and path not in read.submissions]

    def bring_in_line(session: Session) -> None:
        reviewed_here = select(SubmissionRow.id).where(SubmissionRow.origin == REVIEWED)
        for submission in set(session.scalars(reviewed_here)) - here:
            _retire(store, session, submission)
        if stale:
            gone = delete(ReviewedRow).where(ReviewedRow.path == bindparam("gone"))
            session.connection().execute(gone, stale)
        put(session, rows)

    store.write(bring_in_line)


Listings = Sequence[tuple[Path, list[tuple[str, int, int]]]]
"""Folders of results with what each holds, the uppermost layer first."""


def _mark(number: int) -> str:
    """What distinguishes paths in a layer from the same paths in the uppermost one."""
    return f"{number}:" if number else ""


def _listed_states(
    listings: Listings, taken: Mapping[str, ReviewedRow]
) -> tuple[dict[str, str], set[str]]:
    """States of all records by their path, and which of them have changed."""
    files: dict[str, str] = {}
    for number, (folder, listing) in enumerate(listings):
        files |= {_mark(number) + path: state for path, state in states(folder, listing).items()}
        _warn_of_indexes(folder, listing)
    return files, {path for path, state in files.items() if not _same(taken.get(path), state)}


@dataclass
class _Read:
    """What was read from reviewed files."""

    submissions: dict[str, str] = field(default_factory=dict)
    """By path: a submission may stand in a file of the older layout as well."""
    rows: dict[str, list[Row]] = field(default_factory=dict)
    """What is to be stored of each submission."""


def _read_all(
    store: Writer, listings: Listings, paths: Collection[str], stored: Collection[str]
) -> _Read:
    """Read some files and make the rows of each while its table is in memory.

    Args:
        store: the registry.
        listings: all folders.
        paths: of the files, with the marks of their layers.
        stored: ids of what the registry holds.
    """
    if len(paths) >= MANY:
        log.info(
            "taking %s reviewed records into the registry, which happens once; their scores are"
            " recomputed",
            f"{len(paths):,}",
        )
    read = _Read()
    # The lowest layer first: where two layers hold a submission, the upper one counts.
    for number, (folder, listing) in reversed([*enumerate(listings)]):
        mark = _mark(number)
        listed = [path for path, *_ in listing if mark + path in paths]
        for path, entry, samples in _read_some(folder, listed):
            submission = entry.record.submission
            read.submissions[mark + path] = submission
            is_stored = submission in stored and _is_stored(store, entry)
            read.rows[submission] = [] if is_stored else rows_of(entry, samples)
    return read


def _retire(store: Writer, session: Session, submission: str) -> None:
    """Remove the row of a file that is gone; a submission to this hub stays as a local one."""
    this = SubmissionRow.id == submission
    row = session.execute(select(*STORED).where(this)).one()
    if _submitted_here(store, row):
        session.execute(update(SubmissionRow).where(this).values(origin=LOCAL))
    else:
        for table in (*DERIVED, SubmissionRow):
            session.execute(delete(table).where(table.id == submission))


def recover_reviewed(store: Writer, folders: Sequence[Path]) -> None:
    """Read damaged reviewed records from their files again; tried once for the same records."""
    query = select(SubmissionRow.id).where(
        SubmissionRow.origin == REVIEWED, SubmissionRow.id.in_(list(store.left_out))
    )
    with Session(store.engine) as session:
        damaged = sorted(session.scalars(query))
        taken, tried = (session.get(MetaRow, key) for key in (TAKEN, RECOVERED))
        state = json.dumps([taken and taken.value, damaged])
        if not damaged or (tried and tried.value == state):
            return

    def forget(session: Session) -> None:
        session.execute(delete(MetaRow))
        session.execute(delete(ReviewedRow))

    store.write(forget)
    take_reviewed(store, folders)
    store.digest_again(damaged)
    store.write(lambda session: put(session, [MetaRow(key=RECOVERED, value=state)]))


def list_files(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times by which a change of reviewed results is seen.

    Paths stay texts and a folder is listed once: it may hold tens of thousands of files.
    """
    listing = []
    for below in folder.iterdir() if folder.is_dir() else ():
        try:
            with os.scandir(below) as entries:
                rows = (_listed(below.name, entry) for entry in entries)
                listing += [row for row in rows if row is not None]
        except (FileNotFoundError, NotADirectoryError):
            continue
    return sorted(listing)


def _listed(folder: str, entry: os.DirEntry[str]) -> tuple[str, int, int] | None:
    if entry.name.startswith("."):
        # Temporary files of a writer, locks of an editor.
        return None
    try:
        status = entry.stat()
    except FileNotFoundError:
        # Removed since the folder was read, or a link to nothing.
        return None
    return f"{folder}/{entry.name}", status.st_size, status.st_mtime_ns


def states(results: Path, listing: list[tuple[str, int, int]]) -> dict[str, str]:
    """What each record's row depends on, by its path below the results folder."""
    stamps = {path: stamp for path, *stamp in listing}
    around: dict[str, tuple[str, dict[str, str]]] = {}
    states = {}
    for path in (path for path in stamps if path.endswith(".json")):
        folder = path.partition("/")[0]
        if folder not in around:
            around[folder] = _around(results / folder)
        declared, index = around[folder]
        table = path.removesuffix(".json") + ".parquet"
        digest = index.get(table.partition("/")[2])
        states[path] = json.dumps([stamps[path], stamps.get(table), digest, declared])
    return states


def _warn_of_indexes(results: Path, listing: list[tuple[str, int, int]]) -> None:
    """Name indexes that are missing, and lines that are faulty or that no record needs."""
    for name in sorted({path.partition("/")[0] for path, *_ in listing}):
        with suppress(UserError):
            for fault in index_faults(results / name):
                warnings.warn(fault, stacklevel=2)
    paths = {path for path, *_ in listing}
    for path in sorted(paths):
        name, _, file = path.partition("/")
        if file != reviewed.INDEX:
            continue
        with suppress(UserError, OSError):
            # An index that cannot be read is named with the records that are left out for it.
            index = scan_index(results / name)[0] or {}
            stray = [
                table
                for table in index
                if table[0] != "." and f"{name}/{table.removesuffix('.parquet')}.json" not in paths
            ]
            for fault in stray_lines(results / name, stray) if stray else ():
                warnings.warn(fault, stacklevel=2)


def _around(folder: Path) -> tuple[str, dict[str, str]]:
    """What a folder's records are held to: what its benchmark declares, and the index."""
    spec = reviewed.benchmark_of(folder)
    try:
        index, _ = scan_index(folder)
    except UserError as error:
        return str(error), {}
    declared = [] if spec is None else [spec.key, spec.target_fingerprint, list(spec.protocols)]
    roles = {} if spec is None else {name: use.role for name, use in spec.baselines.items()}
    tracks = (
        {} if spec is None else {name: track.fingerprint for name, track in spec.tracks.items()}
    )
    return json.dumps([index is None, declared, tracks, roles]), index or {}


def _same(row: ReviewedRow | None, state: str) -> bool:
    return row is not None and row.state == state


def _read_some(
    results: Path, paths: Iterable[str]
) -> Iterator[tuple[str, Entry, Sequence[SampleScores]]]:
    """Entries of some files, and what their tables hold.

    Those that cannot be taken in are named in a warning.
    """
    for path, read in reviewed.read_some(results, paths):
        if isinstance(read, UserError):
            # One damaged record must not close the whole board.
            warnings.warn(f"left out: {read}", stacklevel=2)
        else:
            yield path, Entry(read.record, read.content, REVIEWED), read.samples


def _is_stored(store: Writer, entry: Entry) -> bool:
    query = select(*STORED).where(SubmissionRow.id == entry.record.submission)
    with Session(store.engine) as session:
        row = session.execute(query).one_or_none()
    with suppress(*UNREADABLE):
        return row is not None and entry_of(row) == entry
    return False


def _submitted_here(store: Writer, row: Any) -> bool:
    """Whether the predictions of a row are kept here; also where its record is unreadable."""
    try:
        hashes = record_of(row.record).fingerprints.predictions
    except UNREADABLE:
        return True
    return bool(hashes) and all(store.prediction_path(sha256).is_file() for sha256 in hashes)
