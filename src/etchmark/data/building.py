"""Runs a dataset's ``build.py`` and compares the result with the frozen release."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from etchmark import settings
from etchmark.catalog import Catalog, unknown
from etchmark.data import packaging, progress, release, shards, staging
from etchmark.data.executors import Executor, Local
from etchmark.data.plan import Plan, alone, make_plan
from etchmark.data.shards import BuildContext
from etchmark.data.staging import LabelCounts
from etchmark.errors import UserError
from etchmark.specs import DataFile, DatasetSpec, Manifest

LONG_ROWS = 500
"""A simulated config of more rows takes minutes to build."""


@dataclass(frozen=True)
class Build:
    folder: Path
    manifest: Manifest
    difference: release.Difference | None
    """None if the build equals the frozen release, or nothing is frozen yet."""
    labels: LabelCounts | None = None
    """Where costly labels come from; None if the dataset has none."""
    frozen: Path | None = None
    """File of the release that this build became, if it was frozen."""
    released: bool = False
    """Whether there is a frozen release to compare with."""


@dataclass(frozen=True)
class Executors:
    """Where the shards of a dataset are computed."""

    labels: Executor = field(default_factory=Local)
    rows: Executor = field(default_factory=Local)
    """Always on this machine: rows are too large to send."""


def hub_folder(dataset: str, config: str) -> Path:
    """Where a build lies in the hub folder."""
    return settings.home() / "datasets" / dataset / config


def config_of(spec: DatasetSpec, config: str | None) -> str:
    name = spec.default_config if config is None else config
    if name not in spec.configs:
        raise unknown(f"config of {spec.name}", name, spec.configs)
    return name


def _context(
    catalog: Catalog, spec: DatasetSpec, config: str, offline: bool | None, progress: bool | None
) -> BuildContext:
    return BuildContext(
        folder=catalog.dataset_folder(spec.name),
        config=config,
        parameters=spec.parameters,
        offline=settings.offline() if offline is None else offline,
        progress=progress,
    )


@dataclass(frozen=True)
class BuildOptions:
    """How a config is built."""

    out: Path | None = None
    """Folder to write; the hub folder if None."""
    offline: bool | None = None
    """Never touch the network; the setting if None."""
    progress: bool | None = None
    """Show progress bars; if None, when the output is a terminal."""
    executors: Executors = field(default_factory=Executors)
    """Where costly labels and rows are computed; by default in this process."""
    recompute: bool = False
    """Simulate labels again instead of taking the frozen ones."""
    freezing: bool = False
    """Release the build: its labels, and the table that shows where later builds differ."""
    wait: bool = False
    """Wait until another build of the same config has ended, instead of raising."""
    force: bool = False
    """Build into ``out`` whatever is there: files of an earlier build are replaced, edited or not,
    and others are kept."""


def build(
    catalog: Catalog,
    dataset: str,
    config: str | None = None,
    options: BuildOptions = BuildOptions(),
) -> Build:
    """Build one config of a dataset from source.

    Args:
        catalog: where the dataset is declared.
        dataset: its name.
        config: its config; the default one if None.
        options: where it is written, what is computed again, and by which processes.

    Raises:
        UserError: unknown names, sources that are not available, or ``options.out`` holds
            something else.
    """
    spec = catalog.dataset(dataset)
    name = config_of(spec, config)
    source = catalog.dataset_folder(dataset)
    target = (options.out or hub_folder(dataset, name)).absolute()
    _check_target(target, spec, name, options)
    context = _context(catalog, spec, name, options.offline, options.progress)
    module = shards.load_builder(source)
    counts = None
    if shards.is_sharded(module):
        plan = make_plan(catalog, spec, module, context)
        executors = options.executors
        _announce(plan, executors)
        with alone(plan, wait=options.wait):
            manifest, counts = staging.build(
                plan,
                target,
                executors.labels,
                executors.rows,
                recompute=options.recompute,
                freezing=options.freezing,
            )
    elif options.recompute:
        raise UserError(f"{dataset} has no costly labels; drop --recompute")
    else:
        manifest = packaging.write_config(target, spec, name, module.build(context))
    frozen = (
        release.freeze(source, target, manifest, spec.label_columns) if options.freezing else None
    )
    released = release.frozen_fingerprint(source, name) is not None
    difference = release.compare(source, target, manifest)
    return Build(target, manifest, difference, counts, frozen, released)


def _check_target(target: Path, spec: DatasetSpec, config: str, options: BuildOptions) -> None:
    if options.out is None:
        _check_hub_folder(target)
    elif target.exists() and not target.is_dir():
        raise UserError(f"{target}: is not a folder; give another --out")
    elif target.exists() and not options.force:
        _check_replaceable(target, spec, config)


def _announce(plan: Plan, executors: Executors) -> None:
    """One line before a long build, if no progress bar is shown."""
    rows = sum(shard.rows for shard in plan.shards)
    if rows <= LONG_ROWS or not progress.is_silent(plan.context.progress):
        return
    workers = getattr(executors.rows, "workers", 1)
    where = f"in {workers} processes" if workers > 1 else "in one process"
    hint = "" if workers > 1 else " (`--executor processes` uses every processor)"
    print(
        f"{plan.name}: computing {rows:,} samples in {len(plan.shards)} shards {where}{hint}",
        file=sys.stderr,
        flush=True,
    )


@dataclass(frozen=True)
class SplitBuild:
    """One split of a config, built without the others."""

    folder: Path
    files: list[DataFile]
    """Below ``folder``, named as in the whole config."""
    difference: release.Difference | None
    """None where the rows equal those of the frozen release, or nothing is frozen yet."""
    released: bool
    """Whether there is a frozen release to compare with."""


def build_split(
    catalog: Catalog,
    dataset: str,
    config: str,
    split: str,
    *,
    progress: bool | None = None,
    executors: Executors | None = None,
) -> SplitBuild | None:
    """Build one split of a config; None if its ``build.py`` makes all splits at once.

    The files lie beside the config's folder in the hub folder, in ``<config>.<split>``; a later
    build of the whole config takes them from there.

    Args:
        catalog: where the dataset is declared.
        dataset: its name.
        config: which of its configs.
        split: which of the config's splits.
        progress: show progress bars; if None, when the output is a terminal.
        executors: where costly labels and rows are computed; in this process if None.

    Raises:
        UserError: unknown names, or a folder that cannot be written.
    """
    spec = catalog.dataset(dataset)
    source = catalog.dataset_folder(dataset)
    context = _context(catalog, spec, config_of(spec, config), None, progress)
    module = shards.load_builder(source)
    if not shards.is_sharded(module):
        return None
    plan = make_plan(catalog, spec, module, context)
    executors = executors or Executors()
    target = hub_folder(dataset, config).absolute()
    part = target.with_name(f"{config}.{split}")
    _announce(
        replace(plan, shards=[shard for shard in plan.shards if shard.split == split]), executors
    )
    with alone(plan, wait=True):
        written, _ = staging.build_split(
            plan, split, target, part, executors.labels, executors.rows
        )
    if release.frozen_fingerprint(source, config) is None:
        return SplitBuild(part, written, None, released=False)
    difference = release.differences(source, config, part, written, split)
    return SplitBuild(part, written, difference if difference.rows else None, released=True)


def label(
    catalog: Catalog,
    dataset: str,
    config: str | None = None,
    *,
    offline: bool | None = None,
    progress: bool | None = None,
    executor: Executor | None = None,
) -> tuple[Path, LabelCounts]:
    """Compute the labels that a config lacks, and freeze them.

    Each shard is stored with the release when it is finished; once all are, they are merged into
    one table.

    Returns:
        The table in the dataset's content, and where its label shards came from.
    """
    spec = catalog.dataset(dataset)
    context = _context(catalog, spec, config_of(spec, config), offline, progress)
    module = shards.load_builder(context.folder)
    if not shards.is_sharded(module):
        raise UserError(f"{dataset} has no costly labels; drop --labels-only")
    plan = make_plan(catalog, spec, module, context)
    with alone(plan, wait=False):
        paths, counts = staging.gather_labels(plan, executor or Local(), into_content=True)
        return staging.freeze_labels(plan, paths), counts


def _check_hub_folder(folder: Path) -> None:
    """Refuse to build into the hub folder over files that are not an earlier build."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder}: is not a folder; move it")
    # Even with a damaged manifest it is an earlier build.
    if any(folder.iterdir()) and not (folder / packaging.MANIFEST).is_file():
        raise UserError(f"{folder}: is not empty and holds no earlier build; move it")


