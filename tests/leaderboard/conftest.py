"""Fixtures of the pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pytest

pytest.importorskip("streamlit")

from pages import submit

from etchmark.api import submitting
from etchmark.data.loading import load_benchmark
from etchmark.registry.store import LOCAL, Store
from etchmark.registry.tables import Entry
from etchmark.specs import ModelCard
from etchmark.submission import submit as submissions
from etchmark.submission.statements import Statement


@pytest.fixture
def board(toy_content: Path, tmp_path: Path) -> dict[str, Entry]:
    """Two tracks, two protocols, one superseded and one failed."""
    made = {"good": submit(tmp_path, "good", 1.0)}
    made["old"] = submit(tmp_path, "worse", 9.0)
    made["worse"] = submit(tmp_path, "worse", 5.0)
    made["kinds"] = submit(tmp_path, "kinds only", 3.0, track="kinds")
    made["folds"] = submit(tmp_path, "in folds", 2.0, protocol="folds")
    record = made["good"].record
    failed = record.model_copy(
        update={
            "submission": "f" * 64,
            "name": "broken",
            "outcome": "failed",
            "reason": "it <b>fell</b>",
            "scores": [],
        }
    )
    Store().add(Entry(failed, None, LOCAL))
    return made


@pytest.fixture
def submit_raised(toy_predictions: Callable[..., Path]) -> Callable[[str, float], str]:
    """Submits predictions of ``toy-line`` that are off by one and so much more; its id."""

    def submit(name: str, more: float) -> str:
        def raised(table: pa.Table) -> pa.Table:
            moved = table["prediction"].to_numpy() + more
            return table.set_column(1, "prediction", pa.array(moved))

        prepared = submissions.prepare_file(
            load_benchmark("toy-line"),
            toy_predictions(f"{name.replace('/', '-')}.csv", change=raised),
            name=name,
            card=ModelCard(),
            track="features",
            protocol="holdout",
        )
        submissions.commit(Store(), prepared)
        return prepared.record.submission

    return submit


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Score in this process: starting another takes most of a second."""

    def inline(
        path: Path, benchmark: str, statement: Statement, *, scorer: object
    ) -> submissions.Prepared:
        stated = {field.name: getattr(statement, field.name) for field in fields(statement)}
        return submissions.prepare_file(load_benchmark(benchmark), path, **stated)

    monkeypatch.setattr(submitting, "preview_file", inline)
