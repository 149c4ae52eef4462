"""Where one submission errs: against the truth, by group, by property, and on which samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import cached
from dashboard.charts.classes import class_plot
from dashboard.charts.distributions import summary
from dashboard.charts.errors import box_plot, medians, property_plot
from dashboard.page import show_figure, show_table
from dashboard.text import literal, shortened
from dashboard.views import TargetView, view_of
from dashboard.wording import metric_title, with_unit
from etchmark.api import (
    Comparison,
    Entry,
    Gallery,
    Hub,
    MetricInfo,
    SampleScores,
    View,
    groups,
    numbers,
    ratio,
)
from etchmark.specs import BenchmarkSpec
from etchmark.text import number

ENDS = 4
"""Best and worst samples that are shown, at most."""
MAX_GROUPS = 30
ALL = "all samples"


@dataclass(frozen=True)
class ErrorTable:
    """One row per sample: id, unit, error, residual where there is one, columns of the data."""

    frame: pd.DataFrame
    metric: MetricInfo
    """What the error is."""
    gallery: Gallery | None
    """The data on this machine, None where they were not built."""
    split: str

    @property
    def title(self) -> str:
        return metric_title(self.metric)


def show(hub: Hub, spec: BenchmarkSpec, entry: Entry) -> None:
    """Errors on a split that the reader picks; nothing where no per-sample table is kept."""
    splits = [scores.split for scores in entry.record.scores]
    if entry.samples is None or not splits:
        return
    st.markdown("**Errors**")
    split = _choose_split(spec, entry, splits)
    scores = hub.samples(entry, split)
    if scores is None:
        return
    record, view = entry.record, view_of(spec)
    alone = hub.comparison(spec, [record.submission], View(record.protocol, split))
    table = error_table(hub, alone, scores, cached.gallery_of(hub, spec, record.track))
    left, right = st.columns(2, gap="large")
    with left:
        view.show_against_truth(alone, scores)
    with right:
        _show_groups(spec, table, scores)
    view.show_details(alone, scores, table.gallery)
    _show_properties(table)
    _show_ends(table, view)


def _choose_split(spec: BenchmarkSpec, entry: Entry, splits: list[str]) -> str:
    headline = spec.protocols[entry.record.protocol].split
    if len(splits) == 1:
        return headline
    return st.segmented_control(
        "Split",
        splits,
        default=headline if headline in splits else splits[0],
        required=True,
        key=f"errors-split-{entry.record.submission[:12]}",
    )


def error_table(
    hub: Hub, alone: Comparison, scores: SampleScores, gallery: Gallery | None
) -> ErrorTable:
    """Errors of a split's samples, with what the data say about each.

    Args:
        hub: where metrics are known.
        alone: a comparison of this model only.
        scores: its outcome on the split.
        gallery: the data that it reads, None where they are not on this machine.
    """
    measured = alone.errors()
    (name,) = alone.names
    frame = measured.frame.rename(columns={name: "error"})
    residuals = view_of(alone.spec).residuals(scores)
    if residuals is not None:
        frame["residual"] = residuals
    if gallery is not None and scores.split in gallery.splits:
        known = cached.samples(gallery, scores.split)
        known = known.assign(row=np.arange(len(known)), id=known["id"].astype(str))
        # Columns that the table of errors has already are not taken from the data.
        new = [column for column in known.columns if column == "id" or column not in frame.columns]
        frame = frame.merge(known[new], on="id", how="left")
    return ErrorTable(frame, hub.metric(alone.spec, measured.metric), gallery, scores.split)


def _show_groups(spec: BenchmarkSpec, table: ErrorTable, scores: SampleScores) -> None:
    """Residuals where there are any, else errors, one box per group; shares of right or wrong."""
    frame = table.frame
    columns = groups(frame)
    counts = {column: len(set(frame[column])) for column in {"unit", *columns}}
    choices = {ALL: ""}
    if 1 < counts["unit"] < min(MAX_GROUPS + 1, len(frame)):
        choices[spec.unit_name] = "unit"
    for column in columns:
        if column != "unit" and counts[column] <= MAX_GROUPS and column not in choices:
            choices[column] = column
    names = list(choices)
    by = names[0]
    if len(names) > 1:
        by = st.selectbox("Group by", names, index=1, key=f"errors-by-{'-'.join(names)}")
    signed = "residual" in frame.columns
    if not signed and right_or_wrong(frame["error"].to_numpy(dtype=float)):
        _show_means(spec, table, scores, choices[by])
        return
    column = "residual" if signed else "error"
    title = with_unit("predicted minus measured", spec.target.unit) if signed else table.title
    show_figure(box_plot(frame, column, choices[by], title), "residuals")
    st.caption("Box: quartiles and median; whiskers reach 1.5 times the box; points lie beyond.")
    show_table(summary(frame, column, choices[by] or None), "residual-table")


def right_or_wrong(errors: np.ndarray) -> bool:
    """Whether samples are right or wrong, 0 or 1, so that boxes of their errors say nothing."""
    return set(errors.tolist()) <= {0.0, 1.0}


def _show_means(spec: BenchmarkSpec, table: ErrorTable, scores: SampleScores, column: str) -> None:
    """The share of wrong samples by group."""
    names = np.array([ALL] * len(table.frame), dtype=object)
    if column:
        names = table.frame[column].astype(str).to_numpy(dtype=object)
    errors = table.frame["error"].to_numpy(dtype=float)
    rows = []
    for name in sorted(set(names.tolist())):
        member = (names == name).astype(float)
        rows.append((name, int(member.sum()), ratio(scores, errors * member, member)))
    shown = [name for name, _, _ in rows]
    title = f"{table.title} (lower is better)"
    show_figure(class_plot(shown, {"error": [row[2] for row in rows]}, title), "residuals")
    st.caption(f"Share of wrong samples; bars are 95 % intervals over {spec.unit_names}.")
    frame = pd.DataFrame(
        [(name, count, *estimate) for name, count, estimate in rows],
        columns=["group", "samples", "mean", "ci_low", "ci_high"],
    )
    show_table(frame, "residual-table")


def _show_properties(table: ErrorTable) -> None:
    """Error against a number that the data hold."""
    columns = [name for name in numbers(table.frame) if name not in ("error", "residual", "row")]
    if not columns:
        return
    key = f"errors-against-{table.split}-{'-'.join(columns)}"
    column = st.selectbox("Error against", columns, key=key)
    show_figure(property_plot(table.frame, column, table.title), "property")
    st.caption("One point per sample; the line joins the medians of bins of equally many samples.")
    show_table(medians(table.frame, column), "property-table")


def _show_ends(table: ErrorTable, view: TargetView) -> None:
    """The best and the worst predicted samples, as pictures where there are any."""
    ordered = table.frame.dropna(subset=["error"]).sort_values(["error", "id"], kind="stable")
    count = min(ENDS, len(ordered) // 2)
    if not count:
        return
    drawn = False
    worst, best = ordered.iloc[::-1].head(count), ordered.head(count)
    for heading, part in (("Worst predicted", worst), ("Best predicted", best)):
        st.markdown(f"**{heading}**")
        drawn |= _show_samples(table, part, view)
    if drawn and table.gallery is not None:
        first = int(worst["row"].iloc[0])
        st.caption(view.glance_in_words(table.gallery, table.split, first))
    if table.gallery is None:
        st.caption("Build the data on this machine to see these samples as pictures.")


def _show_samples(table: ErrorTable, part: pd.DataFrame, view: TargetView) -> bool:
    """Samples with their errors; whether there were pictures of them."""
    unit = "" if table.metric.unit == "1" else f" {table.metric.unit}"
    captions = [
        f"{shortened(str(row['id']), 40)}: {table.metric.id} {number(row['error'])}{unit}"
        for row in part.to_dict("records")
    ]
    pictures: list[np.ndarray] = []
    if table.gallery is not None and "row" in part and all(part["row"].notna().tolist()):
        rows = tuple(int(row) for row in part["row"])
        pictures = view.glance(table.gallery, table.split, rows)
    if pictures:
        escaped = [literal(caption) for caption in captions]
        st.image(pictures, caption=escaped, width=view.glance_px, alt=captions)
    else:
        st.markdown(literal("; ".join(captions)))
    return bool(pictures)
