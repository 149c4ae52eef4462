"""Array columns of Hugging Face ``datasets`` in pandas, where the two do not work together.

``datasets`` hands columns of arrays to pandas as an extension type of its own, and so does pyarrow
(hence ``pandas.read_parquet``) in every process that has imported ``datasets``. As of datasets
5.2 and pandas 3.1 rows of such a frame can be neither selected nor joined: the type names its
attributes by a string in place of a tuple, fills rows although none is missing, and stacks only
parts of equal length. ``repair`` replaces these methods if a trial of them fails, and leaves a
release in which they work as it is.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

MODULE = "datasets.features.features"


def watch() -> None:
    """Repair the array type of ``datasets`` now if that is imported, else once it is."""
    module = sys.modules.get(MODULE)
    if module is not None and hasattr(module, "PandasArrayExtensionArray"):
        repair(module)
    elif not any(isinstance(finder, _AfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterImport())


class _AfterImport:
    """A finder that lets the usual one find ``MODULE``, and repairs it when it has been run."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != MODULE:
            return None
        with suppress(ValueError):  # another thread was first
            sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_repair(module: ModuleType) -> None:
            execute(module)
            repair(module)

        spec.loader.exec_module = execute_and_repair  # type: ignore[method-assign]
        return spec


def works(module: ModuleType) -> bool:
    """Whether rows of a frame with an array column can be selected, joined and put together."""
    import numpy as np
    import pandas as pd

    try:
        cells = np.arange(6, dtype=np.uint8).reshape(3, 1, 2)
        column = module.PandasArrayExtensionArray(cells)
        frame = pd.DataFrame({"cells": column, "row": range(3)})
        selected = frame.loc[frame["row"] > 1]
        joined = frame.merge(selected[["row"]], on="row")
        whole = pd.concat([selected, frame])
        picked: list[Any] = [
            frame.iloc[2]["cells"],
            frame["cells"].iloc[np.int64(2)],
            selected.iloc[0]["cells"],
            joined.iloc[0]["cells"],
            whole.iloc[3]["cells"],
        ]
        return all(np.array_equal(cell, cells[2]) for cell in picked)
    # Whatever a release of either package may raise.
    except Exception:
        return False


def repair(module: ModuleType) -> None:
    """Replace the methods that fail, if any does."""
    names = ("PandasArrayExtensionDtype", "PandasArrayExtensionArray")
    if not all(hasattr(module, name) for name in names) or works(module):
        return
    dtype, array = (getattr(module, name) for name in names)
    dtype._metadata = ("value_type",)
    array._from_sequence = classmethod(_from_sequence)
    array._concat_same_type = classmethod(_concat_same_type)
    for method in (__array__, __eq__, __getitem__, isna, take):
        setattr(array, method.__name__, method)


# --- the methods: `self` and `cls` are those of PandasArrayExtensionArray ----------------------


def _cells(values: Any) -> Any:
    """Arrays of whatever shapes, and NaN for what is missing, as one column of objects."""
    import numpy as np

    cells = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        cells[row] = np.nan if value is None else value
    return cells


def _from_sequence(cls: Any, scalars: Any, dtype: Any = None, copy: bool = False) -> Any:
    import numpy as np

    shapes = {(x.shape, x.dtype) if isinstance(x, np.ndarray) else None for x in scalars}
    if len(shapes) != 1 or None in shapes:
        return cls(_cells(scalars))
    data = np.stack(list(scalars))
    value_type = getattr(dtype, "value_type", None)
    if value_type is not None and np.dtype(value_type).kind != "O":
        data = data.astype(value_type, copy=False)
    return cls(data)


def _concat_same_type(cls: Any, to_concat: Any) -> Any:
    import numpy as np

    parts = [array._data for array in to_concat]
    if len({part.shape[1:] for part in parts}) == 1:
        return cls(np.concatenate(parts))
    return cls(_cells([cell for part in parts for cell in part]))


def __array__(self: Any, dtype: Any = None, copy: bool | None = None) -> Any:
    import numpy as np

    if dtype is not None and np.dtype(dtype) == object:
        return _cells(self._data)  # pandas wants one dimension
    return np.array(self._data, dtype=dtype, copy=copy)


def __eq__(self: Any, other: Any) -> Any:
    import numpy as np

    if not isinstance(other, type(self)):
        return NotImplemented
    pairs = zip(self._data, other._data, strict=True)
    return np.array([np.array_equal(ours, theirs) for ours, theirs in pairs], dtype=bool)


def __getitem__(self: Any, item: Any) -> Any:
    import pandas as pd

    if pd.api.types.is_integer(item):
        return self._data[item]
    return type(self)(self._data[pd.api.indexers.check_array_indexer(self, item)])


def isna(self: Any) -> Any:
    import numpy as np
    import pandas as pd

    if self._data.dtype == object:
        return np.array([bool(np.any(pd.isna(cell))) for cell in self._data], dtype=bool)
    if self._data.dtype.kind not in "fc":
        return np.zeros(len(self._data), dtype=bool)
    return np.isnan(self._data).any(axis=tuple(range(1, self._data.ndim)))


def take(self: Any, indices: Any, allow_fill: bool = False, fill_value: Any = None) -> Any:
    import numpy as np

    indices = np.asarray(indices, dtype=np.intp)
    if allow_fill and (indices < -1).any():
        raise ValueError("an index below -1 stands for no row")
    missing = indices == -1
    if not (allow_fill and missing.any()):
        return type(self)(self._data.take(indices, axis=0))
    # An integer has no NaN: the rows become objects.
    rows = [None if index == -1 else self._data[index] for index in indices]
    return type(self)(_cells(rows))
