"""The badge of a row: a small SVG with score, interval, rank range and verdict.

It holds no script and refers to nothing outside itself, so any page may show it. It brings its own
ground, light or dark as the reader prefers, so it can be read on any page.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from etchmark.boards.rows import called
from etchmark.boards.verdicts import RowKind, RowVerdict, verdict_of_row
from etchmark.scoring.intervals import why_none
from etchmark.specs import BenchmarkSpec
from etchmark.targets import metric as metric_by_id
from etchmark.text import number, one_line, span

COLOURS: dict[RowKind, str] = {
    "best": "#009E73",
    "tie": "#E69F00",
    "behind": "#808080",
    "untested": "#808080",
    "apart": "#808080",
}
"""Colour of the bar at the left; Okabe and Ito's, as in the figures."""
DOUBTED = "#808080"
STYLE = (
    ".g{fill:#fff;stroke:#808080}.t{fill:#1a1a1a}"
    "@media(prefers-color-scheme:dark){.g{fill:#1a1a1a}.t{fill:#f2f2f2}}"
)
FONT = "system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif"
CHAR_PX = 6.9
"""Width of a character of 12 pixels, on the wide side: fonts differ between machines."""
WIDE = 1.75
"""Width of a wide character, as of Chinese, over that."""
LINE_PX, SIDE_PX, LEAST_PX = 19, 14, 260


@dataclass(frozen=True)
class Standing:
    """Where a row stands, in the words of a badge and of a page.

    Attributes:
        model: name of the model.
        title: what the model is called.
        benchmark: title of the benchmark, with its version.
        place: protocol and track.
        score: metric, score, unit and interval.
        rank: rank and rank range; empty if it has none.
        said: what the tests show.
        basis: what the score rests on: samples, submission and date.
    """

    model: str
    title: str
    benchmark: str
    place: str
    score: str
    rank: str
    said: RowVerdict
    basis: str

    @property
    def verdict(self) -> str:
        """What the tests show, with doubts."""
        return self.said.text + (f"; flagged: {self.said.doubts}" if self.said.doubts else "")

    @property
    def alone(self) -> str:
        """All of it in one sentence, for readers who do not see the badge."""
        ranked = f", {self.rank}" if self.rank else ""
        return f"{self.title} on {self.benchmark}: {self.score}{ranked}; {self.verdict}"


def standing_of(spec: BenchmarkSpec, frame: pd.DataFrame, submission: str) -> Standing:
    """Where a row stands.

    Args:
        spec: the benchmark.
        frame: rows of ``Board.standings``, best first.
        submission: full id of the row.

    Raises:
        UserError: the board has no such row.
    """
    said = verdict_of_row(spec, frame, submission)
    row = frame[frame["submission"] == submission].iloc[0].to_dict()
    ranked = int(frame["rank"].notna().sum())
    rank = ""
    if pd.notna(row["rank"]):
        rank = f"rank {row['rank']} of {ranked:,} (range {row['rank_low']}–{row['rank_high']})"
    return Standing(
        model=str(row["model"]),
        title=shortened(called(row), 80),
        benchmark=f"{shortened(spec.title, 70)}, version {spec.version}",
        place=f"protocol {row['protocol']}, track {row['track']}",
        score=_score(spec, row),
        rank=rank,
        said=said,
        basis=_basis(spec, row),
    )


def _basis(spec: BenchmarkSpec, row: Mapping[Any, Any]) -> str:
    counts = f"{row['n']:,} samples"
    if spec.unit_names != "samples":
        counts += f", {row['units']:,} {spec.unit_names}"
    return f"{counts}; submission {str(row['submission'])[:12]} of {str(row['date'])[:10]}"


def _score(spec: BenchmarkSpec, row: Mapping[Any, Any]) -> str:
    if pd.isna(row["score"]):
        return "no score"
    metric = metric_by_id(str(row["metric"]))
    unit = metric.unit_for(spec.target.unit)
    value = number(row["score"]) + ("" if unit == "1" else f" {unit}")
    interval = span(row["ci_low"], row["ci_high"])
    if interval == "–":
        return f"{metric.id} {value} ({why_none(row['units'], spec.unit_names)})"
    return f"{metric.id} {value} (95 % interval {interval})"


def draw_badge(standing: Standing) -> str:
    """The badge of a standing, as the text of an SVG file."""
    lines = [
        (f"{standing.title} · {standing.benchmark}", 600),
        (" · ".join(filter(None, (standing.score, standing.rank))), 400),
        (standing.verdict, 400),
        (f"etchmark · {standing.place} · {standing.basis}", 400),
    ]
    sizes = (12, 12, 12, 10)
    width = max(_width(text) * size / 12 for (text, _), size in zip(lines, sizes, strict=True))
    width = round(max(LEAST_PX, width) + 2 * SIDE_PX)
    height = LINE_PX * len(lines) + 12
    colour = DOUBTED if standing.said.doubts else COLOURS[standing.said.kind]
    texts = "".join(
        f'<text class="t" x="{SIDE_PX + 2}" y="{LINE_PX * (index + 1)}" font-size="{size}"'
        f' font-weight="{weight}">{_escaped(text)}</text>'
        for index, ((text, weight), size) in enumerate(zip(lines, sizes, strict=True))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" role="img"'
        f' font-family="{FONT}">'
        f"<title>{_escaped(standing.alone)}</title>"
        f"<desc>{_escaped(f'{standing.place}; {standing.basis}')}</desc>"
        f"<style>{STYLE}</style>"
        f'<rect class="g" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="5"/>'
        f'<rect x="5" y="7" width="4" height="{height - 14}" rx="2" fill="{colour}"/>'
        f"{texts}</svg>\n"
    )


def shortened(text: str, width: int) -> str:
    """One plain line of at most so many characters."""
    line = one_line(text)
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _escaped(text: str) -> str:
    return html.escape(one_line(text))


def _width(text: str) -> float:
    """Pixels that a text of 12 pixels takes at most, roughly."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return CHAR_PX * (len(text) + (WIDE - 1) * wide)


_MARKDOWN = re.compile(r"([\\\[\]()*_`<>!#|&])")


def embed_badge(source: str, target: str, standing: Standing) -> str:
    """Lines that show a badge on another page: Markdown, then HTML.

    Args:
        source: address of the SVG file.
        target: address that the badge leads to.
        standing: what it shows. Readers who do not see it are told the model and the board alone:
            numbers in the text of another page would stay when the badge changes.
    """
    named = one_line(f"{standing.title} on {standing.benchmark}, etchmark")
    literal = _MARKDOWN.sub(r"\\\1", named)
    return (
        f"[![{literal}]({source})]({target})\n\n"
        f'<a href="{html.escape(target)}">'
        f'<img src="{html.escape(source)}" alt="{html.escape(named)}"></a>\n'
    )
