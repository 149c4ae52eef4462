"""Builds a config shard by shard, so that it can be killed at any moment and resumed.

First the labels of every shard, then its rows. Labels are taken, in this order, from

* the frozen labels of the config in ``datasets/<name>/labels`` (``etchmark.data.labels``);
* the frozen labels of another config that plans the same shard (``Shard.labels_of``);
* ``work/<name>/<config>/<key>/labels/<shard>.parquet`` of the hub folder: finished by an earlier
  build with the same code (``shards.code_key``);
* the executor; they are stored the moment they are finished.

Rows are written as the final files into a staging folder beside the build, which replaces an older
build once it is whole.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from etchmark import files
from etchmark.data import jobs, labels, packaging
from etchmark.data.executors import Executor
from etchmark.data.jobs import TableJob
from etchmark.data.labels import LabelSource
from etchmark.data.plan import Plan
from etchmark.data.shards import Shard
from etchmark.errors import UserError
from etchmark.specs import DataFile, Manifest, Record

_DONE = ".done"
_COMPLETE = "complete"


@dataclass(frozen=True)
class LabelCounts:
    """Number of label shards of a config, by where they come from."""

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
    """Stored beside a staged file: what it was computed from, and its checksum."""

    stamp: str
    file: DataFile


def _sweep(folder: Path) -> None:
    # Temporary files of processes that were killed.
    import psutil

    for path in folder.glob(".*.tmp"):
        match = re.search(r"\.(\d+)-[0-9a-f]{8}\.tmp$", path.name)
        if match and (int(match[1]) == os.getpid() or not psutil.pid_exists(int(match[1]))):
            with suppress(OSError):
                path.unlink()


# --- labels ------------------------------------------------------------------------------------


def work_folder(plan: Plan, *, recompute: bool) -> Path:
    return plan.work / (f"{plan.key}-recompute" if recompute else plan.key) / "labels"


def start_recompute(plan: Plan, *, keep: bool) -> None:
    """Forget the labels of a finished ``--recompute``, so that the next one computes them again.

    An interrupted one is resumed; so is a finished one that is to be frozen (``keep``).
    """
    folder = work_folder(plan, recompute=True)
    if not keep and (folder / _COMPLETE).exists():
        shutil.rmtree(folder)


def _earlier(path: Path, shard: Shard) -> bool:
    """Whether earlier work left complete labels of this shard; incomplete ones are removed."""
    if not path.is_file():
        return False
    with suppress(UserError):
        labels.read_labels(path, shard)
        return True
    path.unlink()
    return False


def _check_columns(frozen: Sequence[LabelSource]) -> None:
    """Refuse frozen shards of a config whose columns differ."""
    if not frozen:
        return
    usual, _ = Counter(source.columns for source in frozen).most_common(1)[0]
    for source in frozen:
        if source.columns != usual:
            which = ", ".join(sorted(source.columns ^ usual)[:5])
            raise UserError(
                f"{source.path}: does not have the columns of the other shards ({which});"
                " restore it"
            )


def gather_labels(
    plan: Plan, executor: Executor, *, recompute: bool = False, into_content: bool = False
) -> tuple[dict[str, Path], LabelCounts]:
    """Labels of every shard; those that are missing are computed.

    Args:
        plan: what is built.
        executor: what computes.
        recompute: use no frozen labels.
        into_content: store each shard with the release, not in the hub folder.

    Returns:
        The file that holds each shard, by the shard's name, and where the labels came from.
    """
    work = work_folder(plan, recompute=recompute)
    folder = plan.unmerged if into_content else work
    lookup = labels.FrozenLabels(plan.context.folder)
    paths: dict[str, Path] = {}
    frozen: list[LabelSource] = []
    earlier: list[Shard] = []
    missing: list[Shard] = []
    try:
        _check_folder(folder)
        for shard in plan.shards:
            file = f"{shard.name}.parquet"
            source = None if recompute else lookup.find(plan.context.config, shard)
            if source is not None:
                paths[shard.name] = source.path
                frozen.append(source)
            elif _earlier(work / file, shard):
                paths[shard.name] = folder / file
                earlier.append(shard)
                if into_content:
                    _copy(work / file, folder / file)
            else:
                missing.append(shard)
    except OSError as error:
        raise UserError(jobs.unwritable(error, folder)) from None
    _check_columns(frozen)
    done = [shard for shard in plan.shards if shard.name in paths]
    results = plan.progress.results(
        executor, jobs.compute_labels, [plan.job(shard) for shard in missing], "labels", done
    )
    with closing(results):
        for job, content in results:
            path = folder / f"{job.shard.name}.parquet"
            table = pa.ipc.open_stream(content).read_all()
            try:
                labels.write_labels(path, job.shard, plan.key, table)
            except OSError as error:
                raise UserError(jobs.unwritable(error, path)) from None
            paths[job.shard.name] = path
    return paths, LabelCounts(len(frozen), len(earlier), len(missing))


def _check_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    with files.replacing(folder / ".writable") as probe:
        probe.touch()
    (folder / ".writable").unlink()


def _copy(source: Path, target: Path) -> None:
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def freeze_labels(plan: Plan, paths: dict[str, Path]) -> Path:
    """Merge labels into the config's frozen table, which makes them part of the release."""
    try:
        return labels.merge(plan.context.folder, plan.context.config, plan.shards, paths)
    except OSError as error:
        raise UserError(jobs.unwritable(error, plan.frozen)) from None


