"""Runs a model on a benchmark and turns the outcome into a predictions file.

The parent prepares a run folder, starts the worker, keeps its time and memory within limits, and
collects what it predicted. Scoring is left to the same function that scores anybody's file.
"""

from __future__ import annotations

import collections
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil

from etchmark import environment, files, predictions, settings
from etchmark.catalog import ModelSource, pick_track
from etchmark.data.loading import Benchmark
from etchmark.errors import CannotRun, UserError
from etchmark.evaluation import checkpoints
from etchmark.evaluation.layout import prepare
from etchmark.evaluation.process import Descendants, end_marked, environment_of, new_token
from etchmark.evaluation.worker import MAX_TRACE, SAMPLES, TRACE
from etchmark.specs import BenchmarkSpec, Cost
from etchmark.text import plain

DEFAULT_TIME_LIMIT_S = 4 * 3600.0
LOG_TAIL_BYTES = 64 * 1024
LAST_LINE_BYTES = 4096
LOG_FILE_BYTES = 64 << 20
MAX_REASON = 500
LEAST_ROOM_BYTES = 1 << 16
POLL_S = 0.05
LONGEST_WAIT_S = 2.0
WATCHING = 0.02
"""Share of a core that watching a model may take: its memory is a walk over all processes."""


@dataclass(frozen=True)
class Limits:
    """Wall seconds and resident bytes that a model's process tree may take."""

    seconds: float = DEFAULT_TIME_LIMIT_S
    memory_bytes: int | None = None
    """None: nine tenths of what is free at the start."""


@dataclass(frozen=True)
class Options:
    """How a model is run.

    Attributes:
        seeds: run with seeds 0 to ``seeds - 1``.
        device: ``cpu``, ``cuda`` or ``auto``.
        limits: time and memory.
        progress: show a bar over folds.
        resume: keep each fold's working directory and go on where an interrupted run stopped;
            also keep what the model prints in ``log_file`` of its name.
        weights: file that a model which takes one is given as ``weights_file``.
        share: of the training and validation samples.
        draw: which samples a share below 1 consists of.
        nested: where there are folds, each is predicted by a model that has seen neither it nor the
            fold before it, whose training data it is an inner fold of.
        echo: told every line that the model prints, when it does.
    """

    seeds: int = 1
    device: str = "auto"
    limits: Limits = Limits()
    progress: bool = False
    resume: bool = False
    weights: Path | None = None
    share: float = 1.0
    draw: int = 0
    nested: bool = False
    echo: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        if self.device not in {"cpu", "auto"} and not self.device.startswith("cuda"):
            raise UserError(f"unknown device {self.device!r}; known are: cpu, cuda, auto")


@dataclass(frozen=True)
class Run:
    """Outcome of running a model: predictions in ``folder``, or the reason why there are none."""

    failure: str | None
    predictions: Path | None
    cost: Cost
    log: str
    """The end of what the model printed."""
    checkpoints: Path | None = None
    """Where an interrupted run would go on; to be removed once its outcome is stored."""
    made_with: dict[str, str] = field(default_factory=dict)
    """What the model says it used, beside its code and the data."""
    trace: str = ""
    """The traceback of a failure."""


def check_inputs(source: ModelSource, benchmark: Benchmark, track: str | None) -> str:
    """The track a model runs on: as asked, else as its card says, else the only one."""
    if track is None:
        track = source.uses.get(benchmark.spec.id)
        if track is None and source.uses:
            raise UserError(
                f"{source.name} runs on {', '.join(source.uses)}, says its card; name a --track of"
                f" {benchmark.spec.id} to try it there ({', '.join(benchmark.spec.tracks)})"
            )
    return pick_track(benchmark.spec, track, f" (or name it in {source.name}'s card.yaml)")[0]


# --- the worker's process ----------------------------------------------------------------------


def log_file(name: str) -> Path:
    """Where what a model prints is kept, run after run: ``logs/<name>.log`` in the hub folder."""
    return settings.home() / "logs" / (re.sub(r"[^A-Za-z0-9._-]", "-", name)[:100] + ".log")


@contextmanager
def _log(path: Path | None, benchmark: str, protocol: str) -> Iterator[IO[bytes] | None]:
    if path is None:
        yield None
        return
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    handle = None
    # A hub folder that cannot be written, or a full disk, is no reason not to run a model.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        long = path.is_file() and path.stat().st_size > LOG_FILE_BYTES
        handle = path.open("wb" if long else "ab", buffering=0)
        handle.write(f"== {benchmark}, protocol {protocol}, {started}\n".encode())
    try:
        yield handle
    finally:
        if handle is not None:
            handle.close()


