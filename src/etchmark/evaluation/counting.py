"""What a fitted model consists of and what a prediction takes, counted by the harness, not stated.

Only what runs through torch can be counted; of other models the harness knows what they say.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from etchmark.evaluation import stated

DEPTH, ITEMS = 8, 100
"""How far networks are looked for in attributes, dicts and lists, and in how many items of each."""


def total_parameters(model: Any, fitted: int | None) -> int | None:
    """Parameters that a prediction depends on, those that were fitted elsewhere included.

    Args:
        model: after its fit. What ``total_parameter_count()`` says counts, if it has one; else the
            networks of torch that it holds are counted.
        fitted: number of fitted parameters, None if unknown.

    Returns:
        At least ``fitted``; None if nothing is known.

    Raises:
        TypeError, ValueError: the model says what is not a number of parameters.
    """
    count = stated.total_parameter_count(model)
    if count is not None:
        return max(count, fitted or 0)
    unique = {id(part): part for network in _networks(model) for part in network.parameters()}
    if not unique:
        return fitted
    total = sum(part.numel() for part in unique.values())
    trained = sum(part.numel() for part in unique.values() if part.requires_grad)
    # A regression beside a network, whose fitted parameters are not tensors.
    return total + max(0, (fitted or 0) - trained)


def _networks(value: Any, depth: int = DEPTH) -> Iterable[Any]:
    torch = sys.modules.get("torch")
    if torch is None or depth == 0:
        return
    if isinstance(value, torch.nn.Module):
        yield value
    elif isinstance(value, list | tuple):
        for item in value[:ITEMS]:
            yield from _networks(item, depth - 1)
    elif type(value) is dict:
        # Not any mapping: a table of inputs would be read from disk.
        for item in [*value.values()][:ITEMS]:
            yield from _networks(item, depth - 1)
    elif hasattr(value, "__dict__") and not isinstance(value, type | ModuleType):
        yield from _networks(vars(value), depth - 1)


def flops(model: Any, row: Mapping[str, np.ndarray], pieces: int) -> float | None:
    """Floating-point operations of one prediction, of matrix products, convolutions and attention.

    Args:
        model: after its fit.
        row: inputs of a single sample, which the model may change.
        pieces: what the prediction consists of: the number of frames, else 1.

    Returns:
        Two per multiplication and addition, by ``torch.utils.flop_counter``; None where torch saw
        no operation, the model cannot predict a single sample, or what it computes is kept between
        runs, so that a count would depend on what is there.
    """
    if "torch" not in sys.modules or hasattr(model, "feature_seconds"):
        return None
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with FlopCounterMode(display=False) as counter:
            model.predict(row)
    except Exception:
        # It has predicted all samples together: that it cannot do so one by one is not a failure.
        return None
    return counter.get_total_flops() / pieces or None
