"""Finding benchmarks, datasets and models by words of their names and titles."""

from __future__ import annotations

from collections.abc import Iterable

from etchmark.api.content import contents
from etchmark.api.types import Match
from etchmark.catalog import Catalog
from etchmark.registry.store import Store


def search(catalog: Catalog, store: Store, text: str, limit: int) -> list[Match]:
    """See ``Hub.search``; a submitted model without a card here is found by its name alone."""
    words = text.casefold().split()
    if not words:
        return []
    declared = contents(catalog)
    titles = {row["name"]: row.get("title") or row["name"] for row in declared.baselines}
    scored = store.names()
    return [
        *_matches("benchmark", _titled(declared.benchmarks, "id"), words, limit),
        *_matches("dataset", _titled(declared.datasets, "name"), words, limit),
        *_matches("model", [(name, titles.get(name) or name) for name in scored], words, limit),
    ]


def _titled(rows: Iterable[dict[str, str]], key: str) -> list[tuple[str, str]]:
    return [(row[key], row.get("title") or row[key]) for row in rows]


def _matches(
    sort: str, titled: Iterable[tuple[str, str]], words: list[str], limit: int
) -> list[Match]:
    """Those that hold every word: names that begin with the first word come first."""
    held = [
        Match(sort, name, title)
        for name, title in titled
        if all(word in f"{name} {title}".casefold() for word in words)
    ]
    return sorted(
        held, key=lambda match: (not match.name.casefold().startswith(words[0]), match.name)
    )[:limit]
