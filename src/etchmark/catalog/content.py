"""Finds datasets, benchmarks and models by name, in all layers of content."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from etchmark.catalog.declared import Surroundings, problems
from etchmark.catalog.models import ModelSource, model_in_folder, read_whole_card, with_variant
from etchmark.catalog.names import listed, unknown, unknown_in_card
from etchmark.catalog.reading import read_record
from etchmark.errors import UserError
from etchmark.specs import BaselineCard, BaselineUse, BenchmarkSpec, DatasetSpec

KINDS = ("datasets", "benchmarks", "baselines")
"""Subfolders of a content folder, which has at least one of them."""
_MARKERS = {"datasets": "dataset.yaml", "baselines": "card.yaml"}


def _names_in(folder: Path, suffix: str) -> list[str]:
    """Names of what a folder holds, without a suffix that they have; none if it does not exist."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except OSError:
        return []
    # Hidden files are an editor's, not content.
    kept = (name for name in names if name.endswith(suffix) and not name.startswith("."))
    return [name.removesuffix(suffix) for name in kept]


def _card_in(root: Path, kind: str, name: str) -> Path:
    """Where a content folder has the card of a name."""
    folder = root / kind
    return folder / f"{name}.yaml" if kind == "benchmarks" else folder / name / _MARKERS[kind]


