"""What every trained forecaster does: learn, resume, keep symmetries, refuse other shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from forecasters import TINY, built, random_network, samples, sequences  # noqa: E402

from etchmark.learning import forecasting  # noqa: E402

pytestmark = pytest.mark.usefixtures("alone")
# One epoch that is enough to learn from, and frames to learn from and to predict. The errors are at
# most half of what is allowed: processors round differently, and training amplifies that.
LEARNS: dict[str, tuple[dict[str, Any], int, tuple[int, int]]] = {
    "cnn_frames": ({"plan": {"unroll": 4, "windows": 20}, "patch": 1}, 10, (12, 9)),
    "convlstm": (
        {"plan": {"unroll": 3, "windows": 12}, "hidden": [8], "patch": 1, "residual": True},
        10,
        (12, 9),
    ),
    "fcn": ({"plan": {"unroll": 3, "windows": 20}, "residual": True}, 10, (12, 9)),
    "fno": ({"plan": {"unroll": 3, "windows": 40}, "waves": 6, "width": 8}, 10, (12, 9)),
    "unet_frames": ({"plan": {"unroll": 3, "windows": 25}}, 10, (12, 9)),
    "stepper": ({"plan": {"unroll": 3, "windows": 50}}, 8, (12, 6)),
    "stepper, conserving": (
        {"plan": {"unroll": 3, "windows": 50}, "conserving": True},
        8,
        (12, 6),
    ),
}
RATE = {"convlstm": 0.03}
BATCH = {"stepper": 4}


@pytest.mark.parametrize("case", LEARNS)
def test_it_learns_and_predicts_longer_and_larger_sequences(case: str) -> None:
    baseline = case.partition(",")[0]
    params, known, lengths = LEARNS[case]
    schedule = {
        "epochs": 1,
        "batch": BATCH.get(baseline, 2),
        "learning_rate": RATE.get(baseline, 0.02),
    }
    model = built(baseline, schedule=schedule, **params)
    model.fit(samples(baseline, sequences(baseline, 8, known)))
    for side, frames in zip((12, 20), lengths, strict=True):
        unseen = samples(baseline, sequences(baseline, 2, frames, side, seed=1))
        predicted = model.predict(unseen.inputs)
        assert unseen.target is not None
        assert (predicted.shape, predicted.dtype) == (unseen.target.shape, np.float16)
        assert np.isfinite(predicted).all()
        truth = unseen.target.astype(np.float64)
        persistence = np.square(unseen.inputs["context"][:, -1:] - truth).mean()
        assert np.square(predicted - truth).mean() < 0.2 * persistence


@pytest.mark.parametrize("baseline", ["cnn_frames", "convlstm", "fcn", "unet_frames"])
def test_frames_shifted_by_whole_patches_give_shifted_forecasts(baseline: str) -> None:
    context = sequences(baseline, 2, 4, 16)

    def error(network: forecasting.FrameNetwork, shift: tuple[int, int]) -> float:
        forecast = forecasting.forecast(network, context, 3)
        moved = forecasting.forecast(network, np.roll(context, shift, (2, 3)), 3)
        return float(np.abs(moved - np.roll(forecast, shift, (2, 3))).max() / forecast.std())

    assert error(random_network(baseline), (4, -2)) < 2e-2
    assert error(random_network(baseline), (1, 0)) > 0.05
    if baseline in ("convlstm", "fcn"):
        # With zeros beyond the edges, a frame is no longer periodic.
        assert error(random_network(baseline, periodic=False), (4, -2)) > 0.05


def test_an_operator_on_waves_has_no_preferred_place() -> None:
    """Any shift; and what it makes of a wave is the same on a finer grid."""
    network = random_network("fno")
    context = sequences("fno", 2, 4, 16)
    forecast = forecasting.forecast(network, context, 3)
    moved = forecasting.forecast(network, np.roll(context, (1, -3), (2, 3)), 3)
    assert np.abs(moved - np.roll(forecast, (1, -3), (2, 3))).max() < 2e-2 * forecast.std()
    x = np.arange(32) / 32
    wave = 0.5 + 0.3 * np.cos(2 * np.pi * (2 * x[:, None] - x[None]))
    frames = np.stack([0.9**step * wave for step in range(4)])[None].astype(np.float32)
    fine = forecasting.forecast(network, frames, 1)
    coarse = forecasting.forecast(network, frames[..., ::2, ::2], 1)
    assert np.abs(fine[..., ::2, ::2] - coarse).max() < 2e-2 * coarse.std()
    with pytest.raises(ValueError, match="fewer than 4 waves"):
        forecasting.forecast(network, context[..., :6, :6], 1)


class Interrupted(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("baseline", TINY)
def test_equal_seeds_give_equal_forecasts_also_after_an_interruption(
    baseline: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = 6 if baseline == "stepper" else 8
    train = samples(baseline, sequences(baseline, 4, frames))
    validation = samples(baseline, sequences(baseline, 2, frames, seed=1))

    def fitted(seed: int = 0) -> np.ndarray:
        return built(baseline, seed).fit(train, validation).predict(train.inputs)

    uninterrupted = fitted()
    for path in Path().glob("checkpoint*"):
        path.unlink()
    loss, calls = forecasting.Forecaster._loss, 0

    def interrupted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Interrupted
        return loss(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(forecasting.Forecaster, "_loss", interrupted)
        with pytest.raises(Interrupted):
            fitted()
    capsys.readouterr()
    np.testing.assert_array_equal(fitted(), uninterrupted)
    first_line = capsys.readouterr().out.partition("\n")[0]
    assert first_line.startswith("checkpoint")
    assert first_line.endswith(": 1 epochs done")
    assert not np.array_equal(fitted(seed=1), uninterrupted)


def inputs(*shape: int) -> dict[str, np.ndarray]:
    return {"context": np.zeros(shape, np.float16), "horizon": np.full(shape[0], 2)}


@pytest.mark.parametrize("baseline", TINY)
def test_frames_without_a_time_axis_are_refused(baseline: str) -> None:
    with pytest.raises(ValueError, match=r"is not \(samples, frames, n, n\)"):
        built(baseline).predict(inputs(2, 12, 12))


@pytest.mark.parametrize(("baseline", "least"), [("cnn_frames", 4), ("convlstm", 3), ("fcn", 3)])
def test_too_few_frames_and_sides_of_half_a_patch_are_refused(baseline: str, least: int) -> None:
    model = built(baseline)
    with pytest.raises(ValueError, match=f"has {least - 1} frames and wants at least {least}"):
        model.predict(inputs(2, least - 1, 12, 12))
    with pytest.raises(ValueError, match="13 x 13: sides must be multiples of 2"):
        model.predict(inputs(2, 4, 13, 13))
