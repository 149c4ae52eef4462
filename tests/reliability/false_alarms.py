"""How often boards of equally good models show a difference; run as a script.

All models of a simulated board are equally good, so whatever is told apart on it is a false alarm.
Units differ in difficulty, and models that are alike make alike errors, as on real boards. Counted
are boards with

- a row that is said not to be among those that may be the best (``separation.may_be_best``),
- a gain or a loss over one reference, the row that came first (``separation.gains_p``),

and, for comparison, what two simpler rules would have said:

- two rows whose rank ranges are disjoint (2,000 paired bootstrap resamples),
- two rows whose test of that pair alone has p of at most 5 %.

Then: how often a real difference is found, where one row has half the error of the others; and how
often a pair of models with equal mean errors is called different if one of them is steady and the
other fails badly on one unit in twenty.

Prints tables for ``docs/methods/separation.md`` and draws ``docs/methods/separation.png``. Takes
about a minute.
"""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from etchmark import files
from etchmark.scoring import uncertainty
from etchmark.scoring.separation import ALPHA, Differences, gains_p, may_be_best, patterns
from etchmark.targets import metric

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "methods" / "separation.png"
MAE = metric("mae")
SIZES = ((46, 19), (20, 100), (12, 5))
"""Rows and units: of the hardness board, of the forecasts, and of five morphologies."""
BOARDS, POWERED = 1_000, 200
SPREAD_OF_UNITS, SPREAD_OF_MODELS, FAMILIES = 0.6, 0.3, 4
"""Standard deviations of the logarithm of the errors; models come in so many families."""


