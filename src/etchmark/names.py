"""Names that look alike: no submission may pass for another by a difference that nobody sees.

Names are compared, regardless of case, by their skeletons (Unicode Technical Standard 39, section
4, https://www.unicode.org/reports/tr39/) over the table of ``confusable_homoglyphs``. Mixing
scripts is allowed: "β-VAE" is a good name.
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
    """For each character that can be mistaken for another, the one it is replaced by.

    The table lists each pair in both directions without saying which is the prototype. Here it is
    the character that several others resemble; of a pair on its own, the longer, else the first.
    """
    # Imported on first use: the table is large, and most commands compare no names.
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
    """Skeletons of the name in lower case and as written: "I" resembles "l", "i" does not."""
    text = unicodedata.normalize("NFKC", name)
    # Spaces are dropped, since their number and kind cannot be seen, and so are hidden characters.
    text = "".join(char for char in text if not hidden(char) and not char.isspace())
    return _skeleton(text.casefold()).casefold(), _skeleton(text).casefold()


def alike(name: str, other: str) -> bool:
    """Whether a reader could mistake one name for the other; equal names are alike."""
    return any(map(str.__eq__, _skeletons(name), _skeletons(other)))


def first_alike(name: str, others: Iterable[str]) -> str | None:
    """The first of ``others`` that ``name`` could be mistaken for."""
    return next((other for other in others if alike(name, other)), None)


def shapes(char: str) -> bool:
    """Whether a hidden character changes how its neighbours look, as in emoji and some scripts."""
    return char in _JOINERS or char in _SELECTORS


def unfit(name: str) -> str | None:
    """Why readers would not see a name as it is; None if every character is visible.

    Joiners and variation selectors are allowed after a character that they change: any but an ASCII
    character, which needs one only in a keycap emoji.
    """
    shaped = ""
    for at, char in enumerate(name):
        if char.isspace() and char != " ":
            return f"holds U+{ord(char):04X}, a space other than the ordinary one"
        if char == " " and name[at + 1 : at + 2] == " ":
            return "holds several spaces in a row"
        if not hidden(char):
            shaped = char
        elif char in _SELECTORS and name[at + 1 : at + 2] == _KEYCAP and shaped in "0123456789#*":
            continue
        elif not shapes(char) or not shaped or shaped.isascii():
            return f"holds U+{ord(char):04X}, a character that cannot be seen"
    return None
