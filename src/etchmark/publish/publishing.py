"""What is published, and where to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from etchmark.catalog import Catalog, unknown
from etchmark.errors import UserError
from etchmark.publish import folder, hub
from etchmark.publish.dataset import repository
from etchmark.publish.repository import Published, Repository

HUB = "hf://"
ORGANISATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def repositories(
    catalog: Catalog, names: Sequence[str], *, every: bool, say: Callable[[str], None]
) -> list[Repository]:
    """The repositories of datasets, ``DATASET`` or ``DATASET:CONFIG``.

    Args:
        catalog: where they are declared.
        names: what to publish.
        every: all datasets of which anything can be published.
        say: told which of all cannot be, and why.

    Raises:
        UserError: an unknown name, or something that cannot be published.
    """
    if every == bool(names):
        raise UserError("name what to publish, or give --all")
    if not every:
        return _named(catalog, names)
    found, why = [], []
    for name in catalog.dataset_names():
        try:
            found.append(repository(catalog, name))
        except UserError as error:
            why.append(str(error))
    if not found:
        raise UserError(why[0] if why else "there is no dataset to publish")
    for reason in why:
        say(reason)
    return found


def _named(catalog: Catalog, names: Sequence[str]) -> list[Repository]:
    """A repository for each dataset, with all of its configs that are named."""
    wanted: dict[str, list[str]] = {}
    whole = set()
    for name in names:
        dataset, colon, config = name.partition(":")
        if dataset not in catalog.dataset_names():
            raise unknown("dataset", dataset, catalog.dataset_names())
        if colon:
            wanted.setdefault(dataset, []).append(config)
        else:
            wanted.setdefault(dataset, [])
            whole.add(dataset)
    return [
        repository(catalog, dataset, () if dataset in whole else configs)
        for dataset, configs in wanted.items()
    ]


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
        organisation = target.removeprefix(HUB).removesuffix("/")
        if not ORGANISATION.fullmatch(organisation):
            raise UserError(f"--to {target}: give hf:// and the name of an organisation or user")
        there = hub.Hub(organisation, private=private)
        for each in found:
            yield there.publish(each, dry_run=dry_run)
        return
    if "://" in target or not target.strip():
        raise UserError(f"--to {target!r}: give hf://ORGANISATION or a folder")
    if private:
        raise UserError("--private is for the Hugging Face Hub; a folder is as open as you make it")
    try:
        place = Path(target).expanduser().absolute()
    except RuntimeError:
        raise UserError(f"--to {target}: names an unknown user") from None
    if place.exists() and not place.is_dir():
        raise UserError(f"--to {target}: is not a folder")
    for each in found:
        yield folder.publish(each, place, dry_run=dry_run)
