"""Names of the files of reviewed results.

``<benchmark>@<version>/<slug>--<track>--<protocol>.json`` and ``.parquet`` beside it. The slug is
the model's name in lower-case ASCII; where the name cannot be read back from it, eight digits of
the submission's id follow, so that no two records share a file. The older layout,
``<benchmark>/<id>.json``, is read for ever.
"""

from __future__ import annotations

import hashlib
import re
import time
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from etchmark import files
from etchmark.errors import UserError
from etchmark.registry.records import read_record
from etchmark.specs import ResultRecord

INDEX = "SHA256SUMS"
MAX_SLUG = 80
SETTLE_SECONDS = 0.1
"""How long a reader waits for a writer that is amid a record."""
_PLAIN = re.compile(r"[a-z0-9_]+(?:-[a-z0-9_]+)*(?:/[a-z0-9_]+(?:-[a-z0-9_]+)*)*")
# A name that begins with a full stop is of a table that waits for its record, see ``replacing``.
_LINE = re.compile(r"([0-9a-f]{64})  (\.?[a-z0-9_][a-z0-9._-]*\.parquet)")
_MARKED = re.compile(r"-[0-9a-f]{8}$")


def slug(name: str, submission: str) -> str:
    """A model's name as part of a file name.

    A slash becomes a full stop: ``fcn/small`` is ``fcn.small``.

    Args:
        name: of the model, as the board shows it.
        submission: its id, whose first digits tell names apart that look the same in ASCII.
    """
    if _PLAIN.fullmatch(name) and len(name) <= MAX_SLUG and not _MARKED.search(name):
        return name.replace("/", ".")
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9_]+", "-", plain.replace("/", "."))[:MAX_SLUG].strip("-")
    return f"{plain or 'model'}-{submission[:8]}"


def stem(record: ResultRecord) -> str:
    """The name of a record's files, without their endings."""
    return f"{slug(record.name, record.submission)}--{record.track}--{record.protocol}"


def folder_of(results: Path, record: ResultRecord) -> Path:
    return results / f"{record.benchmark}@{record.benchmark_version}"


def path_of(results: Path, record: ResultRecord) -> Path:
    """The file of a record in a folder of reviewed results."""
    return folder_of(results, record) / f"{stem(record)}.json"


def misplaced(path: Path, record: ResultRecord) -> str | None:
    """Why a record does not belong in its file; None if it does."""
    if "@" not in path.parent.name:
        if path.stem == record.submission:
            return None
        return "the file is not named after its submission"
    folder = folder_of(path.parent.parent, record).name
    if path.parent.name != folder:
        return f"it belongs into the folder {folder}"
    return None if path.stem == stem(record) else f"the file is not named {stem(record)}.json"


def record_files(results: Path, benchmark: str, version: int) -> Iterator[Path]:
    """Files of records of a benchmark's version, and of any version in the older layout."""
    for folder in (results / f"{benchmark}@{version}", results / benchmark):
        yield from records_in(folder)


def records_in(folder: Path) -> list[Path]:
    """Record files, without the temporary files of writers and the locks of editors."""
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))


# --- the index of a folder ----------------------------------------------------------------------


def read_index(folder: Path) -> dict[str, str] | None:
    """SHA-256 by file name, from a folder's index; None if it has none, as older content.

    Raises:
        UserError: it cannot be read, or a line is not of the form "digest, two spaces, name".
    """
    index, faults = scan_index(folder)
    if faults:
        raise UserError(faults[0])
    return index


def scan_index(folder: Path) -> tuple[dict[str, str] | None, list[str]]:
    """An index as far as it can be read: one faulty line concerns one table alone.

    Returns:
        SHA-256 by file name, without tables that two lines give different digests; None if there
        is no index. A message for each faulty line, with its remedy.

    Raises:
        UserError: the file cannot be read at all.
    """
    path = folder / INDEX
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return None, []
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error}); restore it") from None
    index: dict[str, str] = {}
    faults: list[str] = []
    contradicted: set[str] = set()
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            faults.append(
                f"{path}, line {number}: is not one digest, two spaces and one table's name; make"
                " the file again with `sha256sum *.parquet` in its folder"
            )
            continue
        digest, name = match.groups()
        if name in index:
            faults.append(
                f"{path}, line {number}: names {name} a second time; keep the line that"
                f" `sha256sum {name}` prints in its folder, and remove the other"
            )
            if index[name] != digest:
                contradicted.add(name)
        index[name] = digest
    return {name: index[name] for name in index if name not in contradicted}, faults


