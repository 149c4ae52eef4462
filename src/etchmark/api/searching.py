"""Finding benchmarks, datasets and models by words of their names and titles."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

from etchmark.api.content import contents
from etchmark.api.types import Match
from etchmark.catalog import Catalog
from etchmark.registry.store import Store

Titled = Mapping[str, Sequence[tuple[str, str]]]
"""Names and titles of each sort."""
ALIKE = 0.7
"""Least similarity of two words, as of ``difflib``, for one to stand for the other."""


def search(catalog: Catalog, store: Store, text: str, limit: int) -> list[Match]:
    """See ``Hub.search``; a submitted model without a card here is found by its name alone."""
    words = text.casefold().split()
    if not words:
        return []
    declared = contents(catalog)
    titles = {row["name"]: row.get("title") or row["name"] for row in declared.baselines}
    titled = {
        "benchmark": [(row["id"], row.get("title") or row["id"]) for row in declared.benchmarks],
        "dataset": [(row["name"], row.get("title") or row["name"]) for row in declared.datasets],
        "model": [(name, titles.get(name) or name) for name in store.names()],
    }
    if matches := _matches(titled, words, limit):
        return matches
    return [replace(match, near=True) for match in _matches(titled, _known(titled, words), limit)]


def _matches(titled: Titled, words: Sequence[str], limit: int) -> list[Match]:
    """Those that hold every word: names that begin with the first word come first."""
    matches: list[Match] = []
    for sort, rows in titled.items():
        held = [
            Match(sort, name, title)
            for name, title in rows
            if all(word in f"{name} {title}".casefold() for word in words)
        ]
        held.sort(key=lambda match: (not match.name.casefold().startswith(words[0]), match.name))
        matches += held[:limit]
    return matches


def _known(titled: Titled, words: Sequence[str]) -> list[str]:
    """Each word, or the word of a name or title that is most like it where none holds it."""
    text = " ".join(
        f"{name} {title}".casefold() for rows in titled.values() for name, title in rows
    )
    vocabulary = sorted({*text.split(), *re.findall(r"\w+", text)})
    known: list[str] = []
    for word in words:
        nearest = [] if word in text else get_close_matches(word, vocabulary, 1, ALIKE)
        known.append(nearest[0] if nearest else word)
    return known
