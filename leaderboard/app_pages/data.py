"""The datasets: what they hold, what it looks like, and how to download it."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from dashboard import cached, state
from dashboard.charts.distributions import histogram, summary
from dashboard.page import show_figure, show_table
from dashboard.panels import dataset, sample, sample_filters

from etchmark.api import Gallery, Hub, groups, numbers, open_hub
from etchmark.errors import UserError
from etchmark.specs import DatasetSpec


def choose_view(hub: Hub) -> tuple[DatasetSpec, str]:
    names = hub.datasets()
    if not names:
        raise UserError("there is no dataset here; add datasets/<name>/ or set ETCHMARK_CONTENT")
    left, right = st.columns([1, 1])
    with left:
        name = state.choose(st.selectbox, "Dataset", "dataset", names, names[0])
    spec = hub.dataset(name)
    with right:
        config = state.choose(
            st.selectbox,
            "Configuration",
            "config",
            list(spec.configs),
            default_config(hub, spec),
            format_func=lambda config: f"{config}: {spec.configs[config].title}",
        )
    return spec, config


def default_config(hub: Hub, spec: DatasetSpec) -> str:
    """The configuration that is shown first: one that is on this machine, if any is."""
    ordered = [spec.default_config, *spec.configs]
    built = (config for config in ordered if hub.config_folder(spec.name, config) is not None)
    return next(built, spec.default_config)


def show_distribution(spec: DatasetSpec, gallery: Gallery, split: str, table: pd.DataFrame) -> None:
    columns = numbers(table)
    if not columns:
        return
    st.header("Distribution", anchor=False)
    key = gallery.label(split)
    left, right = st.columns(2)
    with left:
        column = st.selectbox("Quantity", columns, key=f"spread-{key}")
    with right:
        by = st.selectbox(
            "Group by",
            ["", *groups(table)],
            key=f"by-{key}",
            format_func=lambda column: column or "all samples together",
        )
    unit = spec.unit_of(column)
    show_figure(histogram(table, column, by or None, unit), "spread")
    show_table(summary(table, column, by or None, unit), "spread-table", download=False)


def main() -> None:
    st.title("Datasets", anchor=False)
    state.follow_link()
    asked = dict(state.view())
    hub = open_hub()
    spec, config = choose_view(hub)
    link = {"dataset": spec.name, "config": config}
    gallery = hub.gallery(spec.name, config)
    dataset.show(hub, spec, config, gallery)
    if gallery is None:
        state.remember(link)
        st.info("This configuration is not on this machine yet; the first command above builds it.")
        return
    dataset.show_downloads(spec, config, gallery)
    st.header("Samples", anchor=False)
    split = state.choose(
        st.segmented_control, "Split", "split", gallery.splits, gallery.splits[0], required=True
    )
    link["split"] = split
    table = sample_filters.show(gallery, split, link, asked)
    row = sample.choose(gallery, split, table)
    if row is not None:
        sample.show(gallery, split, row)
        link["sample"] = str(cached.samples(gallery, split)["id"].loc[row])
        show_distribution(spec, gallery, split, table)
    state.remember(link)


main()
