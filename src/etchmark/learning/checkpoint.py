"""The state of a training after an epoch, in one file: safetensors, with JSON in its header.

Nothing in it can run code. safetensors has no checksum of its own, so the header carries one over
everything else: a file with a damaged byte is not a checkpoint.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from etchmark import files

NETWORK, BEST, OPTIMIZER = "network", "best", "optimizer"
"""First parts of the names of tensors, before a slash."""

Tensors = dict[str, torch.Tensor]


@dataclass
class Best:
    """The least validation error so far, after which epoch (from 1) it was, and its weights."""

    error: float = math.inf
    epoch: int = 0
    network: Tensors | None = None

    def compare(self, error: float, epoch: int, network: nn.Module) -> str:
        """Keep the weights if they are better; what the line of an epoch says of it."""
        better = error < self.error
        if better:
            self.error, self.epoch = error, epoch
            self.network = copy.deepcopy(dict(network.state_dict()))
        return f", validation error {error:.5g}{' (best)' if better else ''}"

    def given_up(self, epoch: int, patience: int | None) -> bool:
        """Whether the last ``patience`` of so many epochs brought nothing."""
        return patience is not None and self.network is not None and epoch - self.epoch >= patience


@dataclass
class TrainingState:
    """What changes while a network is trained, the number of epochs done included."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    best: Best
    epoch: int = 0

    def save(self, path: Path, who: str) -> None:
        """Write the state, whole or not at all.

        Args:
            path: file that is replaced.
            who: what tells this training from others.
        """
        stepped = self.optimizer.state_dict()
        tensors = {f"{NETWORK}/{name}": part for name, part in self.network.state_dict().items()}
        for name, part in (self.best.network or {}).items():
            tensors[f"{BEST}/{name}"] = part
        for number, values in stepped["state"].items():
            tensors |= {f"{OPTIMIZER}/{number}/{name}": part for name, part in values.items()}
        # Own copies: tensors that share memory or lie apart in it are refused.
        plain = {name: part.detach().cpu().contiguous().clone() for name, part in tensors.items()}
        state = {
            "identity": who,
            "epoch": self.epoch,
            "best": [self.best.error, self.best.epoch],
            "groups": stepped["param_groups"],
        }
        text = json.dumps(state)
        metadata = {"state": text, "sha256": _digest(text, plain)}
        with files.replacing(path) as temporary:
            save_file(plain, temporary, metadata)

    def resume(self, path: Path, who: str) -> str | None:
        """Take over the state of this very training, if a file holds one.

        Returns:
            What there is to say; None if there is no file. A file that is damaged or of another
            training changes nothing.
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
            self._step_on(state["groups"], _part(tensors, OPTIMIZER) or {})
            epoch = int(state["epoch"])
        except Exception as error:
            # Damage shows in as many ways as there are bytes; none is worth the lost epochs.
            self.network.load_state_dict(before[0])
            self.optimizer.load_state_dict(before[1])
            return f"{path.name}: damaged ({type(error).__name__}); ignored"
        self.best, self.epoch = best, epoch
        return f"{path.name}: {epoch} epochs done"

    def _step_on(self, groups: list[dict[str, Any]], tensors: Tensors) -> None:
        """Restore the optimizer, its tensors laid out in memory as those of the network."""
        state: dict[int, Tensors] = {}
        for name, part in tensors.items():
            number, _, key = name.partition("/")
            state.setdefault(int(number), {})[key] = part
        for group in groups:
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
