"""A predictions file is scored and stored."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from etchmark.api.types import Submitted
from etchmark.data.loading import Benchmark
from etchmark.registry.store import Store
from etchmark.submission import submit as submissions
from etchmark.submission.export import export
from etchmark.submission.preview import Scorer
from etchmark.submission.preview import preview as preview_file
from etchmark.submission.statements import Statement, check_stored
from etchmark.submission.submit import Committed, Prepared


def submit(
    store: Store,
    benchmark: Benchmark,
    path: Path,
    statement: Statement,
    *,
    folder: Path | None = None,
    force: bool = False,
) -> Submitted:
    """Score a predictions file and store it.

    Args:
        store: the registry.
        benchmark: what the file is for.
        path: the file.
        statement: name and card, track, protocol and role.
        folder: also export the submission there.
        force: replace an earlier export in it.

    Raises:
        UserError: the submission is refused; nothing is stored.
    """
    prepared = submissions.prepare_file(
        benchmark,
        path,
        name=statement.name,
        card=statement.card,
        track=statement.track,
        protocol=statement.protocol,
        role=statement.role,
    )
    check_stored(statement.name, store.names())
    # Exported first: what cannot be exported is not stored either.
    if folder is not None:
        export(prepared, folder, force=force)
    return Submitted(prepared, submissions.commit(store, prepared))


def preview(path: Path, benchmark: str, statement: Statement, *, warm: bool = False) -> Prepared:
    """Score a stranger's file in a process of its own; see ``submission.preview``."""
    return preview_file(path, benchmark, statement, scorer=Scorer(warm=warm))


def keep(store: Store, prepared: Prepared, known: Collection[str] | None = None) -> Committed:
    """Store what was previewed, with the time of storing; see ``submit.commit``."""
    return submissions.commit(store, submissions.dated_now(prepared), known)
