"""Classes: confusion, scores of each class, confidence against accuracy, and errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.charts.classes import class_plot, reliability_plot
from dashboard.charts.matrices import confusion_plot, row_shares
from dashboard.page import show_figure, show_table
from dashboard.text import shortened
from dashboard.views.base import TargetView, classes_of, show_by_class
from etchmark.api import Comparison, Estimate, Gallery, SampleScores, ratio
from etchmark.specs import BenchmarkSpec

SHOWN = 10
"""Errors that are listed."""


class LabelView(TargetView):
    def show_against_truth(self, alone: Comparison, scores: SampleScores) -> None:
        classes = classes_of(alone.spec)
        counts = confusion(scores, classes)
        show_figure(confusion_plot(counts, classes), "confusion")
        seeds = f" under each of {len(scores.seeds)} seeds" if len(scores.seeds) > 1 else ""
        st.caption(
            f"{len(scores.ids):,} samples{seeds}: how many of each true class (row) were predicted"
            " as each class (column), and their share of the row."
        )
        show_table(confusion_table(counts, classes), "confusion-table")

    def show_details(
        self, alone: Comparison, scores: SampleScores, gallery: Gallery | None
    ) -> None:
        left, right = st.columns(2, gap="large")
        with left:
            _show_classes(alone.spec, scores)
        bins = reliability(scores)
        with right:
            if bins is not None:
                _show_reliability(alone.spec, bins)
            _show_errors(alone.spec, scores)

    def show_side_by_side(self, comparison: Comparison) -> None:
        show_by_class(
            comparison,
            recall,
            "recall",
            "class-recall",
            "The share of the samples of each class that is predicted rightly.",
        )


def confusion(scores: SampleScores, classes: list[str]) -> np.ndarray:
    """Predictions by true and by predicted class over all seeds, shape (classes, classes)."""
    place = {name: at for at, name in enumerate(classes)}
    predicted = scores.outcome.outputs["prediction"]
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for names in predicted:
        for true, guess in zip(scores.outcome.labels["target"], names, strict=True):
            counts[place[true], place[guess]] += 1
    return counts


def confusion_table(counts: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """Counts and shares of rows, one row per true class."""
    shares = 100 * row_shares(counts)
    columns: dict[str, object] = {"true class": classes, "n": counts.sum(axis=1)}
    for at, name in enumerate(classes):
        columns[f"as {name}"] = counts[:, at]
        columns[f"as {name} / %"] = shares[:, at]
    return pd.DataFrame(columns)


def recall(scores: SampleScores, classes: list[str]) -> list[Estimate]:
    """Share of the samples of each class that is predicted as such."""
    terms = scores.terms
    return [ratio(scores, terms[f"hit_{name}"], terms[f"true_{name}"]) for name in classes]


def precision(scores: SampleScores, classes: list[str]) -> list[Estimate]:
    """Share of the predictions of each class that is right."""
    terms = scores.terms
    return [ratio(scores, terms[f"hit_{name}"], terms[f"predicted_{name}"]) for name in classes]


def _show_classes(spec: BenchmarkSpec, scores: SampleScores) -> None:
    classes = classes_of(spec)
    series = {"recall": recall(scores, classes), "precision": precision(scores, classes)}
    st.markdown("**Recall and precision by class**")
    show_figure(class_plot(classes, series, "share (higher is better)"), "classes")
    st.caption(
        "Recall: share of a class that is predicted as such. Precision: share of the predictions of"
        f" a class that is right. Bars are 95 % intervals over {spec.unit_names}."
    )
    st.dataframe(class_table(scores, classes, series), hide_index=True, key="class-table")


def class_table(
    scores: SampleScores, classes: list[str], series: dict[str, list[Estimate]]
) -> pd.DataFrame:
    """One row per class: how many samples, and each score with its interval."""
    columns: dict[str, object] = {
        "class": classes,
        "n": [int(scores.terms[f"true_{name}"][0].sum()) for name in classes],
    }
    for title, estimates in series.items():
        columns[title] = [estimate.value for estimate in estimates]
        columns[f"{title} ci_low"] = [estimate.low for estimate in estimates]
        columns[f"{title} ci_high"] = [estimate.high for estimate in estimates]
    return pd.DataFrame(columns)


def shares(scores: SampleScores) -> dict[str, np.ndarray]:
    """Probability of each class, shape (seeds, samples); empty where none are predicted."""
    return {
        name.removeprefix("share_"): values
        for name, values in scores.terms.items()
        if name.startswith("share_")
    }


def reliability(scores: SampleScores) -> pd.DataFrame | None:
    """Confidence and accuracy by bin of confidence; None where no probabilities are predicted.

    The bins are those of the expected calibration error.
    """
    probabilities = shares(scores)
    count = sum(name.startswith("gap_") for name in scores.terms)
    if not probabilities or not count:
        return None
    confidence = np.max(list(probabilities.values()), axis=0)
    correct = scores.terms["correct"]
    bins = np.clip(np.ceil(confidence * count).astype(int) - 1, 0, count - 1)
    rows = []
    for at in np.unique(bins).tolist():
        member = (bins == at).astype(float)
        # Over all seeds at once: a bin may be empty under one of them.
        pooled = [values.sum(axis=0, keepdims=True) for values in (correct * member, member)]
        accuracy = ratio(scores, *pooled)
        rows.append(
            {
                "bin": f"{at / count:.3f} to {(at + 1) / count:.3f}",
                "confidence": float(confidence[bins == at].mean()),
                "accuracy": accuracy.value,
                "ci_low": accuracy.low,
                "ci_high": accuracy.high,
                "n": int(member.sum()),
            }
        )
    return pd.DataFrame(rows)


def _show_reliability(spec: BenchmarkSpec, bins: pd.DataFrame) -> None:
    st.markdown("**Confidence against accuracy**")
    show_figure(reliability_plot(bins), "reliability")
    st.caption(
        "Predictions in bins of equal width of confidence, the probability of the predicted class."
        " Below the line the model is too sure of itself. Larger markers stand for more"
        f" predictions; bars are 95 % intervals over {spec.unit_names}."
    )
    show_table(bins, "reliability-table")


def _show_errors(spec: BenchmarkSpec, scores: SampleScores) -> None:
    table, total = error_list(spec, scores)
    sure = "confidence" in table.columns
    st.markdown("**Most confident errors**" if sure else "**Errors**")
    if table.empty:
        st.caption("Every sample is predicted rightly.")
        return
    st.dataframe(table, hide_index=True, key="wrong-samples")
    if total > len(table):
        st.caption(f"{len(table)} of {total:,} samples that are predicted wrongly.")


def error_list(spec: BenchmarkSpec, scores: SampleScores) -> tuple[pd.DataFrame, int]:
    """Wrong samples, the surest first, and how many there are.

    Where probabilities are predicted, their mean over seeds says which class is; else a sample
    counts if it is wrong under any seed.
    """
    true, probabilities = scores.outcome.labels["target"], shares(scores)
    names = scores.outcome.outputs["prediction"]
    columns: dict[str, object] = {}
    if probabilities:
        mean = np.stack([values.mean(axis=0) for values in probabilities.values()])
        predicted = np.array(list(probabilities), dtype=object)[mean.argmax(axis=0)]
        place = {name: at for at, name in enumerate(probabilities)}
        of_truth = mean[[place[name] for name in true], np.arange(len(true))]
        columns |= {"confidence": mean.max(axis=0), "probability of the true class": of_truth}
        order = np.argsort(-mean.max(axis=0), kind="stable")
        wrong = predicted != true
    else:
        share = (names != true).mean(axis=0)
        first = (names != true).argmax(axis=0)
        predicted = names[first, np.arange(len(true))]
        if len(scores.seeds) > 1:
            columns["share of seeds that are wrong"] = share
        order = np.argsort(-share, kind="stable")
        wrong = share > 0
    units = {} if spec.unit_name == "sample" else {spec.unit_name: scores.units}
    frame = pd.DataFrame(
        {
            "id": [shortened(str(sample), 60) for sample in scores.ids],
            **units,
            "true class": true,
            "predicted class": predicted,
            **columns,
        }
    )
    listed = frame.iloc[[row for row in order.tolist() if wrong[row]]]
    return listed.head(SHOWN).reset_index(drop=True), len(listed)


VIEW = LabelView()
