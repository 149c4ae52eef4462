"""What a board needs of a submission, small enough to read a thousand of them at once.

A record holds folds, curves and environments, and its per-sample table every prediction. A board
needs only scores and sums over units: both are extracted once, when a submission is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from etchmark.errors import UserError
from etchmark.scoring.doubts import equal_in_table, flags_of, unlisted
from etchmark.scoring.intervals import METHOD
from etchmark.scoring.refresh import with_intervals
from etchmark.scoring.samples import SampleScores, from_bytes
from etchmark.scoring.uncertainty import UnitSums
from etchmark.specs import Cost, ResultRecord

VERSION = 7
"""Raised when digests would come out otherwise; stored ones of another version are recomputed."""
CARD = ("title", "training_data", "tags")


def brief(record: ResultRecord, samples: Sequence[SampleScores] = ()) -> dict[str, Any]:
    """The part of a record and its per-sample table that boards show, as plain objects for JSON."""
    dumped = record.model_dump(mode="json", include={"card", "cost", "scores", "artefact"})
    scores: dict[str, Any] = {}
    for split in dumped["scores"]:
        scores[split["split"]] = {"": _counted(split)} | {
            subset["subset"]: _counted(subset) | {"seeds": split["seeds"]}
            for subset in split["subsets"]
        }
    return {
        "card": {name: dumped["card"][name] for name in CARD},
        # Every key, also those that the JSON of an older record lacks.
        "cost": {name: dumped["cost"].get(name) for name in Cost.model_fields},
        "claimed": _claimed(record),
        "reason": record.reason,
        "role": record.role,
        "flags": _flags(record, samples),
        "values": values_digest(samples[0]) if samples else None,
        "interval_method": record.interval_method,
        "artefact": dumped.get("artefact"),
        "scores": scores,
    }


def _flags(record: ResultRecord, samples: Sequence[SampleScores]) -> list[str] | None:
    """Flags of a record, and those that its table shows though the record does not list them."""
    doubts = [] if record.outcome != "ok" else equal_in_table(samples)
    missing = [doubt for doubt in doubts if unlisted(record.flags or (), [doubt])]
    return [*(record.flags or ()), *flags_of(missing)] if missing else record.flags


DIGITS = 6
"""Significant digits of predictions by which files are told to be the same."""


def values_digest(samples: SampleScores) -> str:
    """Hash of the predictions of a split, whatever the file looks like that they came in.

    Where a table keeps no predictions, it is that of what scores are computed from.
    """
    outcome = samples.outcome
    kept = {"prediction": outcome.outputs["prediction"]} if "prediction" in outcome.outputs else {}
    digest = hashlib.sha256()
    for name, values in sorted((kept or outcome.terms).items()):
        digest.update(f"{name} {values.shape}\n".encode())
        if values.dtype.kind == "f":
            digest.update(_rounded(values).tobytes())
        else:
            digest.update("\0".join(values.astype(str).ravel().tolist()).encode())
    return digest.hexdigest()


def _rounded(values: np.ndarray) -> np.ndarray:
    """Numbers to ``DIGITS`` significant digits: other machines sum in another order."""
    fraction, exponent = np.frexp(values.astype("<f8"))
    # Adding zero makes the two zeros alike; whatever is not a number is alike as well.
    rounded = np.ldexp(np.round(fraction, DIGITS), exponent) + 0.0
    return np.where(np.isnan(rounded), np.nan, rounded)


def _claimed(record: ResultRecord) -> dict[str, Any] | None:
    """What the submitter says it cost, which nobody measured here; None if nothing is said."""
    if record.claims is None:
        return None
    return record.claims.cost.model_dump(mode="json", exclude_none=True) or None


def _counted(part: dict[str, Any]) -> dict[str, Any]:
    """Counts and metrics of a split or subset."""
    return {name: part[name] for name in ("n", "units", "seeds", "metrics") if name in part}


def read_samples(content: bytes | None) -> list[SampleScores]:
    """The splits of a per-sample table; an empty list where there is none."""
    return [] if content is None else from_bytes(content)


def with_intervals_of_today(record: ResultRecord, samples: Sequence[SampleScores]) -> ResultRecord:
    """The record with intervals of the method of new records, so that a board never mixes methods.

    A record whose table lacks something keeps its intervals and the name of their method.
    """
    if record.outcome != "ok" or record.interval_method == METHOD:
        return record
    try:
        scores = with_intervals(record.scores, samples)
    except UserError:
        return record
    return record.model_copy(update={"schema_": 2, "scores": scores, "interval_method": METHOD})


def unit_sums(samples: Sequence[SampleScores]) -> Iterator[UnitSums]:
    """Sums of every split and every subset that a per-sample table knows."""
    for split in samples:
        yield _sums(split, "")
        for name in split.subsets:
            subset = split.subset(name)
            if subset is not None:
                yield _sums(subset, name)


def _sums(scores: SampleScores, subset: str) -> UnitSums:
    sums = {name: values for name, values in scores.sums().items() if not np.isnan(values).all()}
    labels = "\0".join(str(label) for label in np.unique(scores.units))
    return UnitSums(
        split=scores.split,
        subset=subset,
        units=hashlib.sha256(labels.encode()).hexdigest(),
        terms=tuple(sums),
        values=np.stack([*sums.values()]),
    )
