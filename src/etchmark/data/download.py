"""``etchmark download``: a config from a remote if one is set, else built."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

from etchmark import files, settings
from etchmark.catalog import Catalog
from etchmark.data import building, packaging, release
from etchmark.data.loading import find_config, read_config, read_manifest
from etchmark.data.progress import describe_seconds
from etchmark.errors import UserError
from etchmark.specs import DatasetSpec, Manifest

TIMEOUT_S = (10, 60)
MAX_MANIFEST_BYTES = 16 << 20


@dataclass(frozen=True)
class Downloaded:
    config: str
    folder: Path
    files: list[Path]
    manifest: Manifest | None
    """Of the whole config; None if one split was built without the others."""
    origin: str
    """Where the files came from, in words."""
    check: str = "SHA-256 verified"
    """What they were compared with, in words."""
    difference: release.Difference | None = None
    """How a build on this machine differs from the frozen release, if it does."""


def _get(url: str, path: Path, limit: int) -> None:
    """One file of a remote, streamed to disk; never more than ``limit`` bytes."""
    import requests

    if settings.offline():
        raise UserError(
            f"{url}: not downloaded, since ETCHMARK_OFFLINE is set; unset it to use the network"
        )
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT_S) as answer:
            answer.raise_for_status()
            size = 0
            with files.replacing(path) as temporary, temporary.open("wb") as handle:
                for chunk in answer.iter_content(1 << 20):
                    size += len(chunk)
                    if size > limit:
                        raise UserError(
                            f"{url}: is longer than the {limit} bytes it should have; check"
                            " ETCHMARK_REMOTE"
                        )
                    handle.write(chunk)
    except requests.RequestException as error:
        reason = type(error).__name__
        if isinstance(error, requests.HTTPError) and error.response is not None:
            reason = f"HTTP {error.response.status_code}"
        raise UserError(f"{url}: cannot be downloaded ({reason}); check ETCHMARK_REMOTE") from None


def _from_remote(base: str, dataset: str, config: str, split: str | None, folder: Path) -> Manifest:
    url = f"{base}/{dataset}/{config}"
    partial = folder.with_name(f".{folder.name}.part")
    partial.mkdir(parents=True, exist_ok=True)
    _get(f"{url}/{packaging.MANIFEST}", partial / packaging.MANIFEST, MAX_MANIFEST_BYTES)
    try:
        manifest = read_manifest(partial)
    except UserError as error:
        reason = str(error).removeprefix(f"{partial / packaging.MANIFEST}: ").partition("; ")[0]
        raise UserError(
            f"{url}/{packaging.MANIFEST}: is not a dataset manifest ({reason}); check"
            " ETCHMARK_REMOTE"
        ) from None
    if (manifest.name, manifest.config) != (dataset, config):
        raise UserError(f"{url}: serves {manifest.name}:{manifest.config}; check ETCHMARK_REMOTE")
    _check_split(manifest, split)
    for file in (file for file in manifest.files if split in (None, file.split)):
        path = partial / file.path
        # An interrupted download goes on after its last whole file.
        if not path.is_file() or files.sha256_of(path) != file.sha256:
            _get(f"{url}/{file.path}", path, file.bytes)
        if files.sha256_of(path) != file.sha256:
            path.unlink()
            raise UserError(f"{url}/{file.path}: SHA-256 differs from its manifest; try again")
    if split is None:
        if packaging.config_fingerprint(partial, manifest.files) != manifest.fingerprint:
            raise UserError(
                f"{url}: the content of the files does not match the fingerprint of its manifest;"
                " check ETCHMARK_REMOTE"
            )
        packaging.swap(partial, folder)
    return manifest


def _check_split(manifest: Manifest, split: str | None) -> None:
    known = list(dict.fromkeys(file.split for file in manifest.files))
    if split is not None and split not in known:
        raise UserError(
            f"unknown split {split!r} of {manifest.name}:{manifest.config}; choose from:"
            f" {', '.join(known)}"
        )


def download(
    catalog: Catalog,
    dataset: str,
    config: str | None = None,
    *,
    split: str | None = None,
    out: Path | None = None,
    executors: building.Executors | None = None,
    force: bool = False,
) -> Downloaded:
    """Make a verified config available on this machine.

    Files already on this machine are used; else they are downloaded from ``ETCHMARK_REMOTE`` if
    that is set, else built. Only ``split`` is built, if the dataset's ``build.py`` plans shards.

    Args:
        catalog: where the dataset is declared.
        dataset: its name.
        config: its config; the default one if None.
        split: only this split's files.
        out: folder to copy the files to; they stay in the hub folder if None.
        executors: where a build is computed; in this process if None.
        force: replace files in ``out`` whose content differs, such as edited ones.

    Raises:
        UserError: unknown names, an unusable remote or folder, damaged files, or files in ``out``
            that would be lost.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"{out}: is not a folder; give another --out")
    spec = catalog.dataset(dataset)
    name = building.config_of(spec, config)
    if split is not None and split not in spec.configs[name].splits:
        known = ", ".join(spec.configs[name].splits)
        raise UserError(f"unknown split {split!r} of {dataset}:{name}; choose from: {known}")
    folder, remote = find_config(catalog, dataset, name), settings.remote()
    if folder is not None:
        manifest = read_config(folder, dataset, name)
        downloaded = _verified(folder, manifest, split, "already on this machine")
    elif remote is not None:
        folder = building.hub_folder(dataset, name)
        manifest = _from_remote(remote, dataset, name, split, folder)
        if split is not None:
            folder = folder.with_name(f".{folder.name}.part")
        downloaded = _verified(folder, manifest, split, f"downloaded from {remote}")
    else:
        downloaded = _built(catalog, spec, name, split, executors or building.Executors())
    if out is not None:
        names = [path.relative_to(downloaded.folder) for path in downloaded.files]
        copied = _copy(downloaded.folder, names, out, force=force)
        downloaded = replace(downloaded, folder=out, files=copied)
    return downloaded


