"""Costs of a record, and the unit in which those of different machines compare."""

from __future__ import annotations

import math

import pytest

from etchmark.specs import Cost, reference_units
from etchmark.specs.costs import ABSENT_IF_UNKNOWN


def test_a_unit_is_the_mean_processor_time_of_the_workload() -> None:
    assert reference_units(6.0, (1.0, 2.0)) == 4.0
    cost = Cost(cpu_seconds=6.0, reference_seconds=(9.0, 9.0), reference_cpu_seconds=(1.0, 2.0))
    assert cost.reference_units == 4.0


@pytest.mark.parametrize(
    "cost",
    [
        Cost(reference_cpu_seconds=(1.0, 2.0)),
        # Wall time of the workload is no measure of processor time.
        Cost(cpu_seconds=6.0, reference_seconds=(1.0, 2.0)),
        Cost(cpu_seconds=6.0, reference_cpu_seconds=(0.0, 0.0)),
    ],
)
def test_without_both_there_are_no_units(cost: Cost) -> None:
    assert cost.reference_units is None


def test_no_work_costs_nothing() -> None:
    units = reference_units(0.0, (1.0, 1.0))
    assert units is not None
    assert math.isclose(units, 0.0)


def test_what_is_unknown_is_absent_from_the_json() -> None:
    assert not set(ABSENT_IF_UNKNOWN) & set(Cost(fit_seconds=1.0).model_dump())
    cost = Cost(cpu_seconds_each=0.5, reference_cpu_seconds=(1.0, 2.0))
    stored = cost.model_dump(mode="json")
    assert stored["cpu_seconds_each"] == 0.5
    assert stored["reference_cpu_seconds"] == [1.0, 2.0]
    assert Cost.model_validate_json(cost.model_dump_json()) == cost
