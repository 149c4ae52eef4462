"""Per-sample tables from elsewhere: read within limits, and compared with the scores beside them.

A reviewed record stands beside the table that its scores come from. Neither is trusted: a small
file can unpack to gigabytes, and a score in the record can be edited by hand.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from etchmark.errors import UserError
from etchmark.predictions import pages
from etchmark.predictions.reading import MAX_ID_LENGTH
from etchmark.scoring import uncertainty
from etchmark.scoring.samples import PICTURE, SUBSET, SampleScores, kind_of_table
from etchmark.scoring.score import fold_scores, fold_statistics
from etchmark.specs import MetricScore, SplitScore
from etchmark.targets import TargetKind, metric

MAX_FILE_BYTES = 64 << 20
MAX_BYTES = 256 << 20
"""Unpacked, whatever the number of rows."""
_BYTES_PER_ROW = 16 << 10
_TEXTS = ("split", "id", "unit")
_OTHERS = {"seed": pa.int64(), "fold": pa.int32(), PICTURE: pa.binary()}
RELATIVE_TOLERANCE = 1e-9


def max_bytes(rows: int) -> int:
    """The unpacked size of the largest honest table of so many rows."""
    return min(MAX_BYTES, (4 << 20) + rows * _BYTES_PER_ROW)


def read_table(content: bytes, *, rows: int, limit: int | None = None) -> pa.Table:
    """A per-sample table, once it is known that reading it takes no more than it should.

    Args:
        content: of a parquet file.
        rows: number of rows that it must have.
        limit: bytes that it may unpack to; ``max_bytes(rows)`` if None.

    Raises:
        ValueError: it is not a table of per-sample results, or larger than a genuine one.
    """
    limit = max_bytes(rows) if limit is None else limit
    try:
        if len(content) > MAX_FILE_BYTES:
            raise ValueError(f"it is larger than {MAX_FILE_BYTES:,} bytes")
        file = io.BytesIO(content)
        footer = pages.read_footer(file)
        schema = pq.read_schema(io.BytesIO(content))
        _check_columns(schema)
        coded = _check_sizes(file, footer, schema, rows, limit)
        # A dictionary is kept as one: unfolded, a few bytes could be as many gigabytes.
        with pq.ParquetFile(
            io.BytesIO(content), read_dictionary=coded, page_checksum_verification=True
        ) as parquet:
            table = parquet.read(use_threads=False)
        table.validate(full=True)
        return _unfolded(table, coded)
    except (pa.ArrowException, OSError, OverflowError) as error:
        raise ValueError(str(error).partition("\n")[0][:120]) from None


def _type_of(kind: TargetKind, name: str) -> pa.DataType | None:
    """What a column of a per-sample table holds; None if there is no such column."""
    if name in _TEXTS:
        return pa.string()
    return pa.bool_() if name.startswith(SUBSET) else _OTHERS.get(name, kind.column_type(name))


def _check_columns(schema: pa.Schema) -> None:
    if len(set(schema.names)) != len(schema.names):
        raise ValueError("a duplicate column")
    kind = kind_of_table(schema)
    for field in schema:
        if field.type != _type_of(kind, field.name):
            raise ValueError(f"column {field.name[:40]!r} ({field.type}) does not belong there")


def _check_sizes(
    file: io.BytesIO, footer: pages.Footer, schema: pa.Schema, rows: int, limit: int
) -> list[str]:
    """Refuse what takes more memory than it may; the text columns that are dictionary-coded."""
    if footer.rows != rows:
        raise ValueError(f"it has {footer.rows:,} rows, not {rows:,}")
    # The footer says what is reserved, the pages say what is unpacked.
    reserved: Counter[str] = Counter()
    for chunk in footer.chunks:
        reserved[chunk.column] += chunk.values
    held: Counter[str] = Counter()
    coded: set[str] = set()
    unpacked = 0
    for page in pages.read_pages(file, footer.chunks):
        unpacked += page.bytes
        if page.dictionary:
            coded.add(page.column)
        else:
            held[page.column] += page.values
        if page.encoding == pages.DELTA_BYTE_ARRAY:
            raise ValueError("it is in the encoding DELTA_BYTE_ARRAY, which hides its size")
    size = max(footer.bytes, unpacked, 8 * max(reserved.total(), held.total()))
    if size > limit:
        raise ValueError(f"it unpacks to {size:,} bytes, more than the {limit:,} plausible")
    for field in schema:
        name = field.name
        flat = not pa.types.is_list(field.type)
        if reserved[name] != held[name] or (flat and held[name] != rows):
            raise ValueError("its parts contradict each other in the number of rows")
    if PICTURE in coded:
        raise ValueError("its pictures are dictionary-coded")
    return sorted(coded.intersection(_TEXTS))


def _unfolded(table: pa.Table, coded: Iterable[str]) -> pa.Table:
    """The table with plain text in all of its text columns, none of it long."""
    for name in _TEXTS:
        if name not in table.column_names:
            raise ValueError(f"it has no column {name!r}")
        chunks = table.column(name).chunks
        texts = [chunk.dictionary if name in coded else chunk for chunk in chunks]
        if any(len(text or "") > MAX_ID_LENGTH for part in texts for text in part.to_pylist()):
            raise ValueError(f"column {name!r} holds more than {MAX_ID_LENGTH} characters")
        if name in coded:
            at = table.column_names.index(name)
            table = table.set_column(at, name, table.column(name).cast(pa.string()))
    return table


# --- scores against the table ------------------------------------------------------------------


def disagreement(scores: Sequence[SplitScore], samples: Sequence[SampleScores]) -> str | None:
    """First disagreement between scores and their per-sample table; None if there is none.

    Compared are counts and point values of splits, subsets and folds, to a relative 1e-9.
    Intervals are not: their method may have changed since.
    """
    if [score.split for score in scores] != [table.split for table in samples]:
        return "its splits differ from those of its table"
    for score, table in zip(scores, samples, strict=True):
        try:
            fault = _of_split(score, table)
        except UserError as error:
            fault = str(error)
        if fault:
            return f"split {score.split!r}: {fault}"
    return None


def _of_split(score: SplitScore, samples: SampleScores) -> str | None:
    fault = _of_group(score.n, score.units, score.metrics, samples)
    if fault is None and score.seeds != len(samples.seeds):
        fault = _differs("seeds", score.seeds, len(samples.seeds))
    for part in score.subsets:
        some = samples.subset(part.subset)
        if fault is None:
            fault = (
                f"subset {part.subset!r} is not in the table"
                if some is None
                else _of_group(part.n, part.units, part.metrics, some)
            )
    return fault or (_of_folds(score, samples) if score.folds else None)


def _of_group(
    n: int, units: int, metrics: dict[str, MetricScore], samples: SampleScores
) -> str | None:
    sums = samples.sums()
    for name, said, computed in (
        ("n", n, len(samples.ids)),
        ("units", units, uncertainty.units_of(sums)),
    ):
        if said != computed:
            return _differs(name, said, computed)
    for name, score in metrics.items():
        per_seed = uncertainty.score(metric(name), sums)
        if not _close(score.value, float(per_seed.mean())):
            return _differs(name, score.value, float(per_seed.mean()))
        spread = float(per_seed.std(ddof=1)) if len(per_seed) > 1 else None
        if not _close(score.seed_sd, spread):
            return _differs(f"{name}.seed_sd", score.seed_sd, spread)
    return None


def _of_folds(score: SplitScore, samples: SampleScores) -> str | None:
    folds = fold_scores(list(score.metrics), samples)
    said = {(fold.fold, fold.n) for fold in score.folds}
    if said != {(fold.fold, fold.n) for fold in folds} or len(said) != len(score.folds):
        return "it has other folds than its table"
    computed = {fold.fold: fold.values for fold in folds}
    for fold in score.folds:
        for name, value in fold.values.items():
            other = computed[fold.fold].get(name)
            if not _close(value, other):
                return _differs(f"{name} of fold {fold.fold}", value, other)
    for name, stored in score.metrics.items():
        mean, spread = fold_statistics(folds, name)
        for part, value, other in (
            ("mean", stored.fold_mean, mean),
            ("sd", stored.fold_sd, spread),
        ):
            if value is not None and not _close(value, other):
                return _differs(f"{name}.fold_{part}", value, other)
    return None


def _close(said: float | None, computed: float | None) -> bool:
    if said is None or computed is None:
        return said is computed
    # Rounding in sums of large terms leaves more than nothing of a score that is exactly zero.
    return math.isclose(said, computed, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12)


def _differs(name: str, said: float | None, computed: float | None) -> str:
    shown = ["none" if value is None else f"{value:.6g}" for value in (said, computed)]
    return f"{name} is said to be {shown[0]} but the table gives {shown[1]}"
