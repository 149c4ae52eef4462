"""The study of conditions holds out what it tests; its page says what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

MEASURED = Path(__file__).resolve().parents[1] / "tests" / "reliability" / "morphology.json"
EACH = 120
"""Samples of each condition."""


@pytest.fixture(scope="module")
def study(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("tests/reliability/morphology.py")


@pytest.fixture(scope="module")
def maker(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("docs/make_morphology.py")


def samples(study: ModuleType) -> tuple[Any, np.ndarray]:
    """Four conditions of two families that feature 0 tells apart, in the last the other way."""
    generator = np.random.default_rng(0)
    condition, place = np.repeat(np.arange(4), EACH), np.tile(np.arange(EACH), 4)
    family = place % 2
    values = generator.normal(size=(4 * EACH, 6))
    values[:, 0] += np.where(condition == 3, -6, 6) * (family - 0.5)
    board = study.Board(
        np.zeros((4 * EACH, 2, 2), np.uint8),
        np.array(["a", "b"])[family],
        ("a", "b"),
        condition,
        ("one", "two", "three", "turned"),
        place % 5,
    )
    return board, values


def test_the_matrix_tells_conditions_that_agree(study: ModuleType) -> None:
    board, values = samples(study)
    matrix = np.array(study.matrix(values, board))
    assert matrix.shape == (4, 4)
    assert matrix[:3, :3].min() > 0.9
    assert matrix[3, 3] > 0.9
    assert max(matrix[3, :3].max(), matrix[:3, 3].max()) < 0.1


def test_the_own_condition_is_tested_on_micrographs_not_trained_on(study: ModuleType) -> None:
    board, values = samples(study)
    # Features that only name the sample: remembered by a fit, of no use for another sample.
    named = np.concatenate([np.eye(4 * EACH), 0 * values], axis=1)
    assert np.diag(study.matrix(named, board)).max() < 0.75


def test_a_condition_is_held_out(study: ModuleType) -> None:
    board, values = samples(study)
    shares = study.by_kept(values, board, 1)
    assert min(shares[:3]) > 0.9
    assert shares[3] < 0.1
    assert study.by_kept(np.roll(values, 1, axis=1)[:, :2], board, 1)[0] > 0.9


def test_missing_parts_are_named(study: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"\d+ parts are missing, such as \('texture_stat"):
        study.gathered([], samples(study)[0])


@pytest.mark.skipif(not MEASURED.is_file(), reason="the study has not been run")
def test_the_page_is_that_of_the_measured_file(maker: ModuleType, study: ModuleType) -> None:
    assert maker.PAGE.read_text(encoding="utf-8") == maker.page(), "run docs/make_morphology.py"
    results = json.loads(MEASURED.read_text(encoding="utf-8"))
    assert tuple(results["results"]) == study.MODELS == tuple(maker.TITLES)


def test_the_page_is_written_from_every_number(
    study: ModuleType, maker: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, _ = samples(study)
    matrix = (np.full((4, 4), 0.5) + 0.25 * np.eye(4)).tolist()
    lines = [
        json.dumps({"unit": [model, part], "features": 1234, "result": result})
        for model in study.MODELS
        for part, result in (
            ("matrix", matrix),
            *((f"kept {count}", [0.3, 0.5, 0.3, 0.5]) for count in study.KEPT),
        )
    ]
    tree = json.loads(json.dumps(study.gathered(lines, board)))
    monkeypatch.setattr(maker, "measured", lambda: tree)
    rows = {name: {"value": 0.9, "ci_low": 0.8, "ci_high": 0.95} for name in study.MODELS[:1]}
    monkeypatch.setattr(maker, "accuracies", lambda protocol: rows if protocol == "iid" else {})
    page = maker.page()
    assert "| two-point statistics | 75.0 | 50.0 | – | 90.0 [80.0, 95.0] | 79 / 55 / 64 |" in page
    assert "| ViT-Tiny | 40.0 | 40.0 | 40.0 | 40.0 | 40.0 | 40.0 | 1,234 |" in page
    assert "| turned | 50.0 | 50.0 |" in page
    assert maker.draw().startswith(b"\x89PNG")
