"""Layers for periodic cells in two and three dimensions; needs torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class _Wrap(torch.autograd.Function):
    """Periodic padding of all axes after the second.

    It gives the same numbers as ``pad(mode="circular")`` in about a third of the time. Unlike
    ``pad`` it keeps channels last, without which the convolution that follows is slower.
    """

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, width: int) -> torch.Tensor:
        ctx.width = width
        sizes = features.shape[2:]
        last = torch.channels_last if len(sizes) == 2 else torch.channels_last_3d
        padded = torch.empty(
            (*features.shape[:2], *(size + 2 * width for size in sizes)),
            dtype=features.dtype,
            device=features.device,
            memory_format=last,
        )
        padded[(..., *(slice(width, width + size) for size in sizes))] = features
        # One axis after another, so that edges and corners are copied from what is already padded.
        for axis, size in enumerate(sizes, 2):
            padded.narrow(axis, 0, width).copy_(padded.narrow(axis, size, width))
            padded.narrow(axis, size + width, width).copy_(padded.narrow(axis, width, width))
        return padded

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        # The incoming gradient may be shared with other consumers: work on a copy.
        width, total = ctx.width, gradients[0].clone()
        sizes = [size - 2 * width for size in total.shape[2:]]
        for axis, size in reversed(list(enumerate(sizes, 2))):
            total.narrow(axis, size, width).add_(total.narrow(axis, 0, width))
            total.narrow(axis, width, width).add_(total.narrow(axis, size + width, width))
        return total[(..., *(slice(width, width + size) for size in sizes))], None


def wrap(features: torch.Tensor, width: int) -> torch.Tensor:
    """Periodic padding by ``width`` on both sides of every axis after (samples, channels).

    Args:
        features: shape (samples, channels, n, n) or (samples, channels, n, n, n).
        width: cells added on each side.

    Raises:
        ValueError: an axis is shorter than the width, or there are not two or three of them.
    """
    if features.ndim not in (4, 5) or min(features.shape[2:]) < width:
        raise ValueError(f"shape {tuple(features.shape)} cannot be wrapped by {width}")
    padded: Any = _Wrap.apply(features, width) if width else features
    return padded


class PeriodicConv(nn.Module):
    """Convolution of a periodic cell.

    Args:
        dimensions: 2 or 3.
        given: input channels.
        made: output channels.
        kernel: its side, odd.
    """

    def __init__(self, dimensions: int, given: int, made: int, kernel: int = 3) -> None:
        super().__init__()
        if dimensions not in (2, 3) or kernel % 2 == 0:
            raise ValueError(f"{dimensions} dimensions, kernel {kernel}: wants 2 or 3 and odd")
        self.conv = (nn.Conv2d if dimensions == 2 else nn.Conv3d)(given, made, kernel)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]
        self.width = kernel // 2

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.conv(wrap(features, self.width))


class PeriodicResidual(nn.Module):
    """x + conv(relu(conv(relu(x)))), two periodic convolutions of side 3.

    The second one starts with zero weights, so the block starts as the identity: deep stacks then
    train without normalisation.

    Args:
        dimensions: 2 or 3.
        width: channels of input and output.
    """

    def __init__(self, dimensions: int, width: int) -> None:
        super().__init__()
        self.first = PeriodicConv(dimensions, width, width)
        self.second = PeriodicConv(dimensions, width, width)
        nn.init.zeros_(self.second.conv.weight)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        inner = functional.relu(self.first(functional.relu(features)))
        return features + self.second(inner)


def coarse_grid(phases: torch.Tensor, pool: int) -> torch.Tensor:
    """A grid coarser by ``pool``, with the cells of each block as channels, laid out channels last.

    Args:
        phases: zeros and ones, shape (samples, n, n) or (samples, n, n, n). If ``pool`` does not
            divide n, the first layers are repeated after the last, since the cell is periodic.
        pool: cells per side of a block.

    Returns:
        -1 and +1, float32, shape (samples, pool ** dimensions, m, m[, m]) with m = ceil(n / pool).
    """
    axes = range(1, phases.ndim)
    missing = -phases.shape[-1] % pool
    for axis in axes if missing else ():
        phases = torch.cat([phases, phases.narrow(axis, 0, missing)], axis)
    samples, side, dimensions = len(phases), phases.shape[-1] // pool, len(axes)
    blocks = phases.reshape(samples, *(side, pool) * dimensions)
    places, cells = range(1, 2 * dimensions, 2), range(2, 2 * dimensions + 1, 2)
    channels = blocks.permute(0, *places, *cells).reshape(samples, *[side] * dimensions, -1)
    return channels.movedim(-1, 1).float() * 2 - 1


def halve(features: torch.Tensor) -> torch.Tensor:
    """Means over blocks of two cells per side of a periodic cell.

    An odd side is wrapped by one cell first, so that 17 becomes 9.

    Args:
        features: shape (samples, channels, n, n) or (samples, channels, n, n, n).
    """
    if features.shape[-1] % 2:
        features = wrap(features, 1)[(..., *[slice(1, None)] * (features.ndim - 2))]
    pool = functional.avg_pool2d if features.ndim == 4 else functional.avg_pool3d
    return pool(features, 2)


def channels_last(network: nn.Module, dimensions: int) -> nn.Module:
    """The network, with its convolutions of that many dimensions in the faster memory layout."""
    layout = torch.channels_last if dimensions == 2 else torch.channels_last_3d
    for module in network.modules():
        if isinstance(module, nn.Conv2d if dimensions == 2 else nn.Conv3d):
            module.to(memory_format=layout)
    return network
