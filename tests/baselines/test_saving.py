"""Every baseline can be saved, and what is loaded predicts exactly what was fitted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_module import BASELINES, model_module

from etchmark.model import Samples
from etchmark.saving import STATE, SUFFIXES
from etchmark.simulation import bounds

ROWS = 12
ELEMENTS = [
    *("Ni", "Co", "Cr", "Al", "Ti", "W", "Mo", "Ta", "Nb", "Hf", "Re", "V", "Fe", "Ce", "Si"),
    *("C", "B", "Zr", "Mn", "S", "P"),
]


def _samples(inputs: dict[str, np.ndarray], target: np.ndarray, groups: Any = None) -> Samples:
    return Samples(np.arange(len(target)).astype(str), inputs, target, groups)


def _cells(*names: str, dimensions: int, side: int = 12) -> Samples:
    """Noise of several volume fractions, and a stiffness between the bounds."""
    generator = np.random.default_rng(0)
    fraction, contrast = np.linspace(0.2, 0.8, ROWS), np.geomspace(5, 200, ROWS)
    level = fraction.reshape(-1, *[1] * dimensions)
    inputs = {
        name: (generator.random((ROWS, *[side] * dimensions)) < level).astype(np.uint8)
        for name in names
    }
    parts = [cell.reshape(ROWS, -1).mean(axis=1) for cell in inputs.values()]
    low, high = (
        bound(np.mean(parts, axis=0), contrast, ndim=dimensions)
        for bound in (bounds.reuss, bounds.voigt)
    )
    return _samples({**inputs, "contrast": contrast}, np.sqrt(low * high))


def _volumes() -> Samples:
    return _cells("microstructure", dimensions=3)


def _tensors() -> Samples:
    """Volumes with an isotropic stiffness."""
    cells = _volumes()
    fraction = cells.inputs["microstructure"].mean(axis=(1, 2, 3))
    stiffness = bounds.stiffness("self_consistent", fraction, cells.inputs["contrast"])
    return _samples(dict(cells.inputs), stiffness)


def _images() -> Samples:
    return _cells("microstructure", dimensions=2)


def _faces() -> Samples:
    return _cells("section_x", "section_y", "section_z", dimensions=2)


def _alloys() -> Samples:
    generator = np.random.default_rng(1)
    percent = 100 * generator.dirichlet(np.ones(len(ELEMENTS)), ROWS)
    inputs = {f"{name}_at": percent[:, column] for column, name in enumerate(ELEMENTS)}
    inputs |= {"doi": np.repeat(["10.1/a", "10.1/b", "10.1/c"], ROWS // 3), "base": np.ones(ROWS)}
    inputs["encoded"] = generator.normal(size=(ROWS, 20))
    return _samples(inputs, 300 + 2 * inputs["Cr_at"], inputs["doi"])


def _micrographs() -> Samples:
    generator = np.random.default_rng(2)
    images = np.empty(ROWS, dtype=object)
    for row in range(ROWS):
        images[row] = generator.integers(0, 256, (40, 40 + row), dtype=np.uint8)
    return _samples({"micrograph": images}, generator.uniform(200, 400, ROWS))


def _frames() -> Samples:
    """Ten known frames and four that follow."""
    start = np.random.default_rng(3).uniform(0.1, 0.9, (4, 8, 8))
    frames = [0.5 + (start - 0.5) * 0.9**step for step in range(14)]
    stacked = np.stack(frames, 1).astype(np.float16)
    columns = {"mobility": 1.0, "gradient_energy": 1.0, "frame_spacing": 1.0, "anisotropy": 0.0}
    inputs = {name: np.full(4, value) for name, value in columns.items()}
    inputs |= {"context": stacked[:, :10], "horizon": np.full(4, 4, np.int32)}
    return _samples(inputs, stacked[:, 10:])


TRAINING = {
    "schedule": {"epochs": 1, "batch": 2, "learning_rate": 0.01},
    "plan": {"unroll": 2},
}
SMALL = {"epochs": 1, "batch": 4, "widths": [4, 4], "blocks": [1, 1]}
ENCODER = {
    "encoder": "vit_tiny_patch16_224",
    "weights": "random",
    "size": 32,
    "options": {"embed_dim": 32, "depth": 2, "num_heads": 2},
}
CASES: dict[str, list[tuple[dict[str, Any], Callable[[], Samples]]]] = {
    "bounds": [({"kind": "hashin_shtrikman_mean"}, _faces)],
    "cnn2d": [
        ({**SMALL, "design": "sections", "pool": 3}, _faces),
        ({**SMALL, "design": "images", "pool": 3}, _images),
    ],
    "cnn3d": [
        ({**SMALL, "design": "periodic"}, _volumes),
        ({"design": "yang", "epochs": 1, "widths": [4, 4]}, _volumes),
    ],
    "cnn_frames": [({**TRAINING, "width": 4, "wide": 4, "made": 2}, _frames)],
    "coarse_solver": [({"steps": 2}, _frames)],
    "composition_regression": [
        ({"regressor": "ridge"}, _alloys),
        ({"regressor": "gradient_boosting"}, _alloys),
        ({"regressor": "gaussian_process"}, _alloys),
        ({"regressor": "descriptor_line"}, _alloys),
        ({"regressor": "random_intercept_mean"}, _alloys),
    ],
    "convlstm": [({**TRAINING, "hidden": [4, 4]}, _frames)],
    "fcn": [({**TRAINING, "spatial": 4, "hidden": 8, "depth": 2, "blocks": 1}, _frames)],
    "foundation_features": [
        ({"encoder": "pixels", "pixels": 4, "head": "ridge"}, _faces),
        ({"encoder": "pixels", "pixels": 4, "head": "gaussian-process"}, _images),
        ({**ENCODER, "head": "kernel-ridge", "pooling": "mean", "top": 9}, _faces),
        ({**ENCODER, "head": "pca-quadratic"}, _images),
    ],
    "grain_solver": [({"cells": 1, "dt": 0.04}, _frames)],
    "persistence": [({"kind": "linear"}, _frames)],
    "published_features": [
        ({"encoder": "encoded", "head": "linear"}, _alloys),
        ({"encoder": "encoded", "head": "svr", "composition": True}, _alloys),
    ],
    "same_paper_mean": [({}, _alloys)],
    "stepper": [({**TRAINING, "conserving": True, "width": 4, "blocks": 1}, _frames)],
    "tensor_bounds": [({"scheme": "voigt"}, _tensors)],
    "tensor_cnn3d": [({**SMALL, "views": 2}, _tensors)],
    "tensor_two_point": [({"lags": [1, 2], "degree": 2}, _tensors)],
    "training_mean": [({}, _frames), ({}, _images)],
    "two_point_statistics": [
        ({"head": "micrograph-linear", "max_lag": 3}, _micrographs),
        ({"head": "gaussian-process", "max_lag": 3}, _volumes),
        ({"head": "polynomial", "max_lag": 3}, _images),
        ({"head": "polynomial", "max_lag": 3, "lags": [1, 2]}, _faces),
    ],
    "volume_fraction": [({"log_target": True}, _images)],
}
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


def test_features_of_another_encoder_are_refused(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("timm")
    from etchmark.errors import CannotRun

    module, samples = model_module("foundation_features"), _images()
    model = module.build(seed=1, device="cpu", **ENCODER, head="ridge").fit(samples)
    model.weights_id = "sha256:another"
    model.save(tmp_path / "saved")
    loaded = module.load(tmp_path / "saved", "cpu")
    with pytest.raises(CannotRun, match=r"weights sha256:another.*random:1"):
        loaded.predict(samples.inputs)