class _Lines:
    """Tells of lines in a stream of bytes; of one that is drawn over, of its last state."""

    def __init__(self, echo: Callable[[str], None] | None) -> None:
        self._echo = echo
        self._pending = b""

    def add(self, chunk: bytes) -> None:
        if self._echo is None:
            return
        *whole, rest = (self._pending + chunk).split(b"\n")
        self._pending = rest[-LAST_LINE_BYTES:]
        for line in whole:
            self._tell(line)

    def close(self) -> None:
        if self._pending:
            self._tell(self._pending)

    def _tell(self, line: bytes) -> None:
        shown = line[-LAST_LINE_BYTES:].rstrip(b"\r").rpartition(b"\r")[2]
        try:
            if self._echo is not None:
                self._echo(shown.decode("utf-8", "replace"))
        except (OSError, ValueError):
            # Whoever was told has left; the model goes on.
            self._echo = None


def _drain(
    stream: IO[bytes],
    tail: collections.deque[bytes],
    log: IO[bytes] | None,
    echo: Callable[[str], None] | None,
) -> None:
    """Keep only the end of what a model prints, however much it is."""
    size = logged = 0
    lines = _Lines(echo)
    while chunk := stream.read1(65536):  # type: ignore[attr-defined]
        lines.add(chunk)
        if log is not None and logged < LOG_FILE_BYTES:
            logged += len(chunk)
            # Also closed by now, or the disk is full: the model goes on.
            with suppress(OSError, ValueError):
                log.write(chunk)
        tail.append(chunk)
        size += len(chunk)
        while size - len(tail[0]) > LOG_TAIL_BYTES:
            size -= len(tail.popleft())
    lines.close()


def _memory(processes: Sequence[psutil.Process], *, shared_once: bool) -> int:
    """Bytes in memory of some processes; forks share most of theirs."""
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if shared_once:
                total += process.memory_full_info().pss
            else:
                total += process.memory_info().rss
    return total


def _exceeds(processes: Sequence[psutil.Process], limit: int) -> bool:
    # The quick sum counts shared pages for every process; only if it is too much, look closer.
    if _memory(processes, shared_once=False) <= limit:
        return False
    return sys.platform != "linux" or _memory(processes, shared_once=True) > limit


@contextmanager
def _unwinding() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end this process as Ctrl-C does: tidied up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    untouched = [one for one in numbers if signal.getsignal(one) == signal.SIG_DFL]
    try:
        for one in untouched:
            signal.signal(one, leave)
        yield
    finally:
        for one in untouched:
            signal.signal(one, signal.SIG_DFL)


def _watch(
    root: Path,
    options: Options,
    results: Sequence[Path],
    log: IO[bytes] | None,
    *,
    features: bool,
    token: str,
) -> tuple[str | None, str]:
    """Run the worker to its end; the reason for which it was stopped (or None), and its log."""
    limits = options.limits
    memory = limits.memory_bytes or int(0.9 * psutil.virtual_memory().available)
    process = subprocess.Popen(
        [sys.executable, "-m", "etchmark.evaluation.worker", str(root)],
        cwd=root,
        env=environment_of(token, features=features),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=os.name == "posix",
    )
    descendants = Descendants(process, token)
    tail: collections.deque[bytes] = collections.deque()
    assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
    reader = threading.Thread(
        target=_drain, args=(process.stdout, tail, log, options.echo), daemon=True
    )
    reader.start()
    stopped: str | None = None
    started = time.monotonic()
    try:
        with _bar(len(results), options.progress, tail) as advance:
            while process.poll() is None:
                begun = time.monotonic()
                if begun - started > limits.seconds:
                    stopped = f"ran out of time: more than {limits.seconds:g} s"
                elif _exceeds(descendants.look(), memory):
                    stopped = f"ran out of memory: more than {memory / 2**30:.1f} GiB"
                if stopped:
                    break
                advance(sum(path.is_file() for path in results))
                with suppress(subprocess.TimeoutExpired):
                    spent = time.monotonic() - begun
                    process.wait(min(max(POLL_S, spent / WATCHING), LONGEST_WAIT_S))
    except psutil.NoSuchProcess:
        pass
    finally:
        # Also reached on Ctrl-C: no worker, and nothing it started, outlives its parent.
        left = descendants.end()
        process.wait()
        if left:
            warnings.warn(
                f"processes that the model started could not be ended: {', '.join(left)}; end them"
                " yourself",
                stacklevel=2,
            )
    reader.join(timeout=5)
    return stopped, b"".join(tail).decode("utf-8", "replace")


