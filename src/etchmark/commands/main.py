"""The command line. Heavy imports stand inside the commands, so that ``--help`` is quick."""

from __future__ import annotations

import os
import shlex
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from etchmark import files
from etchmark.commands import streams
from etchmark.errors import UserError
from etchmark.text import one_line, plain, print_json

app = typer.Typer(
    name="etchmark",
    help="Datasets, benchmarks and an honest leaderboard for material microstructures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
results_app = typer.Typer(
    help="Reviewed results: what the public board shows.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(results_app, name="results")

MAX_LIMIT = 1e9
"""Seconds or GiB; beyond it a limit is a slip of the pen."""
INTERRUPTED = 130
"""What Typer returns after Ctrl-C."""


class _Working(TyperCommand):
    """A command that computes: it may need room for temporary files, so that is checked first."""

    def invoke(self, ctx: Any) -> Any:
        files.temporary_root()
        return super().invoke(ctx)


BenchmarkArg = Annotated[str, typer.Argument(metavar="BENCHMARK", help="id, or id@version")]
TrackOpt = Annotated[str | None, typer.Option("--track", help="inputs the model reads")]
ProtocolOpt = Annotated[str | None, typer.Option("--protocol", help="how the data are divided")]
JsonOpt = Annotated[bool, typer.Option("--json", help="print JSON")]
TimeLimitOpt = Annotated[
    float, typer.Option("--time-limit", min=0.001, help="wall seconds the model may take")
]
ExecutorOpt = Annotated[
    str, typer.Option("--executor", help="local, processes or dask: where simulated data are made")
]
SchedulerOpt = Annotated[
    str | None, typer.Option("--scheduler", help="address of a Dask scheduler")
]
WorkersOpt = Annotated[
    int | None, typer.Option("--workers", min=1, max=1024, help="processes on this machine")
]
ForceOpt = Annotated[
    bool, typer.Option("--force", help="replace files that are there with other content")
]
UnofficialOpt = Annotated[
    bool, typer.Option("--unofficial", help="score on data that are not the released ones")
]


def _version(value: bool) -> None:
    if value:
        from etchmark import __version__

        print(f"etchmark {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    pass


@app.command("list")
def list_(as_json: JsonOpt = False) -> None:
    """What there is: benchmarks, datasets and baselines."""
    from etchmark.catalog import catalog
    from etchmark.commands import present_content

    found, broken = present_content.contents(catalog())
    for reason in broken:
        # One broken card must not hide the others.
        _say("warning", reason)
    if as_json:
        print_json(found)
        return
    for kind, rows in found.items():
        names = [str(row.get("id") or row["name"]) for row in rows]
        width = max(map(len, names), default=0)
        print(kind)
        for name, row in zip(names, rows, strict=True):
            print(f"  {name:<{width}}  {one_line(row['title'] or '')}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ID")],
    as_json: JsonOpt = False,
    fingerprints: Annotated[
        bool,
        typer.Option("--fingerprints", help="of a benchmark's data as they are on this machine"),
    ] = False,
) -> None:
    """One benchmark, dataset or baseline."""
    from etchmark.commands import present_content

    if fingerprints:
        present_content.show_fingerprints(name, as_json)
    else:
        present_content.show(name, as_json)


@app.command(cls=_Working)
def build(
    dataset: Annotated[str, typer.Argument(metavar="DATASET")],
    config: Annotated[str | None, typer.Option("--config", help="which of its configs")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder to write")] = None,
    force: ForceOpt = False,
    executor: ExecutorOpt = "local",
    scheduler: SchedulerOpt = None,
    workers: WorkersOpt = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="simulate labels anew, and compare")
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
    from etchmark.catalog import catalog
    from etchmark.data import building, executors

    if labels_only and (out or recompute or freeze):
        raise UserError("--labels-only stores labels alone; drop --out, --recompute and --freeze")
    where = executors.executor_of(executor, scheduler=scheduler, workers=workers)
    if labels_only:
        folder, counts = building.label(catalog(), dataset, config, executor=where)
        print(f"{counts.describe()}\nlabels in {plain(str(folder))}")
        return
    made = building.build(
        catalog(),
        dataset,
        config,
        out=out,
        executors=building.Executors(where, executors.local_executor(executor, workers)),
        recompute=recompute,
        freezing=freeze,
        force=force,
    )
    print(f"built {dataset}:{made.manifest.config} in {plain(str(made.folder))}")
    if made.labels is not None:
        print(made.labels.describe())
    print(f"fingerprint {made.manifest.fingerprint}")
    if made.frozen is not None:
        print(f"frozen in {plain(str(made.frozen))}")
    elif made.difference is not None:
        _complain(made.difference.advice())
        raise typer.Exit(1)
    elif made.released:
        print("equal to the frozen release, row by row")
    else:
        print("nothing is frozen to compare it with")


@app.command(cls=_Working)
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
    """Fetch data: from the remote if one is set, otherwise build them; it prints which.

    What is here already is taken as it is. --executor, --scheduler and --workers say where data
    that have to be built are made: `--executor processes` uses every processor.
    """
    from etchmark.commands import present
    from etchmark.data import building, executors

    where = executors.executor_of(executor, scheduler=scheduler, workers=workers)
    using = building.Executors(where, executors.local_executor(executor, workers))
    if not present.download(name, split=split, track=track, out=out, force=force, executors=using):
        raise typer.Exit(1)


@app.command(cls=_Working)
def template(
    benchmark: BenchmarkArg,
    protocol: ProtocolOpt = None,
    track: TrackOpt = None,
    out: Annotated[Path, typer.Option("--out", help="folder to write")] = Path(),
    force: ForceOpt = False,
) -> None:
    """Test inputs and a predictions file to fill."""
    from etchmark.catalog import pick_protocol
    from etchmark.data.loading import load_benchmark
    from etchmark.scoring import template as templates

    loaded = load_benchmark(benchmark)
    chosen_track = track or next(iter(loaded.spec.tracks))
    from etchmark.catalog import pick_track

    pick_track(loaded.spec, chosen_track)
    chosen = pick_protocol(loaded.spec, protocol, default=True)
    written = templates.write(loaded, chosen_track, chosen, out, force=force)
    print(f"{loaded.spec.key}, track {chosen_track}, protocol {chosen}")
    for path in (*written.inputs, *written.predictions):
        print(f"wrote {plain(str(path))}")
    said = f"--track {chosen_track} --protocol {chosen}"
    print(
        "fill one predictions file (of every id, from a model that has not seen its label), then:"
    )
    path = plain(shlex.quote(str(written.predictions[0])))
    print(f"etchmark submit {path} {benchmark} --name NAME {said}")


def _check_limit(option: str, value: float) -> None:
    if not 0 < value < MAX_LIMIT:
        raise UserError(f"{option} {value:g}: give a number between 0 and {MAX_LIMIT:g}")


@app.command(cls=_Working)
def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="<baseline>[/<variant>] or a folder")
    ],
    benchmark: BenchmarkArg,
    track: TrackOpt = None,
    protocol: ProtocolOpt = None,
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
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=100, help="run with seeds 0 to N-1")
    ] = 1,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda or auto")] = "auto",
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
    from etchmark.commands import present
    from etchmark.evaluation.evaluate import Limits, Options

    _check_limit("--time-limit", time_limit)
    _check_limit("--memory-limit", memory_limit or 1.0)
    limits = Limits(time_limit, None if memory_limit is None else int(memory_limit * 2**30))
    present.evaluate(
        model,
        benchmark,
        track=track,
        protocol=protocol,
        keep=not (mini or unofficial),
        options=Options(seeds, device, limits, resume=resume, weights=weights),
        export=export,
        force=force,
        unofficial=unofficial,
        show_log=show_log,
        as_json=as_json,
        mini=mini,
        curves=curves,
    )


