"""``kill -9`` during submit: what was acknowledged is there, the rest is absent or whole."""

from __future__ import annotations

import contextlib
import io
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from etchmark import files
from etchmark.boards import standings
from etchmark.catalog import catalog
from etchmark.registry.store import Store
from etchmark.scoring.samples import from_table

# Imports take most of a submit's time and none of its risk: they are over when it is timed.
CHILD = """
import sys
import etchmark.api.submitting, etchmark.commands.main, etchmark.commands.present.scores
print("ready", flush=True)
sys.stdin.readline()
etchmark.commands.main.main(["submit", sys.argv[1], "toy-line", "--track", "features", "--protocol",
                   "holdout", "--name", sys.argv[2]])
"""


def _start(file: Path, name: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(file), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _go(process: subprocess.Popen[str]) -> float:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return time.perf_counter()


def _duration(file: Path) -> float:
    process = _start(file, "measured")
    began = _go(process)
    process.communicate(timeout=60)
    assert process.returncode == 0
    return time.perf_counter() - began


def _whole(home: Path) -> set[str]:
    """Names in the registry, each of them seen to be complete."""
    store = Store()
    spec = catalog().benchmark("toy-line")
    entries = store.entries(spec.id, spec.version)
    for entry in entries:
        assert entry.samples is not None
        (samples,) = from_table(pq.read_table(io.BytesIO(entry.samples)))
        assert samples.split == "test"
        assert len(samples.ids) == 9
        for sha256 in entry.record.fingerprints.predictions:
            assert files.sha256_of(store.prediction_path(sha256)) == sha256
    for path in (home / "predictions").glob("*/[!.]*"):
        assert files.sha256_of(path) == path.name
    names = {entry.record.name for entry in entries}
    board = standings.standings(spec, store)
    assert set(board["model"]) == names
    assert board["rank"].notna().all()
    return names


def _ordeal(toy_predictions, home: Path, kills: int) -> None:
    window = min(_duration(toy_predictions("measured.csv")) for _ in range(2))
    generator = random.Random(20261121)
    acknowledged, killed = {"measured"}, 0
    # A machine that gets faster or slower under way moves the window, so that the moments go on
    # falling into the submit itself; a test that hardly ever kills would prove nothing.
    for number in range(6 * kills):
        if killed == kills:
            break
        # Another content every time, so that a predictions file is written every time, too.
        name, file = f"model-{number}", toy_predictions(f"{number}.csv")
        with file.open("a") as handle:
            handle.write("\n" * (number + 1))
        process = _start(file, name)
        began = _go(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=generator.uniform(0, 1.1 * window))
            window = min(window, time.perf_counter() - began)
        process.kill()
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in err
        if process.returncode == 0 or "stored as" in out:
            acknowledged.add(name)
            if process.returncode != 0:
                killed += 1
        else:
            killed += 1
            window *= 1.02
        found = _whole(home)
        assert acknowledged <= found
        assert found <= {"measured", *(f"model-{before}" for before in range(number + 1))}
    assert killed == kills
    # After all that the registry takes a submission as ever.
    process = _start(toy_predictions("last.csv"), "last")
    _go(process)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert "last" in _whole(home)


pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no kill -9")


def test_four_kills(toy_predictions, home):
    _ordeal(toy_predictions, home, 4)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_kills(toy_predictions, home):
    _ordeal(toy_predictions, home, 25)
