"""A repository: files under one name, as they will lie on a server."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from etchmark import files
from etchmark.data.transfer import describe_bytes
from etchmark.errors import UserError

LICENCES = {
    "CC-BY-4.0": ("cc-by-4.0", "https://creativecommons.org/licenses/by/4.0/"),
    "CC-BY-3.0-US": ("cc-by-3.0", "https://creativecommons.org/licenses/by/3.0/us/"),
    "MIT": ("mit", "https://opensource.org/license/mit"),
    "Apache-2.0": ("apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
}
"""What the Hugging Face Hub calls a licence, and its text, by SPDX id."""


MANIFEST = "manifest.json"
SHARD = r"data/[^/]+-\d{5}-of-\d{5}\.parquet"
MARKS = (".etchmark", "croissant.json")
"""By one of these a repository is known to be ours; the first is written before anything else."""
BY_THE_HUB = {".gitattributes"}
"""What a new repository of the Hub holds."""


@dataclass(frozen=True)
class Item:
    """A file of a repository.

    Attributes:
        path: in the repository, with forward slashes.
        content: its bytes, or the file that holds them.
    """

    path: str
    content: bytes | Path

    @cached_property
    def size(self) -> int:
        """Bytes."""
        content = self.content
        return len(content) if isinstance(content, bytes) else content.stat().st_size

    @cached_property
    def sha256(self) -> str:
        content = self.content
        if isinstance(content, bytes):
            return hashlib.sha256(content).hexdigest()
        return files.sha256_of(content)


@dataclass(frozen=True)
class Repository:
    """Files under one name.

    Attributes:
        name: without the organisation.
        kind: what the Hub takes it for.
        title: in one line.
        licence: as declared, in one line.
        items: data before what describes them, so that a reader never sees the second alone.
        configs: folders of what is in it; data files that lie there otherwise are of an older
            release, and are removed.
        withdrawn: folders of what may not be published any more, and is removed.
        absent: folders of what could be published and is not in it.
        left_out: what is not in it, and why.
    owned: folders all of whose files are ours: what lies there otherwise is of an older release.
    """

    name: str
    kind: Literal["dataset", "model", "space"]
    title: str
    licence: str
    items: tuple[Item, ...]
    configs: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    owned: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(item.size for item in self.items)

    def stale(self, paths: Iterable[str], place: str) -> list[str]:
        """Those of the files of a repository that are not to be there any more.

        Args:
            paths: of the files that are there.
            place: where, for messages.

        Raises:
            UserError: there is something that the new card would not name, though it stays.
        """
        own, there = {item.path for item in self.items}, set(paths)
        if there - BY_THE_HUB and not any(path in there for path in MARKS):
            raise UserError(
                f"{place}: holds files that etchmark did not publish, such as"
                f" {min(there - BY_THE_HUB)}; publish to another place, or remove them first"
            )
        found = []
        for path in sorted(there):
            top, _, rest = path.partition("/")
            if "__pycache__/" in path:
                continue
            if top in self.owned and rest and path not in own:
                found.append(path)
                continue
            if not (rest == MANIFEST or re.fullmatch(SHARD, rest)):
                continue
            if top in self.absent:
                raise UserError(
                    f"{place}: holds {top}, which its card would no longer name; name"
                    f" {self.name}:{top} as well (build it first), or remove it there"
                )
            if top in self.withdrawn or (path not in own and top in self.configs):
                found.append(path)
        return found


@dataclass(frozen=True)
class Published:
    """What was done with a repository.

    Attributes:
        repository: which.
        place: where it is now, or would be.
        sent: paths of files that were, or would be, written.
        removed: paths of older data files that were, or would be, removed.
        revision: commit that holds the files; None in a folder, or where there is none yet.
    """

    repository: Repository
    place: str
    sent: tuple[str, ...]
    removed: tuple[str, ...] = ()
    revision: str | None = None

    @property
    def left_out(self) -> tuple[str, ...]:
        """What is not in it, and why."""
        return self.repository.left_out

    def lines(self, *, dry_run: bool) -> Iterator[str]:
        """What was done, or would be, in lines of text."""
        repository, sizes = (
            self.repository,
            {item.path: item.size for item in self.repository.items},
        )
        would = "would be " if dry_run else ""
        yield (
            f"{self.place}: {repository.title}; {len(repository.items)} files,"
            f" {describe_bytes(repository.size)}; licence: {repository.licence}"
        )
        for path in self.sent:
            yield f"  {would}written: {path} ({describe_bytes(sizes[path])})"
        for path in self.removed:
            yield f"  {would}removed: {path} (not published any more)"
        if not self.sent and not self.removed:
            yield "  nothing has changed"
        if self.revision is not None and not dry_run:
            yield f"  commit {self.revision}"
