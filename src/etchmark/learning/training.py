"""Training of torch models on a fixed schedule, resumable after every epoch.

Needs torch. The result is the weights of the last epoch: no held-out data choose anything, unless
the caller asks for the epoch with the smallest validation error. Importing this module starts no
threads, so a process may still fork afterwards.
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
"""Name of the checkpoint in the working directory that an evaluation gives to a model."""
SMALLEST_SPAN = 1e-9
"""Logarithmic distance assumed between two limits that coincide."""

Loss = Callable[[np.ndarray, np.random.Generator], torch.Tensor]
"""Mean loss over rows, given their indices and a generator from which augmentation is drawn."""


@dataclass(frozen=True)
class Schedule:
    """Length and learning rate of a training run with AdamW.

    The rate rises linearly, then falls to zero along a cosine.

    Attributes:
        epochs: passes over the training rows.
        batch: maximum number of rows per step; steps of an epoch differ by at most one row.
        learning_rate: the highest rate.
        weight_decay: for weights with two or more axes; biases and scales are not decayed.
        warmup: share of all steps during which the rate rises.
        clip: largest norm of a gradient; None for no limit.
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
        """Learning rate after a share ``done`` (0 to 1) of all steps."""
        if done < self.warmup:
            return self.learning_rate * done / self.warmup
        falling = (done - self.warmup) / (1 - self.warmup)
        return self.learning_rate * (1 + math.cos(math.pi * falling)) / 2


# --- precision ---------------------------------------------------------------------------------


def multiplies_bfloat16(device: str | torch.device) -> bool:
    """Whether bfloat16 is faster than float32 on a device: on recent GPUs, and on some CPUs.

    With AVX-512 BF16 convolutions took about half the time of float32. Other CPUs emulate it;
    training in three dimensions then took 1.6 to 4 times as long as in float32.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return kind == "cpu" and cpu_multiplies_bfloat16()


def autocast(device: str | torch.device) -> AbstractContextManager[Any]:
    """Mixed precision with bfloat16 where that is faster, else full precision."""
    if multiplies_bfloat16(device):
        return torch.autocast(torch.device(device).type, torch.bfloat16)
    return nullcontext()


def full_precision(tensor: torch.Tensor) -> AbstractContextManager[Any]:
    """Switch ``autocast`` off on the device of a tensor."""
    # Operations are counted with tensors on the device "meta", which autocast does not support.
    return nullcontext() if tensor.is_meta else torch.autocast(tensor.device.type, enabled=False)


class FullPrecision(nn.Sequential):
    """Layers without ``autocast``: the last bit of bfloat16 is 0.4 % of a network's output."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (its name in torch)
        with full_precision(input):
            return super().forward(input.float())


# --- targets -----------------------------------------------------------------------------------


