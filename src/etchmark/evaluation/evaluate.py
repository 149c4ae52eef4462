"""Runs a model on a benchmark and turns the outcome into a predictions file.

The parent prepares a run folder, starts the worker, keeps its time and memory within limits, and
collects what it predicted. Scoring is left to the same function that scores anybody's file.
"""

from __future__ import annotations

import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark import environment, files, settings
from etchmark.catalog import ModelSource, pick_track
from etchmark.data.columns import features_of
from etchmark.data.loading import Benchmark
from etchmark.errors import UserError
from etchmark.evaluation.worker import FOLD, GROUP, SAMPLES, TARGET
from etchmark.scoring import predictions
from etchmark.specs import Cost

DEFAULT_TIME_LIMIT_S = 4 * 3600.0
LOG_TAIL_BYTES = 64 * 1024
MAX_REASON = 500
POLL_S = 0.05


@dataclass(frozen=True)
class Limits:
    """Wall seconds and resident bytes that a model's process tree may take."""

    seconds: float = DEFAULT_TIME_LIMIT_S
    memory_bytes: int | None = None
    """None: nine tenths of what is free at the start."""


@dataclass(frozen=True)
class Run:
    """Outcome of running a model: predictions in ``folder``, or the reason why there are none."""

    failure: str | None
    predictions: Path | None
    cost: Cost
    log: str


def check_inputs(source: ModelSource, benchmark: Benchmark, track: str | None) -> str:
    """The track a model runs on: as asked, else as its card says, else the only one."""
    if track is None:
        track = source.uses.get(benchmark.spec.id)
    return pick_track(benchmark.spec, track, f" (or name it in {source.name}'s card.yaml)")[0]


# --- the run folder ----------------------------------------------------------------------------


def _table(paths: Sequence[Path], names: dict[str, str]) -> pa.Table:
    """Columns of parquet files under new names, with their Hugging Face features."""
    schema = pq.read_schema(paths[0])
    features = features_of(schema)
    tables = [pq.read_table(path, columns=list(dict.fromkeys(names.values()))) for path in paths]
    whole = pa.concat_tables(tables)
    kept = {new: features[old] for new, old in names.items() if old in features}
    table = pa.table({new: whole.column(old) for new, old in names.items()})
    meta = {"huggingface": json.dumps({"info": {"features": kept}})}
    return table.replace_schema_metadata(meta)


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="lz4")


def prepare(
    root: Path, benchmark: Benchmark, track: str, protocol: str
) -> tuple[list[str], dict[str, Any]]:
    """Write what the worker may see.

    Returns:
        The names of the fold folders, and for each split the row order of its predictions:
        a list of index arrays, one per fold.
    """
    spec = benchmark.spec
    chosen = spec.protocols[protocol]
    inputs = {name: name for name in spec.tracks[track].inputs}
    labelled = {"id": "id", **inputs, TARGET: spec.target.column}
    if chosen.group_column:
        labelled[GROUP] = chosen.group_column
    if chosen.kind == "folds":
        paths = benchmark.files(chosen.split, track)
        folds = benchmark.truth(chosen.split, protocol, track).folds
        assert folds is not None  # noqa: S101 (the spec demands a fold column; for the type checker)
        known, number = np.unique(folds, return_inverse=True)
        # Divided by the worker, one fold at a time: what one fold trains on, another holds out.
        _write(_table(paths, labelled).append_column(FOLD, pa.array(number)), root / SAMPLES)
        names = [f"fold-{fold:03d}" for fold in known]
        return names, {chosen.split: [np.flatnonzero(folds == fold) for fold in known]}
    if chosen.train_split is None:
        raise UserError(f"{spec.id}: protocol {protocol} has no train_split; mend the benchmark")
    name = "holdout"
    _write(
        _table(benchmark.files(chosen.train_split, track), labelled), root / name / "train.parquet"
    )
    if chosen.validation_split:
        table = _table(benchmark.files(chosen.validation_split, track), labelled)
        _write(table, root / name / "validation.parquet")
    order: dict[str, Any] = {}
    for split in (chosen.split, *chosen.extra_splits):
        table = _table(benchmark.files(split, track), {"id": "id", **inputs})
        _write(table, root / name / f"inputs-{split}.parquet")
        order[split] = [np.arange(table.num_rows)]
    return [name], order


