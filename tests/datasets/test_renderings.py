"""Renderings: families that two numbers do not tell apart, each structure rendered once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from etchmark.catalog import Catalog
from etchmark.columns import Columns
from etchmark.data import building

ROOT = Path(__file__).resolve().parents[2]
CONTENT = Catalog(ROOT)
SPEC = CONTENT.dataset("renderings")
CONDITIONS = list(SPEC.parameters["conditions"])
FAMILIES = list(SPEC.parameters["families"])


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Columns:
    options = building.BuildOptions(out=tmp_path_factory.mktemp("mini") / "build")
    build = building.build(CONTENT, "renderings", "micrographs-mini", options)
    return Columns([build.folder / file.path for file in build.manifest.files])


def test_every_family_occurs_equally_often_under_every_condition(mini: Columns) -> None:
    pairs = zip(mini["morphology"].tolist(), mini["condition"].tolist(), strict=True)
    assert Counter(pairs) == {(family, name): 3 for family in FAMILIES for name in CONDITIONS}
    assert len(CONDITIONS) == 16


def test_folds_hold_whole_conditions_and_no_structure_occurs_twice(mini: Columns) -> None:
    held = set(zip(mini["fold_condition"].tolist(), mini["condition"].tolist(), strict=True))
    assert held == set(enumerate(CONDITIONS))
    structures = {image.tobytes() for image in mini["microstructure"]}
    assert len(structures) == len(mini["id"])


def test_fractions_and_interfaces_are_those_of_the_structures_and_in_range(mini: Columns) -> None:
    phases = mini["microstructure"]
    np.testing.assert_allclose(mini["fraction"], phases.mean(axis=(1, 2)))
    unlike = sum((phases != np.roll(phases, 1, axis)).mean(axis=(1, 2)) for axis in (1, 2))
    np.testing.assert_allclose(mini["interface"], unlike)
    low, high = SPEC.parameters["micrographs-mini"]["interface"]
    tolerance = SPEC.parameters["tolerance"]
    assert unlike.min() >= low * (1 - tolerance)
    assert unlike.max() <= high * (1 + tolerance)


def test_two_numbers_name_the_families_no_better_than_chance(mini: Columns) -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_predict

    numbers = np.stack([mini["fraction"], mini["interface"]], axis=1)
    forest = RandomForestClassifier(200, min_samples_leaf=3, random_state=0)
    named = cross_val_predict(forest, numbers, mini["morphology"], cv=5)
    # Of 240, chance is 48 with a standard deviation of 6.
    assert (named == mini["morphology"]).sum() < 48 + 3 * 6.2


def test_the_bright_phase_is_the_marked_one_in_all_conditions_but_inverted(mini: Columns) -> None:
    for picture, phase, condition in zip(
        mini["micrograph"], mini["microstructure"], mini["condition"], strict=True
    ):
        marked, rest = picture[phase == 1].mean(), picture[phase == 0].mean()
        assert (marked < rest) == (condition == "inverted")
