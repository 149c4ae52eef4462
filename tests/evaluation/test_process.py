"""The supervisor: limits hold for all that a process starts, and all of it is ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from mean_model import mean_model

from etchmark.evaluation import process
from etchmark.evaluation.options import Limits
from etchmark.evaluation.process import Ending, Outcome, Supervised

POSIX = pytest.mark.skipif(os.name != "posix", reason="there are no sessions to leave")

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
PYTHON = (sys.executable, "-c")
EATS = "kept = b'x' * (300 << 20)"
SLEEPS = "import time; time.sleep(300)"


def _supervised(code: str, **options: Any) -> Supervised:
    return Supervised([*PYTHON, code], os.environ, who="the test", **options)


def _noted(pids: Path, then: str) -> str:
    """Code that appends its process id to a file before it goes on."""
    return f"import os; open({str(pids)!r}, 'a').write(str(os.getpid()) + chr(10)); {then}"


def test_how_a_process_ends() -> None:
    child = _supervised("print('said'); raise SystemExit(3)")
    assert child.run(Limits(60)) == Outcome(Ending.FINISHED, 3)
    assert child.output.text() == "said\n"
    assert _supervised(SLEEPS).run(Limits(0.3)) == Outcome(Ending.OUT_OF_TIME, -9)
    eats = f"{EATS}; {SLEEPS}"
    assert _supervised(eats).run(Limits(60, 128 << 20)) == Outcome(Ending.OUT_OF_MEMORY, -9)
    killed = _supervised("import os; os.kill(os.getpid(), 15)").run(Limits(60))
    assert killed == Outcome(Ending.FINISHED, -15)


@POSIX
def test_memory_of_a_child_of_the_child_counts(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    eats = _noted(pids, f"{EATS}; {SLEEPS}")
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {eats!r}])"
    outcome = _supervised(code).run(Limits(60, 128 << 20))
    assert outcome.ending is Ending.OUT_OF_MEMORY
    assert _gone(pids, 0)


@LINUX
def test_memory_that_may_not_be_looked_at_closely_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: psutil.Process) -> None:
        raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(psutil.Process, "memory_full_info", refuse)
    outcome = _supervised(f"{EATS}; {SLEEPS}").run(Limits(60, 128 << 20))
    assert outcome.ending is Ending.OUT_OF_MEMORY


@POSIX
def test_what_left_its_session_is_ended(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {_noted(pids, SLEEPS)!r}], start_new_session=True)
while not os.path.exists({str(pids)!r}): time.sleep(0.01)
"""
    assert _supervised(code).run(Limits(60)) == Outcome(Ending.FINISHED, 0)
    assert _gone(pids, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_of_the_caller_ends_the_process(error: type[BaseException]) -> None:
    child = _supervised(SLEEPS)

    def tick() -> None:
        raise error

    with pytest.raises(error):
        child.run(Limits(60), tick=tick)
    assert child.process.returncode == -9


def test_much_output_is_kept_from_its_end() -> None:
    heard: list[bytes] = []
    child = _supervised("print('x' * (1 << 20)); print('end')", listener=heard.append)
    child.run(Limits(60))
    assert child.output.text().endswith("x\nend\n")
    assert len(child.output.text()) <= 2 * process.OUTPUT_BYTES
    assert (len(b"".join(heard)), heard[-1]) == ((1 << 20) + 5, b"")


# --- models ------------------------------------------------------------------------------------


def _daemon(pids: Path, then: str = "pass") -> str:
    """A model that leaves a process without parent, session, group, or open files."""
    return mean_model(
        f"""
        os.environ["ESCAPED"] = "1"
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.chdir("/")
                os.closerange(0, 1024)
                note = os.open({str(pids)!r}, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
                os.write(note, b"%d\\n" % os.getpid())
                os.close(note)
                time.sleep(300)
            os._exit(0)
        while not os.path.exists({str(pids)!r}): time.sleep(0.01)
        {then}"""
    )


KILL_ANCESTORS = """
        import psutil
        root = psutil.Process()
        above = [one for one in root.parents() if sys.argv[1] in " ".join(one.cmdline())]
        for one in reversed(above): one.kill()
        time.sleep(300)"""


def _gone(pids: Path, seconds: float = 15) -> bool:
    """Whether every noted process has ended; what has not is killed, so that no test leaves it."""
    found = [int(line) for line in pids.read_text().split()]
    assert found, "the model started nothing"
    deadline = time.monotonic() + seconds
    while left := [pid for pid in found if _runs(pid)]:
        if time.monotonic() > deadline:
            for pid in left:
                psutil.Process(pid).kill()
            return False
        time.sleep(0.05)
    return True


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@LINUX
def test_a_daemon_does_not_outlive_a_run_that_ends_well(hub):
    pids = hub.folder / "pids"
    hub.fine(_daemon(pids))
    assert _gone(pids, 0)


@LINUX
def test_a_daemon_does_not_outlive_a_worker_that_the_model_kills(hub):
    pids = hub.folder / "pids"
    assert "ended without a result" in hub.refused(_daemon(pids, KILL_ANCESTORS))
    assert _gone(pids, 0)


@LINUX
def test_a_daemon_that_drops_its_environment_does_not_outlive_a_killed_worker(hub):
    pids = hub.folder / "pids"
    code = _daemon(pids, f"time.sleep(2.5)\n{KILL_ANCESTORS}").replace(
        "time.sleep(300)\n            os._exit",
        "os.execve('/bin/sleep', ['sleep', '300'], {})\n            os._exit",
    )
    assert "execve" in code
    assert "ended without a result" in hub.refused(code)
    assert _gone(pids, 0)


@LINUX
def test_a_daemon_does_not_outlive_an_evaluation_that_is_killed(hub):
    pids = hub.folder / "pids"
    running = hub.start(_daemon(pids, "time.sleep(300)"))
    deadline = time.monotonic() + 60
    while not (pids.exists() and pids.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.kill()
    running.communicate(timeout=30)
    assert _gone(pids)


@LINUX
def test_the_next_evaluation_ends_what_a_killed_one_left(hub, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(hub.temporary))
    token = process.new_token()
    left = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(300)"],
        env={**os.environ, "ETCHMARK_SUPERVISED": token},
        start_new_session=True,
    )
    folder = hub.temporary / "etchmark-run-left"
    folder.mkdir()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (folder / "run.json").write_text(json.dumps({"parent": gone.pid, "token": token}))
    try:
        hub.fine(mean_model())
        assert left.wait(timeout=10) == -9
        assert not folder.exists()
    finally:
        left.kill()


@LINUX
def test_what_cannot_be_ended_is_named(hub, monkeypatch):
    pids = hub.folder / "pids"
    code = _daemon(pids, KILL_ANCESTORS)
    monkeypatch.setattr(process, "END_SECONDS", 0.2)
    monkeypatch.setattr(psutil.Process, "kill", lambda self: None)
    ran = hub.evaluate(hub.model(code))
    monkeypatch.undo()
    warning, error = ran.stderr.splitlines()
    (pid,) = pids.read_text().split()
    assert warning.startswith("warning: processes that the model started could not be ended: ")
    assert f"{pid} (" in warning
    assert "ended without a result" in error
    assert not _gone(pids, 0)
