"""The picture of a benchmark: its dataset, some samples, or the distribution of its labels."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from urllib.parse import quote

import numpy as np
import streamlit as st
from PIL import Image

from dashboard import cached
from dashboard.cached import content_key
from dashboard.charts.distributions import small_histogram
from dashboard.charts.shades import thumbnail, thumbnail_in_words
from dashboard.text import literal
from dashboard.views import view_of
from dashboard.wording import with_unit
from etchmark.api import Gallery, Hub
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec, DatasetSpec

MAX_RATIO = 0.5
"""Height of a picture over its width, at most."""
IN_A_STRIP, SIDE, GAP = 3, 160, 12
SMALL = (288, 144)
"""Largest width and height of a picture in a table, which shows it at half this size."""

Illustration = tuple[bytes | np.ndarray | str, str]
"""A picture, and what it shows."""


def show(illustration: Illustration) -> None:
    """A picture as ``find`` gives it; what is written below tells what the colours stand for."""
    picture, description = illustration
    st.image(picture, alt=description, caption=literal(description), width="stretch")


def how_to_get(hub: Hub, spec: BenchmarkSpec) -> str | None:
    """Why there is no picture, and the command that gets the data; None if they are here."""
    if any(cached.gallery_of(hub, spec, name) for name in spec.tracks):
        return None
    return (
        f"No picture: the data are not on this machine. To get them: `etchmark download {spec.id}`."
    )


def address(hub: Hub, spec: BenchmarkSpec, leader: str | None) -> tuple[str, str] | None:
    """The same picture, small, as an address that holds it, and what it shows."""
    illustration = find(hub, spec, leader)
    if illustration is None:
        return None
    picture, description = illustration
    if isinstance(picture, str):
        return f"data:image/svg+xml,{quote(picture)}", description
    return _small(picture), description


@st.cache_data(max_entries=64, show_spinner=False)
def _small(picture: bytes | np.ndarray) -> str:
    with (
        Image.open(io.BytesIO(picture))
        if isinstance(picture, bytes)
        else Image.fromarray(picture) as image
    ):
        shown = image.convert("RGB")
    shown.thumbnail(SMALL)
    stream = io.BytesIO()
    shown.save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def find(hub: Hub, spec: BenchmarkSpec, leader: str | None) -> Illustration | None:
    """A picture of what the benchmark reads, or of its labels where there is none.

    ``leader`` is a submission, whose table has the labels it was scored with.
    """
    try:
        dataset = hub.dataset(spec.dataset)
    except UserError:
        # The dataset's page says what is wrong with its card.
        return None
    configs = list(dict.fromkeys(track.config for track in spec.tracks.values()))
    return (
        _from_card(hub, dataset, configs)
        or _from_samples(hub, spec, configs)
        or _from_labels(hub, spec, leader)
    )


def _from_card(
    hub: Hub, dataset: DatasetSpec, configs: list[str]
) -> tuple[bytes | np.ndarray, str] | None:
    """The picture in the dataset's folder."""
    for config in configs:
        path, picture = hub.picture(dataset.name, config), dataset.picture_of(config)
        if path is not None and picture is not None:
            return _banner(str(path), path.stat().st_mtime_ns), picture.caption
    return None


@st.cache_data(max_entries=32, show_spinner=False)
def _banner(path: str, changed: int) -> bytes | np.ndarray:
    """A picture that fits its card; only the upper part of a tall one."""
    with Image.open(path) as image:
        if getattr(image, "is_animated", False) or image.height <= MAX_RATIO * image.width:
            return Path(path).read_bytes()
        upper = image.convert("RGB").crop((0, 0, image.width, int(MAX_RATIO * image.width)))
        return np.asarray(upper)


def _from_samples(
    hub: Hub, spec: BenchmarkSpec, configs: list[str]
) -> tuple[np.ndarray, str] | None:
    """Samples of a config that is on this machine and has something to look at."""
    for config in configs:
        gallery = hub.gallery(spec.dataset, config)
        if gallery is not None and any(gallery.kinds[1:]):
            strip = _strip(gallery, content_key(gallery))
            shades = thumbnail_in_words(gallery, gallery.splits[0], 0)
            return strip, f"{IN_A_STRIP} samples of {spec.dataset}:{config}. {shades}".rstrip()
    return None


@st.cache_data(max_entries=16, show_spinner=False)
def _strip(_gallery: Gallery, content: str) -> np.ndarray:
    """Samples from all over the first split, side by side, shape (side, width, 4)."""
    split = _gallery.splits[0]
    rows = np.linspace(0, len(_gallery.table(split)) - 1, IN_A_STRIP + 2)[1:-1].astype(int)
    image = Image.new("RGBA", (IN_A_STRIP * (SIDE + GAP) - GAP, SIDE))
    for column, row in enumerate(rows.tolist()):
        pixels = thumbnail(_gallery, split, row)
        if pixels is not None:
            # The upper left corner: scaled down, fine structures would turn grey.
            cut = Image.fromarray(pixels).convert("RGB")
            side = min(max(SIDE, min(cut.size) // 2), *cut.size)
            cut = cut.crop((0, 0, side, side)).resize((SIDE, SIDE))
            image.paste(cut, (column * (SIDE + GAP), 0))
    return np.asarray(image)


def _from_labels(hub: Hub, spec: BenchmarkSpec, leader: str | None) -> tuple[str, str] | None:
    """The distribution of the labels that a submission was scored with, if they are numbers."""
    entry = None if leader is None else cached.entry(hub, leader)
    try:
        split = spec.protocols[spec.headline].split
        scores = None if entry is None else hub.samples(entry, split)
    except UserError:
        # The model's page says what is wrong with its table.
        return None
    labels = None if scores is None else view_of(spec).labels(scores)
    if labels is None:
        return None
    title = with_unit(spec.target.quantity, spec.target.unit)
    return small_histogram(labels, title), f"{title} of {len(labels)} samples"
