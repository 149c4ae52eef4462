"""Metrics of predicted frames: what an error per value does not tell of an evolving microstructure.

Each is the sum of one term over frames, divided by the number of frames (or of values), so that
scores, splits and bootstrap resamples follow from per-sample sums as for every other metric.

Frames are square and periodic, shape (n, n), lengths are in cells. Everything is computed in double
precision, a block of frames at a time; how frames fall into blocks changes no bit of a result. What
overflows becomes infinite, never NaN, and the caller refuses the score for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etchmark.errors import UserError
from etchmark.targets.definitions import Metric
from etchmark.targets.losses import Array, Sums, term_loss
from etchmark.targets.scales import LOG, LOGIT, LOGIT_PERCENT, Scale

if TYPE_CHECKING:
    from etchmark.specs import FrameChecks, FreeEnergy

FRAME_TERMS = (
    "frames", "sum_ssim", "sum_structure", "sum_length", "sum_drift", "sum_rises",
    "sum_grain_count", "sum_grain_area", "sum_beyond",
)  # fmt: skip
"""Per-sample terms: number of frames; sums over frames of the SSIM, of the errors of structure
factor and characteristic length in %, of the drift of the mean, of frames whose free energy rose,
of the error of the number of grains and of that of their mean area in %; number of values outside
the admissible range. NaN where a metric is not asked for or what it needs is not declared."""

BLOCK_CELLS, SSIM_CELLS = 2**16, 2**14
"""Cells worked on at once, and by the SSIM: its many passes run in the processor's own cache."""

WINDOW = 7
"""Cells per side of the windows of the SSIM."""


def _mean(
    name: str,
    title: str,
    unit: str | None,
    term: str,
    definition: str,
    *,
    higher_is_better: bool = False,
    scale: Scale = LOG,
) -> Metric:
    """A metric that is the mean of a term over frames, or that share in per cent."""
    factor = 100.0 if scale is LOGIT_PERCENT else 1.0

    def finish(s: Sums) -> Array:
        return factor * s[term] / s["frames"]

    loss = term_loss(term, sign=-1.0 if higher_is_better else 1.0)
    terms = (term, "frames")
    return Metric(
        name, title, unit, higher_is_better, finish, definition, terms, scale=scale, loss=loss
    )


def _out_of_range(s: Sums) -> Array:
    return 100.0 * s["sum_beyond"] / s["n"]


FRAME_METRICS = (
    _mean(
        "ssim", "Structural similarity (SSIM)", "1", "sum_ssim",
        "mean SSIM of the frames: windows of 7 × 7, data range 1, K₁ = 0.01, K₂ = 0.03",
        higher_is_better=True, scale=LOGIT,
    ),
    _mean(
        "structure_factor_error", "Error of the structure factor", "%", "sum_structure",
        "mean over frames of 100 Σₖ|Ŝ(k)-S(k)| / Σₖ S(k), S averaged over shells k = 1 … n/2",
    ),
    _mean(
        "length_error", "Error of the characteristic length", "%", "sum_length",
        "mean over frames of 100 |L̂-L| / L, L = 2π/⟨k⟩, ⟨k⟩ = Σ k S(k) / Σ S(k)",
    ),
    _mean(
        "composition_drift", "Drift of the mean composition", None, "sum_drift",
        "mean over frames of |mean of the predicted frame - mean of the last frame given|",
    ),
    _mean(
        "energy_rises", "Frames in which the free energy rises", "%", "sum_rises",
        "share of predicted frames with more free energy than the frame before, beyond a tolerance",
        scale=LOGIT_PERCENT,
    ),
    _mean(
        "grain_count_error", "Error of the number of grains", "grains", "sum_grain_count",
        "mean over frames of |N̂-N|, N the number of periodic grains",
    ),
    _mean(
        "grain_area_error", "Error of the mean grain area", "%", "sum_grain_area",
        "mean over frames of 100 |Â-A| / A, A the area of the cell over the number of grains",
    ),
    Metric(
        "out_of_range", "Predicted values outside the admissible range", "%", False, _out_of_range,
        "share of predicted values below the least or above the greatest admissible value",
        ("sum_beyond", "n"), scale=LOGIT_PERCENT, loss=term_loss("sum_beyond"),
    ),
)  # fmt: skip
"""``n`` is the number of values among ``values.VALUE_TERMS``."""


