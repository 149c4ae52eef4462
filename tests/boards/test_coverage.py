"""Measured coverage of a board's intervals: read from the content, shown, never needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from etchmark.boards.coverage import FILE, coverage_in_words, coverage_of
from etchmark.catalog import catalog

Command = Callable[..., Any]


def _write(content: Path, value: object) -> None:
    (content / "leaderboard" / "results" / FILE).write_text(json.dumps(value))


def _measured(share: float) -> dict[str, Any]:
    score = {"records": 8, "units": 9, "jackknife": [share, share - 0.02, share + 0.02]}
    return {"toy-line@1": {"holdout": {"mae": score}}}


def test_coverage_is_that_of_the_board(toy_content: Path) -> None:
    spec = catalog().benchmark("toy-line")
    assert coverage_of(catalog(), spec, "holdout", "mae") is None
    _write(toy_content, _measured(0.93))
    assert coverage_of(catalog(), spec, "holdout", "mae") == 0.93
    assert coverage_of(catalog(), spec, "holdout", "rmse") is None
    assert coverage_of(catalog(), spec, "folds", "mae") is None
    later = spec.model_copy(update={"version": 2})
    assert coverage_of(catalog(), later, "holdout", "mae") is None


@pytest.mark.parametrize("value", [[], {"toy-line@1": []}, {"toy-line@1": {"holdout": 3}}, "x",
                                   _measured(7.0)])  # fmt: skip
def test_a_file_of_another_shape_closes_no_board(toy_content: Path, value: object) -> None:
    _write(toy_content, value)
    assert coverage_of(catalog(), catalog().benchmark("toy-line"), "holdout", "mae") is None
    (toy_content / "leaderboard" / "results" / FILE).write_text("{")
    assert coverage_of(catalog(), catalog().benchmark("toy-line"), "holdout", "mae") is None


def test_low_coverage_is_called_too_narrow() -> None:
    assert coverage_in_words(None) is None
    assert coverage_in_words(0.934) == "measured coverage 93 %"
    assert coverage_in_words(0.897) == "measured coverage 90 %"
    assert coverage_in_words(0.85) == "measured coverage 85 %: these intervals are too narrow"


def test_a_printed_board_says_its_coverage(toy_content: Path, command: Command) -> None:
    path = toy_content / "benchmarks" / "toy-line.yaml"
    spec = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**spec, "unit_column": "id", "unit_name": "sample"}))
    command("evaluate", "toy_mean", "toy-line", "--protocol", "holdout").fine()
    board = ("leaderboard", "toy-line", "--protocol", "holdout")
    assert "measured coverage" not in command(*board).fine()
    _write(toy_content, _measured(0.85))
    said = command(*board).fine()
    assert "intervals: measured coverage 85 %: these intervals are too narrow\n" in said
    # It was measured on the headline split.
    assert "measured coverage" not in command(*board, "--split", "hard").fine()
