"""Kinds of target, each in a module of its own, and the registry that finds them by name.

The module of a kind is ``etchmark.targets.<kind>`` and offers ``KIND``. Which kinds there are is
what ``specs.KINDS`` lists: the union of targets that a benchmark may declare.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from etchmark.errors import UserError
from etchmark.targets.base import TargetKind
from etchmark.targets.definitions import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etchmark.specs import Target

__all__ = [
    "Metric",
    "TargetKind",
    "check_metrics",
    "kind_named",
    "kind_of",
    "metric",
    "metrics",
    "untagged_kind",
]


@cache
def kind_named(name: str) -> TargetKind:
    """The kind of a name."""
    return import_module(f"etchmark.targets.{name}").KIND


def kind_of(target: Target) -> TargetKind:
    """The kind of a benchmark's target."""
    return kind_named(target.kind)


def untagged_kind(columns: Sequence[str]) -> TargetKind:
    """The kind of a per-sample table of before kinds had names, by its columns.

    Such a table holds numbers, or terms of frames.
    """
    return kind_named("scalar" if "prediction" in columns else "frames")


def kinds() -> list[TargetKind]:
    """All kinds."""
    # Imported here, or every model's process would pay for the records it never reads.
    from etchmark.specs import KINDS

    return [kind_named(name) for name in KINDS]


@cache
def metrics() -> Mapping[str, Metric]:
    """Metrics of all kinds by id; those of families, such as one per class, are not listed."""
    return {metric.id: metric for kind in kinds() for metric in kind.metrics}


@cache
def metric(name: str) -> Metric:
    """A metric by its id, whatever the kind it belongs to.

    Raises:
        UserError: there is none.
    """
    for kind in kinds():
        if (metric := kind.metric(name)) is not None:
            return metric
    raise UserError(f"unknown metric {name!r}; choose from: {', '.join(metrics())}")


def check_metrics(target: Target, names: Sequence[str]) -> None:
    """Refuse metrics that a target cannot have.

    Raises:
        UserError: there is one.
    """
    kind = kind_of(target)
    for name in names:
        own, terms = kind.metric(name), kind.term_names(target)
        if own is None or not set(own.reads(terms)).issubset(terms):
            known = ", ".join([*(metric.id for metric in kind.metrics), *kind.families(target)])
            raise UserError(
                f"unknown metric {name!r} of a target of kind {kind.name}; choose from: {known}"
            )
