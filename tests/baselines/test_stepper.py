"""The stepper: its size, its symmetries, what it conserves, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from forecasters import built, samples, sequences  # noqa: E402
from model_module import model_module  # noqa: E402

from etchmark.catalog import Catalog  # noqa: E402
from etchmark.learning import forecasting  # noqa: E402
from etchmark.model import Model  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("alone")
stepper = model_module("stepper")


@pytest.mark.parametrize(("variant", "conserving"), [("conserving", True), ("free", False)])
def test_the_cards_networks(variant, conserving):
    params = Catalog(ROOT).model(f"stepper/{variant}").params
    model = stepper.build(0, "cpu", **params)
    assert isinstance(model, Model)
    assert model.parameter_count() == 31_705
    assert model.network.conserving == conserving
    assert (model.network.given, model.network.made) == (1, 1)


@pytest.mark.parametrize(
    ("variant", "conserving", "parameters"),
    [("told", True, 36_745), ("told-free", False, 36_745), ("inferred", True, 58_906)],
)
def test_the_cards_modulated_networks(variant, conserving, parameters, tmp_path):
    """What modulates them reaches the forecast, and a saved model forecasts the same."""
    params = Catalog(ROOT).model(f"stepper/{variant}").params
    model = stepper.build(0, "cpu", **params)
    assert model.parameter_count() == parameters
    assert model.network.conserving == conserving
    assert model.network.given == (10 if variant == "inferred" else 1)
    with torch.no_grad():
        for part in model.network.parameters():
            part.normal_(0.0, 0.1)
    frames = sequences("stepper", 2, 13)
    inputs = {
        "context": frames[:, :10],
        "horizon": np.full(2, 3),
        "mobility": np.array([1.0, 2.0]),
        "gradient_energy": np.array([1.0, 0.8]),
    }
    before = model.predict(inputs)
    if variant == "inferred":
        changed = {**inputs, "context": np.concatenate([frames[:, 1:9], frames[:, 8:10]], 1)}
    else:
        changed = {**inputs, "mobility": np.array([2.0, 1.0])}
    assert not np.array_equal(model.predict(changed), before)
    model.save(tmp_path)
    np.testing.assert_array_equal(stepper.load(tmp_path, "cpu").predict(inputs), before)


def test_an_untrained_stepper_changes_nothing():
    inputs = samples("stepper", sequences("stepper", 2, 6)).inputs
    predicted = built("stepper").predict(inputs)
    np.testing.assert_array_equal(predicted, np.repeat(inputs["context"][:, -1:], 3, axis=1))


def _random(conserving: bool) -> forecasting.FrameNetwork:
    """A network that changes frames, and their means if it can."""
    network = built("stepper", conserving=conserving).network
    with torch.no_grad():
        for part in network.parameters():
            part.normal_(0.0, 0.2)
        # Every frame is lighter than the last.
        part.fill_(1.0)
    network.scale.copy_(torch.tensor([0.5, 0.3, 0.02]))
    return network


def test_the_mean_is_conserved_to_rounding_if_that_is_asked_for():
    context = torch.from_numpy(sequences("stepper", 3, 1).astype(np.float32))
    drift = {}
    for conserving in (True, False):
        network = _random(conserving)
        with torch.inference_mode():
            frames = torch.cat(list(forecasting.rollout(network, context, 50)), 1).double()
        assert (frames[:, -1] - context[:, -1]).abs().max() > 0.01
        drift[conserving] = float((frames.mean((2, 3)) - context.double().mean((2, 3))).abs().max())
    assert drift[True] < 1e-6
    assert drift[False] > 1e-2


@pytest.mark.parametrize("conserving", [False, True])
def test_shifted_and_only_shifted_frames_give_shifted_forecasts(conserving):
    network, context = _random(conserving), sequences("stepper", 2, 1)
    found = forecasting.forecast(network, context, 4)
    moved = forecasting.forecast(network, np.roll(context, (5, -1), (2, 3)), 4)
    np.testing.assert_allclose(moved, np.roll(found, (5, -1), (2, 3)), atol=2e-3)
    assert np.abs(moved - found).max() > 0.1
