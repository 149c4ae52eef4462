"""`list`, `show` and `cite`: what there is, as it is declared."""

from __future__ import annotations

from typing import Annotated

import typer

from etchmark.api import LocalHub
from etchmark.commands.app import JsonOpt, app, say
from etchmark.text import one_line, print_json


@app.command("list")
def list_(as_json: JsonOpt = False) -> None:
    """What there is: benchmarks, datasets and baselines."""
    contents = LocalHub().contents()
    for reason in contents.broken:
        # One broken card must not hide the others.
        say("warning", reason)
    listing = {
        "benchmarks": contents.benchmarks,
        "datasets": contents.datasets,
        "baselines": contents.baselines,
    }
    if as_json:
        print_json(listing)
        return
    for kind, rows in listing.items():
        names = [str(row.get("id") or row["name"]) for row in rows]
        width = max(map(len, names), default=0)
        print(kind)
        for name, row in zip(names, rows, strict=True):
            title = "cannot be used: see the warning" if "error" in row else row["title"] or ""
            print(f"  {name:<{width}}  {one_line(title)}")


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
    from etchmark.commands.present import content

    if fingerprints:
        content.show_fingerprints(name, as_json)
    else:
        content.show(name, as_json)


@app.command()
def cite(
    name: Annotated[str, typer.Argument(metavar="BENCHMARK|DATASET")],
) -> None:
    """BibTeX entries of a benchmark or dataset and of the papers behind it."""
    print(LocalHub().cite(name))
