"""Samples of a dataset, and pictures of predictions, to look at."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from etchmark.api.content import stamp
from etchmark.api.types import Estimate
from etchmark.catalog import Catalog
from etchmark.data.gallery import Gallery
from etchmark.data.loading import read_config
from etchmark.data.packaging import MANIFEST
from etchmark.errors import UserError
from etchmark.scoring import intervals, uncertainty
from etchmark.scoring.samples import SampleScores
from etchmark.targets import Metric, kind_named
from etchmark.targets.pictures import Pictures
from etchmark.targets.scales import LOG, LOGIT


@lru_cache(maxsize=16)
def _gallery(folder: Path, dataset: str, config: str, stamp: tuple[int, int, int]) -> Gallery:
    return Gallery(folder, read_config(folder, dataset, config))


def gallery(folder: Path, dataset: str, config: str) -> Gallery:
    """What a built config holds; kept until its manifest changes, with the columns it has read."""
    return _gallery(folder, dataset, config, stamp(folder / MANIFEST))


def picture(catalog: Catalog, dataset: str, config: str) -> Path | None:
    """The picture of a config that is shipped beside the dataset's card, if there is one."""
    declared = catalog.dataset(dataset).picture_of(config)
    if declared is None:
        return None
    path = catalog.dataset_folder(dataset) / declared.file
    return path if path.is_file() else None


def kept_pictures(scores: SampleScores) -> Pictures | None:
    """The pictures of predictions that are kept with a submission; None if there are none.

    Raises:
        UserError: they are damaged.
    """
    content = scores.outcome.picture
    if content is None:
        return None
    try:
        return kind_named(scores.kind).pictures(content, scores.ids.tolist())
    except ValueError as error:
        raise UserError(
            f"the stored pictures of split {scores.split!r} are damaged ({error}); submit again"
        ) from None


def ratio(
    scores: SampleScores, part: np.ndarray, whole: np.ndarray, *, share: bool = True
) -> Estimate:
    """Σ part / Σ whole over the samples, mean over seeds, with its interval.

    The interval is that of any score, over the units of the benchmark that hold a part of the
    whole.

    Args:
        scores: whose samples they are.
        part: shape (seeds, samples), nowhere negative.
        whole: the same shape.
        share: the ratio is between 0 and 1, such as an accuracy; otherwise it is an error.
    """
    quotient = Metric(
        id="ratio",
        title="Ratio",
        unit="1",
        higher_is_better=True,
        finish=lambda s: s["part"] / s["whole"],
        definition="",
        terms=("part", "whole"),
        counted_by="whole",
        scale=LOGIT if share else LOG,
    )
    sums = uncertainty.unit_sums({"part": part, "whole": whole}, scores.units)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(uncertainty.score(quotient, sums).mean())
        low, high = intervals.interval(quotient, sums) or (np.nan, np.nan)
    return Estimate(value, low, high)
