"""A device that this machine lacks is refused before anything is read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import etchmark
from etchmark.errors import CannotRun, UserError
from etchmark.evaluation import devices
from etchmark.evaluation.options import Options


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cuda_devices", lambda: 2)


@pytest.mark.parametrize("device", ["cpu", "auto", "cuda", "cuda:0", "cuda:1"])
def test_devices_that_are_there(two_gpus: None, device: str) -> None:
    devices.require(device)
    assert Options(device=device).device == device


def test_a_missing_device_is_told_with_those_that_are_there(two_gpus: None) -> None:
    with pytest.raises(CannotRun) as caught:
        devices.require("cuda:99")
    assert str(caught.value) == (
        "device 'cuda:99': there is none here; choose from: cpu, auto, cuda, cuda:0, cuda:1"
    )


def test_it_is_told_before_any_data_are_read(
    two_gpus: None, toy_content: Path, command: Callable[..., Any]
) -> None:
    # The data are not on this machine, which is told to whoever asks for a device that is there.
    ran = command("evaluate", "toy_mean", "toy-line", "--device", "cuda:2")
    assert ran.refusal().startswith("device 'cuda:2': there is none here")
    with pytest.raises(CannotRun, match="device 'cuda:2': there is none here"):
        etchmark.evaluate("toy_mean", "toy-line", device="cuda:2")


@pytest.mark.parametrize("device", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1000", "cudax"])
def test_texts_that_name_no_device(device: str) -> None:
    with pytest.raises(UserError, match=r"unknown device .*; choose from: cpu, cuda, cuda:N, auto"):
        Options(device=device)


def test_without_torch_the_driver_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    listing = "GPU 0: NVIDIA\nGPU 1: NVIDIA\nGPU 2: NVIDIA\n"

    def run(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, listing)

    monkeypatch.setattr(subprocess, "run", run)
    assert devices.cuda_devices() == 3

    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(subprocess, "run", missing)
    assert devices.cuda_devices() == 0
