"""Content folders, laid over each other.

Content is found in the folders that ``ETCHMARK_CONTENT`` names, in their order, and below them in
what was installed: the checkout above this package, or ``etchmark/content`` of a wheel. All layers
are read as one; a name that occurs in two of them is refused when it is asked for.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from etchmark import settings
from etchmark.catalog.content import KINDS, Catalog
from etchmark.errors import UserError


@cache
def _catalog_of(roots: tuple[Path, ...]) -> Catalog:
    return Catalog(*roots)


def installed_root() -> Path:
    """The content that came with this package: its checkout, or the folder inside the wheel."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parents[1]
    if (checkout / "benchmarks").is_dir() and (checkout / "baselines").is_dir():
        return checkout
    return package / "content"


def content_roots() -> tuple[Path, ...]:
    """Every content folder in use, the uppermost layer first.

    Raises:
        UserError: a folder that ``ETCHMARK_CONTENT`` names does not exist or holds no content.
    """
    settings.refuse_in_model()
    roots = list(settings.content())
    for root in roots:
        if not any((root / kind).is_dir() for kind in KINDS):
            raise UserError(
                f"ETCHMARK_CONTENT: {root} has no folder {', '.join(KINDS[:-1])} or {KINDS[-1]};"
                " correct it"
            )
    if not settings.content_only():
        roots.append(installed_root())
    elif not roots:
        raise UserError(
            "ETCHMARK_CONTENT_ONLY leaves no content, since ETCHMARK_CONTENT is not set; set it, or"
            " unset ETCHMARK_CONTENT_ONLY"
        )
    layers: dict[Path, Path] = {}
    for root in roots:
        # A checkout that is named and in use anyway is one layer, not two with equal names.
        layers.setdefault(root.resolve(), root)
    return tuple(layers.values())


def content_root() -> Path:
    """The uppermost content folder."""
    return content_roots()[0]


def catalog() -> Catalog:
    """All content in use."""
    return _catalog_of(content_roots())


def results_of(root: Path) -> Path:
    """The folder of reviewed results of a content folder."""
    return root / "leaderboard" / "results"
