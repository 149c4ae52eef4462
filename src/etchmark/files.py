"""Writing files so that they are either complete or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from etchmark.errors import NotAllowed, UserError

REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Error numbers of the system where a user may not read or write."""


def refusal(error: OSError, path: Path | None = None) -> NotAllowed | None:
    """The error for a file that this user may not use; None for any other kind of error.

    Args:
        error: raised by the system.
        path: the file, if the error does not name it.
    """
    where = error.filename or path
    if error.errno not in REFUSED or where is None:
        return None
    return NotAllowed(
        f"{where}: cannot be used by this user ({error.strerror}); ask its owner to allow it, or"
        " set ETCHMARK_HOME to a folder of your own"
    )


NO_ROOM = {errno.ENOSPC, errno.EROFS, *([errno.EDQUOT] if hasattr(errno, "EDQUOT") else [])}
"""Error numbers for a disk that is full or read-only, or a quota that is used up."""
_REMEDY = (
    "free space, or set TMPDIR (temporary files) or ETCHMARK_HOME (the hub folder) to a folder that"
    " can be written and has room"
)


def no_room(error: OSError, folder: Path | None = None) -> str:
    """The message for an error of ``NO_ROOM``.

    Args:
        error: raised by the system.
        folder: in which something was written, if the error names no file.
    """
    where = error.filename or (folder.parent if folder is not None else "the disk")
    return f"{where}: cannot be written ({error.strerror or error}); {_REMEDY}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is flushed and replaces ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # A rename survives a power cut only once its folder is on disk (not possible on Windows).
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256_of(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


# --- files of the user -------------------------------------------------------------------------


def require_ordinary(path: Path) -> None:
    """Refuse what is neither a file nor absent: reading a named pipe would wait for ever.

    Raises:
        UserError: it is a folder, a pipe or a device.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is not an ordinary file; remove it")


def same_content(path: Path, other: Path) -> bool:
    """Whether two files hold the same bytes."""
    if path.stat().st_size != other.stat().st_size:
        return False
    return sha256_of(path) == sha256_of(other)


def refuse_changes(new: Mapping[Path, Path], *, force: bool) -> None:
    """Refuse to overwrite files with different content; nothing is written here.

    Args:
        new: by file that would be written, a file that holds the new content.
        force: allow existing files to be replaced.

    Raises:
        UserError: a file exists with different content, or is a folder.
    """
    for path in new:
        if path.is_dir():
            raise UserError(f"{path}: is a folder, not a file; give another --out")
    if force:
        return
    changed = [path for path, source in new.items() if _differs(path, source)]
    if changed:
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise UserError(
            f"{changed[0]}{more}: exists with other content, which would be lost; give another"
            " --out, or --force to replace it"
        )


@contextmanager
def together(folder: Path, *, force: bool) -> Iterator[Path]:
    """Yield an empty folder; on success, the files written there are moved into ``folder``.

    If a file may not be replaced, none is moved. Each file is moved by a rename, and files with
    the same content are left as they are.

    Args:
        folder: destination; created if it does not exist.
        force: replace existing files that have different content.

    Raises:
        UserError: a file exists with different content, and ``force`` is not set.
    """
    existed = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f".etchmark-{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        staged.mkdir()
        yield staged
        written = sorted(path for path in staged.rglob("*") if path.is_file())
        new = {folder / path.relative_to(staged): path for path in written}
        refuse_changes(new, force=force)
        for path, source in new.items():
            if _differs(path, source) or not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as temporary:
                    source.replace(temporary)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        if not existed:
            # Created above, and empty if the block failed.
            with suppress(OSError):
                folder.rmdir()


def _differs(path: Path, source: Path) -> bool:
    if not path.exists():
        # A dangling link belongs to the user, too.
        return path.is_symlink()
    return not path.is_file() or not same_content(path, source)


# --- temporary files ---------------------------------------------------------------------------


def temporary_root() -> Path:
    """The folder for temporary files.

    Python would silently use another folder if that of TMPDIR cannot be used.

    Raises:
        UserError: the folder of TMPDIR is missing or cannot be written, or there is none to use.
    """
    for name in ("TMPDIR", "TEMP", "TMP"):
        value = os.environ.get(name)
        if value:
            folder = Path(value)
            if not folder.is_dir():
                reason = "is not a folder" if folder.exists() else "does not exist"
                raise UserError(f"{name}: {folder} {reason}; create it or correct the setting")
            _check_room(folder, name)
            break
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        raise _none_made(error) from None


def _check_room(folder: Path, setting: str) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"0")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise UserError(
            f"{setting}: {folder} cannot be written ({error.strerror or error}); free space there,"
            " or correct the setting"
        ) from None


def _none_made(error: OSError) -> UserError:
    why = error.strerror or str(error)
    return UserError(f"no temporary folder can be made ({why}); {_REMEDY}")


@contextmanager
def temporary_folder(prefix: str = "etchmark-") -> Iterator[Path]:
    """A temporary folder below ``TMPDIR``, removed after the block.

    Raises:
        UserError: it cannot be created, or there is no room for the files that the block writes.
    """
    root = temporary_root()
    try:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
    except OSError as error:
        raise _none_made(error) from None
    try:
        yield folder
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise UserError(no_room(error, folder)) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def digest_of_code(names: Iterable[str]) -> str:
    """SHA-256 of modules of etchmark: names and contents of files, packages with all they hold.

    Args:
        names: Paths below the package, as ``"model.py"`` or ``"simulation"``.

    Raises:
        FileNotFoundError: a name is neither a module nor a package with modules.
    """
    root = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for name in names:
        paths = sorted((root / name).rglob("*.py")) if (root / name).is_dir() else [root / name]
        if not paths:
            raise FileNotFoundError(f"{root / name}: holds no modules")
        for path in paths:
            digest.update(f"\n{path.relative_to(root).as_posix()}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
