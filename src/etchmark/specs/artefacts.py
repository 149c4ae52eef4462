"""A fitted model that is kept: what it is of, and every file it consists of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from etchmark.specs.base import Count, Identifier, ModelName, Record, Sha256

FilePath = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]+(/[^/\\\x00-\x1f]+)*$", max_length=500)]
"""Relative, with forward slashes."""


class ArtefactFile(Record):
    path: FilePath
    sha256: Sha256
    bytes: Count


class FittedModel(Record):
    """One of the models of a run, in a folder of its own below ``models/``."""

    fold: str
    seed: Count
    folder: FilePath


class Artefact(Record):
    """Manifest of the fitted models of one run, with the code that loads them.

    Its SHA-256 is the artefact's name, and since it holds those of all files, it stands for them.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    name: ModelName
    benchmark: str
    """``id@version``."""
    track: Identifier
    protocol: Identifier
    data: Sha256
    """Fingerprint of the data that the models were fitted on."""
    inputs: list[str]
    params: dict[str, Any] = {}
    models: list[FittedModel] = Field(min_length=1)
    files: list[ArtefactFile]

    def model_of(self, fold: str, seed: int) -> FittedModel | None:
        return next((one for one in self.models if (one.fold, one.seed) == (fold, seed)), None)
