"""The standings of a benchmark, with intervals, rank ranges and each model in full."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from dashboard import cached, state
from dashboard.page import show_left_out
from dashboard.panels import board, board_figures, filters, model
from dashboard.text import literal
from dashboard.wording import count_of_units, gain_over, row_names

from etchmark.api import (
    Hub,
    Solver,
    View,
    coverage_in_words,
    open_hub,
    predicted_piece,
    statements,
    to_records,
    unknown_costs,
    why_none,
)
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec
from etchmark.text import csv_text, json_text

# Models that the list of models holds.
LISTED = 200


def choose_view(hub: Hub) -> tuple[BenchmarkSpec, state.Link]:
    """Benchmark, track, metric, protocol and which runs: the view, as the link holds it."""
    first, second, third = st.columns([2, 1, 1])
    with first:
        spec = state.choose_benchmark(hub)
    with second:
        track = state.choose(
            st.selectbox,
            "Track",
            "track",
            [state.ALL_TRACKS, *spec.tracks],
            state.ALL_TRACKS,
            help="What the model may look at. Ranks are made among the rows that are shown.",
        )
    with third:
        metric = state.choose_metric(spec)
    name = state.choose_protocol(spec, st.segmented_control, required=True)
    protocol = spec.protocols[name]
    mark = "Headline" if name == spec.headline else "Not the headline"
    st.markdown(f"{mark} protocol: **{literal(protocol.title)}.** {literal(protocol.description)}")
    everything = st.toggle(
        "Show failed and superseded runs",
        key="pick-all",
        value=False if "pick-all" in st.session_state else state.view().get("all") == "1",
    )
    benchmark = state.view()["benchmark"]
    link = {"benchmark": benchmark, "track": track, "metric": metric, "protocol": name}
    return spec, link | ({"all": "1"} if everything else {})


def caption(spec: BenchmarkSpec, ranked: pd.DataFrame, coverage: float | None = None) -> str:
    most = max(int(count) for count in ranked["units"].tolist())
    absent = ranked.loc[ranked["ci_low"].isna(), "units"].tolist()
    reasons = dict.fromkeys(why_none(int(count), spec.unit_names) for count in absent)
    about = "".join(f"{reason[0].upper()}{reason[1:]}. " for reason in reasons)
    if len(absent) < len(ranked):
        phrase = coverage_in_words(coverage)
        measured = "" if phrase is None else f" ({phrase})"
        about = (
            f"Interval: 95 % interval over {count_of_units(spec, most)}; with another set of"
            f" {spec.unit_names} the score would likely lie in it{measured}. {about}"
        )
    return (
        f"{about}Rank range: the ranks a model takes in 95 % of resamples; it"
        " describes how ranks vary and tests nothing. Best: rows that may be the best, since no row"
        " is shown to be ahead of them." + gain_over(spec)
    )


def show_downloads(spec: BenchmarkSpec, frame: pd.DataFrame, link: state.Link) -> None:
    stem = f"{spec.id}-{spec.version}-{link['protocol']}-{link['track']}-{link['metric']}"

    # Written on demand: a thousand rows take longer than the rest of the page.
    def as_csv() -> str:
        return csv_text(frame)

    def as_json() -> str:
        return json_text(to_records(frame))

    with st.container(horizontal=True):
        for name, content, mime in (
            ("CSV", as_csv, "text/csv"),
            ("JSON", as_json, "application/json"),
        ):
            st.download_button(
                name,
                content,
                file_name=f"{stem}.{name.lower()}",
                mime=mime,
                icon=":material/download:",
                on_click="ignore",
            )


def show_model(
    hub: Hub, spec: BenchmarkSpec, frame: pd.DataFrame, solver: Solver | None = None
) -> str | None:
    """The model picked by row, by list or by link; its short id for the link."""
    ids = [str(submission) for submission in frame["submission"]]
    if "pick-model" not in st.session_state and (asked := state.view().get("model")):
        matches = state.named_by(asked, ids)
        if matches:
            st.session_state["pick-model"] = matches[0]
        else:
            st.warning("The link names a submission that is not in this view.")
    if st.session_state.get("pick-model") not in ids:
        st.session_state["pick-model"] = None
    # A thousand options would slow every change of the page; the others are reached by their rows.
    options = ids[:LISTED]
    picked = st.session_state["pick-model"]
    if picked is not None and picked not in options:
        options.append(picked)
    names = row_names(pd.DataFrame(frame[frame["submission"].isin(options)]))

    def on_change() -> None:
        # The row marked in the table is no longer the one that is shown: start a new table.
        st.session_state["board-version"] = st.session_state.get("board-version", 0) + 1

    submission = st.selectbox(
        "Model details",
        options,
        index=None,
        key="pick-model",
        format_func=lambda option: names.get(option) or str(option),
        placeholder="Pick a model here or a row above",
        on_change=on_change,
    )
    if submission is None:
        return None
    entry = cached.entry(hub, submission)
    if entry is None:
        raise UserError("that submission was withdrawn or cannot be read; reload the page")
    with st.container(border=True):
        if solver is not None:
            row = frame.iloc[ids.index(submission)].to_dict()
            st.markdown(literal(solver.in_words(row, predicted_piece(spec)) or ""))
        flags = frame.loc[frame["submission"] == submission, "flags"].iloc[0]
        model.show(hub, spec, entry, flags)
    return submission[: state.SHORT]


def show_empty(spec: BenchmarkSpec, protocol: str) -> None:
    st.info("No submission here yet. Run a baseline, or submit predictions of your own:")
    baseline = next((line.model for line in spec.reference_lines if line.model), "MODEL")
    st.code(
        f"etchmark evaluate {baseline} {spec.id} --protocol {protocol}",
        language="bash",
        wrap_lines=True,
    )
    st.page_link("app_pages/submit.py", label="Submit predictions", icon=":material/upload:")


def main() -> None:
    st.title("Leaderboard", anchor=False)
    state.follow_link()
    hub = open_hub()
    spec, link = choose_view(hub)
    view = View(link["protocol"], metric=link["metric"])
    everyone = cached.board(hub, spec, view)
    show_left_out(hub)
    where = filters.show(everyone.frame, link)
    frame = cached.standings(
        hub,
        spec,
        view,
        track=None if link["track"] == state.ALL_TRACKS else link["track"],
        where=where,
        everything="all" in link,
    )
    if frame.empty:
        state.remember(link)
        if where == cached.EVERYWHERE:
            show_empty(spec, link["protocol"])
        else:
            st.info("No submission passes the filters. Widen them.")
        return
    if where != cached.EVERYWHERE:
        st.caption(f"{len(frame):,} of {len(everyone.frame):,} submissions pass the filters.")
    ranked = frame.dropna(subset=["rank"])
    if len(ranked):
        st.markdown(literal(" ".join(statements(spec, ranked))))
    solver = hub.solver(spec, view, everyone.frame)
    board.show(hub, spec, frame, everyone.elsewhere(), link, solver)
    if (unknown := unknown_costs(frame)) is not None:
        st.caption(literal(f"Costs. {unknown}"))
    show_downloads(spec, frame, link)
    if len(ranked):
        st.caption(literal(caption(spec, ranked, hub.coverage(spec, view))))
        board_figures.show(hub, spec, ranked, link)
    submission = show_model(hub, spec, frame, solver)
    state.remember(link if submission is None else link | {"model": submission})


main()