@app.command(cls=_Working)
def score(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="predictions file")],
    benchmark: BenchmarkArg,
    protocol: ProtocolOpt = None,
    track: TrackOpt = None,
    unofficial: UnofficialOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Metrics of a predictions file; nothing is stored."""
    from etchmark.commands import present
    from etchmark.data.loading import load_benchmark
    from etchmark.submission.submit import score_file

    loaded = load_benchmark(benchmark, unofficial=unofficial)
    stated, scored = score_file(loaded, file, track=track, protocol=protocol)
    present.scored(loaded.spec, stated.protocol, scored, as_json)


@app.command(cls=_Working)
def submit(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="predictions file")],
    benchmark: BenchmarkArg,
    name: Annotated[str, typer.Option("--name", help="the model's name on the board")],
    card: Annotated[
        Path | None, typer.Option("--card", help="YAML: authors, paper, code, …")
    ] = None,
    protocol: ProtocolOpt = None,
    track: TrackOpt = None,
    export: Annotated[
        Path | None, typer.Option("--export", help="folder for a submission to the public board")
    ] = None,
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Score a predictions file and enter it into this machine's registry."""
    from etchmark.commands import present

    present.submit(
        file,
        benchmark,
        name=name,
        card=card,
        protocol=protocol,
        track=track,
        export=export,
        force=force,
        as_json=as_json,
    )


