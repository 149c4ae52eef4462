"""The datasets: what they hold, how it looks, and how to have it."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from dashboard import data, parts, samples

from etchmark.catalog import catalog
from etchmark.data.gallery import Gallery, groups, numbers
from etchmark.data.loading import find_config
from etchmark.errors import UserError
from etchmark.specs import DatasetSpec
from etchmark.text import one_line

# Thumbnails at a time. No text may stand alone in a page: it would be shown.
AT_ONCE = 12
THUMBNAIL = 112
# A split up to this size is handed out by the page.
MOST_BYTES = 256 << 20


def controls() -> tuple[DatasetSpec, str]:
    names = catalog().dataset_names()
    if not names:
        raise UserError("there is no dataset here; add datasets/<name>/ or set ETCHMARK_CONTENT")
    left, right = st.columns([1, 1])
    with left:
        name = parts.choose(st.selectbox, "Dataset", "dataset", names, names[0])
    spec = catalog().dataset(name)
    with right:
        config = parts.choose(
            st.selectbox,
            "Configuration",
            "config",
            list(spec.configs),
            _to_begin_with(spec),
            format_func=lambda one: f"{one}: {spec.configs[one].title}",
        )
    return spec, config


def _to_begin_with(spec: DatasetSpec) -> str:
    """The configuration that is looked at first: one that is on this machine, if any is."""
    ordered = [spec.default_config, *spec.configs]
    here = (one for one in ordered if find_config(catalog(), spec.name, one) is not None)
    return next(here, spec.default_config)


def about(spec: DatasetSpec, config: str, found: Gallery | None) -> None:
    st.subheader(parts.literal(spec.title), anchor=False)
    st.text(one_line(spec.summary))
    st.markdown(f"**{parts.literal(config)}.** " + parts.prose(spec.configs[config].description))
    picture = spec.picture_of(config)
    if picture is not None:
        path = catalog().dataset_folder(spec.name) / picture.file
        if path.is_file():
            with st.expander("Examples", expanded=found is None):
                st.image(str(path), caption=parts.literal(picture.caption), alt=picture.caption)
    facts = {
        "licence": spec.licence,
        "version": str(spec.version),
        "samples": f"{spec.configs[config].rows:,}",
        "fingerprint": found.manifest.fingerprint[:12] if found else None,
        "used by": ", ".join(_benchmarks(spec.name, config)),
    }
    rows = [(name, one_line(value)) for name, value in facts.items() if value]
    st.dataframe(pd.DataFrame(rows, columns=["what", "value"]), hide_index=True, key="data-facts")
    with st.expander("Sources and how to cite"):
        for one in spec.citations:
            address = parts.web_address(one.doi or one.url)
            text = parts.literal(one.title)
            st.markdown(f"- [{text}]({address})" if address else f"- {text}")
        st.code(parts.plain_lines(data.bibtex(spec, config, found)), language=None)


def _benchmarks(dataset: str, config: str) -> list[str]:
    found = []
    for name in catalog().benchmark_names():
        try:
            spec = parts.benchmark(name)
        except UserError:
            # Another benchmark's broken card is no reason to show nothing here.
            continue
        if spec.dataset == dataset and any(one.config == config for one in spec.tracks.values()):
            found.append(name)
    return found


def how_to_have(spec: DatasetSpec, config: str) -> None:
    st.markdown("**Have it on your machine**")
    st.code(data.commands(spec, config), language="bash", wrap_lines=True)


def show_downloads(spec: DatasetSpec, config: str, found: Gallery) -> None:
    if spec.configs[config].own_use:
        st.caption(
            "This page hands these files out to nobody: their sources state no licence. The command"
            " above fetches them from there, for your own use."
        )
        return
    with st.container(horizontal=True):
        for split in found.splits:
            size = found.size(split)
            if size <= MOST_BYTES:
                name = found.file_name(split)
                st.download_button(
                    f"{split} ({_bytes(size)})",
                    # Read when it is clicked, not whenever the page is shown.
                    lambda split=split: found.packed(split),
                    file_name=name,
                    mime="application/zip"
                    if name.endswith(".zip")
                    else "application/vnd.apache.parquet",
                    icon=":material/download:",
                    on_click="ignore",
                    key=f"have-{split}",
                )
    too_large = [split for split in found.splits if found.size(split) > MOST_BYTES]
    if too_large:
        st.caption(f"Too large for this page: {', '.join(too_large)}. Use the commands above.")


def _bytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 1 << 20 else f"{max(1, round(size / 1024))} KiB"


def show_gallery(found: Gallery, split: str, table: pd.DataFrame) -> int | None:
    """Some thumbnails and a choice among them; the row of the sample that is looked at."""
    if table.empty:
        st.info("No sample passes these filters. Widen them.")
        return None
    pages = -(-len(table) // AT_ONCE)
    key = found.label(split)
    asked = parts.view().get("sample")
    everything = [str(one) for one in table["id"]]
    page = 1 + everything.index(asked) // AT_ONCE if asked in everything else 1
    if pages > 1:
        page = int(st.number_input(f"Page of {pages:,}", 1, pages, page, key=f"page-{key}-{pages}"))
    shown = table.iloc[(page - 1) * AT_ONCE : page * AT_ONCE]
    ids = [str(one) for one in shown["id"]]
    rows = [int(str(one)) for one in shown.index]
    count = f"{len(table):,} {'sample' if len(table) == 1 else 'samples'}"
    st.caption(parts.literal(f"{count}; {ids[0]} to {ids[-1]} are shown."))
    pictures = data.thumbnails(found, split, tuple(rows))
    if pictures:
        captions = [parts.literal(one) for one in ids]
        st.image(pictures, caption=captions, width=THUMBNAIL, alt=[f"sample {one}" for one in ids])
        st.caption("0 is black, 1 (of micrographs 255) is white.")
    chosen = st.selectbox(
        "Sample",
        ids,
        index=ids.index(asked) if asked in ids else 0,
        key=f"sample-{key}-{page}-{ids[0]}-{len(table)}",
    )
    parts.view()["sample"] = chosen
    return rows[ids.index(chosen)]


def show_sample(found: Gallery, split: str, row: int) -> None:
    # A configuration of numbers alone has nothing to look at beside them.
    _, *to_see = found.kinds
    right = st.container()
    if any(to_see):
        left, right = st.columns([1, 1], gap="large")
        with left:
            data.show_pictures(found, split, row)
    with right:
        values = parts.samples(found, split).loc[row].dropna()
        shown = [(str(name), _text(value)) for name, value in values.items()]
        st.dataframe(
            pd.DataFrame(shown, columns=["column", "value"]), hide_index=True, key="sample-values"
        )


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else parts.shortened(str(value), 200)


def show_distribution(spec: DatasetSpec, found: Gallery, split: str, table: pd.DataFrame) -> None:
    ranges = numbers(table)
    if not ranges:
        return
    st.subheader("How they are spread", anchor=False)
    key = found.label(split)
    left, right = st.columns(2)
    with left:
        column = st.selectbox("Quantity", ranges, key=f"spread-{key}")
    with right:
        sorts = ["", *groups(table)]
        by = st.selectbox(
            "By", sorts, key=f"by-{key}", format_func=lambda one: one or "all samples together"
        )
    unit = spec.unit_of(column)
    figure = data.histogram(table, column, by or None, unit)
    st.plotly_chart(figure, width="stretch", config=data.CONFIG, key="spread")
    with st.expander("As a table"):
        shown = data.summary(table, column, by or None, unit)
        st.dataframe(shown, hide_index=True, key="spread-table")


def main() -> None:
    st.title("Datasets", anchor=False)
    parts.follow_link()
    asked = dict(parts.view())
    spec, config = controls()
    chosen = {"dataset": spec.name, "config": config}
    found = parts.gallery(spec.name, config)
    about(spec, config, found)
    how_to_have(spec, config)
    if found is None:
        parts.remember(chosen)
        st.info("This configuration is not on this machine yet; the first command above builds it.")
        return
    show_downloads(spec, config, found)
    st.subheader("Samples", anchor=False)
    split = parts.choose(
        st.segmented_control, "Split", "split", found.splits, found.splits[0], required=True
    )
    chosen["split"] = split
    table = samples.choose(found, split, chosen, asked)
    row = show_gallery(found, split, table)
    if row is not None:
        show_sample(found, split, row)
        chosen["sample"] = str(parts.samples(found, split)["id"].loc[row])
        show_distribution(spec, found, split, table)
    parts.remember(chosen)


main()
