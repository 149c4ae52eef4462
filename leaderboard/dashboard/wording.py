"""Benchmarks, metrics and rows of a board in words."""

from __future__ import annotations

import pandas as pd

from dashboard.text import shortened
from etchmark.api import MetricInfo
from etchmark.specs import BenchmarkSpec

DISCLOSURE = {
    "none": "trained on the benchmark's training data only",
    "declared": "also trained on other data",
    "unknown": "not stated",
}
"""What a card says about training data."""
ROLES = {
    "entry": "a model, ranked",
    "exploratory": "chosen or tuned by looking at test scores",
    "oracle": "makes or reproduces the labels, such as a solver",
}
"""What a submission may say that it is."""


def with_unit(quantity: str, unit: str) -> str:
    """Title of an axis or a column: the quantity and its unit, if it has one."""
    return quantity if unit == "1" else f"{quantity} / {unit}"


def metric_title(metric: MetricInfo) -> str:
    """Id of a metric with its unit."""
    return with_unit(metric.id, metric.unit)


def metric_label(metric: MetricInfo) -> str:
    """Title of an axis: what the metric is, its unit and which way is better."""
    better = "higher" if metric.higher_is_better else "lower"
    return f"{with_unit(metric.title, metric.unit)} ({better} is better)"


def count_of_units(spec: BenchmarkSpec, count: int) -> str:
    """A number of independent units, as the benchmark names them."""
    return f"{count} {spec.unit_name if count == 1 else spec.unit_names}"


def row_names(frame: pd.DataFrame) -> dict[str, str]:
    """Rows of a board by submission: rank, model and track, which together are unique."""
    ranks = frame["rank"].astype(object).where(frame["rank"].notna(), None).tolist()
    columns = (frame[name].tolist() for name in ("submission", "model", "track"))
    return {
        submission: ("" if rank is None else f"{rank}. ") + f"{shortened(model, 60)} ({track})"
        for rank, submission, model, track in zip(ranks, *columns, strict=True)
    }


def gain_over(spec: BenchmarkSpec) -> str:
    """What a gain is, for a caption; empty where no reference is declared."""
    if spec.gains_over is None:
        return ""
    return (
        f" Gain: by how much the error is smaller than that of {spec.gains_over}; its test allows"
        " for the number of rows."
    )
