"""What a run took, and the unit in which runs on different machines compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from etchmark.specs.base import Count, Record

Seconds = Annotated[float, Field(ge=0)]
ABSENT_IF_UNKNOWN = (
    "cpu_seconds", "total_parameters", "reference_seconds", "reference_cpu_seconds",
    "cpu_seconds_each",
)  # fmt: skip
"""Keys that the JSON of a record lacks where they are unknown, as older records do."""


def reference_units(seconds: float | None, reference: Sequence[float] | None) -> float | None:
    """Processor time in multiples of a fixed piece of work on the same machine.

    The divisor is the processor time of the reference workload on one thread, the mean of what it
    took before and after the run. Its wall time would not do: on a busy machine a process waits
    for a core, so that the workload took 4 times as long on the clock beside three other programs,
    but only 5 % more processor time. Nor would its processor time on several threads: threads that
    wait for others spin, which counted for up to 60 % of it.

    Args:
        seconds: processor time of ``fit`` and ``predict``, or of another piece of the same run.
        reference: processor time of the workload before and after, ``Cost.reference_cpu_seconds``.

    Returns:
        The quotient; None where either is unknown, or the workload took no time that was noticed.
    """
    if seconds is None or not reference:
        return None
    mean = sum(reference) / len(reference)
    return seconds / mean if mean > 0 else None


class Cost(Record):
    """What a run took; unknown parts are null.

    ``feature_seconds`` is what computing the frozen features of all samples took, whenever that
    was; ``fit_seconds`` is without it, ``predict_seconds`` with the part of the predicted samples.
    ``seconds_each`` is the time of prediction of one sample, or of one frame where frames are
    predicted; ``flops`` are the floating-point operations of the same, counted by the harness where
    torch can, else as the model says. All of these seconds are wall time.

    ``cpu_seconds`` is the processor time of ``fit`` and ``predict`` in all folds, summed over cores
    and over the processes that they started; frozen features, the start of the interpreter, imports
    at the head of ``model.py``, counting, saving and scoring are left out. ``cpu_seconds_each`` is
    the processor time of what ``seconds_each`` is the wall time of, unknown where frozen features
    are part of it. ``parameters`` are those that were fitted, ``total_parameters`` all that a
    prediction depends on. ``reference_seconds`` is what a fixed piece of work took on the same
    machine, before and after the run; ``reference_cpu_seconds`` is the processor time of the same
    work on one thread, unknown where an accelerator did the model's work. These five are absent
    from records that do not know them.
    """

    fit_seconds: float | None = Field(default=None, ge=0)
    predict_seconds: float | None = Field(default=None, ge=0)
    peak_memory_bytes: Count | None = None
    parameters: Count | None = None
    hardware: str | None = None
    feature_seconds: float | None = Field(default=None, ge=0)
    seconds_each: float | None = Field(default=None, ge=0)
    flops: float | None = Field(default=None, ge=0)
    cpu_seconds: float | None = Field(default=None, ge=0)
    total_parameters: Count | None = None
    reference_seconds: tuple[Seconds, Seconds] | None = None
    reference_cpu_seconds: tuple[Seconds, Seconds] | None = None
    cpu_seconds_each: float | None = Field(default=None, ge=0)

    @property
    def reference_units(self) -> float | None:
        """``cpu_seconds`` in reference units."""
        return reference_units(self.cpu_seconds, self.reference_cpu_seconds)

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A record that was stored before these keys existed is written as it was.
        dumped = handler(self)
        for name in ABSENT_IF_UNKNOWN:
            if dumped.get(name, ...) is None:
                del dumped[name]
        return dumped
