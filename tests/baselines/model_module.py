"""The ``model.py`` of a baseline as a module."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

BASELINES = Path(__file__).resolve().parents[2] / "baselines"


def model_module(baseline: str) -> ModuleType:
    """``baselines/<baseline>/model.py``, imported under a name of its own."""
    path = BASELINES / baseline / "model.py"
    spec = importlib.util.spec_from_file_location(f"{baseline}_model", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
