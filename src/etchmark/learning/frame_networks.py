"""Networks that make frames of the frames before them; needs torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from etchmark.learning import training
from etchmark.learning.periodic import wrap


class PaddedConv(nn.Module):
    """Convolution in two dimensions that keeps the side, or divides it by the stride.

    Args:
        given: channels.
        made: channels.
        kernel: its side, odd.
        periodic: opposite edges meet; else there are zeros beyond them.
        stride, dilation, groups: as in torch.
    """

    def __init__(
        self,
        given: int,
        made: int,
        kernel: int = 3,
        *,
        periodic: bool = True,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"a kernel of side {kernel} has no centre; it must be odd")
        self.periodic, self.width = periodic, dilation * (kernel // 2)
        padding = 0 if periodic else self.width
        self.conv = nn.Conv2d(given, made, kernel, stride, padding, dilation, groups)
        # With bfloat16 on CPUs that have tiles for it, torch 2.15 makes gradients of such weights
        # from memory that nobody wrote: some are off by more than themselves, some no number.
        self.mixed = groups == 1 or dilation == 1

    def forward(self, given: Tensor) -> Tensor:
        missing = self.width if self.periodic else 0
        while missing:
            # A wide kernel goes more than once round a small cell.
            width = min(missing, *given.shape[2:])
            given, missing = wrap(given, width), missing - width
        if self.mixed:
            return self.conv(given)
        with training.full_precision(given):
            return self.conv(given.float())


class FrameNetwork(nn.Module):
    """Makes frames of the frames before them, by a network that sees standardised values.

    Args:
        inner: the network, from (samples, given, n, n) to (samples, made, n, n).
        given: frames it looks back on.
        made: frames it makes at a time.
        residual: what ``inner`` makes are changes since the last frame, in units of what usually
            changes from frame to frame; else frames, standardised.
        conserving: the mean of every frame is that of the last one given, to rounding.
        multiple: what the side of a frame must be a multiple of.
    """

    scale: Tensor
    """Mean and standard deviation of the values, root mean square of what changes in a frame."""

    def __init__(
        self,
        inner: nn.Module,
        *,
        given: int = 1,
        made: int = 1,
        residual: bool = True,
        conserving: bool = False,
        multiple: int = 1,
    ) -> None:
        super().__init__()
        self.inner, self.given, self.made = inner, given, made
        self.residual, self.conserving, self.multiple = residual, conserving, multiple
        self.register_buffer("scale", torch.tensor([0.0, 1.0, 1.0]))

    def extra_repr(self) -> str:
        names = ("given", "made", "residual", "conserving", "multiple")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)

    def measure(self, frames: np.ndarray) -> None:
        """Set the scale by trajectories (samples, frames, n, n)."""
        doubles = (one.astype(np.float64) for one in frames)
        found = [
            (one.mean(), np.square(one).mean(), np.square(np.diff(one, axis=0)).mean())
            for one in doubles
        ]
        mean, square, change = np.mean(found, axis=0)
        spread = math.sqrt(max(square - mean**2, 0.0))
        values = [mean, spread or 1.0, math.sqrt(change) or 1.0]
        self.scale.copy_(torch.tensor(values, dtype=torch.float32))

    def step(self, state: Any, shown: Tensor) -> tuple[Any, Tensor]:
        """Show it frames and get those that follow.

        Args:
            state: what it remembers of the frames shown before; None at first.
            shown: shape (samples, frames, n, n).

        Returns:
            What it remembers now, and frames of shape (samples, made, n, n).

        Raises:
            ValueError: the frames shown have a wrong shape or are too few.
        """
        seen = (shown if state is None else torch.cat([state, shown], 1))[:, -self.given :]
        self._check(seen, self.given)
        return seen, self._frames(self.inner(self._standard(seen)), seen[:, -1:])

    def _check(self, frames: Tensor, count: int) -> None:
        if frames.ndim != 4 or frames.shape[1] < count:
            raise ValueError(
                f"frames of shape {tuple(frames.shape)} are not (samples, {count} or more, n, n)"
            )
        if any(side % self.multiple for side in frames.shape[2:]):
            sides = " x ".join(map(str, frames.shape[2:]))
            raise ValueError(f"frames of {sides}: sides must be multiples of {self.multiple}")

    def _standard(self, frames: Tensor) -> Tensor:
        return (frames - self.scale[0]) / self.scale[1]

    def _frames(self, found: Tensor, last: Tensor) -> Tensor:
        """Frames from what the inner network made, in full precision."""
        if found.shape[1] != self.made:
            raise ValueError(f"the network made {found.shape[1]} frames, not {self.made}")
        centre, spread, change = self.scale
        found = found.float()
        update = change * found if self.residual else centre + spread * found - last
        if self.conserving:
            update = update - update.mean((2, 3), keepdim=True)
        return last + update


class RecurrentNetwork(FrameNetwork):
    """Makes frames one by one with a memory of those it was shown, and of its own.

    Args:
        inner: from a frame (samples, 1, n, n) and its memory (None at first) to the next frame, as
            ``FrameNetwork`` says, and its memory after that.
        given: frames it is shown while its memory begins.
        renewed: frames after which its memory begins again with the last ones, since one that is
            trained on windows goes astray after many more frames than they have; never if None.
        residual, conserving, multiple: see ``FrameNetwork``.
    """

    def __init__(
        self,
        inner: nn.Module,
        *,
        given: int = 1,
        renewed: int | None = None,
        residual: bool = True,
        conserving: bool = False,
        multiple: int = 1,
    ) -> None:
        super().__init__(
            inner, given=given, residual=residual, conserving=conserving, multiple=multiple
        )
        self.renewed = renewed

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, renewed={self.renewed}"

    def step(self, state: Any, shown: Tensor) -> tuple[Any, Tensor]:
        memory, recent, made = state or (None, shown[:, :0], 0)
        recent = torch.cat([recent, shown], 1)[:, -self.given :]
        self._check(recent, self.given)
        if state is None or made == self.renewed:
            memory, shown, made = None, recent, 0
        found = shown
        for frame in shown.split(1, dim=1):
            found, memory = self.inner(self._standard(frame), memory)
        return (memory, recent, made + 1), self._frames(found, recent[:, -1:])
