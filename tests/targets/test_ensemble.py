"""Ensembles: scores of noise and of true realisations, copies, what is refused, and a toy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from etchmark.columns import Columns
from etchmark.descriptors import GROUPS, group_distances, overlap_limits
from etchmark.errors import UserError
from etchmark.specs.targets import EnsembleTarget
from etchmark.targets import check_metrics, kind_named, metric
from etchmark.targets.ensemble import reference_of
from etchmark.targets.ensemble.metrics import (
    BLANK,
    COPIES,
    METRICS,
    SCORE,
    STIFFNESS,
    Reference,
    copies_among,
    diversity,
    ensemble_terms,
    present,
)
from etchmark.targets.pictures import to_png

pytest.importorskip("torch", reason="the stiffness of images needs PyTorch")

SIZE = 64
KIND = kind_named("ensemble")
COLUMNS = {
    "exemplar_column": "exemplar",
    "further_column": "further",
    "periodic_column": "periodic",
    "noise_column": "noise",
    "stiffness_column": "stiffness",
    "limit_column": "limits",
}
TARGET = EnsembleTarget.model_validate(
    {"column": "y", "quantity": "images", "symbol": "S", "images": 16, **COLUMNS}
)


def blobs(count: int, seed: int, fraction: float = 0.4, width: float = 2.0) -> np.ndarray:
    """Periodic images of one material: smoothed noise, cut at its own quantile."""
    generator = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(
        generator.normal(size=(count, SIZE, SIZE)), (0, width, width), mode="wrap"
    )
    level = np.quantile(smooth.reshape(count, -1), 1 - fraction, axis=1)[:, None, None]
    return (smooth > level).astype(np.uint8)


def noise(count: int, seed: int, fraction: float = 0.4) -> np.ndarray:
    return blobs(count, seed, fraction, 0.0)


def reference(realisations: np.ndarray, exemplar: np.ndarray) -> Reference:
    from etchmark.targets.ensemble.properties import stiffness_of

    return Reference(
        exemplar,
        realisations,
        blobs(16, 77),
        True,
        group_distances(noise(64, 5), realisations, periodic=True),
        stiffness_of(realisations).mean(axis=0),
        overlap_limits(exemplar, realisations),
    )


@pytest.fixture(scope="module")
def blob() -> Reference:
    return reference(blobs(32, 2), blobs(1, 1)[0])


def test_true_realisations_score_near_0_and_noise_near_1(blob: Reference) -> None:
    true = ensemble_terms(blobs(16, 31), blob)
    assert true[SCORE] < 0.1
    assert true[STIFFNESS] < 0.03
    assert true[COPIES] == 0
    white = ensemble_terms(noise(16, 9), blob)
    assert white[SCORE] == pytest.approx(1.0, abs=0.02)
    assert white["sum_fraction_error"] < 1e-3
    # Coarser and finer images of the same fraction lie between.
    coarser = ensemble_terms(blobs(16, 32, width=3.0), blob)
    assert 0.2 < coarser[SCORE] < 0.9


def test_the_score_is_the_mean_of_its_parts(blob: Reference) -> None:
    terms = ensemble_terms(blobs(16, 33, width=2.5), blob)
    parts = [metric(f"{group}_distance").of({k: np.array(v) for k, v in terms.items()})
             for group in GROUPS]  # fmt: skip
    assert terms[SCORE] == pytest.approx(np.mean(parts))
    assert len(set(parts)) == len(parts)


def test_a_copy_beats_an_honest_method_and_is_counted(blob: Reference) -> None:
    shifted = np.stack([np.roll(blob.exemplar, (3 * k, 5 * k), axis=(0, 1)) for k in range(16)])
    copies = ensemble_terms(shifted, blob)
    honest = ensemble_terms(blobs(16, 34, width=3.0), blob)
    assert copies[SCORE] < honest[SCORE]
    assert copies[COPIES] == 16
    assert honest[COPIES] == 0
    further = ensemble_terms(blob.further, blob)
    assert further[COPIES] == 16
    sums = {name: np.array(copies[name] + honest[name]) for name in copies}
    assert metric("copied_images").of(sums) == 50.0


def test_copies_of_a_material_that_repeats_itself_cannot_be_told(blob: Reference) -> None:
    repeating = blob._replace(limits=np.array([0.97, 1.0]))
    assert copies_among(blob.exemplar[None], blob).all()
    assert not copies_among(blob.exemplar[None], repeating).any()


def test_diversity_counts_cells_in_which_two_images_differ() -> None:
    images = np.zeros((3, 4, 4), dtype=np.uint8)
    images[0, 0] = 1
    # Two of three pairs differ in 4 of 16 cells.
    assert diversity(images) == pytest.approx(2 / 3 * 0.25)
    same = np.repeat(blobs(1, 3), 16, axis=0)
    assert diversity(same) == 0.0


def test_one_image_repeated_is_not_diverse_and_scores_worse(blob: Reference) -> None:
    new = blobs(16, 35)
    repeated = ensemble_terms(np.repeat(new[:1], 16, axis=0), blob)
    assert repeated["sum_diversity"] == 0.0
    assert repeated[SCORE] > 2 * ensemble_terms(new, blob)[SCORE]


def test_stiffness_lies_between_the_bounds_and_is_that_of_a_laminate() -> None:
    from etchmark.targets.ensemble.properties import stiffness_of

    # Layers along axis 0: across them C1111 is the harmonic mean of the P-wave modulus.
    layers = np.repeat((np.arange(SIZE) // 8 % 2)[:, None], SIZE, axis=1)
    (constants,) = stiffness_of(layers[None])
    modulus = 0.7 / (1.3 * 0.4)  # (1 - ν) / ((1 + ν)(1 - 2ν)) of ν = 0.3 and E = 1
    assert constants[0] == pytest.approx(2 / (1 / modulus + 1 / (10 * modulus)), rel=2e-3)
    assert constants[0] < constants[1] < 5.5 * modulus


def test_blank_realisations_are_left_out() -> None:
    images = np.full((5, 8, 8), BLANK, dtype=np.uint8)
    images[:3] = 0
    assert len(present(images)) == 3


class Stored(Columns):
    """Columns of one sample, in memory."""

    def __init__(self, **cells: Any) -> None:
        self.cells = cells

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        return np.asarray(self.cells[name])[None]


def stored(**changes: Any) -> Stored:
    cells: dict[str, Any] = {
        "y": blobs(3, 1), "exemplar": blobs(1, 2)[0], "further": blobs(2, 3), "periodic": 1,
        "noise": np.ones(5), "stiffness": np.ones(2), "limits": np.ones(2),
    }  # fmt: skip
    return Stored(**(cells | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exemplar": np.full((SIZE, SIZE), 2)}, "'exemplar' of row 0 does not hold images of 0"),
        ({"further": np.zeros((2, 32, 32))}, "'further' of row 0"),
        ({"y": np.full((3, SIZE, SIZE), BLANK)}, "fewer than two realisations in row 0"),
        ({"noise": np.zeros(5)}, "'noise' holds numbers that are not positive in row 0"),
        ({"stiffness": np.full(2, np.nan)}, "'stiffness' holds numbers that are not positive"),
    ],
)
def test_stored_values_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        reference_of(stored(**changes), TARGET, 0, "b")
    assert reference_of(stored(), TARGET, 0, "b").periodic


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.zeros((2, 16, 64, 64)), "returned float64, not whole numbers"),
        (np.zeros((2, 8, 64, 64), dtype=np.uint8), "shape"),
        (np.full((2, 16, 64, 64), 255, dtype=np.uint8), "other numbers than 0 and 1"),
    ],
)
def test_what_a_model_returns_is_checked(returned: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KIND.checked(returned, 2, (16, 64, 64), TARGET.model_dump())
    good = np.ones((2, 16, 64, 64), dtype=bool)
    assert KIND.checked(good, 2, (16, 64, 64), TARGET.model_dump()).dtype == np.uint8


def test_pictures_of_other_samples_are_refused() -> None:
    images = blobs(2, 4)
    content = to_png(images, images, "samples", '["a", "b"]')
    shown = KIND.pictures(content, ["b", "a", "c"])
    assert shown.samples == ["a", "b"]
    assert (shown.predicted == images).all()
    with pytest.raises(ValueError, match="of other samples"):
        KIND.pictures(content, ["a"])


def test_metrics_of_other_kinds_are_refused() -> None:
    check_metrics(TARGET, [metric.id for metric in METRICS])
    with pytest.raises(UserError, match="choose from: reconstruction_score, stiffness_error"):
        check_metrics(TARGET, ["mae"])


BUILD = """
from scipy import ndimage
def blobs(*shape):
    smooth = ndimage.gaussian_filter(generator.normal(size=shape), (0,) * (len(shape) - 2) + (2, 2))
    return (smooth > 0).astype(np.uint8)
