"""etchmark: datasets, benchmarks and an honest leaderboard for material microstructures."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from etchmark.api import evaluate, load_benchmark, score, standings, submit
    from etchmark.data.loading import Benchmark
    from etchmark.errors import UserError
    from etchmark.evaluation.model import Samples, SklearnModel

# Heavy modules are imported when first used, so that `import etchmark` and `--help` are quick.
_WHERE = {
    "load_benchmark": "etchmark.api",
    "score": "etchmark.api",
    "submit": "etchmark.api",
    "standings": "etchmark.api",
    "evaluate": "etchmark.api",
    "Benchmark": "etchmark.data.loading",
    "UserError": "etchmark.errors",
    "Samples": "etchmark.evaluation.model",
    "SklearnModel": "etchmark.evaluation.model",
}
__all__ = [
    "Benchmark",
    "Samples",
    "SklearnModel",
    "UserError",
    "evaluate",
    "load_benchmark",
    "score",
    "standings",
    "submit",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'etchmark' has no attribute {name!r}")
