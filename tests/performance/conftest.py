"""What the measurements of speed share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import pytest

Report = Callable[..., None]


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Two threads of torch, as many as the machine of the stated goals has cores."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
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
    """Takes times by ``shortest(repeats, *calls)``."""

    def take(repeats: int, *calls: Callable[[], object]) -> list[float]:
        """The shortest time of each call in seconds; they run in turns, once before to warm up."""
        times = [math.inf] * len(calls)
        for _ in range(repeats + 1):
            for index, call in enumerate(calls):
                start = time.perf_counter()
                call()
                times[index] = min(times[index], time.perf_counter() - start)
        return times

    return take
