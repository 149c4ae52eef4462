"""Families: what is drawn from their ranges, and that a sample can be made from it again."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from etchmark.simulation import families, microstructures, morphologies
from etchmark.simulation.microstructures import generator_of

SQUARE = (64, 64)
FIELD = {"fraction": [0.3, 0.7]}
FAMILIES: dict[str, dict[str, Any]] = {
    "gaussian": {**FIELD, "width": [2, 4]},
    "isotropic_field": {**FIELD, "width": [2, 4]},
    "two_scale_field": {**FIELD, "fine": [2, 3], "coarse": [5, 8], "share": [0.4, 0.6]},
    "tilted_field": {**FIELD, "width": [2, 3], "aspect": [2, 4]},
    "lamellae": {**FIELD, "period": [10.5, 20], "faults": [2, 3]},
    "spinodal": {**FIELD, "wavelength": [8, 16]},
    "voronoi": {**FIELD, "cells": [10, 40]},
    "cell_walls": {"cells": [5, 9], "width": [3, 4]},
    "strips": {"share": [0.1, 0.3], "width": [3, 4]},
    "cuboids": {"rows": [2, 3], "channel": [3, 5]},
    "overlapping_disks": {**FIELD, "radius": [3, 8]},
    "rings": {"packing": [0.3, 0.4], "radius": [7, 9], "thickness": [3, 4]},
    "aligned_fibres": {
        "fraction": [0.2, 0.3],
        "width": [3, 4],
        "aspect": [4, 6],
        "scatter_degrees": 4,
    },
    "spheres": {"fraction": [0.2, 0.4], "radius": [4, 6]},
    "ellipses": {"fraction": [0.2, 0.3], "radius": [4, 6], "aspect": [1.5, 3]},
    "clustered_disks": {
        "fraction": [0.15, 0.25],
        "radius": [3, 4],
        "crowding": 0.38,
        "width": 8,
    },
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_parameters_are_within_their_ranges_and_the_polarity_is_obeyed(kind: str) -> None:
    family = {"morphology": kind, **FAMILIES[kind]}
    for seed in range(8):
        stiff, drawn = families.draw(SQUARE, {**family, "stiff": True}, generator_of(1, seed))
        soft, same = families.draw(SQUARE, {**family, "stiff": False}, generator_of(1, seed))
        assert {**same, "stiff_inclusions": True} == {**drawn, "stiff_inclusions": True}
        np.testing.assert_array_equal(soft, 1 - stiff)
        assert json.loads(json.dumps(drawn)) == drawn
        for name, limits in FAMILIES[kind].items():
            value = drawn.get("inclusions" if name == "fraction" else name)
            if isinstance(limits, list) and isinstance(value, float | int):
                assert limits[0] <= value <= limits[1]


def test_stored_parameters_are_those_that_were_used() -> None:
    """They are rounded before, not after: the generator's later numbers make the same sample."""
    sample, drawn = families.draw(
        SQUARE, {"morphology": "cell_walls", **FAMILIES["cell_walls"]}, generator_of(2)
    )
    generator = generator_of(2)
    families.count(generator, (5, 9))
    families.uniform(generator, (3, 4))
    again = morphologies.cell_walls(SQUARE, drawn["cells"], drawn["width"], generator)
    np.testing.assert_array_equal(sample, again)


def test_waves_of_lamellae_have_their_period_and_faults_cross_them() -> None:
    family = {"morphology": "lamellae", **FAMILIES["lamellae"]}
    faults = set()
    for seed in range(40):
        _, drawn = families.draw(SQUARE, family, generator_of(3, seed))
        wave, fault = drawn["wave"], drawn["fault"]
        assert 10.5 <= 64 / np.hypot(*wave) <= 20
        cross = abs(wave[0] * fault[1] - wave[1] * fault[0])
        assert cross >= 0.5 * np.hypot(*wave) * np.hypot(*fault) - 1e-9
        faults.add(tuple(fault))
    assert len(faults) == 4


def test_strips_cross_at_thirty_degrees_or_more() -> None:
    family = {"morphology": "strips", **FAMILIES["strips"]}
    pairs = set()
    for seed in range(60):
        _, drawn = families.draw(SQUARE, family, generator_of(4, seed))
        (a, b), (c, d) = drawn["directions"]
        assert abs(a * d - b * c) >= 0.5 * np.hypot(a, b) * np.hypot(c, d) - 1e-9
        pairs.add(((a, b), (c, d)))
    assert len(pairs) > 10


def test_inclusions_without_a_polarity_are_stiff_or_soft_by_a_draw() -> None:
    family = {"morphology": "spheres", **FAMILIES["spheres"]}
    drawn = [families.draw(SQUARE, family, generator_of(5, seed)) for seed in range(20)]
    polarities = [parameters["stiff_inclusions"] for _, parameters in drawn]
    assert 4 < sum(polarities) < 16
    for sample, parameters in drawn:
        marked = microstructures.polarity(sample, parameters["stiff_inclusions"])
        assert marked.mean() == pytest.approx(parameters["inclusions"], abs=0.01)


def test_an_unknown_morphology_is_named() -> None:
    with pytest.raises(ValueError, match="'foam' must be one of"):
        families.draw(SQUARE, {"morphology": "foam"}, generator_of(6))
