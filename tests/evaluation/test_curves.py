"""Curves: the same model with less training data, or with other values of a parameter."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from etchmark.boards import curves as curve_frame
from etchmark.catalog import catalog
from etchmark.data.loading import load_benchmark
from etchmark.evaluation.fold import drawn
from etchmark.registry.store import Store, read_record
from etchmark.registry.tables import Entry
from etchmark.specs import BaselineCard, Curve, CurvePoint, CurveSpec
from etchmark.targets.mask import MaskKind
from etchmark.targets.scalar import ScalarKind

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
    "degree": {"title": "degree", "axis": "degree", "param": "degree", "values": [0, 1, 7, 20]},
}
EVALUATE = ("evaluate", "line", "toy-line")


@pytest.fixture
def line(toy_content: Path, name_baseline: Callable[..., None]) -> Path:
    """A baseline ``line`` that declares both kinds of curve."""
    folder = toy_content / "baselines" / "line"
    shutil.copytree(toy_content / "baselines" / "toy_mean", folder)
    card = yaml.safe_load((folder / "card.yaml").read_text())
    (folder / "card.yaml").write_text(yaml.safe_dump({**card, "name": "line", "curves": CURVES}))
    (folder / "model.py").write_text(LINE)
    name_baseline("line")
    return folder


def _curves(command: Any, *options: str) -> dict[str, Curve]:
    ran = command(*EVALUATE, "--curves", "--json", *options)
    assert ran.rc == 0, ran.stderr
    record = json.loads(ran.stdout)
    return {one["name"]: Curve.model_validate(one) for one in record["curves"]}


def test_a_share_is_nested_and_the_same_for_everybody() -> None:
    masks = [drawn(100, share, 0) for share in (0.01, 0.03, 0.3, 1.0)]
    assert [mask.sum() for mask in masks] == [1, 3, 30, 100]
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
    constant, straight, seventh, twentieth = degree.points
    assert straight.score
    assert constant.score
    assert constant.score.value > 2 * straight.score.value
    assert seventh.score is not None
    assert twentieth.reason
    assert "9 samples are too few" in twentieth.reason


def test_a_kind_may_have_points_from_few_samples(
    line: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single micrograph holds very many pixels."""
    assert MaskKind.least_samples == 1
    monkeypatch.setattr(ScalarKind, "least_samples", 2)
    few = _curves(command)["size"].points[0]
    assert (few.samples, few.reason, len(few.draws)) == (2, None, 2)
    monkeypatch.setattr(ScalarKind, "least_samples", 3)
    assert _curves(command)["size"].points[0].reason == "fewer than 3 training samples"


def test_folds_train_on_a_share_of_what_is_not_held_out(line: Path, command: Any) -> None:
    found = _curves(command, "--protocol", "folds")
    assert [point.samples for point in found["size"].points] == [2, 8, 9]


SEEN = """
import json
import numpy as np
class Line:
    def __init__(self, degree):
        self.degree = degree
    def fit(self, train, validation):
        self.train = train
        self.validation = validation
        self.mean = float(train.target.mean())
    def predict(self, inputs):
        with open({log!r}, "a") as handle:
            handle.write(json.dumps([
                self.degree, sorted(self.train.ids.tolist()),
                None if self.train.groups is None else sorted(set(self.train.groups.tolist())),
                self.validation is not None, inputs[{column!r}].tolist(),
            ]) + "\\n")
        return np.full(len(inputs[{column!r}]), self.mean)
def build(seed, device, degree=1):
    return Line(degree)
"""


def _note(line: Path, log: Path, column: str) -> None:
    """Make the model note what it sees, run by run."""
    (line / "model.py").write_text(SEEN.format(log=str(log), column=column))


def _noted(log: Path) -> list[list[Any]]:
    """Degree, ids and groups that were fitted, whether validation was given, and inputs."""
    return [json.loads(text) for text in log.read_text().splitlines()]


def test_values_of_a_parameter_are_not_scored_on_test_samples(
    line: Path, command: Any, tmp_path: Path
) -> None:
    """Without validation samples they are scored on inner folds, whole groups kept together."""
    log = tmp_path / "seen"
    _note(line, log, "a")
    curve = _curves(command)["degree"]
    assert (curve.split, curve.scored_on) == ("train", "inner folds")
    benchmark = load_benchmark("toy-line")
    train, test = benchmark.truth("train", "holdout"), benchmark.truth("test", "holdout")
    known = benchmark.inputs("train", "features")["a"].tolist()
    assert train.groups is not None
    runs = [run for run in _noted(log) if run[0] == 0]
    assert len(runs) == 4, "there are four groups"
    for _, ids, groups, validated, inputs in runs:
        assert not set(ids) & set(test.ids)
        assert not validated
        rows = [known.index(value) for value in inputs]
        assert not set(train.ids[rows]) & set(ids)
        assert not set(train.groups[rows]) & set(groups)
    predicted = sorted(value for run in runs for value in run[-1])
    assert predicted == sorted(known), "every training sample once"
    assert [point.samples for point in curve.points] == [9] * 4


