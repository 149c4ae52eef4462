"""Runs a dataset's ``build.py`` and compares the outcome with the frozen release.

``datasets/<name>/frozen/<config>.parquet`` holds, for each released row, its id, split, labels and
a row fingerprint, with the fingerprint of the whole config in its metadata. It is small, stands in
git, and tells a rebuild that differs *where* it differs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark import files, settings
from etchmark.catalog import Catalog, unknown
from etchmark.columns import Columns, array_column, to_numpy
from etchmark.data import fingerprint, jobs, packaging, progress, shards, staging
from etchmark.data.executors import Executor, Local
from etchmark.data.plan import Plan, alone, make_plan
from etchmark.data.shards import BuildContext
from etchmark.data.staging import LabelCounts
from etchmark.errors import UserError
from etchmark.specs import DataFile, DatasetSpec, Manifest

LONG_ROWS = 500
"""Rows of a simulated config from which on its build takes minutes."""

_FINGERPRINT = b"etchmark.fingerprint"


@dataclass(frozen=True)
class Difference:
    """How a build differs from the frozen release."""

    rows: list[str]
    """Ids of rows that differ, are missing or are extra."""
    largest: dict[str, float]
    """Largest absolute difference per numeric label column."""

    def describe(self) -> str:
        """What differs, in words."""
        shown = ", ".join(self.rows[:5]) + (", …" if len(self.rows) > 5 else "")
        largest = ", ".join(f"{name} {value:.6g}" for name, value in self.largest.items())
        said = f"{len(self.rows)} rows differ ({shown}); largest label difference: "
        said += largest or "none"
        # The release keeps the labels of boards; of other columns it knows a hash of each row.
        alike = self.rows and not any(self.largest.values())
        return f"{said}, so other columns differ" if alike else said

    def advice(self) -> str:
        """The one line about a build that is not the release: what differs, what may be done."""
        return (
            f"this build is not the released one: {self.describe()}; results on it need"
            ' --unofficial; to release it, see "A new version" in CONTRIBUTING.md: raise `version`'
            " in dataset.yaml, build with --freeze, and give the benchmark a new version with the"
            " fingerprints that `etchmark show BENCHMARK --fingerprints` prints"
        )


@dataclass(frozen=True)
class Build:
    folder: Path
    manifest: Manifest
    difference: Difference | None
    """None where the build equals the frozen release, or nothing is frozen yet."""
    labels: LabelCounts | None = None
    """Where costly labels came from; None where the dataset has none."""
    frozen: Path | None = None
    """The release this build was made, if it was."""
    released: bool = False
    """Whether there is a frozen release to compare with."""


@dataclass(frozen=True)
class Executors:
    """Where the shards of a dataset are worked on."""

    labels: Executor = field(default_factory=Local)
    rows: Executor = field(default_factory=Local)
    """On this machine, since the rows are large."""


def hub_folder(dataset: str, config: str) -> Path:
    """Where a build stands in the hub folder."""
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


def build(
    catalog: Catalog,
    dataset: str,
    config: str | None = None,
    *,
    out: Path | None = None,
    offline: bool | None = None,
    progress: bool | None = None,
    executors: Executors | None = None,
    recompute: bool = False,
    freezing: bool = False,
    wait: bool = False,
    force: bool = False,
) -> Build:
    """Build one config of a dataset from source.

    Args:
        catalog: where the dataset is declared.
        dataset: its name.
        config: its config; the default one if None.
        out: folder to write; the hub folder if None.
        offline: never touch the network; the setting if None.
        progress: show progress bars; if None, when the output is a terminal.
        executors: where costly labels and rows are made; in this process if None.
        recompute: simulate labels again instead of taking the frozen ones.
        freezing: release the build: its labels, and the table that tells where others differ.
        wait: until another build of the same config has ended, instead of raising.
        force: build into ``out`` whatever stands there: files of an earlier build are replaced,
            edited or not, and others are kept.

    Raises:
        UserError: unknown names, sources that cannot be had, or something else stands in ``out``.
    """
    spec = catalog.dataset(dataset)
    chosen = config_of(spec, config)
    source = catalog.dataset_folder(dataset)
    target = (out or hub_folder(dataset, chosen)).absolute()
    if out is None:
        _check_hub_folder(target)
    elif target.exists() and not target.is_dir():
        raise UserError(f"{target}: is not a folder; give another --out")
    elif target.exists() and not force:
        _check_replaceable(target, spec, chosen)
    context = _context(catalog, spec, chosen, offline, progress)
    module = shards.load_builder(source)
    counts = None
    if shards.is_sharded(module):
        plan = make_plan(catalog, spec, module, context)
        using = executors or Executors()
        _announce(plan, using)
        with alone(plan, wait=wait):
            manifest, counts = staging.build(
                plan, target, using.labels, using.rows, recompute=recompute, freezing=freezing
            )
    elif recompute:
        raise UserError(f"{dataset} has no costly labels; drop --recompute")
    else:
        manifest = packaging.write_config(target, spec, chosen, module.build(context))
    frozen = freeze(source, target, manifest, spec.label_columns) if freezing else None
    released = frozen_fingerprint(source, chosen) is not None
    return Build(target, manifest, compare(source, target, manifest), counts, frozen, released)


def _announce(plan: Plan, using: Executors) -> None:
    """One line before a long build, where no bar is shown."""
    rows = sum(shard.rows for shard in plan.shards)
    if rows <= LONG_ROWS or not progress.is_silent(plan.context.progress):
        return
    workers = getattr(using.rows, "workers", 1)
    where = f"in {workers} processes" if workers > 1 else "in one process"
    hint = "" if workers > 1 else " (`--executor processes` uses every processor)"
    print(
        f"{plan.name}: making {rows:,} samples in {len(plan.shards)} shards {where}{hint}",
        file=sys.stderr,
        flush=True,
    )


@dataclass(frozen=True)
class SplitBuild:
    """One split of a config, made without the others."""

    folder: Path
    files: list[DataFile]
    """Below ``folder``, named as in the whole config."""
    difference: Difference | None
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
    """Make one split of a config; None if its ``build.py`` makes all splits at once.

    The files stand beside the config's folder in the hub folder, in ``<config>.<split>``; a later
    build of the whole config does not make them again.

    Args:
        catalog: where the dataset is declared.
        dataset: its name.
        config: which of its configs.
        split: which of the config's splits.
        progress: show progress bars; if None, when the output is a terminal.
        executors: where costly labels and rows are made; in this process if None.

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
    using = executors or Executors()
    target = hub_folder(dataset, config).absolute()
    part = target.with_name(f"{config}.{split}")
    _announce(replace(plan, shards=[shard for shard in plan.shards if shard.split == split]), using)
    with alone(plan, wait=True):
        written, _ = staging.build_split(plan, split, target, part, using.labels, using.rows)
    if frozen_fingerprint(source, config) is None:
        return SplitBuild(part, written, None, released=False)
    difference = _compare(source, config, part, written, split)
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
    """A build may go to its place in the hub folder: nothing there is anybody else's."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder}: is not a folder; move it away")
    # A damaged manifest is no reason to keep it.
    if any(folder.iterdir()) and not (folder / packaging.MANIFEST).is_file():
        raise UserError(f"{folder}: is not empty and holds no earlier build; move it away")


def _check_replaceable(folder: Path, spec: DatasetSpec, config: str) -> None:
    """Refuse a folder in which a build would replace anything but an earlier one, unedited."""
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


def _rows(folder: Path, written: Sequence[DataFile]) -> tuple[list[str], list[str], list[str]]:
    ids: list[str] = []
    splits: list[str] = []
    prints: list[str] = []
    for file in written:
        columns = Columns([folder / file.path])
        values = {name: columns[name] for name in columns}
        ids += [str(value) for value in values["id"]]
        splits += [file.split] * file.rows
        prints += [
            fingerprint.of_columns({name: array[row : row + 1] for name, array in values.items()})[
                :16
            ]
            for row in range(file.rows)
        ]
    return ids, splits, prints


def _labels(folder: Path, written: Sequence[DataFile], name: str) -> np.ndarray:
    return np.concatenate([Columns([folder / file.path], [name])[name] for file in written])


def freeze(source: Path, folder: Path, manifest: Manifest, labels: list[str]) -> Path:
    """Write the frozen release of a built config into the dataset's content folder."""
    ids, splits, prints = _rows(folder, manifest.files)
    columns: dict[str, Any] = {"id": ids, "split": splits, "row": prints}
    # A config that measures something else of the same samples has labels of its own.
    stored = list(Columns([folder / manifest.files[0].path]))
    for name in [one for one in labels if one in stored]:
        values = _labels(folder, manifest.files, name)
        columns[name] = array_column(values) if values.ndim > 1 else values
    table = pa.table(columns).replace_schema_metadata({_FINGERPRINT: manifest.fingerprint.encode()})
    path = source / "frozen" / f"{manifest.config}.parquet"
    try:
        with files.replacing(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
    except OSError as error:
        raise UserError(jobs.unwritable(error, path)) from None
    return path


def frozen_fingerprint(source: Path, config: str) -> str | None:
    """Fingerprint of the released config, None if nothing is frozen."""
    path = source / "frozen" / f"{config}.parquet"
    if not path.is_file():
        return None
    try:
        return (pq.read_schema(path).metadata or {})[_FINGERPRINT].decode()
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    why = " ".join(str(error).split())[:100]
    return UserError(f"{path}: the frozen release is damaged ({why}); restore it from git")


def compare(source: Path, folder: Path, manifest: Manifest) -> Difference | None:
    """How a build differs from the frozen release; None if it does not, or none exists."""
    released = frozen_fingerprint(source, manifest.config)
    if released is None or released == manifest.fingerprint:
        return None
    return _compare(source, manifest.config, folder, manifest.files)


def _compare(
    source: Path, config: str, folder: Path, written: Sequence[DataFile], split: str | None = None
) -> Difference:
    """How rows differ from those of the frozen release; of one split if ``split`` is given."""
    path = source / "frozen" / f"{config}.parquet"
    try:
        frozen = pq.read_table(path)
        if split is not None:
            frozen = frozen.filter(pa.array(name == split for name in frozen["split"].to_pylist()))
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(path, error) from None
    labels = [name for name in frozen.column_names if name not in {"id", "split", "row"}]
    ids, splits, prints = _rows(folder, written)
    ours = {(split, key): row for row, (split, key) in enumerate(zip(splits, ids, strict=True))}
    theirs = {
        (split, key): row
        for row, (split, key) in enumerate(
            zip(frozen["split"].to_pylist(), frozen["id"].to_pylist(), strict=True)
        )
    }
    theirs_prints = frozen["row"].to_pylist()
    common = [key for key in theirs if key in ours]
    differing = [key[1] for key in common if prints[ours[key]] != theirs_prints[theirs[key]]]
    differing += [key[1] for key in theirs.keys() ^ ours.keys()]
    largest: dict[str, float] = {}
    for name in labels:
        old = to_numpy(frozen[name])[[theirs[key] for key in common]]
        new = _labels(folder, written, name)[[ours[key] for key in common]]
        if len(common) and np.issubdtype(new.dtype, np.number) and old.size == new.size:
            apart = np.abs(new.astype(float) - old.astype(float).reshape(new.shape))
            largest[name] = float(np.max(apart))
    return Difference(sorted(differing), largest)


def main(path: str) -> None:
    """What ``python datasets/<name>/build.py`` does: the same as ``etchmark build <name>``."""
    import runpy
    import sys

    # Started as a program, not imported: the command line stands on the floors above this one.
    sys.argv = ["etchmark", "build", Path(path).resolve().parent.name, *sys.argv[1:]]
    runpy.run_module("etchmark", run_name="__main__")
