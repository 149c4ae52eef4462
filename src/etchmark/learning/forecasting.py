"""Forecasts of frames: networks that are rolled out, and one training loop for all of them.

A network makes frames of frames; shown its own, it goes on for as long as it is asked to. What it
is trained on are windows of trajectories, drawn at random and moved by the symmetries of the data,
and what is forecast of trajectories held out decides which weights are kept. A ``model.py`` that
forecasts is a few lines around a network of your own::

    from etchmark.learning.forecasting import Forecaster, FrameNetwork, Plan
    from etchmark.learning.periodic import PeriodicConv
    from etchmark.learning.training import Schedule
    def build(seed: int, device: str) -> Forecaster:
        make = lambda: FrameNetwork(PeriodicConv(2, 1, 1, kernel=7))
        return Forecaster(make, seed, device, Schedule(10, 16, 1e-3), Plan(unroll=4))

Samples hold ``inputs["context"]`` (samples, frames, n, n), ``inputs["horizon"]`` (samples,), the
number of frames to forecast, and as target the frames that follow. Needs torch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from etchmark.learning import training
from etchmark.learning.frame_networks import FrameNetwork as FrameNetwork
from etchmark.learning.frame_networks import PaddedConv as PaddedConv
from etchmark.learning.frame_networks import RecurrentNetwork as RecurrentNetwork
from etchmark.learning.training import Schedule, batches
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable

AT_ONCE = {"cpu": 2**16, "cuda": 2**18}
"""Pixels of a frame, summed over trajectories, that are forecast together."""


# --- samples -----------------------------------------------------------------------------------


def context_of(inputs: Inputs, at_least: int = 1) -> np.ndarray:
    """The frames that are known, shape (samples, frames, n, n), as stored.

    Raises ValueError if they have another shape, are too few, no floats, or not finite.
    """
    frames = np.asarray(inputs["context"])
    if frames.ndim != 4 or frames.shape[2] != frames.shape[3]:
        raise ValueError(f"context of shape {frames.shape} is not (samples, frames, n, n)")
    if frames.dtype.kind != "f":
        raise ValueError(f"context holds {frames.dtype}, not floats")
    if frames.shape[1] < at_least:
        raise ValueError(f"context has {frames.shape[1]} frames and wants at least {at_least}")
    if not np.isfinite(frames).all():
        raise ValueError("context holds values that are not finite")
    return frames


def horizon_of(inputs: Inputs) -> int:
    """How many frames to forecast; ValueError unless it is the same positive number everywhere."""
    horizons = np.unique(np.asarray(inputs["horizon"]))
    if len(horizons) != 1 or horizons.dtype.kind not in "iu" or horizons[0] < 1:
        raise ValueError(f"horizon must be one positive whole number, not {horizons[:5].tolist()}")
    return int(horizons[0])


def trajectories(samples: Samples) -> np.ndarray:
    """Context and target joined, shape (samples, frames, n, n); ValueError if they do not fit."""
    context, target = context_of(samples.inputs), np.asarray(samples.target)
    rows, _, *side = context.shape
    if target.ndim != 4 or (len(target), *target.shape[2:]) != (rows, *side):
        raise ValueError(f"target of shape {target.shape} does not follow {context.shape}")
    if not np.isfinite(target).all():
        raise ValueError("target holds values that are not finite")
    return np.concatenate([context, target], axis=1)


@dataclass(frozen=True)
class Plan:
    """How a network is trained on windows of trajectories.

    Attributes:
        unroll: frames that are forecast, the loss being their mean squared error.
        shown: frames before them; as many as the network looks back on if None.
        windows: of each trajectory in an epoch.
        teacher: scheduled sampling: the probability that the true frame is shown to the network in
            place of its own falls linearly from one to zero over this share of the training.
            Source: Bengio et al., NeurIPS 2015, arXiv 1506.03099.
        patience: epochs without a smaller validation error after which the training ends.
        shift: windows are shifted at random: the data are periodic.
        mirror: they are mirrored at random, in either axis.
        turn: they are turned at random by quarter turns; not for data with a preferred direction.
    """

    unroll: int
    shown: int | None = None
    windows: int = 1
    teacher: float = 0.0
    patience: int | None = None
    shift: bool = True
    mirror: bool = True
    turn: bool = True

    def __post_init__(self) -> None:
        if self.unroll < 1 or self.windows < 1 or (self.shown is not None and self.shown < 1):
            raise ValueError(f"unroll, windows and shown must be positive: {self}")
        if not 0 <= self.teacher <= 1:
            raise ValueError(f"teacher {self.teacher} must be between 0 and 1")

    def varied(self, window: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """A window (frames, n, n) moved by the symmetries, the same way in all frames."""
        if self.shift:
            window = np.roll(window, generator.integers(0, window.shape[1:]), axis=(1, 2))
        if self.turn:
            window = np.rot90(window, int(generator.integers(4)), axes=(1, 2))
        if self.mirror:
            a, b = generator.choice([-1, 1], 2)
            window = window[:, ::a, ::b]
        return window

    def draw(
        self, trajectory: np.ndarray, length: int, generator: np.random.Generator
    ) -> np.ndarray:
        """A window of a trajectory (frames, n, n) that starts anywhere, moved by the symmetries."""
        start = generator.integers(len(trajectory) - length + 1)
        return self.varied(trajectory[start : start + length], generator)

    def forced(self, done: float) -> float:
        """Probability that a true frame is shown once a share ``done`` of the training is over."""
        return max(0.0, 1 - done / self.teacher) if self.teacher else 0.0


# --- rolling out -------------------------------------------------------------------------------


def rollout(
    network: FrameNetwork,
    context: Tensor,
    frames: int,
    truth: Tensor | None = None,
    forced: Tensor | None = None,
) -> Iterator[Tensor]:
    """Frames that follow the context, a few at a time, each made of those before it.

    Args:
        network: what makes them.
        context: shape (samples, frames, n, n), on the network's device.
        frames: how many.
        truth: the true ones, shape (samples, frames, n, n), if some of them are to be shown.
        forced: where the network is shown the true frame in place of its own, (samples, frames).
    """
    state, shown, done = None, context, 0
    while done < frames:
        state, predicted = network.step(state, shown)
        predicted = predicted[:, : frames - done]
        yield predicted
        shown, here = predicted, slice(done, done + predicted.shape[1])
        if truth is not None and forced is not None:
            shown = torch.where(forced[:, here, None, None], truth[:, here], predicted)
        done = here.stop


def forecast(
    network: FrameNetwork, context: np.ndarray, frames: int, device: str = "cpu"
) -> np.ndarray:
    """Forecast frames, shape (samples, frames, n, n), float16, neither clipped nor rescaled.

    Trajectories are taken a few at a time, in single precision, and what is made is put where it
    belongs at once: memory does not grow with the horizon but for the result.

    Args:
        network: on ``device``.
        context: shape (samples, frames, n, n).
        frames: how many.
        device: ``cpu`` or ``cuda``.

    Raises:
        FloatingPointError: a forecast leaves the range of float16; says where and when.
        ValueError: the context has a wrong shape.
    """
    rows, side = len(context), context.shape[2:]
    made = np.empty((rows, frames, *side), np.float16)
    at_once = AT_ONCE.get(torch.device(device).type, AT_ONCE["cpu"]) // math.prod(side)
    network.eval()
    with torch.inference_mode():
        for part in batches(rows, max(1, at_once)):
            given = torch.from_numpy(np.array(context[part])).to(device).float()
            at = 0
            for block in rollout(network, given, frames):
                values = block.half()
                fine = torch.isfinite(values).all(-1).all(-1)
                if not bool(fine.all()):
                    row, frame = (int(one) for one in (~fine).nonzero()[0])
                    raise FloatingPointError(
                        f"the forecast of row {part.start + row} is not finite in frame"
                        f" {at + frame + 1}"
                    )
                made[part, at : at + values.shape[1]] = values.cpu().numpy()
                at += values.shape[1]
    return made


def rollout_rmse(
    network: FrameNetwork, context: np.ndarray, target: np.ndarray, device: str = "cpu"
) -> float:
    """Root mean square error of a forecast over all samples, frames and pixels.

    Infinite where a forecast leaves the range of numbers. Shapes as in ``forecast``.
    """
    try:
        found = forecast(network, context, target.shape[1], device)
    except FloatingPointError:
        return math.inf
    pairs = zip(found, target, strict=True)
    errors = [np.square(one.astype(np.float64) - other).mean() for one, other in pairs]
    return math.sqrt(np.mean(errors))


def flops_per_frame(network: FrameNetwork, *, shown: int, frames: int, side: int) -> float:
    """Floating-point operations per forecast frame: of convolutions and products, two per pair.

    Counted over a whole rollout of one trajectory without computing anything, the reading of its
    context included.

    Args:
        network: stays as it is.
        shown: frames of context.
        frames: that are forecast.
        side: pixels per side.
    """
    ghost = copy.deepcopy(network).to("meta").eval()
    context = torch.zeros(1, shown, side, side, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for _ in rollout(ghost, context, frames):
            pass
    return counter.get_total_flops() / frames


# --- the model ---------------------------------------------------------------------------------


class Forecaster(Savable):
    """A model that trains a network on windows of trajectories and rolls it out.

    After every epoch it forecasts the validation trajectories from their context to their horizon;
    the weights with the smallest error are kept. Without validation samples those of the last epoch
    are. Prediction is in single precision, training in mixed precision where that is faster.

    Args:
        make: makes the network with fresh weights, on the CPU.
        seed: of weights, windows and whatever the network draws.
        device: ``cpu`` or ``cuda``.
        schedule: epochs, windows per step and rates; AdamW under one cycle.
        plan: windows, rollout in training, symmetries, patience.
    """

    saved = ("network",)

    def __init__(
        self,
        make: Callable[[], FrameNetwork],
        seed: int,
        device: str,
        schedule: Schedule,
        plan: Plan,
    ) -> None:
        self.make, self.seed, self.device = make, seed, device
        self.schedule, self.plan = schedule, plan
        self.network = self._fresh()
        self._asked: dict[str, int] = {}

    def _fresh(self) -> FrameNetwork:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.make().to(self.device)

    def fit(self, train: Samples, validation: Samples | None = None) -> Forecaster:
        """Train from fresh weights, or from the checkpoint of this very training.

        Raises ValueError if trajectories have a wrong shape or are shorter than a window.
        """
        frames = trajectories(train)
        held, known = None, 0
        if validation is not None:
            known = context_of(validation.inputs).shape[1]
            held = trajectories(validation)[:, : known + horizon_of(validation.inputs)]
        shown = self.plan.shown or self.network.given
        if frames.shape[1] < shown + self.plan.unroll:
            raise ValueError(
                f"trajectories of {frames.shape[1]} frames are shorter than a window of"
                f" {shown} + {self.plan.unroll}"
            )
        self.network, self._asked = self._fresh(), {}
        self.network.measure(frames)
        share = 0.0

        def begin(done: float) -> None:
            nonlocal share
            share = done

        def loss(rows: np.ndarray, generator: np.random.Generator) -> Tensor:
            return self._loss(frames[rows % len(frames)], shown, share, generator)

        def error(held: np.ndarray) -> float:
            return rollout_rmse(self.network, held[:, :known], held[:, known:], self.device)

        who = training.identity(
            self.seed,
            self.schedule,
            self.network,
            design=repr(self.network),
            plan=asdict(self.plan),
            frames=frames,
            held=held,
            known=known,
        )
        training.train(
            self.network,
            loss,
            len(frames) * self.plan.windows,
            self.schedule,
            seed=self.seed,
            device=self.device,
            who=who,
            validate=None if held is None else partial(error, held),
            patience=None if held is None else self.plan.patience,
            begin=begin,
            progress=True,
        )
        return self

    def _loss(
        self, drawn: np.ndarray, shown: int, done: float, generator: np.random.Generator
    ) -> Tensor:
        """Mean squared error over a window of each trajectory, in units of what changes."""
        length, chance = shown + self.plan.unroll, self.plan.forced(done)
        windows = np.stack([self.plan.draw(one, length, generator) for one in drawn])
        given = torch.from_numpy(windows).to(self.device).float()
        context, truth, forced = given[:, :shown], given[:, shown:], None
        if chance > 0:
            forced = torch.from_numpy(generator.random(truth.shape[:2]) < chance).to(self.device)
        blocks = list(rollout(self.network, context, self.plan.unroll, truth, forced))
        error = functional.mse_loss(torch.cat(blocks, 1), truth)
        return error / self.network.scale[2].square()

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Forecast frames, shape (samples, horizon, n, n), float16; errors as in ``forecast``."""
        context, frames = context_of(inputs, self.network.given), horizon_of(inputs)
        found = forecast(self.network, context, frames, self.device)
        if not self._asked:
            self._asked = {"shown": context.shape[1], "frames": frames, "side": context.shape[2]}
        return found

    def parameter_count(self) -> int:
        return training.parameter_count(self.network)

    def flops(self) -> float | None:
        """Operations of a frame of the first forecast after the fit."""
        return flops_per_frame(self.network, **self._asked) if self._asked else None