@contextmanager
def _bar(steps: int, progress: bool, tail: collections.deque[bytes]) -> Iterator[Any]:
    """Finished folds, and what the model printed last: a fold may take an hour."""
    if not progress:
        yield lambda done: None
        return
    from tqdm import tqdm

    form = "{n_fmt}/{total_fmt} folds [{elapsed}]{postfix}"
    # A terminal that says it has no columns would be shown nothing.
    width = shutil.get_terminal_size().columns
    with tqdm(total=steps, leave=False, ncols=width, bar_format=form) as bar:

        def advance(done: int) -> None:
            bar.set_postfix_str(_last_line(tail), refresh=False)
            bar.n = done
            # Drawn a few times in a second at most.
            bar.update(0)

        yield advance


def _last_line(tail: collections.deque[bytes]) -> str:
    """What was printed last, harmless to a terminal; of lines drawn over, the last one."""
    # Another thread appends to it meanwhile; a line is never longer than what is left of it.
    text = b"".join(list(tail)[-2:])[-LAST_LINE_BYTES:].decode("utf-8", "replace")
    lines = [line for line in map(one_line, re.split(r"[\r\n]", text)) if line]
    return lines[-1] if lines else ""


def run_model(
    source: ModelSource,
    benchmark: Benchmark,
    track: str,
    protocol: str,
    out: Path,
    options: Options = Options(),
) -> Run:
    """Fit and predict in a process of its own; the predictions file is written to ``out``.

    Args:
        source: the model.
        benchmark: what it runs on.
        track: the inputs it gets.
        protocol: how data are divided.
        out: predictions file to write (parquet).
        options: how.
    """
    # Labels are checked before a minute is spent on a run that could not be scored.
    benchmark.check_target()
    if not source.code.is_file():
        raise UserError(f"{source.folder}: has no model.py; add one that defines build()")
    if options.weights is not None:
        if not source.takes_weights:
            raise UserError(f"{source.name} reads no file of weights; drop --weights")
        given = {"weights_file": str(options.weights.absolute())}
        source = replace(source, params={**source.params, **given})
    kept = None
    if options.resume:
        kept = checkpoints.folder_of(source, benchmark, track, protocol, options.device)
    with (
        _unwinding(),
        nullcontext() if kept is None else checkpoints.claimed(kept),
        _log(
            log_file(source.name) if options.resume else None, benchmark.spec.key, protocol
        ) as written,
        _run_folder() as root,
    ):
        folds, order = prepare(
            root, benchmark, track, protocol, share=options.share, draw=options.draw
        )
        run = {
            "code": str(source.code),
            "parent": os.getpid(),
            "token": new_token(),
            "shared": (root / SAMPLES).is_file(),
            "params": source.params,
            "seeds": list(range(options.seeds)),
            "device": options.device,
            "resume": None if kept is None else str(kept),
            "inputs": benchmark.spec.tracks[track].inputs,
            "shapes": {split: list(benchmark.prediction_shape(split)) for split in order},
            "folds": folds,
            "share": options.share,
            "draw": options.draw,
            "nested": options.nested,
            "splits": list(order),
            "rows": {split: sum(map(len, rows)) for split, rows in order.items()},
        }
        files.write_json(root / "run.json", run)
        results = [root / fold / f"result-{seed}.json" for fold in folds for seed in run["seeds"]]
        stopped, log = _watch(
            root, options, results, written, features=source.takes_weights, token=run["token"]
        )
        failure = stopped or _failure(root)
        trace = _trace(root) if failure else ""
        if written is not None:
            with suppress(OSError):
                written.write(trace.encode("utf-8", "replace"))
        if failure and not stopped and _cannot_run(root):
            raise CannotRun(failure)
        if failure and not stopped and shutil.disk_usage(root).free < LEAST_ROOM_BYTES:
            # A worker that could not even write why it ended.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root.parent))
        if not failure:
            try:
                cost = _cost(root, run, benchmark.spec)
                _collect(root, run, order, benchmark, track, protocol, out)
                return Run(None, out, cost, log, kept, _made_with(root, run))
            except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
                if isinstance(error, OSError) and error.errno in files.NO_ROOM:
                    raise
                # The model's process can write there, so nothing in it is taken for granted.
                failure = "the model's process left no readable result"
                if kept is not None:
                    shutil.rmtree(kept, ignore_errors=True)
        cost = Cost(hardware=environment.hardware(options.device))
        return Run(failure, None, cost, log, kept, trace=trace)


@contextmanager
def _run_folder() -> Iterator[Path]:
    with files.temporary_folder("etchmark-run-") as root:
        with suppress(OSError):
            _remove_orphans(root.parent)
        yield root


