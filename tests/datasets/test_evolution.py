"""The evolution sequences: what is planned, what is frozen, and frames equal on every machine."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

pytest.importorskip("torch", reason="torch is not installed")

from etchmark.catalog import Catalog
from etchmark.columns import Columns
from etchmark.data import building, release
from etchmark.data.labels import FrozenLabels, frozen_table, shards_of
from etchmark.data.shards import BuildContext, Shard
from etchmark.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "datasets" / "evolution"
PARAMETERS = yaml.safe_load((FOLDER / "dataset.yaml").read_text())["parameters"]
SPEC = Catalog(ROOT).dataset("evolution")
STEP = PARAMETERS["step"]
MINIS = ["spinodal-mini", "grain-growth-mini", "spinodal-varied-mini", "grain-growth-varied-mini"]
VARIED = [name for name in SPEC.configs if "varied" in name and "refined" not in name]
OUTSIDE = {"density": "grains"}
"""What an extra split is outside the range of, where it is not called so."""


@pytest.fixture(scope="module")
def module() -> Any:
    spec = importlib.util.spec_from_file_location("evolution_build", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def context(config: str, **more: Any) -> BuildContext:
    return BuildContext(FOLDER, config, PARAMETERS, offline=True, **more)


def shard_of(module: Any, config: str, name: str) -> Shard:
    return next(one for one in module.shards(context(config)) if one.name == name)


# --- the plan and the release ------------------------------------------------------------------


@pytest.mark.parametrize("config", SPEC.configs)
def test_plan_is_what_is_declared(module: Any, config: str) -> None:
    planned = module.shards(context(config))
    assert sum(shard.rows for shard in planned) == SPEC.configs[config].rows
    assert list(dict.fromkeys(shard.split for shard in planned)) == SPEC.configs[config].splits
    assert len({shard.name for shard in planned}) == len(planned)


@pytest.mark.parametrize("variant", ["spinodal", "grain-growth"])
def test_frames_of_each_split(module: Any, variant: str) -> None:
    found = {
        shard.split: shard.payload["frames"] for shard in module.shards(context(f"{variant}-full"))
    }
    extra = [name for name in found if name not in ("train", "validation", "test", "long")]
    assert len(extra) == 2
    expected = {"train": 60, "validation": 60, "test": 100, "long": 200}
    assert found == {**expected, **dict.fromkeys(extra, 100)}


def test_no_two_trajectories_share_a_key(module: Any) -> None:
    keys = [
        (shard.payload["key"], number)
        for config in SPEC.configs
        if "of" not in PARAMETERS[config]
        for shard in module.shards(context(config))
        for number in range(shard.payload["start"], shard.payload["start"] + shard.rows)
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("config", VARIED)
def test_parameters_are_drawn_inside_ranges_and_outside_one(module: Any, config: str) -> None:
    """Splits draw from whole ranges but for the one that they leave."""
    ranges = PARAMETERS[config]["ranges"]
    drawn: dict[str, list[dict[str, Any]]] = {}
    for shard in module.shards(context(config)):
        drawn.setdefault(shard.split, []).extend(module._parameters(shard.payload))
    for split, rows in drawn.items():
        left = OUTSIDE.get(split, split.split("_high")[0].split("_low")[0])
        for name, limits in ranges.items():
            values = np.array([row[name] for row in rows], dtype=float)
            inside = (values >= limits["low"]) & (values <= limits["high"])
            assert inside.all() if name != left else not inside.any(), (split, name)
            assert len(set(values)) > min(len(values), 5) - 1
            if split == "train" and len(values) > 100:
                place = (values - limits["low"]) / (limits["high"] - limits["low"])
                if limits.get("scale") == "log":
                    place = np.log(values / limits["low"]) / np.log(limits["high"] / limits["low"])
                # Uniform: mean 1/2 and standard deviation 1/sqrt(12), of 500 draws.
                assert abs(place.mean() - 0.5) < 4 * 12**-0.5 / len(values) ** 0.5
                assert place.std() == pytest.approx(12**-0.5, rel=0.1)
    if config.startswith("spinodal"):
        signs = np.sign([row["composition"] for row in drawn["composition"]])
        assert len(drawn["composition"]) < 10 or set(signs) == {-1.0, 1.0}


@pytest.mark.parametrize("config", VARIED)
def test_times_scale_with_the_mobility(module: Any, config: str) -> None:
    """The first frame is at five e-folds of the fastest wave (Cahn 1961), or at 10 / L."""
    base = PARAMETERS["models"][PARAMETERS[config]["model"]]
    for row in module._parameters(shard_of(module, config, "test-000").payload):
        mobility = row["mobility"]
        if config.startswith("spinodal"):
            wave = np.linspace(0, 2, 4001)
            rate = mobility * wave**2 * (1 - 3 * row["composition"] ** 2)
            rate -= mobility * row["gradient_energy"] * wave**4
            assert row["first"] == pytest.approx(5 / rate.max(), rel=1e-4)
            assert row["dt"] == pytest.approx(base["dt"] / mobility)
        else:
            assert row["first"] == pytest.approx(10 / mobility, rel=1e-5)
            assert row["dt"] == pytest.approx(base["dt"] / mobility / (1 + row["anisotropy"]))


@pytest.mark.parametrize("config", SPEC.configs)
def test_frozen_labels_are_those_of_the_plan(module: Any, config: str) -> None:
    planned = {shard.name: shard for shard in module.shards(context(config))}
    path = frozen_table(FOLDER, config)
    stored = {shard.name: shard for shard in shards_of(pq.read_table(path), path)}
    own = [name for name in planned if name in stored]
    assert list(stored) == own
    assert all(stored[name].digest == planned[name].digest for name in own)
    assert release.frozen_fingerprint(FOLDER, config) is not None
    for shard in planned.values():
        source = FrozenLabels(FOLDER).find(config, shard)
        assert source is not None
        assert source.path in (path, frozen_table(FOLDER, shard.labels_of or config))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("config", MINIS)
def test_another_processor_builds_the_release(cli: Any, home: Path, config: str) -> None:
    """Without the instructions that this one has, which changes the last digits."""
    other = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1"}
    cli("build", "evolution", "--config", config, env=other, timeout=280).fine()
    folder = building.hub_folder("evolution", config)
    fingerprint = json.loads((folder / "manifest.json").read_text())["fingerprint"]
    assert fingerprint == release.frozen_fingerprint(FOLDER, config)
    assert not list((home / "work").rglob("*.npy"))


def test_refined_grains_are_the_same_grains(module: Any, monkeypatch: Any) -> None:
    """What the finer grid changes is measured, not what another start does."""
    from etchmark.simulation import grain_growth

    seen = []

    class Seen(grain_growth.GrainGrowth):
        def evolve(self, labels: np.ndarray, times: Any) -> Any:
            seen.append(labels)
            return super().evolve(labels, times)

    monkeypatch.setattr(grain_growth, "GrainGrowth", Seen)
    payload = shard_of(module, "grain-growth-mini", "validation-000").payload
    short = {**payload, "frames": 2, "rows": 1}
    made = [module._simulated(short, finer) for finer in (1, 2)]
    assert seen[1].shape[1] == 2 * seen[0].shape[1]
    assert (seen[1][:, ::2, ::2] == seen[0]).all()
    assert (seen[1][:, 1::2, 1::2] == seen[0]).all()
    assert np.sqrt(np.square(made[0].frames - made[1].frames).mean()) < 0.02


# --- frames ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(module: Any) -> dict[str, tuple[pa.Table, pa.Table]]:
    """Labels and rows of one shard of either model."""
    found = {}
    for config in MINIS:
        shard = shard_of(module, config, "validation-000")
        labels = module.labels(context(config), shard)
        found[config] = labels, module.table(context(config), shard, labels)
    return found


@pytest.mark.parametrize("config", MINIS)
def test_rows(
    made: dict[str, tuple[pa.Table, pa.Table]], module: Any, config: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(made[config][1], path)
    rows = Columns([path])
    assert rows["context"].shape == (4, 10, 32, 32)
    assert rows["target"].shape == (4, 10, 32, 32)
    assert rows["target"].dtype == np.float16
    assert (rows["horizon"] == 10).all()
    frames = np.concatenate([rows["context"], rows["target"]], axis=1).astype(np.float64)
    assert (frames == np.rint(frames / STEP) * STEP).all()
    energy = rows["energy"]
    assert energy.shape == (4, 20)
    assert (np.diff(energy) < 0).all()
    assert (rows["last_energy"] == energy[:, -1]).all()
    assert -0.05 < frames.min() < 0.5 < frames.max() < 1.05
    if config.startswith("spinodal"):
        mean = (rows["composition"][:, None] + 1) / 2
        np.testing.assert_allclose(frames.mean(axis=(2, 3)) - mean, 0, atol=STEP)
    else:
        assert (np.diff(rows["grains"]) <= 0).all()
        assert (rows["grains"][:, 0] > rows["grains"][:, -1]).all()
        np.testing.assert_allclose(rows["grain_area"] * rows["grains"], 32**2)
    shard = shard_of(module, config, "validation-000")
    for row, drawn in enumerate(map(json.loads, rows["parameters"])):
        assert drawn["seed"] == [PARAMETERS["seed"], shard.payload["key"], row]
        for name in ("mobility", "gradient_energy", "composition", "anisotropy"):
            assert name not in rows or rows[name][row] == drawn[name]
        assert "start_grains" not in rows or rows["start_grains"][row] == drawn["grains"]


@pytest.mark.parametrize("config", MINIS)
def test_last_digits_change_no_frame(
    made: dict[str, tuple[pa.Table, pa.Table]],
    module: Any,
    config: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels, rows = made[config]
    shard = shard_of(module, config, "validation-000")
    simulated = module._simulated(shard.payload)
    generator = np.random.default_rng(0)

    def shaken(size: float) -> None:
        noise = generator.choice([-size, size], simulated.frames.shape)
        other = replace(simulated, frames=simulated.frames + noise)
        monkeypatch.setattr(module, "_simulated", lambda payload: other)

    shaken(0.9 * module.NEAR)
    assert module.table(context(config), shard, labels).equals(rows)
    assert any(len(one) for one in labels["near"].to_pylist()), "some lie near a boundary"
    shaken(1e-5)
    with pytest.raises(UserError, match="4 rows differ from what was simulated"):
        module.table(context(config), shard, labels)


def test_what_labels_leave_is_used_and_checked(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = shard_of(module, "spinodal-mini", "long-000")
    given = context("spinodal-mini", scratch=tmp_path / "scratch")
    labels = module.labels(given, shard)
    (left,) = (tmp_path / "scratch").iterdir()
    rows = module.table(context("spinodal-mini"), shard, labels)

    def again(payload: Any) -> Any:
        raise AssertionError("simulated again")

    monkeypatch.setattr(module, "_simulated", again)
    assert module.table(given, shard, labels).equals(rows)
    for content in (b"", left.read_bytes()[:-100], np.lib.format.MAGIC_PREFIX):
        left.write_bytes(content)
        with pytest.raises(AssertionError, match="simulated again"):
            module.table(given, shard, labels)
    np.save(left, np.zeros((2, 40, 32, 32), dtype=np.int16))
    with pytest.raises(AssertionError, match="simulated again"):
        module.table(given, shard, labels)


@pytest.mark.parametrize("n", [8, 9])
@pytest.mark.parametrize("times", [2, 3])
def test_a_field_on_finer_nodes(module: Any, n: int, times: int) -> None:
    """Waves below the highest are those of a formula; at the nodes nothing changes."""
    generator = np.random.default_rng(0)
    field = generator.normal(size=(2, n, n))
    finer = module._finer(field, times)
    np.testing.assert_allclose(finer[:, ::times, ::times], field, atol=1e-12)
    x = np.arange(n * times) / (n * times)
    wave = np.cos(2 * np.pi * (2 * x[:, None] - 3 * x[None]) + 0.3)
    np.testing.assert_allclose(module._finer(wave[::times, ::times], times), wave, atol=1e-12)


def test_refining_brings_frames_nearer_to_each_other(module: Any) -> None:
    """Half the spacing and step changes frames by less than a quarter of what time does."""
    for config in MINIS:
        payload = {**shard_of(module, config, "validation-000").payload, "rows": 1, "frames": 4}
        coarse, fine = module._simulated(payload), module._simulated(payload, 2)
        apart = np.sqrt(np.mean((coarse.frames - fine.frames) ** 2))
        moved = np.sqrt(np.mean((coarse.frames[:, -1] - coarse.frames[:, 0]) ** 2))
        assert 0 < apart < 0.25 * moved, config


# --- what the boards say of these data -----------------------------------------------------------


@pytest.mark.parametrize("name", ["spinodal-forecast", "grain-growth-forecast"])
@pytest.mark.parametrize("frames", [10, 90])
def test_discretisation_error_of_the_boards_is_measured(name: str, frames: int) -> None:
    spec = Catalog(ROOT).benchmark(name if frames == 90 else f"{name}-{frames}")
    assert spec.discretisation_error is not None
    assert spec.discretisation_error.source_file is not None
    labels = pq.read_table(ROOT / spec.discretisation_error.source_file)
    squared = np.array(labels["squared_error"].to_pylist())[:, :frames].mean(axis=1)
    typical = np.exp(0.5 * np.log(squared).mean())
    assert spec.discretisation_error.value == pytest.approx(typical, rel=0.02)
    assert spec.discretisation_error.metric == spec.primary_metric
    assert spec.smallest_difference is not None
    assert spec.smallest_difference.value == spec.discretisation_error.value


@pytest.mark.parametrize("name", ["spinodal-forecast", "grain-growth-forecast"])
def test_why_the_boards_lead_with_the_typical_error(name: str) -> None:
    """What a benchmark says of the squared error that a few trajectories hold."""
    spec = Catalog(ROOT).benchmark(name)
    record = f"{name}@{spec.version}/stepper.free--frames--holdout.parquet"
    table = pq.read_table(ROOT / "leaderboard" / "results" / record, columns=["split", "sum_sq_e"])
    squared = table.filter(pc.field("split") == "test")["sum_sq_e"].to_numpy()
    shares = np.sort(squared)[::-1].cumsum() / squared.sum()
    said = " ".join(spec.description.split())
    assert f"trajectory holds {100 * shares[0]:.0f} % and five hold {100 * shares[4]:.0f} %" in said
