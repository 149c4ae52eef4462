"""The page of a term: its text, its figure, what the benchmark declares, and where to read on."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import cached, markup
from dashboard.panels import benchmark_picture
from dashboard.reading import figures, texts
from dashboard.terms import PAGE, TERMS, query
from dashboard.text import literal, web_address
from etchmark.api import Hub, coverage_in_words
from etchmark.specs import BenchmarkSpec
from etchmark.text import one_line


def show_list(spec: BenchmarkSpec) -> None:
    """Links to the pages of all terms."""
    rows = [
        [
            markup.link(PAGE, markup.escaped(term.title), query(key, spec.id)),
            markup.escaped(term.summary),
        ]
        for key, term in TERMS.items()
    ]
    markup.show(markup.table([], rows, "Terms that are explained"))


def show(hub: Hub, spec: BenchmarkSpec, key: str) -> None:
    """The page of one term."""
    term = TERMS[key]
    st.markdown(texts.WRITERS[key](hub, spec))
    if key == "task":
        _show_task(hub, spec)
    else:
        _show_figure(hub, spec, key)
    if key == "protocol":
        _show_protocols(spec)
    elif key == "score":
        _show_metrics(hub, spec)
    if term.document is not None:
        title, path = term.document
        st.caption(f"In depth: *{literal(title)}*, `{path}` in the repository.")
    _show_neighbours(spec, key)


def _show_figure(hub: Hub, spec: BenchmarkSpec, key: str) -> None:
    with st.spinner("Drawing the figure"):
        drawn = figures.DRAWERS[key](hub, spec)
    if drawn.chart is not None:
        st.altair_chart(drawn.chart, width="stretch", key=f"figure-{key}")
    words = drawn.words
    if key == "interval":
        covered = coverage_in_words(hub.coverage(spec, figures.headline(spec)))
        words += f" {covered[0].upper()}{covered[1:]}." if covered else ""
    st.caption(literal(words))


def _show_neighbours(spec: BenchmarkSpec, key: str) -> None:
    keys = list(TERMS)
    place = keys.index(key)
    links = []
    for before, neighbour in (("Previous: ", place - 1), ("Next: ", place + 1)):
        if 0 <= neighbour < len(keys):
            title = markup.escaped(f"{before}{TERMS[keys[neighbour]].title}")
            links.append(markup.link(PAGE, title, query(keys[neighbour], spec.id)))
    links.append(markup.link(PAGE, "All terms", {"benchmark": spec.id}))
    # A link of Streamlit to the page it stands on leaves the address as it was.
    markup.show(f'<div class="em">{" · ".join(links)}</div>')


def _show_task(hub: Hub, spec: BenchmarkSpec) -> None:
    leaders = cached.board(hub, spec, figures.headline(spec)).leaders()
    leader = str(leaders["submission"].iloc[0]) if len(leaders) else None
    illustration = benchmark_picture.find(hub, spec, leader)
    if illustration is not None:
        benchmark_picture.show(illustration)
    elif command := benchmark_picture.how_to_get(hub, spec):
        st.caption(command)
    # The benchmark's own card is reviewed content; HTML in it is not rendered.
    st.markdown(spec.description)
    for citation in spec.citations:
        st.text(one_line(citation.title))
        address = web_address(citation.doi or citation.url)
        if address:
            st.link_button("Open the paper", address, icon=":material/open_in_new:")


def _show_protocols(spec: BenchmarkSpec) -> None:
    for name, protocol in spec.protocols.items():
        mark = " (headline)" if name == spec.headline else ""
        st.markdown(
            f"- `{name}`{mark}: **{literal(protocol.title)}.** {literal(protocol.description)}"
        )


def _show_metrics(hub: Hub, spec: BenchmarkSpec) -> None:
    rows = []
    for name in spec.metrics:
        details = hub.metric(spec, name)
        rows.append(
            {
                "metric": name + (" (primary)" if name == spec.primary_metric else ""),
                "what": details.title,
                "definition": details.definition,
                "unit": details.unit,
                "better": "higher" if details.higher_is_better else "lower",
            }
        )
    widths = {"metric": 150, "what": 250, "definition": 560, "unit": 70, "better": 70}
    config = {name: st.column_config.TextColumn(width=width) for name, width in widths.items()}
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="read-metrics", column_config=config)
    st.caption("y: true value, ŷ: prediction, ȳ: mean of the true values, n: number of values.")
    for name, track in spec.tracks.items():
        note = f" {literal(track.description)}" if track.description else ""
        st.markdown(f"- Track `{name}`: {literal(track.title)}.{note}")
