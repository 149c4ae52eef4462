"""What ``compare`` and ``withdraw`` print."""

from __future__ import annotations

import math
import sys

import typer

from etchmark.boards import compare as comparing
from etchmark.catalog import catalog
from etchmark.commands.present import table
from etchmark.errors import UserError
from etchmark.registry.store import Store
from etchmark.submission import submit as submissions
from etchmark.targets import metric as metric_by_id
from etchmark.text import number, one_line, plain, print_json


def compare(
    benchmark: str,
    models: tuple[str, str],
    *,
    split: str | None,
    metric: str | None,
    track: str | None,
    protocol: str | None,
    as_json: bool,
) -> None:
    spec = catalog().benchmark(benchmark)
    pair = comparing.pair(
        spec, Store(), models, split=split, metric=metric, track=track, protocol=protocol
    )
    if as_json:
        print_json(_plain(pair))
        return
    direction = "higher" if metric_by_id(pair.metric).higher_is_better else "lower"
    unit = metric_by_id(pair.metric).unit_for(spec.target.unit)
    first, second = (plain(side.name) for side in pair.sides)
    print(f"{spec.key}: {one_line(spec.title)}")
    named = pair.metric if unit == "1" else f"{pair.metric} in {unit}"
    print(
        f"protocol {pair.protocol}, {named} ({direction} is better), paired 95 % interval over"
        f" {spec.unit_names}"
    )
    print(f"difference: {first} minus {second}")
    rows = [["split", "difference", "95 % interval", spec.unit_names, "better"]]
    for row in pair.frame.to_dict("records"):
        interval = "–"
        if math.isfinite(row["ci_low"]):
            interval = f"{number(row['ci_low'])} … {number(row['ci_high'])}"
        better = plain(row["better"]) or "not told apart"
        rows.append([row["split"], number(row["difference"]), interval, str(row["units"]), better])
    print(table(rows))


def _plain(pair: comparing.Pair) -> dict[str, object]:
    """A comparison as plain objects, null for an interval that is not defined."""
    names = ("difference", "ci_low", "ci_high", "units", "better")
    splits = [
        {"split": row["split"]}
        | {name: None if row[name] == "" or row[name] != row[name] else row[name] for name in names}
        for row in pair.frame.to_dict("records")
    ]
    sides = [
        {
            "name": side.name,
            "model": side.entry.record.name,
            "track": side.entry.record.track,
            "submission": side.entry.record.submission,
        }
        for side in pair.sides
    ]
    return {
        "benchmark": pair.spec.key,
        "protocol": pair.protocol,
        "metric": pair.metric,
        "unit": metric_by_id(pair.metric).unit_for(pair.spec.target.unit),
        "first": sides[0],
        "second": sides[1],
        "splits": splits,
    }


def withdraw(submission: str, *, sure: bool) -> None:
    store = Store()
    store.require_writable()
    found = submissions.to_withdraw(store, submission)
    named = (
        f"{found.short}, {plain(found.name)} on {found.benchmark}@{found.version}, track"
        f" {found.track}, protocol {found.protocol}"
    )
    if not sure:
        if sys.stdin is None or not sys.stdin.isatty():
            raise UserError(f"withdraw {named}: nobody can be asked here; add --yes if it is meant")
        if not typer.confirm(f"withdraw {named}?", err=True):
            raise UserError("nothing was withdrawn")
    done = submissions.withdraw(store, found)
    print(f"withdrew {named}")
    if done.again is not None:
        print(f"{done.again.submission[:12]} of the same name stands on the board again")
    if done.removed:
        print("its predictions file was removed")
    if done.kept:
        print("its predictions file was kept, or was missing: other submissions may use it")