def test_inner_folds_of_folds_leave_two_of_them_out(
    line: Path, command: Any, tmp_path: Path
) -> None:
    log = tmp_path / "seen"
    _note(line, log, "a")
    curve = _curves(command, "--protocol", "folds")["degree"]
    assert (curve.split, curve.scored_on) == ("train", "inner folds")
    truth = load_benchmark("toy-line").truth("train", "folds")
    fold_of = dict(zip(truth.ids, truth.folds, strict=True))
    known = load_benchmark("toy-line").inputs("train", "features")["a"].tolist()
    runs = [run for run in _noted(log) if run[0] == 0]
    assert len(runs) == 4
    for _, ids, _, _, inputs in runs:
        held_out = {fold_of[truth.ids[known.index(value)]] for value in inputs}
        assert len(held_out) == 1
        left_out = set(fold_of.values()) - {fold_of[name] for name in ids}
        assert len(left_out) == 2
        assert held_out < left_out
    assert [point.samples for point in curve.points] == [6] * 4


def test_values_are_scored_on_validation_samples_where_there_are_some(
    toy_volumes: Path, line: Path, command: Any, tmp_path: Path
) -> None:
    card = yaml.safe_load((line / "card.yaml").read_text())
    degree = {"title": "degree", "axis": "degree", "param": "degree", "values": [0, 2]}
    card |= {"curves": {"degree": degree}}
    (line / "card.yaml").write_text(yaml.safe_dump(card))
    log = tmp_path / "seen"
    _note(line, log, "contrast")
    track = ("--track", "volumes")
    ran = command("evaluate", "line", "toy-volumes", *track, "--curves", "--json")
    assert ran.rc == 0, ran.stderr
    (curve,) = map(Curve.model_validate, json.loads(ran.stdout)["curves"])
    assert (curve.split, curve.scored_on) == ("validation", "validation")
    assert [point.samples for point in curve.points] == [32, 32]
    runs = [run for run in _noted(log) if run[0] != 1]
    assert len(runs) == 2, "one split alone is predicted"
    for _, ids, _, validated, inputs in runs:
        assert not validated, "what is scored is not shown to the fit"
        assert len(inputs) == 8
        assert all(name.startswith("train-") for name in ids)


def test_stored_curves_over_a_parameter_are_not_shown(line: Path, command: Any) -> None:
    ran = command(*EVALUATE, "--curves", "--json")
    assert ran.rc == 0, (ran.stdout, ran.stderr)
    store, spec = Store(), catalog().benchmark("toy-line")
    (record,) = store.with_curves("toy-line", 1, "holdout")
    entry = store.get(record.submission)
    assert entry is not None
    shown = curve_frame.curves(spec, store, protocol="holdout")
    assert set(shown["curve"]) == {"size", "degree"}
    assert curve_frame.withheld(spec, store, protocol="holdout").empty
    old = [curve.model_copy(update={"scored_on": None}) for curve in entry.record.curves]
    store.add(Entry(entry.record.model_copy(update={"curves": old}), entry.samples, entry.origin))
    assert set(curve_frame.curves(spec, store, protocol="holdout")["curve"]) == {"size"}
    (row,) = curve_frame.withheld(spec, store, protocol="holdout").to_dict("records")
    assert (row["param"], row["model"]) == ("degree", "line")
    assert ran.rc == 0


def test_records_without_the_key_are_written_as_they_were() -> None:
    results = Path(__file__).parents[2] / "leaderboard" / "results"
    count = 0
    for path in sorted(results.glob("*/*.json")):
        text = path.read_text(encoding="utf-8")
        if '"param": "' not in text:
            continue
        record = read_record(path)
        assert "scored_on" in text or all(
            curve.on_test_scores for curve in record.curves if curve.param
        )
        assert record.model_dump_json(by_alias=True, indent=2) + "\n" == text
        count += 1
    assert count


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
    (path,) = (toy_content / "leaderboard" / "results" / "toy-line@1").glob("*.json")
    assert {curve.name for curve in read_record(path).curves} == {"size", "degree"}


def test_what_a_stranger_says_of_curves_is_not_taken_over(
    line: Path, toy_content: Path, command: Any, tmp_path: Path
) -> None:
    """Predictions can be scored again by whoever reviews them; curves cannot."""
    out = tmp_path / "out"
    ran = command(*EVALUATE, "--curves", "--export", out)
    assert ran.rc == 0, (ran.stdout, ran.stderr)
    shutil.move(line, tmp_path / "line")
    benchmark = toy_content / "benchmarks" / "toy-line.yaml"
    declared = yaml.safe_load(benchmark.read_text())
    del declared["baselines"]["line"]
    benchmark.write_text(yaml.safe_dump(declared))
    command("results", "add", out).fine()
    (path,) = (toy_content / "leaderboard" / "results" / "toy-line@1").glob("*.json")
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
        ({"values": [1, 2]}, "a curve with values names their param"),
        ({"shares": [0.5], "param": "k"}, "a curve with values names their param"),
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
    assert "names the unknown curve 'depth'" in said
    card["variants"]["a"]["curves"] = ["size"]
    (line / "card.yaml").write_text(yaml.safe_dump(card))
    assert list(catalog().model("line/a").curves) == ["size"]
    assert BaselineCard.model_validate(card).variants["a"].curves == ["size"]


def test_a_point_has_a_score_or_a_reason() -> None:
    with pytest.raises(ValueError, match="either a score or a reason"):
        CurvePoint(value=1, samples=3)
