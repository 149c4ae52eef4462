"""The third step of a submission: where it would stand, storing it, and the receipt."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.panels.scores import scores_table
from dashboard.panels.submission_form import Preview, write
from dashboard.panels.task import Task
from dashboard.text import literal, shortened
from dashboard.wording import count_of_units
from etchmark.api import (
    BOARD_KINDS,
    LOCAL,
    Committed,
    Entry,
    Hub,
    Prepared,
    View,
    doubts_in_words,
    kind_of_flag,
    temporary_folder,
)
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec, ResultRecord
from etchmark.text import escape_json

NEIGHBOURS = 5
"""Rows above and below a submission that are shown with it."""


def show(hub: Hub, task: Task, preview: Preview) -> None:
    """What was checked, where it would stand, and the button that stores it."""
    st.subheader("3. Preview: nothing is stored yet", anchor=False)
    record = preview.prepared.record
    details = ", ".join([*record.card.authors, *([record.card.paper] if record.card.paper else [])])
    st.markdown(
        f"To be stored: **{literal(record.name)}**, from {literal(shortened(preview.file, 60))}"
        + (f" ({literal(shortened(details, 200))})" if details else "")
        + ". Later changes in the form are not part of it; check again to include them."
    )
    _show_checks(hub, task, preview)
    _show_warnings(hub, record)
    show_standing(hub, task.spec, Entry(record, preview.prepared.samples, LOCAL))
    with st.container(horizontal=True):
        confirmed = st.button("Store this submission", type="primary", icon=":material/save:")
        discarded = st.button("Discard")
    if confirmed:
        committed = store_preview(hub, preview)
        del st.session_state["preview"]
        st.session_state["receipt"] = (record.submission, committed)
        st.rerun()
    if discarded:
        del st.session_state["preview"]
        st.rerun()


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
    lines = [f"read as {kind}: {len(preview.content):,} bytes"]
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
    st.markdown(
        f"Rank **{row['rank']}** of {len(frame)}, 95 % range {row['rank_low']}–{row['rank_high']}"
        f" ({literal(record.protocol)}, all tracks)."
    )
    real = st.column_config.NumberColumn(format="%.4g")
    names = [str(row["metric"]), "95 % low", "95 % high"]
    st.dataframe(
        neighbourhood(frame, record.submission),
        hide_index=True,
        column_config={"": st.column_config.TextColumn(width=30), **dict.fromkeys(names, real)},
        placeholder="–",
        key="neighbourhood",
    )


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


def store_preview(hub: Hub, preview: Preview) -> Committed:
    with temporary_folder() as folder:
        path = folder / f"predictions{preview.suffix}"
        write(path, preview.content)
        prepared = Prepared(preview.prepared.record, preview.prepared.samples, [path])
        return hub.keep(prepared)


def show_receipt(hub: Hub, submission: str, committed: Committed) -> None:
    """What was stored, where it stands, and its record."""
    entry = hub.entry(submission)
    if entry is None:
        raise UserError("the stored submission is not in the registry any more; submit it again")
    st.subheader("3. Stored", anchor=False)
    record = entry.record
    outcome = committed.value[0].upper() + committed.value[1:]
    st.success(literal(f"{outcome}: {record.name}, submission {submission[:12]}."))
    show_standing(hub, hub.benchmark(record.benchmark), entry)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Result record: your receipt (JSON)",
            escape_json(record.model_dump_json(by_alias=True, indent=2)),
            file_name=f"{submission[:12]}.json",
            mime="application/json",
            icon=":material/download:",
            on_click="ignore",
        )
        link = {
            "benchmark": record.benchmark,
            "protocol": record.protocol,
            "model": submission[:12],
            # A superseded submission is not among the ranked rows.
            **({"all": "1"} if hub.superseded(record) else {}),
        }
        st.page_link(
            "app_pages/leaderboard.py",
            label="See it on the board",
            icon=":material/leaderboard:",
            query_params=link,
        )
    st.caption(
        "This is the registry of this machine. For the public board, export the submission with"
        " etchmark submit --export and open a pull request (CONTRIBUTING.md)."
    )
