"""Layers for periodic cells, compared with what torch computes from padded ones."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from etchmark.learning.periodic import (  # noqa: E402
    PeriodicConv,
    PeriodicResidual,
    channels_last,
    coarse_grid,
    halve,
    wrap,
)


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


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_residual_block_starts_as_the_identity_and_moves_with_its_input(dimensions):
    block = PeriodicResidual(dimensions, 2)
    features = torch.randn(1, 2, *(5, 4, 3)[:dimensions])
    assert torch.equal(block(features), features)
    nn.init.normal_(block.second.conv.weight)
    axes = tuple(range(2, 2 + dimensions))
    moved, shifts = block(features.roll([1] * dimensions, axes)), [1] * dimensions
    assert torch.allclose(moved, block(features).roll(shifts, axes), atol=1e-5)
    assert not torch.allclose(block(features), features, atol=1e-2)


def test_a_cell_of_the_coarse_grid_has_its_voxels_as_channels():
    volume = torch.zeros(1, 9, 9, 9, dtype=torch.uint8)
    volume[0, 4, 8, 0] = 1
    channels = coarse_grid(volume, 3)
    assert channels.shape == (1, 27, 3, 3, 3)
    assert channels.is_contiguous(memory_format=torch.channels_last_3d)
    assert (channels == 1).nonzero().tolist() == [[0, 1 * 9 + 2 * 3 + 0, 1, 2, 0]]
    assert ((channels == -1) | (channels == 1)).all()
    image = volume[:, 4]
    assert (coarse_grid(image, 3) == 1).nonzero().tolist() == [[0, 2 * 3 + 0, 2, 0]]


def test_a_side_that_blocks_do_not_divide_is_continued_periodically():
    volume = torch.randint(0, 2, (1, 9, 9, 9), dtype=torch.uint8)
    assert coarse_grid(volume, 2).shape == (1, 8, 5, 5, 5)
    continued = functional.pad(volume[None].float(), (0, 1) * 3, mode="circular")[0]
    assert torch.equal(coarse_grid(volume, 2), coarse_grid(continued, 2))
    assert coarse_grid(volume[:, 0], 2).shape == (1, 4, 5, 5)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_halving_averages_blocks_of_two_and_wraps_an_odd_side(dimensions):
    even = torch.randn(1, 1, *[4] * dimensions)
    block = even[(..., *[slice(2)] * dimensions)]
    halved = halve(even)
    assert halved.shape == (1, 1, *[2] * dimensions)
    assert halved[(0, 0, *[0] * dimensions)].item() == pytest.approx(block.mean().item(), abs=1e-6)
    odd = torch.randn(1, 1, *[3] * dimensions)
    wrapped = functional.pad(odd, (0, 1) * dimensions, mode="circular")
    assert torch.allclose(halve(odd), halve(wrapped))
