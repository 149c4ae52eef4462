"""Baselines that draw images from an exemplar, on made-up exemplars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from model_module import model_module
from scipy import ndimage, stats

from etchmark.descriptors import two_point_statistics
from etchmark.errors import UserError
from etchmark.learning.reconstruction import Exemplar, generators
from etchmark.simulation.microstructures import generator_of, random_field

SIDE = 32
METHODS: dict[str, dict[str, Any]] = {
    "annealing": {"trials": 3, "reach": 6},
    "exemplar_controls": {"kind": "noise"},
    "gaussian_field": {"reach": 8},
    "gram_matching": {
        "encoder": "vgg19_16x",
        "weights": "random",
        "layers": ["conv1_1", "conv1_2"],
        "steps": 3,
    },
    "quilting": {"patch": 10, "overlap": 3, "tries": 1},
    "two_point_gradient": {"steps": 3, "reach": 6},
}


def blobs(periodic: bool = True, seed: int = 0) -> Exemplar:
    return Exemplar(random_field((SIDE, SIDE), 1.5, 0.4, generator_of(seed)), periodic)


def inputs(*exemplars: Exemplar) -> dict[str, np.ndarray]:
    return {
        "exemplar": np.stack([exemplar.image for exemplar in exemplars]),
        "periodic": np.array([int(exemplar.periodic) for exemplar in exemplars]),
    }


def build(name: str, seed: int = 0, **params: Any) -> Any:
    if name in {"gram_matching", "two_point_gradient"}:
        pytest.importorskip("torch")
    if name == "gram_matching":
        pytest.importorskip("timm")
    if name == "annealing":
        pytest.importorskip("numba")
    return model_module(name).build(seed, "cpu", **{**METHODS[name], **params})


@pytest.mark.parametrize("name", sorted(METHODS))
def test_images_have_the_exemplars_fraction_and_differ(name: str, alone: None) -> None:
    first, second = blobs(), blobs(periodic=False, seed=1)
    model = build(name)
    drawn = model.predict(inputs(first, second))
    assert drawn.shape == (2, 16, SIDE, SIDE)
    assert drawn.dtype == np.uint8
    for exemplar, images in zip((first, second), drawn, strict=True):
        assert (images.sum(axis=(1, 2)) == exemplar.image.sum()).all()
        assert len({image.tobytes() for image in images}) == 16
    # An exemplar's images do not depend on which others are given.
    np.testing.assert_array_equal(build(name).predict(inputs(second))[0], drawn[1])
    assert (build(name, seed=1).predict(inputs(second))[0] != drawn[1]).any()


@pytest.mark.parametrize("name", sorted(METHODS))
def test_an_exemplar_of_one_phase_is_returned(name: str, alone: None) -> None:
    uniform = Exemplar(np.ones((SIDE, SIDE), np.uint8), True)
    assert build(name).predict(inputs(uniform)).all()


def test_copies_and_further_realisations_are_returned_as_they_are() -> None:
    given = inputs(blobs(), blobs(seed=1))
    copies = build("exemplar_controls", kind="copy").predict(given)
    assert (copies == given["exemplar"][:, None]).all()
    module = model_module("further_realisations")
    further = np.stack([copies[0], 1 - copies[1]])
    assert (module.build(0, "cpu").predict({"further": further}) == further).all()
    with pytest.raises(UserError, match="reads the input 'further'"):
        module.build(0, "cpu").predict(given)


@pytest.mark.parametrize("periodic", [True, False])
def test_a_bent_copy_is_no_copy_and_keeps_its_fraction(periodic: bool) -> None:
    exemplar = blobs(periodic)
    draws = generators(0, exemplar.image, count=2)
    first, second = build("exemplar_controls", kind="warped").draw(exemplar, draws)
    for image in (first, second):
        assert image.sum() == exemplar.image.sum()
        assert (image != exemplar.image).any()
    assert (first != second).any()


def test_bad_options_are_refused() -> None:
    with pytest.raises(UserError, match="kind 'noisy': give one of noise, copy, warped"):
        build("exemplar_controls", kind="noisy")
    with pytest.raises(UserError, match="patch 6: give a number from 7 on"):
        build("quilting", patch=6)
    with pytest.raises(UserError, match="lags 'rows': give lines or map"):
        build("annealing", lags="rows")


# --- Gaussian field ----------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.5, 0.2, 0.87])
def test_both_of_two_normal_numbers_by_a_library(fraction: float) -> None:
    probabilities, correlations = model_module("gaussian_field").both_above(fraction)
    level = stats.norm.isf(fraction)
    for correlation in (-0.9, -0.3, 0.0, 0.5, 0.95):
        known = stats.multivariate_normal.cdf(
            [-level, -level],
            cov=np.array([[1, correlation], [correlation, 1]]),  # pyright: ignore[reportArgumentType]
        )
        assert np.interp(correlation, correlations, probabilities) == pytest.approx(
            float(known), abs=2e-4
        )


def test_the_nearest_spectrum_by_hand() -> None:
    nearest = model_module("gaussian_field").nearest_spectrum
    assert nearest(np.array([3.0, 2.0, -1.0])) == pytest.approx([2.5, 1.5, 0.0])
    assert nearest(np.array([1.0, 2.0])) == pytest.approx([1.0, 2.0])


@pytest.mark.parametrize("periodic", [True, False])
def test_a_field_is_found_again(periodic: bool) -> None:
    """The two-point function of cut fields is that of the field which was cut."""
    exemplar = Exemplar(random_field((96, 96), 2.0, 0.3, generator_of(3)), periodic)
    drawn = build("gaussian_field", reach=16).draw(exemplar, generators(0, exemplar.image))
    wanted = exemplar.two_point(5)
    found = np.mean([two_point_statistics(image, 5, periodic=periodic) for image in drawn], axis=0)
    assert np.abs(found - wanted).max() < 0.015
    # The fields reach as far along rows as along columns, and white noise nowhere.
    assert found[5, 6] > 0.2


# --- annealing and gradients -------------------------------------------------------------------


def two_point_error(exemplar: Exemplar, images: np.ndarray) -> float:
    errors = [
        np.square(
            two_point_statistics(image, 6, periodic=exemplar.periodic) - exemplar.two_point(6)
        ).sum()
        for image in images
    ]
    return float(np.mean(errors))


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize(
    ("name", "share", "params"),
    [
        ("annealing", 0.05, {"trials": 30, "lags": "lines"}),
        ("annealing", 0.05, {"trials": 30, "lags": "map"}),
        # What the cut of a continuous image costs.
        ("two_point_gradient", 0.5, {"steps": 30}),
    ],
)
def test_the_two_point_function_is_matched(
    name: str, share: float, params: dict[str, Any], periodic: bool, alone: None
) -> None:
    exemplar = blobs(periodic)
    draws = generators(0, exemplar.image, count=2)
    images = build(name, **params).draw(exemplar, draws)
    noise = build("exemplar_controls").draw(exemplar, generators(1, exemplar.image, count=2))
    assert two_point_error(exemplar, images) < share * two_point_error(exemplar, noise)


@pytest.mark.parametrize("periodic", [True, False])
def test_annealing_keeps_its_books(periodic: bool) -> None:
    """What it thinks the pairs at each lag are agrees with the image that it leaves."""
    module = model_module("annealing") if pytest.importorskip("numba") else None
    assert module is not None
    exemplar, reach = blobs(periodic), 5
    image = exemplar.image.copy()
    padded = np.pad(image, reach, mode="wrap") if periodic else np.pad(image, reach)
    lags = module.lags_of("map", reach)
    pairs = np.full(len(lags), float(SIDE**2))
    if not periodic:
        pairs = np.prod(SIDE - np.abs(lags), axis=1).astype(float)
    rows, columns = lags.T
    energy = np.stack([exemplar.two_point(reach)[reach + rows, reach + columns] * pairs, pairs])
    offsets = rows * padded.shape[1] + columns
    ones, zeros = np.flatnonzero(image), np.flatnonzero(image == 0)
    options = (200, np.inf, reach, periodic)
    module.anneal(padded, ones, zeros, offsets, energy, options, generator_of(7))
    after = Exemplar(padded[reach:-reach, reach:-reach].copy(), periodic)
    assert (after.image != exemplar.image).any()
    assert sorted(ones) == list(np.flatnonzero(after.image))
    counted = after.two_point(reach)[reach + rows, reach + columns] * pairs
    assert np.abs(counted - energy[0]).max() < 1e-6


# --- quilting ----------------------------------------------------------------------------------


def test_the_cheapest_path_by_hand() -> None:
    costs = np.array([[5.0, 1.0, 9.0], [1.0, 9.0, 9.0], [9.0, 0.0, 9.0]])
    assert list(model_module("quilting").cheapest_path(costs)) == [1, 0, 1]


def test_a_quilt_of_stripes_is_stripes() -> None:
    stripes = Exemplar((np.indices((SIDE, SIDE))[1] // 4 % 2).astype(np.uint8), True)
    for image in build("quilting").draw(stripes, generators(0, stripes.image, count=2)):
        assert (image == image[0]).mean() > 0.95
        assert set(np.diff(np.flatnonzero(np.diff(image[0])))) <= {3, 4, 5}


def test_a_quilt_is_no_copy() -> None:
    """Patches that go on as the exemplar does would make copies; they are left out."""
    exemplar = Exemplar(random_field((64, 64), 3.0, 0.4, generator_of(1)), True)
    model = model_module("quilting").build(0, "cpu", patch=24, overlap=8)
    images = model.draw(exemplar, generators(0, exemplar.image, count=2))
    for image in images:
        shifts = np.fft.ifft2(
            np.fft.fft2(2.0 * image - 1) * np.conj(np.fft.fft2(2.0 * exemplar.image - 1))
        ).real
        assert shifts.max() / image.size < 0.6


# --- Gram matrices -----------------------------------------------------------------------------


def gram_loss(exemplar: Exemplar, images: np.ndarray) -> np.ndarray:
    torch = pytest.importorskip("torch")
    model = build("gram_matching")
    module = model_module("gram_matching")
    loss = module.GramLoss(model.network, model.spec.layers, exemplar, "cpu")
    return loss(torch.from_numpy(images).float()).numpy()


def test_gram_matrices_do_not_see_a_shift_of_a_periodic_image(alone: None) -> None:
    exemplar = blobs()
    shifted = np.roll(exemplar.image, (4, 6), axis=(0, 1))
    noise = build("exemplar_controls").draw(exemplar, generators(0, exemplar.image, count=1))
    own, moved, white = gram_loss(exemplar, np.stack([exemplar.image, shifted, noise[0]]))
    assert own == pytest.approx(0.0, abs=1e-9)
    assert moved < 1e-6
    assert white == pytest.approx(1.0, abs=0.3)


def test_gram_matrices_are_matched(alone: None) -> None:
    exemplar = blobs()
    draws = generators(0, exemplar.image, count=2)
    images = build("gram_matching", steps=20).draw(exemplar, draws)
    noise = build("exemplar_controls").draw(exemplar, generators(1, exemplar.image, count=2))
    assert gram_loss(exemplar, images).mean() < 0.2 * gram_loss(exemplar, noise).mean()
    smooth = ndimage.uniform_filter(images[0].astype(float), 3, mode="wrap")
    assert smooth.var() > 1.5 * ndimage.uniform_filter(noise[0].astype(float), 3).var()


def test_layers_that_a_network_lacks_are_refused(alone: None) -> None:
    with pytest.raises(UserError, match=r"vgg19_16x: has no layer 'conv9_1'; give some of conv1_1"):
        build("gram_matching", layers=["conv9_1"]).predict(inputs(blobs()))
