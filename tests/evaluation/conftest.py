"""Models written by a test, run on the toy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


def refused(ran: Any) -> str:
    """The one line of a refusal, and nothing else."""
    assert ran.rc == 2, (ran.rc, ran.stdout, ran.stderr)
    said = ran.stderr.splitlines()
    assert len(said) == 1, ran.stderr
    assert ran.stdout == ""
    return said[0].removeprefix("error: ")


def _heed_signals() -> None:
    # Whoever runs the tests may ignore hang-ups or Ctrl-C, and children inherit that.
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


@dataclass(frozen=True)
class Hub:
    home: Path
    folder: Path
    temporary: Path
    """Where processes that are started put their temporary folders."""
    command: Callable[..., Any]

    def model(self, code: str, name: str = "mine") -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "model.py").write_text(textwrap.dedent(code), encoding="utf-8")
        return folder

    def evaluate(self, model: str | Path, *options: str) -> Any:
        return self.command("evaluate", model, "toy-line", "--track", "features", *options)

    def fine(self, code: str, *options: str) -> str:
        ran = self.evaluate(self.model(code), *options)
        assert (ran.rc, ran.stderr) == (0, ""), ran
        return ran.stdout

    def refused(self, code: str, *options: str) -> str:
        return refused(self.evaluate(self.model(code), *options))

    def start(self, code: str, *options: str) -> subprocess.Popen[bytes]:
        """Run in a process of its own and go on."""
        arguments = ["evaluate", str(self.model(code)), "toy-line", "--track", "features", *options]
        return subprocess.Popen(
            [sys.executable, "-m", "etchmark", *arguments],
            env={**os.environ, "TMPDIR": str(self.temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=_heed_signals,
        )

    def board(self, protocol: str | None = None, *, everything: bool = False) -> list[dict]:
        from etchmark.boards import standings
        from etchmark.boards.view import View
        from etchmark.catalog import catalog
        from etchmark.registry.store import Store

        frame = standings.standings(
            catalog().benchmark("toy-line"), Store(), View(protocol), everything=everything
        )
        return standings.to_records(frame)


@pytest.fixture
def hub(toy_content: Path, home: Path, tmp_path: Path, command: Callable[..., Any]) -> Hub:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    return Hub(home, tmp_path, temporary, command)
