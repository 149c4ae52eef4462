"""Masks: metrics against scikit-learn, scikit-image and scipy, and the journey of a toy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage, stats
from scipy.spatial import cKDTree
from sklearn import metrics as peers

from etchmark.columns import Columns
from etchmark.errors import UserError
from etchmark.specs.targets import MaskTarget
from etchmark.targets import check_metrics, kind_named, metric
from etchmark.targets.base import Job, Outcome
from etchmark.targets.labels import Truth
from etchmark.targets.mask import MAX_SIDE, SAMPLES
from etchmark.targets.mask.metrics import area_bins, boundary_f1, confusion, mask_terms, mean_iou
from etchmark.targets.pictures import to_png

CLASSES = ["matrix", "precipitate", "pore"]
COMMON = {"column": "y", "quantity": "q", "symbol": "Y", "unit": "1", "classes": CLASSES}
TARGET = MaskTarget.model_validate({**COMMON, "particles": "precipitate"})
KIND = kind_named("mask")
ALL = [
    "mean_iou", "mean_iou_of_images", "iou:pore", "pixel_accuracy", "pixel_error", "boundary_f1",
    "area_fraction_error", "area_error:pore", "particle_size_ks", "particle_size_wasserstein",
]  # fmt: skip


def images(count: int = 4, side: int = 48, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Blobs of three classes, and the same shifted and with noise."""
    generator = np.random.default_rng(5)
    smooth = ndimage.gaussian_filter(generator.normal(size=(count, side, side)), (0, 2, 2))
    limits = np.quantile(smooth, np.linspace(0, 1, classes + 1)[1:-1])
    truth = np.digitize(smooth, limits).astype(np.uint8)
    other = np.roll(truth, 1, axis=2)
    noise = generator.random(truth.shape) < 0.03
    return truth, np.where(noise, generator.integers(0, classes, truth.shape), other).astype(
        np.uint8
    )


class Given:
    """Predictions of a file that is read twice."""

    def __init__(self, predicted: np.ndarray) -> None:
        self.ids = np.array([f"image-{row}" for row in range(len(predicted))], dtype=object)
        self._predicted = predicted

    def values(self) -> Iterator[tuple[int, np.ndarray]]:
        return enumerate(mask.ravel() for mask in self._predicted)


def measured(truth: np.ndarray, predicted: np.ndarray) -> Outcome:
    """What is kept of a split."""
    given = Given(predicted)
    job = Job(
        benchmark="toy",
        target=TARGET,
        metrics=["mean_iou"],
        truth=Truth(given.ids, truth, given.ids, None, None),
        columns=cast(Columns, None),  # A mask needs no column but the labels.
        training=lambda: iter(()),
        seeds=[0],
        order=np.arange(len(truth))[None],
        pictured=True,
    )
    return KIND.measure(Path("p"), cast(Any, given), {"test": job})["test"]


