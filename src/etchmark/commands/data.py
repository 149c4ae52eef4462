"""`build`, `download` and `template`: data on this machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etchmark.api import LocalHub
from etchmark.commands.app import (
    BenchmarkArg,
    ExecutorOpt,
    ForceOpt,
    ProtocolOpt,
    SchedulerOpt,
    TrackOpt,
    WorkersOpt,
    Working,
    app,
    say,
)
from etchmark.errors import UserError
from etchmark.text import plain

if TYPE_CHECKING:
    from etchmark.api import Build, Executors


@app.command(cls=Working)
def build(
    dataset: Annotated[str, typer.Argument(metavar="DATASET")],
    config: Annotated[str | None, typer.Option("--config", help="which of its configs")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder to write")] = None,
    force: ForceOpt = False,
    executor: ExecutorOpt = "local",
    scheduler: SchedulerOpt = None,
    workers: WorkersOpt = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="simulate labels again, and compare")
    ] = False,
    labels_only: Annotated[
        bool,
        typer.Option("--labels-only", help="simulate labels into the content (maintainers)"),
    ] = False,
    freeze: Annotated[
        bool,
        typer.Option("--freeze", help="release this build: write its frozen labels (maintainers)"),
    ] = False,
) -> None:
    """Build a dataset from source; an interrupted build goes on where it stopped."""
    if labels_only and (out or recompute or freeze):
        raise UserError("--labels-only stores labels alone; drop --out, --recompute and --freeze")
    executors = _executors(executor, scheduler, workers)
    if labels_only:
        folder, counts = LocalHub().simulate_labels(dataset, config, executors.labels)
        print(f"{counts}\nlabels in {plain(str(folder))}")
        return
    built = LocalHub().build(
        dataset,
        config,
        out=out,
        recompute=recompute,
        freeze=freeze,
        force=force,
        executors=executors,
    )
    _report(dataset, built)


def _executors(executor: str, scheduler: str | None, workers: int | None) -> Executors:
    from etchmark.api import executors_of

    return executors_of(executor, scheduler=scheduler, workers=workers)


def _report(dataset: str, built: Build) -> None:
    print(f"built {dataset}:{built.manifest.config} in {plain(str(built.folder))}")
    if built.labels is not None:
        print(built.labels.describe())
    print(f"fingerprint {built.manifest.fingerprint}")
    if built.frozen is not None:
        print(f"frozen in {plain(str(built.frozen))}")
    elif built.difference is not None:
        say("error", built.difference.advice())
        raise typer.Exit(1)
    elif built.released:
        print("equal to the frozen release, row by row")
    else:
        print("there is no frozen release to compare it with")


@app.command(cls=Working)
def download(
    name: Annotated[str, typer.Argument(metavar="BENCHMARK|DATASET[:CONFIG]")],
    split: Annotated[str | None, typer.Option("--split", help="only this split")] = None,
    track: TrackOpt = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder to copy the files to")] = None,
    force: ForceOpt = False,
    executor: ExecutorOpt = "local",
    scheduler: SchedulerOpt = None,
    workers: WorkersOpt = None,
) -> None:
    """Download data, or build them if no remote is set; the output says which.

    Data that are here already are used as they are. --executor, --scheduler and --workers say where
    data that have to be built are computed: `--executor processes` uses every processor.
    """
    executors = _executors(executor, scheduler, workers)
    result = LocalHub().download(
        name, split=split, track=track, out=out, force=force, executors=executors, say=print
    )
    if result.spec is not None:
        others = [other for other in result.spec.tracks if other != result.track]
        if others:
            key = result.spec.key
            print(f"track {result.track} of {key}; other tracks: {', '.join(others)} (--track)")
    downloaded = result.downloaded
    print(f"{result.dataset}:{downloaded.config}: {downloaded.origin}; {downloaded.check}")
    if downloaded.manifest is not None:
        print(f"fingerprint {downloaded.manifest.fingerprint}")
    else:
        print(
            f"split {split} alone; scoring needs all splits: `etchmark download"
            f" {result.dataset}:{downloaded.config}` adds the others"
        )
    for path in downloaded.files:
        print(plain(str(path)))
    if downloaded.difference is not None:
        say("error", downloaded.difference.advice())
        raise typer.Exit(1)


@app.command(cls=Working)
def template(
    benchmark: BenchmarkArg,
    protocol: ProtocolOpt = None,
    track: TrackOpt = None,
    out: Annotated[Path, typer.Option("--out", help="folder to write")] = Path(),
    force: ForceOpt = False,
) -> None:
    """Test inputs and a predictions file to fill."""
    written = LocalHub().template(benchmark, out, track=track, protocol=protocol, force=force)
    print(f"{written.spec.key}, track {written.track}, protocol {written.protocol}")
    for path in (*written.inputs, *written.predictions):
        print(f"wrote {plain(str(path))}")
    # Imported here, or every command would pay for the records of content.
    from etchmark.api import prediction_note

    if note := prediction_note(written.spec):
        print(plain(note.replace("`", "")))
    which = "one of the predictions files" if len(written.predictions) > 1 else "the predictions"
    print(f"fill {which}, with a model that has not seen these labels, then run:")
    path = plain(shlex.quote(str(written.predictions[0])))
    options = f"--track {written.track} --protocol {written.protocol}"
    print(f"etchmark submit {path} {benchmark} --name NAME {options}")
