"""Frames are forecast of frames: windows, networks, rollouts, cost, and that training goes on."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from etchmark.learning import forecasting, training  # noqa: E402
from etchmark.learning.forecasting import (  # noqa: E402
    Forecaster,
    FrameNetwork,
    PaddedConv,
    Plan,
    RecurrentNetwork,
    context_of,
    flops_per_frame,
    forecast,
    horizon_of,
    rollout,
    rollout_rmse,
    trajectories,
)
from etchmark.learning.periodic import PeriodicConv  # noqa: E402
from etchmark.learning.training import Schedule  # noqa: E402
from etchmark.model import Model, Samples  # noqa: E402


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """One thread, and a working directory of its own for checkpoints."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ETCHMARK_WORK", str(tmp_path))
    yield
    torch.set_num_threads(before)


def _diffusing(rows: int, frames: int, side: int = 8, seed: int = 0) -> np.ndarray:
    """Noise that spreads out, the law of which a three by three convolution can be."""
    now = np.random.default_rng(seed).normal(0.5, 0.3, (rows, side, side))
    seen = []
    for _ in range(frames):
        seen.append(now)
        around = sum(np.roll(now, shift, axis) for shift in (-1, 1) for axis in (1, 2))
        now = now + 0.1 * (around - 4 * now)
    return np.stack(seen, 1).astype(np.float16)


def test_mixed_precision_makes_the_gradients_of_full_precision():
    # Kernels of their own, which have been wrong before: see PaddedConv.
    kinds = [
        {"kernel": kernel, "dilation": dilation, "groups": groups, "periodic": periodic}
        for kernel in (3, 5, 7)
        for dilation in (1, 3)
        for groups in (1, 16)
        for periodic in (True, False)
    ]
    for kind in kinds:
        conv = PaddedConv(16, 16, **kind).to(memory_format=torch.channels_last)
        given = torch.randn(2, 16, 32, 32).to(memory_format=torch.channels_last)
        found = []
        for half in (False, True, True):
            conv.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                made = conv(given)
            made.float().square().mean().backward()
            found.append(torch.cat([part.grad.flatten() for part in conv.parameters()]))
        for half in found[1:]:
            assert torch.linalg.norm(half - found[0]) < 0.05 * torch.linalg.norm(found[0]), kind


def _samples(frames: np.ndarray, known: int = 2) -> Samples:
    rows, count = frames.shape[:2]
    horizon = np.full(rows, count - known, np.int32)
    inputs = {"context": frames[:, :known], "horizon": horizon}
    ids = np.array([f"t{row}" for row in range(rows)], dtype=object)
    return Samples(ids, inputs, frames[:, known:])


# --- samples -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (np.zeros((1, 4, 4), np.float16), "is not .samples, frames, n, n."),
        (np.zeros((1, 2, 4, 5), np.float16), "is not .samples, frames, n, n."),
        (np.zeros((1, 2, 4, 4), np.uint8), "holds uint8, not floats"),
        (np.zeros((1, 2, 4, 4), np.float16), "has 2 frames and wants at least 3"),
        (np.full((1, 3, 4, 4), np.nan, np.float16), "not finite"),
    ],
)
def test_a_context_that_cannot_be_read_is_refused(context, message):
    with pytest.raises(ValueError, match=message):
        context_of({"context": context}, at_least=3)


def test_a_context_is_handed_on_as_stored():
    context = np.zeros((1, 3, 4, 4), np.float16)
    assert context_of({"context": context}, at_least=3) is context


@pytest.mark.parametrize("horizon", [[], [3, 4], [0], [2.0]])
def test_horizons_that_are_not_one_number_are_refused(horizon):
    with pytest.raises(ValueError, match="horizon must be one positive whole number"):
        horizon_of({"horizon": np.array(horizon)})


