"""Removes submissions from the registry."""

from __future__ import annotations

from dataclasses import dataclass

from etchmark.errors import UserError
from etchmark.registry.store import REVIEWED, Found, Store
from etchmark.specs import ResultRecord
from etchmark.submission.finding import find_submission
from etchmark.submission.submit import earlier


@dataclass(frozen=True)
class Withdrawn:
    """A submission that is no longer in the registry."""

    submission: Found
    restored: ResultRecord | None
    """The submission that it had superseded, which is on the board again."""
    removed: int
    """Number of predictions files removed, since no other submission names them."""
    kept: int
    """Number of predictions files kept, since others may name them, or missing already."""


def to_withdraw(store: Store, text: str) -> Found:
    """The local submission whose id is, or begins with, a text.

    Raises:
        UserError: there is none or several, or it is a reviewed record.
    """
    match = find_submission(store, text)
    if match.origin == REVIEWED:
        raise UserError(
            f"submission {match.short} ({match.name}) is a reviewed record and would be taken in"
            f" again; remove its files from leaderboard/results/{match.benchmark}@{match.version}"
            " by a pull request"
        )
    return match


def withdraw(store: Store, submission: Found) -> Withdrawn:
    """Remove a submission for good, with its predictions file unless another one names it.

    The row is removed first: whenever the process dies, at most a file is left over that no row
    names.
    """
    entry = store.get(submission.submission)
    record = None if entry is None else entry.record
    before: list[ResultRecord] = []
    if record is not None and record.outcome == "ok":
        same = sorted(
            [record, *earlier(store, record)],
            key=lambda record: (record.created, record.submission),
        )
        before = same[:-1] if same[-1] == record else []
    hashes = [] if record is None else record.fingerprints.predictions
    store.remove(submission.submission)
    removed = store.remove_predictions(hashes)
    kept = len(hashes) - len(removed)
    return Withdrawn(submission, before[-1] if before else None, len(removed), kept)
