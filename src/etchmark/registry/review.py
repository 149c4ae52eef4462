"""``results check`` and ``results add``: how an exported submission reaches the public board."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark import files
from etchmark.catalog import Catalog
from etchmark.data.columns import nesting
from etchmark.data.loading import Benchmark, load_benchmark
from etchmark.errors import UserError
from etchmark.registry.store import read_record
from etchmark.registry.submissions import PREDICTIONS, RECORD, TABLE, submission_id
from etchmark.scoring.samples import ROLLOUT, table_bytes, to_table
from etchmark.scoring.score import read_for, score_predictions
from etchmark.specs import ResultRecord

RELATIVE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Checked:
    """An exported submission whose scores were recomputed here and agree."""

    record: ResultRecord
    samples: bytes


def _prediction_file(folder: Path) -> Path:
    found = [folder / f"{PREDICTIONS}{suffix}" for suffix in (".parquet", ".csv")]
    found = [path for path in found if path.exists()]
    if len(found) != 1:
        raise UserError(
            f"{folder}: holds {len(found)} files {PREDICTIONS}.parquet|csv, not one; export it anew"
            " with `etchmark submit --export`"
        )
    return found[0]


def check(catalog: Catalog, folder: Path) -> Checked:
    """Recompute everything an exported submission says of its scores.

    Raises:
        UserError: a file is missing, a hash, the id, the data or a score does not agree.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: is not a folder; give one made by `etchmark submit --export`")
    for path in sorted(folder.iterdir()):
        # A link could name any file of the machine that checks.
        if path.is_symlink() or not path.is_file():
            raise UserError(f"{path}: is not a plain file; export the submission anew")
        if path.name not in {RECORD, TABLE, f"{PREDICTIONS}.parquet", f"{PREDICTIONS}.csv"}:
            raise UserError(f"{path}: is no part of a submission; remove it or export anew")
    record = read_record(folder / RECORD)
    if record.outcome != "ok":
        raise UserError(
            f"{folder}: the submission failed ({record.reason}); there is nothing to add"
        )
    benchmark: Benchmark = load_benchmark(
        f"{record.benchmark}@{record.benchmark_version}", catalog=catalog
    )
    spec = benchmark.spec
    path = _prediction_file(folder)
    for what, name, known in (
        ("track", record.track, spec.tracks),
        ("protocol", record.protocol, spec.protocols),
    ):
        if name not in known:
            raise UserError(f"{folder}: {what} {name!r} is not of {spec.key}; export it anew")
    sha256 = files.sha256_of(path)
    if record.fingerprints.predictions != [sha256]:
        raise UserError(f"{path}: SHA-256 is not the one in {RECORD}; export it anew")
    expected = submission_id(spec.key, record.track, record.protocol, [sha256], record.name)
    if record.submission != expected:
        raise UserError(f"{folder / RECORD}: submission id is not {expected}; export it anew")
    if record.fingerprints.data != spec.tracks[record.track].fingerprint:
        raise UserError(
            f"{folder / RECORD}: made from other data than {spec.key}; rerun and export"
        )
    if record.fingerprints.target != spec.target_fingerprint:
        raise UserError(f"{folder / RECORD}: scored against other labels than {spec.key}'s")
    scored = score_predictions(
        benchmark, record.protocol, path, read_for(benchmark, record.protocol, path)
    )
    if [one.split for one in scored.scores] != [one.split for one in record.scores]:
        raise UserError(
            f"{folder / RECORD}: other splits than the predictions hold; export it anew"
        )
    for ours, theirs in zip(scored.scores, record.scores, strict=True):
        found = _difference(ours.model_dump(), theirs.model_dump())
        if found:
            raise UserError(
                f"{folder / RECORD}: {found[0]} of split {ours.split!r} is said to be {found[2]}"
                f" but the predictions give {found[1]}; export it anew"
            )
    _check_table(folder / TABLE, to_table(scored.samples))
    # What goes to the board is what was computed here, not what was said; and a stranger's claim
    # to have been run by the harness, or with less data, cannot be seen from a file.
    shown: dict[str, Any] = {"scores": scored.scores}
    if record.name not in catalog.model_names():
        shown |= {"status": "scored", "curves": []}
    return Checked(record.model_copy(update=shown), table_bytes(scored.samples))


