"""Where one submission errs: against the truth, by group, by property, and on which samples."""

from __future__ import annotations

import html

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard import data as dashboard_data
from dashboard import plots
from dashboard import rollouts as dashboard_rollouts
from dashboard.compare import horizons_plot
from dashboard.parts import gallery, literal, samples, shortened
from etchmark.boards import compare
from etchmark.boards.standings import sample_scores
from etchmark.data.gallery import Gallery, groups, numbers
from etchmark.registry.tables import Entry
from etchmark.scoring.samples import SampleScores
from etchmark.specs import BenchmarkSpec
from etchmark.targets import metric as metric_by_id
from etchmark.targets.frames.rollouts import decode
from etchmark.text import number

ENDS = 4
"""Samples at most that are shown of the best and of the worst."""
MOST_GROUPS = 30
BINS = 12


def show(spec: BenchmarkSpec, entry: Entry) -> None:
    """All of it for a split that can be chosen; nothing where no per-sample table is kept."""
    protocol = spec.protocols[entry.record.protocol]
    splits = [one.split for one in entry.record.scores]
    if entry.samples is None or not splits:
        return
    st.markdown("**Where it errs**")
    split = protocol.split
    if len(splits) > 1:
        split = st.segmented_control(
            "Split",
            splits,
            default=split if split in splits else splits[0],
            required=True,
            key=f"errors-split-{entry.record.submission[:12]}",
        )
    found = sample_scores(entry, split)
    if found is None:
        return
    measured = compare.errors(compare.sides([entry]), split, spec.primary_metric)
    table = joined(spec, entry, found, measured)
    unit = metric_by_id(measured.metric).unit_for(spec.target.unit)
    title = measured.metric if unit == "1" else f"{measured.metric} / {unit}"
    left, right = st.columns(2, gap="large")
    with left:
        _against_truth(spec, entry, found, split)
    with right:
        _by_group(spec, table, title)
    _by_property(table, title, split)
    _ends(spec, entry, table, (measured.metric, unit), split)


def joined(
    spec: BenchmarkSpec, entry: Entry, found: SampleScores, measured: compare.Errors
) -> pd.DataFrame:
    """One row per sample: id, unit, error, residual of scalars, and what the data say of it."""
    (name,) = [one for one in measured.frame.columns if one not in ("id", "unit")]
    frame = measured.frame.rename(columns={name: "error"})
    if found.prediction is not None and found.target is not None:
        frame["residual"] = found.prediction.mean(axis=0) - found.target
    data = _gallery(spec, entry)
    if data is None or found.split not in data.splits:
        return frame
    known = samples(data, found.split)
    known = known.assign(row=np.arange(len(known)), id=known["id"].astype(str))
    # What the table of errors says by itself is not taken from the data again.
    new = [one for one in known.columns if one == "id" or one not in frame.columns]
    return frame.merge(known[new], on="id", how="left")


def _gallery(spec: BenchmarkSpec, entry: Entry) -> Gallery | None:
    """The data on this machine, None where they were not built."""
    track = spec.tracks.get(entry.record.track)
    return None if track is None else gallery(spec.dataset, track.config)


def _against_truth(spec: BenchmarkSpec, entry: Entry, found: SampleScores, split: str) -> None:
    over_time = compare.horizons(compare.sides([entry]), split)
    if len(over_time):
        figure = horizons_plot(over_time, spec.target.unit)
        st.plotly_chart(figure, width="stretch", config=plots.CONFIG, key="horizon")
        st.caption(
            f"Error of each predicted frame of split `{split}`; the band is its 95 % interval over"
            f" {spec.unit_names}."
        )
        with st.expander("As a table"):
            st.dataframe(over_time, hide_index=True, key="horizon-table")
        if found.outcome.picture is not None:
            rollout = decode(str(found.ids[0]), found.outcome.picture)
            dashboard_rollouts.show_one(rollout, split)
        return
    figure = plots.parity_plot(found, spec.target.quantity, spec.target.unit)
    if figure is not None:
        st.plotly_chart(figure, width="stretch", config=plots.CONFIG, key="parity")
        unit = "" if spec.unit_name == "sample" else f" and {spec.unit_name}"
        st.caption(f"One point per sample, mean over seeds; hover for its id{unit}.")
        with st.expander("As a table"):
            st.dataframe(parity_table(spec, found), hide_index=True, key="parity-table")


def parity_table(spec: BenchmarkSpec, found: SampleScores) -> pd.DataFrame:
    """The points of the plot: one row per sample of a scalar target."""
    unit = "" if spec.target.unit == "1" else f" / {spec.target.unit}"
    assert found.target is not None and found.prediction is not None  # noqa: S101, PT018
    columns = {
        "id": [shortened(str(one), 60) for one in found.ids],
        spec.unit_name: [shortened(str(one), 60) for one in found.units],
        f"measured{unit}": found.target,
        f"predicted{unit}": found.prediction.mean(axis=0),
    }
    return pd.DataFrame({name: column for name, column in columns.items() if name != "sample"})


