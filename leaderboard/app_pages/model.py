"""One model: its scores on every benchmark, where it is good, how to reproduce, use and cite it."""

from __future__ import annotations

import streamlit as st
from dashboard import cached, state
from dashboard.page import show_left_out
from dashboard.panels import model, model_places, model_tabs
from dashboard.panels.model_places import Place
from dashboard.text import literal, shortened

from etchmark.api import Hub, open_hub
from etchmark.errors import UserError


def main() -> None:
    state.follow_link()
    hub = open_hub()
    name = state.view().get("name", "")
    if not name:
        st.title("Model", anchor=False)
        st.info("Search for a model above, or follow the link of one from the overview or a board.")
        return
    st.set_page_config(page_title=f"{shortened(name, 60)} · etchmark")
    st.title(literal(shortened(name, 100)), anchor=False)
    places = model_places.of(hub, name)
    if not places:
        show_unknown(hub, name)
        return
    place = model_places.chosen(places)
    entry = cached.entry(hub, place.submission)
    if entry is None:
        raise UserError("that submission was withdrawn or cannot be read; reload the page")
    model.show_card(hub, name, entry.record)
    show_left_out(hub)
    st.header("Where it stands", anchor=False)
    rows = model_places.show(hub, places)
    place = model_places.choose(hub, places, place)
    chosen = cached.entry(hub, place.submission)
    if chosen is None:
        raise UserError("that submission was withdrawn or cannot be read; reload the page")
    link = link_to(name, place)
    model_tabs.show(hub, chosen, rows.get(place), link)
    state.remember(link)


def link_to(name: str, place: Place) -> state.Link:
    link = {"name": name, "benchmark": place.benchmark, "protocol": place.protocol}
    # Not ``track``, which would filter the board when the reader goes there.
    link["reads"] = place.track
    return link | ({"submission": place.submission[: state.SHORT]} if place.superseded else {})


def show_unknown(hub: Hub, name: str) -> None:
    """What can be said of a name that has no scores."""
    try:
        card = hub.baseline(name)
    except UserError:
        st.info(
            literal(f"No scored model is named {shortened(name, 100)!r}.")
            + " Search for it above; a name is case-sensitive."
        )
        return
    st.markdown(literal(card.title or ""))
    boards = hub.boards_of(name.partition("/")[0])
    st.info("No current board has a row of this baseline. To run it where a benchmark names it:")
    runs = [
        f"etchmark evaluate {name} {benchmark}"
        for benchmark, models in boards.items()
        if name in models
    ]
    st.code("\n".join(runs) or f"etchmark evaluate {name} BENCHMARK", language="bash")


main()
