"""The standings of a benchmark, with intervals, rank ranges and each model in full."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from dashboard import cached, markup, state
from dashboard.page import show_left_out
from dashboard.panels import (
    board,
    board_figures,
    board_header,
    cite,
    compared,
    drawer,
    filters,
    places,
)
from dashboard.panels.board_columns import Places
from dashboard.terms import linked
from dashboard.text import literal, shortened
from dashboard.wording import count_of_units, gain_over, row_names

from etchmark.api import (
    WORST,
    Board,
    Hub,
    Solver,
    Where,
    coverage_in_words,
    open_hub,
    statements,
    to_records,
    unknown_costs,
    why_none,
)
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec
from etchmark.text import csv_text, json_text

# Terms of the text above a board and of the caption below it, by the words that are linked.
TOLD = {"told apart": "told-apart", "may be the best": "rank", "equal in practice": "told-apart"}
EXPLAINED = {
    "Interval": "interval",
    "Rank range": "rank",
    "Gain": "gain",
    "roles": "roles",
    "status": "verified",
    "flags": "flags",
    "costs": "cost",
}
# Models that the list of models holds.
LISTED = 200


def choose_view(hub: Hub) -> tuple[BenchmarkSpec, state.Link]:
    """Benchmark, track, metric, protocol and what to rank by, as the link holds it."""
    first, second, third, fourth = st.columns([2, 1, 1, 1])
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
    with fourth:
        by = choose_place(spec, name)
    mark = "Headline" if name == spec.headline else "Not the headline"
    about = linked(f"{mark} protocol:", {"protocol": "protocol"}, spec.id)
    st.markdown(f"{about} **{literal(protocol.title)}.** {literal(protocol.description)}")
    if by != protocol.split:
        said = f"Not ranked by the headline split, but by {places.in_words(spec, by)}."
        if by != WORST and spec.smallest_difference is not None:
            said += " The smallest difference that matters is the one declared for the headline."
        st.info(literal(said))
    benchmark = state.view()["benchmark"]
    link = {"benchmark": benchmark, "track": track, "metric": metric, "protocol": name}
    return spec, link | ({"by": by} if by != protocol.split else {})


def choose_rows(everyone: Board, link: state.Link) -> Where:
    """Filters, whether failed and superseded runs are shown, and whether the board is for paper.

    All become part of the link.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        where = filters.show(everyone.frame, link)
        everything = st.toggle(
            "Show failed and superseded runs",
            key="pick-all",
            value=False if "pick-all" in st.session_state else state.view().get("all") == "1",
        )
        on_paper = st.toggle(
            "Print view",
            key="pick-print",
            value=False if "pick-print" in st.session_state else state.view().get("print") == "1",
            help="The whole table and all figures, to print from the browser.",
        )
    if everything:
        link["all"] = "1"
    if on_paper:
        link["print"] = "1"
    return where


def choose_place(spec: BenchmarkSpec, protocol: str) -> str:
    """The split or subset whose scores the rows are ranked by."""
    return state.choose(
        st.selectbox,
        "Rank by",
        "by",
        places.ranked_by(spec, protocol),
        spec.protocols[protocol].split,
        what="split or subset",
        format_func=lambda place: places.title(spec, protocol, place),
        help="Scores, intervals, ranks and tests are those of this split or subset. By the worst"
        " split, each row's highest error counts, or its lowest score where higher is better.",
    )


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
        " is shown to be ahead of them by a difference that matters." + gain_over(spec)
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


def choose_model(frame: pd.DataFrame) -> str | None:
    """The model picked by a click on its row, by list or by link."""
    ids = [str(submission) for submission in frame["submission"]]
    if "pick-model" not in st.session_state and (asked := state.view().get("model")):
        matches = compared.named_by(asked, frame, state.view().get("track"))
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
    return st.selectbox(
        "Model details",
        options,
        index=None,
        key="pick-model",
        format_func=lambda option: names.get(option) or str(option),
        placeholder="Pick a model here, or click on its row",
        label_visibility="collapsed",
    )


def show_drawer(
    hub: Hub, spec: BenchmarkSpec, frame: pd.DataFrame, submission: str, solver: Solver | None
) -> None:
    entry = cached.entry(hub, submission)
    if entry is None:
        raise UserError("that submission was withdrawn or cannot be read; reload the page")
    with st.container(border=True):
        drawer.show(hub, spec, entry, frame, solver)


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
    if "split" in st.query_params and "by" not in st.query_params:
        # What the command line calls it.
        st.query_params["by"] = st.query_params["split"]
    state.follow_link()
    hub = open_hub()
    markup.skip_link("Skip to the table", board.TABLE)
    header = st.container()
    spec, link = choose_view(hub)
    st.set_page_config(page_title=f"{shortened(spec.title, 60)} · etchmark")
    with header:
        board_header.show(hub, spec)
    view = places.view_of(spec, link.get("by"), link["protocol"], link["metric"])
    worst = link.get("by") == WORST
    everyone = cached.board(hub, spec, view)
    show_left_out(hub)
    where = choose_rows(everyone, link)
    frame = cached.standings(
        hub,
        spec,
        view,
        track=None if link["track"] == state.ALL_TRACKS else link["track"],
        where=where,
        everything="all" in link,
        worst=worst,
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
    if len(ranked) and not worst:
        board_header.show_short(hub, spec, ranked)
        said = literal(" ".join(statements(spec, ranked)))
        st.markdown(linked(said, TOLD, spec.id))
    # What the solver costs at the accuracy of a row is known for whole splits, one at a time.
    solver = None if worst else hub.solver(spec, view, everyone.frame)
    submission = None if "print" in link else choose_model(frame)
    table, beside = (st.container(), None) if submission is None else st.columns([5, 2])
    with table:
        splits = everyone.by_split() if worst else everyone.elsewhere()
        elsewhere = Places(splits, everyone.by_subset(), everyone.by_unit)
        board.show(hub, spec, frame, elsewhere, link, solver)
        if (unknown := unknown_costs(frame)) is not None:
            st.caption(literal(f"Costs. {unknown}"))
        show_downloads(spec, frame, link)
        cited = st.container()
    if beside is not None and submission is not None:
        with beside:
            show_drawer(hub, spec, frame, submission, solver)
    if len(ranked) and not worst:
        said = literal(caption(spec, ranked, hub.coverage(spec, view)))
        st.caption(linked(f"{said} More on roles, status, flags and costs.", EXPLAINED, spec.id))
        board_figures.show(hub, spec, ranked, link, view)
    if submission is not None:
        link["model"] = submission[: state.SHORT]
    # Last, when the link is whole.
    with cited:
        cite.show_board(hub, spec, link, where, submission)
    state.remember(link)


main()
