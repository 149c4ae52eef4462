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


def most_common(sums: Mapping[str, UnitSums]) -> str:
    """A submission that was scored on the same units as most others; empty if there is none."""
    counts = Counter(part.units for part in sums.values())
    return max(sums, key=lambda name: counts[sums[name].units], default="")


def scores(metric: Metric, sums: Mapping[str, UnitSums], labels: np.ndarray) -> pd.DataFrame:
    """The score of every submission on every unit, mean over seeds.

    Args:
        metric: a function of sums.
        sums: over the units of a split, by submission.
        labels: of the unit of each sample, of a submission as ``most_common`` gives it.

    Returns:
        One row per submission that was scored on the same units, one column per unit; missing where
        the metric is not defined.
    """
    names, same = np.unique(labels), sums[most_common(sums)].units
    rows = {}
    for submission, part in sums.items():
        if part.units == same:
            terms = dict(zip(part.terms, part.values, strict=True))
            with np.errstate(invalid="ignore", divide="ignore"):
                values = metric.of(terms).mean(axis=0)
            rows[submission] = np.where(np.isfinite(values), values, np.nan)
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=[str(name) for name in names])
    return frame.astype("Float64")
