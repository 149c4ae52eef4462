"""Samples of a dataset, and pictures of predictions, to look at."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from etchmark.api.content import stamp
from etchmark.catalog import Catalog
from etchmark.data.gallery import Gallery
from etchmark.data.loading import read_config
from etchmark.data.packaging import MANIFEST
from etchmark.scoring.samples import SampleScores
from etchmark.targets.frames.rollouts import Rollout, decode


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


def kept_rollout(scores: SampleScores) -> Rollout | None:
    """The picture that was kept of one predicted sequence of frames; None if there is none."""
    picture = scores.outcome.picture
    return None if picture is None else decode(str(scores.ids[0]), picture)
