"""How often intervals of a board's design hold the truth, as it was measured.

``tests/reliability/coverage.py`` measures it and writes ``coverage.json`` beside the reviewed
results of a content folder.
"""

from __future__ import annotations

import json
from typing import Any

from etchmark.catalog import Catalog, results_of
from etchmark.specs import BenchmarkSpec

FILE = "coverage.json"
TOO_NARROW = 0.9
"""Measured coverage below which the intervals of a board are called too narrow; 95 % is wanted."""


def coverage_of(catalog: Catalog, spec: BenchmarkSpec, protocol: str, metric: str) -> float | None:
    """Share of the intervals that hold the truth; None where nobody measured it.

    Args:
        catalog: the content in use.
        spec: the benchmark.
        protocol: how its data are divided.
        metric: what is scored.
    """
    for root in catalog.roots:
        try:
            measured = json.loads((results_of(root) / FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            # No board depends on this file.
            continue
        entry: Any = measured
        for key in (spec.key, protocol, metric, "jackknife"):
            entry = entry.get(key) if isinstance(entry, dict) else None
        if isinstance(entry, list) and entry and isinstance(entry[0], int | float):
            share = float(entry[0])
            if 0 <= share <= 1:
                return share
    return None


def coverage_in_words(share: float | None) -> str | None:
    """A phrase on the measured coverage of intervals; None where nobody measured it."""
    if share is None:
        return None
    phrase = f"measured coverage {100 * share:.0f} %"
    # As it is printed: nobody is told that 90 % is less than 90 %.
    return phrase if round(share, 2) >= TOO_NARROW else f"{phrase}: these intervals are too narrow"