def _difference(ours: Any, theirs: Any, where: str = "") -> tuple[str, str, str] | None:
    """Where two plain values differ by more than rounding: name, ours, theirs."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        parts = [(f"{where}.{key}".strip("."), ours[key], theirs[key]) for key in ours]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        parts = [(f"{where}.{at}", *pair) for at, pair in enumerate(zip(ours, theirs, strict=True))]
    elif isinstance(ours, float) and isinstance(theirs, float) and _close(ours, theirs):
        return None
    else:
        return None if ours == theirs else (where, _short(ours), _short(theirs))
    found = (_difference(one, other, name) for name, one, other in parts)
    return next((one for one in found if one), None)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:80]


def _close(ours: Any, theirs: Any) -> bool:
    return bool(np.allclose(ours, theirs, rtol=RELATIVE_TOLERANCE, atol=1e-12, equal_nan=True))


def _alike(ours: Any, theirs: Any) -> bool:
    """Whether two columns of one type are equal, numbers to within rounding."""
    depth, kind = nesting(ours.type)
    if not pa.types.is_floating(kind) or depth > 1:
        return bool(ours.equals(theirs))
    if depth == 0:
        return _close(ours.to_numpy(), theirs.to_numpy())
    parts = [one.combine_chunks() for one in (ours, theirs)]
    if not parts[0].value_lengths().equals(parts[1].value_lengths()):
        return False
    mine, other = (one.flatten().to_numpy(zero_copy_only=False) for one in parts)
    # Errors over the horizon are kept in single precision.
    return bool(np.allclose(mine, other, rtol=1e-6, atol=1e-12, equal_nan=True))


def _check_table(path: Path, ours: pa.Table) -> None:
    """The per-sample table that was exported is the one that is computed here."""
    try:
        with pq.ParquetFile(path) as file:
            meta = file.metadata
            unpacked = sum(meta.row_group(at).total_byte_size for at in range(meta.num_row_groups))
            alike = file.schema_arrow.equals(ours.schema) and meta.num_rows == ours.num_rows
            # Looked at before it is read: a small file can unpack to a very large one.
            theirs = file.read() if alike and unpacked <= 4 * ours.nbytes + (1 << 20) else None
    except (pa.ArrowException, OSError, ValueError):
        raise UserError(f"{path}: is missing or not readable; export the submission anew") from None
    for name in ours.column_names:
        if theirs is not None and name == ROLLOUT:
            # Other versions compress the same picture into other bytes; the one drawn here is kept.
            continue
        if theirs is None or not _alike(ours[name], theirs[name]):
            raise UserError(f"{path}: is not what the predictions give; export the submission anew")


def add(catalog: Catalog, folder: Path, *, replace: bool = False) -> Path:
    """Check an exported submission and write it into ``leaderboard/results``."""
    checked = check(catalog, folder)
    return write_reviewed(catalog, checked.record, checked.samples, replace=replace)


def write_reviewed(
    catalog: Catalog, record: ResultRecord, samples: bytes | None, *, replace: bool
) -> Path:
    """Write record and per-sample table; an older one of the same model must be replaced openly."""
    results = catalog.root / "leaderboard" / "results" / record.benchmark
    older = [
        path
        for path in sorted(results.glob("*.json"))
        if path.stem != record.submission and _same(read_record(path), record)
    ]
    if older and not replace:
        raise UserError(
            f"{older[0]}: is a reviewed record of {record.name!r} on the same track and protocol;"
            " choose another name, or --replace if it is the same model"
        )
    path = results / f"{record.submission}.json"
    if samples is not None:
        files.write_bytes(path.with_suffix(".parquet"), samples)
    files.write_text(path, record.model_dump_json(by_alias=True, indent=2) + "\n")
    for old in older:
        old.unlink()
        old.with_suffix(".parquet").unlink(missing_ok=True)
    return path


def _same(old: ResultRecord, new: ResultRecord) -> bool:
    return (old.name, old.track, old.protocol, old.benchmark_version) == (
        new.name,
        new.track,
        new.protocol,
        new.benchmark_version,
    )
