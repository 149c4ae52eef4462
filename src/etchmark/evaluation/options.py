"""How a model is run: seeds, device, limits of time and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from etchmark.evaluation.devices import check_form

DEFAULT_TIME_LIMIT_S = 4 * 3600.0


@dataclass(frozen=True)
class Limits:
    """Wall seconds and resident bytes that a model's process tree may take."""

    seconds: float = DEFAULT_TIME_LIMIT_S
    memory_bytes: int | None = None
    """None: nine tenths of what is free at the start."""


@dataclass(frozen=True)
class Options:
    """How a model is run.

    Attributes:
        seeds: run with seeds 0 to ``seeds - 1``.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
        limits: time and memory.
        progress: show a bar over folds.
        resume: keep each fold's working directory and go on where an interrupted run stopped;
            also keep what the model prints in ``log_file`` of its name.
        weights: file that a model which takes one is given as ``weights_file``.
        share: of the training and validation samples.
        draw: which samples a share below 1 consists of.
        nested: where there are folds, each is predicted by a model that has seen neither it nor the
            fold before it, whose training data it is an inner fold of.
        echo: told every line that the model prints, when it does.
        keep: keep the fitted models in the hub folder.
        reference: time the reference workload before and after.
    """

    seeds: int = 1
    device: str = "auto"
    limits: Limits = Limits()
    progress: bool = False
    resume: bool = False
    weights: Path | None = None
    share: float = 1.0
    draw: int = 0
    nested: bool = False
    echo: Callable[[str], None] | None = None
    keep: bool = False
    reference: bool = True

    def __post_init__(self) -> None:
        check_form(self.device)
