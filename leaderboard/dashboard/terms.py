"""The terms that *How to read this* explains, and links to them from where they appear."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

PAGE = "how-to-read"
"""Path of the page in addresses."""
_IN_TEXT = (
    ":is([data-testid=stMarkdownContainer], [data-testid=stCaptionContainer])"
    f' a[href^="{PAGE}?about"]'
)
STYLE = f"""<style>
{_IN_TEXT} {{ color: inherit !important; text-decoration: underline dotted !important;
  text-underline-offset: 0.2em; }}
{_IN_TEXT}:hover {{ text-decoration-style: solid !important; }}
</style>"""
"""Keeps the links quiet: a dotted line below the word."""


@dataclass(frozen=True)
class Term:
    """A term with a page of its own.

    Attributes:
        title: of the page.
        summary: one line, for the list of pages.
        document: title and path of the page of the documentation that has more on it.
    """

    title: str
    summary: str
    document: tuple[str, str] | None = None


_SCORES = ("How scores are made", "docs/methods/scores.md")
_SEPARATION = ("Which models are told apart", "docs/methods/separation.md")
TERMS = {
    "task": Term("What is measured", "What a benchmark asks for, its target and its sources."),
    "protocol": Term(
        "Protocol", "Which samples a model learns from, and which it is scored on.", _SCORES
    ),
    "score": Term(
        "Scores, metrics and tracks", "What is computed, and what a model may look at.", _SCORES
    ),
    "interval": Term(
        "Interval",
        "Where the score would likely lie with other units of the same kind.",
        ("Intervals of scores", "docs/methods/intervals.md"),
    ),
    "told-apart": Term(
        "Told apart", "When a test shows that one model is better than another.", _SEPARATION
    ),
    "rank": Term(
        "Rank, rank range and best", "What an order of scores says, and what not.", _SEPARATION
    ),
    "gain": Term("Gain", "How much smaller the error is than that of a reference.", _SEPARATION),
    "roles": Term(
        "Roles",
        "Which rows are ranked, and which are listed apart.",
        ("Roles of rows", "docs/methods/roles.md"),
    ),
    "discretisation-error": Term(
        "Discretisation error",
        "How far the grid of a simulation moves its labels.",
        ("Discretisation error", "docs/methods/discretisation.md"),
    ),
    "verified": Term("Status: run, scored, verified", "Who computed a score.", _SCORES),
    "cost": Term(
        "Cost",
        "Processor time, reference units and parameters.",
        ("What a model costs", "docs/methods/costs.md"),
    ),
    "flags": Term(
        "Flags",
        "Doubts beside a row, which change no rank.",
        ("Flags: doubts beside a row", "docs/methods/flags.md"),
    ),
}
"""By the key of the link, in the order in which they are read."""


def address(key: str, benchmark: str | None = None) -> str:
    """Address of the page of a term, with figures of a benchmark if one is named."""
    return f"{PAGE}?{urlencode(query(key, benchmark))}"


def query(key: str, benchmark: str | None = None) -> dict[str, str]:
    """What ``address`` asks for; a KeyError if there is no such term."""
    if key not in TERMS:
        raise KeyError(key)
    # The page shows current versions alone.
    return {"about": key} | ({"benchmark": benchmark.partition("@")[0]} if benchmark else {})


def linked(markdown: str, phrases: Mapping[str, str], benchmark: str | None = None) -> str:
    """Markdown in which the first occurrence of each phrase leads to the page of its term.

    Args:
        markdown: text in which everything by strangers is escaped.
        phrases: keys of terms by the words that are linked; those that do not occur are ignored.
        benchmark: whose figures the page shows.
    """
    keys = {phrase.casefold(): key for phrase, key in phrases.items()}
    longest_first = sorted(map(re.escape, phrases), key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w-])({'|'.join(longest_first)})(?![\w-])", re.IGNORECASE)
    left = set(keys)

    def link(match: re.Match[str]) -> str:
        phrase = match.group().casefold()
        if phrase not in left:
            return match.group()
        left.remove(phrase)
        return f"[{match.group()}]({address(keys[phrase], benchmark)})"

    return pattern.sub(link, markdown)
