"""Scores on single independent units, such as the papers or the morphologies of a benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd

from etchmark.scoring.uncertainty import UnitSums
from etchmark.targets import Metric

MOST = 24
"""Units that are listed; a board with more of them lists none."""


def most_common(sums: Mapping[str, UnitSums]) -> list[str]:
    """The submissions that were scored on the same units, those of most of them."""
    counts = Counter(part.units for part in sums.values())
    units = max(counts, key=lambda units: counts[units], default=None)
    return [name for name, part in sums.items() if part.units == units]


def scores(metric: Metric, sums: Mapping[str, UnitSums], labels: np.ndarray) -> pd.DataFrame:
    """The score of every submission on every unit, mean over seeds.

    Args:
        metric: a function of sums.
        sums: over the units of a split, by submission.
        labels: of the unit of each sample, of one of the submissions of ``most_common``.

    Returns:
        One row per submission that was scored on the same units, one column per unit; missing where
        the metric is not defined.
    """
    names, rows = np.unique(labels), {}
    for submission in most_common(sums):
        part = sums[submission]
        terms = dict(zip(part.terms, part.values, strict=True))
        with np.errstate(invalid="ignore", divide="ignore"):
            values = metric.of(terms).mean(axis=0)
        rows[submission] = np.where(np.isfinite(values), values, np.nan)
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=[str(name) for name in names])
    return frame.astype("Float64")
