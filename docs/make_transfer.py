"""Writes the page ``docs/transfer.md`` and its figure from what was measured.

Run it after ``tests/reliability/layer_cuts.py``; the first time, name the page in ``mkdocs.yml``.
The text stands in ``docs/transfer.md.j2``.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from etchmark import files

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "tests" / "reliability" / "layer_cuts.json"
PAGE = ROOT / "docs" / "transfer.md"
PICTURE = PAGE.with_suffix(".png")
ENCODERS = {
    "vgg19-normalised-cut": "VGG-19",
    "vgg19-pruned-cut": "pruned VGG-19",
    "squeezenet-cut": "SqueezeNet 1.1",
}
WEIGHTS = {"pretrained": "pretrained", "random": "random weights"}
PROTOCOLS = {"leave-pair-out": "a morphology never seen", "iid": "morphologies mixed"}
REFERENCE, REFERENCE_TITLE = "two_point_statistics/short-lags", "two-point statistics, short lags"
DRAWN_SIZES = ("300", "2000")
INK, PALE, BLUE, RUST = "#222222", "#dddddd", "#3f51b5", "#c0561a"
WIDTH, PANEL, LEFT, TOP, GAP = 1500, 360, 90, 110, 70


def measured() -> dict[str, Any]:
    return json.loads(MEASURED.read_text(encoding="utf-8"))


def shown(values: list[float]) -> str:
    """Mean over draws and their standard deviation."""
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


def table(results: dict[str, Any], protocol: str) -> str:
    """Errors by number of training images: chosen cut and last layer of every encoder."""
    tree, sizes = results["results"], [str(size) for size in results["sizes"]]
    lines = [
        f"| from so many images | {' | '.join(f'{int(size):,}' for size in sizes)} |",
        f"| --- |{' --- |' * len(sizes)}",
    ]

    def line(title: str, cells: list[list[float]]) -> None:
        lines.append(f"| {title} | {' | '.join(map(shown, cells))} |")

    reference = tree[REFERENCE]["pretrained"][protocol]
    line(REFERENCE_TITLE, [reference[size]["error"] for size in sizes])
    for encoder, title in ENCODERS.items():
        for weights, words in WEIGHTS.items():
            by_size = [tree[encoder][weights][protocol][size] for size in sizes]
            line(f"{title}, {words}, chosen cut", [each["after_chosen"] for each in by_size])
            line(
                f"{title}, {words}, last layer",
                [[draw[-1] for draw in each["after"]] for each in by_size],
            )
    return "\n".join(lines)


def chosen(results: dict[str, Any]) -> str:
    """Which cuts were chosen, most frequent first."""
    sizes = " | ".join(f"{size:,} images" for size in results["sizes"])
    lines = [
        f"| pretrained, chosen from | {sizes} |",
        f"| --- |{' --- |' * len(results['sizes'])}",
    ]
    for encoder, title in ENCODERS.items():
        names = results["layers"][encoder]
        for protocol, words in PROTOCOLS.items():
            cells = []
            for size in results["sizes"]:
                draws = results["results"][encoder]["pretrained"][protocol][str(size)]["chosen"]
                numbers, counts = np.unique(np.concatenate(draws), return_counts=True)
                order = np.argsort(-counts, kind="stable")[:3]
                share = 100 * counts / counts.sum()
                cells.append(", ".join(f"{names[numbers[at]]} {share[at]:.0f} %" for at in order))
            lines.append(f"| {title}, {words} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tables() -> dict[str, str]:
    """Every table of the page by its name."""
    results = measured()
    return {**{name: table(results, name) for name in PROTOCOLS}, "chosen": chosen(results)}


def draw() -> bytes:
    """Errors after each layer, pretrained and random, as PNG: a panel per encoder and protocol."""
    from PIL import Image, ImageDraw, ImageFont

    results = measured()
    tree, across = results["results"], (WIDTH - LEFT) // len(ENCODERS)
    image = Image.new("RGB", (WIDTH, TOP + 2 * (PANEL + GAP)), "white")
    pen = ImageDraw.Draw(image)
    text, small = ImageFont.load_default(24), ImageFont.load_default(18)
    pen.text((20, 12), "Error after each layer, in %, mean of the draws", fill=INK, font=text)
    pen.text((20, 48), "pretrained", fill=BLUE, font=small)
    pen.text((150, 48), "random weights", fill=RUST, font=small)
    words = "thin: 300 training images; thick: 2,000; dashes: short lags, no encoder; across: layer"
    pen.text((330, 48), words, fill=INK, font=small)
    for down, (protocol, meaning) in enumerate(PROTOCOLS.items()):
        drawn = [
            np.mean(tree[encoder][weights][protocol][size]["after"], axis=0)
            for encoder in ENCODERS
            for weights in WEIGHTS
            for size in DRAWN_SIZES
        ]
        high = 1.05 * float(np.quantile(np.concatenate(drawn), 0.97))
        top = TOP + down * (PANEL + GAP)

        def up(error: float, top: int = top, high: float = high) -> float:
            return top + PANEL * (1 - min(error, high) / high)

        for number, (encoder, title) in enumerate(ENCODERS.items()):
            names, left = results["layers"][encoder], LEFT + number * across
            step = (across - 60) / (len(names) - 1)
            pen.text((left, top - 26), f"{title}, {meaning}", fill=INK, font=small)
            for error in range(0, int(high) + 1, 10):
                line = [(left, up(error)), (left + across - 60, up(error))]
                pen.line(line, fill=PALE, width=2)
                if number == 0:
                    pen.text((left - 50, up(error) - 11), f"{error}", fill=INK, font=small)
            for place, name in enumerate(names):
                if name.endswith("_1") or encoder == "squeezenet-cut":
                    short = name.removeprefix("conv").removeprefix("fire")
                    pen.text(
                        (left + place * step - 12, top + PANEL + 6), short, fill=INK, font=small
                    )
            for weights, colour in zip(WEIGHTS, (BLUE, RUST), strict=True):
                for size, thick in zip(DRAWN_SIZES, (2, 5), strict=True):
                    errors = np.mean(tree[encoder][weights][protocol][size]["after"], axis=0)
                    points = [(left + at * step, up(error)) for at, error in enumerate(errors)]
                    pen.line(points, fill=colour, width=thick)
            for size, thick in zip(DRAWN_SIZES, (2, 4), strict=True):
                level = up(np.mean(tree[REFERENCE]["pretrained"][protocol][size]["error"]))
                for start in range(0, across - 60, 24):
                    dash = [(left + start, level), (left + start + 12, level)]
                    pen.line(dash, fill=INK, width=thick)
    stream = io.BytesIO()
    image.quantize(64).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def page() -> str:
    """The page with its tables as they follow from the measured file."""
    environment = Environment(
        loader=FileSystemLoader(PAGE.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (Markdown, from our own measurements)
    )
    return environment.get_template(f"{PAGE.name}.j2").render(tables=tables())


def main() -> None:
    files.write_text(PAGE, page())
    files.write_bytes(PICTURE, draw())


if __name__ == "__main__":
    main()
