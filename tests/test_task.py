"""What identifies an evaluation names only what its benchmark declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from etchmark.catalog import Catalog
from etchmark.specs.task import Task


def test_a_task_reads_what_its_benchmark_declares(toy_content: Path) -> None:
    spec = Catalog(toy_content).benchmark("toy-line")
    task = Task(spec, "features", "holdout")
    assert task.inputs == ["a", "kind"]
    assert (task.reads, task.divides) == (spec.tracks["features"], spec.protocols["holdout"])
    assert task.headline == "test"
    assert str(task) == "toy-line@1, track features, protocol holdout"


@pytest.mark.parametrize(
    ("track", "protocol", "expected"),
    [("nothing", "holdout", "no track 'nothing'"), ("features", "x", "no protocol 'x'")],
)
def test_a_task_that_is_not_declared_is_refused(
    toy_content: Path, track: str, protocol: str, expected: str
) -> None:
    spec = Catalog(toy_content).benchmark("toy-line")
    with pytest.raises(ValueError, match=f"toy-line@1 has {expected}"):
        Task(spec, track, protocol)