def _built(
    catalog: Catalog,
    spec: DatasetSpec,
    config: str,
    split: str | None,
    executors: building.Executors,
) -> Downloaded:
    """A config or one split of it, built here and compared with the release."""
    started = time.monotonic()
    note = ""
    if split is not None and len(spec.configs[config].splits) > 1:
        part = building.build_split(catalog, spec.name, config, split, executors=executors)
        if part is not None:
            paths = [part.folder / file.path for file in part.files]
            check = _compared(part.difference, part.released)
            origin = _origin(started)
            return Downloaded(config, part.folder, paths, None, origin, check, part.difference)
        note = ", all splits at once"
    options = building.BuildOptions(executors=executors, wait=True)
    build = building.build(catalog, spec.name, config, options)
    of_split = [file for file in build.manifest.files if split in (None, file.split)]
    paths = [build.folder / file.path for file in of_split]
    check = _compared(build.difference, build.released)
    origin = _origin(started, note)
    return Downloaded(config, build.folder, paths, build.manifest, origin, check, build.difference)


def _compared(difference: release.Difference | None, released: bool) -> str:
    if not released:
        return "there is no frozen release to compare it with"
    return f"{'equal to' if difference is None else 'differs from'} the frozen release"


def _origin(started: float, note: str = "") -> str:
    took = describe_seconds(time.monotonic() - started)
    return f"built from source in {took}{note} (no ETCHMARK_REMOTE is set)"


def _verified(folder: Path, manifest: Manifest, split: str | None, origin: str) -> Downloaded:
    """Files of a config by its manifest, each compared with its SHA-256."""
    of_split = [file for file in manifest.files if split in (None, file.split)]
    paths = [folder / file.path for file in of_split]
    for file, path in zip(of_split, paths, strict=True):
        if not path.is_file() or files.sha256_of(path) != file.sha256:
            raise UserError(
                f"{path}: missing or damaged; rebuild with"
                f" `etchmark build {manifest.name} --config {manifest.config}`"
            )
    return Downloaded(manifest.config, folder, paths, manifest, origin)


def _copy(folder: Path, names: list[Path], out: Path, *, force: bool) -> list[Path]:
    all_names = [*names, Path(packaging.MANIFEST), Path(packaging.README)]
    new = {out / name: folder / name for name in all_names if (folder / name).is_file()}
    try:
        files.refuse_changes(new, force=force)
        for path, source in new.items():
            if path.exists() and files.same_content(path, source):
                continue
            with files.replacing(path) as temporary:
                shutil.copyfile(source, temporary)
    except OSError as error:
        raise UserError(
            f"{out}: cannot be written ({error.strerror}); give another --out"
        ) from None
    return [out / name for name in names]
