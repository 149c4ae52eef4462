"""Finds and validates what ``datasets/``, ``benchmarks/`` and ``baselines/`` declare."""

from etchmark.catalog.choices import pick_protocol, pick_track, use_of
from etchmark.catalog.content import KINDS, Catalog
from etchmark.catalog.layers import (
    catalog,
    content_root,
    content_roots,
    installed_root,
    results_of,
)
from etchmark.catalog.models import ModelSource
from etchmark.catalog.names import unknown
from etchmark.catalog.reading import as_record, read_record, read_yaml
from etchmark.catalog.wording import explain

__all__ = [
    "KINDS",
    "Catalog",
    "ModelSource",
    "as_record",
    "catalog",
    "content_root",
    "content_roots",
    "explain",
    "installed_root",
    "pick_protocol",
    "pick_track",
    "read_record",
    "read_yaml",
    "results_of",
    "unknown",
    "use_of",
]
