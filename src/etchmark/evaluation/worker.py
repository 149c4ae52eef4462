"""Runs one model in a process of its own: ``python -m etchmark.evaluation.worker RUN_FOLDER``.

The run folder holds ``run.json`` and, for each fold, ``train.arrow``, perhaps
``validation.arrow``, and ``inputs-<split>.arrow`` with nothing but ids and declared inputs.
One fold's training data are another fold's answers, so folds are laid out one at a time, each with
a fresh working directory (resumed: the one that this very fold left when it was interrupted), by a
process that the model's code never runs in. On Linux every fold runs in a fork of its own: what a
model remembers of one fold cannot reach the next, what it left running is ended with it, and peak
memory (of its largest process) is measured per fold. This keeps models from reading labels by
accident or by a look around; it is not a sandbox against a model that searches the machine.
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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from etchmark import files, settings
from etchmark.errors import UserError
from etchmark.evaluation import reference
from etchmark.evaluation.checkpoints import Checkpoint, usage_name
from etchmark.evaluation.fold import (
    check_saved,
    lay_out,
    load_build,
    lose,
    lost_file,
    run_fold,
    saved_folder,
    take_away,
    take_samples,
)
from etchmark.evaluation.process import END_SECONDS
from etchmark.targets import kind_named

if TYPE_CHECKING:
    import resource

FAILURE = "failure.json"
"""File with the reason why there is no result."""
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
    # What the caller can fix is not a fault of the model's, and nothing to record.
    cannot, reason = isinstance(error, UserError), ""
    if isinstance(error, OSError) and error.errno in files.NO_ROOM:
        cannot, reason = True, files.no_room(error, root)
    reason = reason or (str(error) if cannot else describe(error, code))
    failure = {"reason": reason, "cannot_run": cannot}
    (root / FAILURE).write_text(json.dumps(failure), encoding="utf-8")
    # Not printed: the model may have closed the streams, and whoever watches it gets one line.
    with suppress(Exception):
        lines = traceback.format_exception(error)
        (root / TRACE).write_text("".join(lines)[-MAX_TRACE:], "utf-8", "replace")


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


@dataclass(frozen=True)
class Usage:
    """What a process took, with all its descendants that were waited for.

    Attributes:
        cpu_seconds: of processor time, user and system.
        peak_bytes: of the largest of these processes.
    """

    cpu_seconds: float
    peak_bytes: int

    @classmethod
    def of(cls, usage: resource.struct_rusage) -> Usage:
        return cls(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _sweep() -> list[Usage]:
    """End what a fold left running; orphans come to this process, which adopts them.

    Returns what each of them took. What cannot be ended (a program of another user's rights) is
    left to whoever started the run.
    """
    deadline, ended = time.monotonic() + END_SECONDS, []
    while time.monotonic() < deadline:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid:
            ended.append(Usage.of(usage))
        else:
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    child.kill()
            time.sleep(0.005)
    return ended


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


class _Runner:
    """Runs a model for every seed and fold, in the process that no label is within reach of.

    Args:
        root: run folder.
        run: its ``run.json``.
        ask: lays out the data of the fold of that number.
        leave: called in the process of a fold, which is to ask for nothing.
    """

    def __init__(
        self,
        root: Path,
        run: dict[str, Any],
        ask: Callable[[int], None],
        leave: Callable[[], None],
    ) -> None:
        self.root, self.run, self.ask, self.leave = root, run, ask, leave
        self.code = Path(run["code"])

    def run_all(self) -> int:
        """Run the model and leave ``done.json`` or the reason why not; the exit status."""
        try:
            timed = [self._reference("before")]
            # Imported before any fold is forked, or the first one that needs it would pay for it.
            kind_named(self.run["target"]["kind"])
            build = load_build(self.code, keep=self.run["keep"])
            for seed in self.run["seeds"]:
                for fold in range(len(self.run["folds"])):
                    if not self._fold(build, seed, fold):
                        return 1
            timed.append(self._reference("after"))
        except BaseException as error:
            _fail(self.root, self.code, error)
            return 1
        finally:
            if LINUX:
                _sweep()
        known = [] if None in timed else timed
        done = {key: [part[key] for part in known if part] or None for key in reference.KEYS}
        files.write_json(self.root / "done.json", done)
        return 0

    def _reference(self, when: str) -> dict[str, float] | None:
        """What the reference workload took, in a process of its own; None if it is not timed."""
        rounds, path = self.run["reference"], self.root / f"reference-{when}.json"
        if not rounds:
            return None

        def work() -> None:
            files.write_json(path, reference.timed(rounds))

        # Threads that the libraries start would not outlive the forks that follow.
        if LINUX and self._forked(path, work) is None:
            (self.root / FAILURE).unlink()
            return None
        if not LINUX:
            work()
        return json.loads(path.read_text(encoding="utf-8"))

    def _fold(self, build: Callable[..., Any], seed: int, fold: int) -> bool:
        """Run one fold; false after a failure."""
        name = self.run["folds"][fold]
        folder, work, noted = self.root / name, self.root / "work", None
        saved = (saved_folder(seed), lost_file(seed)) if self.run["keep"] else ()
        checkpoint = None
        if self.run["resume"]:
            checkpoint = Checkpoint(Path(self.run["resume"]), name, seed)
            if checkpoint.restore(folder, saved):
                return True
            work, noted = checkpoint.work, checkpoint.seconds
        self.ask(fold)
        work.mkdir(exist_ok=True)

        def fit_and_predict() -> None:
            self._enter(work)
            run_fold(build, self.run, seed, fold, folder, noted)

        usage_file = folder / usage_name(seed)
        if LINUX:
            # A model that is saved is scored already: the process may end while it is saved.
            usage = self._forked(
                folder / f"result-{seed}.json", fit_and_predict, may_end=bool(saved)
            )
            if usage is None:
                return False
            left = {"left_cpu_seconds": usage.cpu_seconds, "left_peak_bytes": usage.peak_bytes}
            files.write_json(usage_file, left)
        else:
            fit_and_predict()
            os.chdir(self.root)
            files.write_json(usage_file, {})
        if saved:
            self._check(seed, folder, work)
        if checkpoint is not None:
            checkpoint.keep(folder, self.run["splits"], saved)
        else:
            shutil.rmtree(work, ignore_errors=True)
        if self.run["shared"]:
            take_away(folder)
        return True

    def _enter(self, work: Path) -> None:
        """In a fold's own process: cut it off and set its working directory."""
        self.leave()
        os.chdir(work)
        os.environ[settings.WORK] = str(work)

    def _check(self, seed: int, folder: Path, work: Path) -> None:
        """See in a fresh process that a saved model can be loaded; note why if it cannot."""

        def check() -> None:
            self._enter(work)
            check_saved(self.code, self.run, seed, folder)

        if not LINUX:
            check()
            os.chdir(self.root)
        elif self._forked(folder / f"checked-{seed}.json", check) is None:
            # The process was killed, so that it could not say so itself; the scores stand.
            failure = json.loads((self.root / FAILURE).read_text(encoding="utf-8"))
            (self.root / FAILURE).unlink()
            lose(folder, seed, f"load() failed: {failure['reason']}")

    def _forked(
        self, result: Path, work: Callable[[], None], *, may_end: bool = False
    ) -> Usage | None:
        """Run ``work`` in a fork; what the processes that it left running took, or None if it left
        no result.

        Args:
            result: the file that ``work`` writes.
            work: what is run.
            may_end: whether a result counts even if the process ended badly after writing it.
        """
        child = _fork()
        if child == 0:
            status = 1
            try:
                _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                work()
                status = 0
            except BaseException as error:
                _fail(self.root, self.code, error)
            finally:
                with suppress(Exception):
                    sys.stdout.flush()
                os._exit(status)
        _, status = os.waitpid(child, 0)
        orphans = _sweep()
        if result.is_file() and (status == 0 or may_end):
            (self.root / FAILURE).unlink(missing_ok=True)
            return Usage(
                sum(orphan.cpu_seconds for orphan in orphans),
                max((orphan.peak_bytes for orphan in orphans), default=0),
            )
        if not (self.root / FAILURE).is_file():
            ended = "exited without a result"
            if os.WIFSIGNALED(status):
                ended = f"was killed by signal {os.WTERMSIG(status)}"
            reason = f"the model's process {ended}"
            files.write_json(self.root / FAILURE, {"reason": reason})
        return None


def _run_apart(root: Path, run: dict[str, Any]) -> int:
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
            status = _Runner(root, run, dealer.ask, dealer.leave).run_all()
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
    if LINUX:
        signal.signal(signal.SIGTERM, _leave)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != run["parent"]:
            return 1
        return _run_apart(root, run)
    # Without fork, model and labels of all folds share a process: nothing is kept from a model
    # that goes looking for them.
    samples = take_samples(root)

    def lay(fold: int) -> None:
        if samples:
            lay_out(samples[0], run, fold, root / run["folds"][fold])

    return _Runner(root, run, lay, lambda: None).run_all()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
