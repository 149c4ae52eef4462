"""Arrays of numbers: errors by component, one component against the truth, and worst samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.charts.comparison import group_plot
from dashboard.charts.errors import parity_plot
from dashboard.charts.matrices import heat_map
from dashboard.charts.style import label
from dashboard.page import show_figure, show_table
from dashboard.text import literal, shortened
from dashboard.views.base import TargetView
from dashboard.wording import with_unit
from etchmark.api import Comparison, Estimate, Gallery, SampleScores, ratio
from etchmark.specs import BenchmarkSpec
from etchmark.text import number

OWN, WHOLE = "the component", "the whole array"
"""What the error of a component can be divided by."""
WORST = 8
MAX_INTERVALS = 64
"""Components up to which each error has an interval."""


@dataclass(frozen=True)
class Elements:
    """Labels and predictions of all samples, and names of their elements.

    Attributes:
        names: of the elements of the flattened array.
        grid: rows and columns in which the elements are drawn.
        measured: shape (samples, elements).
        predicted: shape (seeds, samples, elements).
    """

    names: list[str]
    grid: tuple[int, int]
    measured: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of(cls, spec: BenchmarkSpec, scores: SampleScores) -> Elements | None:
        """From a per-sample table; None if it holds something else."""
        measured = scores.outcome.labels.get("target")
        predicted = scores.outcome.outputs.get("prediction")
        shape = getattr(spec.target, "shape", [])
        if measured is None or predicted is None or measured.shape[1:] != (math.prod(shape),):
            return None
        names = [", ".join(str(1 + at) for at in index) for index in np.ndindex(*shape)]
        names = list(getattr(spec.target, "components", None) or names)
        columns = int(shape[-1])
        return cls(names, (len(names) // columns, columns), measured, predicted)

    def absolute(self) -> np.ndarray:
        """Absolute errors, shape (seeds, samples, elements)."""
        return np.abs(self.predicted - self.measured)

    def sizes(self, relative_to: str) -> np.ndarray:
        """What errors are divided by, shape (samples, elements)."""
        if relative_to == OWN:
            return np.abs(self.measured)
        norms = np.linalg.norm(self.measured, axis=1, keepdims=True)
        return np.broadcast_to(norms, self.measured.shape)

    def relative(self, relative_to: str) -> np.ndarray:
        """Σ|e| / Σ size of each element in percent, shape (elements,); NaN where all are zero."""
        errors = self.absolute().mean(axis=0).sum(axis=0)
        sizes = self.sizes(relative_to).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(sizes > 0, 100 * errors / sizes, np.nan)

    def distinct(self) -> list[int]:
        """Places of the elements; of a symmetric matrix only those on and above the diagonal."""
        rows, columns = self.grid
        places = range(len(self.names))
        square = self.measured.reshape(-1, rows, columns)
        if rows != columns or not np.allclose(square, square.swapaxes(1, 2), rtol=1e-6):
            return list(places)
        return [place for place in places if place // columns <= place % columns]


class ArrayView(TargetView):
    def show_against_truth(self, alone: Comparison, scores: SampleScores) -> None:
        elements = Elements.of(alone.spec, scores)
        if elements is not None:
            _show_components(alone.spec, scores, elements)

    def show_details(
        self, alone: Comparison, scores: SampleScores, gallery: Gallery | None
    ) -> None:
        elements = Elements.of(alone.spec, scores)
        if elements is None:
            return
        left, right = st.columns(2, gap="large")
        with left:
            _show_parity(alone.spec, scores, elements)
        with right:
            st.markdown("**Samples with the largest relative error**")
            table = worst_table(alone.spec, scores, elements)
            st.dataframe(table, hide_index=True, key="worst-arrays")
            st.caption(
                "Relative error: norm of the difference over norm of the truth (Frobenius), mean"
                " over seeds. The component is the one with the largest absolute error."
            )

    def show_side_by_side(self, comparison: Comparison) -> None:
        frame = component_errors(comparison)
        if frame.empty:
            return
        st.header("Error by component", anchor=False)
        names = [name for name in comparison.names if name in frame.columns]
        title = "mean absolute error / mean magnitude of the component, %"
        show_figure(group_plot(frame, names, title), "component-errors")
        if len(frame) < len(frame.attrs["all"]):
            st.caption("The arrays are symmetric: components below the diagonal are left out.")
        show_table(frame.drop(columns="kind"), "component-errors-table")

    def draws(self, gallery: Gallery) -> bool:
        return bool(gallery.matrices)

    def show_sample(self, gallery: Gallery, split: str, row: int) -> None:
        for name in gallery.matrices:
            values = gallery.cell(split, name, row).astype(float)
            rows, columns = values.shape
            largest = float(np.nanmax(np.abs(values), initial=0)) or 1.0
            texts = [[number(value) for value in line] for line in values.tolist()]
            axes = [str(1 + at) for at in range(rows)], [str(1 + at) for at in range(columns)]
            figure = heat_map(values, texts, axes, ("", ""), limits=(-largest, largest))
            show_figure(figure, f"matrix-{name}")
            st.caption(literal(f"{name}: {rows} x {columns}; blue is positive, red is negative."))
            frame = pd.DataFrame(values, columns=axes[1])
            frame.insert(0, "row", axes[0])
            show_table(frame, f"matrix-table-{name}")


def _show_components(spec: BenchmarkSpec, scores: SampleScores, elements: Elements) -> None:
    relative_to = st.segmented_control(
        "Mean error relative to",
        (OWN, WHOLE),
        default=OWN,
        required=True,
        key=f"relative-to-{spec.id}",
    )
    values = elements.relative(relative_to)
    rows, columns = elements.grid
    texts = np.array(
        [
            f"{label(name, 8)}<br>{'–' if np.isnan(value) else f'{value:.3g}'}"
            for name, value in zip(elements.names, values.tolist(), strict=True)
        ],
        dtype=object,
    )
    axes = [str(1 + at) for at in range(rows)], [str(1 + at) for at in range(columns)]
    finite = values[np.isfinite(values)]
    greatest = min(100.0, float(finite.max(initial=0.0))) or 1.0
    figure = heat_map(
        values.reshape(rows, columns),
        texts.reshape(rows, columns).tolist(),
        axes,
        ("", ""),
        limits=(0.0, greatest),
    )
    show_figure(figure, "components")
    divided = (
        "the component's mean magnitude"
        if relative_to == OWN
        else "the mean norm of the whole array (Frobenius)"
    )
    st.caption(
        f"Mean absolute error of each component over {len(scores.ids):,} samples, in % of"
        f" {divided}."
        + (" Predicting zero for all samples gives 100 %." if relative_to == OWN else "")
    )
    show_table(component_table(spec, scores, elements), "component-table")


def component_table(spec: BenchmarkSpec, scores: SampleScores, elements: Elements) -> pd.DataFrame:
    """One row per component: mean absolute error with its interval, bias and relative errors."""
    unit, errors = spec.target.unit, elements.absolute()
    ones = np.ones(errors.shape[:2])
    undefined = [Estimate(value, math.nan, math.nan) for value in errors.mean(axis=(0, 1)).tolist()]
    estimates = undefined
    if len(elements.names) <= MAX_INTERVALS:
        estimates = [ratio(scores, error, ones, share=False) for error in np.moveaxis(errors, 2, 0)]
    return pd.DataFrame(
        {
            "component": elements.names,
            with_unit("mean absolute error", unit): [estimate.value for estimate in estimates],
            "ci_low": [estimate.low for estimate in estimates],
            "ci_high": [estimate.high for estimate in estimates],
            with_unit("mean error", unit): (elements.predicted - elements.measured).mean((0, 1)),
            with_unit("mean magnitude", unit): np.abs(elements.measured).mean(axis=0),
            f"relative to {OWN} / %": elements.relative(OWN),
            f"relative to {WHOLE} / %": elements.relative(WHOLE),
            "n": len(scores.ids),
        }
    )


def _show_parity(spec: BenchmarkSpec, scores: SampleScores, elements: Elements) -> None:
    name = st.selectbox("Component", elements.names, key=f"component-{spec.id}-{scores.split}")
    place = elements.names.index(name)
    measured = elements.measured[:, place]
    predicted = elements.predicted[:, :, place].mean(axis=0)
    hover = [label(str(sample), 80) for sample in scores.ids]
    quantity = with_unit(str(name), spec.target.unit)
    show_figure(parity_plot(measured, predicted, hover, quantity), "parity")
    st.caption("One point per sample, mean over seeds; hover for its id.")
    points = {
        "id": [shortened(str(sample), 60) for sample in scores.ids],
        with_unit(f"{name} measured", spec.target.unit): measured,
        with_unit(f"{name} predicted", spec.target.unit): predicted,
    }
    show_table(pd.DataFrame(points), "parity-table")


def worst_table(spec: BenchmarkSpec, scores: SampleScores, elements: Elements) -> pd.DataFrame:
    """Samples with the largest relative error, and where in the array each is worst."""
    relative = 100 * scores.terms["sum_relative"].mean(axis=0)
    errors, predicted = elements.absolute().mean(axis=0), elements.predicted.mean(axis=0)
    unit, rows = spec.target.unit, []
    for sample in np.argsort(-relative, kind="stable")[:WORST].tolist():
        place = int(errors[sample].argmax())
        rows.append(
            {
                "id": shortened(str(scores.ids[sample]), 60),
                "relative error / %": relative[sample],
                "component": elements.names[place],
                with_unit("measured", unit): elements.measured[sample, place],
                with_unit("predicted", unit): predicted[sample, place],
            }
        )
    return pd.DataFrame(rows)


def component_errors(comparison: Comparison) -> pd.DataFrame:
    """Relative error of each component in percent, a column per model; empty if there are none."""
    columns: dict[str, np.ndarray] = {}
    elements = None
    for name, scores in comparison.samples().items():
        elements = Elements.of(comparison.spec, scores)
        if elements is not None:
            columns[name] = elements.relative(OWN)
    if elements is None:
        return pd.DataFrame()
    places = elements.distinct()
    frame = pd.DataFrame(
        {"kind": "component", "group": elements.names, **columns},
    ).iloc[places]
    frame.attrs["all"] = elements.names
    return frame.reset_index(drop=True)


VIEW = ArrayView()
