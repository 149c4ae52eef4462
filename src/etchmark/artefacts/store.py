"""Where fitted models are kept, and whether they are still what was kept."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from etchmark import files, settings
from etchmark.artefacts import pickles
from etchmark.catalog import explain
from etchmark.errors import UserError
from etchmark.specs.artefacts import Artefact, ArtefactFile

MANIFEST, CODE, MODELS = "artefact.json", "code", "models"
REMEDY = "remove the folder and evaluate the model with --keep-model again"


def folder_of(digest: str) -> Path:
    """Where the artefact of that content hash is, if it is kept here."""
    return settings.home() / "artefacts" / digest


def keep(code: Path, models: Mapping[tuple[str, int], Path], about: Mapping[str, Any]) -> str:
    """Keep fitted models, whole or not at all; those that are kept already are left as they are.

    Args:
        code: the model's folder; hidden files and byte code are left out.
        models: by fold and seed, the folder that ``save`` wrote.
        about: the remaining fields of ``Artefact``.

    Returns:
        The content hash: SHA-256 of the manifest.

    Raises:
        ValueError: ``save`` wrote something other than plain files and folders, a pickle, or names
            that no manifest holds.
    """
    root = settings.home() / "artefacts"
    staging = root / f".{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        _copy(code, staging / CODE, ours=True)
        fitted = []
        for (fold, seed), folder in models.items():
            name = f"{MODELS}/{fold}-{seed}"
            _copy(folder, staging / name)
            pickles.refuse(staging / name)
            fitted.append({"fold": fold, "seed": seed, "folder": name})
        listed = [_described(path, staging) for path in _plain_files(staging)]
        try:
            manifest = Artefact.model_validate({**about, "models": fitted, "files": listed})
        except ValidationError as error:
            raise ValueError(explain(error)) from None
        files.write_json(staging / MANIFEST, manifest.model_dump(mode="json", by_alias=True))
        digest = files.sha256_of(staging / MANIFEST)
        if not (root / digest).is_dir():
            staging.replace(root / digest)
        return digest
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _copy(source: Path, target: Path, *, ours: bool = False) -> None:
    target.mkdir(parents=True)
    for path in _plain_files(source):
        inner = path.relative_to(source)
        if ours and any(part.startswith(".") or part == "__pycache__" for part in inner.parts):
            continue
        (target / inner).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / inner, follow_symlinks=False)


def _plain_files(folder: Path) -> Iterator[Path]:
    """All files below a folder, in order; a model's process may have put anything there.

    Raises:
        ValueError: there is a link, a socket or the like.
    """
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            yield path
        elif not stat.S_ISDIR(mode) and "__pycache__" not in path.parts:
            raise ValueError(f"{path.name} is neither a file nor a folder")


def _described(path: Path, root: Path) -> ArtefactFile:
    name = path.relative_to(root).as_posix()
    try:
        return ArtefactFile(path=name, sha256=files.sha256_of(path), bytes=path.stat().st_size)
    except ValidationError as error:
        # A model may name its files as it likes.
        raise ValueError(f"file {path.name!r}: {explain(error)}") from None


def verify(folder: Path) -> Artefact:
    """The manifest of an artefact, every file of which is as it was kept.

    Args:
        folder: named by its content hash.

    Raises:
        UserError: it is not there, or a file was changed, added or removed.
    """
    try:
        manifest = Artefact.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        raise UserError(f"{folder}: holds no artefact that can be read; {REMEDY}") from None
    if files.sha256_of(folder / MANIFEST) != folder.name:
        raise UserError(f"{folder / MANIFEST}: was changed since it was kept; {REMEDY}")
    listed = {file.path: file for file in manifest.files}
    try:
        present = {_described(path, folder).path: path for path in _plain_files(folder)}
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: {error}; {REMEDY}") from None
    present.pop(MANIFEST)
    for name in sorted({*listed} ^ {*present}):
        what = "is missing" if name in listed else "was added since it was kept"
        raise UserError(f"{folder / name}: {what}; {REMEDY}")
    for name, path in present.items():
        if _described(path, folder) != listed[name]:
            raise UserError(f"{path}: was changed since it was kept; {REMEDY}")
    return manifest