@app.command()
def leaderboard(
    benchmark: BenchmarkArg,
    track: TrackOpt = None,
    protocol: ProtocolOpt = None,
    split: Annotated[str | None, typer.Option("--split", help="test split")] = None,
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
    from etchmark.commands import present

    if as_json and as_csv:
        raise UserError("--json and --csv exclude each other; give one")
    present.leaderboard(
        benchmark,
        track=track,
        protocol=protocol,
        split=split,
        metric=metric,
        subset=subset,
        where={
            "status": status,
            "tags": tag,
            "training_data": trained_on,
            "max_parameters": max_parameters,
        },
        everything=everything,
        form="json" if as_json else "csv" if as_csv else "text",
    )


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
    from etchmark.commands import present_compare

    present_compare.compare(
        benchmark,
        (first, second),
        split=split,
        metric=metric,
        track=track,
        protocol=protocol,
        as_json=as_json,
    )


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
    from etchmark.commands import present_compare

    present_compare.withdraw(submission, sure=yes)


@app.command()
def cite(
    name: Annotated[str, typer.Argument(metavar="BENCHMARK|DATASET")],
) -> None:
    """BibTeX entries of a benchmark or dataset and of the papers behind it."""
    from etchmark.api import cite as citations
    from etchmark.catalog import catalog

    print(citations.bibtex(catalog(), name))


BaselineOpt = Annotated[
    bool,
    typer.Option("--baseline", help="it is a baseline, exported by `results run` (maintainers)"),
]
IntoOpt = Annotated[
    Path | None,
    typer.Option("--into", help="checkout or content folder to write to (default: the one in use)"),
]


@results_app.command("check", cls=_Working)
def results_check(
    folder: Annotated[Path, typer.Argument(metavar="DIR")], baseline: BaselineOpt = False
) -> None:
    """Rescore an exported submission, compare everything it says, and tell what `add` would do."""
    from etchmark.catalog import catalog
    from etchmark.submission import review

    for line in review.check(catalog(), folder, baseline=baseline).report():
        print(one_line(line))


@results_app.command("add", cls=_Working)
def results_add(
    folder: Annotated[Path, typer.Argument(metavar="DIR")],
    replace: Annotated[
        bool, typer.Option("--replace", help="in place of the model's older record")
    ] = False,
    into: IntoOpt = None,
    baseline: BaselineOpt = False,
) -> None:
    """Check an exported submission and take it into leaderboard/results (by review)."""
    from etchmark.catalog import catalog
    from etchmark.submission import review

    path = review.add(catalog(), folder, replace=replace, into=into, baseline=baseline)
    print(f"wrote {plain(str(path))}")


@results_app.command("run", cls=_Working)
def results_run(
    benchmark: BenchmarkArg,
    only: Annotated[
        str, typer.Option("--only", help="models to run: comma-separated names or patterns")
    ] = "*",
    protocol: ProtocolOpt = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="export folders instead of leaderboard/results")
    ] = None,
    into: IntoOpt = None,
    again: Annotated[bool, typer.Option("--again", help="also those that have a record")] = False,
    time_limit: TimeLimitOpt = 4 * 3600.0,
) -> None:
    """Run every baseline that names this benchmark; goes on where it stopped (maintainers).

    What a model prints is in logs/<model>.log of the hub folder while it runs.
    """
    from etchmark.evaluation.evaluate import Limits
    from etchmark.submission import campaign

    _check_limit("--time-limit", time_limit)
    if out is not None and into is not None:
        raise UserError("--out and --into exclude each other; give one")
    campaign.run(
        benchmark,
        only=only.split(","),
        protocol=protocol,
        out=out,
        into=into,
        again=again,
        limits=Limits(time_limit),
    )


