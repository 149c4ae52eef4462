"""The dashboard: ``etchmark dashboard``, or ``streamlit run app.py`` in this folder."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from dashboard.page import guarded  # noqa: E402


def icon() -> Image.Image:
    """Two phases, 32 x 32 pixels. Drawn here: icons by name come from a server far away."""
    y, x = np.mgrid[0:32, 0:32]
    phase = np.sin(0.55 * x) + np.sin(0.48 * x + 0.62 * y) + np.sin(0.7 * y - 0.2 * x) > 0
    colours = np.where(phase[..., None], (0, 114, 178), (230, 159, 0))
    return Image.fromarray(colours.astype(np.uint8))


st.set_page_config(page_title="etchmark", page_icon=icon(), layout="wide")

pages = st.navigation(
    [
        st.Page(
            HERE / "app_pages" / "overview.py",
            title="Overview",
            icon=":material/home:",
            default=True,
        ),
        st.Page(
            HERE / "app_pages" / "leaderboard.py",
            title="Leaderboard",
            icon=":material/leaderboard:",
        ),
        st.Page(HERE / "app_pages" / "compare.py", title="Compare", icon=":material/compare:"),
        st.Page(
            HERE / "app_pages" / "data.py",
            title="Datasets",
            icon=":material/dataset:",
        ),
        st.Page(HERE / "app_pages" / "submit.py", title="Submit", icon=":material/upload:"),
        st.Page(
            HERE / "app_pages" / "how_to_read.py",
            title="How to read this",
            icon=":material/menu_book:",
        ),
    ],
    position="top",
)
with guarded():
    pages.run()
