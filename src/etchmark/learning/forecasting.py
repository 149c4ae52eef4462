"""Forecasts of frames: networks that are rolled out, and one training loop for all of them.

A network predicts frames from the frames before them; fed with its own output, it continues for as
long as needed. It is trained on windows of trajectories, drawn at random and moved by the
symmetries of the data. The forecast of held-out trajectories decides which weights are kept. A
``model.py`` that forecasts is a few lines around a network of your own::

    from etchmark.learning.forecasting import Forecaster, FrameNetwork, Plan
    from etchmark.learning.periodic import PeriodicConv
    from etchmark.learning.training import Schedule
    def build(seed: int, device: str) -> Forecaster:
        make = lambda: FrameNetwork(PeriodicConv(2, 1, 1, kernel=7))
        return Forecaster(make, seed, device, Schedule(10, 16, 1e-3), Plan(unroll=4))

Samples hold ``inputs["context"]``, the known frames, shape (samples, frames, n, n);
``inputs["horizon"]``, the number of frames to forecast, shape (samples,); and as target the frames
that follow. Needs torch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from etchmark.learning import training
from etchmark.learning.frame_networks import FrameNetwork as FrameNetwork
from etchmark.learning.frame_networks import ModulatedNetwork as ModulatedNetwork
from etchmark.learning.frame_networks import PaddedConv as PaddedConv
from etchmark.learning.frame_networks import RecurrentNetwork as RecurrentNetwork
from etchmark.learning.frame_samples import context_of as context_of
from etchmark.learning.frame_samples import horizon_of as horizon_of
from etchmark.learning.frame_samples import intervals_of as intervals_of
from etchmark.learning.frame_samples import require_told as require_told
from etchmark.learning.frame_samples import told_of as told_of
from etchmark.learning.frame_samples import trajectories as trajectories
from etchmark.learning.training import Schedule, batches
from etchmark.model import Inputs, Samples, TrainingHistory
from etchmark.saving import Savable

AT_ONCE = {"cpu": 2**16, "cuda": 2**18}
"""Number of pixels per frame, summed over trajectories, that are forecast together."""


# --- windows -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """How a network is trained on windows of trajectories.

    Attributes:
        unroll: frames of a window that are forecast; the loss is their mean squared error.
        shown: frames of a window before those; as many as the network looks back on if None.
        windows: windows drawn from each trajectory in an epoch.
        teacher: scheduled sampling: over this share of the training, the probability that the
            network is shown the true frame in place of its own falls linearly from one to zero.
            Source: Bengio et al., NeurIPS 2015, arXiv 1506.03099.
        patience: epochs without a smaller validation error after which the training ends.
        shift: shift windows at random; for periodic data.
        mirror: mirror windows at random along either axis.
        turn: rotate windows at random by quarter turns; not for data with a preferred direction.
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
        """A window moved by a random symmetry, the same for all frames; shape (frames, n, n)."""
        if self.shift:
            window = np.roll(window, generator.integers(0, window.shape[1:]), axis=(1, 2))
        if self.turn:
            window = np.rot90(window, int(generator.integers(4)), axes=(1, 2))
        if self.mirror:
            rows, columns = generator.choice([-1, 1], 2)
            window = window[:, ::rows, ::columns]
        return window

    def draw(
        self, trajectory: np.ndarray, length: int, generator: np.random.Generator
    ) -> np.ndarray:
        """A window of a trajectory (frames, n, n) with a random start, moved by a symmetry."""
        start = generator.integers(len(trajectory) - length + 1)
        return self.varied(trajectory[start : start + length], generator)

    def forced(self, done: float) -> float:
        """Probability of showing the true frame after a share ``done`` (0 to 1) of the training."""
        return max(0.0, 1 - done / self.teacher) if self.teacher else 0.0


# --- rolling out -------------------------------------------------------------------------------


def rollout(
    network: FrameNetwork,
    context: Tensor,
    frames: int,
    truth: Tensor | None = None,
    forced: Tensor | None = None,
    told: Tensor | None = None,
) -> Iterator[Tensor]:
    """Forecast the frames that follow the context, each from those before it.

    Args:
        network: predicts the next frames.
        context: shape (samples, frames, n, n), on the network's device.
        frames: number of frames to forecast.
        truth: the true frames, shape (samples, frames, n, n); needed with ``forced`` only.
        forced: where the network is shown the true frame in place of its own, boolean, shape
            (samples, frames); for training.
        told: numbers told beside the frames, shape (samples, numbers).

    Yields:
        The next frames, as many as the network makes at a time, shape (samples, k, n, n).
    """
    state, shown, done = network.start(told), context, 0
    while done < frames:
        state, predicted = network.step(state, shown)
        predicted = predicted[:, : frames - done]
        yield predicted
        shown, block = predicted, slice(done, done + predicted.shape[1])
        if truth is not None and forced is not None:
            shown = torch.where(forced[:, block, None, None], truth[:, block], predicted)
        done = block.stop


