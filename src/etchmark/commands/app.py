"""The program `etchmark` and what its commands share. Importing this loads nothing heavy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from etchmark import api
from etchmark.errors import UserError
from etchmark.text import one_line

ORDER = (
    *("list", "show", "build", "download", "template", "evaluate", "score", "submit"),
    *("leaderboard", "compare", "withdraw", "cite", "results", "dashboard"),
)
"""Commands in the order of help: what there is, data, models, submissions, boards."""
MAX_LIMIT = 1e9
"""Seconds or GiB; beyond it a limit is a slip of the pen."""


class InOrder(TyperGroup):
    """A group whose help names the commands in ``ORDER``; others follow."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


class Working(TyperCommand):
    """A command that computes: it may need room for temporary files, so that is checked first."""

    def invoke(self, ctx: Any) -> Any:
        api.temporary_root()
        return super().invoke(ctx)


app = typer.Typer(
    name="etchmark",
    cls=InOrder,
    help="Datasets, benchmarks and an honest leaderboard for material microstructures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

# --- options that several commands take ---

BenchmarkArg = Annotated[str, typer.Argument(metavar="BENCHMARK", help="id, or id@version")]
FileArg = Annotated[Path, typer.Argument(metavar="FILE", help="predictions file")]
TrackOpt = Annotated[str | None, typer.Option("--track", help="inputs the model reads")]
ProtocolOpt = Annotated[str | None, typer.Option("--protocol", help="how the data are divided")]
RoleOpt = Annotated[
    str | None,
    typer.Option(
        "--role",
        help="exploratory (chosen by test scores) or oracle (makes the labels): listed, not ranked",
    ),
]
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
ExportOpt = Annotated[
    Path | None, typer.Option("--export", help="folder for a submission to the public board")
]


def check_limit(option: str, value: float) -> None:
    if not 0 < value < MAX_LIMIT:
        raise UserError(f"{option} {value:g}: give a number between 0 and {MAX_LIMIT:g}")


def say(kind: str, text: object) -> None:
    """One line on stderr, whatever a file or name that it quotes may hold."""
    print(f"{kind}: {one_line(text)}", file=sys.stderr)