def test_trajectories_are_context_and_target():
    frames = _diffusing(2, 5)
    assert horizon_of(_samples(frames).inputs) == 3
    np.testing.assert_array_equal(trajectories(_samples(frames)), frames)
    inputs = {"context": frames[:, :2]}
    for target in (frames[:1, 2:], frames[:, 2:, :4], frames[:, 2]):
        with pytest.raises(ValueError, match="does not follow"):
            trajectories(Samples(np.array(["a", "b"]), inputs, target))
    with pytest.raises(ValueError, match="target holds values that are not finite"):
        trajectories(Samples(np.array(["a", "b"]), inputs, np.full_like(frames, np.inf)))


# --- windows -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [{"unroll": 0}, {"windows": 0}, {"shown": 0}, {"teacher": 1.5}, {"teacher": -0.1}],
)
def test_a_plan_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Plan(**{"unroll": 1, **wrong})


def _drawn(plan: Plan, frame: np.ndarray, count: int = 200) -> set[bytes]:
    generator = np.random.default_rng(0)
    moved = [plan.varied(np.stack([frame, frame + 100]), generator) for _ in range(count)]
    # All frames are moved the same way.
    assert all(np.array_equal(first + 100, second) for first, second in moved)
    return {np.ascontiguousarray(first).tobytes() for first, _ in moved}


def _images(frame: np.ndarray, turns: int, mirrored: bool) -> set[bytes]:
    seen = [np.rot90(frame, turn) for turn in range(turns)]
    seen += [one[a, b] for one in seen for a, b in _FLIPS] if mirrored else []
    return {np.ascontiguousarray(one).tobytes() for one in seen}


_FLIPS = [
    (slice(None, None, a), slice(None, None, b)) for a, b in itertools.product((-1, 1), repeat=2)
]


@pytest.mark.parametrize(
    ("mirror", "turn", "expected"),
    [(False, False, 1), (True, False, 4), (False, True, 4), (True, True, 8)],
)
def test_windows_are_moved_by_the_chosen_symmetries_of_the_square(mirror, turn, expected):
    frame = np.arange(9.0).reshape(3, 3)
    found = _drawn(Plan(1, shift=False, mirror=mirror, turn=turn), frame)
    assert found == _images(frame, 4 if turn else 1, mirror)
    assert len(found) == expected


def test_windows_are_shifted_over_the_whole_period():
    frame = np.arange(9.0).reshape(3, 3)
    found = _drawn(Plan(1, mirror=False, turn=False), frame)
    shifts = itertools.product(range(3), repeat=2)
    assert found == {np.roll(frame, shift, (0, 1)).tobytes() for shift in shifts}


def test_windows_start_anywhere_and_have_the_length_asked_for():
    trajectory = np.zeros((5, 2, 2)) + np.arange(5.0)[:, None, None]
    generator, plan = np.random.default_rng(0), Plan(1)
    seen = {tuple(plan.draw(trajectory, 3, generator)[:, 0, 0]) for _ in range(60)}
    assert seen == {(0, 1, 2), (1, 2, 3), (2, 3, 4)}


def test_true_frames_are_shown_less_and_less():
    assert [Plan(1, teacher=0.5).forced(done) for done in (0, 0.25, 0.5, 0.9)] == [1, 0.5, 0, 0]
    assert Plan(1).forced(0.0) == 0


# --- layers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [9, 2])
@pytest.mark.parametrize("periodic", [True, False])
def test_a_padded_convolution_is_that_of_torch(side, periodic):
    # The dilated kernel reaches three pixels to each side: more than once round the small cell.
    conv = PaddedConv(2, 4, 3, periodic=periodic, dilation=3, groups=2)
    given = torch.randn(3, 2, side, side)
    if periodic:
        tiled = given.tile(1, 1, 5, 5)
        padded = tiled[:, :, 2 * side - 3 : 3 * side + 3, 2 * side - 3 : 3 * side + 3]
    else:
        padded = functional.pad(given, (3, 3, 3, 3))
    expected = functional.conv2d(padded, conv.conv.weight, conv.conv.bias, dilation=3, groups=2)
    torch.testing.assert_close(conv(given), expected)


def test_a_stride_divides_the_side_and_a_kernel_has_a_centre():
    assert PaddedConv(1, 3, 5, stride=2)(torch.zeros(1, 1, 8, 8)).shape == (1, 3, 4, 4)
    with pytest.raises(ValueError, match="4 has no centre"):
        PaddedConv(1, 1, 4)


