"""Writes the page ``docs/varied.md`` and its figures from the reviewed records.

The text stands in ``docs/varied.md.j2``. Of the data nothing but the parameters of the trajectories
is needed, which follow from the seeds without a simulation.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image, ImageDraw, ImageFont

from etchmark import files
from etchmark.catalog import Catalog
from etchmark.data.shards import BuildContext, load_builder
from etchmark.registry.records import read_record
from etchmark.specs import ResultRecord
from etchmark.specs.cards import TRAINING_CURVE

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "varied.md"
BOARD, CONFIG, DATASET = "spinodal-forecast-varied", "spinodal-varied-full", "evolution"
METRIC = "rmse_typical"
RECORDS = ROOT / "leaderboard" / "results" / f"{BOARD}@1"
BASE = "convlstm/small"
"""The recurrent network to whose final error the others are timed."""

NETWORKS = {
    "stepper/told": ("stepper, told", "#3f51b5"),
    "stepper/told-free": ("stepper, told, mass free", "#7a9be0"),
    "stepper/inferred": ("stepper with encoder", "#00838f"),
    "stepper/conserving": ("stepper, last frame alone", "#6aa84f"),
    "stepper/free": ("stepper, last frame, mass free", "#b5cc6a"),
    "fcn/small": ("SimVP, fully convolutional", "#c0561a"),
    "cnn_frames/small": ("3D CNN", "#e0a030"),
    "unet_frames/small": ("U-Net", "#9c4f9c"),
    "fno/small": ("Fourier operator", "#d16ba5"),
    BASE: ("ConvLSTM, recurrent", "#8b1a1a"),
}
"""Networks, as they are called and coloured in the figures."""
SOLVERS = {
    "identified_solver/steps-10": ("identified solver", "#222222"),
    "coarse_solver/steps-1": ("solver, told, 1 step a frame", "#777777"),
    "persistence/last-frame": ("last frame, repeated", "#b0b0b0"),
}
SHOWN = NETWORKS | SOLVERS
AXES = {
    "mobility": ("mobility", ("mobility_low", "test", "mobility_high"), True),
    "composition": ("size of the mean composition", ("test", "composition"), False),
    "gradient_energy": ("gradient energy", ("test", "gradient_energy"), True),
}
"""Of each panel its title, its splits from left to right, and whether its scale is logarithmic."""
BINS = 5
"""Inside the range, of equal numbers of trajectories; an extra split has two."""
INK, PALE, INSIDE = "#222222", "#dddddd", "#f0f2fa"
WIDTH, PANEL, LEFT, TOP, BOTTOM = 1500, 520, 90, 120, 70


# --- what the records hold ---------------------------------------------------------------------


@cache
def records() -> dict[str, ResultRecord]:
    """Every record of the board by the name of its model."""
    found = [read_record(path) for path in sorted(RECORDS.glob("*.json"))]
    return {record.name: record for record in found}


@cache
def parameters() -> dict[str, dict[str, Any]]:
    """What every trajectory was simulated with, by its id."""
    catalog = Catalog(ROOT)
    folder, spec = catalog.dataset_folder(DATASET), catalog.dataset(DATASET)
    return load_builder(folder).parameters(BuildContext(folder, CONFIG, spec.parameters, True))


@cache
def errors(name: str) -> dict[str, dict[str, float]]:
    """RMSE of every trajectory of a model, the root of the mean square over seeds, by split."""
    record = records()[name]
    file = f"{name.replace('/', '.')}--{record.track}--{record.protocol}.parquet"
    table = pq.read_table(RECORDS / file, columns=["split", "id", "n", "sum_sq_e"]).to_pandas()
    summed = table.groupby(["split", "id"])[["n", "sum_sq_e"]].sum()
    rmse = (summed["sum_sq_e"] / summed["n"]) ** 0.5
    return {str(split): rmse.loc[split].to_dict() for split in rmse.index.unique("split")}


def score(name: str, split: str = "test") -> str:
    """The typical RMSE with its 95 % interval."""
    found = records()[name].score_of(split)
    if found is None:
        return ""
    metric = found.metrics[METRIC]
    places = 4 if metric.value < 0.01 else 3
    return f"{metric.value:.{places}f} [{metric.ci_low:.{places}f}, {metric.ci_high:.{places}f}]"


def value(name: str, split: str = "test") -> float:
    found = records()[name].score_of(split)
    return math.nan if found is None else found.metrics[METRIC].value


def binned(name: str, axis: str) -> list[list[tuple[float, float]]]:
    """Means of a parameter and geometric means of the error, for each bin of each split."""
    lines = []
    for split in AXES[axis][1]:
        rows = sorted((abs(parameters()[key][axis]), e) for key, e in errors(name)[split].items())
        parts = np.array_split(np.array(rows), BINS if split == "test" else 2)
        lines.append(
            [(float(p[:, 0].mean()), float(np.exp(np.log(p[:, 1]).mean()))) for p in parts]
        )
    return lines


def training(name: str) -> list[tuple[float, list[float]]]:
    """Processor seconds and validation errors of the seeds, epoch by epoch."""
    curves = [curve for curve in records()[name].curves if curve.name == TRAINING_CURVE]
    return [
        (point.value, point.draws or [point.score.value])
        for curve in curves
        for point in curve.points
        if point.score is not None
    ]


def final(name: str) -> list[float]:
    """The smallest validation error of every seed, whose weights are kept."""
    return [min(seed) for seed in zip(*(each for _, each in training(name)), strict=True)]


def seconds_until(name: str, error: float) -> list[float]:
    """Processor seconds after which every seed was as good; NaN where it never was."""
    points = training(name)
    return [
        next((seconds for seconds, each in points if each[seed] <= error), math.nan)
        for seed in range(len(points[0][1]))
    ]


# --- tables ------------------------------------------------------------------------------------


def shown(names: dict[str, Any]) -> list[str]:
    """Of these, the models that have a record, best first."""
    return sorted((name for name in names if name in records()), key=value)


def board() -> str:
    """Errors inside and outside the ranges, and what a model costs."""
    splits = ["test", "mobility_low", "mobility_high", "composition", "gradient_energy"]
    lines = [
        "| model | track | inside the ranges | slower | faster | other composition | other gradient"
        " energy | training, min | ms a frame |",
        f"| --- | --- |{' --- |' * 7}",
    ]
    for name in shown(SHOWN | {"coarse_solver/steps-10": ()}):
        record = records()[name]
        cells = [
            score(name),
            *(f"{value(name, split):.{_places(name, split)}f}" for split in splits[1:]),
        ]
        points = training(name)
        cells += [f"{points[-1][0] / 60:.0f}" if points else "–"]
        cells += [f"{1000 * (record.cost.cpu_seconds_each or math.nan):.2f}"]
        lines.append(f"| `{name}` | {record.track} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _places(name: str, split: str) -> int:
    return 4 if value(name, split) < 0.01 else 3


def times() -> str:
    """When each network was as good on validation trajectories as the recurrent one in the end."""
    goal = float(np.mean(final(BASE)))
    lines = [
        "| network | seeds | validation RMSE in the end | processor minutes of the training |"
        f" until as good as `{BASE}` in the end ({goal:.3f}) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in sorted(
        (name for name in NETWORKS if training_of(name)), key=lambda n: np.mean(final(n))
    ):
        reached = seconds_until(name, goal)
        end = training(name)[-1][0]
        lines.append(
            f"| `{name}` | {len(reached)} | {spread(final(name), '.3f')} | {end / 60:.1f} |"
            f" {until(reached)} |"
        )
    return "\n".join(lines)


def training_of(name: str) -> bool:
    return name in records() and bool(training(name))


def spread(values: Sequence[float], form: str) -> str:
    """A number, or the mean of several with the smallest and the largest."""
    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{np.mean(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def until(seconds: Sequence[float]) -> str:
    """Minutes until the goal, and how many seeds never reached it."""
    reached = [each / 60 for each in seconds if not math.isnan(each)]
    if not reached:
        return "never"
    missed = len(seconds) - len(reached)
    return spread(reached, ".1f") + (f", {missed} of {len(seconds)} seeds never" if missed else "")


# --- figures -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """A rectangle of a picture with axes, either of which may be logarithmic.

    Attributes:
        box: left, top, right and bottom in pixels.
        low, high: of both axes.
        log: whether each axis is logarithmic.
    """

    box: tuple[float, float, float, float]
    low: tuple[float, float]
    high: tuple[float, float]
    log: tuple[bool, bool]

    def at(self, *point: float) -> tuple[float, float]:
        share = []
        for number, place in enumerate(point):
            low, high = self.low[number], self.high[number]
            if self.log[number]:
                low, high, place = math.log(low), math.log(high), math.log(max(place, 1e-300))
            share.append((place - low) / (high - low))
        left, top, right, bottom = self.box
        return left + share[0] * (right - left), bottom - share[1] * (bottom - top)

    def grid(self, pen: Any, font: Any, ticks: tuple[Sequence[float], Sequence[float]]) -> None:
        left, top, right, bottom = self.box
        for tick in ticks[0]:
            place, _ = self.at(tick, self.low[1])
            pen.line([(place, top), (place, bottom)], fill=PALE, width=2)
            pen.text((place, bottom + 8), f"{tick:g}", fill=INK, font=font, anchor="mt")
        for tick in ticks[1]:
            _, place = self.at(self.low[0], tick)
            pen.line([(left, place), (right, place)], fill=PALE, width=2)
            pen.text((left - 8, place), f"{tick:g}", fill=INK, font=font, anchor="rm")


def _legend(pen: Any, font: Any, names: Sequence[str], top: int) -> None:
    for number, name in enumerate(names):
        title, colour = SHOWN[name]
        x, y = 30 + 365 * (number % 4), top + 32 * (number // 4)
        pen.line([(x, y + 10), (x + 34, y + 10)], fill=colour, width=5)
        pen.text((x + 44, y), title, fill=INK, font=font)


def _decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between two limits."""
    every = [step * 10.0**power for power in range(-6, 7) for step in (1, 2, 5)]
    return [tick for tick in every if low <= tick <= high]


