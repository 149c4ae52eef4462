"""Pretrained weights behind a fitted model, and whether it holds any of them.

A head on frozen features holds none of the encoder's weights; a network that was trained on from
them does. That is read off the files: a model holds weights if one of its arrays has the shape of
one of theirs and is too large for that to be chance.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from etchmark import files, settings
from etchmark.catalog import Catalog, explain, read_yaml
from etchmark.errors import UserError

FILE = "weights.yaml"
DIGEST = re.compile(r"SHA-256 ([0-9a-f]{64})")
READ = (".safetensors", ".npy", ".json", ".skops")
"""Kinds of files that are known: JSON and scikit-learn's estimators hold no network."""
SMALL = 50_000
"""Bytes up to which a file of another kind counts as holding no weights."""
LARGE = 512
"""Values from which on an array counts: a bias may have the length of any other."""

Shape = tuple[int, ...]


class Terms(BaseModel):
    """Under which terms weights are released."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str
    licence: str | None = None
    attribution: str


@dataclass(frozen=True)
class Used:
    """Weights that a fitted model was made with.

    Attributes:
        name: of the file.
        sha256: of the file.
        terms: under which they are released; None where nothing is known.
        held: whether the fitted model holds any of them; None where that cannot be told, since
            the file is not on this machine.
    """

    name: str
    sha256: str
    terms: Terms | None
    held: bool | None

    def refusal(self) -> str | None:
        """Why a model with them is not published; None where it may be."""
        if self.held is False or (self.terms is not None and self.terms.licence is not None):
            return None
        if self.held is None:
            return (
                f"was made with {self.name}, which states no licence, and nobody can tell whether"
                " it holds any of that: the weights are not on this machine (set ETCHMARK_WEIGHTS),"
                " or the model is stored in another form than arrays"
            )
        return f"holds weights of {self.name}, whose publisher states no licence"


def used(catalog: Catalog, made_with: Mapping[str, str], artefact: Path) -> list[Used]:
    """The weights that a model says it was made with.

    Args:
        catalog: whose content says under which terms they are released.
        made_with: what its record says.
        artefact: folder of the fitted model.

    Raises:
        UserError: the content's list of weights is wrong.
    """
    digests = dict.fromkeys(d for value in made_with.values() for d in DIGEST.findall(value))
    if not digests:
        return []
    known = {terms.sha256: (name, terms) for name, terms in _listed(catalog)}
    here = _here(set(digests))
    weights = []
    for digest in digests:
        name, terms = known.get(digest, (f"weights {digest[:12]}…", None))
        held = holds(artefact, here[digest]) if digest in here else None
        weights.append(Used(name, digest, terms, held))
    return weights


def holds(artefact: Path, weights: Path) -> bool | None:
    """Whether a large array below a folder has the shape of an array of a file of weights.

    None where a large file is of a kind that is not read here, and no other answers.
    """
    theirs = {shape for shape in _shapes(weights) if _is_large(shape)}
    paths = [path for path in sorted(artefact.rglob("*")) if path.is_file()]
    if any(_is_large(shape) and shape in theirs for path in paths for shape in _shapes(path)):
        return True
    unread = [path for path in paths if path.suffix not in READ and path.stat().st_size > SMALL]
    return None if unread else False


def _is_large(shape: Shape) -> bool:
    return len(shape) > 1 and int(np.prod(shape)) >= LARGE


def _shapes(path: Path) -> Iterator[Shape]:
    """Shapes of the arrays of a safetensors or NumPy file; none of any other."""
    if path.suffix == ".safetensors":
        with path.open("rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            header = json.loads(handle.read(length))
        yield from (tuple(each["shape"]) for key, each in header.items() if key != "__metadata__")
    elif path.suffix == ".npy":
        yield np.load(path, mmap_mode="r", allow_pickle=False).shape


def _here(digests: set[str]) -> dict[str, Path]:
    """Files of weights on this machine by their SHA-256."""
    folder = settings.weights()
    paths = sorted(folder.glob("*.safetensors")) if folder is not None else []
    hashed = ((files.sha256_of(path), path) for path in paths)
    return {digest: path for digest, path in hashed if digest in digests}


def _listed(catalog: Catalog) -> Iterator[tuple[str, Terms]]:
    for root in catalog.roots:
        path = root / "baselines" / FILE
        if not path.is_file():
            continue
        content = read_yaml(path)
        if not isinstance(content, dict):
            raise UserError(f"{path}: is no list of weights by name; correct it")
        for name, value in content.items():
            try:
                yield str(name), Terms.model_validate(value)
            except ValidationError as error:
                raise UserError(f"{path}: {name}: {explain(error)}; correct it") from None
