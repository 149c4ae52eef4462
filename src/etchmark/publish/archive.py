"""An archive of one version of a benchmark, ready for a deposit that gets a DOI."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from etchmark.catalog import Catalog
from etchmark.publish import cards, citation
from etchmark.publish.repository import LICENCES, MARKS, Item, Repository
from etchmark.publish.results import record_items
from etchmark.specs import BenchmarkSpec

FOLDER = "archives"
METADATA, SUMS = "datacite.json", "SHA256SUMS"
MOMENT = (2020, 1, 1, 0, 0, 0)
"""Of every file, so that the same content makes the same bytes."""


def repository(catalog: Catalog, benchmarks: Iterable[Repository]) -> Repository:
    """A folder with an archive of each benchmark.

    Args:
        catalog: where they are declared.
        benchmarks: their repositories.
    """
    items = [Item(MARKS[0], b"published by etchmark\n")]
    for each in benchmarks:
        spec = catalog.benchmark(each.name)
        content = archive(catalog, spec, each)
        items.append(Item(f"{spec.id}-v{spec.version}.zip", content))
    title = "Benchmark versions, each in one archive"
    return Repository(FOLDER, "dataset", title, "as each benchmark declares", tuple(items))


def archive(catalog: Catalog, spec: BenchmarkSpec, benchmark: Repository) -> bytes:
    """A ZIP archive: what is published of a benchmark, its records, metadata and checksums.

    The data are not in it: they are deposited with their dataset, and the archive holds their
    fingerprints.
    """
    root = f"{spec.id}-v{spec.version}"
    items = [item for item in benchmark.items if item.path != MARKS[0]]
    items += [
        Item(f"results/{item.path.partition('/')[2]}", item.content)
        for item in record_items(catalog, spec)
    ]
    items.append(Item(METADATA, cards.as_json(_metadata(catalog, spec))))
    items.sort(key=lambda item: item.path)
    sums = "".join(f"{item.sha256}  {item.path}\n" for item in items)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for item in [*items, Item(SUMS, sums.encode())]:
            info = zipfile.ZipInfo(f"{root}/{item.path}", MOMENT)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            content = item.content
            target.writestr(
                info,
                content if isinstance(content, bytes) else content.read_bytes(),
                compresslevel=6,
            )
    return buffer.getvalue()


def _metadata(catalog: Catalog, spec: BenchmarkSpec) -> dict[str, Any]:
    """What a repository such as Zenodo asks, by the schema of DataCite 4.5."""
    own = citation.how_to_cite(catalog.root_of_benchmark(spec.id))
    released = str(own.get("date-released") or "")
    licence = LICENCES.get(spec.licence)
    related = [
        {
            "relatedIdentifier": work.doi or str(work.url),
            "relatedIdentifierType": "DOI" if work.doi else "URL",
            "relationType": "References",
        }
        for work in spec.citations
        if work.doi or work.url
    ]
    return {
        "schemaVersion": "http://datacite.org/schema/kernel-4",
        "titles": [{"title": f"{spec.title} (etchmark benchmark {spec.key})"}],
        "creators": [_creator(author) for author in own.get("authors") or []]
        or [{"name": "The etchmark authors", "nameType": "Organizational"}],
        "publisher": {"name": "etchmark"},
        "publicationYear": released[:4] or str(datetime.now(UTC).year),
        "version": str(spec.version),
        "types": {"resourceTypeGeneral": "Dataset", "resourceType": "Benchmark"},
        "subjects": [{"subject": "materials science"}, {"subject": "microstructure"}],
        "descriptions": [
            {"description": spec.summary.strip(), "descriptionType": "Abstract"},
            {"description": _data(spec), "descriptionType": "TechnicalInfo"},
        ],
        "rightsList": [
            {"rights": spec.licence, "rightsIdentifier": spec.licence, "rightsUri": licence[1]}
            if licence
            else {"rights": spec.licence}
        ],
        "relatedIdentifiers": related,
        "formats": ["application/zip"],
    }


def _data(spec: BenchmarkSpec) -> str:
    """Which data it is of, in words."""
    parts = [
        f"track {name}: {spec.dataset}:{track.config}, fingerprint {track.fingerprint}"
        for name, track in spec.tracks.items()
    ]
    return f"Data are not in this archive. {'; '.join(parts)}."


def _creator(author: dict[str, Any]) -> dict[str, Any]:
    if "name" in author:
        return {"name": author["name"], "nameType": "Organizational"}
    family, given = author.get("family-names", ""), author.get("given-names", "")
    creator: dict[str, Any] = {
        "name": f"{family}, {given}".strip(", "),
        "nameType": "Personal",
    }
    if author.get("orcid"):
        creator["nameIdentifiers"] = [
            {"nameIdentifier": author["orcid"], "nameIdentifierScheme": "ORCID"}
        ]
    return creator
