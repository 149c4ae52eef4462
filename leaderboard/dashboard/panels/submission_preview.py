"""The first step of a submission, once a file was checked: where it would stand."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from dashboard.panels.scores import scores_table
from dashboard.panels.submission_form import Preview
from dashboard.panels.task import Task
from dashboard.terms import linked
from dashboard.text import literal, shortened
from dashboard.wording import count_of_units
from etchmark.api import (
    BOARD_KINDS,
    LOCAL,
    Entry,
    Hub,
    View,
    doubts_in_words,
    kind_of_flag,
)
from etchmark.specs import BenchmarkSpec, ResultRecord

NEIGHBOURS = 5
"""Rows above and below a submission that are shown with it."""


def show(hub: Hub, task: Task, preview: Preview) -> None:
    """What was checked, and where it would stand."""
    record = preview.prepared.record
    details = ", ".join([*record.card.authors, *([record.card.paper] if record.card.paper else [])])
    st.markdown(
        f"To be stored: **{literal(record.name)}**, from"
        f" {literal(shortened(preview.form.file, 60))}"
        + (f" ({literal(shortened(details, 200))})" if details else "")
        + "; nothing is stored yet. Later changes in the form are not part of it; check again to"
        " include them."
    )
    _show_checks(hub, task, preview)
    _show_warnings(hub, record)
    # Dated as if it were stored now: the newest submission of a name stands on the board.
    dated = record.model_copy(update={"created": datetime.now(UTC)})
    show_standing(hub, task.spec, Entry(dated, preview.prepared.samples, LOCAL))
    if preview.token is not None:
        st.caption(
            "The server keeps this file for a day, for whoever has the address of this page: a"
            " reload shows the preview again. Storing or discarding it removes it."
        )


def _show_checks(hub: Hub, task: Task, preview: Preview) -> None:
    record = preview.prepared.record
    st.success("The file is complete and finite:\n" + "\n".join(check_lines(task.spec, preview)))
    st.dataframe(scores_table(hub, task.spec, record), hide_index=True, key="preview-scores")
    for doubt in preview.prepared.doubts:
        st.warning(literal(doubt.message[:1].upper() + doubt.message[1:] + "."))


def _show_warnings(hub: Hub, record: ResultRecord) -> None:
    """Stored submissions that this one replaces or repeats."""
    earlier = hub.earlier(record)
    if earlier:
        st.warning(
            f"It replaces {earlier[-1].submission[:12]} on the board, which has the same name,"
            " track and protocol."
        )
    same = hub.same_predictions(record)
    if same:
        names = ", ".join(literal(shortened(other.name, 60)) for other in same[:3])
        st.warning(f"The same predictions are stored already, as {names}.")


def check_lines(spec: BenchmarkSpec, preview: Preview) -> list[str]:
    """What was checked, line by line."""
    record = preview.prepared.record
    kind = preview.suffix.removeprefix(".")
    lines = [f"read as {kind}: {len(preview.form.content):,} bytes"]
    for score in record.scores:
        seeds = f", for each of {score.seeds} seeds" if score.seeds > 1 else ""
        units = "" if spec.unit_name == "sample" else f" of {count_of_units(spec, score.units)}"
        lines.append(
            f"split {score.split}: all {score.n:,} ids{units}, each once{seeds};"
            " every value is finite"
        )
    protocol = spec.protocols[record.protocol]
    missing = {protocol.split, *protocol.extra_splits} - {score.split for score in record.scores}
    lines += [f"split {name}: no predictions, so no score there" for name in sorted(missing)]
    return [f"- {literal(line)}" for line in lines]


def show_standing(hub: Hub, spec: BenchmarkSpec, entry: Entry) -> None:
    """Where a submission stands among all tracks of its protocol, stored or not."""
    record = entry.record
    frame = hub.standings(spec, View(record.protocol), extra=[entry])
    rows = frame[frame["submission"] == record.submission]
    if rows.empty:
        st.info("A newer submission of the same name is on the board; this one is superseded.")
        return
    frame = frame.dropna(subset=["rank"])
    row = rows.iloc[0]
    for flag in row["flags"] or ():
        # Doubts that follow from the file alone are shown with its checks.
        if kind_of_flag(flag) in BOARD_KINDS:
            message = flag.partition(": ")[2]
            st.warning(literal(message[:1].upper() + message[1:] + "."))
    if pd.isna(row["rank"]):
        reason = row["reason"]
        why = literal(reason) if isinstance(reason, str) else f"its role here is {row['role']}"
        st.info(f"Listed apart and not ranked: {why}.")
        return
    standing = (
        f"Rank **{row['rank']}** of {len(frame)}, 95 % range {row['rank_low']}–{row['rank_high']}"
    )
    standing = linked(standing, {"95 % range": "rank"}, spec.id)
    st.markdown(f"{standing} ({literal(record.protocol)}, all tracks).")
    real = st.column_config.NumberColumn(format="%.4g")
    names = [str(row["metric"]), "95 % low", "95 % high"]
    st.dataframe(
        neighbourhood(frame, record.submission),
        hide_index=True,
        column_config={"": st.column_config.TextColumn(width=30), **dict.fromkeys(names, real)},
        placeholder="–",
        key="neighbourhood",
    )
    explained = (
        f"The status says who computed a score; its 95 % interval is over the {spec.unit_names}."
    )
    st.caption(linked(explained, {"status": "verified", "interval": "interval"}, spec.id))


def neighbourhood(frame: pd.DataFrame, submission: str) -> pd.DataFrame:
    """The rows around one submission, which is marked."""
    row = int((frame["submission"] == submission).to_numpy().argmax())
    near = frame.iloc[max(0, row - NEIGHBOURS) : row + NEIGHBOURS + 1]
    spans = near["rank_low"].astype(str) + "–" + near["rank_high"].astype(str)
    doubts = [
        doubts_in_words(flags, role)
        for flags, role in zip(near["flags"].tolist(), near["role"].tolist(), strict=True)
    ]
    return pd.DataFrame(
        {
            "": ["▶" if name == submission else "" for name in near["submission"]],
            "rank": near["rank"],
            "rank range": spans,
            "model": [shortened(name, 100) for name in near["model"]],
            **({"flags": doubts} if any(doubts) else {}),
            "track": near["track"],
            str(near["metric"].iloc[0]): near["score"],
            "95 % low": near["ci_low"],
            "95 % high": near["ci_high"],
            "status": near["status"],
        }
    )
