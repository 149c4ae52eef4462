"""The frame translator: its parts and size, its symmetries, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from forecasters import built  # noqa: E402
from model_module import model_module  # noqa: E402

from etchmark.catalog import Catalog  # noqa: E402
from etchmark.learning import forecasting  # noqa: E402
from etchmark.model import Model  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("alone")
fcn = model_module("fcn")


@pytest.mark.parametrize(("variant", "parameters"), [("full", 43_835_009), ("small", 196_209)])
def test_the_cards_networks(variant, parameters):
    model = fcn.build(0, "cpu", **Catalog(ROOT).model(f"fcn/{variant}").params)
    assert isinstance(model, Model)
    assert model.parameter_count() == parameters
    assert (model.network.given, model.network.made) == (10, 10)
    # A size that the mini config has, narrower than the large kernel at the coarsest level.
    context = np.zeros((1, 10, 32, 32), np.float16)
    if variant == "small":
        assert model.predict({"context": context, "horizon": np.array([12])}).shape[1] == 12


@pytest.mark.parametrize(
    ("depth", "side", "doubling"),
    [(1, 12, []), (2, 6, [True]), (3, 6, [False, True]), (4, 3, [True, False, True])],
)
def test_every_second_layer_halves_the_side_and_is_undone(depth, side, doubling):
    network = built("fcn", depth=depth).network.inner
    seen = []
    network.translator.register_forward_hook(lambda _, given, made: seen.append(made.shape))
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 12, 12)).shape == (2, 3, 12, 12)
    assert seen == [(2, 3 * 4, side, side)]
    # In the opposite order: the last to halve is the first to double.
    assert [layer.doubling for layer in network.decoder] == doubling
    assert built("fcn", depth=depth).network.multiple == 12 // side


def test_a_closed_gate_lets_nothing_through():
    attention = fcn.Attention(4, periodic=True)
    given = torch.randn(1, 4, 8, 8)
    assert (attention(given) - attention.after(torch.zeros_like(given))).abs().max() > 1e-3
    with torch.no_grad():
        attention.mix.bias[:4] = -1e4
    torch.testing.assert_close(attention(given), attention.after(torch.zeros_like(given)))


def test_an_attention_sees_as_far_as_its_large_kernel():
    attention = fcn.Attention(1, periodic=True)
    for part in attention.parameters():
        torch.nn.init.constant_(part, 0.1)
    given = torch.zeros(1, 1, 31, 31)
    changed = given.clone()
    changed[0, 0, 15, 15] = 1.0
    with torch.inference_mode():
        rows = (attention(changed) - attention(given))[0, 0].abs().amax(1).nonzero()
    assert (int(rows.min()), int(rows.max())) == (15 - 11, 15 + 11)


def test_blocks_begin_near_the_identity():
    block, given = fcn.Block(6, 2, periodic=True), torch.randn(2, 6, 8, 8)
    change = (block(given) - given).abs().max()
    assert 0 < change < 0.1


def test_operations_are_those_of_its_layers_and_grow_with_the_area():
    context = np.zeros((1, 4, 12, 12), np.float32)
    network = built("fcn").network
    counted = forecasting.flops_per_frame(network, shown=4, frames=4, side=12)
    pairs = []
    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d):
            # Each value made is a sum over a kernel and the channels of a group.
            each = part.weight[0].numel()
            part.register_forward_hook(
                lambda _, given, found, each=each: pairs.append(each * found.numel())
            )
    forecasting.forecast(network, context, 4)
    assert counted == 2 * sum(pairs) / 4
    assert forecasting.flops_per_frame(network, shown=4, frames=4, side=24) == 4 * counted
