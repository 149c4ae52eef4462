"""``etchmark download``: a config from a remote if one is set, else built."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from etchmark import files, settings
from etchmark.catalog import Catalog
from etchmark.data import building, packaging, release, remotes, transfer
from etchmark.data.loading import find_config, read_config, read_manifest
from etchmark.data.progress import describe_seconds
from etchmark.data.remotes import SETTING as REMOTE
from etchmark.data.remotes import NotServed, Place
from etchmark.data.transfer import describe_bytes
from etchmark.errors import UserError
from etchmark.specs import DataFile, DatasetSpec, Manifest

MAX_MANIFEST_BYTES = 16 << 20
Say = Callable[[str], None]


def _nothing(line: str) -> None:
    """Says nothing."""


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


def _from_remote(
    catalog: Catalog, place: Place, split: str | None, folder: Path, say: Say
) -> Manifest:
    """Fetch a config, or one split of it, into its folder, or into a folder beside that.

    Raises:
        NotServed: the remote does not have the config.
        transfer.Unavailable: it failed, repeatedly.
        UserError: what it has is not the released config.
        OSError: files cannot be written.
    """
    partial = _partial(folder)
    manifest = _manifest(catalog, place, partial)
    _check_split(manifest, split)
    listed = [file for file in manifest.files if split in (None, file.split)]
    wanted = [
        transfer.Wanted(place.url(file.path), partial / file.path, file.sha256, file.bytes)
        for file in listed
    ]
    size = describe_bytes(sum(file.bytes for file in listed))
    files_of = "1 file" if len(listed) == 1 else f"{len(listed)} files"
    say(f"{place.dataset}:{place.config}: fetching {files_of}, {size}, from {place.origin}")
    transfer.fetch(wanted, place.options)
    source = catalog.dataset_folder(place.dataset)
    if split is not None:
        if release.frozen_fingerprint(source, place.config) is not None:
            found = _differences(place, source, partial, listed, split)
            if found.rows:
                raise UserError(
                    f"{place.base}: is not the released config: {found.describe()}; check {REMOTE}"
                )
        return manifest
    if not packaging.has_fingerprint(partial, manifest.files, manifest.fingerprint):
        raise UserError(
            f"{place.base}: the content of the files does not match the fingerprint of its"
            f" manifest; check {REMOTE}"
        )
    # What an older release or a broken download left there belongs to no config.
    own = {partial / packaging.MANIFEST, *(partial / file.path for file in manifest.files)}
    for path in partial.rglob("*"):
        if path not in own and not path.is_dir():
            path.unlink()
    packaging.write_card(partial, catalog.dataset(place.dataset), manifest)
    packaging.swap(partial, folder)
    return manifest


def _differences(
    place: Place, source: Path, partial: Path, listed: list[DataFile], split: str
) -> release.Difference:
    try:
        return release.differences(source, place.config, partial, listed, split)
    except (pa.ArrowException, ValueError, KeyError, UserError) as error:
        raise UserError(
            f"{place.base}: its files cannot be read ({type(error).__name__}); check {REMOTE}"
        ) from None


def _partial(folder: Path) -> Path:
    """Where the files of a config lie until all are there."""
    return folder.with_name(f".{folder.name}.part")


def _manifest(catalog: Catalog, place: Place, partial: Path) -> Manifest:
    """The manifest of a remote, which must be that of the release that this version knows."""
    url = place.url(packaging.MANIFEST)
    content = remotes.read(url, MAX_MANIFEST_BYTES, place.options)
    files.write_bytes(partial / packaging.MANIFEST, content)
    try:
        manifest = read_manifest(partial)
    except UserError as error:
        reason = str(error).removeprefix(f"{partial / packaging.MANIFEST}: ").partition("; ")[0]
        raise UserError(f"{url}: is not a dataset manifest ({reason}); check {REMOTE}") from None
    if (manifest.name, manifest.config) != (place.dataset, place.config):
        raise UserError(f"{place.base}: serves {manifest.name}:{manifest.config}; check {REMOTE}")
    released = release.frozen_fingerprint(catalog.dataset_folder(place.dataset), place.config)
    if released not in (None, manifest.fingerprint):
        raise UserError(
            f"{url}: is of another release than this version of etchmark (fingerprint"
            f" {manifest.fingerprint[:12]}…, not {released[:12]}…); update etchmark, or unset"
            f" {REMOTE} to build it"
        )
    return manifest


def _check_split(manifest: Manifest, split: str | None) -> None:
    known = list(dict.fromkeys(file.split for file in manifest.files))
    if split is not None and split not in known:
        raise UserError(
            f"unknown split {split!r} of {manifest.name}:{manifest.config}; choose from:"
            f" {', '.join(known)}"
        )


@dataclass(frozen=True)
class Options:
    """What is downloaded, and where to.

    Attributes:
        split: only this split's files.
        out: folder to copy the files to; they stay in the hub folder if None.
        force: replace files in ``out`` whose content differs, such as edited ones.
        executors: where a build is computed; in this process if None.
        say: told what will be fetched, before it is.
    """

    split: str | None = None
    out: Path | None = None
    force: bool = False
    executors: building.Executors | None = None
    say: Say = _nothing


def download(
    catalog: Catalog, dataset: str, config: str | None = None, options: Options = Options()
) -> Downloaded:
    """Make a verified config available on this machine.

    Files already on this machine are used; else they are downloaded from ``ETCHMARK_REMOTE`` if
    that is set and has them, else built. Only one split is built if only that is wanted and the
    dataset's ``build.py`` plans shards.

    Args:
        catalog: where the dataset is declared.
        dataset: its name.
        config: its config; the default one if None.
        options: what of it, and where to.

    Raises:
        UserError: unknown names, an unusable remote or folder, damaged files, or files in ``out``
            that would be lost.
    """
    split, out = options.split, options.out
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"{out}: is not a folder; give another --out")
    spec = catalog.dataset(dataset)
    name = building.config_of(spec, config)
    if split is not None and split not in spec.configs[name].splits:
        known = ", ".join(spec.configs[name].splits)
        raise UserError(f"unknown split {split!r} of {dataset}:{name}; choose from: {known}")
    # Until files are copied, no other process may move them.
    with ExitStack() as turns:
        downloaded = _here(catalog, dataset, name, split)
        if downloaded is None and settings.remote() is not None:
            downloaded = _fetched(catalog, spec, name, options, turns)
        if downloaded is None:
            seconds = spec.configs[name].build_seconds
            if seconds is not None:
                took = describe_seconds(seconds)
                options.say(f"{dataset}:{name}: building it takes about {took} on one core")
            downloaded = _built(
                catalog, spec, name, split, options.executors or building.Executors()
            )
        if out is not None:
            names = [path.relative_to(downloaded.folder) for path in downloaded.files]
            copied = _copy(downloaded.folder, names, out, force=options.force)
            downloaded = replace(downloaded, folder=out, files=copied)
    return downloaded


def _here(catalog: Catalog, dataset: str, config: str, split: str | None) -> Downloaded | None:
    """Files that are on this machine already."""
    folder = find_config(catalog, dataset, config)
    if folder is None:
        return None
    manifest = read_config(folder, dataset, config)
    return _verified(folder, manifest, split, "already on this machine")


def _fetched(
    catalog: Catalog, spec: DatasetSpec, config: str, options: Options, turns: ExitStack
) -> Downloaded | None:
    """Files from the remote; None if it does not have the config.

    No other process downloads the config until ``turns`` ends, if files came.
    """
    remote, split = settings.remote() or "", options.split
    folder = building.hub_folder(spec.name, config)
    try:
        # Another process may be at it, or just have been.
        turns.enter_context(transfer.turn(folder.with_name(f".{folder.name}.lock")))
        if found := _here(catalog, spec.name, config, split):
            return found
        place = remotes.place(remote, spec.name, config)
        manifest = _from_remote(catalog, place, split, folder, options.say)
    except transfer.Unavailable as error:
        raise UserError(
            f"{error.url}: cannot be downloaded ({error}); try again later, which goes on from"
            f" there, or check {REMOTE}"
        ) from None
    except NotServed as error:
        options.say(f"{spec.name}:{config}: {error}, so it is built here")
        turns.close()
        return None
    except OSError as error:
        raise files.refusal(error, folder) or UserError(files.no_room(error, folder)) from None
    folder = folder if split is None else _partial(folder)
    return _verified(folder, manifest, split, f"downloaded from {place.origin}")


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
    why = f"no {REMOTE} is set" if settings.remote() is None else f"{REMOTE} does not have it"
    return f"built from source in {took}{note} ({why})"


def _verified(folder: Path, manifest: Manifest, split: str | None, origin: str) -> Downloaded:
    """Files of a config by its manifest, each compared with its SHA-256."""
    of_split = [file for file in manifest.files if split in (None, file.split)]
    paths = [folder / file.path for file in of_split]
    for file, path in zip(of_split, paths, strict=True):
        if not path.is_file() or files.sha256_of(path) != file.sha256:
            again = f"`etchmark build {manifest.name} --config {manifest.config}`"
            if settings.remote() is not None:
                again += f", or remove {folder} and download it again"
            raise UserError(f"{path}: missing or damaged; rebuild with {again}")
    return Downloaded(manifest.config, folder, paths, manifest, origin)


def _copy(folder: Path, names: list[Path], out: Path, *, force: bool) -> list[Path]:
    beside = [Path(packaging.MANIFEST), Path(packaging.README)]
    all_names = [*names, *(name for name in beside if (folder / name).is_file())]
    new = {out / name: folder / name for name in all_names}
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
