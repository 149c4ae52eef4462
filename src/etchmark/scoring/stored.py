"""Reads per-sample tables from elsewhere within limits, and checks scores against them.

A reviewed record comes with the table that its scores were computed from. Neither is trusted: a
small file can unpack to gigabytes, and a score can be edited by hand.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from etchmark.columns import parquet_file
from etchmark.errors import UserError
from etchmark.predictions import pages
from etchmark.predictions.reading import MAX_ID_LENGTH
from etchmark.scoring import intervals, uncertainty
from etchmark.scoring.samples import PICTURE, SUBSET, SampleScores, kind_of_table
from etchmark.scoring.score import fold_scores, fold_statistics
from etchmark.specs import MetricScore, SplitScore
from etchmark.specs.results import IntervalMethod
from etchmark.targets import TargetKind, metric

MAX_FILE_BYTES = 64 << 20
MAX_BYTES = 256 << 20
"""Maximum unpacked size, whatever the number of rows."""
_BYTES_PER_ROW = 16 << 10
_TEXTS = ("split", "id", "unit")
_OTHERS = {"seed": pa.int64(), "fold": pa.int32(), PICTURE: pa.binary()}
RELATIVE_TOLERANCE = 1e-9


def max_bytes(rows: int) -> int:
    """The unpacked size of the largest genuine table with this many rows."""
    return min(MAX_BYTES, (4 << 20) + rows * _BYTES_PER_ROW)


def read_table(content: bytes, *, rows: int, limit: int | None = None) -> pa.Table:
    """Read a per-sample table, after checking that it unpacks to a plausible size.

    Args:
        content: bytes of a parquet file.
        rows: number of rows that it must have.
        limit: maximum number of bytes it may unpack to; ``max_bytes(rows)`` if None.

    Raises:
        ValueError: the file is not a per-sample table, or larger than a genuine one.
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
        # Dictionaries stay encoded until their texts are checked: decoded, a few bytes can become
        # gigabytes.
        with parquet_file(
            io.BytesIO(content), read_dictionary=coded, page_checksum_verification=True
        ) as parquet:
            table = parquet.read(use_threads=False)
        table.validate(full=True)
        return _decoded(table, coded)
    except (pa.ArrowException, OSError, OverflowError) as error:
        raise ValueError(str(error).partition("\n")[0][:120]) from None


def _type_of(kind: TargetKind, name: str) -> pa.DataType | None:
    """The type of a column of a per-sample table; None if there is no such column."""
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
    """Refuse a table that takes too much memory.

    Returns:
        The text columns that are dictionary-coded.
    """
    if footer.rows != rows:
        raise ValueError(f"it has {footer.rows:,} rows, not {rows:,}")
    # A reader allocates memory by the footer and fills it by the pages; either can be forged.
    reserved: Counter[str] = Counter()
    for chunk in footer.chunks:
        reserved[chunk.column] += chunk.values
    stored: Counter[str] = Counter()
    coded: set[str] = set()
    unpacked = 0
    for page in pages.read_pages(file, footer.chunks):
        unpacked += page.bytes
        if page.dictionary:
            coded.add(page.column)
        else:
            stored[page.column] += page.values
        if page.encoding == pages.DELTA_BYTE_ARRAY:
            raise ValueError("it is in the encoding DELTA_BYTE_ARRAY, which hides its size")
    size = max(footer.bytes, unpacked, 8 * max(reserved.total(), stored.total()))
    if size > limit:
        raise ValueError(f"it unpacks to {size:,} bytes, more than the {limit:,} plausible")
    for field in schema:
        name = field.name
        flat = not pa.types.is_list(field.type)
        if reserved[name] != stored[name] or (flat and stored[name] != rows):
            raise ValueError("its parts contradict each other in the number of rows")
    if PICTURE in coded:
        raise ValueError("its pictures are dictionary-coded")
    return sorted(coded.intersection(_TEXTS))


def _decoded(table: pa.Table, coded: Iterable[str]) -> pa.Table:
    """The table with its text columns as plain text; refuses texts that are too long."""
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


def disagreement(
    scores: Sequence[SplitScore],
    samples: Sequence[SampleScores],
    method: IntervalMethod | None = None,
) -> str | None:
    """First disagreement between scores and their per-sample table; None if there is none.

    Counts, point values and intervals of splits and subsets, and point values of folds, are
    compared with a relative tolerance of 1e-9.

    Args:
        scores: of every split.
        samples: the table.
        method: how the intervals were computed. None is what records say that were made while
            there was one method only, the percentile bootstrap.
    """
    intervals_of = intervals.METHODS[method or uncertainty.BOOTSTRAP]
    if [score.split for score in scores] != [table.split for table in samples]:
        return "its splits differ from those of its table"
    for score, table in zip(scores, samples, strict=True):
        try:
            fault = _of_split(score, table) or _of_intervals(score, table, intervals_of)
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
        members = samples.subset(part.subset)
        if fault is None:
            fault = (
                f"subset {part.subset!r} is not in the table"
                if members is None
                else _of_group(part.n, part.units, part.metrics, members)
            )
    return fault or (_of_folds(score, samples) if score.folds else None)


def _of_group(
    n: int, units: int, metrics: dict[str, MetricScore], samples: SampleScores
) -> str | None:
    sums = samples.sums()
    for name, stated, computed in (
        ("n", n, len(samples.ids)),
        ("units", units, uncertainty.units_of(sums)),
    ):
        if stated != computed:
            return _differs(name, stated, computed)
    for name, score in metrics.items():
        per_seed = uncertainty.score(metric(name), sums)
        if not _close(score.value, float(per_seed.mean())):
            return _differs(name, score.value, float(per_seed.mean()))
        spread = float(per_seed.std(ddof=1)) if len(per_seed) > 1 else None
        if not _close(score.seed_sd, spread):
            return _differs(f"{name}.seed_sd", score.seed_sd, spread)
    return None


def _of_intervals(
    score: SplitScore, samples: SampleScores, intervals_of: intervals.IntervalsOf
) -> str | None:
    resampled = intervals_of is uncertainty.bootstrap_intervals
    if resampled and not uncertainty.draws_are_those_of_the_records():
        return None
    parts = [("", score.metrics, samples)]
    for subset in score.subsets:
        some = samples.subset(subset.subset)
        if some is not None:
            parts.append((f"subset {subset.subset!r}: ", subset.metrics, some))
    for where, metrics, some in parts:
        computed = intervals_of([metric(name) for name in metrics], some.sums())
        for (name, stated), interval in zip(metrics.items(), computed, strict=True):
            ends = (None, None) if interval is None else interval
            for key, end in zip(("ci_low", "ci_high"), ends, strict=True):
                if not _close(getattr(stated, key), end):
                    return where + _differs(f"{name}.{key}", getattr(stated, key), end)
    return None


def _of_folds(score: SplitScore, samples: SampleScores) -> str | None:
    folds = fold_scores(list(score.metrics), samples)
    stated = {(fold.fold, fold.n) for fold in score.folds}
    if stated != {(fold.fold, fold.n) for fold in folds} or len(stated) != len(score.folds):
        return "its folds differ from those of its table"
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


def _close(stated: float | None, computed: float | None) -> bool:
    if stated is None or computed is None:
        return stated is computed
    # Rounding in sums of large terms can turn a score of exactly zero into a tiny number.
    return math.isclose(stated, computed, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12)


def _differs(name: str, stated: float | None, computed: float | None) -> str:
    texts = ["none" if value is None else f"{value:.6g}" for value in (stated, computed)]
    return f"{name} is said to be {texts[0]} but the table gives {texts[1]}"
