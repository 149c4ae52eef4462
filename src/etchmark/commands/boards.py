"""`leaderboard` and `compare`: what the scores show."""

from __future__ import annotations

from typing import Annotated

import typer

from etchmark.api import LocalHub
from etchmark.commands.app import BenchmarkArg, JsonOpt, ProtocolOpt, TrackOpt, app
from etchmark.errors import UserError


@app.command()
def leaderboard(
    benchmark: BenchmarkArg,
    track: TrackOpt = None,
    protocol: ProtocolOpt = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="test split, or 'worst split': on which each row does worst"),
    ] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="metric to rank by")] = None,
    subset: Annotated[
        str | None, typer.Option("--subset", help="score and rank by these samples alone")
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option("--status", help="only these (may be given again)")
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="only models with this tag; repeat to require several"),
    ] = None,
    trained_on: Annotated[
        list[str] | None,
        typer.Option(
            "--trained-on",
            help="only models trained beyond the benchmark on: none, declared, unknown",
        ),
    ] = None,
    max_parameters: Annotated[
        int | None,
        typer.Option(
            "--max-parameters",
            min=0,
            help="only models of which at most so many parameters are fitted",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="also failed, incomplete and superseded submissions")
    ] = False,
    as_json: JsonOpt = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="print CSV")] = False,
) -> None:
    """The standings, best first; ranks are made among the rows that are shown."""
    from etchmark.api import WORST, View, Where, with_solver
    from etchmark.commands.present import board

    if as_json and as_csv:
        raise UserError("--json and --csv exclude each other; give one")
    hub = LocalHub()
    spec = hub.benchmark(benchmark)
    view = View(protocol, split, metric, subset, track)
    where = Where.of(status, tag, trained_on, max_parameters)
    if split == WORST:
        # What a solver costs at the accuracy of a row is known for one split at a time.
        frame, solver = hub.standings(spec, view, where=where, everything=everything), None
    else:
        whole = hub.board(spec, view)
        frame = whole.standings(track=track, where=where, everything=everything)
        # Filters may leave out the rows of the solver itself.
        solver = hub.solver(spec, view, whole.frame)
    if as_json:
        board.show_json(with_solver(frame, solver))
    elif as_csv:
        board.show_csv(with_solver(frame, solver))
    elif frame.empty:
        board.show_empty(hub, spec, view, where)
    elif split == WORST:
        board.show_worst(spec, frame)
    else:
        board.show(hub, spec, view, frame, solver, everything=everything)


@app.command()
def compare(
    benchmark: BenchmarkArg,
    first: Annotated[str, typer.Argument(metavar="A", help="a model's name, or a submission")],
    second: Annotated[str, typer.Argument(metavar="B", help="the model that A is compared with")],
    split: Annotated[str | None, typer.Option("--split", help="only this test split")] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="the primary one if left out")
    ] = None,
    track: TrackOpt = None,
    protocol: ProtocolOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """By how much A's score differs from B's, with the paired 95 % interval."""
    from etchmark.api import View
    from etchmark.commands.present import comparison

    hub = LocalHub()
    view = View(protocol=protocol, split=split, metric=metric, track=track)
    pair = hub.compare(benchmark, (first, second), view)
    if as_json:
        comparison.show_json(hub, pair)
    else:
        comparison.show(hub, pair)
