"""Metrics of frames against slow formulations and frames made by hand."""

from __future__ import annotations

import itertools
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from etchmark.errors import UserError
from etchmark.specs import FrameChecks, FreeEnergy, GrainRule
from etchmark.targets.frames import metrics as module
from etchmark.targets.frames.metrics import (
    FRAME_METRICS,
    FRAME_TERMS,
    frame_terms,
    free_energy,
    ssim,
)

WELL = FreeEnergy(coefficients=[0.25, 0.0, -0.5, 0.0, 0.25], gradient_energy=1.0, tolerance=1e-3)
CHECKS = FrameChecks(low=-1.1, high=1.1, energy=WELL, grains=GrainRule(above=0.25, min_pixels=3))
IDS = [one.id for one in FRAME_METRICS]
METRICS = {one.id: one for one in FRAME_METRICS}


def evolution(samples: int, frames: int, n: int, seed: int = 0) -> np.ndarray:
    """Smooth periodic fields of values around -1 to 1 that coarsen from frame to frame."""
    generator = np.random.default_rng(seed)
    wave = np.fft.fftfreq(n)
    square = wave[:, None] ** 2 + wave**2
    spectrum = np.fft.fft2(generator.standard_normal((samples, 1, n, n)))
    widths = np.linspace(1.0, 2.0, frames)[:, None, None]
    smooth = np.fft.ifft2(spectrum * np.exp(-2 * (np.pi * widths) ** 2 * square)).real
    return np.tanh(smooth / smooth.std(axis=(2, 3), keepdims=True))


