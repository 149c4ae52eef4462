"""The composites: what is planned, what is frozen, and that both are what the card says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from etchmark.catalog import Catalog
from etchmark.columns import Columns
from etchmark.data import building, release
from etchmark.data.labels import (
    FrozenLabels,
    frozen_table,
    read_labels,
    shards_of,
    unmerged_folder,
)
from etchmark.data.shards import BuildContext
from etchmark.simulation import families, microstructures
from etchmark.simulation.rotations import rotate_stiffness, rotate_volume
from etchmark.specs import BenchmarkSpec
from etchmark.targets.array import equivariance_terms

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "datasets" / "composites"
PARAMETERS = yaml.safe_load((FOLDER / "dataset.yaml").read_text())["parameters"]
SPEC = Catalog(ROOT).dataset("composites")
EXTRA = ("stiff_spheres", "soft_spheres", "fibres_x", "fibres_z", "spinodal")


@pytest.fixture(scope="module")
def module() -> Any:
    spec = importlib.util.spec_from_file_location("composites_build", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def context(config: str) -> BuildContext:
    return BuildContext(FOLDER, config, PARAMETERS, offline=True)


def frozen(config: str) -> dict[str, np.ndarray]:
    """Columns of a config's frozen labels, of the shards that are there."""
    path = frozen_table(FOLDER, config)
    files = [path] if path.exists() else sorted(unmerged_folder(FOLDER, config).iterdir())
    table = pa.concat_tables(pq.read_table(file).replace_schema_metadata() for file in files)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def drawn(module: Any, config: str) -> dict[str, float]:
    """Volume fraction asked for by id, without making the microstructures of random fields."""
    found = {}
    for shard in module.shards(context(config)):
        payload = shard.payload
        if payload["sample"]["morphology"] != "gaussian" or isinstance(payload["contrast"], list):
            continue
        orientations = payload.get("turns", {"orientations": 1})["orientations"]
        for row in range(payload["start"], payload["start"] + payload["rows"]):
            number = row // orientations
            generator = microstructures.generator_of(payload["seed"], payload["key"], number)
            fraction = families.uniform(generator, payload["sample"]["fraction"])
            found[f"{payload['name']}-{row:05d}"] = fraction
    return found


@pytest.mark.parametrize("config", SPEC.configs)
def test_plan_is_what_is_declared(module, config):
    planned = module.shards(context(config))
    assert sum(shard.rows for shard in planned) == SPEC.configs[config].rows
    assert list(dict.fromkeys(shard.split for shard in planned)) == SPEC.configs[config].splits
    assert len({shard.name for shard in planned}) == len(planned)


def test_published_sizes(module):
    rows: dict[str, int] = {}
    for shard in module.shards(context("3d-full")):
        rows[shard.split] = rows.get(shard.split, 0) + shard.rows
    assert rows == {"train": 4248, "validation": 1062, "test": 590, **dict.fromkeys(EXTRA, 200)}


