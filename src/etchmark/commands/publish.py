"""`publish`: what was built here, for others to download."""

from __future__ import annotations

from typing import Annotated

import typer

from etchmark.api import LocalHub
from etchmark.commands.app import Working, app, say
from etchmark.text import plain


@app.command(cls=Working)
def publish(
    to: Annotated[str, typer.Option("--to", help="hf://ORGANISATION, or a folder")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[DATASET[:CONFIG]]...", help="what to publish")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="every dataset that is built here")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be written")] = False,
    private: Annotated[
        bool, typer.Option("--private", help="new repositories are seen by members alone")
    ] = False,
) -> None:
    """Publish datasets for download, on the Hugging Face Hub or as a folder for any web server.

    Only releases whose sources allow it are published. A second run sends what has changed.
    """

    def left_out(reason: str) -> None:
        say("note", f"left out: {reason}")

    published = LocalHub().publish(
        names or [], to, every=every, dry_run=dry_run, private=private, say=left_out
    )
    for done in published:
        for line in done.lines(dry_run=dry_run):
            print(plain(line))
        for reason in done.left_out:
            left_out(reason)
