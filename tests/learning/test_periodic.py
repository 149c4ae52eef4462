"""Periodic convolution: circular padding and what torch itself makes of it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from etchmark.learning.periodic import PeriodicConv, channels_last, wrap  # noqa: E402


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (2, 3, 4, 5, 2)])
@pytest.mark.parametrize("width", [0, 1, 2])
def test_wrapping_is_circular_padding_with_its_gradient(shape, width):
    given = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    expected = functional.pad(given, (width,) * 2 * (len(shape) - 2), mode="circular")
    found = wrap(given, width)
    assert torch.equal(found, expected)
    weights = torch.randn_like(expected)
    gradient = torch.autograd.grad((expected * weights).sum(), given)[0]
    assert torch.allclose(torch.autograd.grad((found * weights).sum(), given)[0], gradient)


def test_the_gradient_that_comes_in_is_left_as_it_was():
    given = torch.randn(1, 1, 4, 4, requires_grad=True)
    incoming = torch.ones(1, 1, 6, 6)
    wrap(given, 1).backward(incoming)
    assert (incoming == 1).all()


def test_wrapping_keeps_channels_last():
    given = torch.randn(2, 3, 4, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    assert wrap(given, 1).is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("shape", [(1, 1, 1, 4), (1, 4, 4)])
def test_what_cannot_be_wrapped_is_refused(shape):
    with pytest.raises(ValueError, match="cannot be wrapped by 2"):
        wrap(torch.zeros(shape), 2)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_periodic_convolution_moves_with_its_input(dimensions):
    layer = channels_last(PeriodicConv(dimensions, 2, 3), dimensions)
    given = torch.randn(1, 2, *(5, 4, 3)[:dimensions])
    shifts, axes = (2, 1, 1)[:dimensions], tuple(range(2, 2 + dimensions))
    moved = layer(given.roll(shifts, axes))
    assert torch.allclose(moved, layer(given).roll(shifts, axes), atol=1e-6)
    assert not torch.allclose(moved, layer(given), atol=1e-2)


def test_periodic_convolutions_have_odd_kernels_in_two_or_three_dimensions():
    for dimensions, kernel in ((1, 3), (2, 4)):
        with pytest.raises(ValueError, match="wants 2 or 3 and odd"):
            PeriodicConv(dimensions, 1, 1, kernel)


def test_only_convolutions_of_the_dimension_are_laid_out():
    network = nn.Sequential(nn.Conv2d(2, 2, 3), nn.Conv3d(2, 2, 3))
    channels_last(network, 3)
    flat, deep = (layer.weight for layer in network)
    assert deep.is_contiguous(memory_format=torch.channels_last_3d)
    assert not flat.is_contiguous(memory_format=torch.channels_last)
