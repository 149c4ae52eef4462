"""Which models are compared: named in a link, or picked from a list."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.text import literal, shortened
from dashboard.wording import row_names
from etchmark.api import Hub

MAX_MODELS = 4


def in_link(rows: pd.DataFrame, submissions: Sequence[str]) -> str:
    """The models as a link has them: by name, which outlives a new submission of the model.

    Where a name is that of several rows or cannot stand in a list, by the submission's id.
    """
    names = dict(zip(rows["submission"].tolist(), rows["model"].tolist(), strict=True))
    counts = rows["model"].value_counts()
    return ",".join(
        submission[: state.SHORT]
        if counts[names[submission]] > 1 or "," in names[submission]
        else names[submission]
        for submission in submissions
    )


def named_by(text: str, rows: pd.DataFrame, track: str | None) -> list[str]:
    """Submissions that a link means by a name or the first characters of an id.

    Args:
        text: as the link has it.
        rows: ranked rows of the board.
        track: of rows that share a name, the one that reads this track is meant.
    """
    same = rows[rows["model"] == text]
    if len(same) > 1 and (same["track"] == track).sum() == 1:
        same = same[same["track"] == track]
    if len(same):
        return [str(submission) for submission in same["submission"]]
    return state.named_by(text, [str(submission) for submission in rows["submission"]])


def find_benchmark(hub: Hub) -> None:
    """Go to the first benchmark that all models of a link were submitted to, if it names none."""
    asked = list(filter(None, st.query_params.get("models", "").split(",")))
    if not asked or "benchmark" in st.query_params:
        return
    held = {
        model: {submission.benchmark for submission in hub.submissions_of(model)} for model in asked
    }
    known = [boards for boards in held.values() if boards]
    names = state.benchmark_names(hub)
    common = [name for name in names if all(name in boards for boards in known)]
    if known:
        # Without a benchmark that all of them share, at least the first model is shown.
        state.view()["benchmark"] = next(name for name in names if name in (common or known[0]))
    if known and not common:
        models = shortened(", ".join(model for model in asked if held[model]), 200)
        st.warning(literal(f"No benchmark has all of these models: {models}."))


def choose(ranked: pd.DataFrame, link: state.Link) -> list[str]:
    """Submissions that are compared, best first; a link that names models shows no others."""
    names = row_names(ranked)
    linked, missing = [], []
    for text in filter(None, state.view().get("models", "").split(",")):
        matches = named_by(text, ranked, link.get("track"))
        if len(matches) == 1:
            linked += matches
        elif matches:
            missing.append(f"{shortened(text, 60)} (the name of {len(matches)} rows)")
        else:
            missing.append(shortened(text, 60))
    # After a benchmark was chosen here, the link was right when it was followed.
    followed = st.query_params.get("benchmark", link["benchmark"]) == link["benchmark"]
    if missing and followed:
        st.warning(
            literal(f"The link names models that are not ranked here: {', '.join(missing)}.")
        )
    if len(linked) > MAX_MODELS:
        left_out = ranked[ranked["submission"].isin(linked[MAX_MODELS:])]["model"]
        models = ", ".join(shortened(str(name), 60) for name in left_out)
        st.warning(literal(f"{MAX_MODELS} models are compared at most; left out: {models}."))
    default = linked[:MAX_MODELS] if linked or (missing and followed) else list(names)[:2]
    picked = st.multiselect(
        f"Models, up to {MAX_MODELS}",
        list(names),
        default=default,
        max_selections=MAX_MODELS,
        key="compare-" + "-".join(link[key] for key in sorted(link) if key != "track"),
        format_func=lambda submission: names.get(submission) or str(submission),
    )
    return [submission for submission in names if submission in picked]
