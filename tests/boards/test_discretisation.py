"""The discretisation error of labels, in words."""

from __future__ import annotations

from etchmark.boards.discretisation import discretisation_in_words
from etchmark.specs import DiscretisationError

MEASURED = {"metric": "mape", "value": 0.387, "description": "Of some\n  images."}
SPREAD = {
    "median": -0.13,
    "percentile_5": -1.02,
    "percentile_95": 0.5,
    "samples": 1160,
    "refinements": [1, 3, 5],
}


def words(unit: str, **declared: object) -> str:
    return discretisation_in_words(DiscretisationError.model_validate(declared), unit)


def test_a_signed_distribution_is_said_with_its_samples_and_grids() -> None:
    assert words("%", **MEASURED, distribution=SPREAD) == (
        "mape 0.387 %; label by label −1.02 % … +0.5 % (5 to 95 %), median −0.13 %; from 1,160"
        " labels with voxels split into 1, 3, 5 parts along each axis. Of some images."
    )


def test_a_size_alone() -> None:
    assert words("1", **MEASURED) == "mape 0.387. Of some images."


def test_what_is_unknown_is_said_to_be() -> None:
    assert words("1", unknown="nobody measured it") == "unknown: nobody measured it"
