"""Curves: the same model with less training data, or with other values of a parameter."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from etchmark.catalog import catalog
from etchmark.evaluation.worker import drawn
from etchmark.registry.store import read_record
from etchmark.specs import BaselineCard, Curve, CurvePoint, CurveSpec

LINE = """
import numpy as np
class Line:
    def __init__(self, degree):
        self.degree = degree
    def fit(self, train, validation):
        if len(train) < self.degree + 1:
            raise ValueError(f"{len(train)} samples are too few")
        self.fitted = np.polyfit(train.inputs["a"], train.target, self.degree)
    def predict(self, inputs):
        return np.polyval(self.fitted, inputs["a"])
def build(seed, device, degree=1):
    return Line(degree)
"""
CURVES = {
    "size": {"title": "less data", "axis": "samples", "shares": [0.2, 0.85, 1.0], "draws": 2},
    "degree": {"title": "degree", "axis": "degree", "param": "degree", "values": [0, 1, 11, 20]},
}
EVALUATE = ("evaluate", "line", "toy-line")


@pytest.fixture
def line(toy_content: Path) -> Path:
    """A baseline ``line`` that declares both kinds of curve."""
    folder = toy_content / "baselines" / "line"
    shutil.copytree(toy_content / "baselines" / "toy_mean", folder)
    card = yaml.safe_load((folder / "card.yaml").read_text())
    (folder / "card.yaml").write_text(yaml.safe_dump({**card, "name": "line", "curves": CURVES}))
    (folder / "model.py").write_text(LINE)
    return folder


def _curves(command: Any, *options: str) -> dict[str, Curve]:
    ran = command(*EVALUATE, "--curves", "--json", *options)
    assert ran.rc == 0, ran.stderr
    record = json.loads(ran.stdout)
    return {one["name"]: Curve.model_validate(one) for one in record["curves"]}


def test_a_share_is_nested_and_the_same_for_everybody() -> None:
    masks = [drawn(100, share, 0) for share in (0.01, 0.03, 0.3, 1.0)]
    assert [mask.sum() for mask in masks] == [2, 3, 30, 100]
    for small, large in itertools.pairwise(masks):
        assert (large[small]).all()
    assert (drawn(100, 0.3, 0) == masks[2]).all()
    assert (drawn(100, 0.3, 1) != masks[2]).any()


def test_points_are_runs_of_the_same_model(line: Path, command: Any) -> None:
    found = _curves(command)
    size, degree = found["size"], found["degree"]
    assert (size.split, size.metric, size.param) == ("test", "mae", None)
    few, most, whole = size.points
    assert (few.samples, few.reason) == (2, "fewer than 10 training samples")
    assert (most.samples, len(most.draws)) == (10, 2)
    assert most.score
    assert most.score.value == pytest.approx(np.mean(most.draws))
    assert most.draws[0] != most.draws[1], "two draws are two sets of samples"
    record = json.loads(command(*EVALUATE, "--json").fine())
    assert record["curves"] == [], "only where they are asked for"
    headline = record["scores"][0]["metrics"]["mae"]
    assert whole.score
    assert whole.score.value == headline["value"]
    assert (whole.samples, whole.score.ci_low) == (12, headline["ci_low"])
    constant, straight, eleventh, twentieth = degree.points
    assert straight.score == whole.score, "degree 1 is what it runs with"
    assert constant.score
    assert constant.score.value > 2 * straight.score.value
    assert eleventh.score is not None
    assert twentieth.reason
    assert "12 samples are too few" in twentieth.reason


def test_folds_train_on_a_share_of_what_is_not_held_out(line: Path, command: Any) -> None:
    found = _curves(command, "--protocol", "folds")
    assert [point.samples for point in found["size"].points] == [2, 8, 9]
    assert found["degree"].points[1].score == found["size"].points[-1].score


def test_a_share_gets_no_other_samples_than_drawn(
    line: Path, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "seen.jsonl"
    (line / "model.py").write_text(
        LINE.replace(
            "    def fit(self, train, validation):\n",
            "    def fit(self, train, validation):\n"
            f'        import json; open({str(log)!r}, "a").write('
            'json.dumps(sorted(train.ids.tolist())) + "\\n")\n',
        )
    )
    card = yaml.safe_load((line / "card.yaml").read_text())
    card["curves"] = {"size": {**CURVES["size"], "shares": [0.85]}}
    (line / "card.yaml").write_text(yaml.safe_dump(card))
    _curves(command)
    whole, *draws = [json.loads(text) for text in log.read_text().splitlines()]
    everything = np.array(whole)
    assert [everything[drawn(12, 0.85, draw)].tolist() for draw in (0, 1)] == draws


def test_the_campaign_measures_them(line: Path, toy_content: Path, command: Any) -> None:
    said = command("results", "run", "toy-line", "--only", "line", "--protocol", "holdout").fine()
    assert "line holdout: curve size at 0.85: mae " in said
    (path,) = (toy_content / "leaderboard" / "results" / "toy-line").glob("*.json")
    assert {curve.name for curve in read_record(path).curves} == {"size", "degree"}


def test_what_a_stranger_says_of_curves_is_not_taken_over(
    line: Path, toy_content: Path, command: Any, tmp_path: Path
) -> None:
    """Predictions can be scored again by whoever reviews them; curves cannot."""
    out = tmp_path / "out"
    command(*EVALUATE, "--curves", "--export", out)
    shutil.move(line, tmp_path / "line")
    command("results", "add", out).fine()
    (path,) = (toy_content / "leaderboard" / "results" / "toy-line").glob("*.json")
    record = read_record(path)
    assert (record.status, record.curves) == ("scored", [])


def test_a_model_without_curves_says_so(toy_content: Path, command: Any) -> None:
    said = command("evaluate", "toy_mean", "toy-line", "--curves").refusal()
    assert said == "toy_mean declares no curves on its card; drop --curves"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({}, "either shares or values"),
        ({"shares": [0.5], "values": [1], "param": "k"}, "either shares or values"),
        ({"values": [1, 2]}, "values of a curve are those of its param"),
        ({"shares": [0.5], "param": "k"}, "values of a curve are those of its param"),
        ({"shares": [1.0, 0.5]}, "rising order"),
        ({"shares": [0.5, 0.5]}, "rising order"),
        ({"shares": [1.5]}, "less than or equal to 1"),
        ({"shares": [0.0]}, "greater than 0"),
    ],
)
def test_a_wrong_declaration_is_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        CurveSpec.model_validate({"title": "t", "axis": "a", **wrong})


def test_a_variant_names_curves_that_exist(line: Path, command: Any) -> None:
    card = yaml.safe_load((line / "card.yaml").read_text())
    card["variants"] = {"a": {"title": "A", "curves": ["size", "depth"]}}
    (line / "card.yaml").write_text(yaml.safe_dump(card))
    said = command("evaluate", "line/a", "toy-line").refusal()
    assert "names a curve 'depth' that is not there" in said
    card["variants"]["a"]["curves"] = ["size"]
    (line / "card.yaml").write_text(yaml.safe_dump(card))
    assert list(catalog().model("line/a").curves) == ["size"]
    assert BaselineCard.model_validate(card).variants["a"].curves == ["size"]


def test_a_point_has_a_score_or_a_reason() -> None:
    with pytest.raises(ValueError, match="either a score or a reason"):
        CurvePoint(value=1, samples=3)
