"""Tasks run anywhere and come back whole; what dies is run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from etchmark.data import executors
from etchmark.data.executors import Dask, Local, Processes, executor_of
from etchmark.errors import UserError


def test_local_runs_one_after_the_other() -> None:
    assert list(Local().run(abs, [-1, 2, -3])) == [(-1, 1), (2, 2), (-3, 3)]


def test_one_thread_also_of_what_a_task_loads() -> None:
    """Torch started with all threads: 50 times the processor time for small transforms."""
    pytest.importorskip("torch")
    script = """
from etchmark.data.executors import Local

def threads(_):
    import torch
    return torch.get_num_threads()

inside = [result for _, result in Local().run(threads, [1, 2])]
print(inside, threads(0))
"""
    env = {**os.environ, "OMP_NUM_THREADS": "3"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[1, 1] 3\n", "")


def test_processes_give_every_result_once() -> None:
    tasks = [-number for number in range(20)]
    found = dict(Processes(2).run(abs, tasks))
    assert found == {task: abs(task) for task in tasks}
    assert list(Processes(2).run(abs, [])) == []


def test_processes_use_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = dict(Processes(1).run(os.getenv, ["OMP_NUM_THREADS", "MKL_NUM_THREADS"]))
    assert found == {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_a_closed_iterator_ends_its_processes() -> None:
    import psutil

    with closing(Processes(2).run(time.sleep, [0.0, 60.0, 60.0])) as results:
        assert next(iter(results)) == (0.0, None)
        inside = psutil.Process().children(recursive=True)
        assert inside
    left = [one for one in inside if one.is_running() and "spawn_main" in " ".join(one.cmdline())]
    assert not left


@pytest.mark.slow
def test_a_process_that_dies_is_replaced(costly: Any, tmp_path: Path) -> None:
    from etchmark.catalog import catalog
    from etchmark.data import building

    serial = building.build(
        catalog(), "costly", None, building.BuildOptions(out=tmp_path / "serial")
    )
    trap = tmp_path / "trap"
    trap.touch()
    run = costly.start("--recompute", "--executor", "processes", "--workers", "2", TOY_TRAP=trap)
    said, complaint = run.communicate(timeout=120)
    assert run.returncode == 0, complaint
    assert not trap.exists()
    assert "8 computed" in said
    assert serial.manifest.fingerprint in said
    assert costly.called()["train-3"] == 3


def test_processes_that_always_die_end_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "RESTARTS", 1)
    with pytest.raises(UserError, match="a worker process died 2 times"):
        list(Processes(1).run(signal.raise_signal, [signal.SIGKILL]))


@pytest.mark.parametrize("address", ["nonsense", "foo://x:1"])
def test_an_address_that_is_none(address: str) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(UserError, match=f"--scheduler {address}: no Dask scheduler answers there"):
        list(Dask(address).run(abs, [1]))


@pytest.mark.parametrize("address", ["", "nonsense", "host:", "host:port", "a b:1", "tcp://", ":1"])
def test_a_text_that_is_no_address(address: str) -> None:
    with pytest.raises(UserError, match="not an address; give one such as tcp://node1:8786"):
        executor_of("dask", scheduler=address)


@pytest.mark.parametrize("address", ["host:8786", "tcp://10.0.0.1:8786", "tls://[::1]:8786"])
def test_texts_that_are_addresses(address: str) -> None:
    assert executor_of("dask", scheduler=address) == Dask(address)


def test_a_scheduler_that_does_not_answer(costly: Any, cli: Any) -> None:
    pytest.importorskip("distributed")
    start = time.monotonic()
    ran = cli("build", "costly", "--executor", "dask", "--scheduler", "tcp://127.0.0.1:9")
    assert "no Dask scheduler answers there" in ran.refusal()
    assert time.monotonic() - start < 30
    # What needs no cluster does not look for one.
    costly.start().communicate(timeout=60)
    said = cli("build", "costly", "--executor", "dask", "--scheduler", "tcp://127.0.0.1:9").fine()
    assert "8 of earlier work" in said


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"pip install 'etchmark\[cluster\]'"):
        list(Dask("tcp://127.0.0.1:9").run(abs, [1]))


@pytest.mark.slow
def test_a_dask_cluster_that_loses_a_worker(
    costly: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    from etchmark.catalog import catalog
    from etchmark.data import building

    serial = building.build(
        catalog(), "costly", None, building.BuildOptions(out=tmp_path / "serial")
    )
    monkeypatch.setenv("TOY_NAP", "1.5")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        run = costly.start(
            "--recompute", "--executor", "dask", "--scheduler", cluster.scheduler_address
        )
        costly.wait_for(lambda: costly.called().total() >= 8 + 2, "both workers to be at work")
        victims = [worker.process.pid for worker in cluster.workers.values()]
        os.kill(victims[0], signal.SIGKILL)
        said, complaint = run.communicate(timeout=180)
    assert run.returncode == 0
    # What takes long says how long the rest will take; nothing else is said.
    assert all("so the remaining" in line for line in complaint.splitlines()), complaint
    assert "8 computed" in said
    assert serial.manifest.fingerprint in said
    assert costly.called().total() > 16, "the shard of the killed worker was started again"
