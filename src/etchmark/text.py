"""Numbers and foreign text as they are shown.

Names, titles, reasons and file names come from strangers. Characters in them that a terminal obeys,
that turn the writing direction or that cannot be seen are written as visible escapes (``\\x1b``,
``\\u202e``); in JSON the escapes are JSON's own, so a reader gets the same text.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula, full-width forms included."""
_UNSEEN = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u2800\u3164\uffa0\ufffc"
    "\U00016fe4\U0001d159" + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
"""Characters of other categories that show nothing: joiners, fillers, variation selectors.

Those that Unicode's ``DerivedCoreProperties.txt`` lists as ``Default_Ignorable_Code_Point`` are
here or of the categories for format and unassigned characters; beside them stand the Braille
blank, the object replacement character, the Khitan filler and the null notehead.
"""


def hidden(char: str) -> bool:
    """Whether a character steers the display or shows nothing (blanks apart).

    Characters that the Unicode version of this Python does not assign count as hidden.
    """
    if char in _UNSEEN:
        return True
    # Not printable: control, format, surrogate, private use, unassigned, separators of lines.
    return not char.isprintable() and unicodedata.category(char) != "Zs"


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(char: str) -> str:
    code = ord(char)
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


_BLANKS = re.compile(r"[^\S\x1c-\x1f\x85\u2028\u2029]+")
_SUSPECTS = re.compile(r"[^ -~]")
_SUSPECTS_OF_LINES = re.compile(r"[^ -~\n]")


def plain(text: str) -> str:
    """Text in which characters that steer a terminal, turn the direction or hide are escaped."""
    return _SUSPECTS.sub(lambda at: _escape(at[0]) if hidden(at[0]) else at[0], text)


def plain_lines(text: str) -> str:
    """The same of several lines, which stay lines."""
    return _SUSPECTS_OF_LINES.sub(lambda at: _escape(at[0]) if hidden(at[0]) else at[0], text)


def one_line(text: object) -> str:
    """One plain line: ordinary line breaks and runs of blanks become single blanks."""
    return plain(_BLANKS.sub(" ", str(text)).strip(" "))


def csv_safe(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def csv_text(frame: pd.DataFrame) -> str:
    """A table as CSV: text plain, on one line and never a formula; lists and mappings in a cell."""
    shown = frame.copy()
    for name in shown.columns:
        if shown[name].dtype.kind == "O":
            shown[name] = [_cell(value) for value in shown[name]]
    shown.columns = [_cell(name) for name in shown.columns]
    return shown.to_csv(index=False, lineterminator="\n")


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        value = ";".join(map(str, value))
    elif isinstance(value, dict):
        value = "; ".join(f"{name}={part}" for name, part in value.items()) or None
    return csv_safe(plain(value)) if isinstance(value, str) else value


def escape_json(text: str) -> str:
    """The same JSON text with hidden characters written as ``\\uXXXX``; it stays equal JSON."""
    return _SUSPECTS_OF_LINES.sub(lambda at: _json_escape(at[0]) if hidden(at[0]) else at[0], text)


def json_text(value: Any) -> str:
    """A value as indented JSON without hidden characters; NaN and infinity are refused."""
    return escape_json(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_json(value: Any) -> None:
    """Print JSON that stays JSON in any encoding of the output."""
    text = json_text(value)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False)
    print(text)


def span(low: float | None, high: float | None) -> str:
    """Both ends of an interval; a dash where there is none."""
    ends = number(low), number(high)
    return "–" if "–" in ends else f"{ends[0]} … {ends[1]}"


def number(value: float | None) -> str:
    """Four significant digits, without an exponent where it can be helped."""
    import pandas as pd

    if value is None or pd.isna(value):
        return "–"
    if abs(value) >= 1e9:
        return f"{value:.3e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:#.4g}" if abs(value) >= 1e-3 else f"{value:.3g}"


def declared_number(value: float | None) -> str:
    """The same without zeros at the end: what is declared has the digits that it was given."""
    text = number(value)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text
