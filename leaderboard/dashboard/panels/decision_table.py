"""All benchmarks in one table: what each asks, who leads, by how much, and whether that is real."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dashboard import cached, markup
from dashboard.page import guarded
from dashboard.panels import benchmark_picture, cells
from etchmark.api import Hub, View, doubts_in_words, verdict
from etchmark.specs import BenchmarkSpec

CHIPS = {"winner": "good", "tie": "open", "no gain": "bad"}
"""Colour of a verdict; all others have none."""
RUN = ("run", "verified")
"""Status of models that this hub ran."""
UNCHECKED = {
    "scored": "from a predictions file; the model was not run here",
    "reported": "as its submitter reports it; nothing was checked",
}
HEAD = ("Benchmark", "Task", "Best", "Score", "Gain over the reference", "Verdict")
STYLE = """
.em-decide th[scope=row] { font-weight: 600; min-width: 9.5rem; }
.em-decide td:nth-of-type(1) { min-width: 13rem; max-width: 24rem; }
.em-decide td:nth-of-type(2) { min-width: 10rem; }
.em-decide .em-links { margin-top: 0.4rem; white-space: nowrap; }
.em-decide img { margin-bottom: 0.35rem; width: 144px; height: auto; }
"""


def headline(spec: BenchmarkSpec) -> View:
    return View(spec.headline, metric=spec.primary_metric)


def show(hub: Hub, specs: list[BenchmarkSpec], frames: Mapping[str, pd.DataFrame]) -> None:
    """The table.

    Args:
        hub: where metrics and pictures are known.
        specs: the benchmarks, in the order they are shown.
        frames: standings by benchmark; while one is not known, its row lacks gain and verdict.
    """
    rows = []
    for spec in specs:
        with guarded():
            rows.append(row(hub, spec, frames.get(spec.id)))
    content = markup.table(HEAD, rows, "All benchmarks with their best models", stack=True)
    markup.show(f'<div class="em-decide">{content}</div>', STYLE)


def row(hub: Hub, spec: BenchmarkSpec, frame: pd.DataFrame | None) -> list[str]:
    """Cells of a benchmark; without gain and verdict while its standings are not known."""
    ranked = (
        cached.leaders(hub, spec, headline(spec))
        if frame is None
        else pd.DataFrame(frame[frame["rank"].notna()])
    )
    leader = str(ranked["submission"].iloc[0]) if len(ranked) else None
    picture = benchmark_picture.address(hub, spec, leader)
    image = ""
    if picture is not None:
        image = f'<img src="{picture[0]}" alt="{markup.escaped(picture[1])}">'
    board = {"benchmark": spec.id}
    named = markup.link("leaderboard", markup.escaped(spec.title), board)
    links = [markup.link("leaderboard", "Board", board, label=f"Board of {spec.title}")]
    asked = [f"{image}{named}", markup.escaped(spec.summary.replace("`", ""), 400)]
    if leader is None:
        return [*asked, "No submission yet.", "", "", links[0]]
    first = cells.row_at(ranked, 0)
    said = f"Model page of {first['model']}"
    links.append(markup.link("model", "Model", cells.model_link(first), label=said))
    return [
        *asked,
        _leader(hub, spec, first, ranked),
        cells.score(hub, spec, first),
        "…" if frame is None else cells.gain(spec, first),
        f"{'…' if frame is None else _verdict(spec, frame)}"
        f'<div class="em-small em-links">{" · ".join(links)}</div>',
    ]


def _leader(hub: Hub, spec: BenchmarkSpec, first: dict[Any, Any], ranked: pd.DataFrame) -> str:
    """The leader by its title, its role, its flags, and whether this hub ran it."""
    lines = [cells.model(first)]
    if len(spec.tracks) > 1:
        lines.append(f"track {markup.escaped(first['track'], 40)}")
    if first["role"] != "entry":
        lines.append(markup.chip(first["role"], hint="not an entry: what entries have to beat"))
    if words := doubts_in_words(first["flags"], first["role"]):
        lines.append(f"flagged: {markup.escaped(words)}")
    if first["status"] in UNCHECKED:
        lines.append(f"<b>{first['status']}</b>: {UNCHECKED[first['status']]}")
        is_run = ranked["status"].isin(RUN).to_numpy(dtype=bool)
        if is_run.any():
            run = cells.row_at(ranked, int(is_run.argmax()))
            lines.append(
                f"Best of those run here: {cells.model(run)} {cells.score(hub, spec, run)}"
            )
            if words := doubts_in_words(run["flags"], run["role"]):
                lines.append(f"flagged: {markup.escaped(words)}")
    head, *notes = lines
    return head + "".join(f'<div class="em-small">{note}</div>' for note in notes)


def _verdict(spec: BenchmarkSpec, frame: pd.DataFrame) -> str:
    said = verdict(spec, frame)
    # A lead in doubt is not shown in the colour of a sure one.
    colour = "" if said.kind == "winner" and said.doubted else CHIPS.get(said.kind, "")
    chips = [markup.chip(said.text, colour, said.reason)]
    if said.at_limit:
        chips.append(
            markup.chip(
                "discretisation error reached",
                hint="The leader is as close to the labels as these are to a finer grid.",
            )
        )
    return "<br>".join(chips)
