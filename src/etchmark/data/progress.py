"""Progress of shards that an executor works on: a bar, or one line where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from etchmark.data.executors import Dask, Executor
from etchmark.data.jobs import Failed, ShardJob
from etchmark.data.shards import Shard
from etchmark.errors import UserError

T = TypeVar("T", bound=ShardJob)
R = TypeVar("R")
LONG_S = 10.0
"""Seconds of remaining work from which an estimate is printed, where no bar is shown."""


def is_silent(progress: bool | None) -> bool:
    """Whether to print lines: progress is wanted, and there is no terminal to show a bar."""
    return progress is None and not sys.stderr.isatty()


def describe_seconds(seconds: float) -> str:
    """A duration in words, such as ``40 s`` or ``6 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class _Estimate:
    """Prints after the first shards how long the rest will take, and again if it takes twice that.

    Shards of some families of samples take a hundred times as long as those of others.
    """

    def __init__(self, name: str, title: str, executor: Executor, jobs: Sequence[ShardJob]) -> None:
        self._name, self._title = name, title
        self._rows = sum(job.shard.rows for job in jobs)
        cluster = max(len(jobs) // 10, 1) if isinstance(executor, Dask) else 1
        self._parallel: int = getattr(executor, "workers", cluster)
        self._shards = self._done = self._timed = 0
        self._started = time.monotonic()
        self._again_after: float | None = None
        """Seconds since the start after which the estimate was wrong; None before the first."""

    def count(self, shard: Shard) -> None:
        self._shards += 1
        self._done += shard.rows
        if self._parallel > 1 and self._shards == 1:
            self._started = time.monotonic()  # processes take their time to start
            return
        self._timed += shard.rows
        seconds = time.monotonic() - self._started
        # After a round of all that run side by side.
        first = self._shards == (1 if self._parallel == 1 else self._parallel + 1)
        if not first and (self._again_after is None or seconds < self._again_after):
            return
        left = seconds * (self._rows - self._done) / self._timed
        self._again_after = 2 * (seconds + max(left, LONG_S))
        if left >= LONG_S:
            print(
                f"{self._name}: {self._title} of {self._timed:,} samples took"
                f" {describe_seconds(seconds)}, so the remaining {self._rows - self._done:,} take"
                f" about {describe_seconds(left)}",
                file=sys.stderr,
                flush=True,
            )


@dataclass(frozen=True)
class Progress:
    """How the progress of a config's shards is shown."""

    name: str
    """The dataset and config, as ``dataset:config``."""
    shown: bool | None
    """None: show a bar if the output is a terminal."""

    def results(
        self,
        executor: Executor,
        work: Callable[[T], R | Failed],
        jobs: Sequence[T],
        title: str,
        done: Sequence[Shard],
    ) -> Generator[tuple[T, R], None, None]:
        """Results of the jobs by the executor, with a bar that counts rows.

        Where the output is not a terminal there is no bar, but one line after the first shards if
        the rest takes long.

        Args:
            executor: what works on the jobs.
            work: what is done for each job.
            jobs: the shards to work on.
            title: what is made, such as ``labels``.
            done: shards of the config that need no work.

        Raises:
            UserError: a job failed for a reason that the caller can fix.
            RuntimeError: a job failed otherwise; its traceback is in a note.
        """
        from tqdm import tqdm

        before = sum(shard.rows for shard in done)
        total = before + sum(job.shard.rows for job in jobs)
        hidden = None if self.shown is None else not self.shown
        estimate = _Estimate(self.name, title, executor, jobs) if is_silent(self.shown) else None
        with (
            tqdm(total=total, initial=before, unit="row", desc=title, disable=hidden) as bar,
            closing(executor.run(work, jobs)) as results,
        ):
            for job, result in results:
                if estimate is not None:
                    estimate.count(job.shard)
                if isinstance(result, Failed):
                    if result.mistake:
                        raise UserError(result.message)
                    error = RuntimeError(result.message)
                    error.add_note(result.trace)
                    raise error
                yield job, result
                bar.update(job.shard.rows)
