"""Built data, found on disk and read as what users work with."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from etchmark import files, settings
from etchmark.catalog import Catalog, explain, pick_protocol, pick_track
from etchmark.catalog.declared import scored_splits
from etchmark.columns import Columns
from etchmark.data import building, dataframe, fingerprint, packaging
from etchmark.data.declarations import check_declared
from etchmark.data.sources import SourcesUnavailable
from etchmark.errors import NotAllowed, UserError
from etchmark.specs import BenchmarkSpec, Manifest, Protocol
from etchmark.targets import TargetKind, kind_of
from etchmark.targets.labels import Truth

if TYPE_CHECKING:
    import datasets
    import pandas as pd


def read_manifest(folder: Path) -> Manifest:
    path = folder / packaging.MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise (
            files.refusal(error, path)
            or UserError(f"{path}: cannot be read; rebuild with `etchmark build`")
        ) from None
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error)}; rebuild with `etchmark build`") from None


def read_config(folder: Path, dataset: str, config: str) -> Manifest:
    """The manifest of a config in its folder.

    Raises:
        UserError: it cannot be read, or is that of another config or dataset.
    """
    remedy = f"rebuild with `etchmark build {dataset} --config {config}`"
    try:
        manifest = read_manifest(folder)
    except NotAllowed:
        raise
    except UserError as error:
        raise UserError(str(error).rpartition("; ")[0] + f"; {remedy}") from None
    if (manifest.name, manifest.config) != (dataset, config):
        raise UserError(
            f"{folder / packaging.MANIFEST}: is that of {manifest.name}:{manifest.config}, not of"
            f" {dataset}:{config}; {remedy}"
        )
    return manifest


def find_config(catalog: Catalog, dataset: str, config: str) -> Path | None:
    """Where a built config stands: the hub folder first, then the checkout's ``data/``.

    Raises:
        UserError: a folder may not be looked into by this user.
    """
    for folder in (
        building.hub_folder(dataset, config),
        catalog.dataset_folder(dataset) / "data" / config,
    ):
        try:
            if (folder / packaging.MANIFEST).is_file():
                return folder
        except PermissionError as error:
            raise files.refusal(error, folder) or error from None
    return None


def _whole(folder: Path, manifest: Manifest) -> None:
    for file in manifest.files:
        path = folder / file.path
        # By content: a flipped bit may still decode, and would be scored as if it were the release.
        try:
            whole = (
                path.is_file()
                and path.stat().st_size == file.bytes
                and files.sha256_of(path) == file.sha256
            )
        except PermissionError as error:
            raise files.refusal(error, path) or error from None
        if not whole:
            raise UserError(
                f"{path}: missing or damaged; rebuild with"
                f" `etchmark build {manifest.name} --config {manifest.config}`"
            )


def ensure_config(catalog: Catalog, dataset: str, config: str) -> tuple[Path, Manifest]:
    """The built config and its manifest; built here if that needs no network."""
    folder = find_config(catalog, dataset, config)
    if folder is None:
        try:
            build = building.build(
                catalog, dataset, config, building.BuildOptions(offline=True, wait=True)
            )
        except SourcesUnavailable as error:
            raise SourcesUnavailable(
                f"{dataset}:{config} is not on this machine; run `etchmark download"
                f" {dataset}:{config}` ({error})"
            ) from None
        return build.folder, build.manifest
    manifest = read_config(folder, dataset, config)
    _whole(folder, manifest)
    return folder, manifest


def _cache_folder() -> str | None:
    """Where ``datasets`` keeps its tables; its own default where the hub cannot be written."""
    folder = settings.home() / "cache" / "datasets"
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    return str(folder) if os.access(existing, os.W_OK) else None


class Benchmark:
    """A benchmark with its data.

    >>> import etchmark
    >>> benchmark = etchmark.load_benchmark("superalloy-hardness")
    >>> table = benchmark.frame("samples", track="composition")
    """

    def __init__(self, catalog: Catalog, spec: BenchmarkSpec, *, unofficial: bool = False) -> None:
        self.catalog = catalog
        self.spec = spec
        self.unofficial = unofficial
        self._folders: dict[str, tuple[Path, Manifest]] = {}
        self._values_checked = False

    def __repr__(self) -> str:
        return f"<Benchmark {self.spec.key}: {self.spec.title}>"

    @property
    def splits(self) -> list[str]:
        names = [name for p in self.spec.protocols.values() for name in _splits_of(p)]
        return list(dict.fromkeys(names))

    def config_folder(self, track: str) -> tuple[Path, Manifest]:
        """Folder and manifest of the config a track reads, checked against the release."""
        name, declared = pick_track(self.spec, track)
        if name not in self._folders:
            folder, manifest = ensure_config(self.catalog, self.spec.dataset, declared.config)
            # Before fingerprints: a benchmark that cannot be right is to be corrected first.
            check_declared(self.spec, name, folder, manifest, released=not self.unofficial)
            if manifest.fingerprint != declared.fingerprint and not self.unofficial:
                if not declared.fingerprint.strip("0"):
                    raise UserError(
                        f"{self.spec.id}.yaml: track {name} has no fingerprint yet; paste what"
                        f" `etchmark show {self.spec.id} --fingerprints` prints"
                    )
                raise UserError(
                    f"{folder}: fingerprint {manifest.fingerprint[:12]}… is not the released"
                    f" {declared.fingerprint[:12]}… of {self.spec.key}, track {name}; rebuild with"
                    f" `etchmark build {self.spec.dataset} --config {declared.config}` or score"
                    " with --unofficial"
                )
            self._folders[name] = (folder, manifest)
        return self._folders[name]

    def label_track(self) -> str:
        """A track whose config is available: labels are the same in all of them."""
        names = list(self.spec.tracks)
        here = [
            name
            for name in names
            if find_config(self.catalog, self.spec.dataset, self.spec.tracks[name].config)
        ]
        return (here or names)[0]

    def files(self, split: str, track: str) -> list[Path]:
        folder, manifest = self.config_folder(track)
        paths = [folder / file.path for file in manifest.files if file.split == split]
        if not paths:
            known = ", ".join(dict.fromkeys(file.split for file in manifest.files))
            raise UserError(f"unknown split {split!r} of {self.spec.id}; choose from: {known}")
        return paths

    def split(self, name: str, track: str | None = None) -> datasets.Dataset:
        """A split as a Hugging Face Dataset with all stored columns (the first track if None)."""
        import datasets

        if not sys.stderr.isatty():
            datasets.disable_progress_bars()
        paths = self.files(name, track or next(iter(self.spec.tracks)))
        return datasets.Dataset.from_parquet(
            [str(path) for path in paths],
            cache_dir=_cache_folder(),  # type: ignore[arg-type] (None is its own default)
        )  # type: ignore[return-value]

    def frame(
        self, split: str, track: str | None = None, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """A split as a pandas frame: one numpy array per cell where a column holds arrays.

        Args:
            split: its name.
            track: whose config is read; the first one if None.
            columns: only these; all stored columns if None.
        """
        paths = self.files(split, track or next(iter(self.spec.tracks)))
        return dataframe.to_frame(paths, columns)

    def inputs(self, split: str, track: str) -> Columns:
        """The declared inputs of a split, read lazily."""
        return Columns(self.files(split, track), self.spec.tracks[track].inputs)

    def truth(self, split: str, protocol: str | None = None, track: str | None = None) -> Truth:
        """Ids, labels, independent units and folds of a split."""
        declared = self.spec.protocols[pick_protocol(self.spec, protocol, default=True)]
        columns = Columns(self.files(split, track or self.label_track()))
        return Truth(
            ids=columns["id"].astype(str),
            target=self.kind.read(columns, self.spec.target),
            units=columns[self.spec.unit_column].astype(str),
            folds=self._folds(columns, declared.fold_column),
            groups=columns[declared.group_column].astype(str) if declared.group_column else None,
        )

    def _folds(self, columns: Columns, name: str | None) -> Any:
        if name is None:
            return None
        values = columns[name]
        if values.dtype.kind not in "iu":
            raise UserError(
                f"{self.spec.id}.yaml: fold_column {name!r} holds {values.dtype}, not whole"
                " numbers; name another column"
            )
        return values.astype(int)

    @property
    def kind(self) -> TargetKind:
        """The kind of its target."""
        return kind_of(self.spec.target)

    @property
    def input_limits(self) -> dict[str, int]:
        """Largest value that a model is given of some inputs, by column."""
        return self.kind.input_limits(self.spec.target)

    def prediction_shape(self, split: str) -> tuple[int, ...]:
        """Shape of one prediction of a split; empty for a single value."""
        columns = Columns(self.files(split, self.label_track()))
        labels = self.kind.read(columns, self.spec.target)
        return self.kind.prediction_shape(labels, self.spec.target)

    @cached_property
    def target_fingerprint(self) -> str:
        if self.kind.streamed:
            # Split by split and part by part: all labels at once may not fit into memory.
            names = ["id", self.spec.target.column]
            track = self.label_track()
            return fingerprint.of_splits(
                {split: Columns(self.files(split, track), names) for split in self.splits}
            )
        truths = [self.truth(split) for split in self.splits]
        return packaging.target_fingerprint(
            [truth.ids for truth in truths], [truth.values for truth in truths]
        )

    def check_target(self) -> None:
        """The labels are the released ones, and stored values are what the target declares.

        Raises:
            UserError: they are not.
        """
        if self.target_fingerprint != self.spec.target_fingerprint and not self.unofficial:
            raise UserError(
                f"{self.spec.key}: ids or labels on this machine (fingerprint"
                f" {self.target_fingerprint[:12]}…) are not the released ones"
                f" ({self.spec.target_fingerprint[:12]}…); rebuild the dataset or use --unofficial"
            )
        self._check_stored()

    def _check_stored(self) -> None:
        if self._values_checked:
            return
        target, track = self.spec.target, self.label_track()
        scored = scored_splits(list(self.spec.protocols.values()))
        for split in self.splits:
            columns = Columns(self.files(split, track), target.columns())
            self.kind.check_stored(columns, target, f"{self.spec.id}.yaml", scored=split in scored)
        self._values_checked = True

    def scored_splits(self, protocol: str) -> dict[str, Truth]:
        """Truth of the headline split and of every extra test split, headline first."""
        declared = self.spec.protocols[protocol]
        return {
            split: self.truth(split, protocol) for split in (declared.split, *declared.extra_splits)
        }


def _splits_of(protocol: Protocol) -> Iterator[str]:
    for name in (protocol.train_split, protocol.validation_split, protocol.split):
        if name:
            yield name
    yield from protocol.extra_splits


def load_benchmark(name: str, *, unofficial: bool = False, catalog: Any = None) -> Benchmark:
    """The benchmark ``ID`` or ``ID@VERSION`` with its data.

    Args:
        name: the benchmark's id.
        unofficial: work with data whose fingerprint is not the released one.
        catalog: where it is declared; the installed content if None.

    Raises:
        UserError: there is no such benchmark, or its data cannot be had offline.
    """
    from etchmark.catalog import catalog as installed

    root = catalog or installed()
    return Benchmark(root, root.benchmark(name), unofficial=unofficial)
