"""Finds and validates what ``datasets/``, ``benchmarks/`` and ``baselines/`` declare."""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from etchmark import settings
from etchmark.errors import UserError
from etchmark.specs import (
    BaselineCard,
    BenchmarkSpec,
    CurveSpec,
    DatasetSpec,
    ModelCard,
    Track,
    Variant,
)

R = TypeVar("R", bound=BaseModel)
MAX_CARD_BYTES = 1 << 18
OWN_KEYS = {
    field.alias or name
    for name, field in BaselineCard.model_fields.items()
    if name not in ModelCard.model_fields
}
"""Keys of the card of a model with variants, curves or a name of its own."""


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key written twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key that is not plain text", key_node.start_mark
                )
            key = key_node.value
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"duplicate key {key!r}", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


PARAMS = {"params", "parameters"}
"""Keys below which a value is handed on as it was read, whatever it is."""


def _texts_like_numbers(root: yaml.Node | None) -> Iterator[tuple[str, yaml.ScalarNode]]:
    """Scalars without quotes below ``PARAMS`` that are read as text and look like a number.

    YAML 1.1 wants a point and a sign in the exponent: 1e5 and 1.0e0 are text, 1.0e+5 is a number.

    Yields:
        Where it stands, by keys, and the scalar's node.
    """
    waiting, seen = [("", root, False)], set()
    while waiting:
        where, node, inside = waiting.pop()
        # An anchor may be used any number of times, within itself too.
        if (id(node), inside) in seen:
            continue
        seen.add((id(node), inside))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                path = f"{where}.{key.value}" if where else str(key.value)
                waiting.append((path, value, inside or key.value in PARAMS))
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(f"{where}[{at}]", value, inside) for at, value in enumerate(node.value)]
        elif inside and isinstance(node, yaml.ScalarNode) and _like_number(node):
            yield where, node


def _like_number(node: yaml.ScalarNode) -> bool:
    if node.tag != "tag:yaml.org,2002:str" or node.style is not None:
        return False
    try:
        float(node.value)
    except ValueError:
        return False
    return any(char.isdigit() for char in node.value)


def _as_yaml(value: float) -> str:
    """A number as YAML 1.1 reads it."""
    if not math.isfinite(value):
        return str(value).replace("inf", ".inf")
    mantissa, mark, exponent = repr(value).partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{mark}{exponent}"


def _parse(path: Path, content: str) -> Any:
    loader = _Loader(content)
    try:
        node = loader.get_single_node()
        value = None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()
    for where, scalar in _texts_like_numbers(node):
        warnings.warn(
            f"{path}, line {scalar.start_mark.line + 1}: {where} is read as the text"
            f" {scalar.value!r}, not as a number; write"
            f" {_as_yaml(float(scalar.value))} or, if text is meant, put it in quotes",
            stacklevel=2,
        )
    return value


_IN_WORDS = {
    "missing": "is missing",
    "string_type": "must be text",
    "string_pattern_mismatch": "not of the form {pattern}",
    "string_too_long": "is longer than {max_length} characters",
    "string_too_short": "is shorter than {min_length} characters",
    "too_long": "has {actual_length} entries, more than {max_length}",
    "too_short": "has {actual_length} entries, less than {min_length}",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys",
    "literal_error": "must be {expected}",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
}
"""What the validator says, as somebody who writes a card would."""


def explain(error: ValidationError) -> str:
    """A validation error as one line: where, what, and how many more."""
    problems = error.errors(include_url=False, include_input=False)
    first = problems[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        what = "unknown key"
    elif first["type"] in _IN_WORDS:
        what = _IN_WORDS[first["type"]].format(**first.get("ctx", {}))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{where}: {what}{more}"


def read_yaml(path: Path) -> Any:
    try:
        with path.open("rb") as handle:
            content = handle.read(MAX_CARD_BYTES + 1)
        if len(content) > MAX_CARD_BYTES:
            raise UserError(f"{path}: larger than {MAX_CARD_BYTES} bytes; a card is a short text")
        return _parse(path, content.decode("utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save the card as UTF-8") from None
    except (
        yaml.YAMLError,
        RecursionError,
        ValueError,
        # What PyYAML raises for an empty !!int, an unknown !!bool, a malformed !!timestamp.
        LookupError,
        AttributeError,
        TypeError,
        ArithmeticError,
    ) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error) or "too deeply nested"
        raise UserError(f"{path}{line}: not valid YAML: {problem}") from None


def read_record(path: Path, record: type[R]) -> R:
    """Read a YAML card as a typed record; unknown keys are refused."""
    return as_record(path, read_yaml(path), record)


def as_record(path: Path, value: Any, record: type[R]) -> R:
    """What a file holds as a typed record; the same errors as ``read_record``."""
    if not isinstance(value, dict):
        raise UserError(f"{path}: a mapping of keys is expected, not {type(value).__name__}")
    try:
        return record.model_validate(value)
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error)}; correct the card") from None


