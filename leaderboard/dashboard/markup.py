"""HTML of tables that are read rather than sorted: their rows wrap, and links lead to pages.

Text by strangers is escaped here; nothing else is. Colours are mixed with the page's own, so that
they can be read on light and on dark ground.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from urllib.parse import urlencode

import streamlit as st

from dashboard.text import shortened

STYLE = """
.em-scroll { overflow-x: auto; max-width: 100%; }
.em table { border-collapse: collapse; width: 100%; font-size: 0.9rem; line-height: 1.35; }
.em th { text-align: left; font-weight: 600; vertical-align: top; }
.em thead th { font-size: 0.8rem; vertical-align: bottom; }
.em th, .em td { padding: 0.45rem 0.6rem; border-bottom: 1px solid rgba(128, 128, 128, 0.3); }
.em td { vertical-align: top; }
.em a { color: inherit; text-decoration: underline; text-decoration-color: rgba(128,128,128,0.7); }
.em a:hover { text-decoration-color: currentColor; }
.em .em-number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.em .em-small { font-size: 0.8rem; opacity: 0.85; }
.em .em-chip { display: inline-block; padding: 0.05rem 0.5rem; border-radius: 0.7rem;
  margin-bottom: 0.2rem; font-size: 0.8rem; border: 1px solid rgba(128, 128, 128, 0.6); }
.em .em-good { background: rgba(0, 158, 115, 0.22); border-color: rgba(0, 158, 115, 0.8); }
.em .em-open { background: rgba(230, 159, 0, 0.20); border-color: rgba(230, 159, 0, 0.9); }
.em .em-bad { background: rgba(213, 94, 0, 0.20); border-color: rgba(213, 94, 0, 0.9); }
@media (max-width: 640px) {
  .em-stack thead { display: none; }
  .em-stack tr, .em.em-stack th, .em.em-stack td { display: block; border: 0; padding: 0.15rem 0; }
  .em-stack tr { border-bottom: 1px solid rgba(128, 128, 128, 0.4); padding: 0.8rem 0; }
  .em-stack td[data-label]:not([data-label=""]):not(:empty)::before { content: attr(data-label);
    display: block; font-size: 0.75rem; opacity: 0.8; }
  .em-stack .em-number { white-space: normal; }
}
.em .em-skip { position: absolute; left: -100vw; }
.em .em-skip:focus { position: static; }
.em img { max-width: none; border-radius: 3px; display: block; }
"""


def escaped(text: object, width: int = 200) -> str:
    """Text for HTML, one line of limited length."""
    return html.escape(shortened(str(text), width))


def link(page: str, text: str, query: Mapping[str, str], *, label: str | None = None) -> str:
    """A link to a page of the dashboard.

    Args:
        page: its path.
        text: HTML that is shown.
        query: of the address.
        label: what a screen reader says in place of the text.
    """
    address = html.escape(f"{page}?{urlencode(query)}" if query else page)
    said = "" if label is None else f' aria-label="{escaped(label)}"'
    return f'<a href="{address}" target="_self"{said}>{text}</a>'


def chip(text: str, kind: str = "", hint: str = "") -> str:
    """A phrase in a frame; ``kind`` is ``good``, ``open``, ``bad`` or nothing."""
    said = f' title="{escaped(hint)}"' if hint else ""
    return f'<span class="em-chip{" em-" + kind if kind else ""}"{said}>{escaped(text)}</span>'


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, *, stack: bool = False
) -> str:
    """A table of cells that are HTML already; the first cell of a row is its header.

    Args:
        head: titles of the columns, as HTML; none where the headers of the rows say enough.
        rows: cells of each row.
        caption: what the table holds, for screen readers.
        stack: on a narrow screen, show the cells of a row below each other, with their titles.
    """
    titles = "".join(f'<th scope="col">{title}</th>' if title else "<td></td>" for title in head)
    titles = f"<thead><tr>{titles}</tr></thead>" if head else ""
    labels = [f' data-label="{title}"' for title in head[1:]] if stack else [""] * len(head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>'
        + "".join(
            f"<td{label}>{cell}</td>" for label, cell in zip_longest(labels, others, fillvalue="")
        )
        + "</tr>"
        for first, *others in rows
    )
    kind = "em em-scroll em-stack" if stack else "em em-scroll"
    return (
        f'<div class="{kind}" tabindex="0" role="region" aria-label="{escaped(caption)}">'
        f"<table>{titles}<tbody>{body}</tbody></table></div>"
    )


def skip_link(text: str, place: str) -> None:
    """A link to a place further down, seen only by those who come to it with the keyboard."""
    show(f'<div class="em"><a class="em-skip" href="#{place}">{escaped(text)}</a></div>')


def place(name: str) -> None:
    """Where a skip link leads to; the next key press goes on from here."""
    show(f'<div class="em" id="{name}" tabindex="-1"></div>')


def show(content: str, style: str = "") -> None:
    """Show HTML made here, with the style of these tables and some of its own."""
    st.html(f"<style>{STYLE}{style}</style>{content}")