# --- networks ----------------------------------------------------------------------------------


class Line(nn.Module):
    """Goes on from the last two frames on a straight line, so many frames at once."""

    def __init__(self, made: int) -> None:
        super().__init__()
        self.ahead = torch.arange(1, made + 1)[:, None, None]

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        before, last = given[:, -2:-1], given[:, -1:]
        return last + self.ahead * (last - before)


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return self.factor * given


class Broken(nn.Module):
    """Adds one, and makes no number of what is above 2.5."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return torch.where(given > 2.5, torch.nan, given + 1)


class Count(nn.Module):
    """Makes the number of frames that it has been shown."""

    def forward(self, frame: torch.Tensor, seen: int | None) -> tuple[torch.Tensor, int]:
        seen = (seen or 0) + frame.shape[1]
        return torch.full_like(frame, seen), seen


class Constant(nn.Module):
    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return self.value.expand(len(given), -1, -1, -1)


@pytest.mark.parametrize("made", [1, 2, 3])
def test_a_rollout_is_made_of_what_was_made_before(made):
    network = FrameNetwork(Line(made), given=2, made=made, residual=False)
    context = torch.randn(3, 4, 2, 2)
    found = torch.cat(list(rollout(network, context, 5)), 1)
    ahead = torch.arange(1, 6)[:, None, None]
    expected = context[:, 3:] + ahead * (context[:, 3:] - context[:, 2:3])
    assert found.shape == (3, 5, 2, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_a_network_with_a_memory_is_shown_every_frame_once():
    network = RecurrentNetwork(Count(), given=3, residual=False)
    found = torch.cat(list(rollout(network, torch.zeros(1, 3, 2, 2), 4)), 1)
    assert found[0, :, 0, 0].tolist() == [3, 4, 5, 6]


def test_a_memory_begins_with_the_last_frames_and_anew_after_some():
    network = RecurrentNetwork(Count(), given=2, renewed=3, residual=False)
    found = torch.cat(list(rollout(network, torch.zeros(1, 5, 2, 2), 7)), 1)
    assert found[0, :, 0, 0].tolist() == [2, 3, 4, 2, 3, 4, 2]

    class Older(nn.Module):
        """Makes the frame before the one it is shown; the first one is repeated."""

        def forward(self, frame, memory):
            return (frame if memory is None else memory), frame

    network = RecurrentNetwork(Older(), given=3, renewed=2, residual=False)
    context = torch.arange(4.0)[None, :, None, None]
    found = torch.cat(list(rollout(network, context, 5)), 1)
    # 0 1 2 3 | 2 3, then anew of 3 2 3: 2 3, then anew of 3 2 3.
    assert found.flatten().tolist() == [2, 3, 2, 3, 2]


def test_true_frames_are_shown_where_they_are_forced():
    network = FrameNetwork(Times(2.0), residual=False)
    context, truth = torch.ones(2, 1, 1, 1), torch.full((2, 4, 1, 1), 10.0)
    forced = torch.tensor([[True, False, True, True], [False] * 4])
    blocks = list(rollout(network, context, 4, truth, forced))
    assert torch.cat(blocks, 1)[..., 0, 0].tolist() == [[2, 20, 40, 20], [2, 4, 8, 16]]


def test_the_scale_is_that_of_values_and_of_what_changes():
    frames = np.random.default_rng(0).normal(3, 2, (4, 5, 6, 6))
    network = FrameNetwork(Times(1.0))
    network.measure(frames)
    expected = [frames.mean(), frames.std(), np.sqrt(np.square(np.diff(frames, axis=1)).mean())]
    np.testing.assert_allclose(network.scale.numpy(), expected, rtol=1e-6)
    network.measure(np.full((2, 3, 4, 4), 7.0))
    assert network.scale.tolist() == [7, 1, 1]


@pytest.mark.parametrize("conserving", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_what_is_made_of_the_inner_networks_values(residual, conserving):
    values = torch.rand(1, 2, 4, 4)
    network = FrameNetwork(Constant(values), made=2, residual=residual, conserving=conserving)
    network.scale.copy_(torch.tensor([3.0, 2.0, 0.5]))
    last = torch.rand(5, 1, 4, 4)
    _, found = network.step(None, last)
    expected = last + 0.5 * values if residual else 3 + 2 * values.expand(5, -1, -1, -1)
    if conserving:
        expected = expected - (expected - last).mean((2, 3), keepdim=True)
    torch.testing.assert_close(found, expected)
    kept = (found - last).mean((2, 3)).abs().max() < 1e-6
    assert bool(kept) == conserving


def test_a_network_makes_as_many_frames_as_it_says():
    with pytest.raises(ValueError, match="made 3 frames, not 2"):
        FrameNetwork(PaddedConv(1, 3), made=2).step(None, torch.zeros(1, 1, 4, 4))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 4, 4), "are not .samples, 3 or more, n, n."),
        ((1, 2, 4, 4), "are not .samples, 3 or more, n, n."),
        ((1, 3, 4, 6), "frames of 4 x 6: sides must be multiples of 4"),
    ],
)
def test_frames_of_a_wrong_shape_are_refused(shape, message):
    network = FrameNetwork(nn.Identity(), given=3, made=3, multiple=4)
    with pytest.raises(ValueError, match=message):
        network.step(None, torch.zeros(shape))
    with pytest.raises(ValueError, match=r"multiples of 4|are not"):
        RecurrentNetwork(Count(), multiple=4).step(None, torch.zeros(1, 1, 4, 6))


# --- forecasts and their cost ------------------------------------------------------------------


def _network(**options) -> FrameNetwork:
    torch.manual_seed(3)
    return FrameNetwork(PeriodicConv(2, 1, 1), **options)


def test_a_forecast_is_the_same_however_many_are_made_together(monkeypatch):
    context = _diffusing(5, 2)
    context.flags.writeable = False
    network = _network()
    found = forecast(network, context, 3)
    assert (found.shape, found.dtype) == ((5, 3, 8, 8), np.float16)
    given = torch.from_numpy(context.astype(np.float32))
    with torch.inference_mode():
        whole = torch.cat(list(rollout(network, given, 3)), 1)
    np.testing.assert_array_equal(found, whole.numpy().astype(np.float16))
    seen = []
    monkeypatch.setattr(network, "step", lambda *args: _noted(seen, network, *args))
    for pixels in (1, 128, 200):
        monkeypatch.setitem(forecasting.AT_ONCE, "cpu", pixels)
        np.testing.assert_allclose(forecast(network, context, 3), found, atol=1e-3)
    assert seen == [1] * 15 + [2] * 6 + [1] * 3 + [3] * 3 + [2] * 3


def _noted(seen: list[int], network: FrameNetwork, state, shown):
    seen.append(len(shown))
    return FrameNetwork.step(network, state, shown)


def test_values_are_kept_as_they_are_within_ten_standard_deviations():
    """A rollout that runs away stays finite, so that a network has a score, if a bad one."""
    network = FrameNetwork(Times(-3.0), residual=False)
    context = np.full((1, 1, 2, 2), 0.5, np.float16)
    found = forecast(network, context, 5)
    assert found[0, :, 0, 0].tolist() == [-1.5, 4.5, -10.0, 10.0, -10.0]
    # In training too large values are seen by the loss, and have a gradient.
    network.train()
    shown = torch.from_numpy(context).float()
    assert [block.abs().max().item() for block in rollout(network, shown, 3)][-1] == 13.5


@pytest.mark.parametrize("pixels", [4, 100])
def test_a_forecast_that_is_no_number_says_where_and_when(monkeypatch, pixels):
    monkeypatch.setitem(forecasting.AT_ONCE, "cpu", pixels)
    network = FrameNetwork(Broken(), residual=False)
    context = np.array([-5.0, 1.0], np.float32)[:, None, None, None] * np.ones((2, 1, 2, 2))
    with pytest.raises(FloatingPointError, match="row 1 is not finite in frame 3"):
        forecast(network, context, 4)
    assert rollout_rmse(network, context, np.zeros((2, 4, 2, 2))) == np.inf


def test_the_error_of_a_rollout():
    network = FrameNetwork(Times(2.0), residual=False)
    context = np.array([1.0, 2.0])[:, None, None, None] * np.ones((2, 1, 2, 2))
    target = np.full((2, 2, 2, 2), 3.0, np.float16)
    # Forecast: 2 and 4, 4 and 8.
    expected = np.sqrt((1 + 1 + 1 + 25) / 4)
    assert rollout_rmse(network, context, target) == pytest.approx(expected)


def test_operations_per_frame_are_counted_over_a_whole_rollout():
    once = 2 * 9 * (3 + 3) * 64
    layers = nn.Sequential(PaddedConv(1, 3), PaddedConv(3, 1))
    assert flops_per_frame(FrameNetwork(layers), shown=1, frames=4, side=8) == once
    # Two frames at a time: three calls for five frames.
    network = FrameNetwork(PaddedConv(1, 2), made=2)
    assert flops_per_frame(network, shown=1, frames=5, side=8) == 2 * 9 * 2 * 64 * 3 / 5

    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = PaddedConv(1, 1)

        def forward(self, frame, memory):
            return self.conv(frame), memory

    # Four frames are shown before the first is made, and the last one never is.
    recurrent = RecurrentNetwork(Remembering(), given=4)
    assert flops_per_frame(recurrent, shown=4, frames=5, side=8) == 2 * 9 * 64 * 8 / 5
    assert next(recurrent.parameters()).device.type == "cpu"


# --- the model ---------------------------------------------------------------------------------

SCHEDULE = Schedule(epochs=3, batch=2, learning_rate=0.02)


def _model(seed: int = 0, schedule: Schedule = SCHEDULE, make=None, **plan) -> Forecaster:
    def small() -> FrameNetwork:
        layers = nn.Sequential(PeriodicConv(2, 1, 4), nn.SiLU(), PeriodicConv(2, 4, 1))
        return FrameNetwork(layers)

    return Forecaster(make or small, seed, "cpu", schedule, Plan(**{"unroll": 2, **plan}))


def test_a_law_is_learnt_and_holds_longer_and_on_larger_frames():
    schedule = Schedule(epochs=1, batch=4, learning_rate=0.03)
    model = _model(schedule=schedule, make=lambda: _network(conserving=True), windows=80)
    model.fit(_samples(_diffusing(8, 6)), None)
    for side in (8, 16):
        unseen = _diffusing(2, 22, side, seed=1)
        found = model.predict({"context": unseen[:, :2], "horizon": np.full(2, 20)})
        assert (found.shape, found.dtype) == ((2, 20, side, side), np.float16)
        error = np.square(found.astype(np.float64) - unseen[:, 2:]).mean()
        still = np.square(unseen[:, 1:2].astype(np.float64) - unseen[:, 2:]).mean()
        assert error < 0.01 * still


def test_equal_seeds_give_equal_forecasts():
    samples = _samples(_diffusing(4, 6))

    def fitted(seed: int, **plan) -> np.ndarray:
        Path("checkpoint.safetensors").unlink(missing_ok=True)
        return _model(seed, **plan).fit(samples).predict(samples.inputs)

    first = fitted(0)
    np.testing.assert_array_equal(fitted(0), first)
    assert not np.array_equal(fitted(1), first)
    for plan in ({"shown": 2}, {"teacher": 1.0}, {"turn": False}, {"windows": 2}):
        assert not np.array_equal(fitted(0, **plan), first)


def test_a_fit_outside_of_an_evaluation_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("ETCHMARK_WORK")
    mine = tmp_path / "checkpoint.safetensors"
    mine.write_text("the caller's own")
    samples = _samples(_diffusing(4, 6))
    first = _model(0).fit(samples).predict(samples.inputs)
    _model(1).fit(samples)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]
    assert mine.read_text() == "the caller's own"
    assert "checkpoint.safetensors" not in capsys.readouterr().out
    # Whether its state is kept changes nothing of a training.
    monkeypatch.setenv("ETCHMARK_WORK", str(tmp_path / "work"))
    np.testing.assert_array_equal(_model(0).fit(samples).predict(samples.inputs), first)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["checkpoint.safetensors"]


def test_an_epoch_has_so_many_windows_of_every_trajectory(monkeypatch):
    frames, drawn, one_draw = _diffusing(3, 6), [], Plan.draw

    def draw(plan: Plan, trajectory: np.ndarray, length: int, generator) -> np.ndarray:
        drawn.extend(np.flatnonzero((frames == trajectory).all(axis=(1, 2, 3))))
        return one_draw(plan, trajectory, length, generator)

    monkeypatch.setattr(Plan, "draw", draw)
    _model(schedule=Schedule(1, 2, 0.01), windows=4).fit(_samples(frames))
    assert sorted(drawn) == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize(("unroll", "expected"), [(1, 1.0), (3, (1 + 4 + 9) / 3)])
def test_the_loss_is_counted_in_what_changes_from_frame_to_frame(capsys, unroll, expected):
    class Still(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.zeros(1))

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            return self.factor * given

    rising = np.zeros((2, 6, 4, 4), np.float16) + np.arange(6.0)[:, None, None] / 8
    slow = Schedule(epochs=1, batch=2, learning_rate=1e-9)
    _model(schedule=slow, make=lambda: FrameNetwork(Still()), unroll=unroll).fit(_samples(rising))
    loss = re.findall(r"loss ([\d.]+)", capsys.readouterr().out)
    assert float(loss[0]) == pytest.approx(expected, rel=1e-3)


def test_what_is_held_out_is_forecast_to_its_horizon(capsys):
    samples, held = _samples(_diffusing(2, 6)), _samples(_diffusing(2, 6, seed=1))
    held.inputs["horizon"][:] = 2
    model = _model(schedule=Schedule(1, 2, 0.01)).fit(samples, held)
    error = re.findall(r"validation error ([\d.]+)", capsys.readouterr().out)
    expected = rollout_rmse(model.network, held.inputs["context"], held.target[:, :2])
    assert float(error[0]) == pytest.approx(expected, rel=1e-3)


def test_fresh_weights_are_those_of_the_seed_and_leave_torch_alone():
    before = torch.get_rng_state()
    one, other, another = _model(0), _model(0), _model(1)
    assert torch.equal(torch.get_rng_state(), before)
    weights = [model.network.inner[0].conv.weight for model in (one, other, another)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


class Interrupted(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("stop_at", [3, 5])
def test_an_interrupted_training_ends_in_the_same_forecast(monkeypatch, capsys, stop_at):
    samples, held = _samples(_diffusing(4, 6)), _samples(_diffusing(2, 6, seed=1))
    plan = {"teacher": 0.8, "patience": 2}
    first = _model(**plan).fit(samples, held).predict(samples.inputs)
    Path("checkpoint.safetensors").unlink()
    one_loss, calls = Forecaster._loss, 0

    def interrupted(*arguments):
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise Interrupted
        return one_loss(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Forecaster, "_loss", interrupted)
        with pytest.raises(Interrupted):
            _model(**plan).fit(samples, held)
    capsys.readouterr()
    resumed = _model(**plan).fit(samples, held)
    # Two steps make an epoch.
    assert capsys.readouterr().out.startswith(
        f"checkpoint.safetensors: {(stop_at - 1) // 2} epochs done\n"
    )
    np.testing.assert_array_equal(resumed.predict(samples.inputs), first)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"plan": {"unroll": 1}},
        {"plan": {"mirror": False}},
        {"make": lambda: FrameNetwork(PeriodicConv(2, 1, 1), conserving=True)},
        {"samples": _samples(_diffusing(4, 6, seed=5))},
        {"held": _samples(_diffusing(2, 6, seed=5))},
        {"held": None},
    ],
)
def test_the_checkpoint_of_another_training_is_not_gone_on_from(capsys, change):
    given = {
        "seed": 0,
        "make": lambda: FrameNetwork(PeriodicConv(2, 1, 1)),
        "samples": _samples(_diffusing(4, 6)),
        "held": _samples(_diffusing(2, 6, seed=1)),
        "plan": {},
    }

    def fit(seed, make, samples, held, plan) -> str:
        _model(seed, make=make, **plan).fit(samples, held)
        return capsys.readouterr().out

    fit(**given)
    assert fit(**given).startswith("checkpoint.safetensors: 3 epochs done\n")
    assert fit(**{**given, **change}).startswith(
        "checkpoint.safetensors: of another training; ignored\n"
    )


def test_the_weights_that_forecast_the_held_out_best_are_kept(capsys):
    # What is held out runs backwards: the more is learnt, the worse it gets.
    held = _samples(_diffusing(2, 6, seed=1)[:, ::-1], known=3)
    samples, schedule = _samples(_diffusing(4, 6)), Schedule(epochs=4, batch=2, learning_rate=0.02)
    model = _model(schedule=schedule).fit(samples, held)
    lines = capsys.readouterr().out.splitlines()
    errors = [
        float(re.findall(r"validation error ([\d.e+-]+|inf)", line)[0]) for line in lines[:-1]
    ]
    best = int(np.argmin(errors))
    assert best < 2
    assert lines[-1] == f"the weights of epoch {best + 1} are kept"
    found = rollout_rmse(model.network, held.inputs["context"], held.target)
    assert found == pytest.approx(errors[best], rel=1e-4)
    # Who does not wait has seen enough after the first epoch that was no better.
    Path("checkpoint.safetensors").unlink()
    _model(schedule=schedule, patience=1).fit(samples, held)
    assert len(capsys.readouterr().out.splitlines()) == best + 3


def test_every_step_knows_what_is_over_and_a_bar_shows_it(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    one_loss, seen = Forecaster._loss, []

    def loss(model: Forecaster, drawn: np.ndarray, shown: int, done: float, *more):
        seen.append(done)
        return one_loss(model, drawn, shown, done, *more)

    monkeypatch.setattr(Forecaster, "_loss", loss)
    _model().fit(_samples(_diffusing(4, 6)))
    np.testing.assert_allclose(seen, np.arange(6) / 6)
    assert "/2" in capsys.readouterr().err


def test_what_the_harness_hands_out_is_enough():
    samples = _samples(_diffusing(3, 6))
    for array in (*samples.inputs.values(), samples.target):
        array.flags.writeable = False
    given = MappingProxyType(dict(samples.inputs))
    model = _model()
    assert isinstance(model, Model)
    assert model.flops() is None
    model.fit(Samples(samples.ids, given, samples.target), None)
    found = model.predict(given)
    np.testing.assert_array_equal(
        model.predict({name: array[1:2] for name, array in given.items()}), found[1:2]
    )
    assert model.parameter_count() == 2 * 9 * 4 + 4 + 1
    flops = model.flops()
    assert flops == pytest.approx(2 * 9 * 8 * 64, rel=5e-3)
    # Of the first forecast, which is that of the headline split.
    model.predict({"context": np.zeros((1, 2, 16, 16), np.float16), "horizon": np.array([2])})
    assert model.flops() == flops


def test_trajectories_shorter_than_a_window_are_refused():
    with pytest.raises(ValueError, match="of 6 frames are shorter than a window of 1 \\+ 6"):
        _model(unroll=6).fit(_samples(_diffusing(2, 6)))


def test_the_example_of_the_module_runs():
    text = (forecasting.__doc__ or "").partition("::\n\n")[2].partition("\n\n")[0]
    names: dict = {}
    exec("\n".join(line[4:] for line in text.splitlines()), names)
    assert len(text.splitlines()) == 6
    model = names["build"](0, "cpu")
    assert isinstance(model, Forecaster)
    found = model.predict(_samples(_diffusing(1, 4)).inputs)
    assert found.shape == (1, 2, 8, 8)
    assert training.parameter_count(model.network) == 50
