"""What a model's process sees of the environment."""

from __future__ import annotations

import json
import os

import pytest
from mean_model import mean_model

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
    hub.fine(mean_model(f"json.dump(dict(os.environ), open({str(path)!r}, 'w'))"), *options)
    return json.loads(path.read_text())


def test_a_model_sees_what_it_needs_and_no_secret(hub, monkeypatch):
    for name, value in {**SECRETS, **NEEDED}.items():
        monkeypatch.setenv(name, value)
    seen = _environment(hub)
    assert not set(SECRETS) & set(seen)
    assert not any("secret" in value for value in seen.values())
    assert {name: seen.get(name) for name in NEEDED} == NEEDED
    assert (seen["PATH"], seen["HOME"]) == (os.environ["PATH"], os.environ["HOME"])


def test_no_thread_spins_while_it_waits(hub, monkeypatch):
    """Spinning counts as processor time: the cost of a run would depend on other programs."""
    for name in ("OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    seen = _environment(hub)
    assert (seen["OMP_WAIT_POLICY"], seen["OPENBLAS_NUM_THREADS"]) == ("PASSIVE", "1")


def test_what_the_caller_says_of_threads_holds(hub, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    seen = _environment(hub)
    assert (seen["OMP_WAIT_POLICY"], seen["OPENBLAS_NUM_THREADS"]) == ("ACTIVE", "3")


def test_a_relative_folder_is_the_callers(hub, monkeypatch):
    """The model's process has another working directory."""
    monkeypatch.chdir(hub.folder)
    monkeypatch.setenv("TMPDIR", "scratch")
    (hub.folder / "scratch").mkdir()
    assert _environment(hub)["TMPDIR"] == str(hub.folder / "scratch")


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
    line = hub.refused(mean_model())
    assert line.startswith("ETCHMARK_PASS_ENV: ")
    assert why in line
    assert hub.board(everything=True) == []
