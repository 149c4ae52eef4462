"""What a submission says about itself: the model's name and its card."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from etchmark.catalog import Catalog, ModelSource, explain, read_record
from etchmark.errors import UserError
from etchmark.names import first_alike, unfit
from etchmark.registry.store import Store
from etchmark.specs import (
    OUTSIDE_ROLES,
    BenchmarkSpec,
    ModelCard,
    ModelName,
    OutsideRole,
    SubmissionCard,
)
from etchmark.specs.cards import role_fault


@dataclass(frozen=True)
class Statement:
    """What a submitter states beside a predictions file."""

    name: str
    """The model's name on the board."""
    card: ModelCard
    """It may be a ``SubmissionCard``, which states the role."""
    track: str | None = None
    """Inputs that the model read; None if the file says."""
    protocol: str | None = None
    """Protocol that the predictions follow; None if the file says."""
    role: str | None = None
    """``entry``, ``exploratory`` or ``oracle``; None if the card says, or for an entry."""


def check_name(name: str) -> str:
    """A new model's name: one line of 1 to 100 visible characters.

    Raises:
        UserError: the name is invalid. Names that older versions stored are exempt.
    """
    try:
        TypeAdapter(ModelName).validate_python(name)
    except ValidationError:
        raise UserError(
            f"name {name[:40]!a}: must be one line of 1 to 100 characters without control"
            " characters or leading or trailing spaces; give another name"
        ) from None
    fault = unfit(name)
    if fault is not None:
        raise UserError(f"name {name[:40]!a}: {fault}; give another name")
    return name


def check_baselines(catalog: Catalog, name: str) -> None:
    """Refuse a name that is a baseline's, or that a reader could take for one."""
    baselines = [*catalog.model_names(), *catalog.baseline_names()]
    other = name if name in baselines else first_alike(name, baselines)
    if other is not None:
        looks = "is" if other == name else f"looks like {other!r}, which is"
        raise UserError(f"name {name!a} {looks} a baseline of this hub; give another name")
    family = name.partition("/")[0]
    if family in baselines:
        raise UserError(
            f"name {name!a} reads as a variant of {family!r}, a baseline of this hub; give another"
            " name"
        )


def check_stored(name: str, stored: Iterable[str]) -> None:
    """Refuse a name that a reader could take for another stored one.

    The very same name stands for the same model and is fine.
    """
    stored = set(stored)
    other = None if name in stored else first_alike(name, sorted(stored))
    if other is not None:
        raise UserError(
            f"name {name!a} looks like {other!a}, which is on the board; give that name if it is"
            " the same model, else another"
        )


def check_source(store: Store | None, catalog: Catalog, source: ModelSource) -> None:
    """Refuse the name of a model in somebody's folder before the model is run.

    Args:
        store: where its result is kept; None where nothing is.
        catalog: the content in use, whose baselines have their names to themselves.
        source: the model.
    """
    if catalog.is_baseline(source):
        return
    try:
        check_baselines(catalog, source.name)
        if store is not None:
            check_stored(source.name, store.names())
    except UserError as error:
        hint = "(its folder's, or `name` in its card.yaml)"
        raise UserError(f"{source.folder}: {error} {hint}") from None


def check_role(role: str | None) -> OutsideRole | None:
    """The role that a submitter asks for; None if nobody does.

    Raises:
        UserError: it is unknown, or a benchmark alone gives it.
    """
    if role is None:
        return None
    for known in OUTSIDE_ROLES:
        if role == known:
            return known
    raise UserError(f"role {role[:40]!a}: {role_fault(role)}; state another role, or none")


def agreed_role(card: ModelCard, role: str | None) -> tuple[ModelCard, OutsideRole | None]:
    """What a record keeps as its card, and the role that card file and options state.

    Raises:
        UserError: they state different roles, or one that no submission has.
    """
    asked = check_role(role)
    if not isinstance(card, SubmissionCard):
        return card, asked
    if card.role and asked and card.role != asked:
        raise UserError(
            f"the card says role {card.role!r} but {asked!r} was asked for; correct the card, or"
            " ask for no role"
        )
    return card.without_role(), asked or card.role


def with_role(source: ModelSource, spec: BenchmarkSpec, role: str | None) -> ModelSource:
    """A model in the role that it is to be run in: what is asked for, else what its card states.

    Raises:
        UserError: its card states another role, or the benchmark declares another one.
    """
    asked = check_role(role)
    if asked is None:
        return source
    declared = spec.declared_role(source.name)
    if declared not in (None, asked):
        raise UserError(
            f"{source.name} has the role {declared!r} on {spec.key}, whose YAML declares it; ask"
            " for no role"
        )
    if source.role not in (None, asked):
        raise UserError(
            f"{source.folder}: the card says role {source.role!r} but {asked!r} was asked for;"
            " correct the card, or ask for no role"
        )
    return replace(source, role=asked)


def read_card(path: Path | None) -> ModelCard:
    """A card file, which may state the role (a ``SubmissionCard``)."""
    if path is None:
        return ModelCard()
    return read_record(path, SubmissionCard)


def card_from_mapping(value: dict[str, Any]) -> ModelCard:
    """The same from a mapping, unknown keys refused."""
    try:
        return SubmissionCard.model_validate(value)
    except ValidationError as error:
        raise UserError(f"card: {explain(error)}; correct it") from None
