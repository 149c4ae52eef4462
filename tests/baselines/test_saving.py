"""Every baseline can be saved, and what is loaded predicts exactly what was fitted."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from model_module import BASELINES, model_module
from small_fits import CASES, ENCODER, images

from etchmark.saving import STATE, SUFFIXES

EXTRAS = {"numba", "safetensors", "skimage", "timm", "torch", "torchvision"}


def test_every_baseline_is_saved_here() -> None:
    assert set(CASES) == {path.parent.name for path in BASELINES.glob("*/model.py")}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name, cases in CASES.items() for case in range(len(cases))]
)
def test_what_is_loaded_predicts_the_same(name: str, case: int, home: Path, tmp_path: Path) -> None:
    params, make = CASES[name][case]
    if params.get("encoder") == ENCODER["encoder"]:
        pytest.importorskip("timm", reason="timm (extra `features`) is not installed")
    samples, folder = make(), tmp_path / "saved"
    try:
        model = model_module(name).build(seed=1, device="cpu", **params)
        model.fit(samples, None)
        predicted = np.asarray(model.predict(samples.inputs))
        model.save(folder)
        # A module that knows nothing of the fit.
        loaded = model_module(name).load(folder, "cpu")
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in EXTRAS:
            raise
        pytest.skip(f"needs {error.name}")
    again = np.asarray(loaded.predict(samples.inputs))
    assert again.dtype == predicted.dtype
    np.testing.assert_array_equal(again, predicted)
    if hasattr(model, "parameter_count"):
        assert loaded.parameter_count() == model.parameter_count()
    names = {path.name for path in folder.iterdir()}
    assert STATE in names
    assert {path.rpartition(".")[2] for path in names - {STATE}} <= set(SUFFIXES)


TRAINED = [
    (name, case)
    for name, cases in CASES.items()
    for case in range(len(cases))
    if re.search(
        r"etchmark\.learning\.(training|forecasting)",
        (BASELINES / name / "model.py").read_text(encoding="utf-8"),
    )
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("name", "case"), TRAINED)
def test_networks_are_trained_on_either_kind_of_processor(
    name: str, case: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where this processor multiplies bfloat16, without it; where not, as if it did."""
    pytest.importorskip("torch")
    from etchmark.learning import training

    here = training.cpu_multiplies_bfloat16()
    monkeypatch.setattr(training, "cpu_multiplies_bfloat16", lambda: not here)
    params, make = CASES[name][case]
    if params.get("encoder") == ENCODER["encoder"]:
        pytest.importorskip("timm", reason="timm (extra `features`) is not installed")
    samples = make()
    model = model_module(name).build(seed=1, device="cpu", **params)
    model.fit(samples, None)
    assert np.isfinite(np.asarray(model.predict(samples.inputs), dtype=np.float64)).all()


def test_features_of_another_encoder_are_refused(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("timm")
    from etchmark.errors import CannotRun

    module, samples = model_module("foundation_features"), images()
    model = module.build(seed=1, device="cpu", **ENCODER, head="ridge").fit(samples)
    model.weights_id = "sha256:another"
    model.save(tmp_path / "saved")
    loaded = module.load(tmp_path / "saved", "cpu")
    with pytest.raises(CannotRun, match=r"weights sha256:another.*random:1"):
        loaded.predict(samples.inputs)
