"""ConvLSTM: its equations and size, its symmetries, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_module import model_module

torch = pytest.importorskip("torch")
from torch.nn import functional  # noqa: E402

from etchmark.catalog import Catalog  # noqa: E402
from etchmark.learning import forecasting  # noqa: E402
from etchmark.model import Model, Samples  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "hidden": [6, 6],
    "kernel": 3,
    "patch": 2,
    "given": 3,
    "renewed": 3,
    "schedule": {"epochs": 2, "batch": 2, "learning_rate": 0.01},
    "plan": {"unroll": 3, "teacher": 0.8},
}


convlstm = model_module("convlstm")


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """One thread, and a working directory of its own for checkpoints."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ETCHMARK_WORK", str(tmp_path))
    yield
    torch.set_num_threads(before)


def _frames(rows: int, frames: int, side: int = 12, seed: int = 0) -> np.ndarray:
    """Noise that spreads out, frame by frame."""
    now = np.random.default_rng(seed).normal(0.5, 0.3, (rows, side, side))
    seen = []
    for _ in range(frames):
        seen.append(now)
        around = sum(np.roll(now, shift, axis) for shift in (-1, 1) for axis in (1, 2))
        now = now + 0.05 * (around - 4 * now)
    return np.stack(seen, 1).astype(np.float16)


def _samples(frames: np.ndarray, known: int = 4) -> Samples:
    rows, count = frames.shape[:2]
    inputs = {"context": frames[:, :known], "horizon": np.full(rows, count - known, np.int32)}
    return Samples(np.arange(rows).astype(str), inputs, frames[:, known:])


def _built(seed: int = 0, **params):
    return convlstm.build(seed, "cpu", **{**TINY, **params})


@pytest.mark.parametrize(("variant", "parameters"), [("full", 11_677_712), ("small", 480_784)])
def test_the_cards_networks(variant, parameters):
    model = convlstm.build(0, "cpu", **Catalog(ROOT).model(f"convlstm/{variant}").params)
    assert isinstance(model, Model)
    assert model.parameter_count() == parameters
    assert model.plan.teacher > 0
    assert model.network.inner.cells[0].gates.periodic


def test_a_cell_is_that_of_the_paper():
    cell = convlstm.Cell(2, 3, 5, periodic=True)
    given, output, memory = (
        torch.randn(1, 2, 6, 6),
        torch.randn(1, 3, 6, 6),
        torch.randn(1, 3, 6, 6),
    )
    weight, bias = cell.gates.conv.weight, cell.gates.conv.bias
    assert bias.tolist() == [0] * 3 + [1] * 3 + [0] * 6

    def around(values: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        padded = functional.pad(values, (2, 2, 2, 2), mode="circular")
        return functional.conv2d(padded, kernel)

    # Input, forget, content and output, each of both convolutions.
    i, f, g, o = (
        around(given, weight[at : at + 3, :2])
        + around(output, weight[at : at + 3, 2:])
        + bias[at : at + 3, None, None]
        for at in (0, 3, 6, 9)
    )
    expected = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
    found, after = cell(given, (output, memory))
    torch.testing.assert_close(after, expected)
    torch.testing.assert_close(found, torch.sigmoid(o) * torch.tanh(expected))
    # Before the first frame there is nothing to remember.
    nothing = torch.zeros(1, 3, 6, 6)
    torch.testing.assert_close(cell(given, None), cell(given, (nothing, nothing)))


def test_what_was_shown_before_is_remembered():
    network = _random()
    context = torch.from_numpy(_frames(1, 3).astype(np.float32))
    other = context.clone()
    other[:, 0] = other[:, 0].flip(2)
    with torch.inference_mode():
        found, changed = (network.step(None, one)[1] for one in (context, other))
    assert (found - changed).abs().max() > 1e-4


def test_it_learns_and_goes_on_longer_and_on_larger_frames():
    schedule = {"epochs": 1, "batch": 2, "learning_rate": 0.03}
    plan = {"unroll": 3, "windows": 12}
    model = _built(schedule=schedule, plan=plan, hidden=[8], patch=1, residual=True)
    model.fit(_samples(_frames(8, 10)))
    for side, frames in ((12, 12), (20, 9)):
        unseen = _samples(_frames(2, frames, side, seed=1))
        found = model.predict(unseen.inputs)
        assert (found.shape, found.dtype) == (unseen.target.shape, np.float16)
        assert np.isfinite(found).all()
        truth = unseen.target.astype(np.float64)
        still = np.square(unseen.inputs["context"][:, -1:] - truth).mean()
        assert np.square(found - truth).mean() < 0.2 * still


def _random(**params) -> forecasting.FrameNetwork:
    """A network that changes frames at every place."""
    model = _built(**params)
    model.network.measure(_frames(3, 6))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in model.network.parameters():
            part.add_(0.2 * torch.randn(part.shape, generator=generator))
    return model.network


def test_frames_shifted_by_whole_patches_give_shifted_forecasts():
    context = _frames(2, 4, 16)

    def error(network: forecasting.FrameNetwork, shift: tuple[int, int]) -> float:
        found = forecasting.forecast(network, context, 3)
        moved = forecasting.forecast(network, np.roll(context, shift, (2, 3)), 3)
        return float(np.abs(moved - np.roll(found, shift, (2, 3))).max() / found.std())

    assert error(_random(), (4, -2)) < 2e-2
    assert error(_random(), (1, 0)) > 0.05
    # With zeros beyond the edges, a frame is no longer periodic.
    assert error(_random(periodic=False), (4, -2)) > 0.05


class Interrupted(Exception):
    """Stands for whatever ends a process."""


def test_equal_seeds_give_equal_forecasts_also_after_an_interruption(monkeypatch, capsys):
    samples, held = _samples(_frames(4, 8)), _samples(_frames(2, 8, seed=1))

    def fitted(seed: int = 0) -> np.ndarray:
        return _built(seed).fit(samples, held).predict(samples.inputs)

    first = fitted()
    Path("checkpoint.pt").unlink()
    one_loss, calls = forecasting.Forecaster._loss, 0

    def interrupted(*arguments):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Interrupted
        return one_loss(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(forecasting.Forecaster, "_loss", interrupted)
        with pytest.raises(Interrupted):
            fitted()
    capsys.readouterr()
    np.testing.assert_array_equal(fitted(), first)
    assert capsys.readouterr().out.startswith("checkpoint.pt: 1 epochs done\n")
    assert not np.array_equal(fitted(seed=1), first)


def test_frames_of_a_wrong_shape_are_refused():
    def inputs(*shape: int) -> dict[str, np.ndarray]:
        return {"context": np.zeros(shape, np.float16), "horizon": np.full(shape[0], 2)}

    with pytest.raises(ValueError, match=r"is not \(samples, frames, n, n\)"):
        _built().predict(inputs(2, 12, 12))
    with pytest.raises(ValueError, match="has 2 frames and wants at least 3"):
        _built().predict(inputs(2, 2, 12, 12))
    with pytest.raises(ValueError, match="13 x 13: sides must be multiples of 2"):
        _built().predict(inputs(2, 4, 13, 13))
