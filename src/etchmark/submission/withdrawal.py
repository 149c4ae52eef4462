"""How a submission leaves the registry."""

from __future__ import annotations

from dataclasses import dataclass

from etchmark.errors import UserError
from etchmark.registry.store import REVIEWED, Found, Store
from etchmark.registry.tables import MIN_PREFIX
from etchmark.specs import ResultRecord
from etchmark.submission.submit import earlier


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