def _by_group(spec: BenchmarkSpec, table: pd.DataFrame, title: str) -> None:
    """Residuals of scalars, errors of frames, one box per group."""
    counts = {one: len(set(table[one])) for one in {"unit", *groups(table)}}
    few = 1 < counts["unit"] < min(MOST_GROUPS + 1, len(table))
    known = [one for one in groups(table) if one != "unit" and counts[one] <= MOST_GROUPS]
    choices = {"all samples": "", **({spec.unit_name: "unit"} if few else {})}
    choices |= {one: one for one in known if one not in choices}
    names = list(choices)
    by = names[0]
    if len(names) > 1:
        by = st.selectbox("Spread by", names, index=1, key=f"errors-by-{'-'.join(names)}")
    signed = "residual" in table.columns
    column = "residual" if signed else "error"
    axis = f"predicted minus measured / {spec.target.unit}" if signed else title
    figure = box_plot(table, column, choices[by], axis)
    st.plotly_chart(figure, width="stretch", config=plots.CONFIG, key="residuals")
    st.caption("Box: quartiles and median; whiskers reach 1.5 times the box; points lie beyond.")
    with st.expander("As a table"):
        frame = dashboard_data.summary(table, column, choices[by] or None)
        st.dataframe(frame, hide_index=True, key="residual-table")


def box_plot(table: pd.DataFrame, column: str, by: str, axis: str) -> go.Figure:
    """Boxes of a column by group, as many rows as there are groups."""
    figure = go.Figure()
    parts = [("all samples", table)] if not by else list(table.groupby(by, sort=True))
    colour = plots.colour()
    for name, part in reversed(parts):
        figure.add_box(
            x=part[column].to_numpy(dtype=float),
            name=plots.label(str(name), 28),
            marker={"color": colour, "size": 4},
            line={"width": 1.5},
            hoverinfo="x",
            showlegend=False,
        )
    figure.update_layout(height=max(300, 90 + 26 * len(parts)), **plots.LAYOUT)
    figure.update_xaxes(
        title=html.escape(axis, quote=False), zeroline=column == "residual", showgrid=True
    )
    return figure


def _by_property(table: pd.DataFrame, title: str, split: str) -> None:
    known = [one for one in numbers(table) if one not in ("error", "residual", "row")]
    if not known:
        return
    chosen = st.selectbox("Error against", known, key=f"errors-against-{split}-{'-'.join(known)}")
    figure = property_plot(table, chosen, title)
    st.plotly_chart(figure, width="stretch", config=plots.CONFIG, key="property")
    st.caption("One point per sample; the line joins medians of equally many samples each.")
    with st.expander("As a table"):
        st.dataframe(medians(table, chosen), hide_index=True, key="property-table")


def medians(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Median of property and error in bins of equally many samples."""
    values, errors = (
        table[name].to_numpy(dtype=float, na_value=np.nan) for name in (column, "error")
    )
    there = np.isfinite(values) & np.isfinite(errors)
    values, errors = values[there], errors[there]
    ends = np.unique(values)
    if len(ends) > BINS:
        ends = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:], method="lower"))
    bins = np.searchsorted(ends, values)
    rows = [
        {
            column: np.median(values[bins == one]),
            "median error": np.median(errors[bins == one]),
            "n": int((bins == one).sum()),
        }
        for one in np.unique(bins)
    ]
    return pd.DataFrame(rows)


def property_plot(table: pd.DataFrame, column: str, title: str) -> go.Figure:
    """Error of each sample against one of its properties."""
    line = medians(table, column)
    errors = table["error"].to_numpy(dtype=float)
    figure = go.Figure()
    figure.add_scatter(
        x=table[column].to_numpy(dtype=float, na_value=np.nan),
        y=errors,
        mode="markers",
        name="sample",
        marker={"size": 5, "opacity": 0.5, "color": plots.colour()},
        text=[plots.label(str(one), 60) for one in table["id"]],
        hovertemplate="%{text}<br>%{x:.4g}: %{y:.4g}<extra></extra>",
    )
    figure.add_scatter(
        x=line[column],
        y=line["median error"],
        mode="lines+markers",
        name="median",
        line={"color": plots.ORANGE, "width": 3},
        hoverinfo="skip",
    )
    figure.update_layout(height=380, **plots.LAYOUT)
    figure.update_xaxes(title=html.escape(column, quote=False), zeroline=False)
    positive = bool(np.nanmin(errors) > 0) and float(np.nanmax(errors)) > plots.DECADES * float(
        np.nanmin(errors)
    )
    up = plots.log_axis(errors[~np.isnan(errors)]) if positive else plots.LINEAR
    figure.update_yaxes(title=html.escape(title, quote=False), showgrid=True, **up)
    return figure


def _ends(
    spec: BenchmarkSpec, entry: Entry, table: pd.DataFrame, measured: tuple[str, str], split: str
) -> None:
    """The best and the worst predicted samples, as pictures where there are any."""
    ordered = table.dropna(subset=["error"]).sort_values(["error", "id"], kind="stable")
    count = min(ENDS, len(ordered) // 2)
    if not count:
        return
    data = _gallery(spec, entry)
    name, unit = measured[0], "" if measured[1] == "1" else f" {measured[1]}"
    films = data is not None and bool(data.kinds.films)
    for heading, part in (
        ("Worst", ordered.iloc[::-1].head(count)),
        ("Best", ordered.head(count)),
    ):
        st.markdown(f"**{heading} predicted**")
        pictures: list[np.ndarray] = []
        if data is not None and "row" in part and all(part["row"].notna().tolist()):
            rows = tuple(int(one) for one in part["row"])
            drawn = dashboard_data.strips if films else dashboard_data.thumbnails
            pictures = drawn(data, split, rows)
        said = [
            f"{shortened(str(row['id']), 40)}: {name} {number(row['error'])}{unit}"
            for row in part.to_dict("records")
        ]
        if pictures:
            captions = [literal(one) for one in said]
            st.image(pictures, caption=captions, width=560 if films else 140, alt=said)
        else:
            st.markdown(literal("; ".join(said)))
    if films:
        st.caption("The truth, from the first frame that is given to the last that is asked for.")
    if data is None:
        st.caption("Build the data on this machine to see these samples as pictures.")
