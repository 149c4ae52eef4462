"""From source to the Hub and to a web server, to a fresh machine, to the same score."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_hub import FakeHub

DATA, BOARD, MODEL = (
    "superalloys:composition",
    "superalloy-hardness",
    "composition_regression/ridge",
)
IMAGES = "composites:2d-mini"
README = Path(__file__).resolve().parents[2] / "README.md"
NUMBERS = """
import json, sys, etchmark
benchmark = etchmark.load_benchmark({board!r})
frame = benchmark.frame("samples", track="composition")
manifest = benchmark.config_folder("composition")[1]
print(json.dumps([len(frame), benchmark.target_fingerprint, manifest.fingerprint]))
"""


class Hub:
    """A hub folder, and `etchmark` in it as on another machine."""

    def __init__(self, home: Path, registry: Path, **settings: str) -> None:
        # With the reviewed results, which take long to read.
        shutil.copytree(registry, home)
        kept = {name: v for name, v in os.environ.items() if not name.startswith("ETCHMARK_")}
        self.env = {**kept, "ETCHMARK_HOME": str(home), **settings}

    def __call__(self, *arguments: str) -> str:
        return self._run([sys.executable, "-m", "etchmark", *arguments])

    def python(self, code: str) -> str:
        return self._run([sys.executable, "-c", code])

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(command, env=self.env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def score(self) -> dict:
        record = json.loads(self("evaluate", MODEL, BOARD, "--keep-model", "--json"))
        return {"scores": record["scores"], "predictions": record["fingerprints"]["predictions"]}


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Python's own, which knows no ranges."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
@pytest.mark.mirror
@pytest.mark.timeout(1800)
def test_a_dataset_goes_out_and_comes_back(
    mirror: Path, hub: FakeHub, read_once: Path, tmp_path: Path
) -> None:
    import datasets

    online = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "ETCHMARK_OFFLINE": "0"}
    first = Hub(tmp_path / "first", read_once, ETCHMARK_MIRROR=str(mirror), **online)
    first("build", "superalloys", "--config", "composition")
    expected, numbers = first.score(), first.python(NUMBERS.format(board=BOARD))
    first("build", "composites", "--config", IMAGES.partition(":")[2])
    lines: list[str] = []
    names = (DATA, IMAGES, BOARD, f"{MODEL}:{BOARD}")
    out = tmp_path / "public"
    for target in (str(out), "hf://lab"):
        first("publish", *names, "--to", target)
        assert "written" not in first("publish", *names, "--to", target)
    with web_server(out) as url:
        for home, remote in (("web", url), ("hub", "hf://lab"), ("disk", out.as_uri())):
            fresh = Hub(tmp_path / home, read_once, ETCHMARK_REMOTE=remote, **online)
            assert "SHA-256 verified" in fresh("download", DATA)
            assert fresh.python(NUMBERS.format(board=BOARD)) == numbers
            assert fresh.score() == expected
            # What the README says under Download.
            for line in README.read_text("utf-8").splitlines():
                if line.startswith("etchmark download "):
                    arguments = shlex.split(line, comments=True)[1:]
                    if arguments[1] in (DATA, IMAGES):
                        place = arguments.index("--out") + 1
                        arguments[place] = str(tmp_path / home / arguments[place])
                        assert "SHA-256 verified" in fresh(*arguments)
                        lines.append(line)
    assert len(lines) == 6
    read = datasets.load_dataset(
        str(out / "superalloys"), "composition", split="samples", cache_dir=str(tmp_path / "cache")
    )
    assert len(read) == json.loads(numbers)[0]
    model = f"lab/{BOARD}.{MODEL.replace('/', '.')}.composition"
    assert "artefact/artefact.json" in hub.files(model)
