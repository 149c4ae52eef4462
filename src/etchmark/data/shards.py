"""Datasets with costly labels: what their ``build.py`` defines, and the work on one shard.

Instead of ``build(context)``, such a ``build.py`` defines three functions::

    def shards(context: BuildContext) -> list[Shard]                          # cheap; stable order
    def labels(context: BuildContext, shard: Shard) -> pa.Table               # costly; small
    def table(context: BuildContext, shard: Shard, labels: pa.Table) -> pa.Table

``labels`` simulates and returns a small table: ``id``, a hash of the microstructure, the labels.
``table`` regenerates the large columns from their seeds and joins the labels (by ``match``, which
compares the hashes). Both depend on nothing but their arguments: shards, not workers, fix the
batches.

``etchmark.data.jobs`` runs them on any executor; ``etchmark.data.staging`` plans the jobs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np
import pyarrow as pa

from etchmark import files
from etchmark._version import __version__
from etchmark.errors import UserError

FUNCTIONS = ("shards", "labels", "table")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Code that labels may be computed with, besides build.py: a change of it makes stored shards stale.
_ENGINE = ("simulation", "descriptors")


@dataclass(frozen=True)
class BuildContext:
    """Argument of the functions of a dataset's ``build.py``."""

    folder: Path
    """The dataset's content folder: parameters, tables and listings in git."""
    config: str
    parameters: Mapping[str, Any]
    offline: bool
    progress: bool | None = None
    """None: show progress bars if the output is a terminal."""
    scratch: Path | None = None
    """Folder in which ``labels`` may leave results that ``table`` would have to compute again. None
    unless both run on one machine; removed once the config is built."""


@dataclass(frozen=True)
class Shard:
    """Rows that are computed together and stored in one file."""

    name: str
    split: str
    rows: int
    payload: Mapping[str, Any] = field(default_factory=dict)
    """What ``labels`` and ``table`` need, such as seeds and ranges; JSON values only."""
    labels_of: str | None = None
    """Another config with the same shard, whose frozen labels are used."""

    @property
    def digest(self) -> str:
        """Hash of the plan of the shard."""
        planned = [self.name, self.split, self.rows, dict(self.payload)]
        return hashlib.sha256(json.dumps(planned, sort_keys=True).encode()).hexdigest()


# --- build.py ----------------------------------------------------------------------------------


class _Source(SourceFileLoader):
    """Python's loader without its bytecode cache, which misses edits within one second."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


@cache
def _module(path: Path, sha256: str) -> ModuleType:
    name = f"etchmark_build_{path.parent.name.replace('-', '_')}_{sha256[:12]}"
    module_spec = importlib.util.spec_from_file_location(
        name, path, loader=_Source(name, str(path))
    )
    if module_spec is None or module_spec.loader is None:
        raise UserError(f"{path}: cannot be loaded; a dataset needs a build.py")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # dataclasses look their own module up
    try:
        module_spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        sys.modules.pop(name, None)
        raise UserError(
            f"{path}: needs the package {error.name!r}, which is not installed; simulations need"
            " `pip install 'etchmark[simulate]'`"
        ) from None
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def load_builder(folder: Path) -> ModuleType:
    """A dataset's ``build.py`` as a module; loaded again after an edit."""
    path = folder / "build.py"
    if not path.is_file():
        raise UserError(f"{path}: does not exist; a dataset needs a build.py that defines build()")
    return _module(path, files.sha256_of(path))


def is_sharded(module: ModuleType) -> bool:
    """Whether it defines ``shards``, ``labels`` and ``table`` instead of ``build``."""
    defined = [name for name in FUNCTIONS if callable(getattr(module, name, None))]
    if defined and (len(defined) < len(FUNCTIONS) or hasattr(module, "build")):
        raise UserError(
            f"{module.__file__}: defines {', '.join(defined)}; define either build() or all of"
            f" {', '.join(FUNCTIONS)}"
        )
    if not defined and not callable(getattr(module, "build", None)):
        raise UserError(f"{module.__file__}: defines no build(); see CONTRIBUTING.md")
    return bool(defined)


@cache
def _engine_digest() -> str:
    # Once per process: files may be edited later, but the loaded code stays.
    return hashlib.sha256(f"{__version__}\n{files.digest_of_code(_ENGINE)}".encode()).hexdigest()


def code_key(folder: Path, parameters: Mapping[str, Any]) -> str:
    """Hash of everything labels depend on: code of dataset and engine, parameters."""
    digest = hashlib.sha256(_engine_digest().encode())
    for path in sorted(folder.glob("*.py")):
        digest.update(f"\n{path.name}\n".encode() + path.read_bytes())
    digest.update(json.dumps(dict(parameters), sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


def plan_of(module: ModuleType, context: BuildContext) -> list[Shard]:
    """The shards of a config; UserError if names repeat or a payload is not JSON."""
    where = f"{module.__file__}: shards()"
    planned = list(module.shards(context))
    names: set[str] = set()
    for shard in planned:
        if not isinstance(shard, Shard):
            raise UserError(f"{where}: returned a {type(shard).__name__}; return Shard objects")
        if not _NAME.fullmatch(shard.name):
            raise UserError(f"{where}: {shard.name!r} is not a plain file name; rename the shard")
        if shard.name.lower() in names:
            raise UserError(f"{where}: two shards are named {shard.name!r}; rename one")
        if shard.rows < 1:
            raise UserError(f"{where}: shard {shard.name!r} has {shard.rows} rows; give at least 1")
        try:
            same = json.loads(json.dumps(dict(shard.payload))) == dict(shard.payload)
        except (TypeError, ValueError):
            same = False
        if not same:
            raise UserError(
                f"{where}: the payload of {shard.name!r} cannot be stored as JSON; use plain values"
            )
        names.add(shard.name.lower())
    if not planned:
        raise UserError(f"{where}: returned no shard; return at least one")
    return planned


# --- joining labels ------------------------------------------------------------------------------


def hash_of(values: np.ndarray) -> str:
    """SHA-256 of an array's type, shape and content: identifies a microstructure."""
    array = np.ascontiguousarray(values)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    head = f"{array.dtype.str.lstrip('<|')} {array.shape};".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()


def match(labels: pa.Table, ids: list[str], hashes: list[str], column: str = "hash") -> pa.Table:
    """The labels in the order of ``ids``, each checked against the hash of its microstructure.

    Args:
        labels: one row per id, from ``labels`` of ``build.py``.
        ids: of the rows.
        hashes: of their regenerated microstructures.
        column: the column of ``labels`` with the hash of the simulated microstructure.

    Raises:
        UserError: ids differ, or a microstructure differs from the simulated one.
    """
    rows = {key: row for row, key in enumerate(labels.column("id").to_pylist())}
    unmatched = sorted(rows.keys() ^ set(ids))
    if unmatched or len(ids) != len(rows):
        raise UserError(
            f"labels and rows have different ids ({', '.join(unmatched[:5])}); build again"
            " with --recompute"
        )
    ordered = labels.take([rows[key] for key in ids])
    pairs = zip(ids, hashes, ordered.column(column).to_pylist(), strict=True)
    differing = [key for key, ours, theirs in pairs if ours != theirs]
    if differing:
        raise UserError(
            f"{len(differing)} rows differ from what was simulated ({', '.join(differing[:5])}):"
            " this machine or this release generates other microstructures; use --recompute, whose"
            " results need --unofficial"
        )
    return ordered
