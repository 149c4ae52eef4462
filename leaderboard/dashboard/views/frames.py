"""Sequences of frames: films, pictures of rollouts, and the error over the horizon."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import cached
from dashboard.cached import content_key
from dashboard.charts import images, rollouts
from dashboard.charts.comparison import horizon_plot
from dashboard.charts.shades import in_words
from dashboard.page import show_figure, show_table
from dashboard.text import literal
from dashboard.views.base import TargetView
from dashboard.wording import row_names, with_unit
from etchmark.api import Comparison, Gallery, Hub, Pictures, SampleScores, View, kept_pictures
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec

SHOWN, MAX_SHOWN = 3, 6
"""Models whose predictions a board shows at first, and at most."""
STRIP = 5
"""Frames of a sample that are side by side where it does not play."""


class FramesView(TargetView):
    glance_px = 560

    def has_predictions(self, spec: BenchmarkSpec) -> bool:
        return True

    def show_predictions(
        self, hub: Hub, spec: BenchmarkSpec, ranked: pd.DataFrame, view: View
    ) -> None:
        names = row_names(ranked)
        picked = st.multiselect(
            "Models",
            list(names),
            default=list(names)[:SHOWN],
            max_selections=MAX_SHOWN,
            key=f"rollout-models-{spec.key}-{view.protocol}",
            format_func=lambda submission: names.get(submission) or str(submission),
        )
        split = spec.protocols[view.protocol or spec.headline].split
        kept = {names[submission]: _pictures(hub, submission, split) for submission in picked}
        drawn = [(name, pictures) for name, pictures in kept.items() if pictures is not None]
        # All show the first sample of the split. A board whose data changed meanwhile would not.
        drawn = [pair for pair in drawn if np.array_equal(pair[1].truth, drawn[0][1].truth)]
        if drawn:
            _show_rollouts(drawn, split)
        if missing := [name for name, pictures in kept.items() if pictures is None]:
            st.caption(literal(f"No picture was kept of {', '.join(missing)}."))

    def show_against_truth(self, alone: Comparison, scores: SampleScores) -> None:
        frame = alone.horizons()
        if frame.empty:
            return
        _show_horizons(frame, alone, "horizon")
        pictures = kept_pictures(scores)
        if pictures is not None:
            _show_rollouts([("", pictures)], scores.split)

    def show_side_by_side(self, comparison: Comparison) -> None:
        frame = comparison.horizons()
        if not frame.empty:
            st.header("Error over the horizon", anchor=False)
            _show_horizons(frame, comparison, "horizons")

    def draws(self, gallery: Gallery) -> bool:
        return bool(gallery.kinds.films)

    def show_sample(self, gallery: Gallery, split: str, row: int) -> None:
        count, gif = _film(gallery, content_key(gallery), split, row)
        st.image(gif, alt=f"{count} frames, one after the other")
        names = " and ".join(gallery.kinds.films)
        st.caption(literal(f"{names}: {count} frames. {_shades(gallery, split, row)}"))

    def glance(self, gallery: Gallery, split: str, rows: tuple[int, ...]) -> list[np.ndarray]:
        if not self.draws(gallery):
            return super().glance(gallery, split, rows)
        return strips(gallery, split, rows)

    def glance_in_words(self, gallery: Gallery, split: str, row: int) -> str:
        if not self.draws(gallery):
            return super().glance_in_words(gallery, split, row)
        return (
            "The truth, from the first input frame to the last frame to predict."
            f" {_shades(gallery, split, row)}"
        )


def _shades(gallery: Gallery, split: str, row: int) -> str:
    return in_words(gallery.cell(split, gallery.kinds.films[0], row))


def _show_horizons(frame: pd.DataFrame, comparison: Comparison, key: str) -> None:
    """Error over the horizon, as a figure and as a table."""
    spec = comparison.spec
    show_figure(horizon_plot(frame, with_unit("RMSE", spec.target.unit)), key)
    st.caption(
        f"RMSE of each predicted frame of split `{comparison.split}`, pooled over all"
        f" {spec.unit_names}, so that a few bad ones may decide it; bands are 95 % intervals."
    )
    show_table(frame, "horizon-table")


def _pictures(hub: Hub, submission: str, split: str) -> Pictures | None:
    """The frames that were kept of a submission, None if there are none."""
    entry = cached.entry(hub, submission)
    try:
        scores = None if entry is None else hub.samples(entry, split)
        return None if scores is None else kept_pictures(scores)
    except UserError as error:
        # The other models can be drawn all the same.
        st.warning(literal(str(error)))
        return None


def _show_rollouts(named: Sequence[tuple[str, Pictures]], split: str) -> None:
    scale = rollouts.full_scale([pictures for _, pictures in named])
    st.image(rollouts.picture(named, scale), width="stretch")
    st.caption(literal(rollouts.caption(named[0][1], split, scale)))


@st.cache_data(max_entries=16, show_spinner=False)
def _film(_gallery: Gallery, content: str, split: str, row: int) -> tuple[int, bytes]:
    frames = _gallery.film(split, row)
    return len(frames), images.film(frames)


@st.cache_data(max_entries=32, show_spinner=False)
def _strips(_gallery: Gallery, content: str, split: str, rows: tuple[int, ...]) -> list[np.ndarray]:
    pictures = []
    for row in rows:
        film = _gallery.film(split, row)
        shown = film[np.linspace(0, len(film) - 1, STRIP).round().astype(int)]
        pictures.append(images.side_by_side(list(shown)))
    return pictures


def strips(gallery: Gallery, split: str, rows: tuple[int, ...]) -> list[np.ndarray]:
    """Samples as some of their frames, from the first to the last."""
    return _strips(gallery, content_key(gallery), split, rows)


VIEW = FramesView()
