"""The one way from a predictions file to scores, whoever wrote the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from etchmark import predictions
from etchmark.catalog import pick_protocol, pick_track
from etchmark.data.loading import Benchmark
from etchmark.errors import UserError
from etchmark.scoring.samples import table_bytes
from etchmark.scoring.score import Scored, read_for, score_predictions
from etchmark.specs import BenchmarkSpec


@dataclass(frozen=True)
class Stated:
    """Track and protocol of a predictions file, agreed between its metadata and the options."""

    track: str | None
    protocol: str


def agree(
    spec: BenchmarkSpec,
    declared: predictions.Declared,
    *,
    track: str | None,
    protocol: str | None,
    need_track: bool,
) -> Stated:
    """Track and protocol, from what the file declares and what the caller asks for.

    Raises:
        UserError: they contradict each other, or neither names one that is needed.
    """
    if declared.benchmark and declared.benchmark != spec.key:
        raise UserError(
            f"the file says it is for {declared.benchmark}, not {spec.key}; submit it there or fill"
            f" a new one from `etchmark template {spec.id}`"
        )
    for what, in_file, asked in (
        ("track", declared.track, track),
        ("protocol", declared.protocol, protocol),
    ):
        if in_file and asked and in_file != asked:
            raise UserError(
                f"the file says {what} {in_file!r} but {asked!r} was asked for; ask for what the"
                " file says or fill the template again"
            )
    protocol = (declared.protocol or None) if protocol is None else protocol
    protocol = pick_protocol(spec, protocol, default=False)
    track = declared.track if track is None else track
    if track is not None or need_track:
        track, _ = pick_track(spec, track, " (the one that the model reads)")
    return Stated(track, protocol)


def score_file(
    benchmark: Benchmark,
    path: Path,
    *,
    track: str | None = None,
    protocol: str | None = None,
    need_track: bool = False,
) -> tuple[Stated, Scored]:
    """Score a predictions file; nothing is stored.

    Args:
        benchmark: what it is scored on.
        path: the file.
        track: inputs that the model read; what the file says if None.
        protocol: protocol that the predictions follow; what the file says if None.
        need_track: refuse a file of which nobody says what the model read.

    Raises:
        UserError: the file contradicts the arguments, or is not what the benchmark asks for.
    """
    spec = benchmark.spec
    # Names that do not exist are refused before anything is read.
    if track is not None:
        pick_track(spec, track)
    if protocol is None:
        # Not known yet: bound the file by the largest one.
        expected = max(spec.protocols, key=lambda name: len(spec.protocols[name].extra_splits))
    else:
        expected = pick_protocol(spec, protocol, default=False)
    content = read_for(benchmark, expected, path)
    stated = agree(spec, content.declared, track=track, protocol=protocol, need_track=need_track)
    return stated, score_predictions(benchmark, stated.protocol, path, content)


def table_of(scored: Scored) -> bytes:
    """The per-sample table that is kept beside a record, as parquet bytes."""
    return table_bytes(scored.samples)
