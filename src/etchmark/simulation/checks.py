"""What arguments must be; each function raises a ValueError that names the one that is not."""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import psutil

LOWEST_CONTRAST, HIGHEST_CONTRAST = 1e-16, 1e8
"""Limits of Young's modulus of the stiff over that of the soft phase. Far above, products of moduli
overflow; below, where the digits of a float64 end, the phase is as good as a pore."""


def whole(value: Any, name: str, lowest: int, highest: int = 2**31 - 1) -> int:
    """An integer of any type (a float is none, nor is a bool) from ``lowest`` to ``highest``."""
    try:
        # A bool is an integer to Python, but one in this place is a mistake.
        found = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = None
    if found is None or not lowest <= found <= highest:
        shown = reprlib.repr(value) if found is None else found
        raise ValueError(f"{name} {shown} must be a whole number from {lowest} to {highest}")
    return found


def number(value: object, name: str, lowest: float, highest: float, *, ends: bool = False) -> float:
    """A real number between two limits, which it may equal if ``ends``."""
    found = None
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            found = float(value)
        except OverflowError:
            found = math.inf
    # Not a number fails every comparison.
    if found is None or not (lowest <= found <= highest if ends else lowest < found < highest):
        shown = reprlib.repr(value) if found is None else found
        limits = f"from {lowest:g} to {highest:g}{'' if ends else ', both excluded'}"
        raise ValueError(f"{name} {shown} must be a number {limits}")
    return found


def reals(values: object, name: str) -> np.ndarray:
    """Real numbers as float64, not copied if they are."""
    try:
        found = np.asarray(values)
        if found.dtype.kind in "buifO":
            return found.astype(np.float64, copy=False)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"{name} {reprlib.repr(values)} must hold real numbers only")


def device(name: Any) -> Any:
    """A device that torch knows and that is there."""
    import torch

    try:
        found = torch.device(name)
    except (RuntimeError, TypeError):
        raise ValueError(f"device {name!r} must be one of torch's, such as cpu or cuda") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: torch finds no CUDA device here; take cpu")
    return found


def memory(shape: Sequence[int], needed: int) -> None:
    """Refuses what needs more bytes than are free, since the system would end the process."""
    free = psutil.virtual_memory().available
    if needed > free:
        raise ValueError(
            f"a cell of {' x '.join(map(str, shape))} needs about {needed / 2**30:.1f} GiB of"
            f" memory, {free / 2**30:.1f} GiB are free; take a smaller one"
        )