realisations = blobs(rows, 6, 48, 48)
y, feature = array_column(realisations), array_feature(realisations)
cells = {
    "exemplar": blobs(rows, 48, 48),
    "further": blobs(rows, 2, 48, 48),
    "noise": np.full((rows, 5), 0.5),
    "stiffness": np.full((rows, 2), 4.0),
    "limits": np.full((rows, 2), 0.9),
}
more = {name: array_column(values) for name, values in cells.items()}
more["periodic"] = np.zeros(rows, dtype=np.int64)
more_features = {name: array_feature(values) for name, values in cells.items()}
"""
MODEL = """
class Model:
    def fit(self, train, validation):
        assert train.target.shape == (12, 6, 48, 48)
        self.one = train.target[0, :4]

    def predict(self, inputs):
        return np.repeat(self.one[None], len(inputs["x"]), axis=0)
"""


def toy(toy_kind: Callable[..., Any]) -> Any:
    def worse(labels: np.ndarray) -> np.ndarray:
        generator = np.random.default_rng(1)
        return (generator.random((len(labels), 4, 48, 48)) < 0.5).astype(np.uint8).reshape(9, -1)

    target = {"kind": "ensemble", "images": 4, **COLUMNS}
    metrics = [metric.id for metric in METRICS]
    perfect = lambda labels: labels[:, :4].reshape(9, -1)  # noqa: E731
    return toy_kind(BUILD, MODEL, target, metrics, worse, perfect)


def test_a_toy_of_ensembles(journey: Callable[..., None], toy_kind: Callable[..., Any]) -> None:
    journey(toy(toy_kind))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(4 * 48 * 48 - 1, dtype=np.uint8), "has 9,215 values"),
        (np.full(4 * 48 * 48, 255, dtype=np.uint8), "9 predictions hold other numbers than 0"),
    ],
)
def test_files_of_another_form_are_refused(
    write_toy: Callable[..., Any],
    toy_kind: Callable[..., Any],
    tmp_path: Path,
    values: np.ndarray,
    message: str,
) -> None:
    import pandas as pd

    import etchmark

    benchmark = write_toy(toy(toy_kind))
    ids = benchmark.truth("test").ids
    table = pd.DataFrame({"id": ids, "prediction": [values] * len(ids)})
    path = tmp_path / "predictions.parquet"
    table.to_parquet(path)
    with pytest.raises(UserError, match=message):
        etchmark.score(path, benchmark.spec.id)
