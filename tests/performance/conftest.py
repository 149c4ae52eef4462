"""What the measurements of speed share.

`ETCHMARK_SPEED_THREADS` (default 2) is the number of threads of every library, and of the cores
that the process may use; `ETCHMARK_SPEED_FILE` is where measurements for the document are kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from side_by_side import (
    Case,
    Change,
    Comparison,
    compare,
    in_turns,
    machine,
    store,
    store_changes,
    table,
)
from threadpoolctl import threadpool_limits

THREADS = int(os.environ.get("ETCHMARK_SPEED_THREADS", "2"))
# Read now: tests of the hub run in an environment without settings.
FILE = os.environ.get("ETCHMARK_SPEED_FILE")
Report = Callable[..., None]
Beside = Callable[..., Comparison]


def limit_threads() -> None:
    """Hold the libraries, which read this when they are loaded, to the threads of the run."""
    if "ETCHMARK_SPEED_THREADS" not in os.environ:
        return
    for name in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = str(THREADS)
    if THREADS == 1:
        os.environ["XLA_FLAGS"] = (
            "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        )
    # Libraries that are loaded already have their pools of threads.
    threadpool_limits(THREADS)
    if hasattr(os, "sched_setaffinity"):
        # XLA's pool cannot be told otherwise. Threads to come and children inherit it.
        cores = sorted(os.sched_getaffinity(0))[:THREADS]
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)


limit_threads()


@pytest.fixture(autouse=True)
def torch_threads() -> Iterator[None]:
    """As many threads of torch as the run has."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def report() -> Report:
    """Prints measured values with the goal they have to reach."""

    def tell(what: str, *values: tuple[str, float, str], goal: str) -> None:
        print(f"\n{what}")
        for name, value, unit in values:
            print(f"    {name:<46} {value:>12.4g} {unit}")
        print(f"    goal: {goal}")

    return tell


@pytest.fixture
def shortest() -> Callable[..., list[float]]:
    """Takes wall times by ``shortest(repeats, *calls)``; calls run in turns."""
    return lambda repeats, *calls: [wall for wall, _ in in_turns(repeats, calls)]


@pytest.fixture(scope="session")
def comparisons() -> Iterator[list[Comparison]]:
    """What has been compared; kept in the file of the run when it ends."""
    state, measured = machine(), []
    yield measured
    if measured and FILE is not None:
        store(Path(FILE), measured, state)


@pytest.fixture
def beside(comparisons: list[Comparison]) -> Beside:
    """Times cases, ours first, prints and keeps the table: ``beside(title, unit, *cases)``."""

    def measure(title: str, unit: str, *cases: Case, repeats: int = 4) -> Comparison:
        comparison = compare(title, unit, THREADS, cases, repeats)
        comparisons.append(comparison)
        print("\n" + "\n".join(table(asdict(comparison))))
        return comparison

    return measure


@pytest.fixture
def since_first_version() -> Callable[..., None]:
    """Keeps a table of times in version 0.1.0 and now: ``since_first_version(title, *changes)``."""
    state = machine()

    def keep(title: str, *changes: Change) -> None:
        if FILE is not None:
            store_changes(Path(FILE), title, changes, state)

    return keep
