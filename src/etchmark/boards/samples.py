"""The per-sample scores that a submission was stored with."""

from __future__ import annotations

from etchmark.errors import UserError
from etchmark.registry.tables import UNREADABLE, Entry
from etchmark.scoring.samples import SampleScores, from_bytes


def sample_scores(entry: Entry, split: str, subset: str | None = None) -> SampleScores | None:
    """Per-sample scores of a submission on a split, or a subset of it; None if it has none.

    Raises:
        UserError: the stored table is damaged.
    """
    if entry.samples is None:
        return None
    try:
        tables = from_bytes(entry.samples)
    except UNREADABLE:
        record = entry.record
        raise UserError(
            f"submission {record.submission[:12]} ({record.name}): its per-sample table is damaged;"
            " submit it again, or remove it with `etchmark withdraw`"
        ) from None
    scores = next((table for table in tables if table.split == split), None)
    return scores if scores is None or subset is None else scores.subset(subset)
