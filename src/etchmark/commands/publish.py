"""`publish`: what was built here, for others to download; `pages`: boards and models to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from etchmark.api import LocalHub
from etchmark.commands.app import Working, app, say
from etchmark.text import plain


@app.command(cls=Working)
def publish(
    to: Annotated[str, typer.Option("--to", help="hf://ORGANISATION, or a folder")],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="DATASET[:CONFIG], BENCHMARK, MODEL[:BENCHMARK] or results"
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="all that is here and may be published")
    ] = False,
    space: Annotated[
        bool, typer.Option("--space", help="the dashboard too, as a Space of the Hub")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be written")] = False,
    private: Annotated[
        bool, typer.Option("--private", help="new repositories are seen by members alone")
    ] = False,
) -> None:
    """Publish datasets, benchmarks, fitted models and results.

    Onto the Hugging Face Hub, or into a folder that any web server can serve. Only what its sources
    allow is published. A second run sends what has changed.
    """

    def left_out(reason: str) -> None:
        say("note", f"left out: {reason}")

    published = LocalHub().publish(
        names or [], to, every=every, space=space, dry_run=dry_run, private=private, say=left_out
    )
    for done in published:
        for line in done.lines(dry_run=dry_run):
            print(plain(line))
        for reason in done.left_out:
            left_out(reason)


@app.command(cls=Working)
def pages(
    to: Annotated[Path, typer.Option("--to", help="folder for any web server")],
    benchmarks: Annotated[
        list[str] | None,
        typer.Argument(metavar="[BENCHMARK]...", help="boards to show; all if none is named"),
    ] = None,
    site: Annotated[
        str | None, typer.Option("--site", help="address at which the folder will be served")
    ] = None,
    dashboard: Annotated[
        str | None, typer.Option("--dashboard", help="address of the dashboard to link to")
    ] = None,
    reviewed: Annotated[
        bool, typer.Option("--reviewed", help="reviewed rows alone, not those submitted here")
    ] = False,
) -> None:
    """Write static pages and SVG badges of models and boards.

    They show the rows of this hub on the headline protocols. A second run replaces what has
    changed; files that were not written by this command are left as they are.
    """
    from etchmark.api import PageOptions

    def left_out(reason: str) -> None:
        say("note", f"left out: {reason}")

    options = PageOptions(site, dashboard, reviewed)
    done = LocalHub().write_pages(benchmarks or [], to, options, left_out)
    for path in done.removed:
        print(plain(f"removed: {path}"))
    print(plain(f"{done.folder}: {done.total} files, {len(done.written)} new or changed"))
