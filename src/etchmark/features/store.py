"""Features on disk, computed once: content-addressed by image and recipe.

A recipe (encoder, hash of its weights, preprocessing, layer, pooling, precision) has a SQLite file
of its own, named by its SHA-256, whose rows are keyed by the SHA-256 of the image. SQLite keeps it
consistent when a process is killed or several write at once. It is a cache: damaged features are
computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from etchmark.errors import CannotRun
from etchmark.patience import patiently

BUSY_TIMEOUT_S = 60.0
ASKED_AT_ONCE = 500
"""Hashes per query; SQLite allows a limited number of variables."""


def image_hash(image: np.ndarray) -> bytes:
    """SHA-256 of an image's shape, type and pixels.

    Args:
        image: shape (height, width) or (height, width, channels).
    """
    content = np.ascontiguousarray(image)
    digest = hashlib.sha256(f"{content.dtype.str} {content.shape}".encode())
    digest.update(content.data)
    return digest.digest()


def recipe_key(recipe: Mapping[str, Any]) -> str:
    """SHA-256 of everything but the image that determines a feature vector."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Found:
    """A stored vector, float32, and the seconds its computation took."""

    vector: np.ndarray
    seconds: float


def _checked(vector: object, checksum: object, seconds: object) -> Found | None:
    """A row, None if it is not as it was written: SQLite does not notice flipped bits."""
    if not isinstance(vector, bytes) or not isinstance(seconds, float) or len(vector) % 4:
        return None
    if zlib.crc32(vector) != checksum:
        return None
    values = np.frombuffer(vector, dtype="<f4")
    return Found(values, seconds) if len(values) and np.isfinite(values).all() else None


class Shelf:
    """The stored features of one recipe.

    Args:
        folder: of the store; created on first use.
        recipe: what ``recipe_key`` hashes; stored in the file for readers.

    Raises:
        CannotRun: the store cannot be written.
    """

    def __init__(self, folder: Path, recipe: Mapping[str, Any]) -> None:
        key = recipe_key(recipe)
        self.path = folder / key[:2] / f"{key}.sqlite"
        self.recipe = dict(recipe)

    def get(self, hashes: Sequence[bytes]) -> dict[bytes, Found]:
        """Stored features by the hash of their image."""
        try:
            if not self.path.is_file():
                return {}
        except OSError as error:
            raise CannotRun(
                f"feature store {self.path}: cannot be read ({error.strerror}); ask its owner to"
                " allow it, or set ETCHMARK_FEATURES to another folder"
            ) from None
        features: dict[bytes, Found] = {}
        keys = list(dict.fromkeys(hashes))
        with self._guarded(), self._open() as connection:
            for start in range(0, len(keys), ASKED_AT_ONCE):
                some = keys[start : start + ASKED_AT_ONCE]
                marks = ",".join("?" * len(some))
                query = f"SELECT image, vector, sum, seconds FROM features WHERE image IN ({marks})"  # noqa: S608 (marks are question marks)
                for image, vector, checksum, seconds in connection.execute(query, some):
                    stored = _checked(vector, checksum, seconds)
                    if stored is not None:
                        features[image] = stored
        # All vectors of a recipe have one length; of two lengths either may be the wrong one.
        lengths = {len(stored.vector) for stored in features.values()}
        return features if len(lengths) < 2 else {}

    def put(self, hashes: Sequence[bytes], vectors: np.ndarray, seconds: float) -> None:
        """Store vectors, shape (images, features), with the seconds each took; all or none."""
        rows = []
        for image, vector in zip(hashes, vectors, strict=True):
            content = np.asarray(vector, dtype="<f4").tobytes()
            rows.append((image, content, zlib.crc32(content), seconds))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotRun(
                f"feature store {self.path.parent}: cannot be created ({error.strerror}); set"
                " ETCHMARK_FEATURES to a folder that can be written"
            ) from None
        with self._guarded(), self._open() as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?)", rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        # Connect for every use: a connection must never be carried into a forked process.
        if not all(os.access(each, os.W_OK) for each in (self.path.parent, self.path)
                   if each.exists()):  # fmt: skip
            # Read-only and immutable: SQLite cannot create its files beside this database. Rows
            # that another process is adding at this moment are missed, and computed again.
            name = f"file:{quote(str(self.path))}?mode=ro&immutable=1"
            with closing(sqlite3.connect(name, uri=True)) as connection:
                yield connection
            return
        with closing(sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S)) as connection:
            switch = lambda: connection.execute("PRAGMA journal_mode=WAL")  # noqa: E731
            patiently(switch, sqlite3.OperationalError, BUSY_TIMEOUT_S)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS features"
                " (image BLOB PRIMARY KEY, vector BLOB, sum INTEGER, seconds REAL) WITHOUT ROWID"
            )
            connection.execute("CREATE TABLE IF NOT EXISTS recipe (content TEXT PRIMARY KEY)")
            content = json.dumps(self.recipe, sort_keys=True)
            if connection.execute("SELECT 1 FROM recipe").fetchone() is None:
                with connection:
                    connection.execute("INSERT OR IGNORE INTO recipe VALUES (?)", (content,))
            yield connection

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if str(error).startswith(("no such column", "table features has")):
                raise Damaged(self.path, str(error)) from None
            raise CannotRun(
                f"feature store {self.path}: {error}; free space or allow writing, or set"
                " ETCHMARK_FEATURES to another folder"
            ) from None
        except sqlite3.DatabaseError as error:
            raise Damaged(self.path, str(error)) from None


class Damaged(CannotRun):
    """A file of the store that is no longer a database."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"feature store {path}: {why}; remove the file; its features are computed again"
        )
        self.path = path
        self.file = _file_number(path)

    def set_aside(self) -> Path:
        """Rename the file, so that its features are recomputed; returns its new path."""
        aside = self.path.with_suffix(".damaged")
        # Another process may have done so already, and begun a new file.
        if self.file is not None and _file_number(self.path) == self.file:
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                self.path.replace(aside)
        return aside


def _file_number(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None
