"""What is published, and where to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from etchmark.catalog import Catalog, unknown
from etchmark.errors import UserError
from etchmark.publish import (
    archive,
    benchmark,
    cards,
    dataset,
    fitted,
    folder,
    hub,
    results,
    space,
)
from etchmark.publish.repository import Published, Repository
from etchmark.publish.standings import Reviewed
from etchmark.registry.store import Store

HUB = "hf://"
ORGANISATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Wanted:
    """What is to be published.

    Attributes:
        names: ``DATASET[:CONFIG]``, ``BENCHMARK``, ``MODEL[:BENCHMARK]`` or ``results``.
        every: in place of names: all datasets, benchmarks and fitted models of which anything can
            be published, and the results.
        space: the dashboard too, as a Space.
    """

    names: tuple[str, ...] = ()
    every: bool = False
    space: bool = False


def repositories(
    catalog: Catalog, store: Store, wanted: Wanted, target: Target, say: Callable[[str], None]
) -> list[Repository]:
    """The repositories of what is wanted.

    Args:
        catalog: where it is declared.
        store: the registry of this hub.
        wanted: what to publish.
        target: where to; a folder also gets an archive of each benchmark.
        say: told which of all cannot be published, and why.

    Raises:
        UserError: an unknown name, or something that cannot be published.
    """
    if wanted.every and wanted.names:
        raise UserError("name what to publish, or give --all, not both")
    if not (wanted.every or wanted.names or wanted.space):
        raise UserError("name what to publish, or give --all or --space")
    ready: list[Repository] = []
    benchmarks: list[Repository] = []
    with Reviewed(store) as reviewed:
        shelf = _Shelf(catalog, reviewed, target.organisation)
        for make, is_benchmark in shelf.everything() if wanted.every else shelf.named(wanted.names):
            try:
                made = make()
            except UserError as error:
                if not wanted.every:
                    raise
                say(str(error))
                continue
            ready.append(made)
            if is_benchmark:
                benchmarks.append(made)
    if wanted.every and not ready:
        raise UserError("nothing here can be published; build a dataset first")
    if benchmarks and target.hub is None:
        ready.append(archive.repository(catalog, benchmarks))
    if wanted.space:
        ready.append(space.repository())
    _require_apart(ready)
    return ready


def _require_apart(ready: Sequence[Repository]) -> None:
    """Refuse two repositories of one name."""
    for name, count in Counter(each.name for each in ready).items():
        if count > 1:
            raise UserError(f"{name}: names {count} repositories; publish one of them alone")


Maker = tuple[Callable[[], Repository], bool]
"""Makes a repository, and whether it is a benchmark's."""


class _Shelf:
    """What there is to publish, by name."""

    def __init__(self, catalog: Catalog, reviewed: Reviewed, organisation: str) -> None:
        self.catalog, self.reviewed, self.organisation = catalog, reviewed, organisation
        self.store = reviewed.store

    def everything(self) -> Iterator[Maker]:
        for name in self.catalog.dataset_names():
            yield partial(dataset.repository, self.catalog, name), False
        for name in self.catalog.benchmark_names():
            yield self._benchmark(name)
        yield partial(results.repository, self.catalog, self.reviewed), False
        for submissions in fitted.kept(self.catalog, self.store).values():
            yield from map(self._model, submissions)

    def named(self, names: Sequence[str]) -> Iterator[Maker]:
        """In the order of the names; all configs of a dataset that are named go together."""
        configs: dict[str, list[str]] = {}
        whole = set()
        for name in names:
            first, colon, second = name.partition(":")
            if first in self.catalog.dataset_names():
                configs.setdefault(first, []).append(second)
                if not colon:
                    whole.add(first)
        for name in dict.fromkeys(names):
            first, colon, second = name.partition(":")
            if first in configs:
                parts = configs.pop(first)
                parts = [] if first in whole else parts
                yield partial(dataset.repository, self.catalog, first, parts), False
            elif first in self.catalog.dataset_names():
                continue
            elif name == results.NAME:
                yield partial(results.repository, self.catalog, self.reviewed), False
            elif name in self.catalog.benchmark_names():
                yield self._benchmark(name)
            else:
                yield from self._models(first, second if colon else None)

    def _benchmark(self, name: str) -> Maker:
        return partial(benchmark.repository, self.catalog, self.reviewed, name), True

    def _models(self, name: str, board: str | None) -> Iterator[Maker]:
        if board is not None and name in [*self.catalog.benchmark_names(), results.NAME]:
            raise UserError(f"{name}:{board}: is published whole; name {name}")
        kept = fitted.kept(self.catalog, self.store)
        boards = {b: ids for (model, b), ids in kept.items() if model == name}
        if board is not None:
            if board not in self.catalog.benchmark_names():
                raise unknown("benchmark", board, self.catalog.benchmark_names())
            boards = {b: ids for b, ids in boards.items() if b == board}
        if not boards:
            self._require_known(name)
            on = f" on {board}" if board else ""
            raise UserError(
                f"{name}: no fitted model is kept here{on}; run `etchmark evaluate {name}"
                f" {board or 'BENCHMARK'} --keep-model` first"
            )
        for submissions in boards.values():
            yield from map(self._model, submissions)

    def _require_known(self, name: str) -> None:
        models = self.catalog.model_names()
        if name in models or name in self.store.names():
            return
        known = [*self.catalog.dataset_names(), *self.catalog.benchmark_names(), results.NAME]
        if name == space.NAME:
            raise UserError(f"{name}: is published by --space")
        raise unknown("dataset, benchmark or model", name, models if "/" in name else known)

    def _model(self, submission: str) -> Maker:
        make = partial(fitted.repository, self.catalog, self.store, submission, self.organisation)
        return make, False


def _organisation(target: str) -> str:
    organisation = target.removeprefix(HUB).removesuffix("/")
    if not ORGANISATION.fullmatch(organisation):
        raise UserError(f"--to {target}: give hf:// and the name of an organisation or user")
    return organisation


class Target:
    """Where repositories are published: an organisation of the Hub, or a folder.

    Args:
        text: ``hf://ORGANISATION`` or a folder.
        private: new repositories on the Hub can be seen by members alone.

    Raises:
        UserError: it cannot be used.
    """

    def __init__(self, text: str, *, private: bool = False) -> None:
        self.hub: hub.Hub | None = None
        self.organisation = cards.HERE
        if text.startswith(HUB):
            self.organisation = _organisation(text)
            self.hub = hub.Hub(self.organisation, private=private)
            return
        if "://" in text or text.startswith("hf:") or not text.strip():
            raise UserError(f"--to {text!r}: give hf://ORGANISATION or a folder")
        if private:
            raise UserError(
                "--private is for the Hugging Face Hub; a folder is as open as you make it"
            )
        try:
            self.folder = Path(text).expanduser().absolute()
        except RuntimeError:
            raise UserError(f"--to {text}: names an unknown user") from None
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"--to {text}: is not a folder")

    def publish(self, repositories: Sequence[Repository], *, dry_run: bool) -> Iterator[Published]:
        """Write repositories one after the other; none, if one of them would be refused.

        Raises:
            UserError: a place holds something else, or writing fails.
        """
        if len(repositories) > 1 and not dry_run:
            for each in repositories:
                self._publish(each, dry_run=True)
        for each in repositories:
            yield self._publish(each, dry_run=dry_run)

    def _publish(self, repository: Repository, *, dry_run: bool) -> Published:
        if self.hub is not None:
            return self.hub.publish(repository, dry_run=dry_run)
        return folder.publish(repository, self.folder, dry_run=dry_run)
