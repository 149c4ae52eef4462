"""What every page needs: errors as one line, figures, and the tables behind them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard.text import literal
from etchmark.api import Hub, refusal
from etchmark.errors import UserError
from etchmark.text import csv_text, plain

log = logging.getLogger("etchmark.dashboard")

GENERIC_ERROR = (
    "This page could not be shown. The reason is in the dashboard's log; reload the page or choose"
    " another view."
)
STYLE = """
[data-testid="stCaptionContainer"] { opacity: 0.8; }
@media (max-width: 640px) { [data-testid="stPlotlyChart"] .modebar-container { display: none; } }
@media print {
  [data-testid="stHeader"], [data-testid="stToolbar"], [data-testid="stSidebar"],
  [data-testid="stSelectbox"], [data-testid="stButtonGroup"], [data-testid="stCheckbox"],
  [data-testid="stDownloadButton"], [data-testid="stPopover"], [data-testid="stTextInput"],
  [data-testid="stPageLink"], [data-testid="stExpander"] { display: none !important; }
  .em-scroll { overflow: visible; }
  .em table, .em .em-small { font-size: 7pt; }
  h2 { break-after: avoid; }
  .em tr { break-inside: avoid; }
  [data-testid="stPlotlyChart"] { break-inside: avoid; }
}
"""
"""Captions with enough contrast to be read; on paper nothing that could be pressed.

On a phone the button that saves a figure would lie on its legend.
"""
CONFIG = {
    "displaylogo": False,
    "scrollZoom": False,
    "modeBarButtons": [["toImage"]],
}
"""Settings of every figure: it can be saved, and nothing in the page leads elsewhere."""


@contextmanager
def guarded() -> Iterator[None]:
    """Show errors as one line on the page; Streamlit's own control flow passes through."""
    try:
        yield
    except UserError as error:
        st.error(literal(str(error)))
    except Exception as error:
        reason = refusal(error) if isinstance(error, OSError) else None
        if reason is None:
            log.exception("a page failed")
        st.error(GENERIC_ERROR if reason is None else literal(str(reason)))


def show_left_out(hub: Hub) -> None:
    """Name the submissions that cannot be read; boards are shown without them."""
    for submission, reason in hub.left_out().items():
        st.warning(literal(f"Submission {submission[:12]} is left out: {reason}."))


def show_figure(figure: go.Figure, key: str) -> None:
    saved = {"format": "svg", "filename": key}
    config = {**CONFIG, "toImageButtonOptions": saved}
    st.plotly_chart(figure, width="stretch", config=config, key=key)


def show_table(frame: pd.DataFrame, key: str, *, download: bool = True) -> None:
    """The numbers of a figure, folded away.

    Args:
        frame: one row per line of the table; text by strangers is shown as it would be in a figure.
        key: of the table, and the name of its file.
        download: offer it as CSV. Not where it is made of samples, which may have no licence.
    """
    frame = frame.map(lambda value: plain(value) if isinstance(value, str) else value)
    frame = frame.rename(columns=lambda name: plain(str(name)))
    with st.expander("As a table"):
        st.dataframe(frame, hide_index=True, key=key)
        if not download:
            return
        st.download_button(
            "CSV",
            lambda: csv_text(frame),
            file_name=f"{key}.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
            key=f"{key}-csv",
        )
