"""Waiting for another process that holds a SQLite database."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def patiently(work: Callable[[], T], error: type[Exception], seconds: float) -> T:
    """Do ``work`` again while it fails because the database is locked; its result.

    SQLite waits by itself, but not where waiting could deadlock: when the journal is switched to
    WAL, and when a transaction that has read wants to write after another one wrote.

    Args:
        work: what is done as a whole each time.
        error: what the driver raises.
        seconds: after which the error is let through.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return work()
        except error as found:
            if "locked" not in str(found) or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.01, 0.1))  # noqa: S311 (spreads those who wait)
