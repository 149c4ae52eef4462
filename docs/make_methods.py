"""Draws the figures of ``docs/methods/roles.md`` and ``discretisation.md``; writes the table there.

The first is drawn from the reviewed records of the hardness board, the second from the frozen
labels on refined grids.
"""

from __future__ import annotations

import io
import runpy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from etchmark import files
from etchmark.catalog import Catalog
from etchmark.registry.records import read_record
from etchmark.specs import UNRANKED_ROLES

ROOT = Path(__file__).resolve().parents[1]
METHODS = ROOT / "docs" / "methods"
COMPOSITES = ROOT / "datasets" / "composites"
START, END = "<!-- errors: docs/make_methods.py -->", "<!-- end of errors -->"
BOARD, ROWS = "superalloy-hardness", 14
CONFIGS = ("3d-refined", "2d-refined", "2d-morphologies-refined")
INK, PALE, RANKED, APART = "#222222", "#dddddd", "#3f51b5", "#c0561a"
WIDTH, LEFT, RIGHT, TOP, STEP = 1400, 640, 40, 100, 44


@dataclass(frozen=True)
class Bar:
    """A range with a point in it; an end that is None is not drawn."""

    label: str
    point: float
    low: float | None
    high: float | None
    colour: str


def draw(title: str, legend: dict[str, str], bars: Sequence[Bar], ticks: Sequence[float]) -> bytes:
    """Bars below one another as PNG.

    Args:
        title: of the figure.
        legend: what each colour stands for, by the text.
        bars: from top to bottom.
        ticks: marks of the axis, from its left end to its right end.
    """
    height = TOP + STEP * len(bars) + 70
    image = Image.new("RGB", (WIDTH, height), "white")
    pen = ImageDraw.Draw(image)
    text, small = ImageFont.load_default(26), ImageFont.load_default(20)

    def across(value: float) -> float:
        inside = min(max(value, ticks[0]), ticks[-1])
        return LEFT + (WIDTH - LEFT - RIGHT) * (inside - ticks[0]) / (ticks[-1] - ticks[0])

    pen.text((20, 12), title, fill=INK, font=text)
    for column, (name, colour) in enumerate(legend.items()):
        pen.text((LEFT + 330 * column, 56), name, fill=colour, font=small)
    for tick in ticks:
        place = across(tick)
        colour = INK if tick == 0 else PALE
        pen.line([(place, TOP - 12), (place, height - 60)], fill=colour, width=2)
        pen.text((place - 16, height - 48), f"{tick:g}", fill=INK, font=small)
    for row, bar in enumerate(bars):
        down = TOP + STEP * row + STEP // 2
        pen.text((20, down - 13), bar.label, fill=INK, font=small)
        if bar.low is not None and bar.high is not None:
            pen.line([(across(bar.low), down), (across(bar.high), down)], fill=bar.colour, width=6)
        place = across(bar.point)
        pen.ellipse([place - 8, down - 8, place + 8, down + 8], fill=bar.colour)
    stream = io.BytesIO()
    image.quantize(64).save(stream, "PNG", optimize=True)
    return stream.getvalue()


# --- roles -------------------------------------------------------------------------------------


def roles() -> bytes:
    """The rows of the hardness board with the smallest errors, whatever their roles."""
    spec = Catalog(ROOT).benchmark(BOARD)
    bars = []
    for path in sorted((ROOT / "leaderboard" / "results" / spec.key).glob("*.json")):
        record = read_record(path)
        if record.protocol != spec.headline or record.outcome != "ok":
            continue
        score = record.scores[0].metrics[spec.primary_metric]
        role = spec.role_of(record.name, record.role)
        colour = APART if role in UNRANKED_ROLES else RANKED
        label = f"{record.name.rpartition('/')[2]} ({role})"
        bars.append(Bar(label, score.value, score.ci_low, score.ci_high, colour))
    bars.sort(key=lambda bar: (bar.point, bar.label))
    legend = {"ranked": RANKED, "listed apart": APART}
    title = f"{BOARD}: mean absolute error in HV, and what each row is"
    return draw(title, legend, bars[:ROWS], list(range(40, 101, 10)))


# --- discretisation ----------------------------------------------------------------------------


def errors() -> dict[str, tuple[list[int], np.ndarray]]:
    """Grids and signed errors in % of single labels, by config and morphology."""
    extrapolated = runpy.run_path(str(COMPOSITES / "build.py"))["_extrapolated"]
    parameters = Catalog(ROOT).dataset("composites").parameters
    found: dict[str, tuple[list[int], np.ndarray]] = {}
    for config in CONFIGS:
        grids = parameters[config]["refined"]
        labels = pq.read_table(COMPOSITES / "labels" / f"{config}.parquet")
        values = np.stack([labels[f"c1111_split_{parts}"].to_numpy() for parts in grids], axis=1)
        limits = np.array([extrapolated(list(row), grids)[0] for row in values])
        percent = 100 * (values[:, 0] / limits - 1)
        found[f"{config}: all"] = (grids, percent)
        names = np.array([name.rsplit("-", 1)[0] for name in labels["id"].to_pylist()])
        for name in dict.fromkeys(names.tolist() if "2d" in config else []):
            shown = name.replace("_", " ")
            found[f"{config}: {shown}"] = (grids, percent[names == name])
    return found


def signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def table() -> str:
    """A row for each config and each of its morphologies."""
    lines = [
        "| labels | number | parts of a voxel | median, % | 5 % to 95 %, % | mean size, % |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, (grids, percent) in errors().items():
        low, middle, high = np.percentile(percent, [5, 50, 95])
        lines.append(
            f"| {name} | {len(percent)} | {', '.join(map(str, grids))} | {signed(middle)} |"
            f" {signed(low)} to {signed(high)} | {np.abs(percent).mean():.2f} |"
        )
    return "\n".join(lines)


def discretisation() -> bytes:
    """Median and 5 to 95 % of the signed error, for each config and morphology."""
    bars = []
    for name, (_, percent) in errors().items():
        low, middle, high = np.percentile(percent, [5, 50, 95])
        bars.append(Bar(name, middle, low, high, APART if name.endswith(": all") else RANKED))
    legend = {"one morphology": RANKED, "all of a config": APART}
    title = "Error of labels on their own grid, in % (point: median; bar: 5 to 95 %)"
    return draw(title, legend, bars, [-2.5, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2])


def main() -> None:
    page = METHODS / "discretisation.md"
    before, rest = page.read_text(encoding="utf-8").split(START)
    after = rest.split(END)[1]
    files.write_text(page, f"{before}{START}\n\n{table()}\n\n{END}{after}")
    files.write_bytes(page.with_suffix(".png"), discretisation())
    files.write_bytes(METHODS / "roles.png", roles())


if __name__ == "__main__":
    main()