def frame_terms(
    target: NDArray[Any],
    prediction: NDArray[Any],
    last: NDArray[Any],
    checks: FrameChecks,
    wanted: Collection[str],
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Terms of each sample, and errors of each frame.

    Args:
        target: shape (samples, frames, n, n), any float type, in the target's unit.
        prediction: the same shape and unit.
        last: the last frame given to the model, shape (samples, n, n).
        checks: what the benchmark declares of frames.
        wanted: ids of metrics; those that are none of ``FRAME_METRICS`` are left to others.

    Returns:
        One array of shape (samples,) per name in ``FRAME_TERMS``, and of each frame the mean
        ``squared_error`` and the ``ssim`` (NaN unless wanted), shape (samples, frames).

    Raises:
        ValueError: the shapes do not fit.
        UserError: the frames are smaller than the windows of a wanted SSIM.
    """
    samples, frames, n, across = (*target.shape, *(0,) * 4)[:4]
    fits = target.ndim == 4 and prediction.shape == target.shape and n == across
    if not fits or last.shape != (samples, n, n):
        raise ValueError(
            f"target {target.shape}, prediction {prediction.shape} and last frame {last.shape} are"
            " not of shapes (samples, frames, n, n), the same, and (samples, n, n)"
        )
    names = _quantities(checks, wanted)
    if "ssim" in names and n < WINDOW:
        raise UserError(
            f"ssim needs frames of at least {WINDOW} x {WINDOW} values, not {n} x {n}; remove it"
            " from metrics"
        )
    values = {name: np.empty((samples, frames)) for name in names}
    # What overflows is found below.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for part in _parts(samples, frames, n):
            truth, predicted = _fields(target[part]), _fields(prediction[part])
            for name, term in _of_block(truth, predicted, checks, names).items():
                values[name][part] = term.reshape(values[name][part].shape)
        if "drift" in names:
            values["drift"] = np.abs(values["drift"] - _of_each(last, _means)[:, None])
        if checks.energy is not None and "rises" in names:
            before = _of_each(last, partial(free_energy, energy=checks.energy))
            values["rises"] = _rises(values["rises"], before, checks.energy.tolerance)
        for term in values.values():
            # NaN means not asked for; an error too large to have a value is infinite.
            term[np.isnan(term)] = np.inf
        sums = {f"sum_{name}": term.sum(axis=1) for name, term in values.items()}
    sums["frames"] = np.full(samples, float(frames))
    terms = {name: sums.get(name, np.full(samples, np.nan)) for name in FRAME_TERMS}
    similarity = values.get("ssim", np.full((samples, frames), np.nan))
    return terms, {"squared_error": values["squared_error"], "ssim": similarity}


def _quantities(checks: FrameChecks, wanted: Collection[str]) -> set[str]:
    """Names of the terms, less ``sum_``, that are wanted and can be had; and the squared error."""
    terms = {term for metric in FRAME_METRICS if metric.id in wanted for term in metric.terms}
    names = {term.removeprefix("sum_") for term in terms.intersection(FRAME_TERMS)} - {"frames"}
    if checks.energy is None:
        names.discard("rises")
    if checks.grains is None:
        names -= {"grain_count", "grain_area"}
    return {*names, "squared_error"}


def _parts(samples: int, frames: int, n: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of samples and frames: many samples of few frames, or some frames of one sample."""
    limit = max(1, BLOCK_CELLS // n**2)
    rows = max(1, limit // max(1, frames))
    for row in range(0, samples, rows):
        for frame in range(0, frames, limit):
            yield slice(row, row + rows), slice(frame, frame + limit)


def _fields(values: NDArray[Any]) -> Array:
    """A block of frames as float64, shape (frames, n, n)."""
    return np.ascontiguousarray(values, dtype=np.float64).reshape(-1, *values.shape[-2:])


def _of_each(fields: NDArray[Any], quantity: Callable[[Array], Array]) -> Array:
    """A quantity of every field of shape (samples, n, n), block by block."""
    blocks = _parts(len(fields), 1, fields.shape[-1])
    parts = [quantity(_fields(fields[rows])) for rows, _ in blocks]
    return np.concatenate([np.empty(0), *parts])


def _of_block(
    truth: Array, predicted: Array, checks: FrameChecks, names: Collection[str]
) -> dict[str, Array]:
    """Values of each frame, shape (frames,): mean for ``drift`` and free energy for ``rises``."""
    from etchmark import descriptors

    error = predicted - truth
    error *= error
    values = {"squared_error": _means(error)}
    if "ssim" in names:
        values["ssim"] = ssim(truth, predicted)
    if "drift" in names:
        values["drift"] = _means(predicted)
    if "beyond" in names:
        beyond = (predicted < checks.low) | (predicted > checks.high)
        values["beyond"] = np.count_nonzero(beyond, axis=(1, 2)).astype(np.float64)
    power = None
    if {"structure", "length"} & {*names}:
        spectra = [descriptors.power_spectrum(one) for one in (truth, predicted)]
        power, n = spectra[1], truth.shape[-1]
        shells = [descriptors.structure_factor(one) for one in spectra]
        lengths = [descriptors.characteristic_length(one, n) for one in shells]
        values["structure"] = structure_error(*shells)
        values["length"] = _percentage(*lengths)
    if checks.energy is not None and "rises" in names:
        values["rises"] = free_energy(predicted, checks.energy, power)
    if checks.grains is not None and {"grain_count", "grain_area"} & {*names}:
        rule = checks.grains
        grains = (truth > rule.above, predicted > rule.above)
        counts = [descriptors.count_components(one, rule.min_pixels) for one in grains]
        values["grain_count"] = np.abs(counts[1] - counts[0])
        values["grain_area"] = _percentage(*map(_grain_area, counts))
    return {name: value for name, value in values.items() if name in names}


def _means(fields: Array) -> Array:
    return fields.reshape(len(fields), -1).mean(axis=1)


def _percentage(true: Array, predicted: Array) -> Array:
    """Absolute error in % of the true value."""
    return 100.0 * np.abs(predicted - true) / true


def _rises(energy: Array, before: Array, tolerance: float) -> Array:
    """1 where a frame has more free energy than the one before; shapes (samples, frames)."""
    earlier = np.concatenate([before[:, None], energy[:, :-1]], axis=1)
    rises = energy > earlier + tolerance * np.abs(earlier)
    # An energy that is too large to be compared has risen.
    return (rises | ~np.isfinite(energy)).astype(np.float64)


# --- structural similarity ---------------------------------------------------------------------


def ssim(truth: Array, predicted: Array) -> Array:
    """Mean structural similarity of pairs of frames whose values range over 1; shape (frames,).

    Windows of 7 x 7 equal weights that lie inside the frame, sample covariances, K1 = 0.01 and
    K2 = 0.03, as in scikit-image. Meant for values that are not negative: to invert a field of
    values around zero changes the signs of local mean and covariance, but not of their product.

    Source: Wang, Bovik, Sheikh & Simoncelli, IEEE Trans. Image Process. 13 (2004) 600,
    DOI 10.1109/TIP.2003.819861.
    """
    limit = max(1, SSIM_CELLS // truth[0].size)
    parts = [slice(at, at + limit) for at in range(0, len(truth), limit)]
    return np.concatenate([_ssim(truth[part], predicted[part]) for part in parts])


def _ssim(truth: Array, predicted: Array) -> Array:
    count, n, _ = truth.shape
    fields = np.empty((4, truth.size))
    x, y, squares, product = fields
    x[:], y[:] = truth.ravel(), predicted.ravel()
    np.multiply(x, y, out=product)
    np.multiply(x, x, out=squares)
    squares += y * y
    x, y, squares, product = _window_sums(fields, n)
    # Means are sums / w, covariances (sum of products - product of sums / w) / (w - 1); all four
    # factors of the similarity are multiplied by what makes them free of divisions.
    window = WINDOW**2
    first, second = 0.01**2 * window**2, 0.03**2 * window * (window - 1)
    products = 2.0 * x * y
    lengths = x * x
    lengths += y * y
    similarity = np.empty(truth.size)
    inside = similarity[: len(x)]
    np.multiply(product, 2.0 * window, out=inside)
    inside -= products
    inside += second
    products += first
    inside *= products
    squares *= window
    squares -= lengths
    squares += second
    lengths += first
    squares *= lengths
    inside /= squares
    windows = n - WINDOW + 1
    means = _means(np.ascontiguousarray(similarity.reshape(count, n, n)[:, :windows, :windows]))
    # Rounding of huge values may lead beyond the limits that the similarity has; what is too large
    # to have one is as bad as can be.
    return np.where(np.isfinite(means), np.clip(means, -1.0, 1.0), -np.inf)


def _window_sums(fields: Array, n: int) -> Array:
    """Sums over the window that starts at each value; shape (fields, fewer values).

    Rows and frames follow one another without a gap, so that a window is one shift after the other
    of the same flat array. Windows that reach over an edge hold sums of no meaning. Nothing is
    carried along from one window to the next, so a huge value spoils no window but its own.
    """
    for step in (1, n):
        pairs = fields[:, :-step] + fields[:, step:]
        size = fields.shape[1] - 6 * step
        sums = pairs[:, :size] + pairs[:, 2 * step : 2 * step + size]
        sums += pairs[:, 4 * step : 4 * step + size]
        sums += fields[:, 6 * step :]
        fields = sums
    return fields


# --- spectra and grains -------------------------------------------------------------------------


def structure_error(true: Array, predicted: Array) -> Array:
    """100 sum of |S^ - S| / sum of S over shells, shape (frames,), in %.

    Where the true frame is uniform, its structure factor is zero: the error is then 100 % unless
    the predicted frame is uniform too.
    """
    total = true.sum(axis=1)
    total = np.where(total > 0, total, predicted.sum(axis=1))
    difference = np.abs(predicted - true).sum(axis=1)
    return np.where(total == 0, 0.0, 100.0 * difference / total)


def free_energy(fields: Array, energy: FreeEnergy, power: Array | None = None) -> Array:
    """Total free energy of each frame, shape (frames,), as ``specs.FreeEnergy`` defines it.

    Args:
        fields: shape (frames, n, n).
        energy: its definition.
        power: of the fields, from ``descriptors.power_spectrum``, if it is known.
    """
    from etchmark import descriptors

    composition = energy.scale * fields + energy.offset
    *rest, highest = energy.coefficients
    density = np.full_like(fields, highest)
    for coefficient in reversed(rest):
        density *= composition
        density += coefficient
    if energy.gradient_energy is None:
        raise ValueError("the gradient energy is a sample's own: give the free energy `of` it")
    power = descriptors.power_spectrum(fields) if power is None else power
    gradient = (energy.scale / energy.spacing) ** 2 * descriptors.squared_gradient(power)
    local = density.reshape(len(fields), -1).sum(axis=1)
    return local + 0.5 * energy.gradient_energy * gradient


def _grain_area(count: Array) -> Array:
    """Mean grain area as a share of the cell's: its inverse number.

    Without any grain it is that of two cells: an error of at least 100 % if it is predicted.
    """
    return 1.0 / np.where(count == 0, 0.5, count)
