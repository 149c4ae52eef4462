"""Messages about names that do not exist."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from etchmark.errors import UserError

LISTED = {"benchmark", "dataset", "model", "baseline", "benchmark or dataset"}
"""Kinds of name that ``etchmark list`` shows."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """An error about a name that does not exist, with the most similar names that do."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    shown = near or names[:12]
    hint = "did you mean" if near else "choose from"
    listing = ", ".join(shown) if shown else "none"
    more = f" and {len(names) - len(shown)} more" if not near and len(names) > len(shown) else ""
    where = " (see `etchmark list`)" if kind in LISTED else ""
    return UserError(f"unknown {kind} {name!r}; {hint}: {listing}{more}{where}")


def unknown_in_card(kind: str, name: str, known: Collection[str]) -> str:
    """The same for a name in a card: text to put between the card's key and the remedy."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"unknown {kind} {name!r}, did you mean {near[0]!r}?"
    listing = ", ".join(list(known)[:12]) or "none"
    return f"unknown {kind} {name!r}, choose from {listing}"
