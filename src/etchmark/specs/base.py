"""What every record is built from: identifiers, lines of text, links, and the strict base class."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
)

ID_PATTERN = r"^[a-z0-9]+(?:[-_][a-z0-9]+)*$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"

Identifier = Annotated[str, Field(pattern=ID_PATTERN, max_length=64)]
BaselineName = Annotated[
    str, Field(pattern=r"^[a-z0-9]+(?:[-_][a-z0-9]+)*(?:/[a-z0-9]+(?:[-_][a-z0-9]+)*)?$")
]
"""``<baseline>`` or ``<baseline>/<variant>``."""
Role = Literal["entry", "reference", "oracle", "control", "exploratory"]
"""What a baseline or submission is on a board; see ``BaselineUse``."""
UNRANKED_ROLES = frozenset({"oracle", "control", "exploratory"})
"""Roles that are listed apart, without a rank."""
OutsideRole = Literal["entry", "exploratory", "oracle"]
"""What a submission may state of itself. Only a benchmark says that a row is a reference or a
control, of the baselines that it declares."""
OUTSIDE_ROLES: tuple[OutsideRole, ...] = ("entry", "exploratory", "oracle")
SplitName = Annotated[str, Field(pattern=r"^[a-z0-9]+(?:_[a-z0-9]+)*$", max_length=64)]
"""Hugging Face ``datasets`` takes no hyphen in the name of a split."""
Sha256 = Annotated[str, Field(pattern=SHA256_PATTERN)]
Url = Annotated[str, Field(pattern=r"^https?://[^\s<>\"']+$", max_length=500)]
Doi = Annotated[str, Field(pattern=r"^10\.\d{4,9}/\S+$", max_length=200)]


def _reference(value: str) -> str:
    if not re.fullmatch(r"10\.\d{4,9}/\S+|https?://[^\s<>\"']+", value):
        raise ValueError("is neither a DOI (10.…/…) nor an http(s) link")
    return value


Reference = Annotated[str, Field(max_length=500), AfterValidator(_reference)]


def _single_line(value: str) -> str:
    if re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", value) or value != value.strip() or not value:
        raise ValueError(
            "must be one non-empty line without control characters, leading or trailing spaces"
        )
    return value


Line = Annotated[str, Field(max_length=200), AfterValidator(_single_line)]
LongLine = Annotated[str, Field(max_length=500), AfterValidator(_single_line)]


ModelName = Annotated[Line, Field(max_length=100)]


LARGEST = 2**63 - 1
"""The largest whole number that a registry and a board can hold."""
Count = Annotated[int, Field(ge=0, le=LARGEST)]


class Record(BaseModel):
    """Base of all records: immutable, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
