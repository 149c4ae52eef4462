"""Which family of models is good at what: the best of each on every benchmark, as a gain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dashboard import markup
from dashboard.panels import cells
from etchmark.api import gain_text
from etchmark.specs import BenchmarkSpec

NO_FAMILY = "no family stated"
STYLE = """
.em-matrix thead th { writing-mode: vertical-rl; transform: rotate(180deg); font-weight: 400;
  height: 13rem; padding: 0.3rem 0.2rem; text-wrap: balance; }
.em-matrix thead th:first-child { writing-mode: horizontal-tb; transform: none; }
.em-matrix td { text-align: right; padding: 0.35rem 0.4rem; }
.em-matrix td a { text-decoration: none; }
.em-matrix td a:hover { text-decoration: underline; }
.em-matrix th[scope=row] { white-space: nowrap; font-weight: 400; font-size: 0.85rem; }
"""
STRONGEST = 0.55
"""Opacity of the colour of a gain of 100 %."""


SAME = {"foundation features": "frozen features"}
"""Families by the names that some cards have for them."""
PRETRAINED = "pretrained"
"""A tag that makes a family of its own of those that have it."""


def family(tags: Sequence[str]) -> str:
    """The first tag of a model's card; what was pretrained is kept apart from what was not."""
    if not len(tags):
        return NO_FAMILY
    name = SAME.get(tags[0], tags[0])
    return f"{name}, {PRETRAINED}" if PRETRAINED in [*tags][1:] else name


def best_of_families(spec: BenchmarkSpec, frame: pd.DataFrame) -> dict[str, dict[Any, Any]]:
    """The best ranked row of each family."""
    ranked = pd.DataFrame(frame[frame["rank"].notna()])
    places: dict[str, int] = {}
    for place, tags in enumerate(ranked["tags"].tolist()):
        places.setdefault(family(tags), place)
    rows = ranked.iloc[[*places.values()]].to_dict("records")
    return dict(zip(places, rows, strict=True))


def matrix(
    specs: list[BenchmarkSpec], frames: Mapping[str, pd.DataFrame]
) -> dict[str, dict[str, dict[Any, Any]]]:
    """The best row of each family by benchmark, of those with standings and a declared reference.

    Empty if no entry is ranked on any of them.
    """
    columns = {
        spec.id: best_of_families(spec, frames[spec.id])
        for spec in specs
        if spec.id in frames and spec.gains_over is not None
    }
    entries = any(row["role"] == "entry" for rows in columns.values() for row in rows.values())
    return columns if entries else {}


def show(columns: Mapping[str, Mapping[str, Mapping[Any, Any]]], titles: Mapping[str, str]) -> None:
    """The matrix: a row per family, a column per benchmark with its title."""
    families = sorted({name for rows in columns.values() for name in rows})
    # Families that were tried on most benchmarks come first.
    families.sort(key=lambda name: -sum(name in rows for rows in columns.values()))
    head = [
        "",
        *(
            markup.link("leaderboard", markup.escaped(titles[name], 80), {"benchmark": name})
            for name in columns
        ),
    ]
    body = [
        [markup.escaped(name, 40), *(_cell(rows.get(name)) for rows in columns.values())]
        for name in families
    ]
    content = markup.table(head, body, "Gain of the best model of each family on every benchmark")
    markup.show(f'<div class="em-matrix">{content}</div>', STYLE)


def _cell(row: Mapping[Any, Any] | None) -> str:
    if row is None:
        return '<span class="em-small" title="no ranked model of this family">–</span>'
    gain = math.nan if pd.isna(row["gain"]) else float(row["gain"])
    if math.isnan(gain):
        return '<span title="scored on other samples than the reference">?</span>'
    sure = row["gain_relation"] in ("better", "worse")
    colour = "0, 158, 115" if gain > 0 else "213, 94, 0"
    strength = 0.15 + (STRONGEST - 0.15) * min(1.0, abs(gain) / 100) if sure else 0.0
    if gain == 0 and pd.isna(row["gain_relation"]):
        shown = markup.link("model", "ref.", cells.model_link(row), label=f"ref.: {row['model']}")
        return f'<span title="{markup.escaped(row["model"])}, the reference">{shown}</span>'
    # 99.9 is not 100.
    text = f"{gain:.1f}" if 99.5 <= gain < 100 else f"{gain:.0f}"
    text = text.replace("-", "−") if abs(gain) < 999.5 else f"{'−' * (gain < 0)}999+"
    hint = (
        f"{row['model']} (track {row['track']}): {gain_text(gain, *cells.gain_interval(row))},"
        f" {row['gain_relation']}"
    )
    shown = text if sure else f"({text})"
    link = markup.link("model", shown, cells.model_link(row), label=f"{shown}: {hint}")
    return (
        f'<span class="em-number" title="{markup.escaped(hint)}" style="display:block;'
        f'padding:0 0.2rem;background:rgba({colour},{strength:.2f})">{link}</span>'
    )
