"""Baselines that name every pixel, on made-up pictures of three classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_module import model_module
from scipy import ndimage

from etchmark.errors import UserError
from etchmark.learning.pixels import pooled_iou
from etchmark.model import Samples

LEVELS = (50, 120, 200)
VGG: dict[str, Any] = {
    "encoder": "vgg19_16x",
    "weights": "random",
    "layers": ["conv1_2", "conv2_2"],
    "pixels": 300,
    "schedule": {"epochs": 12, "batch": 64, "learning_rate": 0.02},
}


def samples(count: int, seed: int, side: int = 48) -> Samples:
    """Blobs of three classes, each with its own grey level and some noise."""
    generator = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(generator.normal(size=(count, side, side + 16)), (0, 4, 4))
    masks = np.digitize(smooth, np.quantile(smooth, [0.5, 0.8])).astype(np.uint8)
    noise = generator.normal(0, 8, masks.shape)
    grey = np.clip(np.array(LEVELS)[masks] + noise, 0, 255).astype(np.uint8)
    pictures = np.empty(count, dtype=object)
    for row, picture in enumerate(grey):
        pictures[row] = picture
    ids = np.array([f"picture-{row}" for row in range(count)], dtype=object)
    return Samples(ids, {"micrograph": pictures}, masks, np.arange(count) // 2)


def iou(samples: Samples, predicted: np.ndarray) -> float:
    return pooled_iou(samples.target.ravel(), predicted.ravel().astype(int), 3)


@pytest.mark.parametrize(
    ("name", "least", "params"),
    [
        ("majority_class", 0.16, {}),
        ("grey_levels", 0.8, {}),
        ("pixel_forest", 0.8, {"trees": 5, "pixels": 300, "scales": [1.0, 2.0]}),
    ],
)
def test_classical_baselines(
    name: str, least: float, params: dict[str, Any], tmp_path: Path
) -> None:
    module = model_module(name)
    train, test = samples(4, 0), samples(2, 1)
    model = module.build(0, "cpu", **params).fit(train)
    predicted = model.predict(test.inputs)
    assert predicted.shape == test.target.shape
    assert predicted.dtype == np.uint8
    assert iou(test, predicted) >= least
    assert model.parameter_count() > 0
    model.save(tmp_path / "kept")
    again = module.load(tmp_path / "kept", "cpu").predict(test.inputs)
    assert (again == predicted).all()


def test_the_most_frequent_class_by_hand() -> None:
    train = samples(4, 0)
    model = model_module("majority_class").build(0, "cpu").fit(train)
    # Half of the pixels are of class 0: a third of its share in the union of one.
    test = samples(2, 1)
    share = (test.target == 0).mean()
    assert iou(test, model.predict(test.inputs)) == pytest.approx(share / 3)


@pytest.mark.parametrize("hidden", [[], [8, 8]])
def test_hypercolumns(home: Path, alone: None, tmp_path: Path, hidden: list[int]) -> None:
    pytest.importorskip("timm")
    module = model_module("hypercolumns")
    train, test = samples(4, 0), samples(2, 1)
    model = module.build(0, "cpu", **VGG, hidden=hidden).fit(train)
    predicted = model.predict(test.inputs)
    assert predicted.shape == test.target.shape
    assert iou(test, predicted) > 0.7
    assert model.total_parameter_count() > model.parameter_count() > 0
    assert model.feature_seconds().ever > 0
    assert model.made_with()["channels"] == "48"
    model.save(tmp_path / "kept")
    again = module.load(tmp_path / "kept", "cpu").predict(test.inputs)
    assert (again == predicted).all()


def test_the_first_layer_commutes_with_interpolation(home: Path, alone: None) -> None:
    """A whole picture is named as its pixels are one by one, though far faster."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("timm")
    from etchmark.features.maps import at_pixels

    train = samples(3, 0)
    model = model_module("hypercolumns").build(0, "cpu", **VGG).fit(train)
    picture = train.inputs["micrograph"][0]
    maps, padded = model.reader(picture), model.spec.padded(picture.shape)
    places = np.arange(0, picture.size, 7)
    with torch.inference_mode():
        by_pixel = model.network(at_pixels(maps, places, picture.shape, padded))
        whole = model.network.over(maps, picture.shape, padded).flatten(1).T[places]
    assert torch.allclose(by_pixel, whole, atol=1e-3)


