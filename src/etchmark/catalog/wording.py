"""Validation errors in plain words: which key, what is wrong with it, what it must be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

MOST_PROBLEMS = 3
"""How many of a card's problems one line tells."""
MOST_CHARACTERS = 40
"""Of a wrong value that is quoted, and of a key."""
LONGEST_SENTENCE = 240
"""About one problem; a card may hold names of any length."""

FORMS = {
    r"^[a-z0-9]+(?:[-_][a-z0-9]+)*$": "lower-case letters and digits in words joined by - or _",
    r"^[a-z0-9]+(?:[-_][a-z0-9]+)*(?:/[a-z0-9]+(?:[-_][a-z0-9]+)*)?$": (
        "<baseline> or <baseline>/<variant>, lower-case letters and digits in words joined by"
        " - or _"
    ),
    r"^[a-z0-9]+(?:_[a-z0-9]+)*$": "lower-case letters and digits in words joined by _",
    r"^[0-9a-f]{64}$": "64 hexadecimal digits in lower case",
    r"^https?://[^\s<>\"']+$": "a link that starts with http:// or https://",
    r"^10\.\d{4,9}/\S+$": "a DOI such as 10.1000/182",
    r"^[a-z0-9][a-z0-9-]*\.(png|gif)$": "the name of a .png or .gif file in lower case",
    r"^[^/\\\x00-\x1f]+(/[^/\\\x00-\x1f]+)*$": "a relative path with forward slashes",
}
"""Every pattern of ``etchmark.specs``, as what must be written."""

_MAPPING = "must be a mapping of keys"
_NOT = {
    "string_type": "must be text",
    "string_unicode": "must be text of valid Unicode characters",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "literal_error": "must be {expected}",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "finite_number": "must be a finite number",
    "datetime_type": "must be a date and time such as 2025-01-31T12:00:00Z",
    "datetime_parsing": "must be a date and time such as 2025-01-31T12:00:00Z",
    "datetime_from_date_parsing": "must be a date and time such as 2025-01-31T12:00:00Z",
    "datetime_object_invalid": "must be a date and time such as 2025-01-31T12:00:00Z",
    "greater_than": "must be more than {gt:,}",
    "greater_than_equal": "must be {ge:,} or more",
    "less_than": "must be less than {lt:,}",
    "less_than_equal": "must be {le:,} or less",
}
"""What a value must be; what it is follows."""
_ALONE = {
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "invalid_key": "a key must be text; put it in quotes",
    "string_too_long": "is longer than {max_length:,} characters",
    "string_too_short": "is shorter than {min_length:,} characters",
    "int_parsing_size": "has too many digits",
    "union_tag_invalid": "unknown kind {tag!r}, choose from {expected_tags}",
    "union_tag_not_found": "has no kind",
    "recursion_loop": "contains itself",
    "json_invalid": "is not valid JSON ({error})",
    "json_type": "is not valid JSON",
}
"""What is wrong, where the value need not be quoted."""
_KEY = "[key]"
"""How the validator marks that a key is wrong, not the value below it."""


def explain(error: ValidationError) -> str:
    """A validation error as one line: where and what, and how many more than a few there are."""
    problems = _distinct(error.errors(include_url=False))
    shown = "; ".join(_sentence(place, problem) for place, problem in problems[:MOST_PROBLEMS])
    more = len(problems) - MOST_PROBLEMS
    return f"{shown} (and {more} more)" if more > 0 else shown


def _distinct(problems: Iterable[ErrorDetails]) -> list[tuple[tuple[Any, ...], ErrorDetails]]:
    """Problems with their places, one a place: a number that may be whole or not has two."""
    distinct = {_place(problem): problem for problem in problems}
    # What stands below a wrong key is looked at when the key is right.
    wrong_keys = {place[:-1] for place in distinct if place[-1:] == (_KEY,)}
    return [
        (place, problem)
        for place, problem in distinct.items()
        if place[-1:] == (_KEY,)
        or not any(place[:length] in wrong_keys for length in range(1, len(place) + 1))
    ]


def _place(problem: ErrorDetails) -> tuple[Any, ...]:
    """The keys that lead to a problem, without the names of types that the validator adds."""
    place = list(problem["loc"])
    if place[:1] == ["target"] and len(place) > 1:
        del place[1]
    is_number = problem["type"].startswith(("int_", "float_")) or problem["type"] == "finite_number"
    if is_number and len(place) > 1 and place[-1] in {"int", "float"}:
        del place[-1]
    return tuple(place)


def _sentence(place: Sequence[Any], problem: ErrorDetails) -> str:
    if place[-1:] == (_KEY,):
        *above, key = place[:-1]
        what = f"the key {quoted(key)} {_what(problem, show=False)}"
    else:
        above, what = place, _what(problem)
    where = ".".join(_short(str(key), MOST_CHARACTERS) for key in above)
    what = _short(what, LONGEST_SENTENCE)
    return f"{where}: {what}" if where else what


def _what(problem: ErrorDetails, *, show: bool = True) -> str:
    kind = problem["type"]
    context = {name: _bound(value) for name, value in problem.get("ctx", {}).items()}
    if kind == "value_error":
        return problem["msg"].removeprefix("Value error, ")
    if kind in {"too_long", "too_short"}:
        return _entries(kind, context)
    if kind in _ALONE:
        return _ALONE[kind].format(**context)
    if kind == "string_pattern_mismatch":
        text = f"must be {FORMS.get(context['pattern'], 'written in another form')}"
    else:
        text = _NOT.get(kind, "is not valid").format(**context)
    value = quoted(problem["input"]) if show else ""
    return f"{text}, not {value}" if value and kind in {*_NOT, "string_pattern_mismatch"} else text


def _bound(value: Any) -> Any:
    """A limit as a card would have it: 0, not 0.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _entries(kind: str, context: Mapping[str, Any]) -> str:
    limit = context["max_length" if kind == "too_long" else "min_length"]
    bound = "at most" if kind == "too_long" else "at least"
    noun = "entry" if limit == 1 else "entries"
    count = context.get("actual_length")
    return f"must have {bound} {limit:,} {noun}" + ("" if count is None else f", not {count:,}")


def _short(text: str, most: int) -> str:
    """A text that is too long without its middle."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most // 2) :]}"


def quoted(value: Any) -> str:
    """A value as a card has it, or what it is; empty where that would help nobody."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, str):
        return repr(_short(value, MOST_CHARACTERS))
    if isinstance(value, int | float):
        # Python writes out no whole number of thousands of digits.
        return "" if abs(value) >= 1e30 and isinstance(value, int) else str(value)
    return ""
