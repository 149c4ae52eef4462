"""How a fitted model is written to a folder and read again, without pickle.

A state is a tree of dicts and lists. Its leaves are JSON values, NumPy arrays, torch tensors and
estimators of scikit-learn. Reading one runs no code that a file could bring along::

    state.json              the tree; a leaf that JSON does not know names its file
    <place>.npy             an array
    <place>.safetensors     a dict of tensors, such as the weights of a network
    <place>.skops           an estimator, of classes that are scikit-learn's own

A ``model.py`` whose model can be saved derives it from ``Savable``, names the attributes that
predictions depend on, and defines ``load`` beside ``build``::

    class Mean(Savable):
        saved = ("mean",)
        def fit(self, train, validation): self.mean = float(train.target.mean())
        def predict(self, inputs): return np.full(len(inputs["a"]), self.mean)

    @keeps_arguments
    def build(seed, device): return Mean()

    def load(folder, device): return rebuild(build, folder, device)
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from etchmark import files

STATE = "state.json"
ARRAY, TENSORS, ESTIMATOR = "npy", "safetensors", "skops"
SUFFIXES = (ARRAY, TENSORS, ESTIMATOR)
"""Of the files beside ``state.json``."""
PART, FILE, NUMBER = "$part", "$file", "$number"
"""Keys by which the tree names the class of a part, the file of a leaf, a number of NumPy's."""
KERNELS = (
    *("CompoundKernel", "ConstantKernel", "DotProduct", "ExpSineSquared", "Exponentiation"),
    *("Matern", "PairwiseKernel", "Product", "RBF", "RationalQuadratic", "Sum", "WhiteKernel"),
)
HARMLESS = (
    *(f"sklearn.gaussian_process.kernels.{name}" for name in KERNELS),
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
)
"""Classes of scikit-learn that hold numbers alone, beside those that skops knows as such."""
PLACE = re.compile(r"[A-Za-z0-9_.-]{1,100}")

Build = TypeVar("Build", bound=Callable[..., Any])


# --- objects -----------------------------------------------------------------------------------


