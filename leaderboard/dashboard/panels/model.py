"""What a model is: its card, whatever board it stands on."""

from __future__ import annotations

import streamlit as st

from dashboard.text import literal, plain_lines, shortened, web_address
from dashboard.wording import DISCLOSURE
from etchmark.api import Hub
from etchmark.errors import UserError
from etchmark.specs import ModelCard, ResultRecord

LONG = 600
"""Characters above which a text scrolls in a box of its own."""


def show_card(hub: Hub, name: str, record: ResultRecord) -> None:
    """Title, description, authors and links, as the card of a submission states them."""
    card = record.card
    if card.title:
        st.markdown(f"**{literal(shortened(card.title, 200))}**")
    with st.container(horizontal=True, vertical_alignment="center"):
        for tag in card.tags[:8]:
            st.badge(literal(shortened(tag, 40)), color="gray")
    if card.description.strip():
        show_text(card.description.strip())
    facts = {
        "Authors": ", ".join(card.authors),
        "Licence": card.licence,
        "Training data": DISCLOSURE[card.training_data],
        "Further training data": ", ".join(card.training_sets),
    }
    if is_baseline(hub, name):
        facts["Source"] = f"baselines/{name.partition('/')[0]}"
    lines = [
        f"{label}: {literal(shortened(str(value), 300))}" for label, value in facts.items() if value
    ]
    st.markdown("  \n".join(lines))
    addresses = {"Paper": web_address(card.paper), "Code": web_address(card.code)}
    links = {label: address for label, address in addresses.items() if address}
    if links:
        with st.container(horizontal=True):
            for label, address in links.items():
                st.link_button(label, address, icon=":material/open_in_new:")


def show_text(text: str) -> None:
    """Text by strangers, line by line; a long one scrolls."""
    if len(text) > LONG or text.count("\n") > 12:
        with st.container(height=220):
            st.text(plain_lines(text))
    else:
        st.text(plain_lines(text))


def is_baseline(hub: Hub, name: str) -> bool:
    """Whether this hub can run the model by its name."""
    try:
        return name in hub.models()
    except UserError:
        # Another baseline's broken card is no reason to show nothing here.
        return False


def bibtex(card: ModelCard) -> str:
    """What the card says of how to cite the model, one line each."""
    return plain_lines(card.bibtex.strip())
