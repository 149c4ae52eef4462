"""How to cite a board or a model, get the same table elsewhere, and show a badge."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import pandas as pd
import streamlit as st

from dashboard import cached, markup, state
from dashboard.panels import model, places, predictions
from etchmark.api import (
    WORST,
    Hub,
    Standing,
    View,
    Where,
    draw_badge,
    embed_badge,
    standing_of,
)
from etchmark.specs import BenchmarkSpec, ResultRecord

LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}  # noqa: S104
"""Of an address that is of no use to anybody else."""
FIGURES = (
    "Figures: the camera in the corner of a figure saves it as SVG; *As a table* below it has what"
    " it draws, as CSV."
)


# --- links -------------------------------------------------------------------------------------


def server() -> str:
    """Address of this dashboard as the reader has it, without a page; empty if it is unknown."""
    parts = urlsplit(st.context.url or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else ""


def _base() -> str:
    """The same with the path below which the dashboard is served."""
    path = urlsplit(st.context.url or "").path
    return server() + path.rstrip("/").rpartition("/")[0]


def address(page: str, link: Mapping[str, str]) -> str:
    """Address of a page at a view."""
    return f"{_base()}/{page}?{urlencode(link)}"


def is_public() -> bool:
    """Whether others can follow an address of this dashboard, as far as it can be told."""
    return (urlsplit(server()).hostname or "localhost") not in LOCAL_HOSTS


# --- a board -----------------------------------------------------------------------------------


def show_board(
    hub: Hub, spec: BenchmarkSpec, link: state.Link, where: Where, submission: str | None
) -> None:
    """Citation, link and snippets of the table that is shown, folded away.

    Args:
        hub: where it is cited from.
        spec: the benchmark.
        link: the view as the link has it; that this part is open is added to it.
        where: filters that are set.
        submission: the row that is picked; None if none is.
    """
    opened = st.expander(
        "Cite this board, or get it in Python or a shell",
        key="pick-cite",
        expanded=state.view().get("cite") == "1",
        icon=":material/format_quote:",
        on_change="rerun",
    )
    # Nothing is read for a reader who does not ask.
    if not opened.open:
        return
    lasting = {**link, "benchmark": spec.key}
    link["cite"] = "1"
    there = address("leaderboard", lasting)
    with opened:
        st.markdown("What is shown, at this version of the benchmark:")
        st.code(there, language=None, wrap_lines=True)
        st.markdown("BibTeX of the benchmark, and of the works that it builds on:")
        st.code(hub.cite(spec.key, there if is_public() else None), language="bibtex")
        st.markdown("The same table in Python and in a shell, from the results of that machine:")
        st.code(python_lines(spec, link, where), language="python")
        st.code(shell_line(spec, link, where), language="bash", wrap_lines=True)
        st.caption(FIGURES)
        if submission is None:
            st.caption("Predictions: pick a model to download those that are kept of it.")
        elif (entry := cached.entry(hub, submission)) is not None:
            predictions.show(hub, entry.record)


def _options(spec: BenchmarkSpec, link: state.Link, where: Where) -> dict[str, Any]:
    """Arguments of ``etchmark.standings`` that give the table that is shown."""
    view = places.view_of(spec, link.get("by"), link["protocol"], link["metric"])
    options = {
        "track": None if link["track"] == state.ALL_TRACKS else link["track"],
        "protocol": view.protocol,
        "split": WORST if link.get("by") == WORST else view.split,
        "metric": view.metric,
        "subset": view.subset,
        "status": list(where.status),
        "tags": list(where.tags),
        "training_data": list(where.training_data),
        "max_parameters": where.max_parameters,
        "everything": "all" in link,
    }
    return {
        name: value
        for name, value in options.items()
        if value is not None and value is not False and value != []
    }


def python_lines(spec: BenchmarkSpec, link: state.Link, where: Where) -> str:
    """The table that is shown, in Python."""
    options = [f"    {name}={value!r}," for name, value in _options(spec, link, where).items()]
    lines = ["import etchmark", "", "table = etchmark.standings(", f"    {spec.key!r},"]
    return "\n".join([*lines, *options, ")"])


SHELL = {"tags": "--tag", "training_data": "--trained-on", "everything": "--all"}
"""Options of the command that are not named as the argument is."""


def shell_line(spec: BenchmarkSpec, link: state.Link, where: Where) -> str:
    """The table that is shown, in a shell."""
    words = ["etchmark", "leaderboard", spec.key]
    for name, value in _options(spec, link, where).items():
        option = SHELL.get(name, f"--{name.replace('_', '-')}")
        if value is True:
            words.append(option)
        for each in value if isinstance(value, list) else [] if value is True else [value]:
            # With "=", since a value may begin like an option.
            words.append(f"{option}={each}")
    return shlex.join([*words, "--csv"])


# --- a model -----------------------------------------------------------------------------------


def show_model(hub: Hub, spec: BenchmarkSpec, record: ResultRecord, *, on_board: bool) -> None:
    """BibTeX of a model, if its card has one, and of the board; its badge.

    Args:
        hub: where they are cited from.
        spec: the benchmark.
        record: of the submission.
        on_board: whether it has a row; one that is superseded has none.
    """
    query = {"name": record.name, "benchmark": spec.id, "protocol": record.protocol}
    there = address("model", query | {"reads": record.track})
    st.markdown("This page:")
    st.code(there, language=None, wrap_lines=True)
    own = model.bibtex(record.card)
    st.markdown("The model:")
    if own:
        st.code(own, language="bibtex")
    else:
        st.caption("Its card has no BibTeX entry.")
    st.markdown("The benchmark, and the works that it builds on:")
    board = address("leaderboard", {"benchmark": spec.key, "protocol": record.protocol})
    st.code(hub.cite(spec.key, board if is_public() else None), language="bibtex")
    if not on_board:
        return
    frame = cached.standings(hub, spec, View(record.protocol))
    if record.submission in set(frame["submission"]):
        _show_badge(spec, record, frame, there)


def _show_badge(spec: BenchmarkSpec, record: ResultRecord, frame: pd.DataFrame, there: str) -> None:
    standing = standing_of(spec, frame, record.submission)
    drawn = draw_badge(standing)
    name = f"{spec.id}.svg"
    st.markdown("**Badge**")
    markup.show(f'<div class="em em-scroll">{picture(drawn, standing)}</div>')
    st.download_button(
        "SVG",
        drawn,
        file_name=name,
        mime="image/svg+xml",
        icon=":material/download:",
        on_click="ignore",
    )
    st.markdown("Lines that show the file in Markdown and in HTML:")
    for lines in embed_badge(name, there, standing).strip().split("\n\n"):
        st.code(lines, language="html" if lines.startswith("<") else "markdown", wrap_lines=True)
    st.caption(
        "The file shows the board as it is now. `etchmark pages --to FOLDER` writes the badges of"
        " all models, each with a page to link to; run again, it replaces what has changed."
    )


def picture(drawn: str, standing: Standing) -> str:
    """A badge as HTML; in an image nothing that it holds is run."""
    content = base64.b64encode(drawn.encode()).decode()
    said = markup.escaped(standing.alone, 400)
    return f'<img src="data:image/svg+xml;base64,{content}" alt="{said}">'
