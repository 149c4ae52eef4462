"""The id of a submission: it follows from what was submitted, so an edited record shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from etchmark.specs import ResultRecord


def submission_id(
    benchmark: str, track: str, protocol: str, prediction_hashes: Sequence[str], name: str
) -> str:
    """SHA-256 over benchmark@version, track, protocol, sorted prediction hashes and name."""
    parts = [benchmark, track, protocol, sorted(prediction_hashes), name]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode("utf-8")).hexdigest()


def id_of(record: ResultRecord) -> str:
    """The id that a record must have; failed runs have no predictions and follow the same rule."""
    return submission_id(
        f"{record.benchmark}@{record.benchmark_version}",
        record.track,
        record.protocol,
        record.fingerprints.predictions,
        record.name,
    )
