"""Doubts about a submission that is not on a board yet, as a reviewer must see them."""

from __future__ import annotations

from etchmark.boards.standings import Board
from etchmark.registry.store import REVIEWED, Store
from etchmark.registry.tables import Entry
from etchmark.specs import BenchmarkSpec, ResultRecord


def board_flags(
    spec: BenchmarkSpec, store: Store, record: ResultRecord, samples: bytes
) -> tuple[str, ...]:
    """Flags that a record does not hold, since they follow from the other rows of its board.

    Args:
        spec: the benchmark.
        store: the hub, whose board it is.
        record: of the submission.
        samples: its per-sample table.
    """
    entry = Entry(record, samples, REVIEWED)
    frame = Board(spec, store, protocol=record.protocol, extra=[entry]).frame
    (flags,) = frame.loc[frame["submission"] == record.submission, "flags"].tolist()
    known = record.flags or ()
    return tuple(flag for flag in flags or () if flag not in known)