class Savable:
    """An object that is saved by some of its attributes.

    Attributes:
        saved: names of the attributes that decide what a fitted object predicts.
        parts: classes of those attributes that are savable themselves and made by ``fit``;
            savable attributes that exist before a fit are restored in place.
    """

    saved: ClassVar[tuple[str, ...]] = ()
    parts: ClassVar[tuple[type[Savable], ...]] = ()
    arguments: dict[str, Any] | None = None
    """What ``build`` was called with; set by ``keeps_arguments``."""

    def state(self) -> dict[str, Any]:
        """What is saved; of a network its tensors.

        Raises:
            AttributeError: the object is not fitted.
        """
        return {name: getattr(self, name) for name in self.saved}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the attributes that another object of the same arguments saved."""
        for name in self.saved:
            current, value = getattr(self, name, None), state[name]
            if isinstance(current, Savable):
                current.restore(_content(value, (type(current),))[1])
            elif _is_network(current):
                _load_tensors(current, value)
            else:
                setattr(self, name, self._made(value))

    def _made(self, value: Any) -> Any:
        if not isinstance(value, _Part):
            return value
        kind, state = _content(value, self.parts)
        made = kind.__new__(kind)
        made.restore(state)
        return made

    def save(self, folder: Path) -> None:
        """Write everything that ``rebuild`` needs into an empty folder.

        Raises:
            ValueError: ``build`` does not keep its arguments, or a part is of no known kind.
        """
        if self.arguments is None:
            raise ValueError(
                "build() keeps no arguments; decorate it with @keeps_arguments of etchmark.saving"
            )
        write_state(folder, {"arguments": self.arguments, "fitted": self.state()})


def keeps_arguments(build: Build) -> Build:
    """Note on the model that ``build`` returns what it was called with, but for the device."""
    signature = inspect.signature(build)

    @functools.wraps(build)
    def built(*args: Any, **kwargs: Any) -> Any:
        model = build(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        named = {name: value for name, value in bound.arguments.items() if name != "device"}
        model.arguments = json.loads(json.dumps(named))
        return model

    return built  # type: ignore[return-value]


def rebuild(build: Callable[..., Any], folder: Path, device: str) -> Any:
    """A fitted model as ``Savable.save`` wrote it.

    Args:
        build: of the same ``model.py``.
        folder: what ``save`` was given.
        device: ``cpu`` or ``cuda``; not necessarily that of the fit.

    Raises:
        ValueError: the folder holds no state, or a damaged one.
    """
    state = read_state(folder)
    model = build(device=device, **state["arguments"])
    model.restore(state["fitted"])
    return model


# --- the tree ----------------------------------------------------------------------------------


class _Part(dict[str, Any]):
    """State of a savable object that was read: its class by name, and its attributes."""


def _content(value: Any, kinds: tuple[type[Savable], ...]) -> tuple[type[Savable], dict[str, Any]]:
    """Class and attributes of a part; refused unless it is one of some classes."""
    kind = {one.__name__: one for one in kinds}.get(str(value.get(PART)))
    if kind is None:
        known = ", ".join(one.__name__ for one in kinds) or "none"
        raise ValueError(f"the saved state holds a {value.get(PART)!r}; expected: {known}")
    return kind, value["state"]


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a tree of values into a folder, ``state.json`` last.

    Args:
        folder: created if it does not exist; it should be empty.
        state: dicts with text keys, lists and tuples (read again as lists) of JSON values, NumPy
            arrays without objects, torch tensors and networks, estimators of scikit-learn, and
            ``Savable`` objects.

    Raises:
        TypeError: a value is of no such kind; says where.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tree = _Writer(folder).tree(state, ())
    files.write_json(folder / STATE, {"schema": 1, "state": tree})


class _Writer:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.used: set[str] = set()

    def tree(self, value: Any, place: tuple[str, ...]) -> Any:
        if value is None or isinstance(value, str | bool):
            return value
        if isinstance(value, np.bool_):
            return bool(value)
        if isinstance(value, np.number):
            # Float32 times a float64 of NumPy's is float64, times a Python number it is float32.
            return {NUMBER: repr(value.item()), "type": value.dtype.name}
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else {NUMBER: repr(value)}
        if isinstance(value, Savable):
            state = self.tree(value.state(), place)
            return {PART: type(value).__name__, "state": state}
        if isinstance(value, Mapping):
            return self._mapping(value, place)
        if isinstance(value, list | tuple):
            return [self.tree(item, (*place, str(row))) for row, item in enumerate(value)]
        return self._leaf(value, place)

    def _mapping(self, value: Mapping[Any, Any], place: tuple[str, ...]) -> Any:
        if value and all(map(_is_tensor, value.values())):
            return self._tensors(value, place)
        for key in value:
            if not isinstance(key, str) or key.startswith("$"):
                raise TypeError(f"{'.'.join(place)}: key {key!r} cannot be saved; use plain text")
        return {key: self.tree(item, (*place, key)) for key, item in value.items()}

    def _leaf(self, value: Any, place: tuple[str, ...]) -> Any:
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            name = self._name(place, ARRAY)
            with (self.folder / name).open("wb") as handle:
                np.save(handle, value, allow_pickle=False)
            return {FILE: name}
        if _is_network(value):
            network: Any = value
            return self._tensors(network.state_dict(), place)
        if _is_estimator(value):
            name = self._name(place, ESTIMATOR)
            _write_estimator(self.folder / name, value)
            return {FILE: name}
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise TypeError(
            f"{'.'.join(place)}: a {kind} cannot be saved without pickle; save numbers, text,"
            " arrays, tensors, or estimators of scikit-learn"
        )

    def _tensors(self, tensors: Mapping[str, Any], place: tuple[str, ...]) -> Any:
        from safetensors.torch import save_file

        name = self._name(place, TENSORS)
        # Own copies: tensors that share memory or lie apart in it are refused.
        plain = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
        save_file(plain, self.folder / name)
        return {FILE: name}

    def _name(self, place: tuple[str, ...], suffix: str) -> str:
        name = ".".join(place)
        if not PLACE.fullmatch(name) or name.startswith(".") or name.lower() in self.used:
            name = f"part-{len(self.used)}"
        self.used.add(name.lower())
        return f"{name}.{suffix}"


def read_state(folder: Path) -> dict[str, Any]:
    """The tree that ``write_state`` wrote; tensors on the CPU.

    Raises:
        ValueError: a file is missing, damaged, or holds what is not read without pickle.
    """
    try:
        whole = json.loads((folder / STATE).read_text(encoding="utf-8"))
        if whole["schema"] != 1:
            raise ValueError(f"{folder / STATE}: schema {whole['schema']!r} is not known here")
        return _read(whole["state"], folder)
    except (OSError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder}: holds no readable saved state ({error})") from error


def _read(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_read(item, folder) for item in value]
    if not isinstance(value, dict):
        return value
    if NUMBER in value:
        return (
            np.dtype(value["type"]).type(value[NUMBER]) if "type" in value else float(value[NUMBER])
        )
    if FILE in value:
        return _read_file(folder, str(value[FILE]))
    read = {key: _read(item, folder) for key, item in value.items() if key != PART}
    return _Part({PART: value[PART], **read}) if PART in value else read


def _read_file(folder: Path, name: str) -> Any:
    path, suffix = folder / name, name.rpartition(".")[2]
    if not PLACE.fullmatch(name) or suffix not in SUFFIXES:
        raise ValueError(f"{folder / STATE}: names {name!r}, which is not a file of a saved state")
    if suffix == ARRAY:
        return np.load(path, allow_pickle=False)
    if suffix == TENSORS:
        from safetensors.torch import load_file

        return load_file(path)
    return _read_estimator(path)


# --- leaves of optional packages ---------------------------------------------------------------


def _is_tensor(value: Any) -> bool:
    # Whoever has a tensor has imported torch.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _is_network(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def _is_estimator(value: Any) -> bool:
    base = sys.modules.get("sklearn.base")
    return base is not None and isinstance(value, base.BaseEstimator)


def _load_tensors(network: Any, tensors: Mapping[str, Any]) -> None:
    # Copied into the network's own tensors, so that device and memory layout stay.
    network.load_state_dict(dict(tensors))
    network.eval()


def _write_estimator(path: Path, estimator: Any) -> None:
    import skops.io

    content = skops.io.dumps(estimator)
    foreign = sorted({*skops.io.get_untrusted_types(data=content)} - {*HARMLESS})
    if foreign:
        raise TypeError(
            f"{path.stem}: holds {', '.join(foreign[:3])}, which skops does not read without being"
            " told to; save estimators of scikit-learn's own classes"
        )
    path.write_bytes(content)


def _read_estimator(path: Path) -> Any:
    import skops.io

    foreign = sorted({*skops.io.get_untrusted_types(file=path)} - {*HARMLESS})
    if foreign:
        raise ValueError(f"{path}: holds {', '.join(foreign[:3])}, which is not scikit-learn's own")
    return skops.io.load(path, trusted=HARMLESS)
