"""The network in space and time: its size, its symmetries, and that it learns."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from forecasters import built, random_network  # noqa: E402
from model_module import model_module  # noqa: E402
from torch.nn import functional  # noqa: E402

from etchmark.catalog import Catalog  # noqa: E402
from etchmark.model import Model  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("alone")
cnn_frames = model_module("cnn_frames")


def test_the_cards_network():
    model = cnn_frames.build(0, "cpu", **Catalog(ROOT).model("cnn_frames/small").params)
    assert isinstance(model, Model)
    assert model.parameter_count() == 226_068
    assert (model.network.given, model.network.made) == (10, 5)


def test_a_convolution_in_space_and_time_is_that_of_torch():
    conv = cnn_frames.SpaceTimeConv(2, 3, 3)
    given = torch.randn(2, 2, 5, 4, 6)
    padded = functional.pad(given, (1, 1, 1, 1, 0, 0), mode="circular")
    expected = functional.conv3d(padded, conv.conv.weight, conv.conv.bias)
    assert expected.shape == (2, 3, 3, 4, 6)
    torch.testing.assert_close(conv(given), expected)


def test_every_frame_known_is_read():
    network, context = random_network("cnn_frames").inner, torch.randn(1, 4, 8, 8)
    context.requires_grad_()
    network(context).square().sum().backward()
    assert (context.grad.abs().amax((0, 2, 3)) > 1e-4).all()


@pytest.mark.parametrize("given", [2, 5])
def test_frames_that_do_not_come_down_to_one_are_refused(given):
    with pytest.raises(ValueError, match=f"even number of at least 4, not {given}"):
        built("cnn_frames", given=given)
