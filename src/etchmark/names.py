"""Names that look alike, so that no submission passes for another by a difference nobody sees.

The comparison is the skeleton of Unicode Technical Standard 39, section 4
(https://www.unicode.org/reports/tr39/), over the table of ``confusable_homoglyphs``, regardless of
case. Mixed scripts alone are no fault: "β-VAE" is a good name.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache

from etchmark.text import hidden

_MARK = "\u200e"
"""The table has this direction mark around characters that are written from right to left."""
_JOINERS = frozenset("\u200c\u200d")
_SELECTORS = frozenset(
    map(chr, (*range(0x180B, 0x180E), 0x180F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)
"""Variation selectors, which choose the form of the character before them."""
_KEYCAP = "\u20e3"


@cache
def _prototypes() -> dict[str, str]:
    """What each character that can be taken for another is replaced by.

    The table holds both directions of each pair and does not say which one is the prototype. It is
    the one that several others resemble; of a lone pair, the longer or else the first.
    """
    # Read when a name is compared: the command line starts without it.
    from confusable_homoglyphs.confusables import confusables_data

    similar: dict[str, set[str]] = {}
    for key, rows in confusables_data.items():
        others = {row["c"].replace(_MARK, "") for row in rows}
        similar.setdefault(key.replace(_MARK, ""), set()).update(others)
    prototypes = {}
    for char, others in similar.items():
        if len(char) == 1 and len(others) == 1:
            (other,) = others
            shared = len(similar[other]) > 1 or len(other) > 1
            prototypes[char] = other if shared else min(char, other)
    return prototypes


def _skeleton(text: str) -> str:
    prototypes = _prototypes()
    decomposed = unicodedata.normalize("NFD", text)
    replaced = "".join(prototypes.get(char, char) for char in decomposed)
    return unicodedata.normalize("NFD", replaced)


@lru_cache(maxsize=1 << 14)
def _skeletons(name: str) -> tuple[str, str]:
    """Of the name in lower case and as it is written: "I" resembles "l", but "i" does not."""
    text = unicodedata.normalize("NFKC", name)
    # Blanks go too: several kinds of them, and fillers that are not seen, look like one or none.
    text = "".join(char for char in text if not hidden(char) and not char.isspace())
    return _skeleton(text.casefold()).casefold(), _skeleton(text).casefold()


def alike(name: str, other: str) -> bool:
    """Whether a reader could take one name for the other; equal names are alike."""
    return any(map(str.__eq__, _skeletons(name), _skeletons(other)))


def first_alike(name: str, others: Iterable[str]) -> str | None:
    """The first of ``others`` that ``name`` can be taken for."""
    return next((other for other in others if alike(name, other)), None)


def shapes(char: str) -> bool:
    """Whether a hidden character forms its neighbours, as in emoji and in several scripts."""
    return char in _JOINERS or char in _SELECTORS


def unfit(name: str) -> str | None:
    """Why a reader would not see a name as it is, in words; None if every character shows.

    Joiners and variation selectors are fine where they form the character before them, which no
    ASCII character needs except in a keycap emoji.
    """
    shaped = ""
    for at, char in enumerate(name):
        if char.isspace() and char != " ":
            return f"holds U+{ord(char):04X}, a blank other than the ordinary one"
        if char == " " and name[at + 1 : at + 2] == " ":
            return "holds several blanks in a row"
        if not hidden(char):
            shaped = char
        elif char in _SELECTORS and name[at + 1 : at + 2] == _KEYCAP and shaped in "0123456789#*":
            continue
        elif not shapes(char) or not shaped or shaped.isascii():
            return f"holds U+{ord(char):04X}, a character that is not seen"
    return None