def test_no_two_samples_share_a_key(module):
    keys = [
        (shard.payload["key"], number)
        for config in SPEC.configs
        if "of" not in PARAMETERS[config]
        for shard in module.shards(context(config))
        for number in range(shard.payload["start"], shard.payload["start"] + shard.rows)
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("config", SPEC.configs)
def test_frozen_labels_are_those_of_the_plan(module, config):
    planned = {shard.name: shard for shard in module.shards(context(config))}
    path = frozen_table(FOLDER, config)
    if not path.exists():
        # Still being computed: each shard that is there is one of the plan.
        assert release.frozen_fingerprint(FOLDER, config) is None
        finished = {file.stem: file for file in unmerged_folder(FOLDER, config).iterdir()}
        assert finished
        for name, file in finished.items():
            assert read_labels(file, planned[name]).num_rows == planned[name].rows
        return
    stored = {shard.name: shard for shard in shards_of(pq.read_table(path), path)}
    own = [name for name in planned if name in stored]
    assert list(stored) == own
    assert all(stored[name].digest == planned[name].digest for name in own)
    assert release.frozen_fingerprint(FOLDER, config) is not None
    for shard in planned.values():
        source = FrozenLabels(FOLDER).find(config, shard)
        assert source is not None
        assert source.path in (path, frozen_table(FOLDER, shard.labels_of or config))


def test_frozen_tensors_are_those_of_the_volumes_and_within_bounds(module):
    """Equal to the labels of `3d-full`, symmetric, definite, between Voigt's and Reuss's bounds."""
    tensors, full = frozen("3d-tensors"), frozen("3d-full")
    at = {name: row for row, name in enumerate(full["id"])}
    rows = [at[name] for name in tensors["id"]]
    assert len(set(rows)) == SPEC.configs["3d-tensors"].rows
    for name in ("c11", "hash"):
        assert tensors[name].tolist() == full[name][rows].tolist()
    matrices = tensors_of(tensors)
    fraction = drawn(module, "3d-full")
    known = [row for row, name in enumerate(tensors["id"]) if name in fraction]
    assert len(known) == 1062 + 590
    share = [round(fraction[tensors["id"][row]] * 51**3) / 51**3 for row in known]
    check_bounds(matrices[known], np.array(share), 50.0)
    assert np.linalg.eigvalsh(matrices).min() > 0


def tensors_of(labels: dict[str, np.ndarray]) -> np.ndarray:
    """Voigt matrices of a table of labels, shape (rows, 6, 6)."""
    matrices = np.zeros((len(labels["id"]), 6, 6))
    for i, j in zip(*np.triu_indices(6), strict=True):
        matrices[:, i, j] = matrices[:, j, i] = labels[f"c{i + 1}{j + 1}"]
    return matrices


def check_bounds(matrices: np.ndarray, fraction: np.ndarray, contrast: float) -> None:
    """As quadratic forms, each tensor lies between Reuss's and Voigt's bound."""
    soft, stiff = (isotropic(young, 0.3) for young in (1.0, contrast))
    for matrix, share in zip(matrices, fraction, strict=True):
        voigt = share * stiff + (1 - share) * soft
        reuss = np.linalg.inv(share * np.linalg.inv(stiff) + (1 - share) * np.linalg.inv(soft))
        assert np.linalg.eigvalsh(voigt - matrix).min() > -1e-6
        assert np.linalg.eigvalsh(matrix - reuss).min() > -1e-6


def isotropic(young: float, nu: float) -> np.ndarray:
    """Stiffness in Voigt's notation with engineering shear strains."""
    shear = young / (2 * (1 + nu))
    lame = young * nu / ((1 + nu) * (1 - 2 * nu))
    stiffness = np.diag([2 * shear] * 3 + [shear] * 3)
    stiffness[:3, :3] += lame
    return stiffness


@pytest.mark.parametrize("size", [name for name in SPEC.configs if "3d-stiffness-" in name])
def test_volumes_with_tensors_are_those_of_the_config_with_c1111(module, size):
    """The same microstructures and C1111; random fields are within Voigt's and Reuss's bounds."""
    labels = frozen(size)
    scalar = frozen(PARAMETERS[size]["of"])
    at = {name: row for row, name in enumerate(scalar["id"])}
    own = [row for row, name in enumerate(labels["id"]) if not name.startswith("rotated")]
    rows = [at[name] for name in labels["id"][own]]
    assert labels["hash"][own].tolist() == scalar["hash"][rows].tolist()
    # Solved in another run: rounding in single precision may end an iteration a step apart.
    np.testing.assert_allclose(labels["c11"][own], scalar["c11"][rows], rtol=1e-7)
    matrices, fraction = tensors_of(labels), drawn(module, size)
    assert np.linalg.eigvalsh(matrices).min() > 0
    known = [row for row, name in enumerate(labels["id"]) if name in fraction]
    cells = PARAMETERS[PARAMETERS[size]["of"]]["cells"] ** 3
    share = [round(fraction[labels["id"][row]] * cells) / cells for row in known]
    check_bounds(matrices[known], np.array(share), 50.0)


@pytest.mark.slow
def test_frozen_tensors_of_every_morphology_are_within_bounds(module):
    """Also of those whose volume fraction is known only once the volume is made."""
    labels = frozen("3d-tensors")
    matrices = dict(zip(labels["id"], tensors_of(labels), strict=True))
    for shard in module.shards(context("3d-tensors")):
        if shard.split in EXTRA:
            for name, cells, drawn_with in module._samples(shard.payload):
                share = np.array([cells.mean()])
                check_bounds(matrices[name][None], share, drawn_with["contrast"])


def test_tensors_of_every_morphology_are_within_bounds_and_turn_with_the_volume(home):
    build = building.build(Catalog(ROOT), "composites", "3d-stiffness-mini")
    assert build.manifest.fingerprint == release.frozen_fingerprint(FOLDER, "3d-stiffness-mini")
    splits: dict[str, Columns] = {}
    for split in SPEC.configs["3d-stiffness-mini"].splits:
        paths = [build.folder / file.path for file in build.manifest.files if file.split == split]
        splits[split] = rows = Columns(paths)
        assert (rows["stiffness"][:, 0, 0] == rows["c1111"]).all()
        check_bounds(rows["stiffness"], rows["fraction"], 50.0)
    test, rotated = splits["test"], splits["rotated"]
    ids = test["id"].tolist()
    assert rotated["source"].tolist() == [name for name in ids for _ in range(2)]
    turns = rotated["rotation"]
    assert turns.dtype == np.int8
    for first, second in zip(turns[::2], turns[1::2], strict=True):
        # Two different orientations, neither of them that of the test split.
        assert len({turn.tobytes() for turn in (np.eye(3, dtype=np.int8), first, second)}) == 3
    for row, turn in enumerate(turns):
        source = ids.index(rotated["source"][row])
        cells = rotate_volume(test["microstructure"][source], turn)
        np.testing.assert_array_equal(rotated["microstructure"][row], cells)
        # Solved on its own, so that this tells of the solver, not of how labels were made.
        expected = rotate_stiffness(test["stiffness"][source], turn)
        np.testing.assert_allclose(rotated["stiffness"][row], expected, atol=1e-5)
    terms = equivariance_terms(rotated["stiffness"][None], turns, rotated["source"].astype(str))
    assert terms["oriented"].all()
    assert terms["sum_equivariance"].max() < 1e-5
    for name in SPEC.configs["3d-stiffness-mini"].splits[:-1]:
        assert (splits[name]["source"] == splits[name]["id"]).all()
        assert (splits[name]["rotation"] == np.eye(3)).all()


@pytest.mark.parametrize("config", ["3d-mini", "2d-mini", "2d-morphologies-mini"])
def test_build_equals_the_release(config, home):
    made = building.build(Catalog(ROOT), "composites", config)
    assert made.difference is None
    assert made.manifest.fingerprint == release.frozen_fingerprint(FOLDER, config)
    labels = frozen(config)
    for file in made.manifest.files:
        columns = Columns([made.folder / file.path])
        cells = columns["microstructure"]
        measured = cells.reshape(len(cells), -1).mean(axis=1)
        np.testing.assert_allclose(columns["fraction"], measured)
        assert (columns["c1111"] >= columns["reuss"]).all()
        assert (columns["c1111"] <= columns["voigt"]).all()
        by_id = dict(zip(labels["id"], labels["c11"], strict=True))
        assert [by_id[name] for name in columns["id"]] == columns["c1111"].tolist()
        if config == "3d-mini":
            np.testing.assert_array_equal(columns["section_y"], cells[:, :, 0, :])
        drawn_with = [json.loads(text) for text in columns["parameters"]]
        assert [one["contrast"] for one in drawn_with] == columns["contrast"].tolist()


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("3d-full", "train-000"),
        ("2d-full", "ellipses-000"),
        ("2d-mini", "voronoi-000"),
        ("2d-morphologies-full", "cahn_hilliard-000"),
        ("2d-morphologies-full", "crossing_strips-000"),
    ],
)
def test_labels_are_made_again(module, config, name):
    """Three samples of a frozen shard: same voxels, same label to 1e-6."""
    pytest.importorskip("torch", reason="torch (extra `simulate`) is not installed")
    shard = next(one for one in module.shards(context(config)) if one.name == name)
    few = type(shard)(shard.name, shard.split, 3, {**shard.payload, "rows": 3})
    again = module.labels(context(config), few)
    kept = read_labels(frozen_table(FOLDER, config), shard).slice(0, 3)
    assert again.column("id").to_pylist() == kept.column("id").to_pylist()
    assert again.column("hash").to_pylist() == kept.column("hash").to_pylist()
    np.testing.assert_allclose(again.column("c11"), kept.column("c11"), rtol=1e-6)
    # Ended by the residual of the release, not by the tolerance that is usual today.
    iterations = np.array(again.column("iterations")), np.array(kept.column("iterations"))
    assert np.abs(iterations[0] - iterations[1]).max() <= 1


