"""What a benchmark's card shows: a picture of the dataset, its samples or how their labels lie."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from dashboard import parts
from dashboard.plots import BLUE, GREY
from etchmark.boards.standings import sample_scores
from etchmark.catalog import catalog
from etchmark.data.gallery import Gallery
from etchmark.errors import UserError
from etchmark.registry.store import Store
from etchmark.specs import BenchmarkSpec, DatasetSpec
from etchmark.text import number

HIGHEST = 0.5
"""Height of a picture over its width."""
IN_A_STRIP, SIDE, GAP = 3, 160, 12
BINS = 24


def show(spec: BenchmarkSpec, store: Store, leader: str | None) -> None:
    """A picture of what the benchmark reads; of its labels where there is none to be had.

    ``leader`` is a submission, which holds the labels it was scored with.
    """
    try:
        dataset = catalog().dataset(spec.dataset)
    except UserError:
        # The dataset's page says what is wrong with its card.
        return
    configs = list(dict.fromkeys(track.config for track in spec.tracks.values()))
    found = _kept(dataset, configs) or _seen(spec, configs) or _spread(spec, store, leader)
    if found is not None:
        picture, told = found
        st.image(picture, alt=told, width="stretch")


def _kept(dataset: DatasetSpec, configs: list[str]) -> tuple[bytes | np.ndarray, str] | None:
    """The picture that stands beside the dataset's card."""
    folder = catalog().dataset_folder(dataset.name)
    for one in map(dataset.picture_of, configs):
        if one is not None and (folder / one.file).is_file():
            path = folder / one.file
            return banner(str(path), path.stat().st_mtime_ns), one.caption
    return None


@st.cache_data(max_entries=32, show_spinner=False)
def banner(path: str, changed: int) -> bytes | np.ndarray:
    """A picture not much higher than its card allows: of a tall one its upper part."""
    with Image.open(path) as image:
        if getattr(image, "is_animated", False) or image.height <= HIGHEST * image.width:
            return Path(path).read_bytes()
        upper = image.convert("RGB").crop((0, 0, image.width, int(HIGHEST * image.width)))
        return np.asarray(upper)


def _seen(spec: BenchmarkSpec, configs: list[str]) -> tuple[np.ndarray, str] | None:
    """Samples of a config that is on this machine and has something to look at."""
    for config in configs:
        found = parts.gallery(spec.dataset, config)
        if found is not None and any(found.kinds[1:]):
            strip = _strip(found, f"{found.folder} {found.manifest.fingerprint}")
            return strip, f"{IN_A_STRIP} samples of {spec.dataset}:{config}"
    return None


@st.cache_data(max_entries=16, show_spinner=False)
def _strip(_found: Gallery, known: str) -> np.ndarray:
    """Samples from all over the first split, side by side, shape (side, width, 4)."""
    split = _found.splits[0]
    rows = np.linspace(0, len(_found.table(split)) - 1, IN_A_STRIP + 2)[1:-1].astype(int)
    image = Image.new("RGBA", (IN_A_STRIP * (SIDE + GAP) - GAP, SIDE))
    for at, row in enumerate(rows.tolist()):
        pixels = _found.thumbnail(split, row)
        if pixels is not None:
            # The upper left corner: reduced, fine structures would turn grey.
            cut = Image.fromarray(pixels).convert("RGB")
            side = min(max(SIDE, min(cut.size) // 2), *cut.size)
            cut = cut.crop((0, 0, side, side)).resize((SIDE, SIDE))
            image.paste(cut, (at * (SIDE + GAP), 0))
    return np.asarray(image)


def _spread(spec: BenchmarkSpec, store: Store, leader: str | None) -> tuple[str, str] | None:
    """How the labels lie that a submission was scored with; None unless they are numbers."""
    entry = None if leader is None else parts.entry(store, leader)
    try:
        split = spec.protocols[spec.headline].split
        samples = None if entry is None else sample_scores(entry, split)
    except UserError:
        # The model's page says what is wrong with its table.
        return None
    if samples is None or samples.target is None:
        return None
    target = spec.target
    title = target.quantity if target.unit == "1" else f"{target.quantity} / {target.unit}"
    return spread(samples.target, title), f"{title} of {len(samples.target)} samples"


def spread(values: np.ndarray, title: str) -> str:
    """A histogram as SVG with its ends and its title below, in colours for any ground."""
    counts, edges = np.histogram(values, bins=min(BINS, max(5, int(2 * np.sqrt(len(values))))))
    wide, high, foot = 480.0, 150.0, 30.0
    step, scale = wide / len(counts), high / max(1, int(counts.max()))
    bars = "".join(
        f"<rect x='{at * step + 1:.1f}' y='{high - count * scale:.1f}' width='{step - 2:.1f}'"
        f" height='{count * scale:.1f}' fill='{BLUE}'/>"
        for at, count in enumerate(counts.tolist())
    )
    said = (
        (0.0, "start", number(edges[0])),
        (wide / 2, "middle", title),
        (wide, "end", number(edges[-1])),
    )
    texts = "".join(
        f"<text x='{x:.0f}' y='{high + 22:.0f}' text-anchor='{anchor}' font-size='17'"
        f" font-family='sans-serif' fill='{GREY}'>{html.escape(text)}</text>"
        for x, anchor, text in said
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {wide:.0f} {high + foot:.0f}'"
        f" width='{wide:.0f}' height='{high + foot:.0f}'>"
        f"<path d='M0 {high:.0f}H{wide:.0f}' stroke='{GREY}'/>{bars}{texts}</svg>"
    )
