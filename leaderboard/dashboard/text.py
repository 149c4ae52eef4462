"""Text by strangers, made safe to show: it stays text wherever Markdown is read."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from urllib.parse import quote

from etchmark.text import plain

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_ACTIVE = re.compile(r"(https?(?=://)|www(?=\.)|@|:(?=[\w+-]+:))", re.IGNORECASE)


def literal(text: str) -> str:
    """Markdown that shows ``text`` and does nothing else."""
    # Bare addresses become links, and names between colons become pictures, even when escaped,
    # unless an element ends inside them. This element is a colour without a colour: it shows and
    # copies as its text.
    pieces = _ACTIVE.split(plain(" ".join(text.split())))
    escaped = [_PUNCTUATION.sub(r"\\\1", piece) for piece in pieces]
    return "".join(
        f":color[{piece}]" if index % 2 else piece for index, piece in enumerate(escaped)
    )


def prose(text: str) -> str:
    """Markdown that shows a card's text, with what is between backticks as code."""
    pieces = re.split(r"`([^`]+)`", text)
    # ``literal`` strips spaces; the bars keep those at the ends of a piece.
    return "".join(
        f"`{plain(piece)}`" if index % 2 else literal(f"|{piece}|")[2:-2]
        for index, piece in enumerate(pieces)
    )


@lru_cache(maxsize=1 << 16)
def shortened(text: str, width: int) -> str:
    """One line of at most ``width`` characters, free of control and invisible characters."""
    line = plain(" ".join(text.split()))
    # Stacked accents would reach into the lines above and below.
    line = re.sub(r"[\u0300-\u036f\u0489]{3,}", "", unicodedata.normalize("NFC", line))
    return line if len(line) <= width else line[: width - 1] + "…"


def plain_lines(text: str) -> str:
    """Text of several lines, each free of control and invisible characters."""
    return "\n".join(plain(line) for line in text.splitlines())


def web_address(reference: str | None) -> str | None:
    """The address of a DOI or an http(s) link, None for anything else."""
    if not reference:
        return None
    if re.fullmatch(r"10\.\d{4,9}/\S+", reference):
        return "https://doi.org/" + quote(reference, safe="/.-_;()")
    return reference if re.fullmatch(r"https?://[^\s<>\"'\\]+", reference) else None
