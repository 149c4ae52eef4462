"""Declared training data that hold test samples are flagged, as far as this hub can know."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from etchmark.data.loading import load_benchmark
from etchmark.specs import ModelCard
from etchmark.submission.training_sets import trained_on_test

Command = Callable[..., Any]
SUBMIT = ("toy-line", "--protocol", "holdout", "--track", "features", "--name", "mine")


def _card(*sets: str) -> ModelCard:
    return ModelCard(training_data="declared", training_sets=list(sets))


@pytest.mark.parametrize(
    ("declared", "splits"),
    [
        ("toy:scalar-mini", ["test", "hard"]),
        ("toy:scalar-mini:test", ["test"]),
        ("toy:scalar-mini:hard", ["hard"]),
        ("toy:scalar-mini:train", []),
        ("toy:scalar-mini:no_such_split", []),
        ("toy:no-such-config", []),
        ("toy", []),
        ("another:scalar-mini", []),
        ("ImageNet-21k: all of it", []),
    ],
)
def test_sets_of_this_hub_are_compared(toy_content: Path, declared: str, splits: list[str]) -> None:
    found = trained_on_test(load_benchmark("toy-line"), _card(declared), "holdout")
    assert [(doubt.kind, doubt.split) for doubt in found] == [
        ("trained_on_test", split) for split in splits
    ]
    assert all(declared in doubt.message for doubt in found)


def test_with_folds_every_sample_is_a_test_sample(toy_content: Path) -> None:
    line = load_benchmark("toy-line")
    (doubt,) = trained_on_test(line, _card("toy:scalar-mini:train"), "folds")
    count = len(line.truth("train").ids)
    assert doubt.message.startswith(f"split 'train': {count} of its {count} samples are in toy:")


def test_a_flag_of_the_record(
    toy_content: Path,
    tmp_path: Path,
    toy_predictions: Callable[..., Path],
    command: Command,
) -> None:
    path = tmp_path / "card.yaml"
    card = {"training_data": "declared", "training_sets": ["toy:scalar-mini:test"]}
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    out = tmp_path / "export"
    submit = ("submit", toy_predictions("p.csv"), *SUBMIT, "--card", path, "--export", out)
    said = command(*submit)
    assert said.rc == 0
    assert "9 of its 9 samples are in toy:scalar-mini:test" in said.stderr
    (row,) = json.loads(command("leaderboard", "toy-line", "--json").fine())
    assert row["rank"] == 1
    assert row["flags"] == [
        "trained_on_test: split 'test': 9 of its 9 samples are in toy:scalar-mini:test, which the"
        " card declares as training data"
    ]
    assert "(trained on test samples)" in command("leaderboard", "toy-line").fine()
    # Whoever takes an export looks as well, whatever its record says.
    record = json.loads((out / "record.json").read_text(encoding="utf-8"))
    (out / "record.json").write_text(json.dumps(record | {"flags": []}), encoding="utf-8")
    assert "flag: trained_on_test: " in command("results", "check", out).fine()


def test_cards_without_sets_are_written_as_before() -> None:
    assert "training_sets" not in ModelCard().model_dump()
    assert _card("a:b").model_dump()["training_sets"] == ["a:b"]
    with pytest.raises(ValueError, match="so training_data must be declared"):
        ModelCard(training_data="none", training_sets=["a:b"])
