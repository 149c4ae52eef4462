"""Working directories that outlive an interruption, so that a long training goes on.

Below one folder per model, parameters, data and device, each fold and seed has

``<fold>-<seed>/``         the model's working directory: what the model wrote and nothing else
``<fold>-<seed>.seconds``  time spent on fitting so far, noted while the model fits
``<fold>-<seed>.result/``  predictions and cost, in place of the two once they are complete

A finished fold keeps its predictions alone: what a model wrote while it learnt from one fold is
gone before the next one starts, as it is without checkpoints.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etchmark import files, settings
from etchmark.errors import UserError

if TYPE_CHECKING:
    # The worker imports this module, and has no use for the catalog and the data.
    from etchmark.catalog import ModelSource
    from etchmark.data.loading import Benchmark
    from etchmark.specs.task import Task

ENGINE = ("learning", "model.py", "saving.py")
"""Modules and packages of etchmark that models train with: an edit invalidates checkpoints."""
NOTE_EVERY_S = 1.0


def usage_name(seed: int) -> str:
    """File with processor seconds and peak memory of what a fold left running."""
    return f"usage-{seed}.json"


def folder_of(source: ModelSource, benchmark: Benchmark, task: Task, device: str) -> Path:
    """Where the checkpoints of exactly this run are kept; other code or data, another folder."""
    code = {
        path.relative_to(source.folder).as_posix(): files.sha256_of(path)
        for path in sorted(source.folder.rglob("*"))
        if path.is_file() and not _passed_over(path.relative_to(source.folder))
    }
    parts = {
        "code": code,
        # Never resume from what a faulty training loop has learnt.
        "engine": files.digest_of_code(ENGINE),
        "params": source.params,
        "benchmark": task.benchmark.key,
        "track": [task.track, task.inputs],
        "protocol": [task.protocol, task.divides.model_dump()],
        "target": task.benchmark.target.model_dump(),
        "data": benchmark.config_folder(task.track)[1].fingerprint,
        "device": device,
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return settings.home() / "checkpoints" / hashlib.sha256(text.encode()).hexdigest()


def _passed_over(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep a second process from working in the same folder at the same time."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.name != "posix":
        yield
        return
    import fcntl

    with (folder / "lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"{folder}: another process is running this model with --resume; wait until it has"
                " ended or stop it"
            ) from None
        yield


class Checkpoint:
    """What is kept of one fold and seed."""

    def __init__(self, root: Path, fold: str, seed: int) -> None:
        name = f"{fold}-{seed}"
        self.seed = seed
        self.work = root / name
        self.seconds = root / f"{name}.seconds"
        self.result = root / f"{name}.result"

    def restore(self, folder: Path, needed: Sequence[str] = ()) -> bool:
        """Put a finished outcome into a fold's folder; false if there is none.

        Args:
            folder: of the fold.
            needed: names of which the outcome has at least one; with none of them it is not one.
        """
        if needed and not any((self.result / name).exists() for name in needed):
            return False
        if not (self.result / usage_name(self.seed)).is_file():
            return False
        folder.mkdir(exist_ok=True)
        for path in self.result.iterdir():
            if path.is_dir():
                shutil.copytree(path, folder / path.name, symlinks=True)
            else:
                shutil.copyfile(path, folder / path.name)
        return True

    def keep(self, folder: Path, splits: list[str], optional: Sequence[str] = ()) -> None:
        """Keep a finished outcome, whole or not at all, in place of the working directory.

        Args:
            folder: of the fold.
            splits: that were predicted.
            optional: further files and folders that are kept where they exist.
        """
        staging = self.result.with_name(f".{self.result.name}.tmp")
        for path in (staging, self.result):
            shutil.rmtree(path, ignore_errors=True)
        names = [f"predictions-{split}-{self.seed}.npy" for split in splits]
        for name in (*names, f"result-{self.seed}.json", usage_name(self.seed)):
            files.write_bytes(staging / name, (folder / name).read_bytes())
        for name in optional:
            if (folder / name).is_dir():
                shutil.copytree(folder / name, staging / name, symlinks=True)
            elif (folder / name).is_file():
                shutil.copyfile(folder / name, staging / name)
        staging.rename(self.result)
        shutil.rmtree(self.work, ignore_errors=True)
        self.seconds.unlink(missing_ok=True)


class Stopwatch:
    """Times a block; where a file is given, together with what earlier attempts noted in it.

    The note is renewed while the block runs, so that a process that is killed loses a second.

    Args:
        note: the file.
        less: wall seconds of the block so far that do not count.
        less_cpu: processor seconds that do not.
    """

    def __init__(
        self,
        note: Path | None = None,
        less: Callable[[], float] = lambda: 0.0,
        less_cpu: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._note = note
        self._less, self._less_cpu = less, less_cpu
        self._earlier, self._earlier_cpu = _noted(note)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._started = self._started_cpu = 0.0
        self._ended: float | None = None
        self._ended_cpu: float | None = None

    @property
    def seconds(self) -> float:
        if self._ended is not None:
            return self._ended
        return self._earlier + max(0.0, time.perf_counter() - self._started - self._less())

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the block: of this process and of those that it waited for."""
        if self._ended_cpu is not None:
            return self._ended_cpu
        spent = cpu_now() - self._started_cpu - self._less_cpu()
        return self._earlier_cpu + max(0.0, spent)

    def __enter__(self) -> Stopwatch:
        self._started, self._started_cpu = time.perf_counter(), cpu_now()
        if self._note is not None:
            self._thread = threading.Thread(target=self._keep_noting, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._ended, self._ended_cpu = self.seconds, self.cpu_seconds
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._write()

    def _keep_noting(self) -> None:
        while not self._stop.wait(NOTE_EVERY_S):
            self._write()

    def _write(self) -> None:
        if self._note is None:
            return
        # A full disk must not end a training.
        with suppress(OSError):
            temporary = self._note.with_name(f".{self._note.name}.tmp")
            text = json.dumps({"seconds": self.seconds, "cpu_seconds": self.cpu_seconds})
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self._note)


def cpu_now() -> float:
    """Processor seconds so far of this process and of those that it waited for."""
    return time.process_time() + sum(os.times()[2:4])


def _noted(note: Path | None) -> tuple[float, float]:
    """Wall and processor seconds of earlier attempts."""
    if note is None:
        return 0.0, 0.0
    try:
        noted = json.loads(note.read_text(encoding="utf-8"))
        seconds = float(noted["seconds"]), float(noted["cpu_seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0, 0.0
    return seconds if all(0 <= one < float("inf") for one in seconds) else (0.0, 0.0)