def forecast(
    network: FrameNetwork,
    context: np.ndarray,
    frames: int,
    device: str = "cpu",
    told: np.ndarray | None = None,
) -> np.ndarray:
    """Forecast frames, shape (samples, frames, n, n), float16, as the network makes them.

    A few trajectories are forecast at a time, in single precision, and each block of frames is
    stored at once: apart from the result, memory does not grow with the horizon.

    Args:
        network: on ``device``.
        context: shape (samples, frames, n, n).
        frames: number of frames to forecast.
        device: ``cpu`` or ``cuda``.
        told: numbers told beside the frames, shape (samples, numbers).

    Raises:
        FloatingPointError: a forecast is not finite in float16; names the row and the frame.
        ValueError: the context has a wrong shape.
    """
    rows, side = len(context), context.shape[2:]
    forecasts = np.empty((rows, frames, *side), np.float16)
    at_once = AT_ONCE.get(torch.device(device).type, AT_ONCE["cpu"]) // math.prod(side)
    network.eval()
    with torch.inference_mode():
        for part in batches(rows, max(1, at_once)):
            known = torch.from_numpy(np.array(context[part])).to(device).float()
            beside = None if told is None else torch.from_numpy(told[part]).to(device)
            done = 0
            for block in rollout(network, known, frames, told=beside):
                values = block.half()
                finite = torch.isfinite(values).all(-1).all(-1)
                if not bool(finite.all()):
                    row, frame = map(int, (~finite).nonzero()[0])
                    raise FloatingPointError(
                        f"the forecast of row {part.start + row} is not finite in frame"
                        f" {done + frame + 1}"
                    )
                forecasts[part, done : done + values.shape[1]] = values.cpu().numpy()
                done += values.shape[1]
    return forecasts


def rollout_rmse(
    network: FrameNetwork,
    context: np.ndarray,
    target: np.ndarray,
    device: str = "cpu",
    told: np.ndarray | None = None,
) -> float:
    """Root mean square error of a forecast over all samples, frames and pixels.

    Infinite if a forecast leaves the range of float16. Shapes as in ``forecast``.
    """
    try:
        forecasts = forecast(network, context, target.shape[1], device, told)
    except FloatingPointError:
        return math.inf
    # One trajectory at a time, so that only one is held in double precision.
    pairs = zip(forecasts, target, strict=True)
    errors = [np.square(predicted.astype(np.float64) - true).mean() for predicted, true in pairs]
    return math.sqrt(np.mean(errors))


def flops_per_frame(
    network: FrameNetwork, *, shown: int, frames: int, side: int, told: int = 0
) -> float:
    """Floating-point operations per forecast frame of one trajectory.

    Convolutions and matrix products are counted, each multiplication with its addition as two. The
    count covers a whole rollout, including the reading of the context; nothing is computed.

    Args:
        network: left unchanged.
        shown: number of frames of context.
        frames: number of frames that are forecast.
        side: pixels per side.
        told: how many numbers are told beside the frames.
    """
    # On the device "meta", tensors have shapes but no values.
    shapes_only = copy.deepcopy(network).to("meta").eval()
    context = torch.zeros(1, shown, side, side, device="meta")
    beside = torch.zeros(1, told, device="meta") if told else None
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for _ in rollout(shapes_only, context, frames, told=beside):
            pass
    return counter.get_total_flops() / frames


# --- the model ---------------------------------------------------------------------------------