# --- rows --------------------------------------------------------------------------------------


def _file_names(planned: Sequence[Shard]) -> dict[str, str]:
    """The file of each shard below the build, numbered per split in the order of the plan."""
    totals: dict[str, int] = {}
    places: dict[str, tuple[str, int]] = {}
    for shard in planned:
        places[shard.name] = (shard.split, totals.get(shard.split, 0))
        totals[shard.split] = totals.get(shard.split, 0) + 1
    return {
        name: packaging.file_name(split, index, totals[split])
        for name, (split, index) in places.items()
    }


def _staged(folder: Path, name: str, stamp: str) -> DataFile | None:
    """The staged file ``name`` if it is complete and computed from what ``stamp`` identifies."""
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
    # One per config: two configs that are built into one folder must not share files.
    return target.with_name(f".{target.name}.{plan.context.config}.staging")


def write_rows(plan: Plan, sources: dict[str, Path], target: Path, executor: Executor) -> Manifest:
    """Compute the rows of every shard from its labels and put the config at ``target``."""
    staged = _staging(plan, target)
    names = _file_names(plan.shards)
    try:
        written = _write_rows(plan, sources, staged, names, executor)
        config = plan.context.config
        packaging.check_files(staged, plan.spec, config, written)
        manifest = packaging.complete(staged, plan.spec, config, written, "torch")
        shutil.rmtree(staged / _DONE)
        packaging.swap(staged, target)
        return manifest
    except OSError as error:
        raise UserError(jobs.unwritable(error, target)) from None


def _write_rows(
    plan: Plan, sources: dict[str, Path], staged: Path, names: dict[str, str], executor: Executor
) -> list[DataFile]:
    (staged / "data").mkdir(parents=True, exist_ok=True)
    for path in (staged / "data").iterdir():
        if f"data/{path.name}" not in names.values():
            path.unlink()
    # Most shards share one file, the frozen table.
    digests = {path: files.sha256_of(path) for path in set(sources.values())}
    stamps: dict[str, str] = {}
    written: dict[str, DataFile] = {}
    missing: list[TableJob] = []
    for shard in plan.shards:
        source = sources[shard.name]
        stamps[shard.name] = f"{plan.key} {shard.digest} {digests[source]}"
        file = _staged(staged, names[shard.name], stamps[shard.name])
        if file is not None:
            written[shard.name] = file
            continue
        missing.append(plan.table_job(shard, source, staged / names[shard.name]))
    done = [shard for shard in plan.shards if shard.name in written]
    results = plan.progress.results(executor, jobs.write_table, missing, "rows", done)
    with closing(results):
        for job, rows in results:
            name = job.shard.name
            file = packaging.describe(staged, names[name], job.shard.split, rows)
            stamp = _Done(stamp=stamps[name], file=file)
            files.write_json(_sidecar(staged, file.path), stamp.model_dump(mode="json"))
            written[name] = file
    return [written[shard.name] for shard in plan.shards]


def build(
    plan: Plan,
    target: Path,
    label_executor: Executor,
    row_executor: Executor,
    *,
    recompute: bool,
    freezing: bool,
) -> tuple[Manifest, LabelCounts]:
    """Compute labels, then rows; ``target`` is replaced once everything is complete.

    Args:
        plan: what is built.
        target: the config's folder.
        label_executor: what computes labels.
        row_executor: what makes rows, on this machine.
        recompute: simulate the frozen labels again.
        freezing: make the labels part of the release.
    """
    if recompute:
        start_recompute(plan, keep=freezing)
        shutil.rmtree(plan.scratch, ignore_errors=True)
    sources, counts = gather_labels(plan, label_executor, recompute=recompute)
    manifest = write_rows(plan, sources, target, row_executor)
    shutil.rmtree(plan.scratch, ignore_errors=True)
    if freezing:
        freeze_labels(plan, sources)
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
    """Labels and rows of one split, as files of their own; a later build reuses them.

    Args:
        plan: of the whole config.
        split: the split that is made.
        target: the config's folder, which stays as it is.
        part: folder that receives the split's files, named as in the whole config.
        label_executor: what computes labels.
        row_executor: what makes rows, on this machine.
    """
    split_plan = replace(plan, shards=[shard for shard in plan.shards if shard.split == split])
    sources, counts = gather_labels(split_plan, label_executor)
    staged = _staging(plan, target)
    try:
        written = _write_rows(split_plan, sources, staged, _file_names(plan.shards), row_executor)
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
        raise UserError(jobs.unwritable(error, part)) from None
    return written, counts
