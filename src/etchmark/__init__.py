"""etchmark: datasets, benchmarks and an honest leaderboard for material microstructures."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from etchmark._version import __version__ as __version__
from etchmark.data import pandas_arrays

if TYPE_CHECKING:
    from etchmark.api import compare, evaluate, load_benchmark, score, standings, submit
    from etchmark.data.dataframe import to_frame
    from etchmark.data.loading import Benchmark
    from etchmark.errors import DoubtWarning, UserError
    from etchmark.model import Samples, SklearnModel

# Heavy modules are imported when first used, so that `import etchmark` and `--help` are quick.
_WHERE = {
    "compare": "etchmark.api",
    "load_benchmark": "etchmark.api",
    "score": "etchmark.api",
    "submit": "etchmark.api",
    "standings": "etchmark.api",
    "evaluate": "etchmark.api",
    "to_frame": "etchmark.data.dataframe",
    "Benchmark": "etchmark.data.loading",
    "DoubtWarning": "etchmark.errors",
    "UserError": "etchmark.errors",
    "Samples": "etchmark.model",
    "SklearnModel": "etchmark.model",
}
__all__ = [
    "Benchmark",
    "DoubtWarning",
    "Samples",
    "SklearnModel",
    "UserError",
    "compare",
    "evaluate",
    "load_benchmark",
    "score",
    "standings",
    "submit",
    "to_frame",
]
# In a process that imports `datasets`, pandas reads array columns through it.
pandas_arrays.watch()


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'etchmark' has no attribute {name!r}")