class Forecaster(Savable):
    """A model that trains a network on windows of trajectories and rolls it out.

    After every epoch it forecasts the validation trajectories from their context to their horizon,
    and the weights with the smallest error are kept. Without validation samples, the weights of the
    last epoch are kept. Training is in mixed precision where that is faster, prediction always in
    single precision.

    Args:
        make: returns a network with fresh weights, on the CPU.
        seed: of weights, windows and whatever the network draws.
        device: ``cpu`` or ``cuda``.
        schedule: epochs, windows per step, and learning rate.
        plan: windows, rollout in training, symmetries, patience.
        told: numbers that the network is told beside the frames: ``linear`` or ``log``, by the
            name of the input.
    """

    saved = ("network",)

    def __init__(
        self,
        make: Callable[[], FrameNetwork],
        seed: int,
        device: str,
        schedule: Schedule,
        plan: Plan,
        told: Mapping[str, str] | None = None,
    ) -> None:
        self.make, self.seed, self.device = make, seed, device
        self.schedule, self.plan, self.told = schedule, plan, dict(told or {})
        self.network = self._fresh()
        if self.network.told != len(self.told):
            raise ValueError(
                f"the network is told {self.network.told} numbers, and {len(self.told)} inputs are"
                f" named ({', '.join(self.told) or 'none'})"
            )
        self._history: list[tuple[float, float]] = []
        # Sizes of the first forecast, for counting its operations.
        self._forecast_sizes: dict[str, int] = {}

    def _fresh(self) -> FrameNetwork:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.make().to(self.device)

    def fit(self, train: Samples, validation: Samples | None = None) -> Forecaster:
        """Train from fresh weights, or from the checkpoint of the same training run.

        Raises:
            ValueError: trajectories have a wrong shape or are shorter than a window.
        """
        frames = trajectories(train)
        held_out, known = None, 0
        if validation is not None:
            known = context_of(validation.inputs).shape[1]
            held_out = trajectories(validation)[:, : known + horizon_of(validation.inputs)]
        shown = self.plan.shown or self.network.given
        if frames.shape[1] < shown + self.plan.unroll:
            raise ValueError(
                f"trajectories of {frames.shape[1]} frames are shorter than a window of"
                f" {shown} + {self.plan.unroll}"
            )
        told, held_told = told_of(train.inputs, self.told), None
        if validation is not None:
            held_told = told_of(validation.inputs, self.told)
        self.network, self._forecast_sizes = self._fresh(), {}
        self.network.measure(frames)
        if told is not None:
            self.network.measure_told(told)
        progress = 0.0

        def begin(done: float) -> None:
            nonlocal progress
            progress = done

        def loss(rows: np.ndarray, generator: np.random.Generator) -> Tensor:
            chosen = rows % len(frames)
            beside = None if told is None else torch.from_numpy(told[chosen]).to(self.device)
            return self._loss(frames[chosen], shown, progress, generator, beside)

        def error(held_out: np.ndarray) -> float:
            context, target = held_out[:, :known], held_out[:, known:]
            return rollout_rmse(self.network, context, target, self.device, held_told)

        who = training.identity(
            self.seed,
            self.schedule,
            self.network,
            design=repr(self.network),
            plan=asdict(self.plan),
            frames=frames,
            held=held_out,
            known=known,
            **({} if told is None else {"told": told, "held_told": held_told}),
        )
        self._history = training.train(
            self.network,
            loss,
            len(frames) * self.plan.windows,
            self.schedule,
            seed=self.seed,
            device=self.device,
            who=who,
            validate=None if held_out is None else partial(error, held_out),
            patience=None if held_out is None else self.plan.patience,
            begin=begin,
            progress=True,
        )
        return self

    def _loss(
        self,
        batch: np.ndarray,
        shown: int,
        done: float,
        generator: np.random.Generator,
        told: Tensor | None,
    ) -> Tensor:
        """Mean squared error of one window per trajectory, relative to the change per frame."""
        length, probability = shown + self.plan.unroll, self.plan.forced(done)
        windows = np.stack([self.plan.draw(frames, length, generator) for frames in batch])
        tensors = torch.from_numpy(windows).to(self.device).float()
        context, truth, forced = tensors[:, :shown], tensors[:, shown:], None
        if probability > 0:
            draws = generator.random(truth.shape[:2]) < probability
            forced = torch.from_numpy(draws).to(self.device)
        blocks = list(rollout(self.network, context, self.plan.unroll, truth, forced, told))
        error = functional.mse_loss(torch.cat(blocks, 1), truth)
        return error / self.network.scale[2].square()

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Forecast frames, shape (samples, horizon, n, n), float16; errors as in ``forecast``."""
        context, frames = context_of(inputs, self.network.given), horizon_of(inputs)
        told = told_of(inputs, self.told)
        forecasts = forecast(self.network, context, frames, self.device, told)
        if not self._forecast_sizes:
            shown, side = context.shape[1:3]
            sizes = {"shown": shown, "frames": frames, "side": side, "told": len(self.told)}
            self._forecast_sizes = sizes
        return forecasts

    def parameter_count(self) -> int:
        return training.parameter_count(self.network)

    def training_history(self) -> TrainingHistory | None:
        """RMSE of the validation forecasts after each epoch; None before a fit, or without them."""
        return TrainingHistory("rmse", tuple(self._history)) if self._history else None

    def flops(self) -> float | None:
        """Operations per frame of the first forecast after the fit; None before it."""
        if not self._forecast_sizes:
            return None
        return flops_per_frame(self.network, **self._forecast_sizes)
