"""About a dataset: its card, how to cite it, and how to download it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.text import literal, plain_lines, prose, web_address
from etchmark.api import Gallery, Hub
from etchmark.errors import UserError
from etchmark.specs import DatasetSpec
from etchmark.text import one_line

MAX_BYTES = 256 << 20
"""Size of a split up to which the page offers it for download."""


def show(hub: Hub, spec: DatasetSpec, config: str, gallery: Gallery | None) -> None:
    """All but the samples; ``gallery`` is None where the config is not on this machine."""
    st.header(literal(spec.title), anchor=False)
    st.text(one_line(spec.summary))
    st.markdown(f"**{literal(config)}.** " + prose(spec.configs[config].description))
    path, picture = hub.picture(spec.name, config), spec.picture_of(config)
    if path is not None and picture is not None:
        with st.expander("Examples", expanded=gallery is None):
            st.image(str(path), caption=literal(picture.caption), alt=picture.caption)
    facts = {
        "licence": spec.licence,
        "version": str(spec.version),
        "samples": f"{spec.configs[config].rows:,}",
        "fingerprint": gallery.manifest.fingerprint[:12] if gallery else None,
        "used by": ", ".join(_benchmarks(hub, spec.name, config)),
    }
    rows = [(name, one_line(value)) for name, value in facts.items() if value]
    st.dataframe(pd.DataFrame(rows, columns=["what", "value"]), hide_index=True, key="data-facts")
    with st.expander("Sources and how to cite"):
        for citation in spec.citations:
            address = web_address(citation.doi or citation.url)
            title = literal(citation.title)
            st.markdown(f"- [{title}]({address})" if address else f"- {title}")
        st.code(bibtex(spec, config, gallery), language=None)
    st.markdown("**Download, or build if no remote is set**")
    st.code(commands(spec, config), language="bash", wrap_lines=True)


def _benchmarks(hub: Hub, dataset: str, config: str) -> list[str]:
    """Benchmarks that read a config."""
    names = []
    for name in hub.benchmarks():
        try:
            spec = hub.benchmark(name)
        except UserError:
            # Another benchmark's broken card is no reason to show nothing here.
            continue
        tracks = spec.tracks.values()
        if spec.dataset == dataset and any(track.config == config for track in tracks):
            names.append(name)
    return names


def bibtex(spec: DatasetSpec, config: str, gallery: Gallery | None) -> str:
    """A BibTeX entry for the data, which names their release."""
    lines = [
        f"@misc{{etchmark-{spec.name},",
        f"  title        = {{{spec.title}}},",
        "  author       = {{The etchmark authors}},",
        f"  howpublished = {{etchmark, dataset {spec.name}, configuration {config}}},",
        f"  note         = {{version {spec.version}"
        + (f", fingerprint {gallery.manifest.fingerprint[:12]}" if gallery else "")
        + "},",
        "}",
    ]
    return plain_lines("\n".join(lines))


def commands(spec: DatasetSpec, config: str) -> str:
    """Shell and Python that do what the page does."""
    name = f"{spec.name}:{config}"
    return (
        f"etchmark download {name} --out {spec.name}-{config}\n"
        f"python -c \"import datasets; print(datasets.load_dataset('./{spec.name}-{config}'))\""
    )


def show_downloads(spec: DatasetSpec, config: str, gallery: Gallery) -> None:
    """A button per split."""
    if spec.configs[config].own_use:
        st.caption(
            "These files cannot be downloaded from this page because their sources state no"
            " licence. The command above fetches them from there, for your own use."
        )
        return
    with st.container(horizontal=True):
        for split in gallery.splits:
            if gallery.size(split) <= MAX_BYTES:
                _show_button(gallery, split)
    too_large = [split for split in gallery.splits if gallery.size(split) > MAX_BYTES]
    if too_large:
        st.caption(f"Too large for this page: {', '.join(too_large)}. Use the commands above.")


def _show_button(gallery: Gallery, split: str) -> None:
    name = gallery.file_name(split)
    zipped = name.endswith(".zip")
    st.download_button(
        f"{split} ({_size(gallery.size(split))})",
        # A function: the files are read on a click, not whenever the page is shown.
        lambda: gallery.packed(split),
        file_name=name,
        mime="application/zip" if zipped else "application/vnd.apache.parquet",
        icon=":material/download:",
        on_click="ignore",
        key=f"have-{split}",
    )


def _size(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 1 << 20 else f"{max(1, round(size / 1024))} KiB"
