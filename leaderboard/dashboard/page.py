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

log = logging.getLogger("etchmark.dashboard")

GENERIC_ERROR = (
    "This page could not be shown. The reason is in the dashboard's log; reload the page or choose"
    " another view."
)
CONFIG = {"displaylogo": False, "displayModeBar": False, "scrollZoom": False}
"""Settings of every figure: nothing in the page leads elsewhere."""


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
    st.plotly_chart(figure, width="stretch", config=CONFIG, key=key)


def show_table(frame: pd.DataFrame, key: str) -> None:
    """The numbers of a figure, folded away."""
    with st.expander("As a table"):
        st.dataframe(frame, hide_index=True, key=key)
