"""What a forecast reads of its samples: known frames, horizon, and numbers told beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from etchmark.errors import UserError
from etchmark.model import Inputs, Samples


def context_of(inputs: Inputs, at_least: int = 1) -> np.ndarray:
    """The known frames, shape (samples, frames, n, n), as stored.

    Args:
        inputs: inputs of a model, with ``context``.
        at_least: minimum number of frames.

    Raises:
        ValueError: they have another shape, are too few, or are not finite floats.
    """
    frames = np.asarray(inputs["context"])
    if frames.ndim != 4 or frames.shape[2] != frames.shape[3]:
        raise ValueError(f"context of shape {frames.shape} is not (samples, frames, n, n)")
    if frames.dtype.kind != "f":
        raise ValueError(f"context holds {frames.dtype}, not floats")
    if frames.shape[1] < at_least:
        raise ValueError(f"context has {frames.shape[1]} frames and wants at least {at_least}")
    if not np.isfinite(frames).all():
        raise ValueError("context holds values that are not finite")
    return frames


def horizon_of(inputs: Inputs) -> int:
    """Number of frames to forecast.

    Raises:
        ValueError: it is not the same positive whole number for all samples.
    """
    horizons = np.unique(np.asarray(inputs["horizon"]))
    if len(horizons) != 1 or horizons.dtype.kind not in "iu" or horizons[0] < 1:
        raise ValueError(f"horizon must be one positive whole number, not {horizons[:5].tolist()}")
    return int(horizons[0])


def intervals_of(inputs: Inputs, rows: int) -> np.ndarray:
    """Time between frames, shape (samples,), float64.

    Raises:
        ValueError: it is not a positive finite number for each sample.
    """
    intervals = np.asarray(inputs["frame_spacing"], dtype=np.float64)
    if intervals.shape != (rows,) or not (np.isfinite(intervals) & (intervals > 0)).all():
        raise ValueError(
            f"frame_spacing must be a positive finite number for each of {rows} samples"
        )
    return intervals


def require_told(inputs: Inputs, names: Iterable[str]) -> None:
    """Refuse a track that lacks an input.

    Raises:
        UserError: it does; names the input and what the track has.
    """
    for name in names:
        if name not in inputs:
            raise UserError(
                f"the model reads {name}, which this track does not tell (it has"
                f" {', '.join(inputs)}); choose a track that does, or another variant"
            )


def told_of(inputs: Inputs, scales: Mapping[str, str]) -> np.ndarray | None:
    """Numbers that are told beside the frames, shape (samples, numbers), float32.

    Args:
        inputs: inputs of a model.
        scales: ``linear`` or ``log``, by the name of the input; None is returned for no name.

    Raises:
        UserError: an input is not on the track.
        ValueError: one is not a finite number per sample, or has no logarithm.
    """
    if not scales:
        return None
    if odd := set(scales.values()) - {"linear", "log"}:
        raise ValueError(f"the scale {min(odd)!r} of an input must be linear or log")
    require_told(inputs, scales)
    columns = []
    for name, scale in scales.items():
        values = np.asarray(inputs[name], dtype=np.float64)
        if values.shape != (len(inputs["context"]),) or not np.isfinite(values).all():
            raise ValueError(f"{name} must be one finite number for each sample")
        if scale == "log" and not (values > 0).all():
            raise ValueError(f"{name} must be positive: its logarithm is read")
        columns.append(np.log(values) if scale == "log" else values)
    return np.stack(columns, axis=1).astype(np.float32)


def trajectories(samples: Samples) -> np.ndarray:
    """Context and target joined, shape (samples, frames, n, n).

    Raises:
        ValueError: their shapes do not fit together, or the target is not finite.
    """
    context, target = context_of(samples.inputs), np.asarray(samples.target)
    rows, _, *side = context.shape
    if target.ndim != 4 or (len(target), *target.shape[2:]) != (rows, *side):
        raise ValueError(f"target of shape {target.shape} does not follow {context.shape}")
    if not np.isfinite(target).all():
        raise ValueError("target holds values that are not finite")
    return np.concatenate([context, target], axis=1)
