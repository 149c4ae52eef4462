"""Two models side by side, as text or JSON."""

from __future__ import annotations

import math

from etchmark.api import Hub, Pair
from etchmark.commands.present.scores import table
from etchmark.text import number, one_line, plain, print_json


def show(hub: Hub, pair: Pair) -> None:
    """One row per split: the difference, its interval and which model is better."""
    spec, metric = pair.spec, hub.metric(pair.spec, pair.metric)
    direction = "higher" if metric.higher_is_better else "lower"
    first, second = (plain(side.name) for side in pair.sides)
    print(f"{spec.key}: {one_line(spec.title)}")
    named = pair.metric if metric.unit == "1" else f"{pair.metric} in {metric.unit}"
    print(
        f"protocol {pair.protocol}, {named} ({direction} is better), paired 95 % interval over"
        f" {spec.unit_names}"
    )
    print(f"difference: {first} minus {second}")
    rows = [["split", "difference", "95 % interval", spec.unit_names, "p of this pair", "better"]]
    for row in pair.frame.to_dict("records"):
        interval = "–"
        if math.isfinite(row["ci_low"]):
            interval = f"{number(row['ci_low'])} … {number(row['ci_high'])}"
        better = plain(row["better"]) or row["relation"]
        p = number(row["p"]) if math.isfinite(row["p"]) else "–"
        rows.append(
            [row["split"], number(row["difference"]), interval, str(row["units"]), p, better]
        )
    print(table(rows))
    for name, flags in zip((first, second), pair.flags, strict=True):
        for flag in flags:
            print(f"flag of {name}: {plain(flag)}")


def show_json(hub: Hub, pair: Pair) -> None:
    """The same as JSON, null for an interval that is not defined."""
    names = ("difference", "ci_low", "ci_high", "units", "better", "relation", "p")
    splits = [
        {"split": row["split"]}
        | {name: None if row[name] == "" or row[name] != row[name] else row[name] for name in names}
        for row in pair.frame.to_dict("records")
    ]
    first, second = (
        {
            "name": side.name,
            "model": side.entry.record.name,
            "track": side.entry.record.track,
            "submission": side.entry.record.submission,
            "flags": flags,
        }
        for side, flags in zip(pair.sides, pair.flags, strict=True)
    )
    print_json(
        {
            "benchmark": pair.spec.key,
            "protocol": pair.protocol,
            "metric": pair.metric,
            "unit": hub.metric(pair.spec, pair.metric).unit,
            "first": first,
            "second": second,
            "splits": splits,
        }
    )
