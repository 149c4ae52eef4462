"""What a build leaves behind."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import (
    Field,
    field_validator,
)

from etchmark.specs.base import (
    Identifier,
    Record,
    Sha256,
)


class DataFile(Record):
    path: str
    split: Identifier
    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: Sha256

    @field_validator("path")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*", value):
            raise ValueError(f"not a plain relative path: {value!r}")
        return value


class Manifest(Record):
    """``manifest.json`` beside the shards of one config."""

    schema_: Literal[1] = Field(alias="schema")
    name: Identifier
    config: Identifier
    version: int
    parameters: dict[str, Any]
    built_with: dict[str, str]
    files: list[DataFile] = Field(min_length=1)

    @field_validator("files")
    @classmethod
    def _each_once(cls, value: list[DataFile]) -> list[DataFile]:
        paths = [file.path for file in value]
        if twice := [path for path in paths if paths.count(path) > 1]:
            raise ValueError(f"{twice[0]} is listed twice")
        return value

    fingerprint: Sha256
    """Identity of the content on any machine (floats quantised; see ``data.packaging``)."""
