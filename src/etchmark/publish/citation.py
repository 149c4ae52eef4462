"""``CITATION.cff``: how a content folder, and what is published of it, is to be cited."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from etchmark.catalog import installed_root, read_yaml
from etchmark.publish.repository import LICENCES
from etchmark.specs import Citation

FILE = "CITATION.cff"


def how_to_cite(root: Path) -> dict[str, Any]:
    """How a content folder, or else etchmark, is to be cited; empty where neither says so."""
    for folder in (root, installed_root()):
        path = folder / FILE
        if path.is_file():
            value = read_yaml(path)
            return value if isinstance(value, dict) else {}
    return {}


def citation_file(
    root: Path,
    title: str,
    version: int,
    licence: str,
    citations: Iterable[Citation],
    kind: str = "dataset",
) -> bytes:
    """The file that says how something published is cited, with the works that it builds on.

    Args:
        root: content folder that it comes from, whose authors are named.
        title: of the dataset or benchmark.
        version: of it.
        licence: as declared.
        citations: works that it builds on.
        kind: what it is, in a word.
    """
    own = how_to_cite(root)
    content: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": f"Please cite this {kind} and the works that it builds on.",
        "type": "dataset",
        "title": title,
        "version": str(version),
        "authors": own.get("authors") or [{"name": "The etchmark authors"}],
    }
    if own.get("date-released"):
        content["date-released"] = str(own["date-released"])
    if licence in LICENCES:
        content["license"] = licence
    references = [
        {
            "type": "article",
            "title": citation.title,
            "authors": [{"name": citation.title.partition("(")[0].strip()}],
            **({"doi": citation.doi} if citation.doi else {}),
            **({"url": str(citation.url)} if citation.url else {}),
        }
        for citation in citations
    ]
    if references:
        content["references"] = references
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False).encode()


def works(citations: Iterable[Citation]) -> list[str]:
    """Lines of a card that name the works which something builds on."""
    lines = []
    for work in citations:
        where = f"https://doi.org/{work.doi}" if work.doi else work.url
        lines.append(f"- {work.title}" + (f", {where}" if where else ""))
    return ["It builds on:", "", *lines, ""] if lines else [""]
