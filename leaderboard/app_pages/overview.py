"""What the hub holds: benchmarks with their leaders, datasets, the newest submissions."""

from __future__ import annotations

from pathlib import Path

import dashboard_parts as parts
import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image
from streamlit.delta_generator import DeltaGenerator

from etchmark.catalog import catalog
from etchmark.errors import UserError
from etchmark.present import number
from etchmark.registry.store import Store
from etchmark.scoring.metrics import metric as metric_by_id
from etchmark.specs import BenchmarkSpec

NEWEST = 8
IN_A_ROW = 3
# Height of a picture over its width. No text may stand alone in a page: it would be shown.
HIGHEST = 0.5


def main() -> None:
    if set(st.query_params) & set(parts.BOARD_KEYS):
        # A link to a board from when that was the first page.
        st.switch_page("app_pages/leaderboard.py", query_params=dict(st.query_params))
    st.title("etchmark", anchor=False)
    st.markdown(
        "Datasets, benchmarks and a leaderboard for machine learning on material microstructures:"
        " fixed splits, one harness that scores every model alike, and what the scores do and do"
        " not prove."
    )
    parts.follow_link()
    store = parts.open_store()
    names = parts.benchmark_names()
    show_counts(store, len(names))
    places: dict[str, DeltaGenerator] = {}
    for start in range(0, len(names), IN_A_ROW):
        for column, name in zip(
            st.columns(IN_A_ROW), names[start : start + IN_A_ROW], strict=False
        ):
            with column, st.container(border=True, height="stretch"), parts.guarded():
                show_benchmark(parts.benchmark(name), store, places)
    show_newest(store)
    # Ranks take longest: what can be read at once stands there before them.
    for name, place in places.items():
        with place, parts.guarded():
            st.markdown(parts.literal(contenders(parts.benchmark(name), store)))


def show_counts(store: Store, benchmarks: int) -> None:
    submissions, models = parts.counts(store)
    found = {
        "Benchmarks": benchmarks,
        "Datasets": len(catalog().dataset_names()),
        "Models": models,
        "Submissions": submissions,
    }
    with st.container(horizontal=True):
        for label, count in found.items():
            st.metric(label, f"{count:,}", border=True, width=150)


def show_benchmark(spec: BenchmarkSpec, store: Store, places: dict[str, DeltaGenerator]) -> None:
    st.markdown(f"**{parts.literal(spec.title)}**")
    picture = picture_of(spec)
    if picture is not None:
        st.image(banner(*picture), alt=picture[2], width="stretch")
    found = parts.board(spec, store, protocol=spec.headline, metric=spec.primary_metric)
    ranked = found.leaders()
    if len(ranked):
        st.markdown("  \n".join(leader(spec, ranked)))
        places[spec.id] = st.empty()
    else:
        st.markdown("No submission yet.")
    st.page_link(
        "app_pages/leaderboard.py",
        label="Leaderboard",
        icon=":material/leaderboard:",
        query_params={"benchmark": spec.id},
    )


@st.cache_data(max_entries=32, show_spinner=False)
def banner(path: str, changed: int, caption: str) -> bytes | np.ndarray:
    """A picture not much higher than its card allows: of a tall one its upper part."""
    with Image.open(path) as image:
        if getattr(image, "is_animated", False) or image.height <= HIGHEST * image.width:
            return Path(path).read_bytes()
        upper = image.convert("RGB").crop((0, 0, image.width, int(HIGHEST * image.width)))
        return np.asarray(upper)


def picture_of(spec: BenchmarkSpec) -> tuple[str, int, str] | None:
    """File, time of its last change and caption of the picture of what the benchmark reads."""
    try:
        dataset = catalog().dataset(spec.dataset)
        folder = catalog().dataset_folder(spec.dataset)
    except UserError:
        # The dataset's page says what is wrong with its card.
        return None
    found = [dataset.picture_of(track.config) for track in spec.tracks.values()]
    for one in found:
        if one is not None and (folder / one.file).is_file():
            path = folder / one.file
            return str(path), path.stat().st_mtime_ns, one.caption
    return None


def leader(spec: BenchmarkSpec, ranked: pd.DataFrame) -> list[str]:
    """Who is first, and how far that is from what the labels can tell."""
    first = ranked.to_dict("records")[0]
    unit = metric_by_id(spec.primary_metric).unit_for(spec.target.unit)
    score = number(first["score"]) + ("" if unit == "1" else f" {unit}")
    interval = f"{number(first['ci_low'])} … {number(first['ci_high'])}"
    lines = [
        f"{parts.literal(parts.shortened(first['model'], 60))}: "
        f"{parts.literal(spec.primary_metric)} **{parts.literal(score)}**"
        f" ({parts.literal(interval)})"
    ]
    floor = spec.label_uncertainty
    split = spec.protocols[spec.headline].split
    if floor is not None and floor.holds_for(spec.primary_metric, split):
        times = float(f"{first['score'] / floor.value:.2g}")
        lines.append(f"{times:,g} times the uncertainty of the labels")
    return lines


def contenders(spec: BenchmarkSpec, store: Store) -> str:
    """How many there are, and how many of them the data do not keep from the first place."""
    ranked = parts.standings(
        spec, store, track=None, protocol=spec.headline, metric=spec.primary_metric
    )
    count = f"{len(ranked):,} {'submission' if len(ranked) == 1 else 'submissions'} ranked"
    tied = ranked["rank_low"].tolist().count(1)
    return count if len(ranked) == 1 else f"{count}, {tied} may be first"


def show_newest(store: Store) -> None:
    newest = parts.newest(store, NEWEST)
    if newest.empty:
        return
    st.subheader("Newest submissions", anchor=False)
    st.dataframe(newest, hide_index=True, key="newest")


main()
