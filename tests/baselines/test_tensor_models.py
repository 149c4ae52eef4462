"""Models of the stiffness tensor: symmetric, positive definite, and turned with the volume."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from model_module import model_module

from etchmark.model import Samples
from etchmark.simulation import bounds
from etchmark.simulation.rotations import cube_rotations, rotate_stiffness, rotate_volume
from etchmark.targets import metric
from etchmark.targets.array import equivariance_terms

ROTATIONS = cube_rotations()
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "voigt": ("tensor_bounds", {"scheme": "voigt"}),
    "two-point": ("tensor_two_point", {"lags": [1, 2, 3], "degree": 2}),
    "fraction": ("tensor_two_point", {"lags": [], "degree": 3}),
    "cnn": (
        "tensor_cnn3d",
        {"epochs": 1, "batch": 4, "widths": [4, 4], "blocks": [1, 1], "views": 24},
    ),
}


def volumes(rows: int, seed: int, side: int = 9) -> Samples:
    """Layers and noise, with a stiffness that differs between axes."""
    generator = np.random.default_rng(seed)
    cells = (generator.random((rows, side, side, side)) < 0.3).astype(np.uint8)
    for row in range(rows):
        layers = generator.integers(1, side - 2)
        cells[row] = np.moveaxis(cells[row], 0, row % 3)
        view = np.moveaxis(cells[row], row % 3, 0)
        view[:layers] = 1
    fraction = cells.mean(axis=(1, 2, 3))
    stiffness = bounds.stiffness("self_consistent", fraction, 50.0)
    for row in range(rows):
        stiffness[row, row % 3, row % 3] *= 0.8
    inputs = {"microstructure": cells, "contrast": np.full(rows, 50.0)}
    return Samples(np.arange(rows).astype(str), inputs, stiffness)


def fitted(name: str) -> Any:
    if name == "cnn":
        pytest.importorskip("torch", reason="torch is not installed")
    baseline, params = MODELS[name]
    model = model_module(baseline).build(seed=0, device="cpu", **params)
    model.fit(volumes(24, 0), volumes(6, 1))
    return model


@pytest.mark.parametrize("name", MODELS)
def test_predictions_are_stiffnesses_and_turn_with_the_volume(name: str) -> None:
    model, samples = fitted(name), volumes(4, 2)
    predicted = model.predict(samples.inputs)
    assert predicted.shape == (4, 6, 6)
    scale = np.abs(predicted).max()
    np.testing.assert_allclose(predicted, np.swapaxes(predicted, 1, 2), atol=1e-12 * scale)
    assert np.linalg.eigvalsh(predicted).min() > 0
    cells = samples.inputs["microstructure"]
    for rotation in ROTATIONS[1::4]:
        turned = np.stack([rotate_volume(volume, rotation) for volume in cells])
        again = model.predict({**samples.inputs, "microstructure": turned})
        # Single precision of the network, at other places of the sums.
        tolerance = (1e-4 if name == "cnn" else 1e-9) * scale
        np.testing.assert_allclose(again, rotate_stiffness(predicted, rotation), atol=tolerance)


def equivariance_error(model: Any, samples: Samples) -> float:
    """The metric, in percent, of two orientations of each volume."""
    cells, rows = samples.inputs["microstructure"], len(samples.ids)
    rotations = ROTATIONS[[1 + place % 23 for place in range(2 * rows)]]
    sources = np.repeat(np.arange(rows), 2)
    turned = [
        rotate_volume(cells[source], turn) for source, turn in zip(sources, rotations, strict=True)
    ]
    contrast = samples.inputs["contrast"][sources]
    predicted = model.predict({"microstructure": np.stack(turned), "contrast": contrast})
    terms = equivariance_terms(predicted[None], rotations, sources)
    error = metric("equivariance_error").of({name: term.sum() for name, term in terms.items()})
    return float(error)


@pytest.mark.parametrize("name", ["voigt", "two-point", "fraction"])
def test_classical_models_are_equivariant_to_rounding(name: str) -> None:
    assert equivariance_error(fitted(name), volumes(6, 6)) < 1e-9


def test_the_network_is_equivariant_with_all_views_and_not_with_three() -> None:
    model = fitted("cnn")
    assert equivariance_error(model, volumes(6, 6)) < 1e-3
    model.views = 3
    assert equivariance_error(model, volumes(6, 6)) > 1e-2


@pytest.mark.parametrize("scheme", ["voigt", "reuss", "self_consistent"])
def test_bounds_are_those_of_the_volume_fraction(scheme: str) -> None:
    model = model_module("tensor_bounds").build(seed=0, device="cpu", scheme=scheme)
    samples = volumes(3, 3)
    fraction = samples.inputs["microstructure"].mean(axis=(1, 2, 3))
    expected = bounds.stiffness(scheme, fraction, 50.0, 0.3)
    np.testing.assert_allclose(model.predict(samples.inputs), expected, rtol=1e-9)
    assert model.parameter_count() == 0


def test_two_point_statistics_learn_which_axis_is_stiff() -> None:
    """Layers across an axis: the fraction alone cannot tell which one."""
    held_out = volumes(30, 4)
    errors = {}
    for name in ("two-point", "fraction"):
        predicted = fitted(name).predict(held_out.inputs)
        errors[name] = model_module("tensor_two_point").relative_error(held_out.target, predicted)
    assert errors["two-point"] < 0.5 * errors["fraction"]


def test_logarithm_and_exponential_are_inverse() -> None:
    module = model_module("tensor_two_point")
    target = volumes(5, 5).target
    np.testing.assert_allclose(module.exponential(module.logarithm(target)), target, rtol=1e-9)


def test_the_first_views_of_the_network_bring_each_axis_to_each_place() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    views = model_module("tensor_cnn3d")._views(24)
    assert np.array_equal(views[0], np.eye(3))
    assert np.array_equal(sum(views[:3]), np.ones((3, 3)))
    assert len({view.tobytes() for view in views}) == 24


def test_kept_networks_load_and_predict_as_before() -> None:
    """Names of the weights, and outputs for weights of a fixed seed, are those of version 0.1."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.manual_seed(7)
    network = model_module("tensor_cnn3d").TensorNetwork(3, (3, 5), (1, 2))
    parts = ("weight", "bias")
    layers = [f"levels.1.1.{layer}.conv" for layer in ("first", "second")]
    names = {name for name in network.state_dict() if name.startswith(("levels.1.1", "mixes"))}
    assert names == {f"{layer}.{part}" for layer in [*layers, "mixes.0"] for part in parts}
    # The second convolution of a block starts at zero; with other weights it counts.
    generator = np.random.default_rng(0)
    with torch.no_grad():
        for part in network.parameters():
            part += torch.from_numpy(generator.normal(0, 0.1, part.shape)).float()
        cells = torch.from_numpy((generator.random((2, 13, 13, 13)) < 0.4).astype(np.uint8))
        outputs = network(cells)
    assert outputs.shape == (2, 21)
    expected = [[0.1939579, 0.2353188, -1.1333442], [0.2803297, 0.177659, -1.1993257]]
    np.testing.assert_allclose(outputs[:, [0, 1, 20]], expected, atol=1e-5)
