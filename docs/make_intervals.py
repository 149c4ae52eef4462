"""Writes the table and the figure of ``docs/methods/intervals.md`` from the measured coverage.

Run it after ``tests/reliability/coverage.py``, which writes ``leaderboard/results/coverage.json``.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from etchmark import files
from etchmark.catalog import catalog

ROOT = Path(__file__).resolve().parents[1]
COVERAGE = ROOT / "leaderboard" / "results" / "coverage.json"
PAGE = ROOT / "docs" / "methods" / "intervals.md"
PICTURE = PAGE.with_suffix(".png")
START, END = "<!-- coverage: docs/make_intervals.py -->", "<!-- end of coverage -->"
INK, PALE, JACKKNIFE, BOOTSTRAP = "#222222", "#dddddd", "#3f51b5", "#c0561a"
WIDTH, LEFT, RIGHT, TOP, STEP = 1400, 640, 40, 100, 56
LOW, HIGH = 0.55, 1.0


def boards() -> list[tuple[str, str, str, dict[str, dict[str, Any]]]]:
    """Benchmark, protocol, primary metric and measured coverage by metric, of each design.

    Superseded versions are left out: their boards show what was measured for them.
    """
    measured = json.loads(COVERAGE.read_text(encoding="utf-8"))
    known = catalog()
    current = [known.benchmark(name) for name in known.benchmark_names()]
    return [
        (spec.key, protocol, spec.primary_metric, metrics)
        for spec in current
        for protocol, metrics in measured.get(spec.key, {}).items()
        if spec.primary_metric in metrics
    ]


def table() -> str:
    """A row for each board: its first metric, and the metric whose intervals hold least."""
    lines = [
        "| board | protocol | units | headline metric | coverage (lowest to highest record) |"
        " percentile bootstrap | worst metric of the board |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for key, protocol, primary, metrics in boards():
        score = metrics[primary]
        worst = min(metrics, key=lambda name: metrics[name]["jackknife"][0])
        share, low, high = score["jackknife"]
        before = f"{100 * score['bootstrap'][0]:.0f} %" if "bootstrap" in score else "–"
        lines.append(
            f"| {key} | {protocol} | {score['units']:,} | `{primary}` | {100 * share:.0f} %"
            f" ({100 * low:.0f} to {100 * high:.0f}) | {before} |"
            f" `{worst}` {100 * metrics[worst]['jackknife'][0]:.0f} % |"
        )
    return "\n".join(lines)


def draw() -> bytes:
    """The coverage of the headline metric of each board as PNG: mean, and range over records."""
    from PIL import Image, ImageDraw, ImageFont

    rows = boards()
    height = TOP + STEP * len(rows) + 70
    image = Image.new("RGB", (WIDTH, height), "white")
    pen = ImageDraw.Draw(image)
    text, small = ImageFont.load_default(26), ImageFont.load_default(22)

    def across(share: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (max(share, LOW) - LOW) / (HIGH - LOW)

    pen.text((20, 16), "How often 95 % intervals hold the truth", fill=INK, font=text)
    pen.text((LEFT, 22), "jackknife (bar: all records)", fill=JACKKNIFE, font=small)
    pen.text((LEFT + 320, 22), "percentile bootstrap", fill=BOOTSTRAP, font=small)
    for percent in range(60, 101, 5):
        place = across(percent / 100)
        colour = INK if percent == 95 else PALE
        pen.line([(place, TOP - 20), (place, height - 60)], fill=colour, width=2)
        pen.text((place - 22, height - 48), f"{percent} %", fill=INK, font=small)
    for row, (key, protocol, primary, metrics) in enumerate(rows):
        down, score = TOP + STEP * row + STEP // 2, metrics[primary]
        label = f"{key} {protocol}, {primary}"
        pen.text((20, down - 14), label, fill=INK, font=ImageFont.load_default(20))
        share, low, high = score["jackknife"]
        pen.line([(across(low), down), (across(high), down)], fill=JACKKNIFE, width=8)
        pen.ellipse([across(share) - 9, down - 9, across(share) + 9, down + 9], fill=JACKKNIFE)
        if "bootstrap" in score:
            place = across(score["bootstrap"][0])
            pen.rectangle([place - 8, down + 10, place + 8, down + 20], fill=BOOTSTRAP)
    stream = io.BytesIO()
    image.quantize(64).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(START)
    after = rest.split(END)[1]
    files.write_text(PAGE, f"{before}{START}\n\n{table()}\n\n{END}{after}")
    files.write_bytes(PICTURE, draw())


if __name__ == "__main__":
    main()