def test_the_volume_fraction_alone_does_not_solve_it(module):
    """With one small width for all axes it would (R² 0.996); the set would be too easy."""
    labels, fraction = frozen("3d-full"), drawn(module, "3d-full")
    chosen = [row for row, name in enumerate(labels["id"]) if name in fraction]
    x = np.array([fraction[labels["id"][row]] for row in chosen])
    y = labels["c11"][chosen]
    fit, held = slice(None, None, 2), slice(1, None, 2)
    prediction = np.exp(np.polyval(np.polyfit(x[fit], np.log(y[fit]), 3), x[held]))
    r2 = 1 - ((prediction - y[held]) ** 2).sum() / ((y[held] - y[held].mean()) ** 2).sum()
    assert 0.6 < r2 < 0.9
    assert 20 < 100 * np.abs(prediction / y[held] - 1).mean() < 40


@pytest.mark.parametrize("splits", [(1, 2, 3), (1, 3, 5)])
@pytest.mark.parametrize("order", [0.6, 1.0, 1.7])
def test_extrapolation_finds_limit_and_order(module, order, splits):
    values = [7.0 + 0.2 * parts**-order for parts in splits]
    limit, found = module._extrapolated(values, splits)
    assert limit == pytest.approx(7.0, abs=1e-9)
    assert found == pytest.approx(order, abs=1e-6)


