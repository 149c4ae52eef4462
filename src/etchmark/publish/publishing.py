"""What is published, and where to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from etchmark.catalog import Catalog, unknown
from etchmark.errors import UserError
from etchmark.publish import datasets, folder, hub
from etchmark.publish.repository import Published, Repository

HUB = "hf://"


def repositories(
    catalog: Catalog, names: Sequence[str], *, every: bool = False
) -> list[Repository]:
    """The repositories of datasets, ``DATASET`` or ``DATASET:CONFIG``.

    Args:
        catalog: where they are declared.
        names: what to publish.
        every: all datasets of which anything can be published.

    Raises:
        UserError: an unknown name, or something that cannot be published.
    """
    if every == bool(names):
        raise UserError("name what to publish, or give --all")
    if not every:
        return [_named(catalog, name) for name in dict.fromkeys(names)]
    found, why = [], []
    for name in catalog.dataset_names():
        try:
            found.append(datasets.repository(catalog, name))
        except UserError as error:
            why.append(str(error))
    if not found:
        raise UserError(why[0] if why else "there is no dataset to publish")
    return found


def _named(catalog: Catalog, name: str) -> Repository:
    dataset, colon, config = name.partition(":")
    if dataset not in catalog.dataset_names():
        raise unknown("dataset", dataset, catalog.dataset_names())
    return datasets.repository(catalog, dataset, config if colon else None)


def publish(
    found: Sequence[Repository], target: str, *, dry_run: bool = False, private: bool = False
) -> Iterator[Published]:
    """Write repositories to ``hf://ORGANISATION`` or a folder, one after the other.

    Args:
        found: the repositories.
        target: where to.
        dry_run: write nothing, but say what would be.
        private: new repositories on the Hub can be seen by members alone.

    Raises:
        UserError: the target cannot be used, or fails.
    """
    if target.startswith(HUB):
        there = hub.Hub(target.removeprefix(HUB).strip("/"), private=private)
        for repository in found:
            yield there.publish(repository, dry_run=dry_run)
        return
    if "://" in target:
        raise UserError(f"--to {target}: give hf://ORGANISATION or a folder")
    place = Path(target).expanduser().absolute()
    if place.exists() and not place.is_dir():
        raise UserError(f"--to {target}: is not a folder")
    for repository in found:
        yield folder.publish(repository, place, dry_run=dry_run)
