"""Messages about names that do not exist."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from etchmark.errors import UserError

LISTED = {
    *("benchmark", "dataset", "model", "baseline", "benchmark or dataset"),
    "benchmark, dataset or baseline",
}
"""Kinds of name that ``etchmark list`` shows."""
MOST_NAMES = 12
"""How many names one message lists."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """An error about a name that does not exist, with the most similar names that do.

    All names follow, unless they are many or ``etchmark list`` shows them.
    """
    names = sorted(known)
    if not names:
        return UserError(f"unknown {kind} {name!r}; there is none")
    is_listed = kind in LISTED
    near = difflib.get_close_matches(name, names, n=3 if is_listed else 1, cutoff=0.5)
    hints = [f"did you mean: {', '.join(near)}"] if near else []
    if not near or (not is_listed and len(names) > 1):
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        hints.append(f"choose from: {', '.join(names[:MOST_NAMES])}{more}")
    where = " (see `etchmark list`)" if is_listed else ""
    return UserError(f"unknown {kind} {name!r}; {'; '.join(hints)}{where}")


def unknown_in_card(kind: str, name: str, known: Collection[str]) -> str:
    """The same for a name in a card: text to put between the card's key and the remedy."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"unknown {kind} {name!r}, did you mean {near[0]!r}?"
    listing = ", ".join(list(known)[:MOST_NAMES]) or "none"
    return f"unknown {kind} {name!r}, choose from {listing}"
