"""Runs a model on a benchmark and turns the outcome into a predictions file.

The parent prepares a run folder, starts the worker, keeps its time and memory within limits, and
collects what it predicted. Scoring is left to the same function that scores anybody's file.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from etchmark import environment, files
from etchmark.artefacts import store
from etchmark.catalog import ModelSource, pick_track, use_of
from etchmark.data.loading import Benchmark
from etchmark.errors import CannotRun, UnkeptWarning, UserError
from etchmark.evaluation import checkpoints, reference
from etchmark.evaluation.collect import RunFolder
from etchmark.evaluation.collect import one_line as one_line
from etchmark.evaluation.fold import SAMPLES
from etchmark.evaluation.layout import prepare
from etchmark.evaluation.options import Limits as Limits
from etchmark.evaluation.options import Options as Options
from etchmark.evaluation.process import end_marked, new_token
from etchmark.evaluation.watch import log_file, opened_log, unwinding, watch
from etchmark.specs import Cost, Curve
from etchmark.specs.results import Artefact
from etchmark.specs.task import Task

LEAST_ROOM_BYTES = 1 << 16


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
    artefact: Artefact | None = None
    """The fitted models, if they were kept."""
    training: Curve | None = None
    """How the error on validation samples fell, if the model tells."""


def resolve_track(source: ModelSource, benchmark: Benchmark, track: str | None) -> str:
    """The track a model runs on: as asked, else as the benchmark says, else the only one."""
    if track is None:
        use = use_of(benchmark.spec, source)
        if use is None and (boards := benchmark.catalog.boards_of(source)):
            raise UserError(
                f"{benchmark.spec.id} does not say on which track {source.name} runs (it runs on"
                f" {', '.join(boards)}); choose a --track: {', '.join(benchmark.spec.tracks)}"
            )
        track = use and use.track
    return pick_track(benchmark.spec, track)[0]


def run_model(
    source: ModelSource,
    benchmark: Benchmark,
    task: Task,
    out: Path,
    options: Options = Options(),
) -> Run:
    """Fit and predict in a process of its own; the predictions file is written to ``out``.

    Args:
        source: the model.
        benchmark: the data of the task's benchmark.
        task: what it reads, and how data are divided.
        out: predictions file to write (parquet).
        options: how.
    """
    if not source.code.is_file():
        raise UserError(f"{source.folder}: has no model.py; add one that defines build()")
    source = _with_weights(source, options.weights)
    # Labels are checked before a minute is spent on a run that could not be scored.
    benchmark.check_target()
    kept, log = None, None
    if options.resume:
        kept = checkpoints.folder_of(source, benchmark, task, options.device)
        log = log_file(source.name)
    with (
        unwinding(),
        nullcontext() if kept is None else checkpoints.claimed(kept),
        opened_log(log, f"{task.benchmark.key}, protocol {task.protocol}") as written,
        _run_folder() as root,
    ):
        folder = _laid_out(root, source, benchmark, task, kept, options)
        stopped, printed = watch(folder, options, written, features=source.takes_weights)
        failure = stopped or folder.failure()
        trace = folder.trace() if failure else ""
        if written is not None:
            with suppress(OSError):
                written.write(trace.encode("utf-8", "replace"))
        if failure and not stopped:
            _refuse_what_is_no_failure(folder, failure)
        if not failure:
            try:
                cost = folder.cost(benchmark.kind)
                folder.collect(benchmark, task, out)
                artefact = _keep(folder, source, benchmark, task) if options.keep else None
                return Run(
                    None,
                    out,
                    cost,
                    printed,
                    kept,
                    folder.made_with(),
                    artefact=artefact,
                    training=folder.training_curve(benchmark, task),
                )
            except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
                if isinstance(error, OSError) and error.errno in files.NO_ROOM:
                    raise
                # The model's process can write there, so nothing in it is taken for granted.
                failure = "the model's process left no readable result"
                if kept is not None:
                    shutil.rmtree(kept, ignore_errors=True)
        cost = Cost(hardware=environment.hardware(options.device))
        return Run(failure, None, cost, printed, kept, trace=trace)


def _with_weights(source: ModelSource, weights: Path | None) -> ModelSource:
    """The model with a file of weights that its caller names."""
    if weights is None:
        return source
    if not source.takes_weights:
        raise UserError(f"{source.name} reads no file of weights; drop --weights")
    if not weights.exists():
        raise UserError(f"{weights}: does not exist; name a .safetensors file with --weights")
    return replace(source, params={**source.params, "weights_file": str(weights.absolute())})


def _laid_out(
    root: Path,
    source: ModelSource,
    benchmark: Benchmark,
    task: Task,
    kept: Path | None,
    options: Options,
) -> RunFolder:
    """A run folder with the data and ``run.json``: all that the worker is told."""
    folds, order = prepare(root, benchmark, task, share=options.share, draw=options.draw)
    run: dict[str, Any] = {
        "code": str(source.code),
        "parent": os.getpid(),
        "token": new_token(),
        "shared": (root / SAMPLES).is_file(),
        "params": source.params,
        "seeds": list(range(options.seeds)),
        "device": options.device,
        "keep": options.keep,
        "reference": reference.ROUNDS if options.reference else 0,
        "resume": None if kept is None else str(kept),
        "inputs": task.inputs,
        "target": task.benchmark.target.model_dump(mode="json"),
        "classes": benchmark.kind.shares_of(task.benchmark.target),
        "shapes": {split: list(benchmark.prediction_shape(split)) for split in order},
        "folds": folds,
        "share": options.share,
        "draw": options.draw,
        "nested": options.nested,
        "splits": list(order),
        "rows": {split: sum(map(len, rows)) for split, rows in order.items()},
    }
    files.write_json(root / "run.json", run)
    return RunFolder(root, run, order)


def _keep(
    folder: RunFolder, source: ModelSource, benchmark: Benchmark, task: Task
) -> Artefact | None:
    """Keep the fitted models; warn if that cannot be done, since the scores stand all the same."""
    about = {
        "name": source.name,
        "benchmark": task.benchmark.key,
        "track": task.track,
        "protocol": task.protocol,
        "data": benchmark.config_folder(task.track)[1].fingerprint,
        "inputs": task.inputs,
        "params": source.params,
    }
    try:
        digest = store.keep(source.folder, folder.saved_models(), about)
        kept = [path for path in store.folder_of(digest).rglob("*") if path.is_file()]
        return Artefact(sha256=digest, bytes=sum(path.stat().st_size for path in kept))
    except (OSError, ValueError, KeyError, TypeError) as error:
        warnings.warn(
            f"{source.name} was scored, but not kept: {one_line(str(error))}",
            UnkeptWarning,
            stacklevel=3,
        )
        return None


def _refuse_what_is_no_failure(folder: RunFolder, failure: str) -> None:
    """Raise where a run ended for want of something that this machine lacks."""
    if folder.cannot_run():
        raise CannotRun(failure)
    if shutil.disk_usage(folder.root).free < LEAST_ROOM_BYTES:
        # A worker that could not even write why it ended.
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder.root.parent))


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