def _check_replaceable(folder: Path, spec: DatasetSpec, config: str) -> None:
    """Refuse a folder in which a build would replace anything but an unedited earlier build."""
    remedy = "give another --out, or --force"
    manifest = packaging.read_own(folder)
    if manifest is None:
        if any(folder.iterdir()):
            raise UserError(
                f"{folder}: is not empty and holds no earlier build; {remedy} to build into it"
            )
        return
    if (manifest.name, manifest.config) != (spec.name, config):
        raise UserError(
            f"{folder}: holds a build of {manifest.name}:{manifest.config}; {remedy} to replace it"
        )
    others = packaging.foreign(folder)
    if others:
        raise UserError(
            f"{folder / others[0]}: is not part of the earlier build there; {remedy} to build"
            " around it"
        )
    changed = packaging.edited(folder, spec, manifest)
    if changed:
        raise UserError(
            f"{folder / changed[0]}: was edited since it was built; {remedy} to replace it"
        )


def main(path: str) -> None:
    """What ``python datasets/<name>/build.py`` does: the same as ``etchmark build <name>``."""
    import runpy
    import sys

    # Run as a program rather than imported: `commands` lies above this package.
    sys.argv = ["etchmark", "build", Path(path).resolve().parent.name, *sys.argv[1:]]
    runpy.run_module("etchmark", run_name="__main__")
