"""Waiting for another process that holds a SQLite database."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def patiently(work: Callable[[], T], error: type[Exception], seconds: float) -> T:
    """The result of ``work``, tried again while it fails because the database is locked.

    SQLite waits by itself, except where waiting could deadlock: when the journal is switched to
    WAL, and when a transaction that has read wants to write after another transaction wrote.

    Args:
        work: called again from its start on each try.
        error: the driver's exception; any other is raised at once.
        seconds: time after which the error is raised.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return work()
        except error as failure:
            if "locked" not in str(failure) or time.monotonic() > deadline:
                raise
            # At random, so that processes that wait for each other do not retry in step.
            time.sleep(random.uniform(0.01, 0.1))  # noqa: S311