LISTED = {"benchmark", "dataset", "model", "baseline", "benchmark or dataset"}
"""What ``etchmark list`` lists."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The one line for a name that does not exist, with the nearest names that do."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    shown = near or names[:12]
    hint = "did you mean" if near else "known are"
    listing = ", ".join(shown) if shown else "none"
    more = f" and {len(names) - len(shown)} more" if not near and len(names) > len(shown) else ""
    where = " (see `etchmark list`)" if kind in LISTED else ""
    return UserError(f"unknown {kind} {name!r}; {hint}: {listing}{more}{where}")


@dataclass(frozen=True)
class ModelSource:
    """A model that can be run: its folder, the name it is shown under, card and parameters."""

    name: str
    folder: Path
    card: ModelCard
    params: dict[str, Any]
    uses: dict[str, str]
    """Track per benchmark, as far as the card states it."""
    takes_weights: bool = False
    curves: dict[str, CurveSpec] = field(default_factory=dict)
    """What ``--curves`` measures, by name."""

    @property
    def code(self) -> Path:
        return self.folder / "model.py"


@dataclass(frozen=True)
class Catalog:
    """The content below one root folder."""

    root: Path

    def _names(self, kind: str, marker: str) -> list[str]:
        folder = self.root / kind
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if (entry / marker).is_file())

    # Records are read when asked for: one broken card must not take the others down.
    def dataset_names(self) -> list[str]:
        return self._names("datasets", "dataset.yaml")

    def benchmark_names(self) -> list[str]:
        folder = self.root / "benchmarks"
        return sorted(path.stem for path in folder.glob("*.yaml")) if folder.is_dir() else []

    def baseline_names(self) -> list[str]:
        return self._names("baselines", "card.yaml")

    def model_names(self) -> list[str]:
        """Every ``<baseline>[/<variant>]``."""
        names = []
        for name in self.baseline_names():
            try:
                variants = self.baseline(name).variants
            except UserError:
                # A broken card keeps its name; whoever asks for it is told what is wrong.
                variants = {}
            names += [f"{name}/{variant}" for variant in variants] or [name]
        return names

    def dataset_folder(self, name: str) -> Path:
        if name not in self.dataset_names():
            raise unknown("dataset", name, self.dataset_names())
        return self.root / "datasets" / name

    def dataset(self, name: str) -> DatasetSpec:
        path = self.dataset_folder(name) / "dataset.yaml"
        spec = read_record(path, DatasetSpec)
        if spec.name != name:
            raise UserError(
                f"{path}: name is {spec.name!r} but the folder is {name!r}; make them agree"
            )
        return spec

    def benchmark(self, name: str) -> BenchmarkSpec:
        """The benchmark ``ID``, or ``ID@VERSION``, which may be a superseded version.

        Raises:
            UserError: there is no such benchmark or version, or its file is not valid.
        """
        identifier, _, version = name.partition("@")
        if identifier not in self.benchmark_names():
            raise unknown("benchmark", identifier, self.benchmark_names())
        path = self.root / "benchmarks" / f"{identifier}.yaml"
        spec = read_record(path, BenchmarkSpec)
        if spec.id != identifier:
            raise UserError(
                f"{path}: id is {spec.id!r} but the file is {identifier!r}; make them agree"
            )
        if version and version != str(spec.version):
            return self._superseded(spec, version)
        return spec

    def _superseded(self, current: BenchmarkSpec, version: str) -> BenchmarkSpec:
        """An earlier version of a benchmark, from ``benchmarks/old/<id>@<n>.yaml``."""
        path = self.root / "benchmarks" / "old" / f"{current.id}@{version}.yaml"
        if not version.isdecimal() or not path.is_file():
            raise UserError(
                f"benchmark {current.id!r} is at version {current.version} here, not {version};"
                f" use {current.key} or install the release that holds {current.id}@{version}"
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

    def baseline(self, name: str) -> BaselineCard:
        if name not in self.baseline_names():
            raise unknown("model", name, self.baseline_names())
        path = self.root / "baselines" / name / "card.yaml"
        card = _whole_card(path, read_yaml(path))
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
        if head in self.baseline_names():
            folder = self.root / "baselines" / head
            return _with_variant(head, folder, self.baseline(head), variant)
        try:
            folder = Path(name).expanduser()
        except RuntimeError:
            raise unknown("model", name, self.model_names()) from None
        if (folder / "model.py").is_file():
            return _model_in_folder(folder.absolute(), "")
        if (folder.parent / "model.py").is_file():
            return _model_in_folder(folder.parent.absolute(), folder.name)
        if folder.is_dir():
            raise UserError(f"{folder}: has no model.py; add one that defines build(seed, device)")
        raise unknown("model", name, self.model_names())


def _model_in_folder(folder: Path, variant: str) -> ModelSource:
    path = folder / "card.yaml"
    if not path.is_file():
        if variant:
            raise UserError(f"{folder}: has no card.yaml, so there is no variant {variant!r}")
        return ModelSource(folder.name, folder, ModelCard(), {}, {})
    value = read_yaml(path)
    if isinstance(value, dict) and OWN_KEYS & set(value):
        card = _whole_card(path, value)
        return _with_variant(card.name, folder, card, variant)
    if variant:
        raise UserError(f"{path}: declares no variants, so there is no {variant!r}")
    return ModelSource(folder.name, folder, as_record(path, value, ModelCard), {}, {})


def _whole_card(path: Path, value: Any) -> BaselineCard:
    """The card of a model that has a name, variants or curves of its own.

    Raises:
        UserError: a key is missing (all of them are named), unknown or wrong.
    """
    if isinstance(value, dict):
        needed = [
            field.alias or name
            for name, field in BaselineCard.model_fields.items()
            if field.is_required()
        ]
        if absent := [key for key in needed if key not in value]:
            used = next((key for key in value if key in OWN_KEYS and key not in needed), None)
            why = f"a card with {used!r}" if used else "the card of a model"
            raise UserError(
                f"{path}: {why} also needs {' and '.join(map(repr, absent))}; add what is missing"
                " (CONTRIBUTING.md shows a complete card)"
            )
    return as_record(path, value, BaselineCard)


def _with_variant(name: str, folder: Path, card: BaselineCard, variant: str) -> ModelSource:
    chosen: Variant | None = None
    if variant:
        if variant not in card.variants:
            raise unknown(f"variant of {name}", variant, card.variants)
        chosen = card.variants[variant]
    elif card.variants:
        listing = ", ".join(f"{name}/{known}" for known in card.variants)
        raise UserError(f"model {name!r} has variants; name one of: {listing}")
    own = {field: getattr(card, field) for field in ModelCard.model_fields}
    uses = card.benchmarks
    if chosen is not None:
        own["title"] = chosen.title
        own["description"] = chosen.description or card.description
        own["tags"] = [*card.tags, *(tag for tag in chosen.tags if tag not in card.tags)]
        uses = chosen.benchmarks if chosen.benchmarks is not None else uses
    return ModelSource(
        name=f"{name}/{variant}" if variant else name,
        folder=folder,
        card=ModelCard.model_validate(own),
        params=dict(chosen.params) if chosen else {},
        uses={benchmark: use.track for benchmark, use in uses.items()},
        takes_weights=card.takes_weights,
        curves={one: card.curves[one] for one in (chosen.curves if chosen else card.curves)},
    )


def pick_track(spec: BenchmarkSpec, track: str | None, why: str = "") -> tuple[str, Track]:
    """The named track, or the only one there is."""
    if track is None:
        if len(spec.tracks) > 1:
            raise UserError(
                f"{spec.id} has the tracks {', '.join(spec.tracks)}; say which with --track{why}"
            )
        track = next(iter(spec.tracks))
    if track not in spec.tracks:
        raise unknown(f"track of {spec.id}", track, spec.tracks)
    return track, spec.tracks[track]


def pick_protocol(spec: BenchmarkSpec, protocol: str | None, *, default: bool) -> str:
    """The named protocol; the headline one (``default``) or a refusal where several exist."""
    if protocol is None:
        if len(spec.protocols) > 1 and not default:
            raise UserError(
                f"{spec.id} has the protocols {', '.join(spec.protocols)} and the submission names"
                " none; say which with --protocol"
            )
        return spec.headline
    if protocol not in spec.protocols:
        raise unknown(f"protocol of {spec.id}", protocol, spec.protocols)
    return protocol


@cache
def _catalog_at(root: Path) -> Catalog:
    return Catalog(root)


def content_root() -> Path:
    """Where the content is: the setting, the checkout above this package, or inside the wheel."""
    settings.refuse_in_model()
    chosen = settings.content()
    if chosen is not None:
        if not (chosen / "benchmarks").is_dir():
            raise UserError(f"ETCHMARK_CONTENT: {chosen} has no benchmarks/ folder; correct it")
        return chosen
    package = Path(__file__).resolve().parent
    checkout = package.parents[1]
    if (checkout / "benchmarks").is_dir() and (checkout / "baselines").is_dir():
        return checkout
    return package / "content"


def catalog() -> Catalog:
    return _catalog_at(content_root())