def sums(truth: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    terms = [
        mask_terms(one, other, CLASSES, "precipitate", ALL)
        for one, other in zip(truth, predicted, strict=True)
    ]
    return {name: np.sum([sample[name] for sample in terms]) for name in terms[0]}


def score(name: str, truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(metric(name).of(sums(truth, predicted)))


@pytest.mark.parametrize("classes", [2, 3])
def test_against_scikit_learn(classes: int) -> None:
    truth, predicted = images(classes=classes)
    flat = truth.ravel(), predicted.ravel()
    assert score("mean_iou", truth, predicted) == pytest.approx(
        peers.jaccard_score(*flat, average="macro"), rel=1e-12
    )
    assert score("pixel_accuracy", truth, predicted) == pytest.approx(peers.accuracy_score(*flat))
    assert score("pixel_error", truth, predicted) == pytest.approx(peers.zero_one_loss(*flat))
    each = peers.jaccard_score(*flat, average=None)
    for name, expected in zip(CLASSES, each, strict=False):
        assert score(f"iou:{name}", truth, predicted) == pytest.approx(expected, rel=1e-12)


# Two images of 2 x 4 pixels: the second is of one class, of which one pixel is missed.
BY_HAND = np.array([[[0, 0, 1, 1], [0, 0, 1, 2]], [[0, 0, 0, 0], [0, 0, 0, 0]]], dtype=np.uint8)
GUESSED = np.array([[[0, 0, 0, 1], [0, 0, 1, 1]], [[0, 0, 0, 0], [0, 0, 0, 1]]], dtype=np.uint8)


def test_pooled_and_image_by_image_by_hand() -> None:
    # Pooled: class 0 is hit 4 + 7 of 13, class 1 twice of 5, class 2 never of 1.
    pooled = (11 / 13 + 2 / 5 + 0) / 3
    assert score("mean_iou", BY_HAND, GUESSED) == pytest.approx(pooled, rel=1e-12)
    # Image by image: (4/5 + 2/4 + 0) / 3, and (7/8 + 0) / 2, which one stray pixel has halved.
    images_alone = ((4 / 5 + 2 / 4) / 3 + (7 / 8) / 2) / 2
    assert score("mean_iou_of_images", BY_HAND, GUESSED) == pytest.approx(images_alone, rel=1e-12)


def test_area_fractions_by_hand() -> None:
    # First image: one pixel more of 0, the same of 1, one less of 2, of 8; second: one from 0 to 1.
    assert score("area_error:matrix", BY_HAND, GUESSED) == pytest.approx(100 * (1 / 8 + 1 / 8) / 2)
    assert score("area_error:precipitate", BY_HAND, GUESSED) == pytest.approx(100 * (1 / 8) / 2)
    assert score("area_error:pore", BY_HAND, GUESSED) == pytest.approx(100 * (1 / 8) / 2)
    whole = 100 * (2 / 8 + 1 / 8 + 1 / 8) / 2 / 3
    assert score("area_fraction_error", BY_HAND, GUESSED) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("name", ["mean_iou", "iou:pore"])
def test_differences_of_units_add_up_to_that_of_the_scores(name: str) -> None:
    """The form that signs are given to: exact, and nothing comes from a unit where both agree."""
    truth, first = images(6)
    second = np.where(np.random.default_rng(2).random(truth.shape) < 0.2, 0, truth).astype(np.uint8)
    second[0] = first[0]
    made = metric(name)
    assert made.contrast is not None
    terms = [
        {
            key: np.array([sample[key] for sample in rows])
            for key in made.reads(KIND.term_names(TARGET))
        }
        for rows in (
            [
                mask_terms(one, other, CLASSES, None, [])
                for one, other in zip(truth, guess, strict=True)
            ]
            for guess in (first, second)
        )
    ]
    of_units = made.contrast(*terms)
    whole = score(name, truth, second) - score(name, truth, first)
    assert of_units.shape == (6,)
    assert of_units.sum() == pytest.approx(whole, abs=1e-12)
    assert abs(whole) > 0.01
    assert of_units[0] == 0.0


def test_boundaries_are_those_of_scikit_image() -> None:
    segmentation = pytest.importorskip("skimage.segmentation")
    truth, predicted = (image[0] for image in images(side=200))
    scores = []
    # 0.75 % of the diagonal of 200 x 200 pixels is 2.1, rounded up.
    for number in range(3):
        edges = [
            np.argwhere(segmentation.find_boundaries(image == number, connectivity=1, mode="inner"))
            for image in (truth, predicted)
        ]
        recall = (cKDTree(edges[1]).query(edges[0])[0] <= 3).mean()
        precision = (cKDTree(edges[0]).query(edges[1])[0] <= 3).mean()
        scores.append(2 * precision * recall / (precision + recall))
    assert boundary_f1(truth, predicted) == pytest.approx(np.mean(scores), rel=1e-12)


def test_boundaries_at_their_limits() -> None:
    truth = images()[0][0]
    assert boundary_f1(truth, truth) == 1.0
    uniform = np.zeros((8, 8), dtype=np.uint8)
    assert boundary_f1(uniform, uniform) == 1.0
    assert boundary_f1(uniform, uniform + 1) == 1.0, "neither image has a boundary"
    square = uniform.copy()
    square[3:5, 3:5] = 1
    assert boundary_f1(square, uniform) == 0.0


def test_particle_sizes_against_scipy() -> None:
    truth, predicted = images(side=96)
    areas = []
    for stack in (truth, predicted):
        found = []
        for image in stack:
            labels = ndimage.label(image == 1)[0]
            found += np.bincount(labels.ravel())[1:].tolist()
        areas.append(area_bins(np.array(found)).astype(float))
    expected = stats.ks_2samp(*areas).statistic
    assert 0 < expected < 1
    assert score("particle_size_ks", truth, predicted) == pytest.approx(expected, rel=1e-12)
    octaves = stats.wasserstein_distance(areas[0] / 4, areas[1] / 4)
    found = score("particle_size_wasserstein", truth, predicted)
    assert found == pytest.approx(octaves, rel=1e-12)


def test_particles_that_are_not_there() -> None:
    truth = images()[0]
    none = np.zeros_like(truth)
    assert score("particle_size_ks", truth, truth) == 0.0
    assert score("particle_size_ks", truth, none) == 1.0
    assert score("particle_size_ks", none, none) == 0.0
    assert score("particle_size_wasserstein", truth, none) == 24.0
    assert score("particle_size_wasserstein", none, none) == 0.0


def test_particles_of_twice_the_area_are_an_octave_away() -> None:
    truth, predicted = np.zeros((2, 1, 32, 32), dtype=np.uint8)
    truth[0, 2:4, 2:6] = truth[0, 10:12, 2:6] = 1
    predicted[0, 2:6, 2:6] = predicted[0, 10:14, 2:6] = 1
    assert score("particle_size_wasserstein", truth, predicted) == pytest.approx(1.0)


def test_bins_of_area() -> None:
    assert area_bins(np.array([1, 2, 4, 16, 2**20])).tolist() == [0, 4, 8, 16, 80]
    assert area_bins(np.array([2**30])).tolist() == [95]
    limits = 2.0 ** (np.arange(97) / 4)
    areas = np.arange(1, 5000)
    assert (area_bins(areas) == np.searchsorted(limits, areas, side="right") - 1).all()


def test_metrics_that_masks_have() -> None:
    assert sorted(mask_terms(*(image[0] for image in images()), CLASSES, None, [])) == sorted(
        KIND.term_names(TARGET)
    )
    check_metrics(TARGET, ALL)
    with pytest.raises(UserError, match="unknown metric 'iou:grain' of a target of kind mask"):
        check_metrics(TARGET, ["iou:grain"])
    with pytest.raises(UserError, match="unknown metric 'area_error:grain'"):
        check_metrics(TARGET, ["area_error:grain"])
    for name in ("particle_size_ks", "particle_size_wasserstein"):
        with pytest.raises(ValueError, match=rf"{name} needs target\.particles"):
            MaskTarget.model_validate(COMMON).check_metrics([name])
    for change in ({"classes": ["a", "a"]}, {"particles": "grain"}, {"classes": ["a"]}):
        with pytest.raises(ValidationError):
            MaskTarget.model_validate({**COMMON, **change})


def test_what_a_model_returns() -> None:
    target = TARGET.model_dump()
    masks = np.array([[[0, 1], [2, 0]]])
    checked = KIND.checked(masks, 1, (2, 2), target)
    assert checked.dtype == np.uint8
    for returned in (masks + 1, masks - 1, masks / 2, masks[:, 0]):
        with pytest.raises(ValueError, match="predict returned"):
            KIND.checked(returned, 1, (2, 2), target)


def test_confusion_against_scikit_learn() -> None:
    truth, predicted = (image[0] for image in images())
    expected = peers.confusion_matrix(truth.ravel(), predicted.ravel())
    assert (confusion(truth, predicted, 3) == expected).all()


def test_kept_pictures_that_are_not_of_these_images() -> None:
    truth, predicted = (stack[:2].repeat(2, axis=0) for stack in images())
    ids = ["a", "b", "c", "d"]
    kept = KIND.pictures(to_png(truth[:2], predicted[:2], SAMPLES, '["b", "a"]'), ids)
    assert (kept.samples, kept.titles) == (["b", "a"], ["worst", "best"])
    assert (kept.truth == truth[:2]).all()
    assert (kept.predicted == predicted[:2]).all()
    for text in ('["a", "e"]', '["a", "b", "c", "d"]', "[]", "{}", "a"):
        with pytest.raises(ValueError, match=r"no picture of predictions|Expecting value"):
            KIND.pictures(to_png(truth, predicted, SAMPLES, text), ids)
    with pytest.raises(ValueError, match="no picture of predictions"):
        KIND.pictures(b"GIF89a", ids)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_the_worst_the_median_and_the_best_image_are_kept(rows: int) -> None:
    side = MAX_SIDE + 8
    truth, other = images(rows, side)
    predicted = truth.copy()
    # Image k is right but for a band of a width of its own.
    for place, row in enumerate(np.random.default_rng(1).permutation(rows)):
        predicted[row, : 40 * (place + 1)] = other[row, : 40 * (place + 1)]
    outcome = measured(truth, predicted)
    terms = [mask_terms(*pair, CLASSES, None, []) for pair in zip(truth, predicted, strict=True)]
    by_image = [float(mean_iou({name: np.array(x) for name, x in term.items()})) for term in terms]
    order = np.argsort(by_image)
    ids = [f"image-{row}" for row in range(rows)]
    assert outcome.picture is not None
    kept = KIND.pictures(outcome.picture, ids)
    shown = sorted({0, rows // 2, rows - 1})
    assert kept.samples == [ids[order[place]] for place in shown]
    for place, picture, guess in zip(shown, kept.truth, kept.predicted, strict=True):
        row = order[place]
        assert (picture == truth[row, :MAX_SIDE, :MAX_SIDE]).all()
        assert (guess == predicted[row, :MAX_SIDE, :MAX_SIDE]).all()
    found = outcome.outputs["confusion"].sum(axis=(0, 1)).reshape(3, 3)
    assert (found == peers.confusion_matrix(truth.ravel(), predicted.ravel())).all()


def test_a_toy_of_masks(journey: Callable[..., None], toy_kind: Callable[..., Any]) -> None:
    build = """
values = generator.integers(0, 3, (rows, 8, 6)).astype(np.uint8)
values[:, :4] = 0
y, feature = array_column(values), array_feature(values)
"""
    model = """
class Model:
    def fit(self, train, validation):
        assert train.target.dtype == np.uint8
        self.common = np.bincount(train.target.ravel()).argmax()

    def predict(self, inputs):
        return np.full((len(inputs["x"]), 8, 6), self.common)
"""
    target = {"kind": "mask", "classes": CLASSES, "particles": "precipitate"}
    journey(toy_kind(build, model, target, ALL, lambda labels: labels[:, ::-1]))