def _as_png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.quantize(64).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def draw_parameters() -> bytes:
    """Error of every model against each parameter, inside and outside the training range."""
    names = shown(SHOWN)
    spec = Catalog(ROOT).dataset(DATASET).parameters[CONFIG]
    lines = {(name, axis): binned(name, axis) for name in names for axis in AXES}
    values = [e for each in lines.values() for line in each for _, e in line]
    legend_rows = -(-len(names) // 4)
    top = TOP + 32 * legend_rows
    image = Image.new("RGB", (WIDTH, top + PANEL + BOTTOM), "white")
    pen = ImageDraw.Draw(image)
    text, small = ImageFont.load_default(26), ImageFont.load_default(20)
    pen.text(
        (20, 12),
        "Typical RMSE over 90 frames against a parameter; shaded: the training range",
        fill=INK,
        font=text,
    )
    _legend(pen, small, names, 60)
    across = (WIDTH - LEFT) / len(AXES)
    low, high = min(values) / 1.3, max(values) * 1.3
    for number, (axis, (title, _, log)) in enumerate(AXES.items()):
        points = [x for name in names for line in lines[name, axis] for x, _ in line]
        ends = (min(points) / 1.1, max(points) * 1.1) if log else (0.0, max(points) * 1.1)
        left = LEFT + number * across
        frame = Frame(
            (left, top, left + across - 90, top + PANEL),
            (ends[0], low),
            (ends[1], high),
            (log, True),
        )
        limits = spec["ranges"][axis]
        first = max(limits["low"], ends[0])
        corners = [*frame.at(first, high), *frame.at(limits["high"], low)]
        pen.rectangle(corners, fill=INSIDE)
        ticks = (
            [0.25, 0.5, 1, 2, 4]
            if axis == "mobility"
            else [0.7, 1, 1.4, 2]
            if log
            else [0, 0.1, 0.2, 0.3, 0.4, 0.5]
        )
        frame.grid(pen, small, (ticks, _decades(low, high)))
        pen.text((left, top - 32), title, fill=INK, font=small)
        for name in names:
            for line in lines[name, axis]:
                places = [frame.at(*point) for point in line]
                pen.line(places, fill=SHOWN[name][1], width=4)
                for x, y in places:
                    pen.ellipse([x - 5, y - 5, x + 5, y + 5], fill=SHOWN[name][1])
    return _as_png(image)


def draw_training() -> bytes:
    """Validation error of every network against processor minutes of its training."""
    names = [name for name in shown(NETWORKS) if training(name)]
    lines = {name: [(s / 60, float(np.mean(each))) for s, each in training(name)] for name in names}
    points = np.array([point for line in lines.values() for point in line])
    (x_low, low), (x_high, high) = points.min(axis=0) / 1.2, points.max(axis=0) * 1.2
    top = TOP + 32 * (-(-len(names) // 4))
    image = Image.new("RGB", (WIDTH, top + PANEL + BOTTOM), "white")
    pen = ImageDraw.Draw(image)
    text, small = ImageFont.load_default(26), ImageFont.load_default(20)
    pen.text((20, 12), "RMSE on the validation trajectories during training", fill=INK, font=text)
    _legend(pen, small, names, 60)
    frame = Frame((LEFT, top, WIDTH - 40, top + PANEL), (x_low, low), (x_high, high), (True, True))
    frame.grid(pen, small, (_decades(x_low, x_high), _decades(low, high)))
    axis = "processor minutes of one core, from the first step on"
    pen.text((WIDTH - 40, top + PANEL + 34), axis, fill=INK, font=small, anchor="rt")
    if training_of(BASE):
        goal = float(np.mean(final(BASE)))
        for start in range(LEFT, WIDTH - 40, 24):
            _, y = frame.at(x_low, goal)
            pen.line([(start, y), (start + 12, y)], fill=SHOWN[BASE][1], width=2)
    for name, line in lines.items():
        places = [frame.at(*point) for point in line]
        pen.line(places, fill=SHOWN[name][1], width=4)
        for x, y in places:
            pen.ellipse([x - 5, y - 5, x + 5, y + 5], fill=SHOWN[name][1])
    return _as_png(image)


# --- the page ----------------------------------------------------------------------------------


def page() -> str:
    """The page with its tables as they follow from the records."""
    environment = Environment(
        loader=FileSystemLoader(PAGE.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (Markdown, from our own records)
    )
    return environment.get_template(f"{PAGE.name}.j2").render(board=board(), times=times())


def main() -> None:
    files.write_text(PAGE, page())
    files.write_bytes(PAGE.with_name("varied-parameters.png"), draw_parameters())
    files.write_bytes(PAGE.with_name("varied-training.png"), draw_training())


if __name__ == "__main__":
    main()
