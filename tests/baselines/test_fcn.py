"""The frame translator: its parts and size, its symmetries, and that it learns."""

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
    "frames": 3,
    "spatial": 4,
    "hidden": 8,
    "depth": 2,
    "blocks": 1,
    "expansion": 2,
    "schedule": {"epochs": 2, "batch": 2, "learning_rate": 0.01},
    "plan": {"unroll": 3},
}


fcn = model_module("fcn")


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
    return fcn.build(seed, "cpu", **{**TINY, **params})


@pytest.mark.parametrize(("variant", "parameters"), [("full", 43_835_009), ("small", 196_209)])
def test_the_cards_networks(variant, parameters):
    model = fcn.build(0, "cpu", **Catalog(ROOT).model(f"fcn/{variant}").params)
    assert isinstance(model, Model)
    assert model.parameter_count() == parameters
    assert (model.network.given, model.network.made) == (10, 10)
    # A size that the mini config has, narrower than the large kernel at the coarsest level.
    context = np.zeros((1, 10, 32, 32), np.float16)
    if variant == "small":
        assert model.predict({"context": context, "horizon": np.array([12])}).shape[1] == 12


@pytest.mark.parametrize(
    ("depth", "side", "doubling"),
    [(1, 12, []), (2, 6, [True]), (3, 6, [False, True]), (4, 3, [True, False, True])],
)
def test_every_second_layer_halves_the_side_and_is_undone(depth, side, doubling):
    network = _built(depth=depth).network.inner
    seen = []
    network.translator.register_forward_hook(lambda _, given, made: seen.append(made.shape))
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 12, 12)).shape == (2, 3, 12, 12)
    assert seen == [(2, 3 * 4, side, side)]
    # In the opposite order: the last to halve is the first to double.
    assert [layer.doubling for layer in network.decoder] == doubling
    assert _built(depth=depth).network.multiple == 12 // side


def test_a_closed_gate_lets_nothing_through():
    attention = fcn.Attention(4, periodic=True)
    given = torch.randn(1, 4, 8, 8)
    assert (attention(given) - attention.after(torch.zeros_like(given))).abs().max() > 1e-3
    with torch.no_grad():
        attention.mix.bias[:4] = -1e4
    torch.testing.assert_close(attention(given), attention.after(torch.zeros_like(given)))


def test_an_attention_sees_as_far_as_its_large_kernel():
    attention = fcn.Attention(1, periodic=True)
    for part in attention.parameters():
        torch.nn.init.constant_(part, 0.1)
    given = torch.zeros(1, 1, 31, 31)
    changed = given.clone()
    changed[0, 0, 15, 15] = 1.0
    with torch.inference_mode():
        rows = (attention(changed) - attention(given))[0, 0].abs().amax(1).nonzero()
    assert (int(rows.min()), int(rows.max())) == (15 - 11, 15 + 11)


def test_blocks_begin_near_the_identity():
    block, given = fcn.Block(6, 2, periodic=True), torch.randn(2, 6, 8, 8)
    change = (block(given) - given).abs().max()
    assert 0 < change < 0.1


def test_it_learns_and_goes_on_longer_and_on_larger_frames():
    schedule = {"epochs": 1, "batch": 2, "learning_rate": 0.02}
    model = _built(schedule=schedule, plan={"unroll": 3, "windows": 20}, residual=True)
    model.fit(_samples(_frames(8, 10)))
    for side, frames in ((12, 12), (20, 9)):
        unseen = _samples(_frames(2, frames, side, seed=1))
        found = model.predict(unseen.inputs)
        assert (found.shape, found.dtype) == (unseen.target.shape, np.float16)
        assert np.isfinite(found).all()
        truth = unseen.target.astype(np.float64)
        still = np.square(unseen.inputs["context"][:, -1:] - truth).mean()
        assert np.square(found - truth).mean() < 0.2 * still


def test_operations_are_those_of_its_layers_and_grow_with_the_area():
    context = np.zeros((1, 4, 12, 12), np.float32)
    network = _built().network
    counted = forecasting.flops_per_frame(network, shown=4, frames=4, side=12)
    pairs = []
    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d):
            # Each value made is a sum over a kernel and the channels of a group.
            each = part.weight[0].numel()
            part.register_forward_hook(
                lambda _, given, found, each=each: pairs.append(each * found.numel())
            )
    forecasting.forecast(network, context, 4)
    assert counted == 2 * sum(pairs) / 4
    assert forecasting.flops_per_frame(network, shown=4, frames=4, side=24) == 4 * counted


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
