"""Writes the page ``docs/morphology.md`` and its figure from what was measured.

Run it after ``tests/reliability/morphology.py``, and after new rows of the board. The text stands
in ``docs/morphology.md.j2``.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from etchmark import files
from etchmark.catalog import catalog, results_of

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "tests" / "reliability" / "morphology.json"
PAGE = ROOT / "docs" / "morphology.md"
PICTURE = PAGE.with_suffix(".png")
BOARD, APART, MIXED = "morphology-transfer", "leave-condition-out", "iid"
TITLES = {
    "texture_statistics/two-point": "two-point statistics",
    "texture_statistics/texture": "binary patterns, co-occurrence",
    "foundation_classes/squeezenet-layers": "SqueezeNet 1.1, all layers",
    "foundation_classes/vgg19-pruned-layers": "pruned VGG-19, all layers",
    "foundation_classes/vit-tiny-in21k": "ViT-Tiny",
}
EXPECTED = {
    "texture_statistics/two-point": "79 / 55 / 64",
    "texture_statistics/texture": "77 / 42 / 54",
    "foundation_classes/squeezenet-layers": "90 / 51 / 61",
    "foundation_classes/vgg19-pruned-layers": "87–91 / 45 / 50",
    "foundation_classes/vit-tiny-in21k": "91 / 71 / 79",
}
"""Own condition / another one / all others, in %, of trials made before the board stood: five
conditions, another implementation of each."""
INK, LOW, HIGH = "#222222", (255, 255, 255), (40, 53, 147)
CHANCE = 0.2
CELL, LEFT, TOP, GAP, ACROSS = 26, 190, 120, 40, 3


def measured() -> dict[str, Any]:
    return json.loads(MEASURED.read_text(encoding="utf-8"))


def accuracies(protocol: str) -> dict[str, dict[str, float | None]]:
    """Accuracy of the board's rows by model, with its interval."""
    folder = results_of(ROOT) / catalog().benchmark(BOARD).key
    found = {}
    for path in sorted(folder.glob(f"*--{protocol}.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["outcome"] == "ok":
            found[record["name"]] = record["scores"][0]["metrics"]["accuracy"]
    return found


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def home_and_away(results: dict[str, Any]) -> str:
    """Means of each matrix, and the board's rows beside them."""
    apart, mixed = accuracies(APART), accuracies(MIXED)
    lines = [
        "| features | trained on its own condition | on one other condition | on all others"
        " (`leave-condition-out`) | on all conditions (`iid`) | trial |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for model, found in results["results"].items():
        matrix = np.array(found["matrix"])
        own = np.eye(len(matrix), dtype=bool)
        cells = [_percent(matrix[own].mean()), _percent(matrix[~own].mean())]
        cells += [_interval(rows.get(model)) for rows in (apart, mixed)]
        lines.append(f"| {TITLES[model]} | {' | '.join(cells)} | {EXPECTED[model]} |")
    return "\n".join(lines)


def _interval(score: dict[str, float | None] | None) -> str:
    if score is None or score["value"] is None:
        return "–"
    if score["ci_low"] is None or score["ci_high"] is None:
        return _percent(score["value"])
    low, high = _percent(score["ci_low"]), _percent(score["ci_high"])
    return f"{_percent(score['value'])} [{low}, {high}]"


def board_rows() -> str:
    """Every row of the board, best on conditions never seen first."""
    apart, mixed = accuracies(APART), accuracies(MIXED)
    spec = catalog().benchmark(BOARD)
    lines = [
        f"| model | role | `{APART}` | `{MIXED}` |",
        "| --- | --- | --- | --- |",
    ]
    for name in sorted(apart, key=lambda name: -(apart[name]["value"] or 0.0)):
        title = catalog().model(name).card.title
        cells = [f"`{name}`: {title}", spec.role_of(name)]
        lines.append(
            f"| {' | '.join(cells)} | {_interval(apart[name])} | {_interval(mixed.get(name))} |"
        )
    return "\n".join(lines)


def kept(results: dict[str, Any]) -> str:
    """Mean accuracy over held-out conditions by the number of features kept."""
    heads = [f"{count}" for count in results["kept"] if count is not None]
    lines = [
        f"| features | {' | '.join(heads)} | all | how many |",
        f"| --- |{' --- |' * (len(heads) + 2)}",
    ]
    for model, found in results["results"].items():
        cells = [_percent(np.mean(each)) for each in found["by_kept"]]
        lines.append(f"| {TITLES[model]} | {' | '.join(cells)} | {found['features']:,} |")
    return "\n".join(lines)


def hardest(results: dict[str, Any]) -> str:
    """Mean accuracy over featurisations on each condition, and from each."""
    matrices = np.array([found["matrix"] for found in results["results"].values()])
    away = ~np.eye(len(results["conditions"]), dtype=bool)
    mean = matrices.mean(axis=0)
    lines = [
        "| condition | tested on it, trained on one other | trained on it, tested on the others |",
        "| --- | --- | --- |",
    ]
    for number, name in enumerate(results["conditions"]):
        into, out = mean[away[:, number], number].mean(), mean[number, away[number]].mean()
        lines.append(f"| {name} | {_percent(into)} | {_percent(out)} |")
    return "\n".join(lines)


def steadiest(results: dict[str, Any]) -> str:
    """The kind of features that loses least from its own condition to another."""

    def loss(model: str) -> float:
        matrix = np.array(results["results"][model]["matrix"])
        own = np.eye(len(matrix), dtype=bool)
        return float(matrix[own].mean() - matrix[~own].mean())

    return TITLES[min(results["results"], key=loss)]


def colour(accuracy: float) -> tuple[int, ...]:
    """White at chance and below, dark blue at one."""
    share = min(1.0, max(0.0, (accuracy - CHANCE) / (1 - CHANCE)))
    return tuple(round(a + share * (b - a)) for a, b in zip(LOW, HIGH, strict=True))


def draw() -> bytes:
    """The matrices as PNG, one panel per featurisation."""
    from PIL import Image, ImageDraw, ImageFont

    results = measured()
    names, panels = results["conditions"], list(results["results"].items())
    side = CELL * len(names)
    rows = -(-len(panels) // ACROSS)
    size = (LEFT + ACROSS * (side + GAP), TOP + rows * (side + GAP + 60))
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    text, small = ImageFont.load_default(24), ImageFont.load_default(16)
    pen.text((20, 12), "Accuracy by condition of training and of test", fill=INK, font=text)
    words = "down: trained on; across: tested on, in the same order; mean accuracies in brackets"
    pen.text((20, 50), words, fill=INK, font=small)
    for step in range(101):
        pen.rectangle([760 + 3 * step, 16, 763 + 3 * step, 36], fill=colour(0.2 + 0.008 * step))
    pen.text((700, 18), "20 %", fill=INK, font=small)
    pen.text((1075, 18), "100 %", fill=INK, font=small)
    for place, (model, found) in enumerate(panels):
        down, across = divmod(place, ACROSS)
        left, top = LEFT + across * (side + GAP), TOP + down * (side + GAP + 60)
        matrix = np.array(found["matrix"])
        own = np.eye(len(names), dtype=bool)
        means = f"own {_percent(matrix[own].mean())}, other {_percent(matrix[~own].mean())}"
        pen.text((left, top - 24), f"{TITLES[model]} ({means})", fill=INK, font=small)
        for row, values in enumerate(found["matrix"]):
            if across == 0:
                pen.text(
                    (12, top + row * CELL + 4), f"{row + 1} {names[row]}", fill=INK, font=small
                )
            for column, value in enumerate(values):
                corner = (left + column * CELL, top + row * CELL)
                box = [*corner, corner[0] + CELL - 2, corner[1] + CELL - 2]
                pen.rectangle(box, fill=colour(value))
        for column in range(len(names)):
            number = (left + column * CELL + 4, top + side + 4)
            pen.text(number, f"{column + 1}", fill=INK, font=small)
    stream = io.BytesIO()
    image.quantize(64).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def page() -> str:
    """The page with its tables as they follow from the measured file and the records."""
    results = measured()
    environment = Environment(
        loader=FileSystemLoader(PAGE.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (Markdown, from our own measurements)
    )
    tables = {
        "home_and_away": home_and_away(results),
        "board_rows": board_rows(),
        "kept": kept(results),
        "hardest": hardest(results),
    }
    return environment.get_template(f"{PAGE.name}.j2").render(
        tables=tables, steadiest=steadiest(results)
    )


def main() -> None:
    files.write_text(PAGE, page())
    files.write_bytes(PICTURE, draw())


if __name__ == "__main__":
    main()
