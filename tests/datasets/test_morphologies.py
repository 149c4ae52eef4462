"""The sixteen morphologies of composites: folds, polarities, geometry, and labels within bounds."""

from __future__ import annotations

import importlib.util
import itertools
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from runs import shortest_run

from etchmark.catalog import Catalog
from etchmark.columns import Columns
from etchmark.data import building
from etchmark.data.shards import BuildContext
from etchmark.simulation import bounds

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "datasets" / "composites"
SPEC = Catalog(ROOT).dataset("composites")
CONFIGS = [name for name in SPEC.configs if name.startswith("2d-morphologies-")]
FOLDS = [
    ("isotropic_field", "two_scale_field"),
    ("anisotropic_field", "faulted_lamellae"),
    ("spinodal", "cahn_hilliard"),
    ("disks", "clustered_disks"),
    ("random_ellipses", "aligned_fibres"),
    ("overlapping_disks", "rings"),
    ("cell_walls", "crossing_strips"),
    ("voronoi", "cuboids"),
]
ANISOTROPIC = {
    "anisotropic_field",
    "faulted_lamellae",
    "aligned_fibres",
    "crossing_strips",
    "cuboids",
}
# Each generator keeps its strips, walls or channels (0: of the phase that is not marked) so wide.
LEAST_WIDTH = {("cell_walls", 1): 3, ("crossing_strips", 1): 3, ("cuboids", 0): 3}


class Samples(NamedTuple):
    """Microstructure and parameters of some samples of each morphology."""

    config: str
    drawn: dict[str, list[tuple[np.ndarray, dict[str, Any]]]]