# --- the worker's process ----------------------------------------------------------------------


def _drain(stream: IO[bytes], tail: collections.deque[bytes]) -> None:
    """Keep only the end of what a model prints, however much it is."""
    size = 0
    while chunk := stream.read1(65536):  # type: ignore[attr-defined]
        tail.append(chunk)
        size += len(chunk)
        while size - len(tail[0]) > LOG_TAIL_BYTES:
            size -= len(tail.popleft())


def _memory(process: psutil.Process, *, shared_once: bool) -> int:
    """Bytes in memory of a process and all it started; forks share most of theirs."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += one.memory_full_info().pss if shared_once else one.memory_info().rss
    return total


def _exceeds(process: psutil.Process, limit: int) -> bool:
    # The quick sum counts shared pages for every process; only if it is too much, look closer.
    if _memory(process, shared_once=False) <= limit:
        return False
    return sys.platform != "linux" or _memory(process, shared_once=True) > limit


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the worker and all it started, also what left its process group."""
    if process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            worker = psutil.Process(process.pid)
            # Stopped, it starts no further fold, and on Linux it still adopts every orphan.
            worker.suspend()
            while alive := [child for child in worker.children(recursive=True) if _runs(child)]:
                for child in alive:
                    with suppress(psutil.NoSuchProcess):
                        child.kill()
                time.sleep(0.005)
        process.kill()
    if os.name == "posix":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _clean_environment() -> dict[str, str]:
    # A model is given its run folder, not the way to the labels.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ETCHMARK_") or name == "ETCHMARK_OFFLINE"
    }
    return {**kept, settings.IN_MODEL: "1", "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}


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
    root: Path, limits: Limits, results: Sequence[Path], progress: bool
) -> tuple[str | None, str]:
    """Run the worker to its end; the reason for which it was stopped (or None), and its log."""
    memory = limits.memory_bytes or int(0.9 * psutil.virtual_memory().available)
    process = subprocess.Popen(
        [sys.executable, "-m", "etchmark.evaluation.worker", str(root)],
        cwd=root,
        env=_clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=os.name == "posix",
    )
    tail: collections.deque[bytes] = collections.deque()
    assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
    reader = threading.Thread(target=_drain, args=(process.stdout, tail), daemon=True)
    reader.start()
    stopped: str | None = None
    started = time.monotonic()
    try:
        watched = psutil.Process(process.pid)
        with _bar(len(results), progress) as advance:
            while process.poll() is None:
                if time.monotonic() - started > limits.seconds:
                    stopped = f"ran out of time: more than {limits.seconds:g} s"
                elif _exceeds(watched, memory):
                    stopped = f"ran out of memory: more than {memory / 2**30:.1f} GiB"
                if stopped:
                    break
                advance(sum(path.is_file() for path in results))
                time.sleep(POLL_S)
    except psutil.NoSuchProcess:
        pass
    finally:
        # Also reached on Ctrl-C: no worker, and nothing it started, outlives its parent.
        _kill(process)
        process.wait()
    reader.join(timeout=5)
    return stopped, b"".join(tail).decode("utf-8", "replace")


@contextmanager
def _bar(steps: int, progress: bool) -> Iterator[Any]:
    if not progress:
        yield lambda done: None
        return
    from tqdm import tqdm

    with tqdm(total=steps, unit="fold", leave=False) as bar:

        def advance(done: int) -> None:
            bar.update(done - bar.n)

        yield advance


