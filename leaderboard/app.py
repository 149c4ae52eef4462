"""The dashboard: ``etchmark dashboard``, or ``python serve.py`` in this folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from dashboard import search, state, terms  # noqa: E402
from dashboard.page import STYLE, guarded  # noqa: E402


def icon() -> Image.Image:
    """Two phases, 32 x 32 pixels. Drawn here: icons by name come from a server far away."""
    y, x = np.mgrid[0:32, 0:32]
    phase = np.sin(0.55 * x) + np.sin(0.48 * x + 0.62 * y) + np.sin(0.7 * y - 0.2 * x) > 0
    colours = np.where(phase[..., None], (0, 114, 178), (230, 159, 0))
    return Image.fromarray(colours.astype(np.uint8))


st.set_page_config(page_title="etchmark", page_icon=icon(), layout="wide")


def page(name: str, title: str, icon: str, **settings: Any) -> st.Page:
    return st.Page(
        HERE / "app_pages" / f"{name}.py", title=title, icon=f":material/{icon}:", **settings
    )


pages = st.navigation(
    [
        page("overview", "Overview", "home", default=True),
        page("leaderboard", "Leaderboard", "leaderboard"),
        page("compare", "Compare", "compare"),
        page("data", "Datasets", "dataset"),
        page("submit", "Submit", "upload"),
        page("how_to_read", "How to read this", "menu_book", url_path=terms.PAGE),
        # Links lead to these.
        page("model", "Model", "model_training", visibility="hidden"),
        page("search", "Search", "search", visibility="hidden"),
    ],
    position="top",
)
if pages.url_path:
    # Pages that show one thing name it in place of this.
    st.set_page_config(page_title=f"{pages.title} · etchmark")
state.enter(pages.url_path)
st.html(f"<style>{STYLE}</style>")
st.html(terms.STYLE)
search.box()
with guarded():
    pages.run()
