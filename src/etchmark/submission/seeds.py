"""``results check``: whether baselines have as many seeds as their benchmark asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from etchmark.errors import UserError
from etchmark.registry import reviewed
from etchmark.registry.layout import path_of
from etchmark.specs import BenchmarkSpec, ResultRecord


def shortage(spec: BenchmarkSpec, record: ResultRecord) -> str | None:
    """What is said of a baseline's record of fewer seeds than its benchmark asks for.

    Args:
        spec: the benchmark of the record, in its version.
        record: of a baseline or of anyone's submission, from which no number of seeds is asked.

    Returns:
        One line with the remedy; None if the record has enough seeds.
    """
    use = spec.use_of(record.name)
    if use is None or use.track != record.track or record.outcome != "ok":
        return None
    fitted = min(score.seeds for score in record.scores)
    if fitted >= use.seeds:
        return None
    return (
        f"seeds: {fitted} of the {use.seeds} that {spec.key} asks for; `etchmark results run"
        f" {spec.key} --only {record.name} --protocol {record.protocol}` fits it again"
    )


def check_reviewed(results: Path) -> Iterator[str]:
    """Check every reviewed record against its table and its benchmark; a line for each fault.

    Args:
        results: a folder of reviewed results.

    Raises:
        UserError: after all others were checked, if a record is damaged. Too few seeds are no
            damage: `results run` fits such a row again.
    """
    checked, damaged = 0, 0
    specs = {folder.name: reviewed.benchmark_of(folder) for folder in reviewed.folders(results)}
    for read in reviewed.read_all(results):
        checked += 1
        if isinstance(read, UserError):
            damaged += 1
            yield str(read)
            continue
        record, _ = read
        spec = specs.get(f"{record.benchmark}@{record.benchmark_version}")
        line = None if spec is None else shortage(spec, record)
        if line is not None:
            path = path_of(results, record)
            yield f"{path.parent.name}/{path.name}: {line}"
    yield f"checked {checked} records in {results}"
    if damaged:
        raise UserError(f"{damaged} of {checked} records cannot be read; see above")
