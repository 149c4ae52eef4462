"""What a board needs of a submission, small enough to read a thousand of them at once.

A record holds folds, curves and environments and its per-sample table every prediction; a board
shows a score and resamples sums over units. Both are taken out once, when a submission is stored.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from etchmark.scoring.samples import SampleScores, from_table
from etchmark.scoring.uncertainty import UnitSums
from etchmark.specs import ResultRecord

VERSION = 3
"""Raised when digests would come out otherwise; stored ones of another version are recomputed."""
CARD = ("title", "training_data", "tags")
COST = (
    "parameters", "fit_seconds", "predict_seconds", "seconds_each", "feature_seconds", "flops",
    "peak_memory_bytes", "hardware",
)  # fmt: skip


def brief(record: ResultRecord) -> dict[str, Any]:
    """The part of a record that stands on boards, as plain objects for JSON."""
    dumped = record.model_dump(mode="json", include={"card", "cost", "scores"})
    scores: dict[str, Any] = {}
    for split in dumped["scores"]:
        scores[split["split"]] = {"": _score(split)} | {
            one["subset"]: _score(one) | {"seeds": split["seeds"]} for one in split["subsets"]
        }
    return {
        "card": {name: dumped["card"][name] for name in CARD},
        "cost": {name: dumped["cost"][name] for name in COST},
        "claimed": _claimed(record),
        "reason": record.reason,
        "scores": scores,
    }


def _claimed(record: ResultRecord) -> dict[str, Any] | None:
    """What the submitter says it cost, which nobody measured here; None if nothing is said."""
    cost = None if record.claims is None else record.claims.cost.model_dump(exclude_none=True)
    return cost or None


def _score(one: dict[str, Any]) -> dict[str, Any]:
    return {name: one[name] for name in ("n", "units", "seeds", "metrics") if name in one}


def unit_sums(samples: bytes) -> Iterator[UnitSums]:
    """Sums of every split and every subset that a per-sample table knows."""
    for whole in from_table(pq.read_table(io.BytesIO(samples))):
        yield _sums(whole, "")
        for name in whole.subsets:
            some = whole.subset(name)
            if some is not None:
                yield _sums(some, name)


def _sums(one: SampleScores, subset: str) -> UnitSums:
    sums = {name: values for name, values in one.sums().items() if not np.isnan(values).all()}
    labels = "\0".join(str(label) for label in np.unique(one.units))
    return UnitSums(
        split=one.split,
        subset=subset,
        units=hashlib.sha256(labels.encode()).hexdigest(),
        terms=tuple(sums),
        values=np.stack([*sums.values()]),
    )