def _remove_orphans(temporary: Path) -> None:
    """Remove run folders whose process was killed before it could."""
    for folder in temporary.glob("etchmark-run-*"):
        try:
            run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            parent, token = int(run["parent"]), run.get("token")
        except (OSError, ValueError, KeyError, TypeError):
            # Being made at this moment, or somebody else's.
            continue
        if not psutil.pid_exists(parent):
            if isinstance(token, str) and token:
                end_marked(token)
            shutil.rmtree(folder, ignore_errors=True)


def _failure(root: Path) -> str | None:
    if (root / "done.json").is_file():
        return None
    try:
        reason = json.loads((root / "failure.json").read_text(encoding="utf-8"))["reason"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "the model's process ended without a result"
    return one_line(str(reason)) or "the model's process gave no reason"


def _trace(root: Path) -> str:
    try:
        with (root / TRACE).open(encoding="utf-8", errors="replace") as handle:
            return handle.read(MAX_TRACE)
    except OSError:
        return ""


def _cannot_run(root: Path) -> bool:
    """Whether the model said that this machine lacks something."""
    try:
        failure = json.loads((root / "failure.json").read_text(encoding="utf-8"))
        return failure.get("cannot_run") is True
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def one_line(text: str) -> str:
    """Text that can be stored and printed: one line, bounded, no control characters."""
    shown = plain(" ".join(text.split()))
    return shown if len(shown) <= MAX_REASON else shown[: MAX_REASON - 1] + "…"


def _cost(root: Path, run: dict[str, Any], spec: BenchmarkSpec) -> Cost:
    results = [
        json.loads((root / fold / f"result-{seed}.json").read_text(encoding="utf-8"))
        for fold in run["folds"]
        for seed in run["seeds"]
    ]
    counts = [result["parameters"] for result in results]
    seeds = len(run["seeds"])
    done = json.loads((root / "done.json").read_text(encoding="utf-8"))
    predict_seconds = sum(result["predict_seconds"] for result in results) / seeds
    made = sum(
        run["rows"][split] * (run["shapes"][split][0] if spec.frames else 1)
        for split in run["splits"]
    )
    return Cost(
        # Summed over folds; the mean over seeds.
        fit_seconds=sum(result["fit_seconds"] for result in results) / seeds,
        predict_seconds=predict_seconds,
        seconds_each=predict_seconds / made,
        flops=results[0]["flops"],
        peak_memory_bytes=done["peak_memory_bytes"],
        parameters=None if None in counts else max(counts),
        # All folds have the same images, so those of one are all.
        feature_seconds=results[0]["feature_seconds"],
        hardware=environment.hardware(results[0]["device"]),
    )


def _made_with(root: Path, run: dict[str, Any]) -> dict[str, str]:
    path = root / run["folds"][0] / f"result-{run['seeds'][0]}.json"
    found = json.loads(path.read_text(encoding="utf-8"))["made_with"]
    return {one_line(name)[:40]: one_line(value) for name, value in list(found.items())[:20]}


def _collect(
    root: Path,
    run: dict[str, Any],
    order: dict[str, Any],
    benchmark: Benchmark,
    track: str,
    protocol: str,
    out: Path,
) -> None:
    parts = _parts(root, run, order, benchmark, track, protocol)
    spec = benchmark.spec
    declared = predictions.Declared(spec.key, track, protocol)
    if spec.frames is not None:
        predictions.write_parts(out, parts, declared=declared)
        return
    ids, values, seeds = (list(one) for one in zip(*parts, strict=True))
    predictions.write(
        out,
        np.concatenate(ids),
        np.concatenate(values),
        seeds=np.concatenate(seeds) if len(run["seeds"]) > 1 else None,
        declared=declared,
    )


def _parts(
    root: Path,
    run: dict[str, Any],
    order: dict[str, Any],
    benchmark: Benchmark,
    track: str,
    protocol: str,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Ids, predictions and seeds, one split and seed at a time."""
    for split, rows in order.items():
        names = benchmark.truth(split, protocol, track).ids
        shape = tuple(run["shapes"][split])
        for seed in run["seeds"]:
            parts = [
                np.load(root / fold / f"predictions-{split}-{seed}.npy", allow_pickle=False)
                for fold in run["folds"]
            ]
            whole = np.empty((len(names), *shape), dtype=np.result_type(*parts))
            for part, where in zip(parts, rows, strict=True):
                if part.shape != (len(where), *shape):
                    raise ValueError(f"predictions have shape {part.shape}")
                whole[where] = part
            yield names, whole, np.full(len(names), seed)
