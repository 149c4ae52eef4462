"""No wording of the validator reaches whoever writes a card."""

from __future__ import annotations

import copy
import datetime
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import BaseModel, Field, ValidationError

from etchmark import specs
from etchmark.catalog import explain
from etchmark.catalog.wording import FORMS
from etchmark.specs import (
    BaselineCard,
    BenchmarkSpec,
    DatasetSpec,
    Manifest,
    ModelCard,
    ResultRecord,
)
from etchmark.specs.base import Identifier, Record
from etchmark.specs.cards import CurveSpec

ROOT = Path(__file__).resolve().parents[2]

FOREIGN = re.compile(
    r"Input |Value error|For further|errors\.pydantic|should |type=|input_value|Field required"
    r"|Extra inputs|valid dictionary|valid integer|unable to|\[key\]|is not valid$"
)


class Folder(Record):
    """Every sort of field that a record may have."""

    text: Annotated[str, Field(min_length=2, max_length=3, pattern="^[0-9a-f]{64}$")] = "aa"
    whole: Annotated[int, Field(ge=1, le=3)] = 1
    number: Annotated[float, Field(gt=0, lt=3)] = 1.0
    flag: bool = True
    choice: Literal[1, 2] = 1
    names: Annotated[list[str], Field(min_length=1, max_length=2)] = Field(default=["a"])
    pair: tuple[int, int] = (1, 2)
    parts: Annotated[dict[str, int], Field(min_length=1)] = Field(default={"a": 1})
    moment: datetime.datetime = datetime.datetime(2025, 1, 1)
    inner: ModelCard = ModelCard()
    named: dict[Identifier, ModelCard] = Field(default={})


ERRORS = {
    "missing": (DatasetSpec, {}, "schema: is missing"),
    "extra_forbidden": (Folder, {"x": 1}, "x: unknown key"),
    "invalid_key": (Folder, {1: 1}, "1: a key must be text; put it in quotes"),
    "model_type": (Folder, {"inner": 3}, "inner: must be a mapping of keys, not 3"),
    "model_attributes_type": (
        BenchmarkSpec, {"target": 3}, "target: must be a mapping of keys, not 3"
    ),
    "union_tag_invalid": (
        BenchmarkSpec, {"target": {"kind": "x"}}, "target: unknown kind 'x', choose from 'scalar'"
    ),
    "string_type": (Folder, {"text": [1]}, "text: must be text, not a list"),
    "string_unicode": (
        Folder, {"text": "\ud800"}, "text: must be text of valid Unicode characters"
    ),
    "string_too_long": (Folder, {"text": "aaaa"}, "text: is longer than 3 characters"),
    "string_too_short": (Folder, {"text": "a"}, "text: is shorter than 2 characters"),
    "string_pattern_mismatch": (
        Folder, {"text": "abc"}, "text: must be 64 hexadecimal digits in lower case, not 'abc'"
    ),
    "int_type": (Folder, {"whole": []}, "whole: must be a whole number, not a list"),
    "int_parsing": (Folder, {"whole": "one"}, "whole: must be a whole number, not 'one'"),
    "int_from_float": (Folder, {"whole": 1.5}, "whole: must be a whole number, not 1.5"),
    "int_parsing_size": (Folder, {"whole": "1" * 5000}, "whole: has too many digits"),
    "greater_than_equal": (Folder, {"whole": 0}, "whole: must be 1 or more, not 0"),
    "less_than_equal": (Folder, {"whole": 10**40}, "whole: must be 3 or less"),
    "greater_than": (Folder, {"number": 0}, "number: must be more than 0, not 0"),
    "less_than": (Folder, {"number": 3.5}, "number: must be less than 3, not 3.5"),
    "float_type": (Folder, {"number": None}, "number: must be a number, not empty"),
    "float_parsing": (Folder, {"number": "x"}, "number: must be a number, not 'x'"),
    "finite_number": (Folder, {"number": float("nan")}, "number: must be a finite number, not nan"),
    "bool_type": (Folder, {"flag": {}}, "flag: must be true or false, not a mapping"),
    "bool_parsing": (Folder, {"flag": "maybe"}, "flag: must be true or false, not 'maybe'"),
    "literal_error": (Folder, {"choice": 3}, "choice: must be 1 or 2, not 3"),
    "list_type": (Folder, {"names": "a"}, "names: must be a list, not 'a'"),
    "too_long": (Folder, {"names": ["a"] * 3}, "names: must have at most 2 entries, not 3"),
    "too_short": (Folder, {"parts": {}}, "parts: must have at least 1 entry, not 0"),
    "tuple_type": (Folder, {"pair": 1}, "pair: must be a list, not 1"),
    "dict_type": (Folder, {"parts": True}, "parts: must be a mapping of keys, not true"),
    "datetime_type": (Folder, {"moment": []}, "moment: must be a date and time such as"),
    "datetime_from_date_parsing": (
        Folder, {"moment": "2025-99-99"}, "moment: must be a date and time such as"
    ),
    "value_error": (
        Folder, {"inner": {"title": ""}}, "inner.title: must be one non-empty line without"
    ),
}  # fmt: skip
"""For each type of error: a record, what it holds, and the beginning of the sentence."""
REACHED = {
    "any": set(),
    "bool": {"bool_type", "bool_parsing"},
    "datetime": {"datetime_type", "datetime_from_date_parsing"},
    "default": set(),
    "dict": {"dict_type", "too_short", "too_long"},
    "float": {
        *("float_type", "float_parsing", "finite_number"),
        *("greater_than", "greater_than_equal", "less_than", "less_than_equal"),
    },
    "function-after": {"value_error"},
    "function-before": {"value_error"},
    "function-wrap": {"value_error"},
    "int": {
        *("int_type", "int_parsing", "int_from_float", "int_parsing_size"),
        *("greater_than", "greater_than_equal", "less_than", "less_than_equal"),
    },
    "list": {"list_type", "too_short", "too_long"},
    "literal": {"literal_error"},
    "model": {"model_type", "model_attributes_type", "invalid_key", "extra_forbidden"},
    "model-field": {"missing"},
    "model-fields": set(),
    "no-info": set(),
    "nullable": set(),
    "str": {
        *("string_type", "string_unicode", "string_pattern_mismatch"),
        *("string_too_long", "string_too_short"),
    },
    "tagged-union": {"union_tag_invalid"},
    "tuple": {"tuple_type", "missing", "too_long"},
    "union": set(),
}
"""Errors that each part of a validator's schema may raise."""


