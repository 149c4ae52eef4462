"""What the hub holds and who leads: benchmarks, families of models, the newest submissions."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from dashboard import cached, markup, state
from dashboard.page import guarded, show_left_out
from dashboard.panels import decision_table, family_matrix
from dashboard.panels.decision_table import headline
from dashboard.terms import linked

from etchmark.api import Hub, RecentSubmission, open_hub
from etchmark.specs import BenchmarkSpec

NEWEST = 8


def main() -> None:
    if set(st.query_params) & set(state.BOARD_KEYS):
        # A link to a board from when that was the first page.
        st.switch_page("app_pages/leaderboard.py", query_params=dict(st.query_params))
    st.title("etchmark", anchor=False)
    st.markdown(
        "Datasets, benchmarks and a leaderboard for machine learning on material microstructures:"
        " fixed splits, one harness that scores every model the same way, and what the scores do"
        " and do not prove."
    )
    state.follow_link()
    hub = open_hub()
    names = state.benchmark_names(hub)
    show_counts(hub, len(names))
    specs: list[BenchmarkSpec] = []
    for name in names:
        with guarded():
            specs.append(hub.benchmark(name))
    place = st.empty()
    # Ranks and tests take longest: until they are known, the table is shown without them.
    if not cached.are_ranked(hub, specs, headline):
        with place.container():
            decision_table.show(hub, specs, {})
    frames = standings(hub, specs)
    with place.container():
        decision_table.show(hub, specs, frames)
    st.caption(
        linked(
            "Best: the first of the ranked rows. Gain: by how much its error is smaller than that"
            " of the reference, which was declared before any score was seen. Verdict: what the"
            " tests between rows show. Intervals are 95 %. In pictures phase 0 is dark and phase 1"
            " is light; each board says more.",
            {"Gain": "gain", "Verdict": "told-apart", "Intervals": "interval"},
        )
    )
    show_families(specs, frames)
    show_newest(hub)
    show_changes(specs)
    show_left_out(hub)


def standings(hub: Hub, specs: list[BenchmarkSpec]) -> dict[str, pd.DataFrame]:
    """The headline board of every benchmark that has one; what cannot be ranked is reported."""
    frames = {}
    for spec in specs:
        with guarded():
            frames[spec.id] = cached.standings(hub, spec, headline(spec))
    return frames


def show_counts(hub: Hub, benchmarks: int) -> None:
    submissions, models = cached.counts(hub)
    counts = {
        "benchmark": benchmarks,
        "dataset": len(hub.datasets()),
        "model": models,
        "submission": submissions,
    }
    st.markdown(
        " · ".join(
            f"**{count:,}** {noun}{'' if count == 1 else 's'}" for noun, count in counts.items()
        )
    )


def show_families(specs: list[BenchmarkSpec], frames: dict[str, pd.DataFrame]) -> None:
    columns = family_matrix.matrix(specs, frames)
    if not columns:
        return
    st.header("Which family of models is good at what", anchor=False)
    text = (
        "The best ranked model of each family, as its gain over the reference of the board in"
        " percent, whatever its track. A family is the first tag on a model's card; what was"
        " pretrained is a family of its own. Coloured: a test shows that it is better (green) or"
        " worse (orange) than the reference; in brackets: not told apart from it, or equal in"
        " practice; ref.: it is the reference itself; –: no model of this family is ranked."
    )
    st.markdown(linked(text, {"gain": "gain", "not told apart": "told-apart"}))
    family_matrix.show(columns, {spec.id: spec.title for spec in specs})


def show_newest(hub: Hub) -> None:
    newest = hub.newest(NEWEST)
    if not newest:
        return
    st.header("Newest submissions", anchor=False)
    rows = [recent_row(hub, recent) for recent in newest]
    head = ["Model", "Benchmark", "Track, protocol", "Date", ""]
    markup.show(markup.table(head, rows, "The newest submissions"))


def recent_row(hub: Hub, recent: RecentSubmission) -> list[str]:
    short = recent.submission[: state.SHORT]
    where = {"benchmark": recent.benchmark, "protocol": recent.protocol, "model": short}
    # A superseded row is hidden otherwise.
    board = where | ({"all": "1"} if recent.superseded else {})
    model = {"name": recent.name, "benchmark": recent.benchmark, "submission": short}
    return [
        markup.link("model", markup.escaped(recent.name, 60), model),
        markup.link(
            "leaderboard", markup.escaped(state.benchmark_title(hub, recent.benchmark)), board
        ),
        markup.escaped(f"{recent.track}, {recent.protocol}"),
        f'<span class="em-number">{recent.created:%Y-%m-%d}</span>',
        markup.chip("superseded", hint="a later submission of the same name stands in its place")
        if recent.superseded
        else "",
    ]


def show_changes(specs: list[BenchmarkSpec]) -> None:
    """What later versions of benchmarks changed, and why."""
    rows = [
        [
            markup.link("leaderboard", markup.escaped(spec.title), {"benchmark": spec.id}),
            f'<span class="em-number">{version - 1} → {version}</span>',
            markup.escaped(text, 600),
            markup.link(
                "leaderboard",
                f"Board of version {version - 1}",
                {"benchmark": f"{spec.id}@{version - 1}"},
            ),
        ]
        for spec in specs
        for version, text in sorted(spec.changes.items(), reverse=True)
    ]
    if rows:
        st.header("Changes of benchmarks", anchor=False)
        head = ["Benchmark", "Version", "What changed, and why", "Earlier board"]
        markup.show(markup.table(head, rows, "Versions of benchmarks"))


main()
