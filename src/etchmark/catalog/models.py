"""Models that can be run: baselines of the content, and models in folders of their own."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from etchmark.catalog.names import unknown
from etchmark.catalog.reading import as_record, content_of, parsed, read_yaml
from etchmark.errors import UserError
from etchmark.specs import (
    BaselineCard,
    CurveSpec,
    ModelCard,
    OutsideRole,
    SubmissionCard,
    Variant,
)

OWN_KEYS = {
    field.alias or name
    for name, field in BaselineCard.model_fields.items()
    if name not in SubmissionCard.model_fields
}
"""Keys that only the card of a baseline may have, such as its name, variants and curves."""


@dataclass(frozen=True)
class ModelSource:
    """A model that can be run: its folder, the name it is shown under, card and parameters."""

    name: str
    folder: Path
    card: ModelCard
    params: dict[str, Any]
    uses: dict[str, str]
    """Track per benchmark, where an older card states it."""
    takes_weights: bool = False
    curves: dict[str, CurveSpec] = field(default_factory=dict)
    """Curves that ``--curves`` measures, by name."""
    role: OutsideRole | None = None
    """What its card states; the role that a benchmark declares counts before it."""

    @property
    def code(self) -> Path:
        return self.folder / "model.py"


def model_in_folder(folder: Path, variant: str) -> ModelSource:
    """A model in a folder outside the content, with whatever card it has.

    Raises:
        UserError: there is no such variant, or the card is not valid.
    """
    path = folder / "card.yaml"
    if not path.is_file():
        if variant:
            raise UserError(
                f"{folder}: has no card.yaml, so there is no variant {variant!r}; name the folder"
                " alone"
            )
        return ModelSource(folder.name, folder, ModelCard(), {}, {})
    value = read_yaml(path)
    if isinstance(value, dict) and OWN_KEYS & set(value):
        card = whole_card(path, value)
        return with_variant(card.name, folder, card, variant)
    if variant:
        raise UserError(
            f"{path}: declares no variants, so there is no {variant!r}; name the folder alone"
        )
    stated = as_record(path, value, SubmissionCard)
    return ModelSource(folder.name, folder, stated.without_role(), {}, {}, role=stated.role)


def read_whole_card(path: Path) -> BaselineCard:
    """The card of a baseline; the same errors as ``whole_card``."""
    return _whole_card_of(path, content_of(path))


@lru_cache(maxsize=256)
def _whole_card_of(path: Path, content: bytes) -> BaselineCard:
    return whole_card(path, parsed(path, content))


def whole_card(path: Path, value: Any) -> BaselineCard:
    """The card of a model that has a name, variants or curves of its own.

    Raises:
        UserError: a key is missing (all of them are named), unknown or wrong.
    """
    if isinstance(value, dict):
        needed = [
            field.alias or name
            for name, field in BaselineCard.model_fields.items()
            if field.is_required()
        ]
        if absent := [key for key in needed if key not in value]:
            used = next((key for key in value if key in OWN_KEYS and key not in needed), None)
            why = f"a card with {used!r}" if used else "the card of a model"
            raise UserError(
                f"{path}: {why} also needs {' and '.join(map(repr, absent))}; add what is missing"
                " (CONTRIBUTING.md shows a complete card)"
            )
    card = as_record(path, value, BaselineCard)
    if card.benchmarks or any(variant.benchmarks for variant in card.variants.values()):
        warnings.warn(
            f"{path}: 'benchmarks' will be removed in the next release, since benchmarks name the"
            f" baselines that run on them; write `{card.name}: {{track: ...}}` under `baselines`"
            " there, and remove the key here",
            stacklevel=2,
        )
    return card


def with_variant(name: str, folder: Path, card: BaselineCard, variant: str) -> ModelSource:
    """A variant of a model, or the model itself if it has none.

    Raises:
        UserError: there is no such variant, or the model has variants and none is named.
    """
    declared: Variant | None = None
    if variant:
        if variant not in card.variants:
            raise unknown(f"variant of {name}", variant, card.variants)
        declared = card.variants[variant]
    elif card.variants:
        listing = ", ".join(f"{name}/{known}" for known in card.variants)
        raise UserError(f"model {name!r} has variants; name one of: {listing}")
    fields = {key: getattr(card, key) for key in ModelCard.model_fields}
    uses = card.benchmarks
    where = str(folder / "card.yaml")
    if declared is not None:
        where = f"{where}: variants.{variant}"
        fields["title"] = declared.title
        fields["description"] = declared.description or card.description
        fields["tags"] = [*card.tags, *(tag for tag in declared.tags if tag not in card.tags)]
        uses = declared.benchmarks if declared.benchmarks is not None else uses
    return ModelSource(
        name=f"{name}/{variant}" if variant else name,
        folder=folder,
        card=as_record(where, fields, ModelCard),
        params=dict(declared.params) if declared else {},
        uses={benchmark: use.track for benchmark, use in uses.items()},
        takes_weights=card.takes_weights,
        curves={
            curve: card.curves[curve] for curve in (declared.curves if declared else card.curves)
        },
        role=card.role,
    )