def test_a_vote_makes_regions_of_one_class(home: Path, alone: None) -> None:
    pytest.importorskip("timm")
    from etchmark.learning.pixels import regions

    train, test = samples(4, 0), samples(1, 1)
    module = model_module("hypercolumns")
    model = module.build(0, "cpu", **VGG, vote_in="levels").fit(train)
    predicted = model.predict(test.inputs)[0]
    numbers = regions(test.inputs["micrograph"][0], "levels", 3)
    assert all(len(np.unique(predicted[numbers == number])) == 1 for number in np.unique(numbers))
    with pytest.raises(UserError, match="vote_in 'mask': give one of levels, slic"):
        module.build(0, "cpu", **VGG, vote_in="mask")


def test_rare_classes_weigh_more_where_they_are_asked_to(home: Path, alone: None) -> None:
    pytest.importorskip("timm")
    module = model_module("hypercolumns")
    train = samples(4, 0)
    found = [
        (module.build(0, "cpu", **VGG, hidden=[], balance=balance).fit(train)).predict(train.inputs)
        for balance in (0.0, 2.0)
    ]
    rarest = 2
    assert (found[1] == rarest).mean() > (found[0] == rarest).mean()


TRAINED: dict[str, Any] = {
    "rows": 32,
    "crop": 32,
    "schedule": {"epochs": 12, "batch": 4, "learning_rate": 0.01},
}
FROZEN: dict[str, Any] = {
    "encoder": "vgg19_16x",
    "weights": "random",
    "layers": ["conv1_2", "conv2_2", "conv3_4"],
    "widths": [8, 8, 8],
}


@pytest.mark.parametrize(
    ("least", "params"),
    [
        (0.7, {"widths": [8, 8, 16]}),
        (0.6, {"widths": [8, 8, 16], "shrink": 2}),
        (0.3, {"design": "fcn8s", "widths": [8, 16, 16]}),
        (0.7, FROZEN),
    ],
)
def test_networks_trained_end_to_end(
    home: Path, alone: None, tmp_path: Path, least: float, params: dict[str, Any]
) -> None:
    pytest.importorskip("timm")
    module = model_module("unet")
    # The micrographs' sides are no multiples of the network's.
    train, test = samples(4, 0, 52), samples(2, 1, 52)
    model = module.build(0, "cpu", **TRAINED, **params).fit(train)
    predicted = model.predict(test.inputs)
    assert predicted.shape == test.target.shape
    assert predicted.dtype == np.uint8
    assert iou(test, predicted) > least
    frozen = model.total_parameter_count() - model.parameter_count()
    assert (frozen > 0) == ("encoder" in params)
    assert bool(model.made_with()) == ("encoder" in params)
    model.save(tmp_path / "kept")
    again = module.load(tmp_path / "kept", "cpu").predict(test.inputs)
    assert (again == predicted).all()


def test_fcn8s_names_classes_on_grids_of_8_16_and_32_pixels() -> None:
    torch = pytest.importorskip("torch")
    network = model_module("unet").FCN8s([4, 4, 4, 4], 3, 2)
    sides = []
    for layer in network.scores:
        layer.register_forward_hook(lambda _module, _given, made: sides.append(made.shape[-1]))
    assert network.multiple == 32
    made = network(torch.zeros(1, 1, 64, 64))
    assert sides == [64 // 8, 64 // 16, 64 // 32]
    assert made.shape == (1, 3, 32, 32)


def test_what_a_network_cannot_read_is_refused(home: Path, alone: None) -> None:
    pytest.importorskip("timm")
    module = model_module("unet")
    with pytest.raises(UserError, match="design 'vnet': give one of unet, fcn8s"):
        module.build(0, "cpu", design="vnet")
    skipping = {**FROZEN, "layers": ["conv1_2", "conv3_4", "conv5_1"]}
    with pytest.raises(UserError, match="choose 3 layers"):
        module.build(0, "cpu", **TRAINED, **skipping).fit(samples(2, 0))
