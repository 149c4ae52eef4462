"""Finds pickles among the files that a model saved: reading one runs whatever code it holds.

Python's pickle writes them, and so do joblib, ``torch.save`` and ``numpy.save`` of objects, some of
them inside an archive or compressed.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickletools
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

SUFFIXES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".dill", ".cloudpickle")
INSTEAD = "safetensors, skops, npz or JSON"
_HEAD_BYTES = 1 << 16
_FIRST_OPCODES = 4


def _unpacked_lzma(file: IO[bytes]) -> bytes:
    with lzma.LZMAFile(file) as unpacked:
        return unpacked.read(_HEAD_BYTES)


_PACKED: dict[bytes, Callable[[IO[bytes]], bytes]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file).read(_HEAD_BYTES),
    b"BZh": lambda file: bz2.BZ2File(file).read(_HEAD_BYTES),
    b"\xfd7zXZ": _unpacked_lzma,
    b"\x5d\x00\x00": _unpacked_lzma,
    b"\x78": lambda file: zlib.decompressobj().decompress(file.read(_HEAD_BYTES), _HEAD_BYTES),
}
"""The start of each kind of compressed file, and how to read the start of its content."""


def refuse(folder: Path) -> None:
    """Refuse a folder that holds a pickle.

    Raises:
        ValueError: names the file, and what to save instead.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if is_pickle(path):
            raise ValueError(
                f"{path.relative_to(folder).as_posix()} is a pickle, which can run any code when it"
                f" is loaded; save it as {INSTEAD}"
            )


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle by its name or content, or an archive that holds one."""
    if path.suffix.lower() in SUFFIXES:
        return True
    with path.open("rb") as file:
        if _begins_as_one(file.read(_HEAD_BYTES), path.stat().st_size):
            return True
        return _holds_one(file) if zipfile.is_zipfile(file) else _packs_one(file)


def _begins_as_one(head: bytes, size: int) -> bool:
    if head.startswith(b"\x93NUMPY"):
        return _has_objects(head)
    # The protocols 2 and later begin with their number; text cannot begin like that.
    if len(head) < 3 or head[0] != 0x80 or head[1] > 9:
        return False
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size:
        # The length of the header of a safetensors file, which can begin with the same bytes.
        return False
    try:
        for count, _ in enumerate(pickletools.genops(head), 1):
            if count == _FIRST_OPCODES:
                return True
    except ValueError as error:
        return "exhausted" in str(error) or "not enough data" in str(error)
    return True


def _has_objects(head: bytes) -> bool:
    """Whether the array of an ``.npy`` file is one of Python objects, which are pickled."""
    import numpy as np

    file = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        _, _, dtype = read(file)
    except ValueError:
        # Not an array that numpy reads: no harm comes of it.
        return False
    return bool(dtype.hasobject)


def _holds_one(file: IO[bytes]) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if PurePosixPath(member.filename).suffix.lower() in SUFFIXES:
                    return True
                with archive.open(member) as inner:
                    if _begins_as_one(inner.read(_HEAD_BYTES), member.file_size):
                        return True
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error):
        # Damaged, or packed in a way that Python does not read: nor does a loader.
        return False
    return False


def _packs_one(file: IO[bytes]) -> bool:
    file.seek(0)
    start = file.read(6)
    file.seek(0)
    for magic, unpack in _PACKED.items():
        if start.startswith(magic):
            try:
                head = unpack(file)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
                return False
            return _begins_as_one(head, 1 << 62)
    return False
