"""Networks modulated by what they are told, or by what an encoder reads in the frames given."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from etchmark.errors import UserError  # noqa: E402
from etchmark.learning.forecasting import (  # noqa: E402
    Forecaster,
    ModulatedNetwork,
    Plan,
    rollout,
    told_of,
)
from etchmark.learning.training import Schedule  # noqa: E402
from etchmark.model import Samples, TrainingHistory  # noqa: E402

RATES = (0.02, 0.05, 0.1, 0.2)


class Spreading(nn.Module):
    """A fixed stencil times a line through the code."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, frame: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        around = sum(frame.roll(shift, axis) for shift in (-1, 1) for axis in (2, 3))
        return self.line(code)[..., None, None] * (around - 4 * frame)


class Reading(nn.Module):
    """How much frames change, as one number."""

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return frames.diff(dim=1).square().mean((1, 2, 3))[:, None].sqrt()


def diffusing(rates: np.ndarray, frames: int, side: int = 8, seed: int = 0) -> np.ndarray:
    now = np.random.default_rng(seed).normal(0.5, 0.3, (len(rates), side, side))
    seen = []
    for _ in range(frames):
        seen.append(now)
        around = sum(np.roll(now, shift, axis) for shift in (-1, 1) for axis in (1, 2))
        now = now + rates[:, None, None] * (around - 4 * now)
    return np.stack(seen, 1).astype(np.float16)


def samples(rates: np.ndarray, frames: int = 9, known: int = 3, seed: int = 0) -> Samples:
    made = diffusing(rates, frames, seed=seed)
    inputs = {
        "context": made[:, :known],
        "horizon": np.full(len(rates), frames - known, np.int32),
        "rate": rates,
    }
    ids = np.array([f"t{row}" for row in range(len(rates))], dtype=object)
    return Samples(ids, inputs, made[:, known:])


def told_model(**more) -> Forecaster:
    schedule = Schedule(epochs=6, batch=4, learning_rate=0.1)
    make = lambda: ModulatedNetwork(Spreading(), told=1)  # noqa: E731
    return Forecaster(
        make, 0, "cpu", schedule, Plan(unroll=2, windows=10), {"rate": "linear"}, **more
    )


def test_what_is_told_decides_the_forecast() -> None:
    """Rates between those trained on are met; the wrong rate is not."""
    rates = np.repeat(RATES, 3)
    model = told_model().fit(samples(rates), samples(np.array(RATES), seed=1))
    unseen = samples(np.array([0.03, 0.15]), seed=2)

    def error(inputs) -> float:
        found = model.predict(inputs).astype(np.float64)
        return float(np.sqrt(np.square(found - unseen.target).mean()))

    right = error(unseen.inputs)
    wrong = error({**unseen.inputs, "rate": unseen.inputs["rate"][::-1].copy()})
    assert right < 0.01
    assert wrong > 5 * right
    # As before, trajectory by trajectory.
    one = {name: values[1:2] for name, values in unseen.inputs.items()}
    np.testing.assert_array_equal(model.predict(one), model.predict(unseen.inputs)[1:2])
    assert model.flops() is not None


def test_the_code_of_an_encoder_is_read_once_from_the_frames_given() -> None:
    network = ModulatedNetwork(Spreading(), encoder=Reading(), given=3)
    context = torch.from_numpy(diffusing(np.array(RATES), 3)).float()
    calls = []
    network.encoder.register_forward_hook(lambda *_: calls.append(1))
    blocks = list(rollout(network, context, 5))
    assert len(blocks) == 5
    assert calls == [1]
    with pytest.raises(ValueError, match="3 or more"):
        list(rollout(network, context[:, :2], 5))


def test_a_code_is_told_or_read_and_not_both() -> None:
    for more in ({}, {"told": 1, "encoder": Reading()}):
        with pytest.raises(ValueError, match="either told or made"):
            ModulatedNetwork(Spreading(), **more)
    for number, names in ((2, {"rate": "log"}), (0, {"rate": "log"}), (1, {})):

        def make(number: int = number) -> ModulatedNetwork:
            more = {"told": number} if number else {"encoder": Reading()}
            return ModulatedNetwork(Spreading(), **more)

        with pytest.raises(ValueError, match=f"told {number} numbers, and {len(names)} inputs"):
            Forecaster(make, 0, "cpu", Schedule(1, 1, 0.1), Plan(unroll=1), names)
    network = ModulatedNetwork(Spreading(), told=1)
    with pytest.raises(ValueError, match="told nothing"):
        list(rollout(network, torch.zeros(1, 1, 8, 8), 2))


def test_inputs_that_cannot_be_told() -> None:
    inputs = dict(samples(np.array(RATES)).inputs)
    assert told_of(inputs, {}) is None
    np.testing.assert_allclose(told_of(inputs, {"rate": "log"})[:, 0], np.log(RATES), rtol=1e-6)
    with pytest.raises(ValueError, match="'Log' of an input must be linear or log"):
        told_of(inputs, {"rate": "Log"})
    with pytest.raises(UserError, match="reads mobility, which this track does not tell"):
        told_of(inputs, {"mobility": "log"})
    for wrong in (np.array([0.1, 0.1, 0.1]), np.array([0.1, np.nan, 0.1, 0.1])):
        with pytest.raises(ValueError, match="one finite number"):
            told_of({**inputs, "rate": wrong}, {"rate": "linear"})
    with pytest.raises(ValueError, match="must be positive"):
        told_of({**inputs, "rate": -inputs["rate"]}, {"rate": "log"})


def test_a_training_tells_how_its_error_fell() -> None:
    rates = np.repeat(RATES, 3)
    model = told_model()
    assert model.training_history() is None
    held = samples(np.array(RATES), seed=1)
    history = model.fit(samples(rates), held).training_history()
    assert isinstance(history, TrainingHistory)
    assert history.metric == "rmse"
    seconds, errors = np.array(history.points).T
    assert len(errors) == 6
    assert (np.diff([0, *seconds]) > 0).all()
    found = model.predict(held.inputs).astype(np.float64)
    assert errors.min() == pytest.approx(np.sqrt(np.square(found - held.target).mean()), rel=1e-6)
    assert model.fit(samples(rates)).training_history() is None
