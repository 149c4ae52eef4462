"""Losses and a descent for images that are to have the statistics of an exemplar; needs torch.

Images are continuous while they are changed, shape (images, height, width), one exemplar for all.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from etchmark.learning.reconstruction import Exemplar

Loss = Callable[[torch.Tensor], torch.Tensor]
"""Of images, shape (images, height, width): one number for each, shape (images,)."""


class TwoPointLoss:
    """How far two-point functions are from the exemplar's at all lags, relative to its own size.

    The sum over lags of the squared difference, divided by that of the exemplar's two-point
    function less its limit at long distances, the squared volume fraction.

    Args:
        exemplar: whose two-point function is wanted.
        reach: largest lag along each axis, pixels; less where the exemplar is smaller.
        device: of the images.
    """

    def __init__(self, exemplar: Exemplar, reach: int, device: str) -> None:
        height, width = exemplar.image.shape
        self.reach = min(reach, (min(height, width) - 1) // 2)
        self.padded = (height, width)
        if not exemplar.periodic:
            self.padded = (height + self.reach, width + self.reach)
        lags = torch.arange(-self.reach, self.reach + 1, device=device)
        self.pairs = torch.tensor(float(height * width), device=device)
        if not exemplar.periodic:
            self.pairs = torch.outer(height - lags.abs(), width - lags.abs()).float()
        self.rows, self.columns = (lags % side for side in self.padded)
        target = torch.from_numpy(exemplar.two_point(self.reach)).float()
        self.target = target.to(device)
        self.size = (self.target - exemplar.fraction**2).square().sum()

    def two_point(self, images: torch.Tensor) -> torch.Tensor:
        """Of images, zero lag at the centre, shape (images, 2 * reach + 1, 2 * reach + 1)."""
        spectrum = torch.fft.rfft2(images, s=self.padded)
        power = spectrum.real.square() + spectrum.imag.square()
        counts = torch.fft.irfft2(power, s=self.padded)
        return counts[:, self.rows[:, None], self.columns] / self.pairs

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return (self.two_point(images) - self.target).square().sum(dim=(1, 2)) / self.size


def scaled_logits(fields: torch.Tensor, fraction: float, spread: float) -> torch.Tensor:
    """Fields shifted and scaled so that their logistic function is an image of nearly two phases.

    Args:
        fields: shape (images, height, width).
        fraction: share of the pixels that become positive.
        spread: standard deviation that they are given; the larger, the sharper the image.
    """
    flat = fields.flatten(1)
    level = flat.quantile(1 - fraction, dim=1)[:, None, None]
    return (fields - level) * (spread / flat.std(dim=1)[:, None, None])


def descend(images: torch.Tensor, loss: Loss, steps: int, memory: int = 10) -> torch.Tensor:
    """Images of less loss, by L-BFGS on all of them together.

    The losses are added up, so images do not see each other but for the common step length.

    Args:
        images: to begin with, float32.
        loss: of each image.
        steps: of the descent.
        memory: of the approximation of second derivatives.

    Returns:
        Continuous images; where a step is not finite, those before it.

    Source: Liu & Nocedal, Math. Program. 45 (1989) 503, DOI 10.1007/BF01589116.
    """
    values = nn.Parameter(images.clone())
    optimiser = torch.optim.LBFGS(
        [values],
        max_iter=steps,
        max_eval=2 * steps,
        history_size=memory,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        total = loss(values).sum()
        total.backward()
        return total

    optimiser.step(closure)
    return values.detach()
