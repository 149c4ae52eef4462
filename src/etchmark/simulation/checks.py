"""Checks of arguments: each raises a ValueError that names the argument and its limits."""

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
"""Limits of the ratio of Young's moduli, stiff over soft phase. Far above, products of moduli
overflow; below, the softer phase is a pore to the precision of a float64."""


def whole(value: Any, name: str, lowest: int, highest: int = 2**31 - 1) -> int:
    """An integer of any type, but no float and no bool, from ``lowest`` to ``highest``."""
    try:
        # Python counts a bool as an integer; as an argument here it is a mistake.
        integer = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        integer = None
    if integer is None or not lowest <= integer <= highest:
        shown = reprlib.repr(value) if integer is None else integer
        raise ValueError(f"{name} {shown} must be a whole number from {lowest} to {highest}")
    return integer


def number(value: object, name: str, lowest: float, highest: float, *, ends: bool = False) -> float:
    """A real number between two limits; ``ends`` admits the limits themselves."""
    real = None
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            real = float(value)
        except OverflowError:
            real = math.inf
    # Written so that NaN, which fails every comparison, is refused.
    if real is None or not (lowest <= real <= highest if ends else lowest < real < highest):
        shown = reprlib.repr(value) if real is None else real
        limits = f"from {lowest:g} to {highest:g}{'' if ends else ', both excluded'}"
        raise ValueError(f"{name} {shown} must be a number {limits}")
    return real


def reals(values: object, name: str) -> np.ndarray:
    """Real numbers as a float64 array, copied only if they have another type."""
    try:
        array = np.asarray(values)
        if array.dtype.kind in "buifO":
            return array.astype(np.float64, copy=False)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"{name} {reprlib.repr(values)} must hold real numbers only")


def device(name: Any) -> Any:
    """A device that torch knows and this machine has."""
    import torch

    try:
        chosen = torch.device(name)
    except (RuntimeError, TypeError):
        raise ValueError(f"device {name!r} must be one of torch's, such as cpu or cuda") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: torch finds no CUDA device on this machine; use cpu")
    return chosen


def memory(shape: Sequence[int], needed: int) -> None:
    """Refuse work that needs more bytes than are free: the system would kill the process."""
    free = psutil.virtual_memory().available
    if needed > free:
        raise ValueError(
            f"a cell of {' x '.join(map(str, shape))} needs about {needed / 2**30:.1f} GiB of"
            f" memory, {free / 2**30:.1f} GiB are free; take a smaller one"
        )
