"""``results refresh``: reviewed records with intervals and flags of this version, without a run.

The per-sample table beside a record says all that an interval is made from, and shows some doubts.
Scores, counts, ids, dates and tables stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from etchmark import files
from etchmark.errors import UserError
from etchmark.registry import reviewed
from etchmark.registry.layout import records_in
from etchmark.registry.replacing import finish
from etchmark.scoring import intervals
from etchmark.scoring.doubts import DECLARED, doubts_of_table, flags_of, kind_of_flag, unlisted
from etchmark.scoring.refresh import with_intervals
from etchmark.scoring.samples import SampleScores, from_table
from etchmark.scoring.stored import read_table
from etchmark.specs import BenchmarkSpec, Curve, ResultRecord, SplitScore
from etchmark.specs.results import MAX_FLAGS


def refresh(results: Path) -> Iterator[str]:
    """Bring intervals and flags of all records up to this version; a line for each that changes.

    A process that is killed meanwhile leaves each record as it was or refreshed.

    Args:
        results: a folder of reviewed results.

    Raises:
        UserError: after all others were refreshed, if a record cannot be; it keeps its intervals.
    """
    kept = []
    with reviewed.alone(results):
        for folder in reviewed.folders(results):
            finish(folder)
            index, spec = reviewed.read_index(folder), reviewed.benchmark_of(folder)
            for path in records_in(folder):
                label = f"{folder.name}/{path.name}"
                try:
                    refreshed = _refreshed(path, reviewed.read_reviewed(path, index, spec), spec)
                except UserError as error:
                    kept.append(label)
                    yield f"{label}: keeps its intervals: {error}"
                    continue
                if refreshed is not None:
                    files.write_text(path, text_of(refreshed))
                    yield f"{label}: refreshed"
    if kept:
        raise UserError(f"{len(kept)} records keep their intervals: {', '.join(kept[:5])}")


def text_of(record: ResultRecord) -> str:
    """A record as a file; keys that its own file lacked stay away."""
    return record.model_dump_json(by_alias=True, indent=2, exclude_unset=True) + "\n"


def _refreshed(
    path: Path, stored: tuple[ResultRecord, bytes | None], spec: BenchmarkSpec | None
) -> ResultRecord | None:
    """The record with intervals and flags of today; None if it has them, or has no scores."""
    record, content = stored
    if record.outcome != "ok":
        return None
    is_current = record.interval_method == intervals.METHOD
    if is_current and (content is None or spec is None):
        return None
    if content is None:
        raise UserError(f"{path}: has no per-sample table")
    if spec is None:
        raise UserError(f"{path}: its benchmark {path.parent.name} is not in the content")
    samples = from_table(read_table(content, rows=sum(s.n * s.seeds for s in record.scores)))
    flags = flags_shown(spec, record, samples)
    if is_current:
        return None if flags == record.flags else record.model_copy(update={"flags": flags})
    scores = with_intervals(record.scores, samples)
    changed: dict[str, object] = {
        "schema_": 2,
        "flags": flags,
        "interval_method": intervals.METHOD,
        "scores": scores,
    }
    if record.curves:
        changed["curves"] = [with_whole(curve, scores[0]) for curve in record.curves]
    return record.model_copy(update=changed)


def flags_shown(
    spec: BenchmarkSpec, record: ResultRecord, samples: list[SampleScores]
) -> list[str] | None:
    """The flags of a record, with those that its scores and its table show today.

    A table shows only some doubts: if a record has no flags because it is older than they are, and
    its table shows none, nobody has looked for all of them yet, and the flags stay unknown.
    """
    doubts = doubts_of_table(spec, record.scores, samples)
    # The scores and the benchmark may say otherwise by now.
    kept = [flag for flag in record.flags or () if kind_of_flag(flag) not in DECLARED]
    missing = [doubt for doubt in doubts if unlisted(kept, [doubt])]
    flags = [*kept, *flags_of(missing)][:MAX_FLAGS]
    return flags if flags or record.flags is not None else None


def with_whole(curve: Curve, headline: SplitScore) -> Curve:
    """The curve with the score of the submission itself, the point of all training samples."""
    score = headline.metrics.get(curve.metric)
    if curve.param is not None or score is None:
        return curve
    points = [
        point.model_copy(update={"score": score}) if point.value == 1 and point.score else point
        for point in curve.points
    ]
    return curve.model_copy(update={"points": points})
