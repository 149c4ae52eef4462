"""Work on one shard, in any process or on any machine an executor runs it on."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pyarrow as pa

from etchmark import files
from etchmark._version import __version__
from etchmark.catalog import Catalog
from etchmark.catalog import catalog as installed
from etchmark.data import packaging
from etchmark.data.labels import check_labels, read_labels
from etchmark.data.shards import BuildContext, Shard, code_key, load_builder
from etchmark.errors import UserError


@dataclass(frozen=True)
class ShardJob:
    """The labels or the rows of one shard, to be computed anywhere."""

    dataset: str
    shard: Shard
    config: str
    key: str
    """``code_key`` of the process that plans: a worker with other code refuses the job."""
    version: str
    offline: bool
    root: Path | None = None
    """Content of the dataset; the worker's own if None."""
    scratch: Path | None = None


@dataclass(frozen=True)
class TableJob(ShardJob):
    source: Path = Path()
    """File with the shard's labels."""
    target: Path = Path()
    """File to write."""


@dataclass(frozen=True)
class Failed:
    """Why a job has no result; a value, since not every exception can be pickled."""

    message: str
    mistake: bool
    """The caller can fix it: one line, no traceback."""
    trace: str = ""


def _prepare(job: ShardJob) -> tuple[ModuleType, BuildContext]:
    catalog = installed() if job.root is None else Catalog(job.root)
    folder = catalog.dataset_folder(job.dataset)
    spec = catalog.dataset(job.dataset)
    here = code_key(folder, spec.parameters)
    if (__version__, here) != (job.version, job.key):
        import platform

        raise UserError(
            f"the worker on {platform.node()} has etchmark {__version__} with code {here} of"
            f" {job.dataset}, but the build has {job.version} with code {job.key}; install the same"
            " release and content there, restart the workers and run again"
        )
    context = BuildContext(
        folder, job.config, spec.parameters, job.offline, progress=False, scratch=job.scratch
    )
    return load_builder(folder), context


def _failed(job: ShardJob, error: Exception) -> Failed:
    where = f"{job.dataset}:{job.config}, shard {job.shard.name}"
    text = str(error)
    mistake = isinstance(error, UserError | ValueError)
    if isinstance(error, OSError) and isinstance(job, TableJob):
        return Failed(f"{where}: {unwritable(error, job.target)}", mistake=True)
    if not mistake:
        text = f"{type(error).__name__}: {error}"
    return Failed(f"{where}: {text}", mistake, "".join(traceback.format_exception(error)))


def unwritable(error: OSError, path: Path) -> str:
    """Message for a file that cannot be written, most often because the disk is full."""
    reason = error.strerror or (str(error).splitlines() or ["unknown error"])[0]
    return (
        f"{path}: cannot be written ({reason}); make room or fix the folder and run again: what"
        " is finished is kept"
    )


def compute_labels(job: ShardJob) -> bytes | Failed:
    """The labels of a shard as an Arrow stream."""
    try:
        module, context = _prepare(job)
        table = module.labels(context, job.shard)
        check_labels(job.shard, table)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue().to_pybytes()
    except Exception as error:
        return _failed(job, error)


def write_table(job: TableJob) -> int | Failed:
    """Compute a shard's rows and write them; returns their number."""
    try:
        module, context = _prepare(job)
        table = module.table(context, job.shard, read_labels(job.source, job.shard))
        if not isinstance(table, pa.Table):
            raise UserError(f"table() returned a {type(table).__name__}; return a pyarrow Table")
        if table.num_rows != job.shard.rows:
            raise UserError(
                f"table() returned {table.num_rows} rows but {job.shard.rows} are planned; fix"
                " build.py"
            )
        with files.replacing(job.target) as temporary:
            packaging.write_table(table, temporary)
        return table.num_rows
    except Exception as error:
        return _failed(job, error)
