"""Persistence by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from model_module import model_module

from etchmark.model import Model, Samples

CODE = Path(__file__).resolve().parents[2] / "baselines" / "persistence" / "model.py"


persistence = model_module("persistence")


def _inputs(rows: int = 2, frames: int = 3, side: int = 4, horizon: int = 5) -> dict:
    context = np.random.default_rng(0).random((rows, frames, side, side)).astype(np.float16)
    context.flags.writeable = False
    return {"context": context, "horizon": np.full(rows, horizon, np.int32)}


def test_the_last_frame_is_repeated_as_it_is():
    inputs = _inputs()
    model = persistence.build(0, "cpu", kind="last-frame")
    found = model.predict(inputs)
    assert isinstance(model, Model)
    assert (found.shape, found.dtype) == ((2, 5, 4, 4), np.float16)
    assert (found == inputs["context"][:, -1:]).all()
    assert model.parameter_count() == 0
    assert model.flops() == 0


def test_the_last_change_is_repeated_and_nothing_is_clipped():
    inputs = _inputs(horizon=40)
    context = inputs["context"].astype(np.float64)
    model = persistence.build(0, "cpu", kind="linear")
    assert model.fit(Samples(np.arange(2), inputs, context), None) is model
    found = model.predict(inputs)
    assert found.dtype == np.float16
    for ahead in (1, 2, 40):
        expected = context[:, -1] + ahead * (context[:, -1] - context[:, -2])
        np.testing.assert_allclose(found[:, ahead - 1], expected, rtol=1e-3, atol=1e-3)
    assert found.max() > 10
    assert found.min() < -10


@pytest.mark.parametrize("kind", ["last-frame", "linear"])
def test_what_cannot_be_read_is_refused(kind):
    model, inputs = persistence.build(0, "cpu", kind=kind), _inputs()
    with pytest.raises(ValueError, match=r"shape \(2, 4, 4\) is not \(samples, "):
        model.predict({**inputs, "context": inputs["context"][:, 0]})
    for horizon in ([4, 5], [0, 0]):
        with pytest.raises(ValueError, match="horizon must be one positive whole number"):
            model.predict({**inputs, "horizon": np.array(horizon)})


def test_a_line_needs_two_frames():
    inputs = _inputs(frames=1)
    assert persistence.build(0, "cpu", kind="last-frame").predict(inputs).shape == (2, 5, 4, 4)
    with pytest.raises(ValueError, match="2 or more"):
        persistence.build(0, "cpu", kind="linear").predict(inputs)


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="not 'quadratic'"):
        persistence.build(0, "cpu", kind="quadratic")


def test_it_needs_no_torch():
    code = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("model", sys.argv[1])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
print("torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(CODE)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
