"""Static pages of models and boards, written from what a hub holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from etchmark.api import cite
from etchmark.api.types import PageOptions
from etchmark.boards.standings import standings
from etchmark.catalog import Catalog
from etchmark.errors import UserError
from etchmark.publish.pages import site, writing
from etchmark.publish.pages.html import Addresses
from etchmark.publish.pages.site import Shown
from etchmark.publish.standings import Reviewed
from etchmark.registry.store import Store


def write(
    catalog: Catalog,
    store: Store,
    benchmarks: Sequence[str],
    target: tuple[Path, PageOptions],
    say: Callable[[str], None],
) -> writing.Written:
    """Write the pages of some benchmarks, or of all.

    Args:
        catalog: where benchmarks are declared.
        store: the registry of the hub.
        benchmarks: their ids; all if empty, of which those that cannot be shown are left out.
        target: the folder, and what its pages show.
        say: told what is left out and why.

    Raises:
        UserError: a name or an address is wrong, nothing can be shown, or a file is in the way.
    """
    folder, options = target
    addresses = Addresses(
        site.address("--site", options.site), site.address("--dashboard", options.dashboard)
    )
    for name in benchmarks:
        if "@" in name:
            raise UserError(f"{name}: pages show current versions; name {name.partition('@')[0]}")
    writing.check(folder)
    shown: list[Shown] = []
    with Reviewed(store) as reviewed:
        names = list(dict.fromkeys(benchmarks or catalog.benchmark_names()))
        for name in tqdm(names, unit="board", leave=False, disable=None):
            try:
                spec = catalog.benchmark(name)
                rows = reviewed.of(spec) if options.reviewed else store
                frame = standings(spec, rows)
                if frame.empty:
                    raise UserError(f"{name}: has no row yet; submit one first")
                shown.append(Shown(spec, frame, cite.bibtex(catalog, name)))
            except UserError as error:
                if benchmarks:
                    raise
                say(str(error))
    if not shown:
        raise UserError("no benchmark here has a row to show; submit one first")
    return writing.write(site.items(shown, addresses), folder)
