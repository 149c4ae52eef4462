"""Reviewed records of baselines have as many seeds as their benchmarks ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from etchmark.catalog import Catalog
from etchmark.specs import BaselineUse, ResultRecord
from etchmark.submission.seeds import shortage

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = sorted((ROOT / "leaderboard" / "results").glob("*@*"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_reviewed_records_have_enough_seeds(folder: Path) -> None:
    spec = Catalog(ROOT).benchmark(folder.name)
    records = [
        ResultRecord.model_validate_json(path.read_bytes()) for path in folder.glob("*.json")
    ]
    assert [line for record in records if (line := shortage(spec, record)) is not None] == []


def test_only_a_baselines_record_on_its_own_track_can_lack_seeds() -> None:
    folder = ROOT / "leaderboard" / "results" / "superalloy-hardness@1"
    path = folder / "training_mean--composition--leave-paper-out.json"
    record = ResultRecord.model_validate_json(path.read_bytes())
    spec = Catalog(ROOT).benchmark(folder.name)
    use = BaselineUse(track="composition", role="reference", seeds=2)
    asking = spec.model_copy(update={"baselines": {"training_mean": use}})
    line = shortage(asking, record)
    assert line is not None
    assert line.startswith("seeds: 1 of the 2 that superalloy-hardness@1 asks for; ")
    elsewhere = {"training_mean": use.model_copy(update={"track": "micrographs"})}
    assert shortage(spec.model_copy(update={"baselines": elsewhere}), record) is None
    assert shortage(asking.model_copy(update={"baselines": {}}), record) is None
