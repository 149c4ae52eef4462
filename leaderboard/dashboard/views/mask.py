"""Masks: overlap of each class, overlap of each image, confusion, and pictures of some images."""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.charts.classes import class_plot
from dashboard.charts.distributions import histogram, summary
from dashboard.charts.images import enlarged, framed
from dashboard.charts.masks import (
    CELL,
    coloured,
    errors_shown,
    legend,
    overlaid,
    picture,
    zoomable,
)
from dashboard.charts.matrices import confusion_plot, row_shares
from dashboard.page import show_figure, show_table
from dashboard.text import literal, shortened
from dashboard.views.base import TargetView, classes_of, show_by_class
from etchmark.api import (
    Comparison,
    Estimate,
    Gallery,
    Pictures,
    SampleScores,
    grey,
    kept_pictures,
    ratio,
)
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec
from etchmark.text import number

MEAN_IOU = "mean IoU"
PREDICTION, TRUTH, WRONG = "prediction", "truth", "wrong pixels"


class MaskView(TargetView):
    def show_against_truth(self, alone: Comparison, scores: SampleScores) -> None:
        spec, classes = alone.spec, classes_of(alone.spec)
        estimates = overlap(scores, classes)
        st.markdown("**Overlap by class**")
        figure = class_plot(classes, {"IoU": estimates}, "IoU (higher is better)")
        show_figure(figure, "class-iou")
        st.caption(
            "Intersection over union of the pixels of a class over all images. Bars are 95 %"
            f" intervals over {spec.unit_names}."
        )
        table = class_table(scores, classes, estimates)
        st.dataframe(table, hide_index=True, key="class-iou-table")

    def show_details(
        self, alone: Comparison, scores: SampleScores, gallery: Gallery | None
    ) -> None:
        _show_pictures(alone.spec, scores, gallery)
        left, right = st.columns(2, gap="large")
        with left:
            _show_images(scores)
        with right:
            _show_confusion(alone.spec, scores)

    def show_side_by_side(self, comparison: Comparison) -> None:
        show_by_class(comparison, overlap, "IoU", "class-overlap")

    def draws(self, gallery: Gallery) -> bool:
        return bool(gallery.masks)

    def show_sample(self, gallery: Gallery, split: str, row: int) -> None:
        for name, count in gallery.masks.items():
            pixels = gallery.cell(split, name, row)
            image = framed(enlarged(coloured(pixels, count)))
            st.image(image, caption=literal(name), alt=f"{name} of the sample in colours")
            st.image(legend([str(at) for at in range(count)], wrong=False), alt="classes")


