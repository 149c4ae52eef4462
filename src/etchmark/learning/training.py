"""Training of torch models on a fixed schedule, resumable after every epoch.

Needs torch. The weights of the last epoch are the result, and nothing held out is looked at to
choose anything, unless a caller asks for the epoch of the least validation error. Importing starts
no threads, so a process may still fork afterwards.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from etchmark import settings
from etchmark.environment import cpu_multiplies_bfloat16
from etchmark.learning.checkpoint import Best, TrainingState
from etchmark.saving import Savable

CHECKPOINT = "checkpoint.safetensors"
"""File in the working directory that an evaluation gives to a model."""
SMALLEST_SPAN = 1e-9
"""Logarithmic distance of two limits that coincide."""

Loss = Callable[[np.ndarray, np.random.Generator], torch.Tensor]
"""Mean loss over the rows of given indices; draws whatever it augments with from the generator."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: AdamW under a rate that rises linearly and falls as a cosine to zero.

    Attributes:
        epochs: passes over the training rows.
        batch: rows per step, at most; the steps of an epoch are equally large up to one row.
        learning_rate: the highest rate.
        weight_decay: of weights with two or more axes; biases and scales are left alone.
        warmup: share of all steps on which the rate rises.
        clip: largest norm of a gradient, None for no limit.
    """

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.0
    warmup: float = 0.1
    clip: float | None = 1.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or not self.learning_rate > 0:
            raise ValueError(f"epochs, batch and learning_rate must be positive: {self}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup {self.warmup} must be at least 0 and less than 1")

    def rate(self, done: float) -> float:
        """Learning rate once a share ``done`` (0 to 1) of all steps is over."""
        if done < self.warmup:
            return self.learning_rate * done / self.warmup
        falling = (done - self.warmup) / (1 - self.warmup)
        return self.learning_rate * (1 + math.cos(math.pi * falling)) / 2


# --- precision ---------------------------------------------------------------------------------


def multiplies_bfloat16(device: str | torch.device) -> bool:
    """Whether bfloat16 is faster than float32 on a device: recent GPUs, CPUs with AMX.

    On a CPU without AMX it is emulated: training in three dimensions took 1.6 to 4 times as long.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return kind == "cpu" and cpu_multiplies_bfloat16()


def autocast(device: str | torch.device) -> AbstractContextManager[Any]:
    """Mixed precision with bfloat16 where the hardware gains by it, else full precision."""
    if multiplies_bfloat16(device):
        return torch.autocast(torch.device(device).type, torch.bfloat16)
    return nullcontext()


def full_precision(given: torch.Tensor) -> AbstractContextManager[Any]:
    """What ``autocast`` leaves alone, on the device of ``given``."""
    # Tensors without values, by which operations are counted, know no precision but their own.
    return nullcontext() if given.is_meta else torch.autocast(given.device.type, enabled=False)


