"""The state of a training run after an epoch, in one safetensors file with JSON in its header.

Nothing in the file can run code. safetensors has no checksum of its own, so the header carries one
over everything else: a single damaged byte is detected.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from etchmark import files

NETWORK, BEST, OPTIMIZER = "network", "best", "optimizer"
"""Prefixes of the names of tensors, before a slash."""

Tensors = dict[str, torch.Tensor]


@dataclass
class Best:
    """The smallest validation error so far, its epoch (from 1), and the weights after it."""

    error: float = math.inf
    epoch: int = 0
    network: Tensors | None = None

    def compare(self, error: float, epoch: int, network: nn.Module) -> str:
        """Keep the weights if their error is the smallest; returns text for the epoch's line."""
        is_best = error < self.error
        if is_best:
            self.error, self.epoch = error, epoch
            self.network = copy.deepcopy(dict(network.state_dict()))
        return f", validation error {error:.5g}{' (best)' if is_best else ''}"

    def given_up(self, epoch: int, patience: int | None) -> bool:
        """Whether the last ``patience`` epochs, up to ``epoch``, brought no improvement."""
        return patience is not None and self.network is not None and epoch - self.epoch >= patience


@dataclass
class TrainingState:
    """Everything that changes while a network is trained."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    best: Best
    epoch: int = 0
    """Number of epochs that are finished."""
    history: list[tuple[float, float]] = field(default_factory=list)
    """After each epoch: processor seconds of training so far, and the validation error."""

    def save(self, path: Path, who: str) -> None:
        """Write the state, whole or not at all.

        Args:
            path: the file to write; replaced if it exists.
            who: identity of this training run (``etchmark.learning.training.identity``).
        """
        optimizer = self.optimizer.state_dict()
        tensors = {f"{NETWORK}/{name}": part for name, part in self.network.state_dict().items()}
        for name, part in (self.best.network or {}).items():
            tensors[f"{BEST}/{name}"] = part
        for number, values in optimizer["state"].items():
            tensors |= {f"{OPTIMIZER}/{number}/{name}": part for name, part in values.items()}
        # Copies, because safetensors refuses tensors that share memory or are not contiguous.
        plain = {name: part.detach().cpu().contiguous().clone() for name, part in tensors.items()}
        state = {
            "identity": who,
            "epoch": self.epoch,
            "best": [self.best.error, self.best.epoch],
            "history": self.history,
            "groups": optimizer["param_groups"],
        }
        text = json.dumps(state)
        metadata = {"state": text, "sha256": _digest(text, plain)}
        with files.replacing(path) as temporary:
            save_file(plain, temporary, metadata)

    def resume(self, path: Path, who: str) -> str | None:
        """Restore the state from a checkpoint of this training run.

        A damaged file, or one of another training run, changes nothing.

        Returns:
            One line that says what happened; None if there is no file.
        """
        if not path.is_file():
            return None
        before = copy.deepcopy((self.network.state_dict(), self.optimizer.state_dict()))
        try:
            state, tensors = _read(path)
            if state["identity"] != who:
                return f"{path.name}: of another training; ignored"
            best = Best(float(state["best"][0]), int(state["best"][1]), _part(tensors, BEST))
            if best.network is not None:
                self.network.load_state_dict(best.network)
            self.network.load_state_dict(_part(tensors, NETWORK) or {})
            self._restore_optimizer(state["groups"], _part(tensors, OPTIMIZER) or {})
            epoch = int(state["epoch"])
            history = [(float(spent), float(error)) for spent, error in state.get("history", [])]
        except Exception as error:
            # Damage can raise almost anything. Training from the start beats failing.
            self.network.load_state_dict(before[0])
            self.optimizer.load_state_dict(before[1])
            return f"{path.name}: damaged ({type(error).__name__}); ignored"
        self.best, self.epoch, self.history = best, epoch, history
        return f"{path.name}: {epoch} epochs done"

    def _restore_optimizer(self, groups: list[dict[str, Any]], tensors: Tensors) -> None:
        """Restore the optimizer, with the memory layout of the network's parameters.

        A resumed run then adds in the same order, and ends in the same weights.
        """
        state: dict[int, Tensors] = {}
        for name, part in tensors.items():
            number, _, key = name.partition("/")
            state.setdefault(int(number), {})[key] = part
        for group in groups:
            # JSON turned the tuple into a list.
            group["betas"] = tuple(group["betas"])
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        for parameter, values in self.optimizer.state.items():
            for key, part in values.items():
                if part.shape == parameter.shape:
                    values[key] = torch.empty_like(parameter).copy_(part)


def _read(path: Path) -> tuple[dict[str, Any], Tensors]:
    with safe_open(path, framework="pt") as content:
        metadata = content.metadata()
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (no mapping)
    if _digest(metadata["state"], tensors) != metadata["sha256"]:
        raise ValueError(f"{path}: the checksum differs")
    return json.loads(metadata["state"]), tensors


def _part(tensors: Mapping[str, torch.Tensor], kind: str) -> Tensors | None:
    part = {
        name.removeprefix(f"{kind}/"): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{kind}/")
    }
    return part or None


def _digest(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
