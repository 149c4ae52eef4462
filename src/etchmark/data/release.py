"""The frozen release of a config, and how a build differs from it.

``datasets/<name>/frozen/<config>.parquet`` holds, for each released row, its id, split, labels and
a row fingerprint, with the fingerprint of the whole config in its metadata. It is small enough for
git, and shows *where* a rebuild differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark import files
from etchmark.columns import Columns, array_column, to_numpy
from etchmark.data import fingerprint, jobs
from etchmark.errors import UserError
from etchmark.specs import DataFile, Manifest

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
        text = f"{len(self.rows)} rows differ ({shown}); largest label difference: "
        text += largest or "none"
        # Of columns that are not labels the release keeps a hash per row, not the values.
        labels_agree = self.rows and not any(self.largest.values())
        return f"{text}, so other columns differ" if labels_agree else text

    def advice(self) -> str:
        """One line about a build that is not the release: what differs, and what to do."""
        return (
            f"this build is not the released one: {self.describe()}; results on it need"
            ' --unofficial; to release it, see "A new version" in CONTRIBUTING.md: raise `version`'
            " in dataset.yaml, build with --freeze, and give the benchmark a new version with the"
            " fingerprints that `etchmark show BENCHMARK --fingerprints` prints"
        )


def _rows(folder: Path, written: Sequence[DataFile]) -> tuple[list[str], list[str], list[str]]:
    """Id, split and fingerprint of every row, in the order of the files."""
    ids: list[str] = []
    splits: list[str] = []
    row_hashes: list[str] = []
    for file in written:
        columns = Columns([folder / file.path])
        values = {name: columns[name] for name in columns}
        ids += [str(value) for value in values["id"]]
        splits += [file.split] * file.rows
        row_hashes += [
            fingerprint.of_columns({name: array[row : row + 1] for name, array in values.items()})[
                :16
            ]
            for row in range(file.rows)
        ]
    return ids, splits, row_hashes


def _labels(folder: Path, written: Sequence[DataFile], name: str) -> np.ndarray:
    return np.concatenate([Columns([folder / file.path], [name])[name] for file in written])


def freeze(source: Path, folder: Path, manifest: Manifest, labels: list[str]) -> Path:
    """Write the frozen release of a built config into the dataset's content folder."""
    ids, splits, row_hashes = _rows(folder, manifest.files)
    columns: dict[str, Any] = {"id": ids, "split": splits, "row": row_hashes}
    # Configs of one dataset may have different labels, so some may be absent here.
    stored = list(Columns([folder / manifest.files[0].path]))
    for name in [label for label in labels if label in stored]:
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


def frozen_ids(source: Path, config: str) -> pa.Table:
    """``id`` and ``split`` of every row of the released config.

    Raises:
        UserError: nothing is frozen, or the file is damaged.
    """
    path = source / "frozen" / f"{config}.parquet"
    if not path.is_file():
        raise UserError(f"{source.name}:{config}: has no frozen release")
    try:
        return pq.read_table(path, columns=["id", "split"])
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    why = " ".join(str(error).split())[:100]
    return UserError(f"{path}: the frozen release is damaged ({why}); restore it from git")


def compare(source: Path, folder: Path, manifest: Manifest) -> Difference | None:
    """How a build differs from the frozen release; None if it does not, or none exists."""
    released = frozen_fingerprint(source, manifest.config)
    if released is None or released == manifest.fingerprint:
        return None
    return differences(source, manifest.config, folder, manifest.files)


def differences(
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
    ids, splits, row_hashes = _rows(folder, written)
    ours = {(split, key): row for row, (split, key) in enumerate(zip(splits, ids, strict=True))}
    theirs = {
        (split, key): row
        for row, (split, key) in enumerate(
            zip(frozen["split"].to_pylist(), frozen["id"].to_pylist(), strict=True)
        )
    }
    frozen_hashes = frozen["row"].to_pylist()
    common = [key for key in theirs if key in ours]
    differing = [key[1] for key in common if row_hashes[ours[key]] != frozen_hashes[theirs[key]]]
    differing += [key[1] for key in theirs.keys() ^ ours.keys()]
    largest: dict[str, float] = {}
    for name in labels:
        old = to_numpy(frozen[name])[[theirs[key] for key in common]]
        new = _labels(folder, written, name)[[ours[key] for key in common]]
        if len(common) and np.issubdtype(new.dtype, np.number) and old.size == new.size:
            distance = np.abs(new.astype(float) - old.astype(float).reshape(new.shape))
            largest[name] = float(np.max(distance))
    return Difference(sorted(differing), largest)
