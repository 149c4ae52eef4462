"""`evaluate`: a model is run here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from etchmark.api import LocalHub
from etchmark.commands.app import (
    BenchmarkArg,
    ForceOpt,
    JsonOpt,
    ProtocolOpt,
    RoleOpt,
    TimeLimitOpt,
    TrackOpt,
    UnofficialOpt,
    Working,
    app,
    check_limit,
)
from etchmark.errors import UserError
from etchmark.text import one_line


@app.command(cls=Working)
def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="<baseline>[/<variant>] or a folder")
    ],
    benchmark: BenchmarkArg,
    track: TrackOpt = None,
    protocol: ProtocolOpt = None,
    role: RoleOpt = None,
    mini: Annotated[
        bool, typer.Option("--mini", help="on the small config if there is one; store nothing")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="keep what is done, and go on where a run with --resume was interrupted",
        ),
    ] = False,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="safetensors file for a model that takes one")
    ] = None,
    curves: Annotated[
        bool,
        typer.Option("--curves", help="also with less data or other settings, as its card says"),
    ] = False,
    keep_model: Annotated[
        bool, typer.Option("--keep-model", help="keep the fitted model in the hub folder")
    ] = False,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=100, help="run with seeds 0 to N-1")
    ] = 1,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:N or auto")] = "auto",
    time_limit: TimeLimitOpt = 4 * 3600.0,
    memory_limit: Annotated[
        float | None, typer.Option("--memory-limit", min=0.01, help="GiB the model may take")
    ] = None,
    export: Annotated[
        Path | None, typer.Option("--export", help="write the submission here")
    ] = None,
    force: ForceOpt = False,
    unofficial: UnofficialOpt = False,
    show_log: Annotated[
        bool,
        typer.Option("--show-log", help="show what the model prints, as --mini always does"),
    ] = False,
    as_json: JsonOpt = False,
) -> None:
    """Run a model, score it, record the result.

    With --resume, what it prints is also kept in logs/<model>.log of the hub folder.
    """
    from etchmark.api import Limits, Options, RunRequest
    from etchmark.commands.present import evaluation

    check_limit("--time-limit", time_limit)
    check_limit("--memory-limit", memory_limit or 1.0)
    # A run that is not stored is there to be watched.
    watched = show_log or mini
    # Nothing but JSON on stdout where JSON is asked for.
    notes = sys.stderr if as_json else sys.stdout
    request = RunRequest(
        Options(
            seeds,
            device,
            Limits(time_limit, None if memory_limit is None else int(memory_limit * 2**30)),
            resume=resume,
            weights=weights,
            progress=sys.stderr.isatty() and not watched,
            echo=evaluation.echo if watched else None,
            keep=keep_model,
        ),
        track=track,
        protocol=protocol,
        role=role,
        mini=mini,
        unofficial=unofficial,
        export=export,
        force=force,
        curves=(lambda note: print(one_line(note), file=sys.stderr)) if curves else None,
        notify=lambda note: print(note, file=notes),
    )
    hub = LocalHub()
    if curves:
        source = hub.model(model)
        if not source.curves:
            raise UserError(f"{source.name} declares no curves on its card; drop --curves")
    evaluation.show(hub, hub.evaluate(model, benchmark, request), request, show_log, as_json)
