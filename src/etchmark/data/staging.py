"""Builds a config shard by shard, so that it can be killed at any moment and goes on afterwards.

First the labels of every shard, then its rows. Labels are taken, in this order, from

* ``datasets/<name>/labels/<config>/<shard>.parquet``: frozen, part of the release;
* ``work/<name>/<config>/<key>/labels/<shard>.parquet`` of the hub folder: finished by an earlier
  build with the same code (``shards.code_key``);
* the executor; they are stored the moment they are finished.

Rows are written as the final files into a staging folder beside the build, which takes the place
of an older build once it is whole.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from etchmark import __version__, files, settings
from etchmark.catalog import Catalog, content_root
from etchmark.data import packaging, shards
from etchmark.data.executors import Dask, Executor
from etchmark.data.shards import BuildContext, Failed, Shard, TableTask, Task
from etchmark.errors import UserError
from etchmark.specs import DataFile, DatasetSpec, Manifest, Record

T = TypeVar("T", bound=Task)
R = TypeVar("R")
LONG_S = 10.0
"""Seconds of work left from which it is said how long it takes, where no bar is shown."""
_DONE = ".done"
_COMPLETE = "complete"


@dataclass(frozen=True)
class LabelCounts:
    """Where the label shards of a config came from."""

    frozen: int
    earlier: int
    computed: int

    def describe(self) -> str:
        total = self.frozen + self.earlier + self.computed
        return (
            f"{total} label shards: {self.frozen} of the frozen release, {self.earlier} of earlier"
            f" work, {self.computed} computed"
        )


class _Done(Record):
    """Beside a staged file: what it was made from, and what it must be."""

    stamp: str
    file: DataFile


@dataclass(frozen=True)
class Plan:
    """All there is to know before the first shard."""

    catalog: Catalog
    spec: DatasetSpec
    context: BuildContext
    module: ModuleType
    shards: list[Shard]
    key: str
    installed: bool
    """Workers find the dataset in their own content."""

    @property
    def name(self) -> str:
        return f"{self.spec.name}:{self.context.config}"

    @property
    def frozen(self) -> Path:
        return self.context.folder / "labels" / self.context.config

    @property
    def work(self) -> Path:
        return settings.home() / "work" / self.spec.name / self.context.config

    @property
    def scratch(self) -> Path:
        return self.work / self.key / "scratch"

    def _asked(self, shard: Shard) -> dict[str, Any]:
        return {
            "dataset": self.spec.name,
            "shard": shard,
            "config": self.context.config,
            "key": self.key,
            "version": __version__,
            "offline": self.context.offline,
            "root": None if self.installed else self.catalog.root,
            "scratch": self.scratch,
        }

    def task(self, shard: Shard) -> Task:
        return Task(**self._asked(shard))

    def table_task(self, shard: Shard, source: Path, target: Path) -> TableTask:
        return TableTask(**self._asked(shard), source=source, target=target)


def plan(catalog: Catalog, spec: DatasetSpec, module: ModuleType, context: BuildContext) -> Plan:
    """What is to be built; UserError where it is not what the dataset declares."""
    found = shards.plan_of(module, context)
    packaging.check_declared(
        spec,
        context.config,
        {shard.split for shard in found},
        sum(shard.rows for shard in found),
    )
    key = shards.code_key(context.folder, spec.parameters)
    installed = False
    with suppress(UserError):
        installed = catalog.root == content_root()
    return Plan(catalog, spec, context, module, found, key, installed)


@contextmanager
def alone(plan: Plan, *, wait: bool) -> Iterator[None]:
    """No other build of this config in this hub folder meanwhile; a killed one frees the lock."""
    from filelock import FileLock, Timeout

    try:
        plan.work.mkdir(parents=True, exist_ok=True)
        lock = FileLock(plan.work / ".lock")
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise UserError(
            f"{plan.name}: another build of it is running ({plan.work} is locked); wait for it"
        ) from None
    except OSError as error:
        raise UserError(f"{shards.unwritable(error, plan.work)}; or set ETCHMARK_HOME") from None
    try:
        yield
    finally:
        lock.release()


def _sweep(folder: Path) -> None:
    # Temporary files of processes that were killed.
    import psutil

    for path in folder.glob(".*.tmp"):
        found = re.search(r"\.(\d+)-[0-9a-f]{8}\.tmp$", path.name)
        if found and (int(found[1]) == os.getpid() or not psutil.pid_exists(int(found[1]))):
            with suppress(OSError):
                path.unlink()


def is_silent(progress: bool | None) -> bool:
    """Whether progress is neither refused nor shown as a bar, since the output is no terminal."""
    return progress is None and not sys.stderr.isatty()


def describe_seconds(seconds: float) -> str:
    """A duration in words, such as ``40 s`` or ``6 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class _Estimate:
    """Says once, from the first shards, how long the rest will take."""

    def __init__(self, name: str, title: str, executor: Executor, tasks: Sequence[Task]) -> None:
        self._name, self._title = name, title
        self._rows = sum(task.shard.rows for task in tasks)
        cluster = max(len(tasks) // 10, 1) if isinstance(executor, Dask) else 1
        self._parallel: int = getattr(executor, "workers", cluster)
        self._shards = self._done = self._timed = 0
        self._started = time.monotonic()

    def count(self, shard: Shard) -> None:
        self._shards += 1
        self._done += shard.rows
        if self._parallel > 1 and self._shards == 1:
            self._started = time.monotonic()  # processes take their time to start
            return
        self._timed += shard.rows
        # After a round of all that run side by side.
        if self._shards != (1 if self._parallel == 1 else self._parallel + 1):
            return
        seconds = time.monotonic() - self._started
        left = seconds * (self._rows - self._done) / self._timed
        if left >= LONG_S:
            print(
                f"{self._name}: {self._title} of {self._timed:,} samples took"
                f" {describe_seconds(seconds)}, so the remaining {self._rows - self._done:,} take"
                f" about {describe_seconds(left)}",
                file=sys.stderr,
                flush=True,
            )


def _results(
    executor: Executor,
    work: Callable[[T], R | Failed],
    tasks: Sequence[T],
    plan: Plan,
    title: str,
    done: Sequence[Shard],
) -> Generator[tuple[T, R], None, None]:
    """What the executor makes of the tasks, with a bar that counts rows; raises what failed.

    Where the output is no terminal there is no bar, but one line from the first shards if the rest
    takes long.
    """
    from tqdm import tqdm

    before = sum(shard.rows for shard in done)
    total = before + sum(task.shard.rows for task in tasks)
    progress = plan.context.progress
    hidden = None if progress is None else not progress
    estimate = _Estimate(plan.name, title, executor, tasks) if is_silent(progress) else None
    with (
        tqdm(total=total, initial=before, unit="row", desc=title, disable=hidden) as bar,
        closing(executor.run(work, tasks)) as results,
    ):
        for task, result in results:
            if estimate is not None:
                estimate.count(task.shard)
            if isinstance(result, Failed):
                if result.mistake:
                    raise UserError(result.message)
                error = RuntimeError(result.message)
                error.add_note(result.trace)
                raise error
            yield task, result
            bar.update(task.shard.rows)


# --- labels ------------------------------------------------------------------------------------


def work_folder(plan: Plan, *, recompute: bool) -> Path:
    return plan.work / (f"{plan.key}-recompute" if recompute else plan.key) / "labels"


def start_recompute(plan: Plan, *, keep: bool) -> None:
    """Forget the labels of a finished ``--recompute``, so that another one computes anew.

    One that was interrupted goes on; so does a finished one that is to be frozen (``keep``).
    """
    folder = work_folder(plan, recompute=True)
    if not keep and (folder / _COMPLETE).exists():
        shutil.rmtree(folder)


def _earlier(path: Path, shard: Shard) -> bool:
    """Whether earlier work left the whole labels of just this shard; what is not is removed."""
    if not path.is_file():
        return False
    with suppress(UserError):
        if shards.is_planned(shards.read_labels(path, shard), shard):
            return True
    path.unlink()
    return False


def _check_columns(plan: Plan, stored: dict[str, frozenset[str]]) -> None:
    """Frozen shards of a config all have the same columns."""
    if not stored:
        return
    usual, _ = Counter(stored.values()).most_common(1)[0]
    for name, columns in stored.items():
        if columns != usual:
            which = ", ".join(sorted(columns ^ usual)[:5])
            path = plan.frozen / f"{name}.parquet"
            raise UserError(
                f"{path}: has not the columns of the other shards ({which}); restore it"
            )


def gather_labels(
    plan: Plan, executor: Executor, *, recompute: bool = False, into_content: bool = False
) -> tuple[dict[str, Path], LabelCounts]:
    """Labels of every shard, computed where there are none.

    Args:
        plan: what is built.
        executor: what computes.
        recompute: take no frozen labels.
        into_content: store each shard with the release, not in the hub folder.

    Returns:
        The file of each shard, by its name, and where they came from.
    """
    work = work_folder(plan, recompute=recompute)
    folder = plan.frozen if into_content else work
    paths: dict[str, Path] = {}
    frozen: list[Shard] = []
    earlier: list[Shard] = []
    todo: list[Shard] = []
    stored: dict[str, frozenset[str]] = {}
    try:
        _check_folder(folder)
        for shard in plan.shards:
            file = f"{shard.name}.parquet"
            if not recompute and (plan.frozen / file).exists():
                stored[shard.name] = shards.read_released(plan.frozen / file, shard)
                paths[shard.name] = plan.frozen / file
                frozen.append(shard)
            elif _earlier(work / file, shard):
                paths[shard.name] = folder / file
                earlier.append(shard)
                if into_content:
                    _copy(work / file, folder / file)
            else:
                todo.append(shard)
    except OSError as error:
        raise UserError(shards.unwritable(error, folder)) from None
    _check_columns(plan, stored)
    tasks = [plan.task(shard) for shard in todo]
    here = [*frozen, *earlier]
    results = _results(executor, shards.compute_labels, tasks, plan, "labels", here)
    with closing(results):
        for task, content in results:
            path = folder / f"{task.shard.name}.parquet"
            table = pa.ipc.open_stream(content).read_all()
            try:
                shards.write_labels(path, task.shard, plan.key, table)
            except OSError as error:
                raise UserError(shards.unwritable(error, path)) from None
            paths[task.shard.name] = path
    return paths, LabelCounts(len(frozen), len(earlier), len(todo))


def _check_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    with files.replacing(folder / ".writable") as probe:
        probe.touch()
    (folder / ".writable").unlink()


def _copy(source: Path, target: Path) -> None:
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def freeze_labels(plan: Plan, paths: dict[str, Path]) -> None:
    """Copy labels into the dataset's content folder: part of the release from now on."""
    for name, path in paths.items():
        target = plan.frozen / f"{name}.parquet"
        if path != target:
            try:
                _copy(path, target)
            except OSError as error:
                raise UserError(shards.unwritable(error, target)) from None


# --- rows --------------------------------------------------------------------------------------


def _file_names(found: Sequence[Shard]) -> dict[str, str]:
    """The file of each shard below the build, numbered per split in the order of the plan."""
    totals: dict[str, int] = {}
    places: dict[str, tuple[str, int]] = {}
    for shard in found:
        places[shard.name] = (shard.split, totals.get(shard.split, 0))
        totals[shard.split] = totals.get(shard.split, 0) + 1
    return {
        name: packaging.file_name(split, index, totals[split])
        for name, (split, index) in places.items()
    }


def _staged(folder: Path, name: str, stamp: str) -> DataFile | None:
    """The staged file ``name`` if it is whole and was made from what ``stamp`` identifies."""
    try:
        done = _Done.model_validate_json(_sidecar(folder, name).read_bytes())
    except (OSError, ValidationError):
        return None
    path = folder / name
    whole = (
        (done.stamp, done.file.path) == (stamp, name)
        and path.is_file()
        and path.stat().st_size == done.file.bytes
        and files.sha256_of(path) == done.file.sha256
    )
    return done.file if whole else None


def _sidecar(folder: Path, name: str) -> Path:
    return folder / _DONE / f"{Path(name).name}.json"


def _staging(plan: Plan, target: Path) -> Path:
    # Of this config alone: two that are built into one folder must not share files.
    return target.with_name(f".{target.name}.{plan.context.config}.staging")


def write_rows(plan: Plan, labels: dict[str, Path], target: Path, executor: Executor) -> Manifest:
    """Make every shard's rows from its labels and put the config at ``target``."""
    staged = _staging(plan, target)
    names = _file_names(plan.shards)
    try:
        written = _write_rows(plan, labels, staged, names, executor)
        config = plan.context.config
        packaging.check_files(staged, plan.spec, config, written)
        manifest = packaging.complete(staged, plan.spec, config, written, "torch")
        shutil.rmtree(staged / _DONE)
        packaging.swap(staged, target)
        return manifest
    except OSError as error:
        raise UserError(shards.unwritable(error, target)) from None


def _write_rows(
    plan: Plan, labels: dict[str, Path], staged: Path, names: dict[str, str], executor: Executor
) -> list[DataFile]:
    (staged / "data").mkdir(parents=True, exist_ok=True)
    for path in (staged / "data").iterdir():
        if f"data/{path.name}" not in names.values():
            path.unlink()
    stamps: dict[str, str] = {}
    found: dict[str, DataFile] = {}
    tasks: list[TableTask] = []
    for shard in plan.shards:
        source = labels[shard.name]
        stamps[shard.name] = f"{plan.key} {shard.digest} {files.sha256_of(source)}"
        file = _staged(staged, names[shard.name], stamps[shard.name])
        if file is not None:
            found[shard.name] = file
            continue
        tasks.append(plan.table_task(shard, source, staged / names[shard.name]))
    here = [shard for shard in plan.shards if shard.name in found]
    results = _results(executor, shards.write_table, tasks, plan, "rows", here)
    with closing(results):
        for task, rows in results:
            name = task.shard.name
            file = packaging.describe(staged, names[name], task.shard.split, rows)
            done = _Done(stamp=stamps[name], file=file)
            files.write_json(_sidecar(staged, file.path), done.model_dump(mode="json"))
            found[name] = file
    return [found[shard.name] for shard in plan.shards]


def build(
    plan: Plan,
    target: Path,
    label_executor: Executor,
    row_executor: Executor,
    *,
    recompute: bool,
    freezing: bool,
) -> tuple[Manifest, LabelCounts]:
    """Labels, then rows; ``target`` is replaced once everything is whole.

    Args:
        plan: what is built.
        target: the config's folder.
        label_executor: what computes labels.
        row_executor: what makes rows, on this machine.
        recompute: simulate the frozen labels anew.
        freezing: make the labels part of the release.
    """
    if recompute:
        start_recompute(plan, keep=freezing)
        shutil.rmtree(plan.scratch, ignore_errors=True)
    labels, counts = gather_labels(plan, label_executor, recompute=recompute)
    manifest = write_rows(plan, labels, target, row_executor)
    shutil.rmtree(plan.scratch, ignore_errors=True)
    if freezing:
        freeze_labels(plan, labels)
    if recompute:
        (work_folder(plan, recompute=True) / _COMPLETE).touch()
    return manifest, counts


def build_split(
    plan: Plan,
    split: str,
    target: Path,
    part: Path,
    label_executor: Executor,
    row_executor: Executor,
) -> tuple[list[DataFile], LabelCounts]:
    """Labels and rows of one split, as files of their own; a later build takes them over.

    Args:
        plan: of the whole config.
        split: the split that is made.
        target: the config's folder, which stays as it is.
        part: folder that receives the split's files, named as in the whole config.
        label_executor: what computes labels.
        row_executor: what makes rows, on this machine.
    """
    wanted = replace(plan, shards=[shard for shard in plan.shards if shard.split == split])
    labels, counts = gather_labels(wanted, label_executor)
    staged = _staging(plan, target)
    try:
        written = _write_rows(wanted, labels, staged, _file_names(plan.shards), row_executor)
        packaging.check_ids(
            (file.split, pq.read_table(staged / file.path, columns=["id"])) for file in written
        )
        for file in written:
            with files.replacing(part / file.path) as temporary:
                try:
                    temporary.hardlink_to(staged / file.path)
                except OSError:  # not every file system has links
                    shutil.copyfile(staged / file.path, temporary)
    except OSError as error:
        raise UserError(shards.unwritable(error, part)) from None
    return written, counts
