"""Writes the page ``docs/attribution.md`` from what was measured.

Run it after ``tests/reliability/attribution.py``, which draws the picture as well. The text stands
in ``docs/attribution.md.j2``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from etchmark import files

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "tests" / "reliability" / "attribution.json"
PAGE = ROOT / "docs" / "attribution.md"
EXPECTED = {
    "uniform": "4",
    "brightness": "13",
    "Sobel": "12",
    "occlusion": "49",
    "gradient": "89",
    "integrated gradients": "97",
}
"""Shares in per cent of a trial on other images and another network, made before this study."""


def measured() -> dict[str, Any]:
    return json.loads(MEASURED.read_text(encoding="utf-8"))


def shown(number: dict[str, float]) -> str:
    """A mean in per cent with its interval."""
    return f"{100 * number['mean']:.0f} [{100 * number['low']:.0f}, {100 * number['high']:.0f}]"


def table(results: dict[str, Any]) -> str:
    """A row per map: its precision, smoothed, with random weights, and its share."""
    heads = ["map", "average precision", "smoothed", "random weights", "share", "share in a trial"]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for name, found in results["trained"].items():
        control = results["random"].get(name)
        cells = [
            name,
            shown(found["precision"]),
            shown(found["smoothed"]),
            "no network" if control is None else shown(control["precision"]),
            f"{100 * found['share']['mean']:.0f}",
            EXPECTED.get(name, "–"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page() -> str:
    """The page as it follows from the measured file."""
    environment = Environment(
        loader=FileSystemLoader(PAGE.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (Markdown, from our own measurements)
    )
    results = measured()
    return environment.get_template(f"{PAGE.name}.j2").render(
        table=table(results), results=results, shown=shown
    )


if __name__ == "__main__":
    files.write_text(PAGE, page())
