"""The devices that a model can be run on here."""

from __future__ import annotations

import re
import subprocess

from etchmark.errors import CannotRun, UserError

FORM = re.compile(r"cpu|auto|cuda(:[0-9]{1,3})?")


def check_form(device: str) -> None:
    """Refuse a text that names no device on any machine."""
    if not FORM.fullmatch(device):
        raise UserError(f"unknown device {device!r}; choose from: cpu, cuda, cuda:N, auto")


def cuda_devices() -> int:
    """How many CUDA devices torch finds or, where torch is not installed, NVIDIA's driver."""
    try:
        import torch
    except ImportError:
        try:
            done = subprocess.run(
                ["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=60
            )
        except (OSError, subprocess.SubprocessError):
            return 0
        return len(done.stdout.splitlines())
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def require(device: str) -> None:
    """Refuse a device that this machine lacks.

    Raises:
        UserError: the text names no device.
        CannotRun: there is no such device here.
    """
    check_form(device)
    if not device.startswith("cuda"):
        return
    count = cuda_devices()
    if int(device.partition(":")[2] or 0) < count:
        return
    if count == 0:
        raise CannotRun(f"device {device!r}: there is no CUDA device here; give --device cpu")
    names = ", ".join(f"cuda:{index}" for index in range(count))
    raise CannotRun(f"device {device!r}: there is none here; choose from: cpu, auto, cuda, {names}")