class FullPrecision(nn.Sequential):
    """Layers that ``autocast`` leaves alone: a last bit of bfloat16 is 0.4 % of an output."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (its name in torch)
        with full_precision(input):
            return super().forward(input.float())


# --- targets -----------------------------------------------------------------------------------


class BetweenLimits(Savable):
    """A positive quantity known to lie between two positive limits, from a network's output.

    With t the position of log y between the logarithms of the limits, the standardised logit of t
    is what the network gives, so that no output leaves the limits.

    Args:
        target: training values, shape (rows,).
        low: lower limit of each.
        high: upper limit of each.
        edge: training values nearer to a limit than this t, or beyond it, count as that near when
            mean and standard deviation of the logit are found.
    """

    saved = ("mean", "spread")

    def __init__(
        self, target: np.ndarray, low: np.ndarray, high: np.ndarray, edge: float = 1e-3
    ) -> None:
        span = np.maximum(np.log(high / low), SMALLEST_SPAN)
        inside = np.clip(np.log(target / low) / span, edge, 1 - edge)
        logit = np.log(inside / (1 - inside))
        self.mean, self.spread = float(logit.mean()), float(logit.std()) or 1.0
        self._span = torch.from_numpy(span.astype(np.float32))
        self._height = torch.from_numpy(np.log(target / low).astype(np.float32))

    def log_ratio(self, found: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        """log(predicted / target) of training rows, from the network's outputs for them."""
        position = torch.sigmoid(self.mean + self.spread * found.float())
        span, height = (part[rows].to(found.device) for part in (self._span, self._height))
        return position * span - height

    def values(self, found: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Predictions from outputs (float64) and the limits of each."""
        # Halved, the hyperbolic tangent is the logistic function without its overflow.
        position = (1 + np.tanh((self.mean + self.spread * found) / 2)) / 2
        return low * (high / low) ** position


# --- checkpoints -------------------------------------------------------------------------------


def identity(seed: int, schedule: Schedule, network: nn.Module, **more: Any) -> str:
    """What tells one training from another: SHA-256 over everything that decides its outcome.

    ``more`` is anything that fits into JSON, and arrays, of which the content counts.
    """

    def known(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            content = str(value.tolist()) if value.dtype == object else value.tobytes()
            raw = content.encode() if isinstance(content, str) else content
            return [str(value.dtype), list(value.shape), hashlib.sha256(raw).hexdigest()]
        return value

    shapes = {name: list(part.shape) for name, part in network.state_dict().items()}
    parts = [seed, asdict(schedule), shapes, {name: known(value) for name, value in more.items()}]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _say(line: str) -> None:
    print(line, flush=True)


# --- memory ------------------------------------------------------------------------------------

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""Numbers of the settings of ``mallopt(3)``."""


def keep_memory() -> bool:
    """Let the C library keep what torch frees instead of handing it back; whether it could be told.

    With glibc every large array is otherwise mapped again at every step and each of its pages
    faulted in: a fifth of the time of a training on a CPU.
    """
    try:
        settings = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False  # another C library
    # Never trimmed, grown by 256 MiB at a time, nothing mapped apart.
    parameters = ((TRIM_THRESHOLD, -1), (TOP_PAD, 1 << 28), (MMAP_MAX, 0))
    return all(settings(which, value) == 1 for which, value in parameters)


# --- the loop ----------------------------------------------------------------------------------


def _optimizer(network: nn.Module, schedule: Schedule) -> torch.optim.AdamW:
    weights = [part for part in network.parameters() if part.ndim > 1]
    others = [part for part in network.parameters() if part.ndim <= 1]
    groups = [{"params": weights, "weight_decay": schedule.weight_decay}]
    # An empty group is refused by some versions.
    groups += [{"params": others, "weight_decay": 0.0}] if others else []
    return torch.optim.AdamW(groups, lr=schedule.learning_rate)


def _steps(rows: int, batch: int, generator: np.random.Generator) -> list[np.ndarray]:
    return np.array_split(generator.permutation(rows), math.ceil(rows / batch))


@dataclass(frozen=True)
class TrainingRun:
    """How a network is trained, beside its loss and schedule.

    Attributes:
        seed: of order, augmentation and dropout.
        device: ``cpu`` or ``cuda``.
        who: what tells this training from others (``identity``).
        report: text for the line of an epoch, called in evaluation mode.
        checkpoint: file to write and resume from; ``checkpoint.safetensors`` in the working
            directory that an evaluation gives to the model (``ETCHMARK_WORK``) if None, and none
            outside of one.
        validate: error on samples that are not trained on, called in evaluation mode after every
            epoch; the weights of the epoch where it was least are the result. An error that is no
            number, or infinite, is never the least.
        patience: epochs without a lesser error after which the training ends early.
        begin: called before each step with the share of all steps that is over.
        progress: show a bar while an epoch runs, if the error stream is a terminal.

    Raises:
        ValueError: ``patience`` without ``validate``, or less than 1.
    """

    seed: int
    device: str
    who: str
    report: Callable[[], str] | None = None
    checkpoint: Path | None = None
    validate: Callable[[], float] | None = None
    patience: int | None = None
    begin: Callable[[float], None] | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        if self.patience is not None and (self.validate is None or self.patience < 1):
            raise ValueError(
                f"patience {self.patience} wants an error to wait for, and at least one epoch"
            )

    def checkpoint_file(self) -> Path | None:
        """Where the state is kept; None if it is not."""
        folder = settings.work()
        if self.checkpoint is not None or folder is None:
            return self.checkpoint
        return folder / CHECKPOINT


def train(
    network: nn.Module,
    loss: Loss,
    rows: int,
    schedule: Schedule,
    run: TrainingRun | None = None,
    **fields: Any,
) -> None:
    """Train a network in place to the last epoch of its schedule, or to that of least error.

    After every epoch one line is printed and the state is written to the checkpoint, as a whole or
    not at all. If that file is there and is of the same training, the loop goes on from it; a
    damaged one or that of another training is ignored, with a line that says so. Outside of an
    evaluation, and where no checkpoint is named, nothing is written. All randomness of
    an epoch comes from the seed and its number, so an interrupted training ends in the same weights
    as one that was not, on the same machine with the same number of threads.

    Args:
        network: on the device; its first weights are the caller's.
        loss: mean loss of some rows.
        rows: number of training rows.
        schedule: epochs and rates.
        run: everything else.
        fields: attributes of ``TrainingRun`` by name, in place of ``run``.

    Raises:
        FloatingPointError: the loss or a gradient is no longer finite.
        TypeError, ValueError: a field of the run is unknown, missing or wrong.
    """
    run = TrainingRun(**fields) if run is None else replace(run, **fields)
    if torch.device(run.device).type == "cpu":
        keep_memory()
    state = TrainingState(network, _optimizer(network, schedule), Best())
    path = run.checkpoint_file()
    if path is not None and (said := state.resume(path, run.who)):
        _say(said)
    while state.epoch < schedule.epochs and not state.best.given_up(state.epoch, run.patience):
        started = time.perf_counter()
        mean = _epoch(state, loss, rows, schedule, run)
        network.eval()
        state.epoch += 1
        text = f", {run.report()}" if run.report else ""
        if run.validate:
            text += state.best.compare(run.validate(), state.epoch, network)
        if path is not None:
            state.save(path, run.who)
        seconds = time.perf_counter() - started
        _say(f"epoch {state.epoch}/{schedule.epochs}: loss {mean:.5g}{text}, {seconds:.1f} s")
    if state.best.network is not None:
        network.load_state_dict(state.best.network)
        _say(f"the weights of epoch {state.best.epoch} are kept")
    network.eval()


def _epoch(
    state: TrainingState, loss: Loss, rows: int, schedule: Schedule, run: TrainingRun
) -> float:
    """One pass over all rows; their mean loss."""
    network, optimizer, epoch = state.network, state.optimizer, state.epoch
    generator = np.random.default_rng([run.seed, epoch])
    torch.manual_seed(int(generator.integers(2**62)))
    network.train()
    total = 0.0
    steps = _steps(rows, schedule.batch, generator)
    # Some kernels of cuDNN add in an order of their own.
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        # Even a hidden bar starts a thread.
        shown = run.progress and sys.stderr.isatty()
        bar = tqdm(steps, leave=False, unit="step") if shown else steps
        for step, batch in enumerate(bar):
            if run.begin is not None:
                run.begin((epoch + step / len(steps)) / schedule.epochs)
            rate = schedule.rate((epoch + (step + 0.5) / len(steps)) / schedule.epochs)
            for group in optimizer.param_groups:
                group["lr"] = rate
            with autocast(run.device):
                value = loss(batch, generator)
            if not torch.isfinite(value):
                raise FloatingPointError(f"the loss is {value.item()} in epoch {epoch + 1}")
            optimizer.zero_grad()
            value.backward()
            limit = math.inf if schedule.clip is None else schedule.clip
            norm = nn.utils.clip_grad_norm_(network.parameters(), limit)
            if not torch.isfinite(norm):
                raise FloatingPointError(f"a gradient is {norm.item()} in epoch {epoch + 1}")
            optimizer.step()
            total += value.item() * len(batch)
    return total / rows


def batches(rows: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` rows, in order."""
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def parameter_count(network: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(part.numel() for part in network.parameters() if part.requires_grad)


def percent_error(predicted: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute percentage error, for the line of an epoch."""
    return 100 * float(np.mean(np.abs(predicted / target - 1)))
