"""Speed of a verified download beside curl and the Hub's own client, from a server here.

``make speed`` prints the ratios. curl checks nothing; the Hub's client checks the length alone.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from etchmark.data import transfer

pytestmark = [pytest.mark.speed, pytest.mark.timeout(600)]

BYTES, FILES = 64 << 20, 4
ROUNDS = 4
PUBLISH = Path(__file__).resolve().parents[1] / "publish"
SERVE = """
import sys, threading, time
sys.path.insert(0, sys.argv[1])
import fake_hub
from pathlib import Path
folder = Path(sys.argv[2])
with fake_hub.serving() as hub:
    repo = hub.repos.setdefault("lab/data", fake_hub.Repo([("0" * 40, {})]))
    commit = repo.commit({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    print(hub.url, commit, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    """A fake Hub in a process of its own: its address, a commit, SHA-256 by file name."""
    folder = tmp_path / "served"
    folder.mkdir()
    digests = {}
    for number in range(FILES):
        content = np.random.default_rng(number).bytes(BYTES)
        name = f"part-{number}.parquet"
        (folder / name).write_bytes(content)
        digests[name] = hashlib.sha256(content).hexdigest()
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(PUBLISH), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = re.fullmatch(r"(\S+) (\S+)\n", server.stdout.readline())
        assert address is not None
        yield address[1], address[2], digests
    finally:
        server.communicate("")


def timed(run: Callable[[Path], object], folder: Path) -> float:
    started = time.perf_counter()
    run(folder)
    return time.perf_counter() - started


def test_a_verified_download_beside_curl_and_the_hubs_client(
    served: tuple[str, str, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    report: Callable[..., None],
) -> None:
    url, commit, digests = served
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)

    def address(name: str) -> str:
        return f"{url}/datasets/lab/data/resolve/{commit}/{name}"

    def ours(folder: Path) -> None:
        transfer.fetch(
            [
                transfer.Wanted(address(name), folder / name, digest, BYTES)
                for name, digest in digests.items()
            ],
            transfer.Options("the server", "stop"),
        )

    def curl(folder: Path) -> None:
        parts = [part for name in digests for part in ("-o", str(folder / name), address(name))]
        subprocess.run(["curl", "-sS", "--parallel", "--create-dirs", *parts], check=True)

    def client(folder: Path) -> None:
        from huggingface_hub import HfApi

        api = HfApi(endpoint=url, token="x")
        for name in digests:
            api.hf_hub_download(
                "lab/data", name, repo_type="dataset", revision=commit, local_dir=folder
            )

    seconds: dict[str, list[float]] = {"ours": [], "curl": [], "client": []}
    runs = {"ours": ours, "curl": curl, "client": client}
    for number in range(ROUNDS):
        for name, run in runs.items():
            seconds[name].append(timed(run, tmp_path / f"{name}-{number}"))
    for name in digests:
        assert (tmp_path / "ours-0" / name).stat().st_size == BYTES
    best = {name: min(times) for name, times in seconds.items()}
    size = FILES * BYTES / 1e6
    report(
        f"download of {FILES} files of {BYTES >> 20} MiB over loopback, best of {ROUNDS}",
        ("verified, SHA-256 while streaming", size / best["ours"], "MB/s"),
        ("curl --parallel, nothing checked", size / best["curl"], "MB/s"),
        ("hf_hub_download, one after the other", size / best["client"], "MB/s"),
        ("share of curl's speed", best["curl"] / best["ours"], ""),
        ("times the speed of the Hub's client", best["client"] / best["ours"], ""),
        goal="a share of at least 0.85, at least 3 times",
    )
