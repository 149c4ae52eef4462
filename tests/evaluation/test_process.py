"""What a model's process sees of the environment, and how all that it started is ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from etchmark.evaluation import process

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
MODEL = """
import json, os, signal, sys, time
import numpy as np
class Mean:
    def fit(self, train, validation):
        self.mean = float(train.target.mean())
        {fit}
    def predict(self, inputs):
        return np.full(len(inputs["a"]), self.mean)
def build(seed, device):
    return Mean()
"""
SECRETS = {
    "HF_TOKEN": "hf_secret",
    "HF_TOKEN_PATH": "/secret",
    "DATABASE_URL": "postgresql://me:secret@host/db",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "NVIDIA_API_KEY": "secret",
    "CUDA_REGISTRY_PASSWORD": "secret",
    "JAX_AUTH_TOKEN": "secret",
    "HTTPS_PROXY": "http://me:secret@proxy:3128",
    "HF_ENDPOINT": "https://me:secret@host",
    "SSH_AUTH_SOCK": "/secret",
    "GITHUB_TOKEN": "secret",
    "SOMETHING_ELSE": "secret",
}
NEEDED = {
    "OPENBLAS_CORETYPE": "Haswell",
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "LC_ALL": "C.UTF-8",
    "TMPDIR": "/tmp",
    "HF_HOME": "/cache/hf",
    "XDG_CACHE_HOME": "/cache",
    "VIRTUAL_ENV": "/venv",
    "PYTHONWARNINGS": "ignore::DeprecationWarning",
    "NO_PROXY": "localhost",
}


def _environment(hub, *options: str) -> dict[str, str]:
    """The environment that a model sees."""
    path = hub.folder / "environment.json"
    hub.fine(MODEL.format(fit=f"json.dump(dict(os.environ), open({str(path)!r}, 'w'))"), *options)
    return json.loads(path.read_text())


def test_a_model_sees_what_it_needs_and_no_secret(hub, monkeypatch):
    for name, value in {**SECRETS, **NEEDED}.items():
        monkeypatch.setenv(name, value)
    seen = _environment(hub)
    assert not set(SECRETS) & set(seen)
    assert not any("secret" in value for value in seen.values())
    assert {name: seen.get(name) for name in NEEDED} == NEEDED
    assert (seen["PATH"], seen["HOME"]) == (os.environ["PATH"], os.environ["HOME"])


def test_variables_that_are_asked_for_are_passed_on(hub, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ETCHMARK_PASS_ENV", "HF_TOKEN, HTTPS_PROXY,NOT_SET,")
    seen = _environment(hub)
    assert set(SECRETS) & set(seen) == {"HF_TOKEN", "HTTPS_PROXY"}
    assert seen["HF_TOKEN"] == SECRETS["HF_TOKEN"]
    assert "ETCHMARK_PASS_ENV" not in seen


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("HF_TOKEN DATABASE_URL", "is not the name of a variable; separate names by commas"),
        ("HF_*", "'HF_*' is not the name of a variable"),
        ("ETCHMARK_HOME", "ETCHMARK_HOME is a setting of etchmark, which no model sees"),
    ],
)
def test_what_cannot_be_passed_on_is_refused(hub, monkeypatch, asked, why):
    monkeypatch.setenv("ETCHMARK_PASS_ENV", asked)
    line = hub.refused(MODEL.format(fit="pass"))
    assert line.startswith("ETCHMARK_PASS_ENV: ")
    assert why in line
    assert hub.board(everything=True) == []


# --- processes ---------------------------------------------------------------------------------


def _daemon(pids: Path, then: str = "pass") -> str:
    """A model that leaves a process without parent, session, group, or open files."""
    return MODEL.format(
        fit=f"""
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
        env={**os.environ, "ETCHMARK_IN_MODEL": token},
        start_new_session=True,
    )
    folder = hub.temporary / "etchmark-run-left"
    folder.mkdir()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (folder / "run.json").write_text(json.dumps({"parent": gone.pid, "token": token}))
    try:
        hub.fine(MODEL.format(fit="pass"))
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
