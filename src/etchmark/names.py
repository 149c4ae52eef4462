"""Names that look alike, so that no submission passes for another by a difference nobody sees.

The comparison is the skeleton of Unicode Technical Standard 39, section 4
(https://www.unicode.org/reports/tr39/), over the table of ``confusable_homoglyphs``, regardless of
case. Mixed scripts alone are no fault: "β-VAE" is a good name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache

_MARK = "\u200e"
"""The table has this direction mark around characters that are written from right to left."""
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
"""Characters without a glyph, apart from those of the categories for control and format."""


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
    text = "".join(char for char in text if unicodedata.category(char) not in {"Cc", "Cf", "Cs"})
    text = " ".join(_UNSEEN.sub("", text).split())
    return _skeleton(text.casefold()).casefold(), _skeleton(text).casefold()


def alike(name: str, other: str) -> bool:
    """Whether a reader could take one name for the other; equal names are alike."""
    return any(map(str.__eq__, _skeletons(name), _skeletons(other)))


def first_alike(name: str, others: Iterable[str]) -> str | None:
    """The first of ``others`` that ``name`` can be taken for."""
    return next((other for other in others if alike(name, other)), None)
