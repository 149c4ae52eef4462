"""ConvLSTM: its equations and size, its symmetries, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from forecasters import random_network, sequences  # noqa: E402
from model_module import model_module  # noqa: E402
from torch.nn import functional  # noqa: E402

from etchmark.catalog import Catalog  # noqa: E402
from etchmark.model import Model  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("alone")
convlstm = model_module("convlstm")


@pytest.mark.parametrize(("variant", "parameters"), [("full", 11_677_712), ("small", 480_784)])
def test_the_cards_networks(variant, parameters):
    model = convlstm.build(0, "cpu", **Catalog(ROOT).model(f"convlstm/{variant}").params)
    assert isinstance(model, Model)
    assert model.parameter_count() == parameters
    assert model.plan.teacher > 0
    assert model.network.inner.cells[0].gates.periodic


def test_a_cell_is_that_of_the_paper():
    cell = convlstm.Cell(2, 3, 5, periodic=True)
    given, output, memory = (
        torch.randn(1, 2, 6, 6),
        torch.randn(1, 3, 6, 6),
        torch.randn(1, 3, 6, 6),
    )
    weight, bias = cell.gates.conv.weight, cell.gates.conv.bias
    assert bias.tolist() == [0] * 3 + [1] * 3 + [0] * 6

    def around(values: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        padded = functional.pad(values, (2, 2, 2, 2), mode="circular")
        return functional.conv2d(padded, kernel)

    # Input, forget, content and output, each of both convolutions.
    i, f, g, o = (
        around(given, weight[at : at + 3, :2])
        + around(output, weight[at : at + 3, 2:])
        + bias[at : at + 3, None, None]
        for at in (0, 3, 6, 9)
    )
    expected = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
    found, after = cell(given, (output, memory))
    torch.testing.assert_close(after, expected)
    torch.testing.assert_close(found, torch.sigmoid(o) * torch.tanh(expected))
    # Before the first frame there is nothing to remember.
    nothing = torch.zeros(1, 3, 6, 6)
    torch.testing.assert_close(cell(given, None), cell(given, (nothing, nothing)))


def test_what_was_shown_before_is_remembered():
    network = random_network("convlstm")
    context = torch.from_numpy(sequences("convlstm", 1, 3).astype(np.float32))
    other = context.clone()
    other[:, 0] = other[:, 0].flip(2)
    with torch.inference_mode():
        found, changed = (network.step(None, one)[1] for one in (context, other))
    assert (found - changed).abs().max() > 1e-4
