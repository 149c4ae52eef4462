"""The plan of a sharded build of a config, and the lock that keeps other builds out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from etchmark import settings
from etchmark._version import __version__
from etchmark.catalog import Catalog
from etchmark.catalog import catalog as content_in_use
from etchmark.data import jobs, labels, packaging, shards
from etchmark.data.jobs import ShardJob, TableJob
from etchmark.data.progress import Progress
from etchmark.data.shards import BuildContext, Shard
from etchmark.errors import UserError
from etchmark.specs import DatasetSpec


@dataclass(frozen=True)
class Plan:
    """A build before its first shard."""

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
        """The table of frozen labels, in the content."""
        return labels.frozen_table(self.context.folder, self.context.config)

    @property
    def unmerged(self) -> Path:
        """Finished label shards of a config that is not complete, in the content."""
        return labels.unmerged_folder(self.context.folder, self.context.config)

    @property
    def work(self) -> Path:
        return settings.home() / "work" / self.spec.name / self.context.config

    @property
    def scratch(self) -> Path:
        return self.work / self.key / "scratch"

    @property
    def progress(self) -> Progress:
        return Progress(self.name, self.context.progress)

    def _common(self, shard: Shard) -> dict[str, Any]:
        return {
            "dataset": self.spec.name,
            "shard": shard,
            "config": self.context.config,
            "key": self.key,
            "version": __version__,
            "offline": self.context.offline,
            "root": None if self.installed else self.catalog.root_of_dataset(self.spec.name),
            "scratch": self.scratch,
        }

    def job(self, shard: Shard) -> ShardJob:
        """The job that computes a shard's labels."""
        return ShardJob(**self._common(shard))

    def table_job(self, shard: Shard, source: Path, target: Path) -> TableJob:
        """The job that writes a shard's rows to ``target``, with the labels in ``source``."""
        return TableJob(**self._common(shard), source=source, target=target)


def make_plan(
    catalog: Catalog, spec: DatasetSpec, module: ModuleType, context: BuildContext
) -> Plan:
    """The plan of a build; UserError if it differs from what the dataset declares."""
    planned = shards.plan_of(module, context)
    packaging.check_declared(
        spec,
        context.config,
        {shard.split for shard in planned},
        sum(shard.rows for shard in planned),
    )
    key = shards.code_key(context.folder, spec.parameters)
    installed = False
    with suppress(UserError):
        installed = catalog == content_in_use()
    return Plan(catalog, spec, context, module, planned, key, installed)


@contextmanager
def alone(plan: Plan, *, wait: bool) -> Iterator[None]:
    """Keep other builds of this config out of the hub folder; a killed build frees the lock."""
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
        raise UserError(f"{jobs.unwritable(error, plan.work)}; or set ETCHMARK_HOME") from None
    try:
        yield
    finally:
        lock.release()
