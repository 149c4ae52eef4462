"""One row of a board: a baseline run on one protocol of a benchmark, on any machine.

What stands here runs here or on a worker of a cluster: arguments and results are plain values, and
nothing is stored. ``etchmark.submission.campaign`` decides what is run and keeps the results.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from etchmark import files
from etchmark._version import __version__
from etchmark.catalog import ModelSource, catalog
from etchmark.data.loading import load_benchmark
from etchmark.data.sources import SourcesUnavailable
from etchmark.errors import CannotRun, UserError
from etchmark.evaluation.options import Limits, Options
from etchmark.specs import BenchmarkSpec, ResultRecord
from etchmark.submission.running import evaluate_model
from etchmark.text import one_line


@dataclass(frozen=True)
class Row:
    """A model and a protocol to run."""

    benchmark: str
    model: str
    track: str
    protocol: str
    digest: str
    """``digest_of`` on the machine that plans the rows: a worker with other content refuses."""
    limits: Limits = field(default_factory=Limits)
    seeds: int = 1
    keep_models: bool = False
    """Whether the fitted models are kept in the hub folder of the machine that runs it."""
    curves: bool = True
    """Whether the curves that the model's card declares are measured, too."""
    with_predictions: bool = False
    """Whether to return the predictions file, which an export needs."""

    @property
    def label(self) -> str:
        return f"{self.model} {self.protocol}"


@dataclass(frozen=True)
class Finished:
    """The record of a run; the model may have failed."""

    record: ResultRecord
    samples: bytes | None
    predictions: bytes | None = None
    checkpoints: Path | None = None
    """Checkpoints of the run, to be removed once the record is kept."""


@dataclass(frozen=True)
class NotRun:
    """Why a row has no record; a value, since not every exception can be pickled."""

    reason: str
    lacking: bool = False
    """The machine lacks data, weights or a package: the model has not failed."""


def digest_of(spec: BenchmarkSpec, source: ModelSource) -> str:
    """Hash of everything a row depends on: engine, benchmark, and the files of the baseline."""
    digest = hashlib.sha256(f"{__version__}\n{spec.model_dump_json(by_alias=True)}".encode())
    for path in sorted(source.folder.rglob("*")):
        name = path.relative_to(source.folder)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
        if path.is_file() and not hidden:
            digest.update(f"\n{name.as_posix()} {files.sha256_of(path)}".encode())
    return digest.hexdigest()


def run_row(row: Row) -> Finished | NotRun:
    """Run a row on this machine, with the curves that the model's card declares."""

    def say(text: str) -> None:
        print(f"{row.label}: {one_line(text)}", flush=True)

    try:
        loaded = load_benchmark(row.benchmark)
        source = catalog().model(row.model)
        if digest_of(loaded.spec, source) != row.digest:
            raise UserError(
                f"the worker on {platform.node()} has another version of etchmark, of the benchmark"
                " or of the model; install the same release and content there, restart the workers"
                " and run again"
            )
        with files.temporary_folder() as folder:
            done = evaluate_model(
                loaded,
                source,
                folder,
                track=row.track,
                protocol=row.protocol,
                options=Options(
                    seeds=row.seeds, limits=row.limits, resume=True, keep=row.keep_models
                ),
                say=say if row.curves else None,
            )
            prepared = done.prepared
            keep = row.with_predictions and prepared.predictions
            predictions = prepared.predictions[0].read_bytes() if keep else None
            return Finished(prepared.record, prepared.samples, predictions, done.checkpoints)
    except (SourcesUnavailable, CannotRun) as error:
        return NotRun(str(error), lacking=True)
    except UserError as error:
        return NotRun(str(error))


def run_row_elsewhere(row: Row) -> Finished | NotRun:
    """The same on a worker, where no error may end the other rows."""
    try:
        result = run_row(row)
    except Exception as error:
        return NotRun(f"{type(error).__name__}: {error}")
    if isinstance(result, Finished):
        # Workers may have disks of their own, which only they can clean up.
        forget(result)
    return result


def forget(result: Finished) -> None:
    """Remove the checkpoints of a run whose record is kept."""
    if result.checkpoints is not None and result.record.outcome == "ok":
        shutil.rmtree(result.checkpoints, ignore_errors=True)
