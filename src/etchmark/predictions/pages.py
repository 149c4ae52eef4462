"""Footer and page headers of a parquet file: what reading it would really take.

The footer of a parquet file says how large its columns are, but nothing holds it to that: memory
is taken by the sizes in the page headers, each of which may ask for 2 GiB. They are read here
without unpacking anything (Apache Parquet format, parquet.thrift; Thrift compact protocol).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

DICTIONARY_PAGE, DELTA_BYTE_ARRAY = 2, 7
MAX_FOOTER_BYTES = 1 << 20
MAX_PAGES = 100_000
MAX_DEPTH = 32
# Numbers of the fields of FileMetaData, RowGroup, ColumnChunk, ColumnMetaData and PageHeader.
_FILE_ROWS, _ROW_GROUPS = 3, 4
_GROUP_COLUMNS, _GROUP_BYTES, _GROUP_ROWS = 1, 2, 3
_CHUNK_META = 3
_PATH, _CHUNK_VALUES, _CHUNK_BYTES, _DATA_OFFSET, _DICTIONARY_OFFSET = 3, 5, 7, 9, 11
_TYPE, _UNPACKED, _PACKED, _DATA, _DICTIONARY, _DATA_V2 = 1, 2, 3, 5, 7, 8
_NUM_VALUES = 1
_ENCODING = {_DATA: 2, _DICTIONARY: 2, _DATA_V2: 4}


@dataclass(frozen=True)
class Page:
    """A page as its header declares it."""

    column: str
    dictionary: bool
    values: int
    bytes: int
    """Unpacked."""
    encoding: int


@dataclass(frozen=True)
class Chunk:
    """A column within a row group, and the bytes of the file it lies in."""

    column: str
    values: int
    start: int
    end: int


@dataclass(frozen=True)
class Footer:
    rows: int
    bytes: int
    """Unpacked, over all row groups."""
    chunks: list[Chunk]


class _Compact:
    """Just enough of Thrift's compact protocol to read a struct of numbers."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self.file, self.left = file, limit

    def take(self, count: int) -> bytes:
        if not 0 <= count <= self.left:
            raise ValueError("a page header is malformed")
        self.left -= count
        content = self.file.read(count)
        if len(content) != count:
            raise ValueError("a page header is cut off")
        return content

    def varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("a page header is malformed")

    def integer(self) -> int:
        raw = self.varint()
        return (raw >> 1) ^ -(raw & 1)

    def value(self, kind: int, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError("a page header is malformed")
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self.take(1)[0]
        if kind in (4, 5, 6):
            return self.integer()
        if kind == 7:
            return self.take(8)
        if kind == 8:
            return self.take(self.varint())
        if kind in (9, 10):
            head = self.take(1)[0]
            count, inner = head >> 4, head & 0x0F
            count = self.varint() if count == 15 else count
            # Truths in a list take a byte each; nothing in a list takes less.
            return [
                self.take(1) if inner in (1, 2) else self.value(inner, depth + 1)
                for _ in range(count)
            ]
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError("a page header is malformed")

    def struct(self, depth: int = 0) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while head := self.take(1)[0]:
            step, kind = head >> 4, head & 0x0F
            number = number + step if step else self.integer()
            fields[number] = self.value(kind, depth)
        return fields


def read_footer(file: BinaryIO) -> Footer:
    """What the footer declares.

    It is not taken from pyarrow, which ends the whole process on some damaged footers when its
    columns are looked at one by one.

    Raises:
        ValueError: it is malformed.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - 8))
    tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or not 0 < length <= min(size - 12, MAX_FOOTER_BYTES):
        raise ValueError("the footer is missing or malformed")
    file.seek(size - 8 - length)
    meta = _Compact(file, length).struct()
    chunks: list[Chunk] = []
    rows = unpacked = 0
    try:
        for group in meta.get(_ROW_GROUPS, []):
            rows += _count(group[_GROUP_ROWS])
            unpacked += _count(group[_GROUP_BYTES])
            for column in group[_GROUP_COLUMNS]:
                own = column[_CHUNK_META]
                start, dictionary = (
                    _count(own[_DATA_OFFSET]),
                    _count(own.get(_DICTIONARY_OFFSET, 0)),
                )
                if 0 < dictionary < start:
                    start = dictionary
                chunks.append(
                    Chunk(
                        column=own[_PATH][0].decode("utf-8"),
                        values=_count(own[_CHUNK_VALUES]),
                        start=start,
                        end=start + _count(own[_CHUNK_BYTES]),
                    )
                )
        if rows != _count(meta[_FILE_ROWS]):
            raise ValueError("the footer contradicts itself in the number of rows")
        return Footer(rows, unpacked, chunks)
    except (LookupError, TypeError, AttributeError):
        raise ValueError("the footer is malformed") from None


def read_pages(file: BinaryIO, chunks: list[Chunk]) -> Iterator[Page]:
    """Every page that reading these chunks comes by.

    Raises:
        ValueError: a header is malformed.
    """
    seen = 0
    for chunk in chunks:
        # Nothing is read of a chunk that says it is empty, and its offsets mean nothing.
        at = chunk.start if chunk.values else chunk.end
        while at < chunk.end:
            seen += 1
            if seen > MAX_PAGES:
                raise ValueError(f"more than {MAX_PAGES:,} pages")
            file.seek(at)
            fields = _Compact(file, chunk.end - at).struct()
            kind = next((key for key in _ENCODING if key in fields), None)
            inner = fields[kind] if kind else {}
            if not isinstance(inner, dict):
                raise ValueError("a page header is malformed")
            packed = _count(fields.get(_PACKED))
            yield Page(
                column=chunk.column,
                dictionary=fields.get(_TYPE) == DICTIONARY_PAGE,
                values=_count(inner.get(_NUM_VALUES, 0)),
                bytes=_count(fields.get(_UNPACKED)),
                encoding=inner.get(_ENCODING[kind], -1) if kind else -1,
            )
            at = file.tell() + packed


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("a size in the file is malformed")
    return value
