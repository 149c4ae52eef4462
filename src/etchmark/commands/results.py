"""`results`: the reviewed records that the public board shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from etchmark.api import LocalHub
from etchmark.commands.app import (
    BenchmarkArg,
    ForceOpt,
    ProtocolOpt,
    SchedulerOpt,
    TimeLimitOpt,
    Working,
    app,
    check_limit,
)
from etchmark.errors import UserError
from etchmark.text import one_line, plain

results_app = typer.Typer(
    help="Reviewed results: what the public board shows.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(results_app, name="results")

BaselineOpt = Annotated[
    bool,
    typer.Option("--baseline", help="it is a baseline, exported by `results run` (maintainers)"),
]
IntoOpt = Annotated[
    Path | None,
    typer.Option(
        "--into", help="checkout or content folder to write to (default: where the benchmark is)"
    ),
]


@results_app.command("check", cls=Working)
def check(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", help="an exported submission (default: the reviewed results)"
        ),
    ] = None,
    baseline: BaselineOpt = False,
) -> None:
    """Rescore an exported submission, compare everything it says, and tell what `add` would do.

    Without DIR, check every reviewed record against its table and its benchmark, and name those
    with fewer seeds than the benchmark asks for.
    """
    if folder is None and baseline:
        raise UserError("--baseline is about an exported submission; give its DIR")
    hub = LocalHub()
    report = None if folder is None else hub.check_export(folder, baseline=baseline).report()
    for line in hub.check_results() if report is None else report:
        print(one_line(line), flush=True)


@results_app.command("add", cls=Working)
def add(
    folder: Annotated[Path, typer.Argument(metavar="DIR")],
    replace: Annotated[
        bool, typer.Option("--replace", help="in place of the model's older record")
    ] = False,
    into: IntoOpt = None,
    baseline: BaselineOpt = False,
) -> None:
    """Check an exported submission and take it into leaderboard/results (by review)."""
    path = LocalHub().add_export(folder, replace=replace, into=into, baseline=baseline)
    print(f"wrote {plain(str(path))}")


@results_app.command("export")
def export(
    submission: Annotated[
        str,
        typer.Argument(metavar="SUBMISSION", help="its id, or at least the first 4 digits of it"),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a new or empty folder")],
    force: ForceOpt = False,
) -> None:
    """Write a submission of this hub as the folder of a pull request to the public board."""
    hub = LocalHub()
    entry = hub.to_export(submission)
    hub.export(entry, folder, force=force)
    print(
        f"exported {entry.record.submission[:12]} ({plain(entry.record.name)}) to"
        f" {plain(str(folder))}; see CONTRIBUTING.md for the public board"
    )


@results_app.command("migrate", cls=Working)
def migrate(into: IntoOpt = None) -> None:
    """Give results of the older layout their readable file names; no byte of them changes."""
    moved = LocalHub().migrate_results(into)
    for old, new in moved:
        print(f"{plain(old.parent.name)}/{old.name[:12]}… is {plain(new.parent.name)}/{new.name}")
    print(f"moved {len(moved)} records")


@results_app.command("refresh", cls=Working)
def refresh(into: IntoOpt = None) -> None:
    """Recompute the intervals of records by the method of this version; scores stay as they are."""
    refreshed = 0
    for line in LocalHub().refresh_results(into):
        print(one_line(line), flush=True)
        refreshed += line.endswith(": refreshed")
    print(f"refreshed {refreshed} records")


@results_app.command("rescore", cls=Working)
def rescore(
    benchmark: BenchmarkArg,
    version: Annotated[
        int | None, typer.Option("--from", help="older version (default: the one before)")
    ] = None,
    into: IntoOpt = None,
) -> None:
    """Make the records of a benchmark's new version from those of an older one, without a run."""
    for line in LocalHub().rescore(benchmark, version=version, into=into):
        print(one_line(line), flush=True)


@results_app.command("run", cls=Working)
def run(
    benchmark: Annotated[
        str | None, typer.Argument(metavar="BENCHMARK", help="id, or id@version")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="all benchmarks: every row that is missing")
    ] = False,
    only: Annotated[
        str, typer.Option("--only", help="models to run: comma-separated names or patterns")
    ] = "*",
    protocol: ProtocolOpt = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="export folders instead of leaderboard/results")
    ] = None,
    into: IntoOpt = None,
    again: Annotated[bool, typer.Option("--again", help="also those that have a record")] = False,
    no_curves: Annotated[
        bool, typer.Option("--no-curves", help="without the curves that models declare")
    ] = False,
    keep_models: Annotated[
        bool,
        typer.Option("--keep-model", help="keep the fitted models in the hub folder"),
    ] = False,
    time_limit: TimeLimitOpt = 4 * 3600.0,
    executor: Annotated[
        str, typer.Option("--executor", help="local, or dask: on the workers of a Dask cluster")
    ] = "local",
    scheduler: SchedulerOpt = None,
) -> None:
    """Run the baselines that a benchmark names; goes on where it stopped (maintainers).

    What a model prints is in logs/<model>.log of the hub folder while it runs. Workers of a Dask
    cluster need the same release, content and data, and a hub folder of their own or a shared one.
    """
    from etchmark.api import Campaign, Limits, executors_of

    check_limit("--time-limit", time_limit)
    if (benchmark is None) != everything:
        raise UserError("give a BENCHMARK, or --all for every benchmark")
    if out is not None and into is not None:
        raise UserError("--out and --into exclude each other; give one")
    if out is not None and everything:
        raise UserError("--out holds exports of one benchmark; give BENCHMARK instead of --all")
    if executor == "processes":
        # Rows that ran side by side on one machine would spoil each other's cost.
        raise UserError("--executor processes: rows run one at a time here; give local or dask")
    executors_of(executor, scheduler=scheduler, workers=None)
    campaign = Campaign(
        only.split(","), protocol, out, into, again, Limits(time_limit), not no_curves, keep_models
    )
    LocalHub().run_baselines(benchmark, campaign, scheduler=scheduler)
