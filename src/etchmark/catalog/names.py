"""Messages about names that do not exist."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence

from etchmark.errors import UserError

LISTED = {
    *("benchmark", "dataset", "model", "baseline", "benchmark or dataset"),
    "benchmark, dataset or baseline",
}
"""Kinds of name that ``etchmark list`` shows."""
MOST_NAMES = 12
"""How many names one message lists."""


def unknown(kind: str, name: str, known: Iterable[str], fault: str | None = None) -> UserError:
    """An error about a name that does not exist, with the most similar names that do.

    All names follow, unless they are many or ``etchmark list`` shows them.

    Args:
        kind: of name, as in "benchmark".
        name: the one that does not exist.
        known: those that do.
        fault: what is wrong, in other words than "unknown KIND NAME".
    """
    names, fault = sorted(known), fault or f"unknown {kind} {name!r}"
    if not names:
        return UserError(f"{fault}; there is none")
    is_listed = kind in LISTED
    near = difflib.get_close_matches(name, names, n=3 if is_listed else 1, cutoff=0.5)
    hints = [f"did you mean: {', '.join(near)}"] if near else []
    if not near or (not is_listed and len(names) > 1):
        hints.append(f"choose from: {listed(names)}")
    where = " (see `etchmark list`)" if is_listed else ""
    return UserError(f"{fault}; {'; '.join(hints)}{where}")


def unknown_in_card(kind: str, name: str, known: Collection[str]) -> str:
    """The same for a name in a card: text to put between the card's key and the remedy."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"unknown {kind} {name!r}, did you mean {near[0]!r}?"
    return f"unknown {kind} {name!r}, choose from {listed(list(known)) or 'none'}"


def listed(names: Sequence[str]) -> str:
    """Names joined by commas; of many the first ones, and how many more there are."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