def _pixels(scores: SampleScores, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of a class in both, in the truth and in the prediction, shape (seeds, samples)."""
    return cast(
        "tuple[np.ndarray, np.ndarray, np.ndarray]",
        tuple(scores.terms[f"{term}_{name}"] for term in ("hit", "true", "predicted")),
    )


def overlap(scores: SampleScores, classes: list[str]) -> list[Estimate]:
    """Intersection over union of each class over all images."""
    estimates = []
    for name in classes:
        hit, true, predicted = _pixels(scores, name)
        estimates.append(ratio(scores, hit, true + predicted - hit))
    return estimates


def class_table(
    scores: SampleScores, classes: list[str], estimates: list[Estimate]
) -> pd.DataFrame:
    """One row per class: images that show it, its share of the pixels, and its scores."""
    rows = []
    for name, estimate in zip(classes, estimates, strict=True):
        hit, true, predicted = _pixels(scores, name)
        rows.append(
            {
                "class": name,
                "images": int((true[0] > 0).sum()),
                "pixels / %": 100 * float(true[0].sum() / scores.terms["n"][0].sum()),
                "IoU": estimate.value,
                "ci_low": estimate.low,
                "ci_high": estimate.high,
                "recall": ratio(scores, hit, true).value,
                "precision": ratio(scores, hit, predicted).value,
            }
        )
    return pd.DataFrame(rows)


def image_overlap(scores: SampleScores, classes: list[str]) -> np.ndarray:
    """Mean IoU of each image over the classes that occur in it, shape (seeds, samples)."""
    values = []
    for name in classes:
        hit, true, predicted = _pixels(scores, name)
        union = true + predicted - hit
        with np.errstate(invalid="ignore", divide="ignore"):
            values.append(np.where(union > 0, hit / union, np.nan))
    return np.nanmean(values, axis=0)


def _show_images(scores: SampleScores) -> None:
    classes = [name.removeprefix("true_") for name in scores.terms if name.startswith("true_")]
    values = image_overlap(scores, classes).mean(axis=0)
    frame = pd.DataFrame({"id": scores.ids, MEAN_IOU: values})
    st.markdown("**Overlap by image**")
    show_figure(histogram(frame, MEAN_IOU, None), "image-iou")
    st.caption("Mean IoU over the classes that occur in an image; mean over seeds.")
    st.dataframe(summary(frame, MEAN_IOU, None), hide_index=True, key="image-iou-summary")
    shown = frame.sort_values([MEAN_IOU, "id"], kind="stable")
    show_table(shown.assign(id=[shortened(str(name), 60) for name in shown["id"]]), "image-iou")


def confusion(scores: SampleScores, count: int) -> np.ndarray | None:
    """Pixels by true class and by predicted class over all seeds; None where they were not kept."""
    kept = scores.outcome.outputs.get("confusion")
    if kept is None or kept.shape[-1] != count**2:
        return None
    return kept.sum(axis=(0, 1), dtype=np.int64).reshape(count, count)


def _show_confusion(spec: BenchmarkSpec, scores: SampleScores) -> None:
    classes = classes_of(spec)
    counts = confusion(scores, len(classes))
    if counts is None:
        return
    st.markdown("**Confusion of pixels**")
    show_figure(confusion_plot(counts, classes), "confusion")
    seeds = f" under {len(scores.seeds)} seeds" if len(scores.seeds) > 1 else ""
    st.caption(
        f"{counts.sum():,} pixels of {len(scores.ids):,} images{seeds}: how many of each true class"
        " (row) were predicted as each class (column), and their share of the row."
    )
    columns: dict[str, object] = {"true class": classes, "pixels": counts.sum(axis=1)}
    percent = 100 * row_shares(counts)
    columns |= {f"as {name} / %": percent[:, at] for at, name in enumerate(classes)}
    show_table(pd.DataFrame(columns), "confusion-table")


def _show_pictures(spec: BenchmarkSpec, scores: SampleScores, gallery: Gallery | None) -> None:
    try:
        pictures = kept_pictures(scores)
    except UserError as error:
        st.warning(literal(str(error)))
        return
    if pictures is None:
        return
    classes = classes_of(spec)
    st.markdown("**Images from worst to best**")
    described = described_pictures(pictures, scores, classes)
    st.image(picture(pictures, len(classes)), width=CELL * len(pictures.titles), alt=described)
    st.image(legend(classes), width=600, alt="colours of the classes")
    st.caption(literal(described))
    _show_overlay(spec, scores, pictures, gallery)


def ground_of(
    gallery: Gallery, spec: BenchmarkSpec, split: str, sample: str, sides: tuple[int, ...]
) -> np.ndarray | None:
    """The grey picture that a mask was drawn on, cut to the part that is kept of predictions.

    Args:
        gallery: the data.
        spec: the benchmark.
        split: of the sample.
        sample: its id.
        sides: of what is kept, from the upper left corner.
    """
    names = [name for name in gallery.kinds.pictures if name not in gallery.masks]
    names = [name for name in names if name != spec.target.column]
    ids = [str(name) for name in gallery.columns(split)["id"]]
    if not names or sample not in ids:
        return None
    ground = grey(gallery.cell(split, names[0], ids.index(sample)))
    if ground.ndim != 2 or any(side < kept for side, kept in zip(ground.shape, sides, strict=True)):
        return None
    return ground[: sides[0], : sides[1]]


def _show_overlay(
    spec: BenchmarkSpec, scores: SampleScores, pictures: Pictures, gallery: Gallery | None
) -> None:
    """The micrograph with a mask on it that can be made more or less transparent."""
    if gallery is None:
        st.caption(
            "The micrographs themselves are not on this machine. To get them:"
            f" `etchmark download {spec.id}`."
        )
        return
    left, middle, right = st.columns(3)
    title = left.segmented_control(
        "Image", pictures.titles, default=pictures.titles[0], key="overlay-image"
    )
    shown = middle.segmented_control(
        "On it", (PREDICTION, TRUTH, WRONG), default=PREDICTION, key="overlay-mask"
    )
    share = right.slider("Opacity / %", 0, 100, 40, 5, key="overlay-opacity") / 100
    place = pictures.titles.index(title or pictures.titles[0])
    truth, predicted = pictures.truth[place], pictures.predicted[place]
    ground = ground_of(gallery, spec, scores.split, pictures.samples[place], truth.shape)
    if ground is None:
        return
    count = len(classes_of(spec))
    if shown == WRONG:
        pixels = overlaid(ground, errors_shown(truth, predicted), share, truth != predicted)
    else:
        pixels = overlaid(ground, coloured(truth if shown == TRUTH else predicted, count), share)
    show_figure(zoomable(pixels), "overlay")
    st.caption("Draw a box to zoom in; a double click shows the whole image again.")


def described_pictures(pictures: Pictures, scores: SampleScores, classes: list[str]) -> str:
    """Which images are shown, and how well each is predicted under the first seed."""
    values = image_overlap(scores, classes)[0]
    row = {str(name): at for at, name in enumerate(scores.ids)}
    parts = [
        f"{title.capitalize()}: {shortened(sample, 40)}, mean IoU {number(values[row[sample]])}"
        for title, sample in zip(pictures.titles, pictures.samples, strict=True)
    ]
    return f"Split {scores.split}, first seed. {'; '.join(parts)}."


VIEW = MaskView()
