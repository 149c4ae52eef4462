"""Finds a stored submission by its id, or by the first characters of it."""

from __future__ import annotations

from etchmark.errors import UserError
from etchmark.registry.store import Found, Store
from etchmark.registry.tables import MIN_PREFIX


def find_submission(store: Store, text: str) -> Found:
    """The one stored submission whose id is, or begins with, a text.

    Raises:
        UserError: there is none or several.
    """
    prefix = text.strip().lower()
    matches = store.find(prefix) if len(prefix) >= MIN_PREFIX else []
    if len(matches) > 1:
        listing = "; ".join(f"{match.short} {match.name} ({match.track})" for match in matches[:5])
        raise UserError(
            f"submission {text[:64]!r}: {len(matches)} begin with it ({listing}); give more"
            " characters"
        )
    if not matches:
        raise UserError(
            f"submission {text[:64]!r}: there is none in {store.home}; give an id or at least its"
            f" first {MIN_PREFIX} characters (`etchmark leaderboard BENCHMARK --all --json` has"
            " them)"
        )
    return matches[0]