def run_model(
    source: ModelSource,
    benchmark: Benchmark,
    track: str,
    protocol: str,
    out: Path,
    *,
    seeds: int = 1,
    device: str = "auto",
    limits: Limits = Limits(),
    progress: bool = False,
) -> Run:
    """Fit and predict in a process of its own; the predictions file is written to ``out``.

    Args:
        source: the model.
        benchmark: what it runs on.
        track: the inputs it gets.
        protocol: how data are divided.
        out: predictions file to write (parquet).
        seeds: run with seeds 0 to ``seeds - 1``.
        device: ``cpu``, ``cuda`` or ``auto``.
        limits: time and memory.
        progress: show a bar over folds.
    """
    # Labels are checked before a minute is spent on a run that could not be scored.
    benchmark.check_target()
    if not source.code.is_file():
        raise UserError(f"{source.folder}: has no model.py; add one that defines build()")
    with _unwinding(), _run_folder() as root:
        folds, order = prepare(root, benchmark, track, protocol)
        run = {
            "code": str(source.code),
            "parent": os.getpid(),
            "shared": (root / SAMPLES).is_file(),
            "params": source.params,
            "seeds": list(range(seeds)),
            "device": device,
            "inputs": benchmark.spec.tracks[track].inputs,
            "shape": benchmark.spec.target.shape,
            "folds": folds,
            "splits": list(order),
        }
        files.write_json(root / "run.json", run)
        results = [root / fold / f"result-{seed}.json" for fold in folds for seed in range(seeds)]
        stopped, log = _watch(root, limits, results, progress)
        failure = stopped or _failure(root)
        if not failure:
            try:
                cost = _cost(root, run)
                _collect(root, run, order, benchmark, track, protocol, out)
                return Run(None, out, cost, log)
            except (OSError, EOFError, ValueError, KeyError, TypeError):
                # The model's process can write there, so nothing in it is taken for granted.
                failure = "the model's process left no readable result"
        return Run(failure, None, Cost(hardware=environment.hardware(device)), log)


@contextmanager
def _run_folder() -> Iterator[Path]:
    _remove_orphans()
    root = Path(tempfile.mkdtemp(prefix="etchmark-run-"))
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _remove_orphans() -> None:
    """Remove run folders whose process was killed before it could."""
    for folder in Path(tempfile.gettempdir()).glob("etchmark-run-*"):
        try:
            parent = int(json.loads((folder / "run.json").read_text(encoding="utf-8"))["parent"])
        except (OSError, ValueError, KeyError, TypeError):
            # Being made at this moment, or somebody else's.
            continue
        if not psutil.pid_exists(parent):
            shutil.rmtree(folder, ignore_errors=True)


def _failure(root: Path) -> str | None:
    if (root / "done.json").is_file():
        return None
    try:
        reason = json.loads((root / "failure.json").read_text(encoding="utf-8"))["reason"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "the model's process ended without a result"
    return one_line(str(reason)) or "the model's process gave no reason"


def one_line(text: str) -> str:
    """Text that can be stored and printed: one line, bounded, no control characters."""
    shown = " ".join(text.split())
    shown = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char)[0] == "C" else char
        for char in shown
    )
    return shown if len(shown) <= MAX_REASON else shown[: MAX_REASON - 1] + "…"


def _cost(root: Path, run: dict[str, Any]) -> Cost:
    results = [
        json.loads((root / fold / f"result-{seed}.json").read_text(encoding="utf-8"))
        for fold in run["folds"]
        for seed in run["seeds"]
    ]
    counts = [result["parameters"] for result in results]
    seeds = len(run["seeds"])
    done = json.loads((root / "done.json").read_text(encoding="utf-8"))
    return Cost(
        # Summed over folds; the mean over seeds.
        fit_seconds=sum(result["fit_seconds"] for result in results) / seeds,
        predict_seconds=sum(result["predict_seconds"] for result in results) / seeds,
        peak_memory_bytes=done["peak_memory_bytes"],
        parameters=None if None in counts else max(counts),
        hardware=environment.hardware(results[0]["device"]),
    )


def _collect(
    root: Path,
    run: dict[str, Any],
    order: dict[str, Any],
    benchmark: Benchmark,
    track: str,
    protocol: str,
    out: Path,
) -> None:
    ids, values, seeds = [], [], []
    for split, rows in order.items():
        names = benchmark.truth(split, protocol, track).ids
        for seed in run["seeds"]:
            parts = [
                np.load(root / fold / f"predictions-{split}-{seed}.npy", allow_pickle=False)
                for fold in run["folds"]
            ]
            whole = np.empty((len(names), *run["shape"]), dtype=np.result_type(*parts))
            for part, where in zip(parts, rows, strict=True):
                if part.shape != (len(where), *run["shape"]):
                    raise ValueError(f"predictions have shape {part.shape}")
                whole[where] = part
            ids.append(names)
            values.append(whole)
            seeds.append(np.full(len(names), seed))
    spec = benchmark.spec
    predictions.write(
        out,
        np.concatenate(ids),
        np.concatenate(values),
        seeds=np.concatenate(seeds) if len(run["seeds"]) > 1 else None,
        declared=predictions.Declared(spec.key, track, protocol),
    )
