"""The stepper: its size, its symmetries, what it conserves, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_module import model_module

torch = pytest.importorskip("torch")

from etchmark.catalog import Catalog  # noqa: E402
from etchmark.learning import forecasting  # noqa: E402
from etchmark.model import Model, Samples  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "width": 6,
    "blocks": 1,
    "schedule": {"epochs": 2, "batch": 2, "learning_rate": 0.01},
    "plan": {"unroll": 2},
}


stepper = model_module("stepper")


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
    """Noise that sharpens towards 0 and 1 while it spreads: no straight line, as in Allen-Cahn."""
    now = np.random.default_rng(seed).uniform(0, 1, (rows, side, side))
    seen = []
    for _ in range(frames):
        seen.append(now)
        around = sum(np.roll(now, shift, axis) for shift in (-1, 1) for axis in (1, 2))
        now = now + 0.1 * (around - 4 * now) + 0.4 * now * (1 - now) * (2 * now - 1)
    return np.stack(seen, 1).astype(np.float16)


def _samples(frames: np.ndarray, known: int = 3) -> Samples:
    rows, count = frames.shape[:2]
    inputs = {"context": frames[:, :known], "horizon": np.full(rows, count - known, np.int32)}
    return Samples(np.arange(rows).astype(str), inputs, frames[:, known:])


def _built(seed: int = 0, conserving: bool = False, **params):
    return stepper.build(seed, "cpu", conserving=conserving, **{**TINY, **params})


@pytest.mark.parametrize(("variant", "conserving"), [("conserving", True), ("free", False)])
def test_the_cards_networks(variant, conserving):
    params = Catalog(ROOT).model(f"stepper/{variant}").params
    model = stepper.build(0, "cpu", **params)
    assert isinstance(model, Model)
    assert model.parameter_count() == 31_705
    assert model.network.conserving == conserving
    assert (model.network.given, model.network.made) == (1, 1)


def test_an_untrained_stepper_changes_nothing():
    samples = _samples(_frames(2, 6))
    found = _built().predict(samples.inputs)
    np.testing.assert_array_equal(found, np.repeat(samples.inputs["context"][:, -1:], 3, axis=1))


@pytest.mark.parametrize("conserving", [False, True])
def test_it_learns_and_goes_on_longer_and_on_larger_frames(conserving):
    schedule = {"epochs": 1, "batch": 4, "learning_rate": 0.02}
    model = _built(conserving=conserving, schedule=schedule, plan={"unroll": 3, "windows": 25})
    model.fit(_samples(_frames(8, 8)))
    for side, frames in ((12, 12), (20, 6)):
        unseen = _samples(_frames(2, frames, side, seed=1))
        found = model.predict(unseen.inputs)
        assert (found.shape, found.dtype) == (unseen.target.shape, np.float16)
        truth = unseen.target.astype(np.float64)
        still = np.square(unseen.inputs["context"][:, -1:] - truth).mean()
        assert np.square(found - truth).mean() < 0.2 * still


def _random(conserving: bool) -> forecasting.FrameNetwork:
    """A network that changes frames, and their means if it can."""
    network = _built(conserving=conserving).network
    with torch.no_grad():
        for part in network.parameters():
            part.normal_(0.0, 0.2)
        # Every frame is lighter than the last.
        part.fill_(1.0)
    network.scale.copy_(torch.tensor([0.5, 0.3, 0.02]))
    return network


def test_the_mean_is_conserved_to_rounding_if_that_is_asked_for():
    context = torch.from_numpy(_frames(3, 1).astype(np.float32))
    drift = {}
    for conserving in (True, False):
        network = _random(conserving)
        with torch.inference_mode():
            frames = torch.cat(list(forecasting.rollout(network, context, 50)), 1).double()
        assert (frames[:, -1] - context[:, -1]).abs().max() > 0.01
        drift[conserving] = float((frames.mean((2, 3)) - context.double().mean((2, 3))).abs().max())
    assert drift[True] < 1e-6
    assert drift[False] > 1e-2


@pytest.mark.parametrize("conserving", [False, True])
def test_shifted_and_only_shifted_frames_give_shifted_forecasts(conserving):
    network, context = _random(conserving), _frames(2, 1)
    found = forecasting.forecast(network, context, 4)
    moved = forecasting.forecast(network, np.roll(context, (5, -1), (2, 3)), 4)
    np.testing.assert_allclose(moved, np.roll(found, (5, -1), (2, 3)), atol=2e-3)
    assert np.abs(moved - found).max() > 0.1


class Interrupted(Exception):
    """Stands for whatever ends a process."""


def test_equal_seeds_give_equal_forecasts_also_after_an_interruption(monkeypatch, capsys):
    samples, held = _samples(_frames(4, 6)), _samples(_frames(2, 6, seed=1))

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
    inputs = {"context": np.zeros((2, 8, 8), np.float16), "horizon": np.array([1, 1])}
    with pytest.raises(ValueError, match=r"is not \(samples, frames, n, n\)"):
        _built().predict(inputs)