def test_extrapolation_without_an_order_is_of_the_first(module):
    limit, order = module._extrapolated([7.0, 7.2, 7.1], (1, 2, 3))
    assert (limit, order) == (pytest.approx(3 * 7.1 - 2 * 7.2), 1.0)
    assert module._extrapolated([7.0, 7.0, 7.0], (1, 3, 5)) == (7.0, 1.0)
    assert module._extrapolated([7.3, 7.1], (1, 3)) == (pytest.approx(7.0), 1.0)
    limit, order = module._extrapolated([7.0, 7.2, 7.1], (1, 3, 5))
    assert (limit, order) == (pytest.approx(7.1 - (7.2 - 7.1) / (1 / 3 - 1 / 5) / 5), 1.0)


def errors_of_labels(module, config: str, splits: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a config on their own grid, and extrapolated from its refined grids."""
    labels = frozen(config)
    values = np.stack([labels[f"c1111_split_{parts}"] for parts in splits], axis=1)
    limits = np.array([module._extrapolated(list(row), splits)[0] for row in values])
    return values[:, 0], limits


def boards_of_composites() -> list[BenchmarkSpec]:
    """The newest version of each benchmark of these data, and the older ones."""
    content = Catalog(ROOT)
    older = [path.stem for path in (ROOT / "benchmarks" / "old").glob("*.yaml")]
    specs = [content.benchmark(name) for name in (*content.benchmark_names(), *older)]
    return [spec for spec in specs if spec.dataset == "composites"]


@pytest.mark.parametrize("spec", boards_of_composites(), ids=lambda spec: spec.key)
def test_discretisation_error_of_the_boards_is_measured(module, spec):
    """Size and signed distribution on each board are those of its refined labels."""
    stated = spec.discretisation_error
    assert stated is not None
    shown = stated.distribution
    assert shown is not None
    assert stated.source_file is not None
    labels, limits = errors_of_labels(module, Path(stated.source_file).stem, shown.refinements)
    errors = labels - limits if "component" in stated.metric else 100 * (labels / limits - 1)
    ends = np.percentile(errors, [5, 50, 95])
    assert (shown.percentile_5, shown.median, shown.percentile_95) == pytest.approx(ends, rel=0.02)
    assert stated.value == pytest.approx(np.abs(errors).mean(), rel=0.005)
    assert shown.samples == len(errors)
    smallest = spec.smallest_difference
    if smallest is not None and smallest.value is not None:
        assert smallest.value == stated.value


def test_the_first_order_alone_overstates_the_error(module):
    """Volumes have two grids only; on images, which have three, the card compares the rules."""
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    sizes = []
    for splits in ([1, 3], [1, 3, 5]):
        labels, limits = errors_of_labels(module, "2d-refined", splits)
        sizes.append(100 * np.abs(labels / limits - 1).mean())
    assert f"{sizes[0]:.2f} % by this rule and {sizes[1]:.2f} % with three grids" in card
    assert sizes[0] > sizes[1]


@pytest.mark.parametrize("config", ["3d-refined", "2d-refined"])
def test_the_card_states_the_discretisation_error(module, config):
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    splits = SPEC.parameters[config]["refined"]
    labels, limits = errors_of_labels(module, config, splits)
    errors = 100 * (labels / limits - 1)
    low, middle, high = np.percentile(errors, [5, 50, 95])
    grids = ", ".join(map(str, splits))
    row = f"| `{config}` | {len(errors)} | {grids} | {middle:+.2f} | {low:+.2f} to {high:+.2f} |"
    assert f"{row} {np.abs(errors).mean():.2f} |" in card
