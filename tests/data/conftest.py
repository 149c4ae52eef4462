"""A dataset with costly labels: eight shards, whose simulations leave a mark when they start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

BUILD = """
import os
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from etchmark.data.building import main
from etchmark.columns import array_column, array_feature, with_features
from etchmark.data.shards import Shard, hash_of, match


def shards(context):
    parts = {"train": 5, "test": 3}
    return [
        Shard(f"{split}-{part}", split, 3, {"seed": [split == "test", part]})
        for split, count in parts.items()
        for part in range(count)
    ]


def phases(context, shard):
    seed = [context.parameters["seed"], *map(int, shard.payload["seed"])]
    values = (np.random.default_rng(seed).random((shard.rows, 5, 4, 3)) < 0.4).astype(np.uint8)
    return [f"{shard.name}-{row}" for row in range(shard.rows)], values


def labels(context, shard):
    calls = os.environ.get("TOY_CALLS")
    if calls:
        Path(calls, f"{shard.name}@{time.time_ns()}").touch()
    time.sleep(float(os.environ.get("TOY_NAP", "0")))
    trap = os.environ.get("TOY_TRAP")
    if trap and shard.name == "train-3" and Path(trap).exists():
        Path(trap).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    ids, values = phases(context, shard)
    y = values.mean((1, 2, 3)) * 1.0
    return pa.table({"id": ids, "hash": [hash_of(one) for one in values], "y": y})


def table(context, shard, labels):
    ids, values = phases(context, shard)
    found = match(labels, ids, [hash_of(one) for one in values])
    columns = {"id": ids, "phases": array_column(values), "y": found.column("y")}
    return with_features(pa.table(columns), {"phases": array_feature(values)})


if __name__ == "__main__":
    main(__file__)
"""
CARD = {
    "schema": 1,
    "name": "costly",
    "version": 1,
    "title": "Costly: small volumes",
    "summary": "s",
    "licence": "CC0-1.0",
    "default_config": "mini",
    "label_columns": ["y"],
    "parameters": {"seed": 3},
    "configs": {
        "mini": {"title": "t", "description": "d", "splits": ["train", "test"], "rows": 24}
    },
}


@dataclass(frozen=True)
class Costly:
    """The dataset ``costly``, and what is left of its builds."""

    folder: Path
    """In the content."""
    home: Path
    calls: Path

    @property
    def frozen(self) -> Path:
        """The table of frozen labels."""
        return self.folder / "labels" / "mini.parquet"

    @property
    def unmerged(self) -> Path:
        """Where finished shards stand while not all of them are there."""
        return self.folder / "labels" / "mini"

    @property
    def built(self) -> Path:
        return self.home / "datasets" / "costly" / "mini"

    @property
    def work(self) -> Path:
        return self.home / "work" / "costly" / "mini"

    def done(self) -> list[Path]:
        """Label shards in the hub folder, of whatever code."""
        return sorted(self.work.glob("*/labels/[!.]*.parquet"))

    def called(self) -> Counter[str]:
        """How often the simulation of each shard was started."""
        return Counter(path.name.partition("@")[0] for path in self.calls.iterdir())

    def edit(self, old: str, new: str) -> None:
        path = self.folder / "build.py"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def start(self, *options: str, **env: str) -> subprocess.Popen[str]:
        """``etchmark build costly`` in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "etchmark", "build", "costly", *options],
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Whoever runs the tests may ignore Ctrl-C, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    @staticmethod
    def kill(process: subprocess.Popen[str], how: signal.Signals = signal.SIGKILL) -> None:
        process.send_signal(how)
        process.communicate(timeout=30)

    @staticmethod
    def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what}"
            time.sleep(0.02)


@pytest.fixture
def costly(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Costly:
    root = tmp_path / "costly-content"
    folder = root / "datasets" / "costly"
    folder.mkdir(parents=True)
    (root / "benchmarks").mkdir()
    (folder / "build.py").write_text(BUILD, encoding="utf-8")
    (folder / "dataset.yaml").write_text(yaml.safe_dump(CARD, sort_keys=False), encoding="utf-8")
    calls = tmp_path / "calls"
    calls.mkdir()
    monkeypatch.setenv("ETCHMARK_CONTENT", str(root))
    monkeypatch.setenv("ETCHMARK_CONTENT_ONLY", "1")
    monkeypatch.setenv("TOY_CALLS", str(calls))
    return Costly(folder, home, calls)
