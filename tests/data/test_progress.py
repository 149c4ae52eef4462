"""How long the rest of a build will take, where there is no terminal for a bar."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from etchmark.data import progress
from etchmark.data.executors import Local


def said_of(
    seconds: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """What is printed while shards of 10 rows take so many seconds each."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    jobs = [SimpleNamespace(shard=SimpleNamespace(rows=10)) for _ in seconds]
    estimate = progress._Estimate("data:full", "rows", Local(), cast("Any", jobs))
    for job, taken in zip(jobs, seconds, strict=True):
        clock.now += taken
        estimate.count(cast("Any", job.shard))
    return capsys.readouterr().err.splitlines()


def test_an_estimate_that_holds_is_printed_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = said_of([2.0] * 20, capsys, monkeypatch)
    assert lines == ["data:full: rows of 10 samples took 2 s, so the remaining 190 take about 38 s"]


def test_an_estimate_that_fails_is_corrected(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first shards are quick and those after them are not."""
    lines = said_of([1.0] * 4 + [50.0] * 8 + [1.0] * 20, capsys, monkeypatch)
    assert [line.partition(" so ")[2] for line in lines] == [
        "the remaining 310 take about 31 s",
        "the remaining 260 take about 8 min",
    ]


def test_what_is_short_needs_no_estimate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said_of([0.1] * 20, capsys, monkeypatch) == []
