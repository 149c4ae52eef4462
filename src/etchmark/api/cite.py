"""BibTeX entries: a benchmark or dataset as it is published here, and the papers behind it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from etchmark._version import __version__
from etchmark.catalog import Catalog, unknown
from etchmark.data.release import frozen_fingerprint
from etchmark.publish.citation import how_to_cite
from etchmark.specs import Citation

AUTHORS = "{The etchmark authors}"
_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}  # fmt: skip
_PARTS = re.compile(
    r"(?P<authors>[^()]+) \((?P<year>\d{4})\), "
    r"(?:arXiv (?P<preprint>[\d.]+)|(?P<journal>\D+) (?P<volume>\d+), (?P<pages>\w+(?:[–-]\w+)?))"
)
"""The form in which a short title names a paper: families, year, journal, volume and first page."""


def bibtex(catalog: Catalog, name: str, seen_at: str | None = None) -> str:
    """Entries for a benchmark (``ID`` or ``ID@VERSION``) or a dataset, and for what it cites.

    Args:
        catalog: where it is declared.
        name: of the benchmark or dataset.
        seen_at: address where its board was seen today, which the entry then names in place of the
            project's own.

    Raises:
        UserError: the name is unknown, or a card is broken.
    """
    head = name.partition("@")[0]
    if head in catalog.benchmark_names():
        spec = catalog.benchmark(name)
        prints = {name: track.fingerprint for name, track in spec.tracks.items()}
        own = _own(
            catalog.root_of_benchmark(head), "benchmark", spec.id, spec.version, spec.title, prints
        )
        cited = [*spec.citations, *catalog.dataset(spec.dataset).citations]
    elif name in catalog.dataset_names():
        dataset = catalog.dataset(name)
        folder = catalog.dataset_folder(name)
        released = {config: frozen_fingerprint(folder, config) for config in dataset.configs}
        prints = {config: value for config, value in released.items() if value}
        own = _own(
            catalog.root_of_dataset(name),
            "dataset",
            dataset.name,
            dataset.version,
            dataset.title,
            prints,
        )
        cited = dataset.citations
    else:
        known = [*catalog.benchmark_names(), *catalog.dataset_names()]
        raise unknown("benchmark or dataset", name, known)
    if seen_at is not None:
        own |= {"url": seen_at, "urldate": f"{datetime.now(UTC):%Y-%m-%d}"}
    entries = [_entry(f"etchmark-{head}-{own['version']}", own)]
    keys: dict[str, int] = {}
    for paper in dict.fromkeys((work.title, work.doi, work.url) for work in cited):
        citation = Citation(title=paper[0], doi=paper[1], url=paper[2])
        key = _key(citation)
        keys[key] = keys.get(key, 0) + 1
        suffix = "" if keys[key] == 1 else chr(ord("a") + keys[key] - 1)
        entries.append(_paper(key + suffix, citation))
    return "\n\n".join(entries)


def _own(
    root: Path, kind: str, name: str, version: int, title: str, prints: Mapping[str, str]
) -> dict[str, str]:
    """Fields of the entry of what is published here."""
    cff = how_to_cite(root)
    released = str(cff.get("date-released") or "")
    data = "; ".join(f"{part}: {fingerprint}" for part, fingerprint in prints.items())
    return {
        "author": _authors(cff),
        "title": f"{{{escaped(title)}}}, etchmark {kind} {escaped(name)}, version {version}",
        "year": released[:4],
        "version": str(version),
        "howpublished": f"etchmark {escaped(str(cff.get('version') or __version__))}",
        "url": str(cff.get("url") or cff.get("repository-code") or ""),
        "note": f"SHA-256 of the data: {escaped(data)}" if data else "",
    }


def _authors(cff: Mapping[str, Any]) -> str:
    names = []
    for author in cff.get("authors") or []:
        if "family-names" in author:
            parts = [author["family-names"], author.get("given-names")]
            names.append(escaped(", ".join(str(part) for part in parts if part)))
        elif "name" in author:
            # In braces: the name of a group is not a family name with given names before it.
            names.append(f"{{{escaped(str(author['name']))}}}")
    return " and ".join(names) or AUTHORS


def _paper(key: str, citation: Citation) -> str:
    """The entry of a paper; its parts where its title has the form of ``_PARTS``."""
    # Verbatim in BibTeX: nothing is escaped in either.
    there = {"doi": citation.doi or "", "url": citation.url or ""}
    parts = _PARTS.fullmatch(citation.title)
    if parts is None:
        year = re.search(r"\((\d{4})\)", citation.title)
        title = f"{{{escaped(citation.title)}}}"
        return _entry(key, {"title": title, "year": year.group(1) if year else ""} | there)
    names = parts["authors"].removesuffix(" et al.")
    authors = [f"{{{escaped(name)}}}" for name in re.split(", | & ", names)]
    if names != parts["authors"]:
        authors.append("others")
    fields = {"author": " and ".join(authors), "year": parts["year"]}
    if parts["preprint"]:
        fields |= {"eprint": parts["preprint"], "eprinttype": "arXiv"}
        return _entry(key, fields | there)
    fields |= {name: escaped(parts[name]) for name in ("journal", "volume", "pages")}
    return _entry(key, fields | there, "article")


def _key(citation: Citation) -> str:
    """First name and year in ASCII, such as ``whitman2025``."""
    plain = unicodedata.normalize("NFKD", citation.title).encode("ascii", "ignore").decode()
    name = re.search(r"[A-Za-z][A-Za-z-]*", plain)
    year = re.search(r"\d{4}", plain)
    return (name.group(0).lower() if name else "paper") + (year.group(0) if year else "")


def escaped(text: str) -> str:
    """Text that LaTeX sets as it is written."""
    return "".join(_SPECIAL.get(char, char) for char in text)


def _entry(key: str, fields: Mapping[str, str], kind: str = "misc") -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])
