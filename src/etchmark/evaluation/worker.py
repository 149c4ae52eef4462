"""Runs one model in a process of its own: ``python -m etchmark.evaluation.worker RUN_FOLDER``.

The run folder holds ``run.json`` and, for each fold, ``train.arrow``, perhaps
``validation.arrow``, and ``inputs-<split>.arrow`` with nothing but ids and declared inputs.
One fold's training data are another fold's answers, so folds are laid out one at a time, each with
a fresh working directory (resumed: the one that this very fold left when it was interrupted), by a
process that the model's code never runs in. On Linux every fold runs in a fork of its own: what a
model remembers of one fold cannot reach the next, what it left running is ended with it, and peak
memory (of its largest process) is measured per fold. This keeps models from reading labels by
accident or by a look around; it is no sandbox against a model that searches the machine.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from etchmark import files, settings
from etchmark.errors import UserError
from etchmark.evaluation.checkpoints import Checkpoint
from etchmark.evaluation.fold import lay_out, load_build, run_fold, take_away, take_samples
from etchmark.evaluation.process import END_SECONDS

TRACE, MAX_TRACE = "trace.txt", 1 << 16
"""File with the traceback of a failure, and its length in characters at most."""
LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


# --- processes ---------------------------------------------------------------------------------


def describe(error: BaseException, code: Path) -> str:
    """What was raised and where in the model's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if code.parent in Path(frame.filename).parents]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    if isinstance(error, MemoryError):
        return f"ran out of memory{where}"
    try:
        text = " ".join(str(error).split())[:300]
    except Exception:
        text = "(its message cannot be shown)"
    return f"{type(error).__name__}: {text}{where}"


def _fail(root: Path, code: Path, error: BaseException) -> None:
    # What the caller can fix is no fault of the model's, and nothing to record.
    cannot, reason = isinstance(error, UserError), ""
    if isinstance(error, OSError) and error.errno in files.NO_ROOM:
        cannot, reason = True, files.no_room(error, root)
    reason = reason or (str(error) if cannot else describe(error, code))
    failure = {"reason": reason, "cannot_run": cannot}
    (root / "failure.json").write_text(json.dumps(failure), encoding="utf-8")
    # Not printed: the model may have closed the streams, and whoever watches it gets one line.
    with suppress(Exception):
        lines = traceback.format_exception(error)
        (root / TRACE).write_text("".join(lines)[-MAX_TRACE:], "utf-8", "replace")


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def _sweep() -> None:
    """End what a fold left running; orphans come to this process, which adopts them.

    What cannot be ended (a program of another user's rights) is left to whoever started the run.
    """
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    child.kill()
            time.sleep(0.005)


def _leave(number: int, _: Any) -> None:
    """End everything below this process, then itself: whoever started the run is gone."""
    _sweep()
    os._exit(128 + number)


def _fork() -> int:
    """``os.fork`` without the warning that Python 3.12 and later print into the model's output.

    The only other threads are those of libraries, which have no work while this process forks.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _forked(root: Path, code: Path, result: Path, work: Callable[[], None]) -> int | None:
    """Run ``work`` in a fork; its peak memory in bytes, or None if it left no result."""
    child = _fork()
    if child == 0:
        status = 1
        try:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            work()
            status = 0
        except BaseException as error:
            _fail(root, code, error)
        finally:
            with suppress(Exception):
                sys.stdout.flush()
            os._exit(status)
    _, status, usage = os.wait4(child, 0)
    _sweep()
    if status == 0 and result.is_file():
        return usage.ru_maxrss * 1024
    if not (root / "failure.json").is_file():
        ended = "exited without a result"
        if os.WIFSIGNALED(status):
            ended = f"was killed by signal {os.WTERMSIG(status)}"
        files.write_json(root / "failure.json", {"reason": f"the model's process {ended}"})
    return None


class _Dealer:
    """Hands out one fold at a time, from the process that holds the labels.

    The process that imports and runs the model is forked before any label is read, and waits until
    they have been taken off the disk.
    """

    def __init__(self, root: Path, run: dict[str, Any]) -> None:
        self.root, self.run = root, run
        self.asked, self._ask = os.pipe()
        self._answer, self.answered = os.pipe()

    def deal(self) -> None:
        """In the process that holds the labels: lay out what is asked for until the other ends."""
        os.close(self._ask)
        os.close(self._answer)
        samples = take_samples(self.root)
        with suppress(BrokenPipeError):
            os.write(self.answered, b"!")
            while request := os.read(self.asked, 4):
                fold = int.from_bytes(request, "little")
                if samples:
                    lay_out(samples[0], self.run, fold, self.root / self.run["folds"][fold])
                os.write(self.answered, b"!")

    def wait(self) -> None:
        """In the process that runs the model: until no label is within reach."""
        os.close(self.asked)
        os.close(self.answered)
        if not os.read(self._answer, 1):
            os._exit(1)

    def ask(self, fold: int) -> None:
        os.write(self._ask, fold.to_bytes(4, "little"))
        if not os.read(self._answer, 1):
            os._exit(1)

    def leave(self) -> None:
        """In a fold's own process, which is to ask for nothing."""
        os.close(self._ask)
        os.close(self._answer)


