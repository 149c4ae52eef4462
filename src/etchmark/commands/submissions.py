"""`score`, `submit` and `withdraw`: predictions that were made elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from etchmark.api import LocalHub
from etchmark.commands.app import (
    BenchmarkArg,
    ExportOpt,
    FileArg,
    ForceOpt,
    JsonOpt,
    ProtocolOpt,
    RoleOpt,
    TrackOpt,
    UnofficialOpt,
    Working,
    app,
)
from etchmark.errors import UserError
from etchmark.text import plain


@app.command(cls=Working)
def score(
    file: FileArg,
    benchmark: BenchmarkArg,
    protocol: ProtocolOpt = None,
    track: TrackOpt = None,
    unofficial: UnofficialOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Metrics of a predictions file; nothing is stored."""
    from etchmark.api import load_benchmark
    from etchmark.commands.present import scores

    loaded = load_benchmark(benchmark, unofficial=unofficial)
    hub = LocalHub()
    stated, scored = hub.score(file, loaded, track=track, protocol=protocol)
    scores.scored(hub, loaded.spec, stated.protocol, scored, as_json)


@app.command(cls=Working)
def submit(
    file: FileArg,
    benchmark: BenchmarkArg,
    name: Annotated[str, typer.Option("--name", help="the model's name on the board")],
    card: Annotated[
        Path | None, typer.Option("--card", help="YAML: authors, paper, code, role, …")
    ] = None,
    protocol: ProtocolOpt = None,
    track: TrackOpt = None,
    role: RoleOpt = None,
    export: ExportOpt = None,
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Score a predictions file and enter it into this machine's registry."""
    from etchmark.api import Statement, read_card
    from etchmark.commands.present import scores

    hub = LocalHub()
    statement = Statement(name, read_card(card), track, protocol, role)
    submitted = hub.submit(file, benchmark, statement, export=export, force=force)
    scores.submitted(hub, submitted, export, as_json)


@app.command()
def withdraw(
    submission: Annotated[
        str,
        typer.Argument(metavar="SUBMISSION", help="its id, or at least the first 4 digits of it"),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Remove a submission from this hub's registry; what it superseded stands again.

    Its predictions file goes with it unless another submission has the same one.
    """
    hub = LocalHub()
    match = hub.to_withdraw(submission)
    named = (
        f"{match.short}, {plain(match.name)} on {match.benchmark}@{match.version}, track"
        f" {match.track}, protocol {match.protocol}"
    )
    if not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise UserError(f"withdraw {named}: no terminal to confirm it; add --yes")
        if not typer.confirm(f"withdraw {named}?", err=True):
            raise UserError("nothing was withdrawn")
    withdrawn = hub.withdraw(match)
    print(f"withdrew {named}")
    if withdrawn.restored is not None:
        print(f"{withdrawn.restored.submission[:12]} of the same name stands on the board again")
    if withdrawn.removed:
        print("its predictions file was removed")
    if withdrawn.kept:
        print("its predictions file was kept for other submissions, or was missing already")
