"""One sample of a split: picked among thumbnails, then shown with all that it holds."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import cached, state
from dashboard.charts.images import enlarged, framed
from dashboard.charts.shades import SOLID, all_in_words, thumbnail_in_words
from dashboard.charts.volumes import solid
from dashboard.page import show_figure
from dashboard.text import literal, shortened
from dashboard.views import drawing_samples
from dashboard.views.base import thumbnails
from etchmark.api import Gallery, grey

AT_ONCE = 12
"""Thumbnails on one page."""
THUMBNAIL_PX = 112


def choose(gallery: Gallery, split: str, table: pd.DataFrame) -> int | None:
    """Some thumbnails and a choice among them; the row of the sample that is picked.

    Args:
        gallery: the configuration.
        split: of it.
        table: the samples that pass the filters; the index is the row in the split.
    """
    if table.empty:
        st.info("No sample passes these filters. Widen them.")
        return None
    pages = -(-len(table) // AT_ONCE)
    key = gallery.label(split)
    asked = state.view().get("sample")
    all_ids = [str(sample) for sample in table["id"]]
    page = 1 + all_ids.index(asked) // AT_ONCE if asked in all_ids else 1
    if pages > 1:
        page = int(st.number_input(f"Page of {pages:,}", 1, pages, page, key=f"page-{key}-{pages}"))
    shown = table.iloc[(page - 1) * AT_ONCE : page * AT_ONCE]
    ids = [str(sample) for sample in shown["id"]]
    rows = [int(str(row)) for row in shown.index]
    count = f"{len(table):,} {'sample' if len(table) == 1 else 'samples'}"
    st.caption(literal(f"{count}; {ids[0]} to {ids[-1]} are shown."))
    pictures = thumbnails(gallery, split, tuple(rows))
    if pictures:
        captions = [literal(sample) for sample in ids]
        alternatives = [f"sample {sample}" for sample in ids]
        st.image(pictures, caption=captions, width=THUMBNAIL_PX, alt=alternatives)
        st.caption(thumbnail_in_words(gallery, split, rows[0]))
    sample = st.selectbox(
        "Sample",
        ids,
        index=ids.index(asked) if asked in ids else 0,
        key=f"sample-{key}-{page}-{ids[0]}-{len(table)}",
    )
    state.view()["sample"] = sample
    return rows[ids.index(sample)]


def show(gallery: Gallery, split: str, row: int) -> None:
    """What a sample looks like, and its numbers and texts."""
    # A configuration of numbers only has nothing to look at beside them.
    _, *visible = gallery.kinds
    right = st.container()
    if any(visible) or drawing_samples(gallery):
        left, right = st.columns([1, 1], gap="large")
        with left:
            show_pictures(gallery, split, row)
    with right:
        values = cached.samples(gallery, split).loc[row].dropna()
        shown = [(str(name), _text(value)) for name, value in values.items()]
        st.dataframe(
            pd.DataFrame(shown, columns=["column", "value"]), hide_index=True, key="sample-values"
        )


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else shortened(str(value), 200)


def show_pictures(gallery: Gallery, split: str, row: int) -> None:
    """All there is to look at in one sample."""
    for name in gallery.kinds.volumes:
        volume = gallery.cell(split, name, row)
        show_figure(solid(volume), f"volume-{name}")
        size = " x ".join(map(str, volume.shape))
        st.caption(literal(f"{name}, {size} voxels: {SOLID}; drag to turn."))
    for view in drawing_samples(gallery):
        view.show_sample(gallery, split, row)
    # The view of masks has drawn these in colours.
    names = [name for name in gallery.kinds.pictures if name not in gallery.masks]
    if names:
        cells = [gallery.cell(split, name, row) for name in names]
        st.image(
            [framed(enlarged(grey(pixels))) for pixels in cells],
            caption=[literal(name) for name in names],
            width="content" if len(cells) == 1 else 160,
            alt=[f"{name} of the sample" for name in names],
        )
        st.caption(all_in_words(cells))
