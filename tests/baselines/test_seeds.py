"""Baselines that a benchmark declares to be deterministic predict the same with any seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_module import model_module
from small_fits import CASES, volumes

from etchmark.catalog import Catalog

CONTENT = Catalog(Path(__file__).resolve().parents[2])
ENCODER = {"local", "encoder", "weights", "pooling", "size", "crop", "preprocessing", "composition"}
"""Parameters of an encoder, which plain pixels replace here, since its weights are files; and the
composition, which images lack."""

SOLVERS = {
    "coarse_solver": "torch",
    "grain_solver": "numba",
    "identified_grain_solver": "numba",
    "identified_solver": "torch",
}
"""Baselines that solve the equations, with the module that they need."""


def _declared() -> set[str]:
    """Models that are deterministic on some benchmark."""
    specs = [CONTENT.benchmark(name) for name in CONTENT.benchmark_names()]
    return {
        model
        for spec in specs
        for model in CONTENT.model_names()
        if (use := spec.use_of(model)) is not None and use.deterministic
    }


def _params(model: str) -> dict[str, Any]:
    params = dict(CONTENT.model(model).params)
    if "encoder" in params:
        kept = {name: value for name, value in params.items() if name not in ENCODER}
        return {**kept, "encoder": "pixels", "pixels": 4}
    if model.partition("/")[0] in SOLVERS:
        # What is accurate on the released frames need not be stable on noise.
        return params | CASES[model.partition("/")[0]][0][0]
    # Samples are twelve cells wide.
    return params | ({"lags": [1, 2]} if params.get("lags") else {})


def _predicted(model: str, seed: int) -> np.ndarray:
    baseline = model.partition("/")[0]
    make = CASES[baseline][0][1]
    if baseline == "bounds":
        make = volumes
    samples = make()
    fitted = model_module(baseline).build(seed=seed, device="cpu", **_params(model))
    fitted.fit(samples, None)
    return np.asarray(fitted.predict(samples.inputs))


@pytest.mark.parametrize("model", sorted(_declared()))
def test_a_deterministic_baseline_predicts_the_same_with_any_seed(model: str, home: Path) -> None:
    if needed := SOLVERS.get(model.partition("/")[0]):
        pytest.importorskip(needed)
    np.testing.assert_array_equal(_predicted(model, 0), _predicted(model, 1))


def test_the_seed_of_others_changes_their_predictions(home: Path) -> None:
    """The comparison sees a difference where there is one."""
    model = "composition_regression/gradient-boosting"
    assert model not in _declared()
    assert (_predicted(model, 0) != _predicted(model, 1)).any()