def index_faults(folder: Path) -> list[str]:
    """Faulty lines of a folder's index, one message each; or that tables lack an index.

    Raises:
        UserError: the index cannot be read.
    """
    index, faults = scan_index(folder)
    # The older layout, whose folders name no version, has no index.
    if index is None and "@" in folder.name and _has_tables(folder):
        return [
            f"{folder / INDEX}: is missing, so the tables beside it are not checked against their"
            f" digests; make it with `sha256sum *.parquet > {INDEX}` in that folder"
        ]
    return faults


def _has_tables(folder: Path) -> bool:
    """Whether a record of a folder has a table."""
    return any(path.with_suffix(".parquet").is_file() for path in records_in(folder))


def stray_lines(folder: Path, names: Iterable[str]) -> list[str]:
    """Lines of an index whose table and record are both missing, one message each.

    A table without a record is what an interrupted writer leaves; the next one finishes it.

    Args:
        folder: of the index.
        names: of tables in the index that no record was seen beside.
    """
    path, stray = folder / INDEX, set(names)
    lines: list[str] = []
    for attempt in range(2):
        if stray and attempt:
            # Whoever removes a record removes its line last, a moment later.
            time.sleep(SETTLE_SECONDS)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        listed = {line.partition("  ")[2] for line in lines}
        stray = {
            name
            for name in stray & listed
            if not (folder / name).exists() and not (folder / name).with_suffix(".json").exists()
        }
    return [
        f"{path}, line {number}: names {name}, which is not there, nor is its record; remove the"
        " line"
        for number, line in enumerate(lines, 1)
        for name in (line.partition("  ")[2],)
        if name in stray
    ]


def digests(folder: Path) -> dict[str, str]:
    """The index that a folder without one would have."""
    tables = (path for path in sorted(folder.glob("*.parquet")) if path.name[0] != ".")
    return {path.name: files.sha256_of(path) for path in tables}


def write_index(folder: Path, index: dict[str, str]) -> None:
    """Write the digests of a folder's tables, one line each in the order of names."""
    lines = [f"{index[name]}  {name}\n" for name in sorted(index)]
    files.write_text(folder / INDEX, "".join(lines))


# --- from the older layout ----------------------------------------------------------------------


def migrate(results: Path) -> list[tuple[Path, Path]]:
    """Give every record of the older layout its readable name; no byte of it changes.

    It can be interrupted and run again: a file is removed only once its copy is complete.

    Args:
        results: a folder of reviewed results that nobody else writes to meanwhile.

    Returns:
        Old and new path of each record.

    Raises:
        UserError: a record cannot be read, or its new name belongs to a file with other content;
            records before it are moved.
    """
    moved = []
    for old_folder in sorted(path for path in results.iterdir() if path.is_dir()):
        if "@" in old_folder.name:
            continue
        indexes: dict[Path, dict[str, str]] = {}
        for old in records_in(old_folder):
            new = path_of(results, read_record(old))
            index = indexes.setdefault(new.parent, digests(new.parent))
            table = old.with_suffix(".parquet")
            # Equal content is what an interrupted run has left.
            for source, target in ((old, new), (table, new.with_suffix(".parquet"))):
                if source.is_file() and target.exists() and not files.same_content(target, source):
                    raise UserError(
                        f"{target}: is there with other content than {source}; remove one of them"
                    )
            if table.is_file():
                content = table.read_bytes()
                new_table = new.with_suffix(".parquet")
                files.write_bytes(new_table, content)
                index[new_table.name] = hashlib.sha256(content).hexdigest()
                write_index(new.parent, index)
            files.write_bytes(new, old.read_bytes())
            old.unlink()
            table.unlink(missing_ok=True)
            moved.append((old, new))
        if indexes and not records_in(old_folder):
            (old_folder / INDEX).unlink(missing_ok=True)
            if not any(old_folder.iterdir()):
                old_folder.rmdir()
    return moved