@dataclass(frozen=True)
class Board:
    """A simulated board: errors of shape (rows, units)."""

    errors: np.ndarray

    @property
    def sums(self) -> list[dict[str, np.ndarray]]:
        ones = np.ones((1, self.errors.shape[1]))
        return [{"sum_abs_e": row[None], "n": ones} for row in self.errors]

    @property
    def scores(self) -> np.ndarray:
        return self.errors.mean(axis=1)

    def eliminated(self) -> np.ndarray:
        """Rows that are not among those that may be the best."""
        return ~may_be_best(Differences(MAE, self.sums), self.scores)

    def gains(self) -> np.ndarray:
        """Rows but the first that are told apart from the first, which stands for a reference."""
        return gains_p(self.errors[1:] - self.errors[0]) <= ALPHA

    def ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest rank of each row in 95 % of resamples."""
        resampled = uncertainty.bootstrap_many(MAE, self.sums)
        places = np.arange(len(self.errors))
        _, low, high = uncertainty.RankRanges(resampled).among(self.scores, places)
        return low, high

    def pairs(self) -> bool:
        """Whether any pair is told apart by the test of that pair alone."""
        rows, units = self.errors.shape
        signs = patterns(units, 1_999)
        for first in range(rows - 1):
            differences = self.errors[first + 1 :] - self.errors[first]
            drawn = np.abs(signs @ differences.T.astype(np.float32))
            shares = np.mean(drawn >= drawn[0] * (1 - 1e-5), axis=0)
            if (shares <= ALPHA).any():
                return True
        return False


def simulate(generator: np.random.Generator, rows: int, units: int) -> Board:
    """Equally good models: which unit is hard differs between families, and a little within."""
    logs = generator.normal(scale=SPREAD_OF_UNITS, size=units)
    families = generator.normal(scale=SPREAD_OF_MODELS, size=(FAMILIES, units))
    own = generator.normal(scale=SPREAD_OF_MODELS, size=(rows, units))
    return Board(np.exp(logs + families[np.arange(rows) % FAMILIES] + own))


def false_alarms(rows: int, units: int, boards: int) -> dict[str, float]:
    """Shares of boards of equal models on which something is told apart."""
    generator = np.random.Generator(np.random.PCG64(rows * 1000 + units))
    counts = dict.fromkeys(("may be best", "gain", "rank ranges", "pairs"), 0)
    for _ in range(boards):
        board = simulate(generator, rows, units)
        low, high = board.ranges()
        counts["may be best"] += bool(board.eliminated().any())
        counts["gain"] += bool(board.gains().any())
        counts["rank ranges"] += bool(low.max() > high.min())
        counts["pairs"] += board.pairs()
    return {name: count / boards for name, count in counts.items()}


def power(rows: int, units: int, boards: int) -> dict[str, float]:
    """How often a row with half the error of all others is found."""
    generator = np.random.Generator(np.random.PCG64(1))
    counts = dict.fromkeys(("alone at the top", "gain"), 0)
    for _ in range(boards):
        errors = simulate(generator, rows, units).errors
        errors[1] /= 2
        board = Board(errors)
        counts["alone at the top"] += bool(board.eliminated().sum() == rows - 1)
        counts["gain"] += bool(board.gains()[0])
    return {name: count / boards for name, count in counts.items()}


def rare_failures(units: int, boards: int) -> float:
    """How often a steady model differs from one of the same mean error that fails now and then."""
    generator = np.random.Generator(np.random.PCG64(2))
    signs, hits = patterns(units, 1_999), 0
    for _ in range(boards):
        steady, other = np.exp(SPREAD_OF_MODELS * generator.normal(size=(2, units)))
        other *= np.where(generator.random(units) < 0.05, 10.0, 1.0) / 1.45
        drawn = np.abs(signs @ (steady - other).astype(np.float32))
        hits += bool(np.mean(drawn >= drawn[0] * (1 - 1e-5)) <= ALPHA)
    return hits / boards


# --- the picture -------------------------------------------------------------------------------

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 1400, 760, 110, 110, 90
TOLD, OPEN, INK, PALE = (200, 60, 40), (110, 130, 150), (30, 30, 30), (225, 225, 225)


def draw(board: Board) -> bytes:
    """Rank ranges of equal models, in the order of their scores, as a PNG."""
    low, high = board.ranges()
    order = np.argsort(board.scores)
    apart = low > high[order[0]]
    rows = len(order)
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    text, small = ImageFont.load_default(26), ImageFont.load_default(22)

    def at(column: float, rank: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - 40) * (column + 0.5) / rows
        return across, TOP + (HEIGHT - TOP - BOTTOM) * (rank - 0.5) / rows

    for rank in range(1, rows + 1, 5):
        pen.line([at(-0.5, rank), at(rows - 0.5, rank)], fill=PALE)
        pen.text((LEFT - 50, at(0, rank)[1] - 12), str(rank), fill=INK, font=small)
    ends = list(zip(low.tolist(), high.tolist(), strict=True))
    for column, row in enumerate(order.tolist()):
        colour = TOLD if apart[row] else OPEN
        pen.line([at(column, rank) for rank in ends[row]], fill=colour, width=9)
        across, down = at(column, column + 1)
        pen.ellipse([across - 6, down - 6, across + 6, down + 6], fill=INK)
    gone = int(board.eliminated().sum())
    units = board.errors.shape[1]
    title = f"{rows} equally good models on {units} units: rank (dot) and 95 % range of ranks"
    pen.text((LEFT, 18), title, fill=INK, font=text)
    pen.text(
        (LEFT, 60),
        f"Red: {int(apart.sum())} models whose range is apart from the first's, though they are"
        f" as good. The test takes away {gone}.",
        fill=TOLD,
        font=small,
    )
    pen.text((LEFT, HEIGHT - 50), "models, in the order of their scores", fill=INK, font=small)
    pen.text((20, TOP - 34), "rank", fill=INK, font=small)
    stream = io.BytesIO()
    image.quantize(64).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--boards", type=int, default=BOARDS, help="simulated per size")
    boards: int = parser.parse_args().boards
    print("| board | may be best | gain | disjoint rank ranges | single pairs |")
    print("| --- | --- | --- | --- | --- |")
    for rows, units in SIZES:
        shares = false_alarms(rows, units, boards)
        cells = " | ".join(f"{100 * share:.1f} %" for share in shares.values())
        print(f"| {rows} rows × {units} units | {cells} |", flush=True)
    print("\n| one row has half the error of the others | it alone may be best | its gain |")
    print("| --- | --- | --- |")
    for rows, units in SIZES:
        cells = " | ".join(f"{100 * share:.0f} %" for share in power(rows, units, POWERED).values())
        print(f"| {rows} rows × {units} units | {cells} |", flush=True)
    print("\n| one of a pair fails on one unit in twenty | p ≤ 5 % |\n| --- | --- |")
    for units in (19, 100, 500):
        print(f"| {units} units | {100 * rare_failures(units, 2 * boards):.1f} % |", flush=True)
    # The first board of the first size, whatever it shows.
    generator = np.random.Generator(np.random.PCG64(SIZES[0][0] * 1000 + SIZES[0][1]))
    files.write_bytes(PICTURE, draw(simulate(generator, *SIZES[0])))


if __name__ == "__main__":
    main()