@pytest.fixture(scope="module")
def module() -> Any:
    spec = importlib.util.spec_from_file_location("composites_build", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def planned(module: Any, config: str) -> list[Any]:
    return module.shards(BuildContext(FOLDER, config, SPEC.parameters, offline=True))


@pytest.fixture(scope="module", params=[name for name in CONFIGS if not name.endswith("refined")])
def samples(request: pytest.FixtureRequest, module: Any) -> Samples:
    """The first two samples of each morphology of a config, one of either polarity."""
    drawn: dict[str, list[tuple[np.ndarray, dict[str, Any]]]] = {}
    for shard in planned(module, request.param):
        if shard.payload["start"] == 0:
            few = module._samples({**shard.payload, "rows": 2})
            drawn[shard.payload["name"]] = [(image, parameters) for _, image, parameters in few]
    return Samples(request.param, drawn)


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Columns:
    """All columns of the small config."""
    options = building.BuildOptions(out=tmp_path_factory.mktemp("mini") / "build")
    build = building.build(Catalog(ROOT), "composites", "2d-morphologies-mini", options)
    return Columns([build.folder / file.path for file in build.manifest.files])


@pytest.mark.parametrize("config", CONFIGS)
def test_eight_folds_hold_two_related_morphologies_each(module, config):
    folds: dict[int, dict[str, int]] = {}
    for shard in planned(module, config):
        rows = folds.setdefault(shard.payload["family"], {})
        rows[shard.payload["name"]] = rows.get(shard.payload["name"], 0) + shard.rows
    assert {fold: tuple(rows) for fold, rows in folds.items()} == dict(enumerate(FOLDS))
    assert len({count for rows in folds.values() for count in rows.values()}) == 1


def test_no_fold_holds_a_morphology_of_another(mini):
    held = set(zip(mini["fold_morphology"].tolist(), mini["morphology"].tolist(), strict=True))
    assert held == {(fold, name) for fold, pair in enumerate(FOLDS) for name in pair}
    assert mini["fold_morphology"].dtype == mini["fold_iid"].dtype == np.int32


def test_both_polarities_are_equally_frequent_everywhere(mini):
    counts = Counter(
        zip(mini["morphology"], mini["fold_iid"].tolist(), mini["polarity"], strict=True)
    )
    names = [name for pair in FOLDS for name in pair]
    assert counts == dict.fromkeys(itertools.product(names, range(5), ("stiff", "soft")), 1)


def test_polarity_says_which_phase_is_stiff(mini):
    """Inclusions, walls and rings fill less than the rest here; fields may fill either half."""
    sparse = ("disks", "clustered_disks", "random_ellipses", "aligned_fibres", "rings")
    for name, polarity, image in zip(
        mini["morphology"], mini["polarity"], mini["microstructure"], strict=True
    ):
        if name in sparse:
            assert (image.mean() < 0.5) == (polarity == "stiff")


def test_labels_lie_within_the_bounds_that_hold(mini):
    assert (mini["c1111"] > mini["reuss"]).all()
    assert (mini["c1111"] < mini["voigt"]).all()
    assert (mini["stiffness"][:, 0, 0] == mini["c1111"]).all()
    assert np.linalg.eigvalsh(mini["stiffness"]).min() > 0
    anisotropic = np.isin(mini["morphology"].astype(str), sorted(ANISOTROPIC))
    sides = bounds.hashin_shtrikman(mini["fraction"], mini["contrast"], 0.3, 2)
    for name, values in zip(("lower", "upper"), sides, strict=True):
        column = mini[f"hashin_shtrikman_{name}"]
        assert (np.isnan(column) == anisotropic).all()
        np.testing.assert_allclose(column[~anisotropic], values[~anisotropic])


def test_samples_depend_on_their_key_alone_and_are_as_declared(module, samples):
    cells = SPEC.parameters[samples.config]["cells"]
    low, high = SPEC.parameters[samples.config]["contrast"]
    assert set(samples.drawn) == {name for pair in FOLDS for name in pair}
    for shard in planned(module, samples.config):
        if shard.payload["start"] > 0:
            continue
        pair = samples.drawn[shard.payload["name"]]
        for image, drawn in pair:
            assert image.shape == (cells, cells)
            assert image.dtype == np.uint8
            assert low <= drawn["contrast"] <= high
        # The second sample, made without the first.
        _, alone, _ = next(iter(module._samples({**shard.payload, "start": 1, "rows": 1})))
        assert alone.tobytes() == pair[1][0].tobytes()


def test_fields_are_cut_at_the_volume_fraction_they_were_drawn_with(samples):
    """To one pixel, since they are cut by rank."""
    exact = ("isotropic_field", "two_scale_field", "anisotropic_field", "spinodal")
    for name in (*exact, "cahn_hilliard", "overlapping_disks", "voronoi"):
        for image, drawn in samples.drawn[name]:
            stiff = drawn["seed"][-1] % 2 == 0
            count = round(drawn["fraction"] * image.size)
            assert image.sum() == (count if stiff else image.size - count)


def test_strips_walls_and_channels_are_at_least_three_pixels_wide(samples):
    for (name, phase), least in LEAST_WIDTH.items():
        for image, drawn in samples.drawn[name]:
            marked = image if drawn["seed"][-1] % 2 == 0 else 1 - image
            assert shortest_run(marked if phase else 1 - marked) >= least


def test_borders_of_the_cell_are_no_boundaries(mini):
    """Neighbours across the border differ as often as inside, over all morphologies."""
    images = mini["microstructure"]
    for axis in (1, 2):
        changes = images != np.roll(images, 1, axis)
        border = changes.take(0, axis).mean(axis=1)
        excess = border - changes.mean(axis=(1, 2))
        assert abs(excess.mean()) < 4 * excess.std() / np.sqrt(len(excess))


def test_frozen_labels_lie_between_voigt_and_reuss(samples):
    """The first samples of each morphology."""
    table = pq.read_table(FOLDER / "labels" / f"{samples.config}.parquet", columns=["id", "c11"])
    labels = dict(zip(table["id"].to_pylist(), table["c11"].to_pylist(), strict=True))
    for name, drawn in samples.drawn.items():
        for number, (image, parameters) in enumerate(drawn):
            at = (image.mean(), parameters["contrast"], 0.3, 2)
            assert bounds.reuss(*at) < labels[f"{name}-{number:05d}"] < bounds.voigt(*at)


def test_the_card_states_the_discretisation_error(module):
    """Median and range of each morphology, and of all, as the frozen labels give them."""
    table = pq.read_table(FOLDER / "labels" / "2d-morphologies-refined.parquet")
    values = np.stack([table[f"c1111_split_{parts}"].to_numpy() for parts in (1, 3, 5)], axis=1)
    errors = [100 * (row[0] / module._extrapolated(list(row), (1, 3, 5))[0] - 1) for row in values]
    names = [key.rsplit("-", 1)[0].replace("_", " ") for key in table["id"].to_pylist()]
    assert Counter(names) == dict.fromkeys((n.replace("_", " ") for p in FOLDS for n in p), 10)
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name in (*dict.fromkeys(names), "all"):
        own = [error for error, of in zip(errors, names, strict=True) if name in (of, "all")]
        low, middle, high = np.percentile(own, [5, 50, 95])
        assert f"| {name} | {middle:+.2f} | {low:+.2f} to {high:+.2f} |" in card
