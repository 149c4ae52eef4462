"""Networks that predict frames from the frames before them; needs torch."""

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
        given: input channels.
        made: output channels.
        kernel: its side, odd.
        periodic: pad with the opposite edge; with zeros if false.
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
        # On CPUs with AMX, torch 2.15 computes the bfloat16 gradients of grouped and dilated
        # convolutions from uninitialised memory: some are off by more than 100 %, some are NaN.
        self.mixed = groups == 1 or dilation == 1

    def forward(self, frames: Tensor) -> Tensor:
        missing = self.width if self.periodic else 0
        while missing:
            # A wide kernel reaches around a small cell more than once.
            width = min(missing, *frames.shape[2:])
            frames, missing = wrap(frames, width), missing - width
        if self.mixed:
            return self.conv(frames)
        with training.full_precision(frames):
            return self.conv(frames.float())


FARTHEST = 10.0
"""Standard deviations from the mean of the training frames that no predicted value exceeds."""


class FrameNetwork(nn.Module):
    """Predicts frames from the frames before them, with a network that sees standardised values.

    A rollout that runs away, as it may far from the training data, stays finite: once trained, the
    network keeps every value within ``FARTHEST``, which no frame that makes sense comes near to.

    Args:
        inner: the network, from (samples, given, n, n) to (samples, made, n, n).
        given: number of frames that it looks back on.
        made: number of frames that it predicts at a time.
        residual: ``inner`` predicts changes since the last frame, in units of the usual change from
            frame to frame; if false, standardised frames.
        conserving: every predicted frame has the mean of the last known frame, to rounding.
        multiple: the side of a frame must be a multiple of this.
    """

    scale: Tensor
    """Mean and standard deviation of the values, and root mean square change per frame."""
    told: int = 0
    """How many numbers it is told beside the frames."""

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
        """Set the scale from trajectories, shape (samples, frames, n, n)."""
        # A generator, so that only one trajectory at a time is held in double precision.
        doubles = (trajectory.astype(np.float64) for trajectory in frames)
        moments = [
            (values.mean(), np.square(values).mean(), np.square(np.diff(values, axis=0)).mean())
            for values in doubles
        ]
        mean, square, change = np.mean(moments, axis=0)
        spread = math.sqrt(max(square - mean**2, 0.0))
        values = [mean, spread or 1.0, math.sqrt(change) or 1.0]
        self.scale.copy_(torch.tensor(values, dtype=torch.float32))

    def measure_told(self, told: np.ndarray) -> None:
        """Set the scale of what is told beside the frames, shape (samples, numbers)."""

    def start(self, told: Tensor | None) -> Any:
        """State before the first step.

        Args:
            told: numbers told beside the frames, shape (samples, numbers); None if there are none.
        """
        return None

    def step(self, state: Any, shown: Tensor) -> tuple[Any, Tensor]:
        """Predict the frames that follow.

        Args:
            state: what the last step returned; at first that of ``start``.
            shown: new frames, shape (samples, frames, n, n).

        Returns:
            The state for the next step, and predicted frames of shape (samples, made, n, n).

        Raises:
            ValueError: the frames have a wrong shape or are too few.
        """
        recent = (shown if state is None else torch.cat([state, shown], 1))[:, -self.given :]
        self._check(recent, self.given)
        return recent, self._frames(self.inner(self._standard(recent)), recent[:, -1:])

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

    def _frames(self, outputs: Tensor, last: Tensor) -> Tensor:
        """Frames from the outputs of the inner network, in full precision."""
        if outputs.shape[1] != self.made:
            raise ValueError(f"the network made {outputs.shape[1]} frames, not {self.made}")
        centre, spread, change = self.scale
        outputs = outputs.float()
        update = change * outputs if self.residual else centre + spread * outputs - last
        if self.conserving:
            update = update - update.mean((2, 3), keepdim=True)
        frames = last + update
        if self.training:
            return frames
        return frames.clamp(centre - FARTHEST * spread, centre + FARTHEST * spread)


class RecurrentNetwork(FrameNetwork):
    """Predicts frames one by one, with a memory of the frames it was shown and of its own.

    Args:
        inner: takes a frame (samples, 1, n, n) and a memory (None at first); returns the next frame
            (see ``residual`` of ``FrameNetwork``) and the updated memory.
        given: number of frames from which a memory is built up.
        renewed: number of predicted frames after which the memory is built up again from the last
            frames; never if None. A network trained on short windows drifts when its memory spans
            many more frames than they have.
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
        outputs = shown
        for frame in shown.split(1, dim=1):
            outputs, memory = self.inner(self._standard(frame), memory)
        return (memory, recent, made + 1), self._frames(outputs, recent[:, -1:])


class ModulatedNetwork(FrameNetwork):
    """Predicts frames one by one, with a code that stays the same for a whole forecast.

    The code is either what is told of the simulation, standardised, or what an encoder makes of the
    first frames shown.

    Args:
        inner: from the last frame (samples, 1, n, n) and a code (samples, numbers) to the next
            frame (see ``residual`` of ``FrameNetwork``).
        told: how many numbers are told; 0 where there is an encoder.
        encoder: from frames (samples, given, n, n), standardised, to a code; None to be told.
        given: number of frames that the encoder reads; 1 without it.
        residual, conserving, multiple: see ``FrameNetwork``.

    Raises:
        ValueError: there is neither an encoder nor a number told, or both.
    """

    told_scale: Tensor
    """Mean and standard deviation of each number told, shape (2, numbers)."""

    def __init__(
        self,
        inner: nn.Module,
        *,
        told: int = 0,
        encoder: nn.Module | None = None,
        given: int = 1,
        residual: bool = True,
        conserving: bool = False,
        multiple: int = 1,
    ) -> None:
        super().__init__(
            inner, given=given, residual=residual, conserving=conserving, multiple=multiple
        )
        if told < 0 or (encoder is None) == (told == 0):
            raise ValueError("the code is either told or made by an encoder")
        self.encoder, self.told = encoder, told
        self.register_buffer("told_scale", torch.stack([torch.zeros(told), torch.ones(told)]))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, told={self.told}"

    def measure_told(self, told: np.ndarray) -> None:
        spread = told.std(axis=0)
        values = np.stack([told.mean(axis=0), np.where(spread > 0, spread, 1.0)])
        self.told_scale.copy_(torch.tensor(values, dtype=torch.float32))

    def start(self, told: Tensor | None) -> Any:
        if self.encoder is not None:
            return None
        if told is None:
            raise ValueError("the network is told nothing, and has no encoder")
        mean, spread = self.told_scale
        return (told - mean) / spread

    def step(self, state: Any, shown: Tensor) -> tuple[Any, Tensor]:
        if state is None:
            first = shown[:, -self.given :]
            self._check(first, self.given)
            state = self.encoder(self._standard(first))  # type: ignore[misc] (start refuses None)
        last = shown[:, -1:]
        self._check(last, 1)
        return state, self._frames(self.inner(self._standard(last), state), last)
