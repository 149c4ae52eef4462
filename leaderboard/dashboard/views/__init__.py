"""What pages draw of a target kind, a module per kind.

A module ``views/<kind>.py`` with a ``VIEW`` is all that a kind needs here: it is found by its name,
and pages ask the view instead of the kind. A kind without a module gets the plain ``TargetView``,
which draws what every kind has: scores, and the error of each sample.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from dashboard.views.base import TargetView
from etchmark.api import Gallery
from etchmark.specs import BenchmarkSpec

__all__ = ["TargetView", "drawing_samples", "kinds", "view_of"]


@cache
def kinds() -> tuple[str, ...]:
    """Kinds that have a view of their own."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base"))


@cache
def _view(kind: str) -> TargetView:
    if kind not in kinds():
        return TargetView()
    return importlib.import_module(f"{__name__}.{kind}").VIEW


def kind_of(spec: BenchmarkSpec) -> str:
    return spec.target.kind


def view_of(spec: BenchmarkSpec) -> TargetView:
    """The view of a benchmark's target."""
    return _view(kind_of(spec))


def drawing_samples(gallery: Gallery) -> list[TargetView]:
    """Views that draw something of each sample of a config."""
    return [view for view in map(_view, kinds()) if view.draws(gallery)]