def _run_all(
    root: Path, run: dict[str, Any], code: Path, ask: Callable[[int], None], leave: Callable
) -> list[int] | None:
    """Run every seed and fold; peak memory of each in bytes, or None after a failure."""
    peaks = []
    build = load_build(code)
    for seed in run["seeds"]:
        for fold, name in enumerate(run["folds"]):
            folder, work, noted = root / name, root / "work", None
            kept = Checkpoint(Path(run["resume"]), name, seed) if run["resume"] else None
            if kept is not None:
                earlier = kept.restore(folder)
                if earlier is not None:
                    peaks += [earlier] if earlier else []
                    continue
                work, noted = kept.work, kept.seconds
            ask(fold)
            work.mkdir(exist_ok=True)
            given = (build, run, seed, fold, folder, noted)

            def one(given: tuple = given, work: Path = work) -> None:
                leave()
                os.chdir(work)
                os.environ[settings.WORK] = str(work)
                run_fold(*given)

            if LINUX:
                peak = _forked(root, code, folder / f"result-{seed}.json", one)
                if peak is None:
                    return None
                peaks.append(peak)
            else:
                one()
                os.chdir(root)
            if kept is not None:
                kept.keep(folder, run["splits"], peaks[-1] if LINUX else 0)
            else:
                shutil.rmtree(work, ignore_errors=True)
            if run["shared"]:
                take_away(folder)
    return peaks


def _run(
    root: Path, run: dict[str, Any], code: Path, ask: Callable[[int], None], leave: Callable
) -> int:
    """Run the model and leave ``done.json`` or the reason why not; the exit status."""
    try:
        peaks = _run_all(root, run, code, ask, leave)
    except BaseException as error:
        _fail(root, code, error)
        return 1
    finally:
        if LINUX:
            _sweep()
    if peaks is None:
        return 1
    files.write_json(root / "done.json", {"peak_memory_bytes": max(peaks, default=None)})
    return 0


def _run_apart(root: Path, run: dict[str, Any], code: Path) -> int:
    """Run the model in a process that was forked before any label was read."""
    dealer = _Dealer(root, run)
    child = _fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _prctl(_PR_SET_CHILD_SUBREAPER, 1)
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            dealer.wait()
            status = _run(root, run, code, dealer.ask, dealer.leave)
        finally:
            with suppress(Exception):
                sys.stdout.flush()
            os._exit(status)
    dealer.deal()
    _, status = os.waitpid(child, 0)
    _sweep()
    return os.waitstatus_to_exitcode(status)


def main(root: Path) -> int:
    run = json.loads((root / "run.json").read_text(encoding="utf-8"))
    code = Path(run["code"])
    if LINUX:
        signal.signal(signal.SIGTERM, _leave)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != run["parent"]:
            return 1
        return _run_apart(root, run, code)
    # Without fork, model and labels of all folds share a process: nothing is kept from a model
    # that goes looking for them.
    samples = take_samples(root)

    def lay(fold: int) -> None:
        if samples:
            lay_out(samples[0], run, fold, root / run["folds"][fold])

    return _run(root, run, code, lay, lambda: None)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
