"""Ensembles: distance by group of descriptors, scores of every exemplar, and some images."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.charts.classes import class_plot
from dashboard.charts.comparison import group_plot
from dashboard.charts.images import grid
from dashboard.charts.masks import coloured
from dashboard.charts.shades import PHASES
from dashboard.page import show_figure, show_table
from dashboard.text import literal, shortened
from dashboard.views.base import TargetView
from etchmark.api import (
    Comparison,
    Estimate,
    Gallery,
    Pictures,
    SampleScores,
    kept_pictures,
    ratio,
)
from etchmark.errors import UserError
from etchmark.text import number

CELL = 220
"""Pixels of a picture."""
PART = "sum_distance_"
AXIS = "distance (0 as true realisations, 1 as white noise)"


class EnsembleView(TargetView):
    def show_against_truth(self, alone: Comparison, scores: SampleScores) -> None:
        names, estimates = groups_of(scores), distances(scores)
        st.markdown("**Distance by group of descriptors**")
        show_figure(class_plot(names, {"distance": estimates}, AXIS), "groups")
        st.caption(
            "Square root of the energy distance to realisations relative to that of white noise,"
            " at most 1, mean over exemplars; the score is the mean of the groups. Bars are 95 %"
            f" intervals over {alone.spec.unit_names}."
        )
        columns = dict(
            zip(("distance", "ci_low", "ci_high"), zip(*estimates, strict=True), strict=True)
        )
        show_table(pd.DataFrame({"group": names, **columns}), "groups-table")

    def show_details(
        self, alone: Comparison, scores: SampleScores, gallery: Gallery | None
    ) -> None:
        _show_pictures(scores)
        st.markdown("**Every exemplar**")
        show_table(exemplar_table(scores), "exemplars")
        st.caption(
            "From the worst to the best score; mean over seeds. A copy repeats a known image beyond"
            " the exemplar's limits, whole or in a patch."
        )

    def show_side_by_side(self, comparison: Comparison) -> None:
        columns, names = {}, []
        for model, scores in comparison.samples().items():
            names = groups_of(scores)
            columns[model] = [estimate.value for estimate in distances(scores)]
        if not columns:
            return
        st.header("Distance by group of descriptors", anchor=False)
        frame = pd.DataFrame({"kind": "", "group": names, **columns})
        show_figure(group_plot(frame, list(columns), AXIS), "groups-compared")
        show_table(frame.drop(columns="kind"), "groups-compared-table")


def groups_of(scores: SampleScores) -> list[str]:
    """Groups of descriptors, in the order in which their distances are stored."""
    names = [name.removeprefix(PART) for name in scores.terms if name.startswith(PART)]
    return [name.replace("_", " ") for name in names]


def distances(scores: SampleScores) -> list[Estimate]:
    """Mean distance over exemplars by each group of descriptors."""
    parts = [values for name, values in scores.terms.items() if name.startswith(PART)]
    return [ratio(scores, values, scores.terms["n"]) for values in parts]


def exemplar_table(scores: SampleScores) -> pd.DataFrame:
    """One row per exemplar, the worst first: score, its parts, error of the stiffness, copies."""
    terms = {name: values.mean(axis=0) for name, values in scores.terms.items()}
    parts = [values for name, values in terms.items() if name.startswith(PART)]
    columns: dict[str, object] = {
        "exemplar": [shortened(str(name), 60) for name in scores.ids],
        "score": terms["sum_score"],
        **dict(zip(groups_of(scores), parts, strict=True)),
        "error of the stiffness / %": 100 * terms["sum_stiffness_error"],
        "copies / %": 100 * terms["copies"] / terms["images"],
    }
    order = np.argsort(-terms["sum_score"], kind="stable")
    return pd.DataFrame(columns).iloc[order].reset_index(drop=True)


def _show_pictures(scores: SampleScores) -> None:
    try:
        pictures = kept_pictures(scores)
    except UserError as error:
        st.warning(literal(str(error)))
        return
    if pictures is None:
        return
    st.markdown("**Exemplars and reconstructions, from best to worst**")
    described = described_pictures(pictures, scores)
    st.image(picture(pictures), width=CELL * len(pictures.titles), alt=described)
    st.caption(literal(described))


def picture(pictures: Pictures) -> bytes:
    """Exemplars, and one reconstruction of each below it, as a PNG."""
    strips = [
        ("exemplar", coloured(pictures.truth, 2)),
        ("reconstruction", coloured(pictures.predicted, 2)),
    ]
    buffer = io.BytesIO()
    titles = [shortened(title, 24) for title in pictures.titles]
    grid(titles, strips, CELL).save(buffer, "PNG")
    return buffer.getvalue()


def described_pictures(pictures: Pictures, scores: SampleScores) -> str:
    """Which exemplars are shown, and how well each is reconstructed under the first seed."""
    values = scores.terms["sum_score"][0]
    row = {str(name): at for at, name in enumerate(scores.ids)}
    parts = [
        f"{shortened(sample, 40)}, score {number(values[row[sample]])}"
        for sample in pictures.samples
    ]
    listed = "; ".join(parts)
    return f"Split {scores.split}, the first image under the first seed. {PHASES} {listed}."


VIEW = EnsembleView()
