"""A number per sample: predicted against measured, and residuals with their sign."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.charts.errors import parity_plot
from dashboard.charts.style import label
from dashboard.page import show_figure, show_table
from dashboard.text import shortened
from dashboard.views.base import TargetView
from dashboard.wording import with_unit
from etchmark.api import Comparison, SampleScores
from etchmark.specs import BenchmarkSpec


class ScalarView(TargetView):
    def labels(self, scores: SampleScores) -> np.ndarray | None:
        return scores.target

    def residuals(self, scores: SampleScores) -> np.ndarray | None:
        if scores.prediction is None or scores.target is None:
            return None
        return scores.prediction.mean(axis=0) - scores.target

    def show_against_truth(self, alone: Comparison, scores: SampleScores) -> None:
        if scores.prediction is None or scores.target is None:
            return
        spec = alone.spec
        hover = [
            f"{label(sample, 80)}<br>{label(unit, 80)}"
            for sample, unit in zip(scores.ids, scores.units, strict=True)
        ]
        quantity = with_unit(spec.target.quantity, spec.target.unit)
        predicted = scores.prediction.mean(axis=0)
        show_figure(parity_plot(scores.target, predicted, hover, quantity), "parity")
        unit = "" if spec.unit_name == "sample" else f" and {spec.unit_name}"
        st.caption(f"One point per sample, mean over seeds; hover for its id{unit}.")
        table = parity_table(spec, scores.ids, scores.units, scores.target, predicted)
        show_table(table, "parity-table")


def parity_table(
    spec: BenchmarkSpec,
    ids: np.ndarray,
    units: np.ndarray,
    measured: np.ndarray,
    predicted: np.ndarray,
) -> pd.DataFrame:
    """The points of the plot, one row per sample; all arrays have shape (samples,)."""
    columns = {
        "id": [shortened(str(sample), 60) for sample in ids],
        spec.unit_name: [shortened(str(unit), 60) for unit in units],
        with_unit("measured", spec.target.unit): measured,
        with_unit("predicted", spec.target.unit): predicted,
    }
    return pd.DataFrame({name: column for name, column in columns.items() if name != "sample"})


VIEW = ScalarView()
