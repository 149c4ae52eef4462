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

VERSION = 8
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
        "values": sketch(samples[0]) if samples else None,
        "interval_method": record.interval_method,
        "artefact": dumped.get("artefact"),
        "scores": scores,
    }


def _flags(record: ResultRecord, samples: Sequence[SampleScores]) -> list[str] | None:
    """Flags of a record, and those that its table shows though the record does not list them."""
    doubts = [] if record.outcome != "ok" else equal_in_table(samples)
    missing = [doubt for doubt in doubts if unlisted(record.flags or (), [doubt])]
    return [*(record.flags or ()), *flags_of(missing)] if missing else record.flags


PROJECTIONS = 6
"""Weighted sums of predictions by which files are told to be the same."""


def sketch(samples: SampleScores) -> list[float] | str:
    """A few numbers that are nearly equal where predictions are, whatever their file looks like.

    A hash of rounded numbers would not do: of many numbers, some lie where rounding turns, and a
    copy in single precision falls on the other side. Sums of the predictions with fixed weights
    move as little as the predictions do. The mean over seeds is taken, so the order of seeds and
    seeds that repeat do not matter.

    Args:
        samples: of a split. Where a table keeps no predictions, what scores are computed from is
            used.

    Returns:
        The number of values, the logarithm of the size of each array and the weighted sums,
        relative to that size; ``boards.flags`` compares them. A hash where predictions are classes.
    """
    outcome = samples.outcome
    kept = {"prediction": outcome.outputs["prediction"]} if "prediction" in outcome.outputs else {}
    arrays = [values for _, values in sorted((kept or outcome.terms).items())]
    if any(values.dtype.kind not in "fiub" for values in arrays):
        seeds = {hashlib.sha256(_joined(seed)).hexdigest() for seed in zip(*arrays, strict=True)}
        return hashlib.sha256("".join(sorted(seeds)).encode()).hexdigest()
    means = [np.nan_to_num(values.mean(axis=0, dtype=np.float64).ravel(), posinf=0.0, neginf=0.0)
             for values in arrays]  # fmt: skip
    sizes = [float(np.linalg.norm(mean)) for mean in means]
    whole = np.concatenate([mean / (size or 1.0) for mean, size in zip(means, sizes, strict=True)])
    # Raw bits: what numpy makes of them may change with its version, and sketches are stored.
    bits = np.random.PCG64(0).random_raw(PROJECTIONS * len(whole)).reshape(PROJECTIONS, -1)
    weights = (bits >> np.uint64(11)) * 2.0**-52 - 1.0
    logs = [float(np.log(size)) if size else 0.0 for size in sizes]
    return [float(len(whole)), *logs, *(weights @ whole).tolist()]


def _joined(arrays: Sequence[np.ndarray]) -> bytes:
    return "\0".join(name for values in arrays for name in values.astype(str).ravel()).encode()


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
