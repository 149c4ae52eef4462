"""Rows ranked by the split on which each does worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from etchmark.boards.rows import GAIN_COLUMNS, SCORE_COLUMNS, typed
from etchmark.boards.standings import Board, board_of
from etchmark.boards.view import View, Where
from etchmark.errors import UserError
from etchmark.registry.store import Store
from etchmark.registry.tables import Entry
from etchmark.specs import BenchmarkSpec
from etchmark.targets import metric as metric_by_id

TESTED = (
    *("rank_low", "rank_high", "may_be_best", "behind", "gain_relation"),
    *GAIN_COLUMNS,
    *SCORE_COLUMNS,
)
"""What rests on paired samples, or on those of one split."""


def standings(
    spec: BenchmarkSpec,
    store: Store,
    view: View,
    *,
    where: Where | None = None,
    everything: bool = False,
    extra: Sequence[Entry] = (),
) -> pd.DataFrame:
    """The board of a view of the worst split; arguments as of ``boards.standings.standings``."""
    board = board_of(spec, store, replace(view, split=None), extra=extra)
    return by_worst_split(board, track=view.track, where=where, everything=everything)


def by_worst_split(
    board: Board, *, track: str | None = None, where: Where | None = None, everything: bool = False
) -> pd.DataFrame:
    """The board with the worst of each row's scores over all splits of the protocol.

    ``split`` names the split of that score. Rows are then judged on different samples, so there is
    no interval, no rank range, no gain and no test. A row without a score on one of the splits has
    none here: leaving out a hard split is no advantage.

    Args:
        board: of the headline split.
        track: one track; all of them if None.
        where: rows to keep; ranks are made among them.
        everything: with failed and superseded submissions, which have no rank.

    Returns:
        One row per submission, best first; ``boards.standings.COLUMNS`` names the columns.

    Raises:
        UserError: the board is of another split or of a subset.
    """
    if board.subset or board.split != board.spec.protocols[board.protocol].split:
        raise UserError(
            "the worst split is that among all splits of the protocol: leave out the subset"
        )
    frame = board.standings(track=track, where=where, everything=everything)
    sign = metric_by_id(board.metric).sign()
    splits = board.by_split().reindex(frame["submission"])
    losses = sign * splits.to_numpy(dtype=float, na_value=np.nan)
    complete = np.asarray(np.isfinite(losses).all(axis=1))
    worst = np.where(complete, np.where(np.isfinite(losses), losses, np.inf).argmax(axis=1), 0)
    score = np.where(complete, sign * losses[np.arange(len(losses)), worst], np.nan)
    ranked = complete & frame["rank"].notna().to_numpy(dtype=bool)
    frame[list(TESTED)] = None
    frame["score"] = score
    frame["split"] = [
        splits.columns[place] if known else None
        for place, known in zip(worst.tolist(), complete.tolist(), strict=True)
    ]
    frame["rank"] = pd.Series(sign * score).where(ranked).rank(method="min")
    # Counts are those of the headline split.
    frame[["n", "units"]] = None
    frame = typed(frame)
    apart = frame["rank"].isna().to_numpy(dtype=bool)
    order = np.lexsort(
        (frame["model"].to_numpy(dtype=str), np.nan_to_num(sign * score, nan=np.inf), apart)
    )
    return frame.iloc[order].reset_index(drop=True)
