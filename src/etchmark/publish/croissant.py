"""Croissant: a dataset described for machines, in JSON-LD.

Source: Akhtar et al., DEEM 2024, DOI 10.1145/3650203.3663326; format 1.1 of MLCommons,
https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etchmark.columns import nesting, to_numpy
from etchmark.publish.repository import LICENCES
from etchmark.specs import DatasetSpec, Manifest

VERSION = "http://mlcommons.org/croissant/1.1"
PARQUET = "application/x-parquet"
_TERMS = (
    *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field"),
    *("fileObject", "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset"),
    *("jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    **{term: f"cr:{term}" for term in _TERMS},
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}
_TYPES = {
    "bool": "sc:Boolean",
    "string": "sc:Text",
    "large_string": "sc:Text",
    "uint8": "cr:UInt8",
    "uint16": "cr:UInt16",
    "int8": "cr:Int8",
    "int16": "cr:Int16",
    "int32": "cr:Int32",
    "int64": "cr:Int64",
    "halffloat": "cr:Float16",
    "float": "cr:Float32",
    "double": "cr:Float64",
}


def described(
    spec: DatasetSpec,
    configs: Mapping[str, tuple[Manifest, Mapping[str, pq.ParquetFile]]],
    cite: str,
    released: str,
) -> bytes:
    """The description of a dataset, as JSON.

    Args:
        spec: the dataset.
        configs: of each published config its manifest, and the first file of each split.
        cite: how to cite it.
        released: date of its release, ``YYYY-MM-DD``.
    """
    distribution: list[dict[str, Any]] = []
    record_sets = []
    for config, (manifest, first_files) in configs.items():
        for file in manifest.files:
            path = f"{config}/{file.path}"
            distribution.append(
                {
                    "@type": "cr:FileObject",
                    "@id": path,
                    "name": path,
                    "contentUrl": path,
                    "contentSize": f"{file.bytes} B",
                    "encodingFormat": PARQUET,
                    "sha256": file.sha256,
                }
            )
        for split, first in first_files.items():
            name = f"{config}/{split}"
            distribution.append(
                {
                    "@type": "cr:FileSet",
                    "@id": f"{name}-files",
                    "name": f"{name}-files",
                    "description": f"Rows of the split {split} of {config}.",
                    "encodingFormat": PARQUET,
                    "includes": f"{config}/data/{split}-*.parquet",
                }
            )
            record_sets.append(_record_set(name, first))
    licence = LICENCES.get(spec.licence)
    content = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": spec.name,
        "description": spec.summary.strip(),
        "license": licence[1] if licence else spec.licence,
        "version": f"{spec.version}.0.0",
        "datePublished": released,
        "citeAs": cite,
        "distribution": distribution,
        "recordSet": record_sets,
    }
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _record_set(name: str, first: pq.ParquetFile) -> dict[str, Any]:
    """Rows of one split."""
    row = next(first.iter_batches(1), None)
    fields = []
    for column in first.schema_arrow:
        known = _type_of(column.type)
        if known is None:
            continue
        field: dict[str, Any] = {
            "@type": "cr:Field",
            "@id": f"{name}/{column.name}",
            "name": column.name,
            "dataType": known,
            "source": {
                "fileSet": {"@id": f"{name}-files"},
                "extract": {"column": column.name},
            },
        }
        depth, _ = nesting(column.type)
        if depth:
            shape: tuple[int, ...] = ()
            if row is not None:
                shape = to_numpy(pa.chunked_array([row.column(column.name)])).shape[1:]
            # Rows of several lengths stand as objects: of their shape nothing is known.
            shape = shape if len(shape) == depth else (-1,) * depth
            field |= {"isArray": True, "arrayShape": ",".join(map(str, shape))}
        fields.append(field)
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": {"@id": f"{name}/id"},
        "field": fields,
    }


def _type_of(kind: pa.DataType) -> str | None:
    """What Croissant calls a type of cells; None for what it has no name for, such as pictures."""
    return _TYPES.get(str(nesting(kind)[1]))
