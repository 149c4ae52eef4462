"""Where tasks run: in this process, in processes of this machine, or on an existing Dask cluster.

All three take a module-level function and its arguments and give back pairs of argument and result
as they are finished, in any order. A task computes with one numerical thread everywhere, so that
its result does not depend on where it ran.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Protocol, TypeVar

from etchmark.errors import UserError
from etchmark.threads import one_thread, thread_settings, usable_processors

T = TypeVar("T")
R = TypeVar("R")

KINDS = ("local", "processes", "dask")
ADDRESS = re.compile(r"([a-z]+://)?(\[[0-9a-fA-F:.%]+\]|[^\s/:\[\]]+):[0-9]{1,5}/?")
"""Of a Dask scheduler: host and port."""
MAX_DEFAULT_WORKERS = 32
RESTARTS = 3
"""How often a pool is restarted after one of its processes died."""
CONNECT_S = 6.0
RETRIES = 3
"""How often Dask runs a task again that failed for reasons of the cluster."""
SILENCE_S = 60.0


class Executor(Protocol):
    def run(self, work: Callable[[T], R], tasks: Sequence[T]) -> Generator[tuple[T, R], None, None]:
        """Each task with its result, in the order they finish.

        Close the iterator (``contextlib.closing``) to end what is still running.
        """
        ...


def default_workers() -> int:
    """Number of processors this process may use, up to a limit."""
    return min(usable_processors(), MAX_DEFAULT_WORKERS)


class Local:
    """Runs one task after the other, in this process."""

    def run(self, work: Callable[[T], R], tasks: Sequence[T]) -> Generator[tuple[T, R], None, None]:
        for task in tasks:
            with one_thread():
                result = work(task)
            yield task, result


# --- processes ---------------------------------------------------------------------------------


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    # Workers must end with their parent, even after kill -9.
    connection.wait([sentinel])
    os._exit(1)


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        # Do not wait for running tasks: they may take hours.
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(5)
            if process.is_alive():
                process.kill()
        raise


@dataclass(frozen=True)
class Processes:
    """Processes of this machine, ``workers`` of them."""

    workers: int

    def run(self, work: Callable[[T], R], tasks: Sequence[T]) -> Generator[tuple[T, R], None, None]:
        waiting = deque(tasks)
        for _ in range(RESTARTS + 1):
            running: dict[Future[R], T] = {}
            if not waiting:
                return
            try:
                with _pool(min(self.workers, len(waiting))) as pool:
                    while waiting or running:
                        # Keep the queue short: finished results wait in memory.
                        with thread_settings():  # a process starts when it is first needed
                            while waiting and len(running) < 2 * self.workers:
                                running[pool.submit(work, waiting[0])] = waiting[0]
                                waiting.popleft()
                        for future in wait(running, return_when=FIRST_COMPLETED).done:
                            result = future.result()
                            yield running.pop(future), result
                            del future, result
            except BrokenProcessPool:
                waiting.extendleft(reversed(running.values()))
        raise UserError(
            f"a worker process died {RESTARTS + 1} times (out of memory?); what is finished is"
            " kept: run again, with fewer --workers"
        )


# --- dask --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dask:
    """The workers of an existing Dask cluster; nothing but arguments and results is shared."""

    address: str

    def run(self, work: Callable[[T], R], tasks: Sequence[T]) -> Generator[tuple[T, R], None, None]:
        if not tasks:
            return
        with self._client() as client:
            done: queue.SimpleQueue[Any] = queue.SimpleQueue()
            left: dict[str, tuple[Any, T]] = {}
            for task in tasks:
                future = client.submit(work, task, pure=False, retries=RETRIES)
                left[future.key] = (future, task)
            for future, _ in list(left.values()):
                future.add_done_callback(done.put)
            while left:
                future = self._next(client, done)
                result = self._result(future)
                task = left.pop(future.key)[1]
                yield task, result
                del future, result

    @contextmanager
    def _client(self) -> Iterator[Any]:
        try:
            from distributed import Client
        except ImportError:
            raise UserError(
                "--executor dask needs Dask; install it with `pip install 'etchmark[cluster]'`"
            ) from None
        known = [
            name for name in logging.root.manager.loggerDict if name.startswith("distributed.")
        ]
        levels = {
            logger: logger.level for logger in map(logging.getLogger, ["distributed", *known])
        }
        for log in levels:
            log.setLevel(logging.CRITICAL)  # what matters of it comes as one line of ours
        try:
            self._probe()
            with Client(self.address, timeout=CONNECT_S, set_as_default=False) as client:
                yield client
        finally:
            for log, level in levels.items():
                log.setLevel(level)

    def _probe(self) -> None:
        # A client that cannot connect closes slowly, and logs while it does.
        import asyncio

        from distributed.core import rpc

        async def identity() -> Any:
            async with rpc(self.address, timeout=CONNECT_S) as scheduler:
                return await scheduler.identity()

        async def answer() -> Any:
            return await asyncio.wait_for(identity(), CONNECT_S)

        reason = "something else does"
        try:
            # In a new thread: a notebook's own thread already runs an event loop.
            with ThreadPoolExecutor(1) as thread:
                answered = thread.submit(asyncio.run, answer()).result()
            if answered.get("type") == "Scheduler":
                return
        # A server that is no scheduler may raise anything.
        except Exception as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(
            f"--scheduler {self.address}: no Dask scheduler answers there ({reason}); start one"
            " with `dask scheduler` or correct the address"
        )

    def _next(self, client: Any, done: queue.SimpleQueue[Any]) -> Any:
        warned = False
        while True:
            try:
                return done.get(timeout=SILENCE_S)
            except queue.Empty:
                if not warned and not client.scheduler_info().get("workers"):
                    warned = True
                    logging.getLogger(__name__).warning(
                        "the Dask cluster at %s has no workers now; waiting", self.address
                    )

    def _result(self, future: Any) -> Any:
        if future.status == "cancelled":
            raise UserError(
                f"--scheduler {self.address}: the connection was lost; what is finished is kept:"
                " run again"
            )
        error = future.exception()
        if error is None:
            return future.result()
        if type(error).__name__ == "KilledWorker":
            reason = "a task outlived several of its workers (out of memory?)"
        else:
            reason = f"a task could not run ({type(error).__name__}: {error})"
        raise UserError(
            f"--scheduler {self.address}: {reason}; the workers need this release of etchmark with"
            " what the dataset needs; what is finished is kept: run again"
        ) from error


def executor_of(kind: str, *, scheduler: str | None = None, workers: int | None = None) -> Executor:
    """The executor named on the command line.

    Args:
        kind: one of ``KINDS``.
        scheduler: address of a Dask scheduler, for ``dask`` alone.
        workers: number of processes; all processors if None.

    Raises:
        UserError: an unknown kind, or an option that does not go with it.
    """
    if kind not in KINDS:
        raise UserError(f"unknown executor {kind!r}; choose from: {', '.join(KINDS)}")
    if (kind == "dask") != (scheduler is not None):
        raise UserError("--executor dask and --scheduler ADDRESS go together; give both or neither")
    if kind == "local" and workers is not None:
        raise UserError("--workers needs --executor processes or dask")
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: give at least 1")
    if scheduler is not None:
        # Whether a scheduler answers there is asked only where one is needed.
        if not ADDRESS.fullmatch(scheduler):
            raise UserError(
                f"--scheduler {scheduler}: not an address; give one such as tcp://node1:8786"
            )
        return Dask(scheduler)
    return Local() if kind == "local" else Processes(workers or default_workers())


def local_executor(kind: str, workers: int | None = None) -> Executor:
    """What runs on this machine beside the executor ``kind``: its tables."""
    return Local() if kind == "local" else Processes(workers or default_workers())
