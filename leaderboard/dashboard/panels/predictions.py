"""The predictions files that a submission was scored from, where they are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from dashboard.text import literal, shortened
from etchmark.api import Hub
from etchmark.specs import ResultRecord

PARQUET = b"PAR1"
"""The first bytes of a Parquet file."""


def show(hub: Hub, record: ResultRecord) -> None:
    """Hashes of the files, and a download of each that is kept here; nothing if there are none."""
    digests = record.fingerprints.predictions
    if not digests:
        return
    st.markdown(literal(f"SHA-256 of the predictions of {shortened(record.name, 60)}:"))
    st.code("\n".join(digests), language=None)
    kept = hub.prediction_files(record)
    with st.container(horizontal=True):
        for path in kept:
            ending = _ending(path)
            st.download_button(
                f"Predictions ({ending.upper()})",
                _reader(path),
                file_name=f"predictions-{path.name[:12]}.{ending}",
                mime="text/csv" if ending == "csv" else "application/octet-stream",
                icon=":material/download:",
                on_click="ignore",
                key=f"predictions-{path.name}",
            )
    if len(kept) < len(digests):
        which = "The others are" if kept else "The files are"
        st.caption(f"{which} not kept on this machine.")


def _reader(path: Path) -> Callable[[], bytes]:
    """Reads a file on demand: predictions of images are large."""
    return path.read_bytes


def _ending(path: Path) -> str:
    with path.open("rb") as stream:
        return "parquet" if stream.read(len(PARQUET)) == PARQUET else "csv"