def _records(base: type[BaseModel] = Record) -> Iterator[type[BaseModel]]:
    for record in base.__subclasses__():
        yield record
        yield from _records(record)


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if isinstance(schema.get("type"), str):
            yield schema
        for key, part in schema.items():
            if key not in {"metadata", "serialization"}:
                yield from _parts(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from _parts(part)


def _schema_parts() -> list[dict[str, Any]]:
    ours = [record for record in _records() if record.__module__.startswith(specs.__name__)]
    return [part for record in ours for part in _parts(record.__pydantic_core_schema__)]


def _refusal(record: type[BaseModel], value: Any) -> ValidationError | None:
    try:
        record.model_validate(value)
    except ValidationError as error:
        return error
    return None


@pytest.mark.parametrize(("kind", "case"), ERRORS.items(), ids=ERRORS)
def test_each_type_of_error_in_words(kind: str, case: tuple[type[BaseModel], Any, str]) -> None:
    record, value, sentence = case
    error = _refusal(record, value)
    assert error is not None
    assert kind in {problem["type"] for problem in error.errors()}
    # One at a time: of many problems only a few are told.
    of_kind = [problem for problem in error.errors() if problem["type"] == kind]
    text = explain(ValidationError.from_exception_data("x", [_again(of_kind[0])]))
    assert text.startswith(sentence)
    assert not FOREIGN.search(text)


def _again(problem: Any) -> Any:
    return {key: problem[key] for key in ("type", "loc", "input", "ctx") if key in problem}


def test_every_error_that_a_record_can_raise_has_its_words() -> None:
    for part in _schema_parts():
        assert part["type"] in REACHED, f"say which errors {part['type']} raises"
        assert REACHED[part["type"]] <= ERRORS.keys()
        if "pattern" in part:
            assert part["pattern"] in FORMS, f"say what {part['pattern']} means"


def test_broken_json_in_words() -> None:
    with pytest.raises(ValidationError) as caught:
        Manifest.model_validate_json(b"{")
    assert explain(caught.value).startswith("is not valid JSON (EOF")


@pytest.mark.parametrize("values", [["x"], [float("nan")], [None]])
def test_a_number_of_two_types_is_told_once(values: list[Any]) -> None:
    curve = {"title": "t", "axis": "a", "param": "p", "values": values}
    error = _refusal(CurveSpec, curve)
    assert error is not None
    assert re.fullmatch(r"values\.0: must be a (finite )?number, not \S+", explain(error))


def test_a_wrong_key_is_told_without_what_stands_below_it() -> None:
    error = _refusal(Folder, {"named": {"A b": {"title": 3}, 3: 3}})
    assert error is not None
    assert explain(error) == (
        "named: the key 'A b' must be lower-case letters and digits in words joined by - or _;"
        " named: the key 3 must be text"
    )


ABSURD = (3, -1.5, "\ud800", "x y", True, None, [], [[]], {}, {"a b": 1}, {1: 2}, float("nan"),
          10**40, "9" * 5000)  # fmt: skip


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each part of a plain value stands; the first entry of a list stands for all."""
    yield place
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _places(part, (*place, key))
    elif isinstance(value, list) and value:
        yield from _places(value[0], (*place, 0))


def _with(value: Any, place: tuple[Any, ...], absurd: Any) -> Any:
    if not place:
        return absurd
    changed = copy.copy(value)
    changed[place[0]] = _with(value[place[0]], place[1:], absurd)
    return changed


def _shipped() -> dict[str, tuple[type[BaseModel], Any]]:
    """One card of each sort, and a result record."""
    board = ROOT / "benchmarks/composite-stiffness-2d.yaml"
    dataset = next((ROOT / "datasets").glob("*/dataset.yaml"))
    baseline = max((ROOT / "baselines").glob("*/card.yaml"), key=lambda path: path.stat().st_size)
    record = min((ROOT / "leaderboard/results").glob("composite*/*.json"))
    return {
        "benchmark": (BenchmarkSpec, yaml.safe_load(board.read_text(encoding="utf-8"))),
        "dataset": (DatasetSpec, yaml.safe_load(dataset.read_text(encoding="utf-8"))),
        "baseline": (BaselineCard, yaml.safe_load(baseline.read_text(encoding="utf-8"))),
        "record": (ResultRecord, json.loads(record.read_text(encoding="utf-8"))),
    }


@pytest.mark.parametrize("sort", ["benchmark", "dataset", "baseline", "record"])
def test_an_absurd_value_anywhere_is_told_in_words(sort: str) -> None:
    record, value = _shipped()[sort]
    assert _refusal(record, value) is None
    refused = 0
    for place in _places(value):
        for absurd in ABSURD:
            error = _refusal(record, _with(value, place, absurd))
            if error is not None:
                refused += 1
                text = explain(error)
                assert not FOREIGN.search(text), (place, absurd, text)
                assert len(text) < 600, (place, absurd, text)
    assert refused > 100
