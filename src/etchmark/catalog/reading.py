"""Reads YAML cards as typed records, with one clear line for whatever is wrong with them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from etchmark.catalog.wording import explain, quoted
from etchmark.errors import UserError

R = TypeVar("R", bound=BaseModel)
MAX_CARD_BYTES = 1 << 18


class _EachKeyOnce(yaml.constructor.SafeConstructor):
    """Safe YAML that refuses a key written twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key that is not plain text", key_node.start_mark
                )
            key = key_node.value
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"duplicate key {key!r}", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Loader(_EachKeyOnce, yaml.SafeLoader):
    """In Python, whose messages say what is wrong."""


def _fast_loader() -> type[Any] | None:
    """The same in C, for what is valid; None in a build of PyYAML without it."""
    fast = getattr(yaml, "CSafeLoader", None)
    return None if fast is None else type("_FastLoader", (_EachKeyOnce, fast), {})


_FastLoader = _fast_loader()
MOST_NESTED = 2000
"""Levels that libyaml's parser is trusted with: it nests C calls, of which too many end Python."""


PARAMS = {"params", "parameters"}
"""Keys below which values of any kind are passed on as they were read."""


def _texts_like_numbers(root: yaml.Node | None) -> Iterator[tuple[str, yaml.ScalarNode]]:
    """Unquoted scalars below ``PARAMS`` that look like numbers but are read as text.

    YAML 1.1 requires a point, and a sign in the exponent: 1e5 and 1.0e0 are text, 1.0e+5 is a
    number.

    Yields:
        Path of keys to the scalar, and its node.
    """
    waiting, seen = [("", root, False)], set()
    while waiting:
        where, node, inside = waiting.pop()
        # An anchor may be used any number of times, within itself too.
        if (id(node), inside) in seen:
            continue
        seen.add((id(node), inside))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                path = f"{where}.{key.value}" if where else str(key.value)
                waiting.append((path, value, inside or key.value in PARAMS))
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(f"{where}[{at}]", value, inside) for at, value in enumerate(node.value)]
        elif inside and isinstance(node, yaml.ScalarNode) and _like_number(node):
            yield where, node


def _like_number(node: yaml.ScalarNode) -> bool:
    if node.tag != "tag:yaml.org,2002:str" or node.style:
        return False
    try:
        float(node.value)
    except ValueError:
        return False
    return any(char.isdigit() for char in node.value)


def _as_yaml(value: float) -> str:
    """A number as YAML 1.1 reads it."""
    if not math.isfinite(value):
        return str(value).replace("inf", ".inf")
    mantissa, mark, exponent = repr(value).partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{mark}{exponent}"


def _loaded(content: str, kind: type[Any]) -> tuple[yaml.Node | None, Any]:
    """The nodes of a document and its value."""
    loader = kind(content)
    try:
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _nodes_and_value(content: str) -> tuple[yaml.Node | None, Any]:
    # Each level of a block is indented, each of a flow has a bracket.
    longest = max(map(len, content.splitlines()), default=0)
    if _FastLoader and longest + content.count("[") + content.count("{") <= MOST_NESTED:
        # What is wrong is found again below, with the message for it.
        with suppress(Exception):
            return _loaded(content, _FastLoader)
    return _loaded(content, _Loader)


def _parse(path: Path, content: str) -> Any:
    node, value = _nodes_and_value(content)
    for where, scalar in _texts_like_numbers(node):
        warnings.warn(
            f"{path}, line {scalar.start_mark.line + 1}: {where} is read as the text"
            f" {scalar.value!r}, not as a number; write"
            f" {_as_yaml(float(scalar.value))} or, if text is meant, put it in quotes",
            stacklevel=2,
        )
    return value


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, as plain values.

    Raises:
        UserError: it cannot be read, is too large, or is not valid YAML.
    """
    return parsed(path, content_of(path))


def content_of(path: Path) -> bytes:
    """The bytes of a card; UserError if it cannot be read or is too large."""
    try:
        with path.open("rb") as handle:
            content = handle.read(MAX_CARD_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from None
    if len(content) > MAX_CARD_BYTES:
        raise UserError(f"{path}: larger than {MAX_CARD_BYTES:,} bytes; shorten it")
    return content


def parsed(path: Path, content: bytes) -> Any:
    """The plain values that the bytes of a card hold; UserError if they are not valid YAML."""
    try:
        return _parse(path, content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save the card as UTF-8") from None
    except (
        yaml.YAMLError,
        RecursionError,
        ValueError,
        # What PyYAML raises for an empty !!int, an unknown !!bool, a malformed !!timestamp.
        LookupError,
        AttributeError,
        TypeError,
        ArithmeticError,
    ) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error) or "too deeply nested"
        raise UserError(f"{path}{line}: not valid YAML: {problem}; correct this file") from None


def read_record(path: Path, record: type[R]) -> R:
    """Read a YAML card as a typed record; unknown keys are refused."""
    # Cached by content, not by time stamp: a card may be edited twice within one clock tick.
    return _record(path, content_of(path), record)


@lru_cache(maxsize=512)
def _record(path: Path, content: bytes, record: type[R]) -> R:
    return as_record(path, parsed(path, content), record)


def as_record(path: Path | str, value: Any, record: type[R]) -> R:
    """What a file holds as a typed record; the same errors as ``read_record``."""
    if not isinstance(value, dict):
        raise UserError(
            f"{path}: must be a mapping of keys, not {quoted(value)}; correct this file"
        )
    try:
        return record.model_validate(value)
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error)}; correct this file") from None
    except RecursionError:
        raise UserError(f"{path}: a list contains itself; write it out") from None
