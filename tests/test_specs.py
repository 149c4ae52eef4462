"""Typed records refuse what they do not know."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from etchmark.specs import (
    BaselineCard,
    BenchmarkSpec,
    DataFile,
    DatasetSpec,
    ModelCard,
    Protocol,
    ReferenceLine,
    ResultRecord,
)

SHA = "a" * 64
TRACK = {"title": "t", "config": "c", "inputs": ["a"], "fingerprint": SHA}
HOLDOUT = {
    "title": "t",
    "kind": "holdout",
    "description": "d",
    "split": "test",
    "train_split": "train",
}
FOLDS = {"title": "t", "kind": "folds", "description": "d", "split": "s", "fold_column": "fold"}
TARGET = {"column": "y", "quantity": "q", "symbol": "y", "unit": "mm"}
BOUNDS = {"lower": "low", "upper": "high", "title": "t"}
DISCRETISATION = {"metric": "mae", "value": 1.0, "description": "d"}
SPREAD = {"median": -0.1, "percentile_5": -1.0, "percentile_95": 0.5, "samples": 9}
BACKWARDS = {**SPREAD, "median": -2.0, "refinements": [1, 3, 5]}
REPEATED = {**SPREAD, "refinements": [1, 3, 3]}
BENCHMARK: dict[str, Any] = {
    "schema": 1,
    "id": "b",
    "version": 1,
    "title": "t",
    "summary": "s",
    "description": "d",
    "dataset": "d",
    "tracks": {"features": TRACK},
    "target": TARGET,
    "target_fingerprint": SHA,
    "protocols": {"first": HOLDOUT, "second": FOLDS},
    "metrics": ["mae", "rmse"],
    "primary_metric": "mae",
    "licence": "CC0-1.0",
}
RECORD: dict[str, Any] = {
    "submission": SHA,
    "benchmark": "b",
    "benchmark_version": 1,
    "track": "features",
    "protocol": "first",
    "name": "model",
    "card": {},
    "status": "scored",
    "outcome": "ok",
    "fingerprints": {"data": SHA, "target": SHA, "predictions": [SHA]},
    "scores": [
        {"split": "test", "n": 3, "units": 3, "seeds": 1, "metrics": {"mae": {"value": 1.0}}}
    ],
    "created": datetime(2025, 1, 1, tzinfo=UTC),
}


def test_a_benchmark_and_what_it_derives() -> None:
    spec = BenchmarkSpec.model_validate(BENCHMARK)
    assert spec.key == "b@1"
    assert spec.headline == "first"
    assert BenchmarkSpec.model_validate(spec.model_dump(by_alias=True)) == spec
    with pytest.raises(ValidationError):
        spec.version = 2


@pytest.mark.parametrize(
    ("one", "several"),
    [("sample", "samples"), ("trajectory", "trajectories"), ("alloy", "alloys")],
)
def test_several_units_are_named(one: str, several: str) -> None:
    assert BenchmarkSpec.model_validate({**BENCHMARK, "unit_name": one}).unit_names == several


FRAMES = {
    "target": {**TARGET, "shape": [None, 8, 8]},
    "frames": {"low": 0.0, "high": 1.0},
    "context_column": "c",
    "horizon_column": "h",
}


def test_a_benchmark_of_frames() -> None:
    spec = BenchmarkSpec.model_validate({**BENCHMARK, **FRAMES})
    assert BenchmarkSpec.model_validate(spec.model_dump(by_alias=True)) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": None}, "target.frames.frames\n.*required"),
        ({"context_column": None}, "target.frames.context_column\n.*required"),
        ({"horizon_column": None}, "target.frames.horizon_column\n.*required"),
        ({"target": {**TARGET, "shape": [4, 8, 8]}}, "target.array.frames"),
        ({"target": {**TARGET, "shape": [None, None, 8]}}, "only the first axis"),
        ({"target": {**TARGET, "shape": [8], "first": 2}}, "target.array.first"),
        ({"target": {**TARGET, "shape": [None, 8]}}, "at least 3 items"),
        ({"frames": {"low": 1.0, "high": 1.0}}, "less than high"),
    ],
)
def test_benchmarks_of_frames_that_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        BenchmarkSpec.model_validate({**BENCHMARK, **FRAMES, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "Extra inputs"),
        ({"schema": 2}, "Input should be 1"),
        ({"id": "B C"}, "pattern"),
        ({"id": "../b"}, "pattern"),
        ({"id": "b\n"}, "pattern"),
        ({"version": 0}, "greater than or equal to 1"),
        ({"tracks": {}}, "at least 1"),
        ({"protocols": {}}, "at least 1"),
        ({"primary_metric": "r2"}, "not among metrics"),
        ({"metrics": ["mae", "mae"]}, "named twice"),
        ({"metrics": ["mae", "bound_violations"]}, "needs target.bounds"),
        ({"bounds": BOUNDS, "target": {**TARGET, "shape": [2]}}, "target.array.bounds"),
        ({"target": {**TARGET, "kind": "smell"}}, "does not match any of the expected tags"),
        ({"target": {**TARGET, "shape": [40, 40]}}, "at most 1,024 elements, not 1,600"),
        ({"target": {**TARGET, "shape": [2], "components": ["a"]}}, "1 components are named"),
        ({"target": {**TARGET, "shape": [2], "components": ["a", "a"]}}, "named twice"),
        ({"bounds": {"lower": "a", "title": "t"}}, "upper"),
        ({"subsets": {"s": {"title": "t", "column": "c"}}}, "either above"),
        ({"subsets": {"s": {"title": "t", "column": "c", "above": 1, "equals": "x"}}}, "either"),
        ({"subsets": {"s": {"title": "t", "column": "c", "above": 2, "below": 1}}}, "less than"),
        ({"subsets": {"S!": {"title": "t", "column": "c", "above": 2}}}, "pattern"),
        ({"discretisation_error": {**DISCRETISATION, "metric": "mape"}}, "not among metrics"),
        ({"label_uncertainty": {**DISCRETISATION, "metric": "mape"}}, "not among metrics"),
        ({"discretisation_error": {**DISCRETISATION, "value": 0}}, "greater than 0"),
        ({"discretisation_error": {**DISCRETISATION, "unknown": "r"}}, "unknown stands alone"),
        ({"discretisation_error": {"metric": "mae", "value": 1}}, "description are required"),
        ({"discretisation_error": {}}, "or unknown and a reason"),
        ({"discretisation_error": {**DISCRETISATION, "distribution": BACKWARDS}}, "rising order"),
        (
            {"discretisation_error": {**DISCRETISATION, "distribution": REPEATED}},
            "refinements",
        ),
        (
            {"discretisation_error": DISCRETISATION, "label_uncertainty": DISCRETISATION},
            "label_uncertainty is the former name of discretisation_error",
        ),
        ({"smallest_difference": {"reason": "r"}}, "has either value or share"),
        ({"smallest_difference": {"reason": "r", "value": 1, "share": 0.1}}, "either value or"),
        ({"smallest_difference": {"reason": "r", "value": 0}}, "greater than 0"),
        ({"smallest_difference": {"reason": "r", "share": 1}}, "less than 1"),
        ({"smallest_difference": {"value": 1}}, "reason\n.*required"),
        ({"gains_over": "mean"}, "gains_over names 'mean', which is not a baseline of role ref"),
        ({"gains_over": "mean", "baselines": {"mean": {"track": "features"}}}, "role reference"),
        ({"gains_over": "two words"}, "gains_over\n.*pattern"),
        ({"target_fingerprint": "A" * 64}, "pattern"),
        ({"tracks": {"f": {**TRACK, "inputs": ["a", "a"]}}}, "names an input twice"),
        ({"tracks": {"f": {**TRACK, "inputs": ["a", "y"]}}}, "hands out the target"),
        ({"tracks": {"f": {**TRACK, "inputs": ["id"]}}}, "not an input"),
        ({"tracks": {"f": {**TRACK, "inputs": []}}}, "at least 1"),
        (
            {"unit_column": "fold"},
            "'fold', which is protocols.second.fold_column: a fold is no ind",
        ),
        ({"title": "two\nlines"}, "one non-empty line"),
        ({"title": "a\x9b31mb"}, "one non-empty line"),
        ({"title": "a\x85b"}, "one non-empty line"),
        ({"title": " blank"}, "one non-empty line"),
        ({"title": ""}, "one non-empty line"),
        ({"title": "x" * 201}, "at most 200"),
    ],
)
def test_benchmarks_that_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        BenchmarkSpec.model_validate(BENCHMARK | change)


@pytest.mark.parametrize(
    ("declared", "metric", "expected"),
    [
        (None, "mae", 0.02),
        ({"value": 0.3, "reason": "r"}, "mae", 0.3),
        ({"share": 0.1, "reason": "r"}, "mae", 0.2),
        # What is declared is of the primary metric; others have their own units.
        ({"value": 0.3, "reason": "r"}, "rmse", 0.02),
    ],
)
def test_the_smallest_difference_that_matters(
    declared: dict[str, Any] | None, metric: str, expected: float
) -> None:
    spec = BenchmarkSpec.model_validate({**BENCHMARK, "smallest_difference": declared})
    assert spec.smallest_difference_of(metric, 2.0) == pytest.approx(expected)
    assert spec.smallest_difference_of(metric, -2.0) == pytest.approx(expected)


def test_the_former_key_of_the_discretisation_error_is_read() -> None:
    declared = {**DISCRETISATION, "distribution": {**SPREAD, "refinements": [1, 3, 5]}}
    spec = BenchmarkSpec.model_validate({**BENCHMARK, "discretisation_error": declared})
    former = BenchmarkSpec.model_validate({**BENCHMARK, "label_uncertainty": declared})
    assert former == spec
    assert spec.label_uncertainty is spec.discretisation_error
    assert spec.discretisation_error is not None
    assert spec.discretisation_error.size_on("mae", "any") == 1.0
    shown = spec.model_dump(mode="json")
    assert shown["discretisation_error"]["distribution"]["median"] == -0.1
    assert "label_uncertainty" not in shown


def test_gains_are_over_a_baseline_of_role_reference() -> None:
    baselines = {"mean": {"track": "features", "role": "reference"}}
    spec = BenchmarkSpec.model_validate({**BENCHMARK, "baselines": baselines, "gains_over": "mean"})
    assert spec.gains_over == "mean"


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ({**FOLDS, "fold_column": None}, "needs fold_column"),
        ({**FOLDS, "train_split": "train"}, "one split only"),
        ({**FOLDS, "extra_splits": ["more"]}, "one split only"),
        ({**HOLDOUT, "train_split": None}, "needs train_split"),
        ({**HOLDOUT, "fold_column": "fold"}, "belong to kind folds"),
        ({**HOLDOUT, "fold_statistics": True}, "belong to kind folds"),
        ({**HOLDOUT, "kind": "random"}, "folds"),
        ({**HOLDOUT, "train_split": HOLDOUT["split"]}, "name a split twice"),
        ({**HOLDOUT, "validation_split": HOLDOUT["train_split"]}, "name a split twice"),
        ({**HOLDOUT, "extra_splits": [HOLDOUT["split"]]}, "name a split twice"),
        ({**HOLDOUT, "extra_splits": ["more", "more"]}, "name a split twice"),
    ],
)
def test_protocols_that_are_refused(protocol: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Protocol.model_validate(protocol)


def test_a_reference_line_is_a_model_or_a_value_with_its_source() -> None:
    ReferenceLine.model_validate({"label": "mean", "model": "training_mean"})
    source = {"title": "Paper", "doi": "10.1000/x"}
    ReferenceLine.model_validate({"label": "x", "value": 1, "metric": "mae", "source": source})
    for wrong in ({}, {"model": "m", "value": 1.0}, {"value": 1.0, "metric": "mae"}):
        with pytest.raises(ValidationError):
            ReferenceLine.model_validate({"label": "x", **wrong})


def test_a_dataset_names_its_default_config() -> None:
    config = {"title": "t", "description": "d", "splits": ["s"], "rows": 3}
    spec = {
        "schema": 1,
        "name": "d",
        "version": 1,
        "title": "t",
        "summary": "s",
        "licence": "CC0-1.0",
        "configs": {"c": config},
        "default_config": "c",
        "label_columns": ["y"],
    }
    DatasetSpec.model_validate(spec)
    with pytest.raises(ValidationError, match="not among configs"):
        DatasetSpec.model_validate(spec | {"default_config": "other"})
    for name in ("stiff-spheres", "Test", "a b"):
        # A split that Hugging Face datasets could not be asked for.
        config = {**spec["configs"][spec["default_config"]], "splits": [name]}
        with pytest.raises(ValidationError, match="splits"):
            DatasetSpec.model_validate(spec | {"configs": {spec["default_config"]: config}})


@pytest.mark.parametrize(
    "path",
    ["../secret", "/etc/passwd", "a/../../b", "a//b", ".hidden", "a\\b", "c:x", "", "a/b\n", "a/."],
)
def test_a_manifest_names_plain_paths_only(path: str) -> None:
    with pytest.raises(ValidationError, match="plain relative path"):
        DataFile(path=path, split="s", rows=1, bytes=1, sha256=SHA)


@pytest.mark.parametrize(
    "card",
    [
        {"paper": "see my homepage"},
        {"code": "javascript:alert(1)"},
        {"code": "https://example.org/<script>"},
        {"tags": ["x"] * 21},
        {"tags": ["x" * 41]},
        {"authors": ["a"] * 101},
        {"authors": "Me"},
        {"title": "\x1b[2J"},
        {"training_data": "secret"},
        {"description": "x" * 10_001},
        {"status": "verified"},
    ],
)
def test_model_cards_that_are_refused(card: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ModelCard.model_validate(card)


def test_a_model_card_takes_a_doi_or_an_address() -> None:
    assert ModelCard(paper="10.1016/j.actamat.2025.121217").training_data == "unknown"
    assert ModelCard(paper="https://example.org/paper").paper == "https://example.org/paper"
    with pytest.raises(ValidationError):
        BaselineCard.model_validate({"schema": 1, "name": "b", "benchmark": "toy-line"})


def test_a_result_record_round_trips() -> None:
    record = ResultRecord.model_validate(RECORD)
    assert ResultRecord.model_validate_json(record.model_dump_json(by_alias=True)) == record
    assert record.score_of("test") is record.scores[0]
    assert record.score_of("other") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"created": datetime(2025, 1, 1)}, "must be UTC"),
        ({"created": datetime(2025, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, "must be UTC"),
        ({"scores": []}, "has scores"),
        ({"fingerprints": {"data": SHA, "target": SHA}}, "prediction hashes"),
        ({"outcome": "failed"}, "no scores"),
        ({"outcome": "failed", "scores": []}, "has a reason"),
        ({"name": "x" * 101}, "at most 100"),
        ({"rank": 1}, "Extra inputs"),
    ],
)
def test_records_that_contradict_themselves(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ResultRecord.model_validate(RECORD | change)


def test_what_a_record_does_not_say_is_absent_from_its_json() -> None:
    record = ResultRecord.model_validate(RECORD)
    dumped = json.loads(record.model_dump_json(by_alias=True))
    optional = {"claims", "role", "flags", "interval_method", "artefact"}
    assert not optional & dumped.keys()
    older = ResultRecord.model_validate({**RECORD, "schema": 1})
    assert json.loads(older.model_dump_json(by_alias=True))["schema"] == 1
    assert all(getattr(record, key) is None for key in optional)


NEW_KEYS = {
    "role": "oracle",
    "flags": [],
    "interval_method": "percentile-bootstrap-2000",
    "artefact": {"sha256": SHA, "bytes": 7},
}


@pytest.mark.parametrize("key", NEW_KEYS)
def test_keys_of_schema_2(key: str) -> None:
    value = {**RECORD, "schema": 2, key: NEW_KEYS[key]}
    record = ResultRecord.model_validate(value)
    assert ResultRecord.model_validate_json(record.model_dump_json(by_alias=True)) == record
    dumped = json.loads(record.model_dump_json(by_alias=True))
    assert (dumped["schema"], dumped[key]) == (2, NEW_KEYS[key])
    with pytest.raises(ValidationError, match=f"schema 1 has no {key}"):
        ResultRecord.model_validate({**value, "schema": 1})


def test_a_record_of_a_later_schema_is_refused() -> None:
    with pytest.raises(ValidationError, match="schema"):
        ResultRecord.model_validate({**RECORD, "schema": 3})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_is_finite(value: float) -> None:
    scores = yaml.safe_load(yaml.safe_dump(RECORD["scores"]))
    scores[0]["metrics"]["mae"]["value"] = value
    with pytest.raises(ValidationError, match="finite"):
        ResultRecord.model_validate(RECORD | {"scores": scores})
