"""How many threads numerical libraries use: more than one costs time where problems are small."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB")


def usable_processors() -> int:
    """Processors that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return usable or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit numerical libraries to one thread inside the block, those loaded in it included."""
    from threadpoolctl import threadpool_limits

    torch: Any = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else _threads_of_torch()
    with threadpool_limits(1), thread_settings():
        if torch is not None:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch = sys.modules.get("torch")
            # It may be half imported where the block failed.
            if hasattr(torch, "set_num_threads"):
                torch.set_num_threads(before)


def _threads_of_torch() -> int:
    """With how many threads torch would start if it was loaded now."""
    stated = os.environ.get("OMP_NUM_THREADS", "")
    return int(stated) if stated.isdecimal() and int(stated) > 0 else usable_processors()


@contextmanager
def thread_settings() -> Iterator[None]:
    """Settings inside the block, inherited by new processes, that ask for one thread."""
    # Numerical libraries read these when they are loaded, in a new process possibly before any of
    # our code runs: so it has to inherit them.
    names = [f"{name}_NUM_THREADS" for name in LIBRARIES]
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
