"""How well the cost of the same work agrees between reruns, alone and under load; run as a script.

Pieces of work like those of models are run several times, each in a process of its own: a small
network is trained (torch, several threads), a ridge regression is fitted (linear algebra, one
thread as in a model's process), a short one and a long one, and a loop in Python counts. A first
run, which reads programs from the disk, does not count. Before and after each the reference
workload is timed, as for a record.
Then the same is done beside other programs that want every core. For wall seconds, processor
seconds and reference units the spread is the largest divided by the smallest, over all of these
runs of one piece of work. Where other programs run all the time, none of them runs alone: the load
average of the machine stands beside each run.

Writes ``tests/reliability/costs.json``, which ``docs/methods/costs.md`` quotes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from etchmark import environment, files
from etchmark.evaluation import reference
from etchmark.evaluation.checkpoints import cpu_now
from etchmark.evaluation.model_environment import THREADS
from etchmark.specs import reference_units

TARGET = Path(__file__).resolve().parent / "costs.json"
MEASURES = ("wall", "cpu", "units")
BURN = """
import numpy as np
matrix = np.random.default_rng(0).random((600, 600))
while True:
    matrix @ matrix
    sum(range(100_000))
"""


def train() -> None:
    """A small convolutional network, in single precision, on the threads that torch chooses."""
    import torch

    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1 if not depth else 16, 16, 3, padding=1) for depth in range(3)]
    network = torch.nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(network.parameters())
    images = torch.rand(16, 1, 64, 64)
    for _ in range(4):
        optimizer.zero_grad()
        network(images).square().mean().backward()
        optimizer.step()


def regress(samples: int, features: int) -> None:
    """Ridge regression by a singular value decomposition."""
    from sklearn.linear_model import Ridge

    generator = np.random.default_rng(0)
    rows, target = generator.random((samples, features)), generator.random(samples)
    Ridge(solver="svd").fit(rows, target)


def count() -> None:
    """Nothing but Python."""
    total = 0
    for step in range(25_000_000):
        total += step % 7


WORKS: dict[str, Callable[[], None]] = {
    "network": train,
    "short regression": partial(regress, 2000, 300),
    "long regression": partial(regress, 8000, 1200),
    "python": count,
}
MODULES = {
    "network": "torch",
    "short regression": "sklearn.linear_model",
    "long regression": "sklearn.linear_model",
}
"""What a piece of work imports first: imports are no part of the cost."""


def measure(name: str) -> dict[str, float]:
    """Cost of a piece of work in this process, as a record has it."""
    if name in MODULES:
        importlib.import_module(MODULES[name])
    before = reference.cpu_seconds(reference.ROUNDS)
    started, started_cpu = time.perf_counter(), cpu_now()
    WORKS[name]()
    wall, cpu = time.perf_counter() - started, cpu_now() - started_cpu
    after = reference.cpu_seconds(reference.ROUNDS)
    units = reference_units(cpu, (before, after))
    return {"wall": wall, "cpu": cpu, "units": 0.0 if units is None else units}


@contextmanager
def load(programs: int) -> Iterator[None]:
    """Other programs that want a core each."""
    single = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    running = [subprocess.Popen([sys.executable, "-c", BURN], env=single) for _ in range(programs)]
    try:
        yield
    finally:
        for program in running:
            program.kill()
            program.wait()


def apart(name: str) -> dict[str, float]:
    """``measure`` in a process of its own, with the load average of the machine at its end."""
    command = [sys.executable, __file__, "--measure", name]
    settings = {**THREADS, **os.environ}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=settings)
    return json.loads(done.stdout) | {"load_average": os.getloadavg()[0]}


def study(repeats: int, programs: int) -> dict[str, object]:
    """Runs of every piece of work under each load, and their spread."""
    results: dict[str, object] = {
        "hardware": environment.hardware("cpu"),
        "programs": programs,
        "repeats": repeats,
    }
    works = {}
    for name in WORKS:
        apart(name)
        alone = [apart(name) for _ in range(repeats)]
        with load(programs):
            loaded = [apart(name) for _ in range(repeats)]
        works[name] = {
            "alone": [_rounded(run) for run in alone],
            "loaded": [_rounded(run) for run in loaded],
            "spread": _rounded({key: spread([*alone, *loaded], key) for key in MEASURES}),
        }
        print(f"{name}: {works[name]['spread']}", flush=True)
    return results | {"works": works}


def spread(runs: list[dict[str, float]], key: str) -> float:
    """The largest divided by the smallest."""
    values = [run[key] for run in runs]
    return max(values) / min(values)


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {key: float(f"{value:.3g}") for key, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each work and load")
    parser.add_argument("--programs", type=int, default=2 * (os.cpu_count() or 1))
    parser.add_argument("--measure", choices=list(WORKS), help="only print the cost of this work")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    results = study(options.repeats, options.programs)
    files.write_text(TARGET, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
