"""The picture on a benchmark's card: its dataset, some samples, or the distribution of labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from dashboard import cached
from dashboard.cached import content_key
from dashboard.charts.distributions import small_histogram
from dashboard.views import view_of
from dashboard.wording import with_unit
from etchmark.api import Gallery, Hub
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec, DatasetSpec

MAX_RATIO = 0.5
"""Height of a picture over its width, at most."""
IN_A_STRIP, SIDE, GAP = 3, 160, 12


def show(hub: Hub, spec: BenchmarkSpec, leader: str | None) -> None:
    """A picture of what the benchmark reads, or of its labels where there is none.

    ``leader`` is a submission, whose table has the labels it was scored with.
    """
    try:
        dataset = hub.dataset(spec.dataset)
    except UserError:
        # The dataset's page says what is wrong with its card.
        return
    configs = list(dict.fromkeys(track.config for track in spec.tracks.values()))
    illustration = (
        _from_card(hub, dataset, configs)
        or _from_samples(hub, spec, configs)
        or _from_labels(hub, spec, leader)
    )
    if illustration is not None:
        picture, description = illustration
        st.image(picture, alt=description, width="stretch")


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
            return strip, f"{IN_A_STRIP} samples of {spec.dataset}:{config}"
    return None


@st.cache_data(max_entries=16, show_spinner=False)
def _strip(_gallery: Gallery, content: str) -> np.ndarray:
    """Samples from all over the first split, side by side, shape (side, width, 4)."""
    split = _gallery.splits[0]
    rows = np.linspace(0, len(_gallery.table(split)) - 1, IN_A_STRIP + 2)[1:-1].astype(int)
    image = Image.new("RGBA", (IN_A_STRIP * (SIDE + GAP) - GAP, SIDE))
    for column, row in enumerate(rows.tolist()):
        pixels = _gallery.thumbnail(split, row)
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
