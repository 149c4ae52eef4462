"""Parts that the cards of all repositories share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from etchmark.publish.repository import LICENCES

HERE = "ORGANISATION"
"""Stands in a card for whoever publishes, whom a folder does not tell."""


def head(title: str, licence: str, **further: Any) -> list[str]:
    """Header lines of a card, which the Hub reads.

    Args:
        title: of the repository.
        licence: as declared.
        further: keys of the Hub's own.
    """
    known = LICENCES.get(licence)
    content: dict[str, Any] = {"pretty_name": title, "license": known[0] if known else "other"}
    if known is None:
        content["license_name"] = licence
    content |= {"tags": ["materials-science", "microstructure", "etchmark"], **further}
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=100)
    return ["---", *text.splitlines(), "---", ""]


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    """Lines of a Markdown table."""
    names = list(columns)
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    for row in rows:
        cells = (str(cell).replace("|", "\\|").replace("\n", " ") for cell in row)
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def shown(score: float | None, low: float | None = None, high: float | None = None) -> str:
    """A score with its interval, to four digits."""
    if score is None:
        return "–"
    if low is None or high is None:
        return f"{score:.4g}"
    return f"{score:.4g} [{low:.4g}, {high:.4g}]"


def as_json(content: Mapping[str, Any]) -> bytes:
    """A JSON file."""
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