class BetweenLimits(Savable):
    """A positive quantity between two known positive limits, from a network's output.

    Let t be the position of log y between the logarithms of the limits, from 0 to 1. The network
    predicts the standardised logit of t, so no output leaves the limits.

    Args:
        target: training values, shape (rows,).
        low: lower limit of each, shape (rows,).
        high: upper limit of each, shape (rows,).
        edge: t is clipped to [edge, 1 - edge] when the mean and standard deviation of the logit
            are computed.
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

    def log_ratio(self, outputs: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        """log(predicted / target) of training rows, from the network's outputs for them."""
        position = torch.sigmoid(self.mean + self.spread * outputs.float())
        span, height = (part[rows].to(outputs.device) for part in (self._span, self._height))
        return position * span - height

    def values(self, outputs: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Predictions from the network's outputs (float64) and the limits of each, all (rows,)."""
        # The logistic function, written with tanh so that it cannot overflow.
        position = (1 + np.tanh((self.mean + self.spread * outputs) / 2)) / 2
        return low * (high / low) ** position


# --- checkpoints -------------------------------------------------------------------------------


def identity(seed: int, schedule: Schedule, network: nn.Module, **more: Any) -> str:
    """Identity of a training run: SHA-256 over everything that decides its outcome.

    Args:
        seed: of the run.
        schedule: of the run.
        network: counts by the names and shapes of its weights.
        more: anything else that decides the outcome: JSON values, or arrays, which count by their
            content.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            content = str(value.tolist()) if value.dtype == object else value.tobytes()
            raw = content.encode() if isinstance(content, str) else content
            return [str(value.dtype), list(value.shape), hashlib.sha256(raw).hexdigest()]
        return value

    shapes = {name: list(part.shape) for name, part in network.state_dict().items()}
    parts = [seed, asdict(schedule), shapes, {name: plain(value) for name, value in more.items()}]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _print(line: str) -> None:
    print(line, flush=True)


# --- memory ------------------------------------------------------------------------------------

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""Parameters of ``mallopt(3)``."""


def keep_memory() -> bool:
    """Let the C library keep the memory that torch frees, instead of returning it to the system.

    Otherwise glibc maps every large array again at every step, and each of its pages causes a page
    fault: a fifth of the time of training on a CPU.

    Returns:
        Whether the C library accepted the settings.
    """
    try:
        settings = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False  # another C library
    # Never trim the heap, grow it by 256 MiB at a time, allocate nothing outside it.
    parameters = ((TRIM_THRESHOLD, -1), (TOP_PAD, 1 << 28), (MMAP_MAX, 0))
    return all(settings(name, value) == 1 for name, value in parameters)


# --- the loop ----------------------------------------------------------------------------------


def _optimizer(network: nn.Module, schedule: Schedule) -> torch.optim.AdamW:
    weights = [part for part in network.parameters() if part.ndim > 1]
    others = [part for part in network.parameters() if part.ndim <= 1]
    groups = [{"params": weights, "weight_decay": schedule.weight_decay}]
    # Some versions of torch refuse an empty group.
    groups += [{"params": others, "weight_decay": 0.0}] if others else []
    return torch.optim.AdamW(groups, lr=schedule.learning_rate)


def _steps(rows: int, batch: int, generator: np.random.Generator) -> list[np.ndarray]:
    return np.array_split(generator.permutation(rows), math.ceil(rows / batch))


@dataclass(frozen=True)
class TrainingRun:
    """Options of a training run other than its loss and schedule.

    Attributes:
        seed: seed of order, augmentation and dropout.
        device: ``cpu`` or ``cuda``.
        who: identity of the run (``identity``); a checkpoint of another run is not resumed.
        report: text for the line printed after each epoch; called in evaluation mode.
        checkpoint: file to write and resume from. If None, ``checkpoint.safetensors`` in the
            working directory that an evaluation gives to the model (``ETCHMARK_WORK``); outside an
            evaluation there is then no checkpoint.
        validate: error on held-out samples, called in evaluation mode after every epoch. The result
            is then the weights of the epoch with the smallest error; NaN and infinity are never the
            smallest.
        patience: the run ends after this many epochs without a smaller error.
        begin: called before each step with the share of all steps that is done, 0 to 1.
        progress: show a progress bar during each epoch, if standard error is a terminal.

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
        """Path of the checkpoint; None if there is none."""
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
) -> list[tuple[float, float]]:
    """Train a network in place, to the last epoch or, with ``validate``, to the best one.

    After every epoch one line is printed and the checkpoint is written, whole or not at all. If a
    checkpoint of the same run exists, training resumes from it; a damaged one, or one of another
    run, is ignored, and a line says so. All randomness of an epoch comes from the seed and the
    epoch's number, so an interrupted run ends in the same weights as an uninterrupted one, on the
    same machine with the same number of threads.

    Args:
        network: on the device, with its initial weights.
        loss: mean loss of some rows.
        rows: number of training rows.
        schedule: epochs and learning rate.
        run: all other options.
        fields: attributes of ``TrainingRun``, which replace those of ``run``.

    Returns:
        With ``validate``, after each epoch: processor seconds of training so far, those of
        validation left out and those before an interruption included, and the error.

    Raises:
        FloatingPointError: the loss or a gradient is no longer finite.
        TypeError, ValueError: a field of the run is unknown, missing or wrong.
    """
    run = TrainingRun(**fields) if run is None else replace(run, **fields)
    if torch.device(run.device).type == "cpu":
        keep_memory()
    state = TrainingState(network, _optimizer(network, schedule), Best())
    path = run.checkpoint_file()
    if path is not None and (message := state.resume(path, run.who)):
        _print(message)
    spent = state.history[-1][0] if state.history else 0.0
    while state.epoch < schedule.epochs and not state.best.given_up(state.epoch, run.patience):
        started, began = time.perf_counter(), time.process_time()
        mean = _epoch(state, loss, rows, schedule, run)
        spent += time.process_time() - began
        network.eval()
        state.epoch += 1
        text = f", {run.report()}" if run.report else ""
        if run.validate:
            error = run.validate()
            state.history.append((spent, error))
            text += state.best.compare(error, state.epoch, network)
        if path is not None:
            state.save(path, run.who)
        seconds = time.perf_counter() - started
        _print(f"epoch {state.epoch}/{schedule.epochs}: loss {mean:.5g}{text}, {seconds:.1f} s")
    if state.best.network is not None:
        network.load_state_dict(state.best.network)
        _print(f"the weights of epoch {state.best.epoch} are kept")
    network.eval()
    return state.history


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
    # Some kernels of cuDNN add in an order that differs from run to run.
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        # tqdm starts a thread even if its bar is hidden.
        with_bar = run.progress and sys.stderr.isatty()
        bar = tqdm(steps, leave=False, unit="step") if with_bar else steps
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
    """Mean absolute percentage error, for the line printed after an epoch."""
    return 100 * float(np.mean(np.abs(predicted / target - 1)))
