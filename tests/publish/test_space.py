"""The dashboard as a Space: it starts from what is published, and takes no submissions."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_hub import FakeHub

from etchmark.publish import space

ROOT = Path(__file__).resolve().parents[2]


def test_a_space_holds_the_package_and_what_it_needs() -> None:
    repository = space.repository()
    items = {item.path: item for item in repository.items}
    assert repository.kind == "space"
    for path in ("app.py", "Dockerfile", "requirements.txt", "README.md"):
        assert path in items
    assert "etchmark/api/local.py" in items
    assert "etchmark/content/leaderboard/app.py" in items
    assert "etchmark/content/CITATION.cff" in items
    assert any(re.match(r"etchmark/content/leaderboard/results/.+\.parquet", p) for p in items)
    # Neither built data nor what Python makes beside its files.
    assert not [p for p in items if "__pycache__" in p or re.search(r"datasets/[^/]+/data/", p)]
    needs = items["requirements.txt"].content
    assert isinstance(needs, bytes)
    named = dict(line.split("==") for line in needs.decode().splitlines())
    assert {"streamlit", "plotly", "pandas", "sqlalchemy"} <= named.keys()
    assert "torch" not in named
    card = items["README.md"].content
    assert isinstance(card, bytes)
    head = yaml.safe_load(card.decode().split("---")[1])
    assert (head["sdk"], head["app_port"]) == ("docker", space.PORT)


def test_a_space_is_published_to_the_hub(
    released: Path, hub: FakeHub, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = space.repository()
    kept = tuple(i for i in small.items if not i.path.startswith("etchmark/content/leaderboard/r"))
    monkeypatch.setattr(
        space, "repository", lambda: type(small)(small.name, "space", "T", "MIT", kept)
    )
    assert "hf://spaces/lab/dashboard: " in command("publish", "--space", "--to", "hf://lab").fine()
    assert "app.py" in hub.files("lab/dashboard")


@pytest.mark.parametrize("registry", ["a file", "none yet"])
def test_a_hub_that_is_only_read(
    registry: str,
    toy_content: Path,
    home: Path,
    command: Any,
    toy_predictions: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    command("build", "toy", "--config", "scalar-mini").fine()
    submit = ("submit", toy_predictions(tmp_path / "p.parquet"), "toy-line", "--name", "mine")
    options = ("--protocol", "holdout", "--track", "features")
    if registry == "a file":
        command(*submit, *options).fine()
    before = {path: path.read_bytes() for path in home.glob("registry.sqlite*")}
    monkeypatch.setenv("ETCHMARK_READ_ONLY", "1")
    board = command("leaderboard", "toy-line", "--json").fine()
    assert ("mine" in board) == (registry == "a file")
    said = command(*submit, *options).refusal()
    assert "this hub can be read but not changed (ETCHMARK_READ_ONLY is set)" in said
    assert {path: path.read_bytes() for path in home.glob("registry.sqlite*")} == before


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_space_starts_from_its_folder(
    reviewed: Path, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("streamlit")
    monkeypatch.delenv("ETCHMARK_CONTENT", raising=False)
    monkeypatch.delenv("ETCHMARK_CONTENT_ONLY", raising=False)
    command("publish", "--space", "--to", tmp_path / "out").fine()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = tmp_path / "out" / "dashboard"
    env = {name: v for name, v in os.environ.items() if not name.startswith("ETCHMARK_")}
    env |= {"PORT": str(port), "PYTHONDONTWRITEBYTECODE": "1"}
    prepared = subprocess.run(
        [sys.executable, "app.py", "--prepare"], cwd=own, env=env, capture_output=True, text=True
    )
    assert prepared.returncode == 0, prepared.stderr
    assert (own / "hub" / "registry.sqlite").is_file()
    running = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=own,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        answer = b""
        for _ in range(240):
            try:
                url = f"http://127.0.0.1:{port}/_stcore/health"
                with urllib.request.urlopen(url, timeout=5) as response:
                    answer = response.read()
                break
            except OSError:
                assert running.poll() is None, running.stdout and running.stdout.read()
                time.sleep(0.5)
        assert answer == b"ok"
    finally:
        running.terminate()
        running.wait(30)
    # It ran on the code and the results of the folder.
    code = (
        "import etchmark, etchmark.catalog as c; print(etchmark.__file__); print(c.content_roots())"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=own,
        env={**env, "PYTHONPATH": str(own)},
        capture_output=True,
        text=True,
    )
    first, second = shown.stdout.splitlines()
    assert first.startswith(str(own))
    assert str(own / "etchmark" / "content") in second