def pair(samples: int, frames: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Target, prediction and last frame given."""
    whole = evolution(samples, frames + 1, n)
    noise = np.random.default_rng(1).standard_normal(whole[:, 1:].shape)
    return whole[:, 1:], whole[:, 1:] + 0.2 * noise, whole[:, 0]


def score(
    name: str,
    target: np.ndarray,
    prediction: np.ndarray,
    last: np.ndarray | None = None,
    checks: FrameChecks = CHECKS,
) -> float:
    """A metric of frames of shape (frames, n, n), or (n, n) if there is one only."""
    shape = (1, -1, *target.shape[-2:])
    truth, given = target.reshape(shape), prediction.reshape(shape)
    start = truth[:, 0] if last is None else last[None]
    terms, _ = frame_terms(truth, given, start, checks, [name])
    sums = {key: np.asarray(value.sum()) for key, value in terms.items()}
    return float(METRICS[name].finish({**sums, "n": np.asarray(float(truth.size))}))


# --- slow formulations -------------------------------------------------------------------------


def slow_ssim(truth: np.ndarray, given: np.ndarray) -> float:
    found, n = [], len(truth)
    for row in range(n - 6):
        for column in range(n - 6):
            x, y = (one[row : row + 7, column : column + 7].ravel() for one in (truth, given))
            (vx, cov), (_, vy) = np.cov(x, y)
            means = (2 * x.mean() * y.mean() + 1e-4) / (x.mean() ** 2 + y.mean() ** 2 + 1e-4)
            found.append(means * (2 * cov + 9e-4) / (vx + vy + 9e-4))
    return float(np.mean(found))


def slow_shells(field: np.ndarray) -> np.ndarray:
    n = len(field)
    power = np.abs(np.fft.fft2(field - field.mean())) ** 2
    shells: dict[int, list[float]] = {}
    for row, column in np.ndindex(n, n):
        wave = np.hypot(min(row, n - row), min(column, n - column))
        shells.setdefault(round(wave), []).append(float(power[row, column]))
    return np.array([np.mean(shells[k]) for k in range(1, n // 2 + 1)])


def slow_length(field: np.ndarray) -> float:
    n, shells = len(field), slow_shells(field)
    mean = sum(2 * np.pi * k / n * one for k, one in enumerate(shells, 1)) / shells.sum()
    return 2 * np.pi / mean


def slow_energy(field: np.ndarray, energy: FreeEnergy) -> float:
    c = energy.scale * field + energy.offset
    wave = 2 * np.pi * np.fft.fftfreq(len(field), energy.spacing)
    square = wave[:, None] ** 2 + wave**2
    curvature = np.fft.ifft2(-square * np.fft.fft2(c)).real
    density = sum(a * c**k for k, a in enumerate(energy.coefficients))
    # By parts: the sum of |grad c|² is that of -c laplace(c).
    return float(np.sum(density - energy.gradient_energy / 2 * c * curvature))


def slow_grains(field: np.ndarray, rule: GrainRule) -> int:
    n, left, count = len(field), {*zip(*np.nonzero(field > rule.above), strict=True)}, 0
    while left:
        edge, cells = [left.pop()], 0
        while edge:
            row, column = edge.pop()
            cells += 1
            for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                near = ((row + step[0]) % n, (column + step[1]) % n)
                if near in left:
                    left.remove(near)
                    edge.append(near)
        count += cells >= rule.min_pixels
    return count


def slow_rises(frames: np.ndarray, last: np.ndarray, energy: FreeEnergy) -> int:
    values = [slow_energy(one, energy) for one in (last, *frames)]
    return sum(
        now > before + energy.tolerance * abs(before) for before, now in itertools.pairwise(values)
    )


def slow(name: str, target: np.ndarray, prediction: np.ndarray, last: np.ndarray) -> float:
    """A metric of one sample, frame by frame."""
    pairs = list(zip(target, prediction, strict=True))
    rule, grains = CHECKS.grains, slow_grains
    assert rule is not None
    each: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
        "ssim": slow_ssim,
        "structure_factor_error": lambda t, p: (
            100 * np.abs(slow_shells(p) - slow_shells(t)).sum() / slow_shells(t).sum()
        ),
        "length_error": lambda t, p: 100 * abs(slow_length(p) / slow_length(t) - 1),
        "composition_drift": lambda t, p: abs(p.mean() - last.mean()),
        "grain_count_error": lambda t, p: abs(grains(p, rule) - grains(t, rule)),
        "grain_area_error": lambda t, p: 100 * abs(grains(t, rule) / grains(p, rule) - 1),
        "out_of_range": lambda t, p: 100 * np.mean((p < CHECKS.low) | (p > CHECKS.high)),
    }
    if name == "energy_rises":
        return 100 * slow_rises(prediction, last, WELL) / len(prediction)
    return float(np.mean([each[name](one, other) for one, other in pairs]))


@pytest.mark.parametrize("n", [16, 17, 21])
@pytest.mark.parametrize("name", IDS)
def test_against_a_slow_formulation(name: str, n: int) -> None:
    target, prediction, last = (one[0] for one in pair(1, 6, n))
    # Rising and falling energies, grains and values out of range: nothing is compared with zero.
    prediction[::2] *= 0.8
    expected = slow(name, target, prediction, last)
    assert expected != 0
    assert score(name, target, prediction, last) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("name", IDS)
def test_stored_types_are_scored_in_double_precision(name: str, kind: type) -> None:
    stored = [one[0].astype(kind) for one in pair(1, 4, 16)]
    expected = slow(name, *(one.astype(np.float64) for one in stored))
    assert score(name, *stored) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", IDS)
def test_one_frame(name: str) -> None:
    target, prediction, last = (one[0] for one in pair(1, 1, 16))
    assert score(name, target, prediction, last) == pytest.approx(
        slow(name, target, prediction, last), rel=1e-10
    )


@pytest.mark.parametrize(("name", "best"), [(one.id, float(one.higher_is_better)) for one in
                                            FRAME_METRICS])  # fmt: skip
def test_a_perfect_prediction(name: str, best: float) -> None:
    whole = evolution(1, 5, 32)[0]
    start = whole[0] - whole[0].mean() + whole[1].mean()
    frames = np.stack([one - one.mean() + start.mean() for one in whole[1:]])
    assert slow_rises(frames, start, WELL) == 0
    assert score(name, frames, frames, start) == pytest.approx(best, abs=1e-12)


# --- the terms ---------------------------------------------------------------------------------


def test_terms_of_samples_and_values_of_frames() -> None:
    target, prediction, last = pair(3, 4, 16)
    terms, per_frame = frame_terms(target, prediction, last, CHECKS, IDS)
    assert set(terms) == set(FRAME_TERMS)
    assert all(value.shape == (3,) and value.dtype == np.float64 for value in terms.values())
    assert terms["frames"].tolist() == [4.0] * 3
    squares = ((prediction - target) ** 2).mean(axis=(2, 3))
    np.testing.assert_allclose(per_frame["squared_error"], squares, rtol=1e-12)
    similar = [[slow_ssim(*two) for two in zip(*one, strict=True)]
               for one in zip(target, prediction, strict=True)]  # fmt: skip
    np.testing.assert_allclose(per_frame["ssim"], similar, rtol=1e-10)
    np.testing.assert_allclose(terms["sum_ssim"], np.sum(similar, axis=1), rtol=1e-10)
    assert terms["sum_beyond"].tolist() == (np.abs(prediction) > 1.1).sum(axis=(1, 2, 3)).tolist()


def test_samples_do_not_mix() -> None:
    target, prediction, last = pair(3, 4, 16)
    whole, _ = frame_terms(target, prediction, last, CHECKS, IDS)
    for row in range(3):
        rows = slice(row, row + 1)
        one, _ = frame_terms(target[rows], prediction[rows], last[rows], CHECKS, IDS)
        for name in FRAME_TERMS:
            assert one[name][0] == whole[name][row], name
    assert len(set(whole["sum_drift"])) == 3


@pytest.mark.parametrize("n", [16, 17, 20, 51])
@pytest.mark.parametrize("cells", [1, 3, 7, 10**4])
def test_blocks_change_no_bit(n: int, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    target, prediction, last = (one.astype(np.float16) for one in pair(3, 7, n))
    monkeypatch.setattr(module, "BLOCK_CELLS", 21 * n**2)
    terms, per_frame = frame_terms(target, prediction, last, CHECKS, IDS)
    monkeypatch.setattr(module, "BLOCK_CELLS", cells * n**2)
    monkeypatch.setattr(module, "SSIM_CELLS", 2 * cells * n**2)
    others, other_frames = frame_terms(target, prediction, last, CHECKS, IDS)
    for name, value in {**terms, **per_frame}.items():
        assert value.tobytes() == {**others, **other_frames}[name].tobytes(), name


def test_every_block_is_visited_once() -> None:
    for samples, frames, n in [(5, 3, 64), (2, 70, 64), (40, 1, 256), (1, 1, 512), (9, 16, 64)]:
        seen = np.zeros((samples, frames), dtype=int)
        for part in module._parts(samples, frames, n):
            seen[part] += 1
            assert seen[part].size * n**2 <= max(module.BLOCK_CELLS, n**2)
        assert (seen == 1).all()


def test_slices_of_longer_arrays_are_taken_as_they_are() -> None:
    target, prediction, last = pair(2, 6, 16)
    cut, _ = frame_terms(target[:, 1:5], prediction[:, 1:5], last, CHECKS, IDS)
    copied, _ = frame_terms(target[:, 1:5].copy(), prediction[:, 1:5].copy(), last, CHECKS, IDS)
    assert all(np.array_equal(cut[name], copied[name]) for name in FRAME_TERMS)


@pytest.mark.parametrize("name", IDS)
def test_only_what_is_wanted_is_computed(name: str) -> None:
    target, prediction, last = pair(2, 3, 16)
    terms, per_frame = frame_terms(target, prediction, last, CHECKS, [name, "rmse"])
    needed = {term for term in METRICS[name].terms if term in FRAME_TERMS}
    present = {term for term in FRAME_TERMS if not np.isnan(terms[term]).any()}
    assert present == needed | {"frames"}
    assert np.isnan(per_frame["ssim"]).all() == (name != "ssim")
    assert not np.isnan(per_frame["squared_error"]).any()
    whole, _ = frame_terms(target, prediction, last, CHECKS, IDS)
    assert all(np.array_equal(terms[term], whole[term]) for term in present)


def test_what_is_not_declared_is_not_a_number() -> None:
    terms, _ = frame_terms(*pair(2, 3, 16), FrameChecks(low=0, high=1), IDS)
    missing = {term for term in FRAME_TERMS if np.isnan(terms[term]).all()}
    assert missing == {"sum_rises", "sum_grain_count", "sum_grain_area"}


def test_metrics_are_declared_like_all_others() -> None:
    assert set().union(*(one.terms for one in FRAME_METRICS)) - {"n"} == set(FRAME_TERMS)
    assert [one.id for one in FRAME_METRICS if one.higher_is_better] == ["ssim"]
    assert [one.id for one in FRAME_METRICS if one.unit is None] == ["composition_drift"]
    assert all(len(one.definition) <= 100 for one in FRAME_METRICS)


def test_shapes_that_do_not_fit_are_refused() -> None:
    target, prediction, last = pair(2, 3, 16)
    for wrong in (
        (target, prediction[:, :2], last),
        (target, prediction, last[:1]),
        (target[0], prediction[0], last),
        (target[..., :8], prediction[..., :8], last),
    ):
        with pytest.raises(ValueError, match=r"are not of shapes \(samples, frames, n, n\)"):
            frame_terms(*wrong, CHECKS, IDS)


def test_frames_smaller_than_a_window_have_no_ssim() -> None:
    with pytest.raises(UserError, match="ssim needs frames of at least 7 x 7 values, not 6 x 6"):
        frame_terms(*pair(1, 2, 6), CHECKS, ["ssim"])
    target, prediction, _ = pair(1, 2, 7)
    assert score("ssim", target, prediction) == pytest.approx(
        np.mean([slow_ssim(*two) for two in zip(target[0], prediction[0], strict=True)]), rel=1e-10
    )
    terms, _ = frame_terms(*pair(1, 2, 6), CHECKS, ["length_error"])
    assert np.isfinite(terms["sum_length"]).all()


def test_scipy_is_loaded_on_use_only() -> None:
    code = "import sys, etchmark.targets.frames.metrics; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"scipy", "torch", "skimage", "pydantic"} & set(done.stdout.split())


# --- values too large --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [(np.float16, 1e4), (np.float16, -6e4), (np.float32, 3e38), (np.float64, 1e300)],
)
@pytest.mark.parametrize("pattern", ["uniform", "one cell", "stripes", "random"])
def test_extreme_predictions_are_bad_and_never_not_a_number(
    kind: type, value: float, pattern: str
) -> None:
    target, _, last = pair(1, 3, 16)
    shares = {
        "uniform": np.ones(target.shape),
        "one cell": np.arange(256).reshape(16, 16) == 77,
        "stripes": np.arange(16) % 4 < 2,
        "random": np.random.default_rng(5).uniform(-1, 1, target.shape),
    }
    prediction = (value * np.broadcast_to(shares[pattern], target.shape)).astype(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        terms, per_frame = frame_terms(target, prediction, last, CHECKS, IDS)
    for name, found in {**terms, **per_frame}.items():
        assert not np.isnan(found).any(), name
        assert kind is np.float64 or np.isfinite(found).all(), name
    assert terms["sum_ssim"][0] < 3 * 0.9
    assert (per_frame["squared_error"] > 1e4).all()
    assert terms["sum_beyond"][0] >= 3
    assert terms["sum_drift"][0] > 1
    assert terms["sum_rises"][0] >= 1
    assert pattern == "uniform" or terms["sum_structure"][0] > 300


def test_energies_too_large_to_be_compared_count_as_rises() -> None:
    frames = np.full((3, 8, 8), 1e300)
    frames[:, 0, 0] = -1e300
    assert score("energy_rises", frames, frames, np.zeros((8, 8))) == 100.0


# --- structural similarity ---------------------------------------------------------------------


@pytest.mark.parametrize("n", [7, 8, 33, 64])
def test_ssim_is_that_of_scikit_image(n: int) -> None:
    peer = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    generator = np.random.default_rng(n)
    truth = generator.random((9, n, n))
    scales = np.array([0, 0.01, 0.1, 0.5, 1, 3, 10, 100, 1e4])[:, None, None]
    given = truth + scales * generator.standard_normal(truth.shape)
    expected = [
        peer.structural_similarity(one, other, data_range=1.0)
        for one, other in zip(truth, given, strict=True)
    ]
    np.testing.assert_allclose(ssim(truth, given), expected, rtol=0, atol=1e-10)


def test_ssim_of_uniform_frames() -> None:
    # Without variance only the means count: (2 a b + C1) / (a² + b² + C1).
    found = score("ssim", np.full((9, 9), 0.5), np.full((9, 9), 0.2))
    assert found == pytest.approx((0.2 + 1e-4) / (0.29 + 1e-4), rel=1e-10)


def test_ssim_of_inverted_contrast() -> None:
    frame = evolution(1, 1, 32)[0, 0] / 2
    assert score("ssim", 0.5 + frame, 0.5 - frame) < 0
    # Around zero it is taken for good, since means and covariances both change sign.
    assert score("ssim", frame, -frame) > 0.8


def test_a_huge_value_spoils_only_windows_that_hold_it() -> None:
    truth = evolution(1, 1, 32)
    given = truth[0].copy()
    given[0, 0, 0] = 3e38
    # Of 26 x 26 windows one holds the corner; it is worth nothing.
    assert ssim(truth[0], given)[0] == pytest.approx(1 - 1 / 26**2, rel=1e-6)


# --- structure factor and length ---------------------------------------------------------------


def stripes(n: int, waves: int, amplitude: float = 1.0, shift: float = 0.0) -> np.ndarray:
    phase = 2 * np.pi * waves * (np.arange(n) + shift) / n
    return np.tile(amplitude * np.sin(phase), (n, 1))


def test_shifted_and_turned_stripes_have_the_same_structure() -> None:
    frame = 0.3 + stripes(32, 4)
    for other in (np.roll(frame, 3, axis=1), frame.T, -frame, frame - 5):
        assert score("structure_factor_error", frame, other) == pytest.approx(0, abs=1e-9)
        assert score("length_error", frame, other) == pytest.approx(0, abs=1e-9)


def test_structure_of_weaker_and_of_finer_stripes() -> None:
    frame = stripes(32, 4)
    # Half the amplitude has a quarter of the power.
    assert score("structure_factor_error", frame, frame / 2) == pytest.approx(75, rel=1e-9)
    assert score("length_error", frame, frame / 2) == pytest.approx(0, abs=1e-9)
    # All power in another shell; powers are shared among the waves of a shell, 24 and 48 of them.
    members = [
        sum(round(np.hypot(i, j)) == k for i in range(-15, 17) for j in range(-15, 17))
        for k in (4, 8)
    ]
    expected = 100 * (1 + members[0] / members[1])
    assert score("structure_factor_error", frame, stripes(32, 8)) == pytest.approx(expected)
    # Half as long, twice as long.
    assert score("length_error", frame, stripes(32, 8)) == pytest.approx(50, rel=1e-9)
    assert score("length_error", frame, stripes(32, 2)) == pytest.approx(100, rel=1e-9)


@pytest.mark.parametrize("n", [16, 17])
def test_uniform_frames_have_no_structure(n: int) -> None:
    frame, uniform = stripes(n, 2), np.full((n, n), 0.3)
    # Not one digit of rounding may be taken for structure.
    assert score("structure_factor_error", frame, uniform) == 100.0
    assert score("structure_factor_error", uniform, frame) == 100.0
    assert score("structure_factor_error", uniform, uniform - 0.1) == 0.0
    # Uniform frames count as twice the side of the cell.
    assert score("length_error", frame, uniform) == pytest.approx(300, rel=1e-9)
    assert score("length_error", uniform, frame) == pytest.approx(75, rel=1e-9)
    assert score("length_error", uniform, uniform - 0.1) == 0.0
    # Even beside the longest wave there is.
    assert score("length_error", stripes(n, 1), uniform) == pytest.approx(100, rel=1e-9)


# --- composition, range and energy -------------------------------------------------------------


def test_drift_is_counted_from_the_last_frame_given() -> None:
    last = np.full((8, 8), 0.5)
    frames = np.stack([last + 0.1, last - 0.3])
    # The target has no say in it.
    assert score("composition_drift", frames, frames, last) == pytest.approx(0.2)
    assert score("composition_drift", frames, np.stack([last, last]), last) == 0.0


def test_range_holds_its_ends() -> None:
    frames = np.zeros((2, 8, 8))
    frames[0, 0, :4] = [-1.1, 1.1, np.nextafter(1.1, 2), np.nextafter(-1.1, -2)]
    assert score("out_of_range", np.zeros_like(frames), frames) == pytest.approx(100 * 2 / 128)


@pytest.mark.parametrize("n", [16, 17])
def test_energy_of_a_sine_wave(n: int) -> None:
    energy = FreeEnergy(
        coefficients=[0.5, 0.0, 3.0],
        gradient_energy=0.7,
        spacing=0.25,
        scale=2.0,
        offset=-0.1,
        tolerance=0.0,
    )
    waves, amplitude, mean = 3, 0.6, 0.4
    field = mean + stripes(n, waves, amplitude, shift=0.3)
    centre, half = 2 * mean - 0.1, (2 * amplitude) ** 2 / 2
    wave = 2 * np.pi * waves / (n * 0.25)
    expected = n**2 * (0.5 + 3 * (centre**2 + half) + 0.35 * wave**2 * half)
    assert free_energy(field[None], energy)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [16, 17])
def test_energy_is_that_of_the_solver(n: int) -> None:
    torch = pytest.importorskip("torch", reason="torch (extra `simulate`) is not installed")
    from etchmark.simulation.phase_field import CahnHilliard, Polynomial

    energy = FreeEnergy(
        coefficients=[0.1, 0.2, -0.5, 0.3, 0.25], gradient_energy=0.7, spacing=0.5, tolerance=0
    )
    well = Polynomial(energy.coefficients)
    solver = CahnHilliard(n, well, spacing=0.5, gradient_energy=0.7, dt=0.01)
    # With noise at the highest frequency too.
    field = np.random.default_rng(3).standard_normal((4, n, n))
    values = torch.from_numpy(field)
    expected = solver.free_energy(values, solver.basis.forward(values)).numpy()
    # The solver's is an integral, ours a sum over cells.
    np.testing.assert_allclose(0.25 * free_energy(field, energy), expected, rtol=1e-12)


def test_rises_start_from_the_last_frame_given() -> None:
    low, middle, high = (stripes(16, 1, amplitude) for amplitude in (0.9, 0.6, 0.3))
    energies = free_energy(np.stack([low, middle, high]), WELL)
    assert (np.diff(energies) > 0.1 * energies[:-1]).all()

    def rises(last: np.ndarray, *frames: np.ndarray) -> float:
        stacked = np.stack(frames)
        return score("energy_rises", stacked, stacked, last) * len(frames) / 100

    assert rises(high, middle, low) == 0
    assert rises(low, middle, high) == 2
    assert rises(low, high, middle) == 1
    assert rises(low, middle, low, high, high) == 2
    assert rises(middle, middle) == 0


@pytest.mark.parametrize("level", [1.0, -1.0])
def test_rises_within_the_tolerance_do_not_count(level: float) -> None:
    # Energies of uniform frames, positive or negative: level + c² / 100 per cell.
    energy = FreeEnergy(coefficients=[level, 0, 0.01], gradient_energy=1, tolerance=1e-3)
    checks = FrameChecks(low=0, high=1, energy=energy)
    last = np.zeros((8, 8))
    for value, expected in [(0.31, 0.0), (0.32, 100.0)]:  # 0.00096 and 0.00102
        frame = np.full((1, 8, 8), value)
        assert score("energy_rises", frame, frame, last, checks) == expected


# --- grains ------------------------------------------------------------------------------------


def disks(n: int, *centres: tuple[float, float], radius: float = 3.2) -> np.ndarray:
    """Disks of value 1 on 0, periodic."""
    cells = np.arange(n)
    field = np.zeros((n, n))
    for row, column in centres:
        down, right = ((cells - one + n / 2) % n - n / 2 for one in (row, column))
        field[down[:, None] ** 2 + right**2 <= radius**2] = 1.0
    return field


INSIDE = [(10, 10), (10, 22), (22, 10), (22, 22)]


@pytest.mark.parametrize(
    ("centres", "count"),
    [
        (INSIDE, 4),
        ([(0, 16)], 1),
        ([(16, 0)], 1),
        ([(31, 31)], 1),
        ([(0, 0), (0, 16), (16, 0), (16, 16)], 4),
        ([(0, 4), (0, 12), *INSIDE[2:]], 4),
    ],
)
def test_disks_across_edges_and_corners_are_one(
    centres: list[tuple[float, float]], count: int
) -> None:
    frame, one = disks(32, *centres), disks(32, (16, 16))
    assert score("grain_count_error", one, frame) == count - 1
    assert score("grain_area_error", one, frame) == pytest.approx(100 * (1 - 1 / count))
    assert score("grain_area_error", frame, one) == pytest.approx(100 * (count - 1))


def test_grains_of_consecutive_frames_do_not_touch() -> None:
    # The same disks in every frame, and a frame without any between two.
    frames = np.stack([disks(32, *INSIDE)] * 3 + [np.zeros((32, 32)), disks(32, (0, 0))])
    truth = np.stack([disks(32, (16, 16))] * 5)
    terms, _ = frame_terms(truth[None], frames[None], truth[:1], CHECKS, IDS)
    assert terms["sum_grain_count"].tolist() == [3 + 3 + 3 + 1 + 0]


def test_corners_do_not_connect_and_small_grains_do_not_count() -> None:
    frame = np.zeros((16, 16))
    frame[2:4, 2:4] = frame[4:6, 4:6] = 1
    assert score("grain_count_error", disks(16, (8, 8)), frame) == 1
    # Four cells at the corners of the frame are one grain of four.
    frame = np.zeros((16, 16))
    frame[::15, ::15] = 1
    for most, count in [(4, 1), (5, 0)]:
        checks = FrameChecks(low=0, high=1, grains=GrainRule(above=0.5, min_pixels=most))
        assert score("grain_count_error", np.zeros((16, 16)), frame, checks=checks) == count


def test_a_grain_is_above_the_value_not_at_it() -> None:
    checks = FrameChecks(low=0, high=1, grains=GrainRule(above=0.1, min_pixels=1))
    one = disks(16, (8, 8))
    # 0.1 as float16 is less than 0.1, and the next float16 is more.
    half = np.float16(0.1)
    for value, error in [(half, 1.0), (np.nextafter(half, np.float16(1)), 0.0)]:
        frame = (one * value).astype(np.float16)
        assert score("grain_count_error", one, frame, checks=checks) == error


def test_frames_without_grains_count_as_grains_of_two_cells() -> None:
    none, one, four = np.zeros((32, 32)), disks(32, (16, 16)), disks(32, *INSIDE)
    assert score("grain_area_error", one, none) == pytest.approx(100)
    assert score("grain_area_error", four, none) == pytest.approx(700)
    assert score("grain_area_error", none, four) == pytest.approx(87.5)
    assert score("grain_area_error", none, none) == 0
    assert score("grain_count_error", none, four) == 4
    assert score("grain_count_error", four, none) == 4
    # One grain that fills the frame.
    assert score("grain_area_error", none + 1, one) == 0
