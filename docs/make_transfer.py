"""Writes the page ``docs/transfer.md`` and its figure from what was measured.

Run it after ``tests/reliability/layer_cuts.py`` and ``tests/reliability/fine_tuning.py``.
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
TUNED = MEASURED.with_name("fine_tuning.json")
PAGE = ROOT / "docs" / "transfer.md"
PICTURE = PAGE.with_suffix(".png")
ENCODERS = {
    "vgg19-normalised-cut": "VGG-19",
    "vgg19-pruned-cut": "pruned VGG-19",
    "squeezenet-cut": "SqueezeNet 1.1",
}
PRETRAINED = "pretrained"
WEIGHTS = {PRETRAINED: "pretrained", "random": "random weights"}
PROTOCOLS = {"leave-pair-out": "a morphology never seen", "iid": "morphologies mixed"}
REFERENCE, REFERENCE_TITLE = "two_point_statistics/short-lags", "two-point statistics, short lags"
DRAWN_SIZES = ("300", "2000")
INK, PALE, BLUE, RUST = "#222222", "#dddddd", "#3f51b5", "#c0561a"
WIDTH, PANEL, LEFT, TOP, GAP = 1500, 360, 90, 110, 70


def measured() -> dict[str, Any]:
    return json.loads(MEASURED.read_text(encoding="utf-8"))


def tuned() -> dict[str, Any]:
    return json.loads(TUNED.read_text(encoding="utf-8"))


def encoders(results: dict[str, Any]) -> dict[str, str]:
    """Titles of the encoders that were measured."""
    return {name: title for name, title in ENCODERS.items() if name in results["results"]}


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
    for encoder, title in encoders(results).items():
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
    for encoder, title in encoders(results).items():
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


def fine_tuned(results: dict[str, Any], tuned: dict[str, Any]) -> str:
    """Errors of networks trained end to end, and of ridge on what the same layers hold.

    The last lines say by how much pretraining lowers the error, with the 95 % interval of Student's
    t over the draws.
    """
    sizes = list(next(iter(tuned["results"].values()))[PRETRAINED])
    lines = [
        f"| from so many images | {' | '.join(f'{int(size):,}' for size in sizes)} |",
        f"| --- |{' --- |' * len(sizes)}",
    ]
    gains = []
    for cut, by_weights in tuned["results"].items():
        place = results["layers"]["squeezenet-cut"].index(cut)
        for weights, words in WEIGHTS.items():
            errors = [by_weights[weights][size]["errors"] for size in sizes]
            cells = " | ".join(map(shown, errors))
            lines.append(f"| up to {cut}, {words}, trained end to end | {cells} |")
            frozen = results["results"]["squeezenet-cut"][weights]["iid"]
            left = [
                [draw[place] for draw in frozen[size]["after"][: len(errors[0])]] for size in sizes
            ]
            cells = " | ".join(map(shown, left))
            lines.append(f"| up to {cut}, {words}, left as they are, ridge | {cells} |")
        cells = " | ".join(
            interval(
                np.subtract(
                    by_weights["random"][size]["errors"], by_weights[PRETRAINED][size]["errors"]
                )
            )
            for size in sizes
        )
        gains.append(f"| up to {cut}, trained: pretraining lowers the error by | {cells} |")
    return "\n".join(lines + gains)


def interval(differences: np.ndarray) -> str:
    """Mean and 95 % interval of Student's t."""
    from scipy.stats import t

    half = t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / len(differences) ** 0.5
    mean = differences.mean()
    return f"{mean:.1f} [{mean - half:.1f}, {mean + half:.1f}]"


def tables() -> dict[str, str]:
    """Every table of the page by its name."""
    results = measured()
    return {
        **{name: table(results, name) for name in PROTOCOLS},
        "chosen": chosen(results),
        "tuned": fine_tuned(results, tuned()),
    }


def draw() -> bytes:
    """Errors after each layer, pretrained and random, as PNG: a panel per encoder and protocol."""
    from PIL import Image, ImageDraw, ImageFont

    results = measured()
    drawn_encoders = encoders(results)
    tree, across = results["results"], (WIDTH - LEFT) // len(drawn_encoders)
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
            for encoder in drawn_encoders
            for weights in WEIGHTS
            for size in DRAWN_SIZES
        ]
        high = 1.05 * float(np.quantile(np.concatenate(drawn), 0.97))
        top = TOP + down * (PANEL + GAP)

        def up(error: float, top: int = top, high: float = high) -> float:
            return top + PANEL * (1 - min(error, high) / high)

        for number, (encoder, title) in enumerate(drawn_encoders.items()):
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


def unsupported(results: dict[str, Any]) -> list[str]:
    """Sentences of the page that the measured means do not support."""

    def mean(encoder: str, weights: str, protocol: str, size: str, last: bool = False) -> float:
        found = results["results"][encoder][weights][protocol][size]
        return float(
            np.mean([draw[-1] for draw in found["after"]] if last else found["after_chosen"])
        )

    named, sizes = list(encoders(results)), [str(size) for size in results["sizes"]]
    cut = all(
        mean(encoder, weights, protocol, size) < mean(encoder, weights, protocol, size, last=True)
        for encoder in named
        for weights in WEIGHTS
        for protocol in PROTOCOLS
        for size in sizes[1:]
    )
    mixed = all(
        mean(encoder, PRETRAINED, "iid", size) < mean(encoder, "random", "iid", size)
        for encoder in named
        for size in sizes
    )
    unseen = {
        encoder: all(
            mean(encoder, PRETRAINED, "leave-pair-out", size)
            < mean(encoder, "random", "leave-pair-out", size)
            for size in sizes[1:]
        )
        for encoder in named
    }
    claims = {
        "the chosen cut is better than the last layer": cut,
        "pretraining pays where morphologies are mixed": mixed,
        "it pays on new ones for the pruned VGG-19 alone": unseen
        == {name: name == "vgg19-pruned-cut" for name in named},
    }
    return [claim for claim, holds in claims.items() if not holds]


def page() -> str:
    """The page with its tables as they follow from the measured file."""
    environment = Environment(
        loader=FileSystemLoader(PAGE.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (Markdown, from our own measurements)
    )
    absent = [title for name, title in ENCODERS.items() if name not in encoders(measured())]
    return environment.get_template(f"{PAGE.name}.j2").render(
        tables=tables(), absent=absent, tuned=tuned()
    )


def main() -> None:
    if missing := unsupported(measured()):
        raise SystemExit(f"error: rewrite what {PAGE.name}.j2 says: {'; '.join(missing)}")
    files.write_text(PAGE, page())
    files.write_bytes(PICTURE, draw())


if __name__ == "__main__":
    main()
