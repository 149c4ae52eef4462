"""Loads a fitted model, by code that came with it: in the process that is watched, nowhere else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from etchmark import settings
from etchmark.errors import UserError


def import_model(code: Path) -> ModuleType:
    """A ``model.py`` as a module.

    Raises:
        ImportError: it is no Python file.
    """
    sys.path.insert(0, str(code.parent))
    # Under its own name, so that processes a model starts find what is pickled by reference.
    spec = importlib.util.spec_from_file_location(code.stem, code)
    if spec is None or spec.loader is None:
        raise ImportError(f"{code} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[code.stem] = module
    spec.loader.exec_module(module)
    return module


def load(folder: Path, fold: str, seed: int, device: str) -> Any:
    """A fitted model of an artefact, ready to predict.

    Args:
        folder: of the artefact; it is verified first.
        fold: name of the fold that the model was fitted without, or ``holdout``.
        seed: that it was built with.
        device: ``cpu`` or ``cuda``.

    Raises:
        RuntimeError: this is not the process of a model, which is watched and sees no secrets.
        UserError: the artefact was changed, holds no such model, or a pickle.
    """
    if not settings.in_model():
        raise RuntimeError("a model's code runs in the process that is watched, not here")
    # Not at the top: a worker that loads no artefact reads no manifests.
    from etchmark.artefacts.pickles import refuse
    from etchmark.artefacts.store import CODE, verify

    manifest = verify(folder)
    model = manifest.model_of(fold, seed)
    if model is None:
        known = ", ".join(f"{one.fold} with seed {one.seed}" for one in manifest.models)
        raise UserError(f"{folder}: has no model of {fold} with seed {seed}; it has {known}")
    try:
        refuse(folder / model.folder)
    except ValueError as error:
        raise UserError(f"{folder / model.folder}: {error}") from None
    # Compiled code beside what is imported would be a file that was added since it was kept.
    sys.dont_write_bytecode = True
    return import_model(folder / CODE / "model.py").load(folder / model.folder, device)