@dataclass(frozen=True, init=False)
class Catalog:
    """The content below one or several root folders, laid over each other."""

    roots: tuple[Path, ...]

    def __init__(self, *roots: Path) -> None:
        object.__setattr__(self, "roots", roots)

    def _places(self, kind: str) -> dict[str, list[Path]]:
        """Paths of the cards of a kind, keyed by name; several if layers have the same name."""
        places: dict[str, list[Path]] = {}
        for root in self.roots:
            suffix = ".yaml" if kind == "benchmarks" else ""
            for name in _names_in(root / kind, suffix):
                path = _card_in(root, kind, name)
                if path.is_file():
                    places.setdefault(name, []).append(path)
        return dict(sorted(places.items()))

    def _paths(self, kind: str, name: str) -> list[Path]:
        """Paths of the cards with that name, without a look at all others."""
        if not re.fullmatch(r"\w[\w.@-]{0,99}", name):
            return self._places(kind).get(name, [])
        paths = (_card_in(root, kind, name) for root in self.roots)
        return [path for path in paths if path.is_file()]

    def _card(self, kind: str, name: str, noun: str = "") -> Path:
        """Path of the card with that name; ``noun`` is what messages call the kind.

        Raises:
            UserError: there is none, or two layers have one.
        """
        paths = self._paths(kind, name)
        if not paths:
            raise unknown(noun or kind[:-1], name, self._places(kind))
        first, *others = paths
        if others:
            raise UserError(
                f"two {kind} are named {name!r}: {first} and {others[0]}; rename one, or take one"
                " of the content folders out of ETCHMARK_CONTENT"
            )
        return first

    # Names come from files alone, and a card is read on demand: a broken one hides no other.
    def dataset_names(self) -> list[str]:
        return list(self._places("datasets"))

    def benchmark_names(self) -> list[str]:
        return list(self._places("benchmarks"))

    def baseline_names(self) -> list[str]:
        return list(self._places("baselines"))

    def model_names(self) -> list[str]:
        """Every ``<baseline>[/<variant>]``."""
        names = []
        for name in self.baseline_names():
            try:
                variants = self.baseline(name).variants
            except UserError:
                # A broken card is still listed; its fault is reported when it is used.
                variants = {}
            names += [f"{name}/{variant}" for variant in variants] or [name]
        return names

    def dataset_folder(self, name: str) -> Path:
        return self._card("datasets", name).parent

    def root_of_dataset(self, name: str) -> Path:
        """The content folder that declares a dataset."""
        return self._card("datasets", name).parents[2]

    def benchmark_card(self, name: str) -> Path:
        """The file that declares a benchmark, ``ID`` or ``ID@VERSION``."""
        return self._card("benchmarks", name.partition("@")[0])

    def root_of_benchmark(self, name: str) -> Path:
        """The content folder that declares a benchmark, ``ID`` or ``ID@VERSION``."""
        return self.benchmark_card(name).parents[1]

    def is_baseline(self, source: ModelSource) -> bool:
        """Whether a model is a baseline of the content, not one in a folder elsewhere."""
        parents = source.folder.resolve().parents
        return any((root / "baselines").resolve() in parents for root in self.roots)

    def boards_of(self, source: ModelSource) -> dict[str, BaselineUse]:
        """How a model runs on each benchmark that names it; broken benchmarks are left out."""
        boards = {name: BaselineUse(track=track) for name, track in source.uses.items()}
        if self.is_baseline(source):
            for name in self.benchmark_names():
                with suppress(UserError):
                    if (use := self._benchmark_alone(name).use_of(source.name)) is not None:
                        boards[name] = use
        return boards

    def dataset(self, name: str) -> DatasetSpec:
        path = self._card("datasets", name)
        spec = read_record(path, DatasetSpec)
        if spec.name != name:
            raise UserError(
                f"{path}: name is {spec.name!r} but the folder is {name!r}; make them agree"
            )
        for picture in spec.pictures:
            if not (path.parent / picture.file).is_file():
                raise UserError(f"{path.parent / picture.file}: is missing; add the picture")
        return spec

    def benchmark(self, name: str) -> BenchmarkSpec:
        """The benchmark ``ID``, or ``ID@VERSION``, which may be a superseded version.

        Raises:
            UserError: there is no such benchmark or version, or its file is not valid or does not
                agree with its dataset and the other content.
        """
        identifier, at, version = name.partition("@")
        path = self.benchmark_card(name)
        spec = self._benchmark_alone(identifier)
        if at and not re.fullmatch("[1-9][0-9]*", version):
            raise UserError(
                f"{name!r}: {version!r} is not a version, which is a whole number such as 1; choose"
                f" from: {', '.join(self.versions(spec))}"
            )
        if faults := list(dict.fromkeys(self._problems(spec))):
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            raise UserError(f"{path}: {faults[0]}{more}; correct this file")
        if version and version != str(spec.version):
            return self._superseded(spec, version)
        return spec

    def _old_cards(self, current: BenchmarkSpec) -> Path:
        return self.benchmark_card(current.id).parent / "old"

    def versions(self, current: BenchmarkSpec) -> list[str]:
        """``ID@VERSION`` of every version of a benchmark, the current one first."""
        folder = self._old_cards(current)
        older = (name for name in _names_in(folder, ".yaml") if name.startswith(f"{current.id}@"))
        kept = (name for name in older if (folder / f"{name}.yaml").is_file())
        return [current.key, *sorted(kept)]

    def _superseded(self, current: BenchmarkSpec, version: str) -> BenchmarkSpec:
        """An earlier version of a benchmark, from ``benchmarks/old/<id>@<n>.yaml``.

        It is not checked against the current content, which may no longer have what it names.
        """
        path = self._old_cards(current) / f"{current.id}@{version}.yaml"
        versions = self.versions(current)
        if f"{current.id}@{version}" not in versions:
            raise UserError(
                f"benchmark {current.id!r} is at version {current.version} here, not {version};"
                f" use {' or '.join(versions)}, or install the release that holds"
                f" {current.id}@{version}"
            )
        spec = read_record(path, BenchmarkSpec)
        if spec.key != path.stem:
            raise UserError(f"{path}: holds {spec.key}, not {path.stem}; make them agree")
        if spec.version >= current.version:
            raise UserError(
                f"{path}: does not come before version {current.version}, which"
                f" benchmarks/{current.id}.yaml holds; raise the version there"
            )
        return spec

    def broken_versions(self) -> Iterator[str]:
        """One line for each file of a superseded version that cannot be used."""
        for root in self.roots:
            for path in sorted((root / "benchmarks" / "old").glob("*.yaml")):
                identifier, _, version = path.stem.partition("@")
                try:
                    beside = (path.parents[1] / f"{identifier}.yaml").is_file()
                    if not version.isdecimal() or not beside:
                        raise UserError(
                            f"{path}: is not named <id>@<version>.yaml after a benchmark in"
                            f" {path.parents[1]}; rename or remove it"
                        )
                    self._superseded(self._benchmark_alone(identifier), version)
                except UserError as error:
                    yield str(error)

    def _benchmark_alone(self, identifier: str) -> BenchmarkSpec:
        """A benchmark, not checked against its dataset and the other content."""
        path = self._card("benchmarks", identifier)
        spec = read_record(path, BenchmarkSpec)
        if spec.id != identifier:
            raise UserError(
                f"{path}: id is {spec.id!r} but the file is {identifier!r}; make them agree"
            )
        return spec

    def _problems(self, spec: BenchmarkSpec) -> Iterator[str]:
        if spec.dataset not in (names := self.dataset_names()):
            yield f"dataset: {unknown_in_card('dataset', spec.dataset, names)}"
            return
        others: dict[str, BenchmarkSpec | None] = dict.fromkeys(self.benchmark_names())
        for line in spec.reference_lines:
            if line.benchmark in others:
                # A fault in another benchmark's card is reported when that benchmark is used.
                with suppress(UserError):
                    others[line.benchmark] = self._benchmark_alone(line.benchmark)
        dataset = None
        # Boards need no data, so a broken or ambiguous card of the dataset leaves them open; it is
        # reported when the data are used.
        with suppress(UserError):
            dataset = self.dataset(spec.dataset)
        surroundings = Surroundings(dataset, others, self.baseline_names(), self._model_problem)
        yield from problems(spec, surroundings)

    def _model_problem(self, name: str, whole: bool) -> str | None:
        """What is wrong with the name of a model; None if it exists, or if its card is broken.

        Args:
            name: ``<baseline>[/<variant>]``.
            whole: whether the name of a baseline may stand for all of its variants.
        """
        head, _, variant = name.partition("/")
        if not self._paths("baselines", head):
            return unknown_in_card("baseline", head, self.baseline_names())
        try:
            variants = self.baseline(head).variants
        except UserError:
            # Reported when the baseline is used; the board stays open.
            return None
        if variant:
            exists = variant in variants
            return None if exists else unknown_in_card(f"variant of {head}", variant, variants)
        if whole:
            return None
        listing = listed([f"{head}/{known}" for known in variants])
        return f"{head!r} has variants; name one of: {listing}" if variants else None

    def baseline(self, name: str) -> BaselineCard:
        path = self._card("baselines", name, "model")
        card = read_whole_card(path)
        if card.name != name:
            raise UserError(
                f"{path}: name is {card.name!r} but the folder is {name!r}; make them agree"
            )
        if not (path.parent / "model.py").is_file():
            raise UserError(f"{path.parent}: has no model.py; add one that defines build()")
        return card

    def model(self, name: str) -> ModelSource:
        """A model by name (``<baseline>[/<variant>]``) or by folder (one that holds model.py)."""
        head, _, variant = name.strip("/").partition("/")
        if self._paths("baselines", head):
            folder = self._card("baselines", head, "model").parent
            return with_variant(head, folder, self.baseline(head), variant)
        try:
            folder = Path(name).expanduser()
            is_model = (folder / "model.py").is_file()
            is_variant = not is_model and (folder.parent / "model.py").is_file()
        except (RuntimeError, OSError):
            # No home folder, or a name that no file can have.
            raise unknown("model", name, self.model_names()) from None
        if is_model:
            return model_in_folder(folder.absolute(), "")
        if is_variant:
            return model_in_folder(folder.parent.absolute(), folder.name)
        if folder.is_dir():
            raise UserError(f"{folder}: has no model.py; add one that defines build(seed, device)")
        raise unknown("model", name, self.model_names())
