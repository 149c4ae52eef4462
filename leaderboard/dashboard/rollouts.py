"""Pictures of predicted frames: truth, prediction and their difference at a few horizons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image, ImageColor, ImageDraw, ImageFont

from dashboard.parts import entry, literal, row_names
from dashboard.plots import BLUE, VERMILION
from etchmark.boards.standings import sample_scores
from etchmark.errors import UserError
from etchmark.registry.store import Store
from etchmark.specs import BenchmarkSpec
from etchmark.targets.frames.rollouts import Rollout, decode

SIDE, GAP, LINE = 160, 8, 26
"""Pixels of a frame, between frames, and of a line of text."""
TEXT = (128, 128, 128, 255)
"""Grey that is read on a light and on a dark page."""
FULL = (0.05, 0.1, 0.2, 0.5)
"""Differences at which their colour is full: the first that is not exceeded, or the last."""
SHOWN, MOST = 3, 6


def show_one(rollout: Rollout, split: str) -> None:
    """The picture of one model, with what it shows."""
    full = fullest([rollout])
    st.image(picture([("", rollout)], full), width="stretch")
    st.caption(literal(caption(rollout, split, full)))


def show(spec: BenchmarkSpec, store: Store, ranked: pd.DataFrame, protocol: str) -> None:
    """Some models of the board, one below the other; nothing unless the benchmark has frames."""
    if spec.target.kind != "frames":
        return
    rows = row_names(ranked)
    picked = st.multiselect(
        "Models",
        list(rows),
        default=list(rows)[:SHOWN],
        max_selections=MOST,
        key=f"rollout-models-{spec.id}-{protocol}",
        format_func=lambda one: rows.get(one) or str(one),
    )
    split = spec.protocols[protocol].split
    drawn, without = [], []
    for one in picked:
        found = entry(store, one)
        try:
            samples = None if found is None else sample_scores(found, split)
        except UserError as error:
            # The other models can be drawn all the same.
            st.warning(literal(str(error)))
            samples = None
        if samples is None or samples.outcome.picture is None:
            without.append(rows[one])
        else:
            picture_of = decode(str(samples.ids[0]), samples.outcome.picture)
            drawn.append((rows[one], picture_of))
    # All show the first sample of the split; a board that changed its data in between would not.
    drawn = [one for one in drawn if np.array_equal(one[1].truth, drawn[0][1].truth)]
    if drawn:
        full = fullest([one for _, one in drawn])
        st.image(picture(drawn, full), width="stretch")
        st.caption(literal(caption(drawn[0][1], split, full)))
    if without:
        st.caption(literal(f"No picture was kept of {', '.join(without)}."))


def caption(rollout: Rollout, split: str, full: float) -> str:
    return (
        f"The first trajectory of split {split} ({rollout.sample}), the same for every model."
        f" Difference is prediction minus truth: blue below, red above, full colour from {full:g};"
        " pictures have 256 levels, so a difference below 0.004 may not be seen."
    )


def fullest(drawn: Sequence[Rollout]) -> float:
    """The difference at which its colour is full, one for all, so that they can be compared."""
    most = max(float(np.abs(one.difference()).max()) for one in drawn)
    return next((one for one in FULL if most <= one), FULL[-1])


def coloured(difference: np.ndarray, full: float) -> np.ndarray:
    """White where there is none, towards red above and blue below, shape (..., 3), uint8."""
    share = np.clip(np.abs(difference) / full, 0, 1)[..., None]
    red, blue = (np.array(ImageColor.getrgb(one)) for one in (VERMILION, BLUE))
    whole = np.where(difference[..., None] > 0, red, blue)
    return (255 + share * (whole - 255)).round().astype(np.uint8)


def picture(drawn: Sequence[tuple[str, Rollout]], full: float) -> Image.Image:
    """The truth above, then prediction and difference of every model; one column per horizon."""
    first = drawn[0][1]
    strips: list[tuple[str, np.ndarray]] = [("truth", first.truth)]
    for name, one in drawn:
        of = f"{name}: " if name else ""
        strips.append((f"{of}prediction", one.predicted))
        strips.append((f"{of}difference", coloured(one.difference(), full)))
    width = len(first.ahead) * (SIDE + GAP) - GAP
    image = Image.new("RGBA", (width, LINE + len(strips) * (LINE + SIDE + GAP)))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=17)
    for column, ahead in enumerate(first.ahead):
        centre = column * (SIDE + GAP) + SIDE // 2
        pen.text((centre, 2), f"{ahead} ahead", TEXT, font, anchor="ma")
    for row, (name, frames) in enumerate(strips):
        top = LINE + row * (LINE + SIDE + GAP)
        pen.text((0, top + 2), name, TEXT, font)
        for column, frame in enumerate(frames):
            cell = Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            left = column * (SIDE + GAP)
            image.paste(cell.convert("RGBA"), (left, top + LINE))
            # A difference that is nowhere seen is a white picture, and none is missing.
            pen.rectangle((left, top + LINE, left + SIDE - 1, top + LINE + SIDE - 1), outline=TEXT)
    return image
