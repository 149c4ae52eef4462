"""What a view can draw; the defaults are for kinds of which only errors are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.cached import content_key
from dashboard.charts.comparison import group_plot
from dashboard.charts.images import GLANCE, framed, sized
from dashboard.charts.shades import thumbnail, thumbnail_in_words
from dashboard.page import show_figure, show_table
from etchmark.api import Comparison, Estimate, Gallery, Hub, SampleScores, View
from etchmark.specs import BenchmarkSpec


class TargetView:
    """A target kind on the pages; a kind overrides what it can do better."""

    glance_px = 140
    """Width of a sample among several."""

    # --- numbers ---

    def labels(self, scores: SampleScores) -> np.ndarray | None:
        """Labels whose distribution can be drawn, shape (samples,)."""
        return None

    def residuals(self, scores: SampleScores) -> np.ndarray | None:
        """Predicted minus measured, mean over seeds, shape (samples,), of targets with a sign."""
        return None

    # --- pages ---

    def has_predictions(self, spec: BenchmarkSpec) -> bool:
        """Whether a board can show predictions of its models."""
        return False

    def show_predictions(
        self, hub: Hub, spec: BenchmarkSpec, ranked: pd.DataFrame, view: View
    ) -> None:
        """Predictions of some models of a board, one below the other."""

    def show_against_truth(self, alone: Comparison, scores: SampleScores) -> None:
        """The predictions of one model on one split beside the truth.

        Args:
            alone: a comparison of this model only.
            scores: its outcome on the split.
        """

    def show_details(
        self, alone: Comparison, scores: SampleScores, gallery: Gallery | None
    ) -> None:
        """More on the predictions of one model, over the whole width of the page.

        Args:
            alone: a comparison of this model only.
            scores: its outcome on the split.
            gallery: the data, None where they are not on this machine.
        """

    def show_side_by_side(self, comparison: Comparison) -> None:
        """What the page that compares models shows of this kind alone."""

    def draws(self, gallery: Gallery) -> bool:
        """Whether ``show_sample`` shows something of a config's samples."""
        return False

    def show_sample(self, gallery: Gallery, split: str, row: int) -> None:
        """The part of a sample that only this kind can draw, on the page of datasets."""

    def glance(self, gallery: Gallery, split: str, rows: tuple[int, ...]) -> list[np.ndarray]:
        """Samples as small pictures; none where there is nothing to look at."""
        return thumbnails(gallery, split, rows)

    def glance_in_words(self, gallery: Gallery, split: str, row: int) -> str:
        """What a small picture shows of a sample, and in which shades."""
        return thumbnail_in_words(gallery, split, row)


@st.cache_data(max_entries=64, show_spinner=False)
def _thumbnails(
    _gallery: Gallery, fingerprint: str, split: str, rows: tuple[int, ...]
) -> list[np.ndarray]:
    pictures = [thumbnail(_gallery, split, row) for row in rows]
    return [framed(sized(pixels, GLANCE)) for pixels in pictures if pixels is not None]


def thumbnails(gallery: Gallery, split: str, rows: tuple[int, ...]) -> list[np.ndarray]:
    """Samples as small pictures; none where the config has nothing to look at."""
    return _thumbnails(gallery, content_key(gallery), split, rows)


# --- classes -----------------------------------------------------------------------------------


def classes_of(spec: BenchmarkSpec) -> list[str]:
    """The declared classes of a target that has some."""
    return list(getattr(spec.target, "classes", ()))


def show_by_class(
    comparison: Comparison,
    estimates: Callable[[SampleScores, list[str]], Sequence[Estimate]],
    measure: str,
    name: str,
    caption: str | None = None,
) -> None:
    """A score of each class for several models, as bars and as a table.

    Args:
        comparison: of models on one split.
        estimates: the score of every class from a model's outcome; higher is better.
        measure: what the score is called, such as ``recall``.
        name: of the figure, and with ``-table`` of the table.
        caption: between the two.
    """
    classes = classes_of(comparison.spec)
    columns = {
        model: [estimate.value for estimate in estimates(scores, classes)]
        for model, scores in comparison.samples().items()
    }
    if not columns:
        return
    st.header(f"{measure[0].upper()}{measure[1:]} by class", anchor=False)
    frame = pd.DataFrame({"kind": "class", "group": classes, **columns})
    show_figure(group_plot(frame, list(columns), f"{measure} (higher is better)"), name)
    if caption:
        st.caption(caption)
    show_table(frame.drop(columns="kind"), f"{name}-table")
