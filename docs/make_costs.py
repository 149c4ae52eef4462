"""Writes the tables and the figure of ``docs/methods/costs.md`` from what was measured.

Run it after ``tests/reliability/costs.py`` and ``tests/reliability/solver.py``.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etchmark import files
from etchmark.api import LocalHub, Solver, View
from etchmark.text import number

ROOT = Path(__file__).resolve().parents[1]
RERUNS = ROOT / "tests" / "reliability" / "costs.json"
SOLVER = ROOT / "leaderboard" / "results" / "solver.json"
PAGE = ROOT / "docs" / "methods" / "costs.md"
PICTURE = PAGE.with_suffix(".png")
DRAWN = "composite-stiffness-tensor"
TABLES = ("reruns", "solvers")
INK, PALE, BLUE, RUST = "#222222", "#dddddd", "#3f51b5", "#c0561a"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1400, 800, 130, 40, 90, 110


def solvers(hub: LocalHub) -> Iterator[tuple[str, str, Solver, list[dict[str, Any]]]]:
    """Key, metric, solver and rows of every current board whose solver was timed."""
    measured = json.loads(SOLVER.read_text(encoding="utf-8"))
    for name in hub.benchmarks():
        spec = hub.benchmark(name)
        view = View(spec.headline)
        if spec.key not in measured:
            continue
        rows = hub.board(spec, view).leaders(apart=True)
        solver = hub.solver(spec, view, rows)
        if solver is not None:
            entries = [row for row in rows.to_dict("records") if row["role"] == "entry"]
            yield (
                spec.key,
                spec.primary_metric,
                solver,
                [{str(key): value for key, value in row.items()} for row in entries],
            )


def solvers_table() -> str:
    """The best entry of each board and the cheapest setting that is at least as accurate."""
    lines = [
        "| board | first entry | its score | solver at least as accurate | its score |"
        " processor time of one prediction | reference units |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for key, metric, solver, entries in solvers(LocalHub()):
        best = entries[0]
        point = solver.of_row(best)
        shown = f"| {key} | {best['model']} | {number(best['score'])} (`{metric}`) |"
        if point is None:
            lines.append(f"{shown} none that was timed | – | – | – |")
            continue
        units = "–" if point.units_each is None else number(point.units_each)
        lines.append(
            f"{shown} {point.setting} | {number(point.score)} |"
            f" {number(1000 * point.cpu_seconds_each)} ms | {units} |"
        )
    return "\n".join(lines)


def reruns_table() -> str:
    """Spread of the cost of the same work, largest divided by smallest run."""
    results = json.loads(RERUNS.read_text(encoding="utf-8"))
    lines = [
        "| the same work, run again | load averages | wall seconds | processor seconds |"
        " reference units |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, work in results["works"].items():
        loads = [run["load_average"] for run in (*work["alone"], *work["loaded"])]
        wall, cpu, units = (f"{work['spread'][key]:.2f}" for key in ("wall", "cpu", "units"))
        span = f"{min(loads):.1f} to {max(loads):.1f}"
        lines.append(f"| {name} | {span} | × {wall} | × {cpu} | × {units} |")
    return "\n".join(lines)


class _Axes:
    """Places of points on logarithmic axes."""

    def __init__(self, across: list[float], up: list[float]) -> None:
        self.low = (math.floor(math.log10(min(across))), math.log10(min(up)) - 0.1)
        self.high = (math.ceil(math.log10(max(across))), math.log10(max(up)) + 0.1)

    def at(self, seconds: float, error: float) -> tuple[float, float]:
        x = (math.log10(seconds) - self.low[0]) / (self.high[0] - self.low[0])
        y = (math.log10(error) - self.low[1]) / (self.high[1] - self.low[1])
        return LEFT + (WIDTH - LEFT - RIGHT) * x, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y


def draw() -> bytes:
    """Errors of models and of their solver against the time of a prediction, as PNG."""
    from PIL import Image, ImageDraw, ImageFont

    key, metric, solver, entries = next(
        board for board in solvers(LocalHub()) if board[0].startswith(f"{DRAWN}@")
    )
    settings = [(point.cpu_seconds_each, point.score) for point in solver.points]
    models = []
    for row in entries:
        seconds = row["cpu_seconds_each"]
        measured = isinstance(seconds, float)
        seconds = seconds if measured else row["seconds_each"]
        if isinstance(seconds, float) and seconds > 0:
            models.append((seconds, float(row["score"]), measured))
    axes = _Axes([x for x, *_ in [*settings, *models]], [y for _, y, *_ in [*settings, *models]])
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    text, small = ImageFont.load_default(26), ImageFont.load_default(22)
    pen.text((20, 14), f"{key}: error against the time of one prediction", fill=INK, font=text)
    pen.text((LEFT + 120, 52), "models (open: wall time)", fill=BLUE, font=small)
    pen.text((LEFT + 440, 52), "the solver with several settings", fill=RUST, font=small)
    for power in range(int(axes.low[0]), int(axes.high[0]) + 1):
        place, _ = axes.at(10.0**power, 1.0)
        pen.line([(place, TOP), (place, HEIGHT - BOTTOM)], fill=PALE, width=2)
        pen.text((place - 30, HEIGHT - BOTTOM + 12), f"{10.0**power:g} s", fill=INK, font=small)
    for error in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0):
        if axes.low[1] <= math.log10(error) <= axes.high[1]:
            _, place = axes.at(1.0, error)
            pen.line([(LEFT, place), (WIDTH - RIGHT, place)], fill=PALE, width=2)
            pen.text((LEFT - 80, place - 13), f"{error:g} %", fill=INK, font=small)
    pen.text((LEFT, HEIGHT - 56), "seconds per sample", fill=INK, font=small)
    pen.text((20, TOP - 30), metric, fill=INK, font=small)
    for seconds, error, measured in models:
        x, y = axes.at(seconds, error)
        box = [x - 8, y - 8, x + 8, y + 8]
        pen.ellipse(box, fill=BLUE if measured else None, outline=BLUE, width=3)
    pen.line([axes.at(*point) for point in settings], fill=RUST, width=2)
    for point in settings:
        x, y = axes.at(*point)
        pen.rectangle([x - 8, y - 8, x + 8, y + 8], fill=RUST)
    stream = io.BytesIO()
    image.quantize(64).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def written(page: str) -> str:
    """The page with its tables as they follow from the measured files."""
    for name, table in zip(TABLES, (reruns_table(), solvers_table()), strict=True):
        start, end = f"<!-- {name}: docs/make_costs.py -->", f"<!-- end of {name} -->"
        before, rest = page.split(start)
        page = f"{before}{start}\n\n{table}\n\n{end}{rest.split(end)[1]}"
    return page


def main() -> None:
    files.write_text(PAGE, written(PAGE.read_text(encoding="utf-8")))
    files.write_bytes(PICTURE, draw())


if __name__ == "__main__":
    main()