@app.command()
def dashboard(
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8501,
    host: Annotated[str, typer.Option("--host", help="address to listen on")] = "localhost",
) -> None:
    """The Streamlit app."""
    import importlib.util

    from etchmark.catalog import content_root

    if importlib.util.find_spec("streamlit") is None:
        raise UserError(
            "the dashboard needs Streamlit; install it with `pip install 'etchmark[dashboard]'`"
        )
    script = content_root() / "leaderboard" / "app.py"
    if not script.is_file():
        raise UserError(f"{script}: is missing; reinstall etchmark or correct ETCHMARK_CONTENT")
    # Streamlit reads its own configuration relative to the working directory.
    command = [sys.executable, "-m", "streamlit", "run", str(script)]
    command += ["--server.port", str(port), "--server.address", host, "--server.headless", "true"]
    command += ["--browser.gatherUsageStats", "false"]
    os.chdir(script.parent)
    os.execv(sys.executable, command)  # noqa: S606


def _say(kind: str, text: str) -> None:
    """One line on stderr, whatever a file or name that it quotes may hold."""
    print(f"{kind}: {one_line(text)}", file=sys.stderr)


def _complain(text: str) -> None:
    _say("error", text)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    _say("warning", str(message))


def _complain_of_usage(error: Any) -> int:
    # Typer's own exceptions, by what they offer: they moved between its versions.
    path = error.ctx.command_path if getattr(error, "ctx", None) else "etchmark"
    message = error.format_message()
    if error.__class__.__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        _complain(f"{message.rstrip('.')}; see `{path} --help`")
    return error.exit_code


def _complain_of_output(error: streams.OutputError) -> int:
    # A reader that left (head, less) knows why; nothing is left to say.
    if not error.reader_left:
        _complain(str(error))
    return 1


def _complain_of_room(error: OSError) -> int:
    """A disk that is full, wherever it was met."""
    what = f"{error.filename}: " if error.filename is not None else ""
    _complain(
        f"{what}cannot be written ({error.strerror or error}); free space where the output goes, in"
        " the hub folder (ETCHMARK_HOME) and in the folder for temporary files (TMPDIR)"
    )
    return 2


def _run(arguments: list[str] | None) -> int:
    """Run a command; its exit status."""
    try:
        code = app(args=arguments, prog_name="etchmark", standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        return code or 0
    except UserError as error:
        _complain(str(error))
        return 2
    except streams.OutputError as error:
        return _complain_of_output(error)
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted")
        return 1
    except Exception as error:
        if hasattr(error, "format_message"):
            return _complain_of_usage(error)
        if isinstance(error, OSError) and (refusal := files.refusal(error)):
            # A file of the hub that belongs to another user, wherever it was met.
            _complain(str(refusal))
            return 2
        if os.environ.get("ETCHMARK_DEBUG"):
            raise
        if isinstance(error, OSError) and error.errno in files.NO_ROOM:
            return _complain_of_room(error)
        _complain(f"{type(error).__name__}: {error} (ETCHMARK_DEBUG=1 shows the traceback)")
        return 1


def main(arguments: list[str] | None = None) -> None:
    """Entry point: exit 2 for the caller's mistake, 1 for anything else, 0 for fine."""
    warnings.showwarning = _warn
    with streams.guarded():
        code = _run(arguments)
        try:
            # What is still in the buffer is written here, where a failure can be reported.
            sys.stdout.flush()
        except streams.OutputError as error:
            code = code or _complain_of_output(error)
    sys.exit(code)


if __name__ == "__main__":
    main()
