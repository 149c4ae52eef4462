"""The superalloy tables: what stands in git, and what is made of it."""

from __future__ import annotations

import csv
import importlib.util
from collections import Counter
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.model_selection import KFold

from etchmark.catalog import Catalog
from etchmark.columns import Columns
from etchmark.data import building, release
from etchmark.data.loading import load_benchmark
from etchmark.data.sources import SourcesUnavailable, read_listing

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "datasets" / "superalloys"
CONFIGS = ("composition", "micrographs", "published-features")
# Read off the table of papers that came with the facts.
ROWS_OF_PAPERS = {
    "p01": 15, "p02": 7, "p05": 8, "p06": 18, "p07": 4, "p15": 8, "p16": 8, "p19": 2, "p20": 4,
    "p21": 9, "p22": 6, "p23": 6, "p24": 10, "p25": 1, "p26": 4, "p27": 16, "p28": 6, "p29": 5,
    "p30": 12,
}  # fmt: skip


def rows_of(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def module() -> Any:
    spec = importlib.util.spec_from_file_location("superalloys_build", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def table() -> list[dict[str, str]]:
    return rows_of("hardness.csv")


def elements(row: dict[str, str], module: Any) -> list[Decimal]:
    return [Decimal(row[name]) for name in module.ELEMENTS]


def test_rows_and_papers(table: list[dict[str, str]]) -> None:
    assert len(table) == len({row["id"] for row in table}) == 149
    assert len({row["doi"] for row in table}) == 19
    assert Counter(row["paper"] for row in table) == ROWS_OF_PAPERS
    assert len({(row["paper"], row["doi"]) for row in table}) == 19
    assert all(row["id"].startswith(f"{row['paper']}-s") for row in table)
    assert len({row["micrograph_name"] for row in table}) == 149


def test_hardness_in_hv(table: list[dict[str, str]]) -> None:
    units = Counter(row["reported_unit"] for row in table)
    assert units == {"HV": 121, "GPa": 28}
    for row in table:
        reported = Decimal(row["reported_value"])
        if row["reported_unit"] == "GPa":
            reported = reported * 1000 / Decimal("9.80665")
        expected = reported.quantize(Decimal("0.1"), ROUND_HALF_UP)
        assert Decimal(row["hardness_hv"]) == expected, row["id"]
    values = np.array([float(row["hardness_hv"]) for row in table])
    assert (values.min(), values.max(), np.median(values)) == (183.5, 713.0, 410.0)
    assert round(float(values.mean()), 1) == 416.3


def test_composition(table: list[dict[str, str]], module: Any) -> None:
    assert len(module.ELEMENTS) == 21
    assert Counter(row["base"] for row in table) == {"Ni": 103, "Co": 46}
    for row in table:
        listed = elements(row, module)
        assert all(value >= 0 for value in listed)
        assert sum(listed) == Decimal(row["composition_sum"]), row["id"]
        larger = "Ni" if Decimal(row["Ni"]) > Decimal(row["Co"]) else "Co"
        assert row["base"] == larger, row["id"]
    assert len({tuple(elements(row, module)) for row in table}) == 59


def test_flags_follow_from_the_sums(table: list[dict[str, str]]) -> None:
    for row in table:
        total = Decimal(row["composition_sum"])
        expected = "sum_low" if total < 98 else "sum_high" if total > 102 else ""
        assert row["composition_flag"] == expected, row["id"]
    flagged = Counter((row["paper"], row["composition_flag"]) for row in table)
    assert {key: count for key, count in flagged.items() if key[1]} == {
        ("p25", "sum_high"): 1,
        ("p27", "sum_low"): 16,
    }
    weak = {row["id"] for row in table if row["micrograph_flag"]}
    assert weak == {"p29-s01", "p29-s02", "p29-s03", "p29-s04"}


def test_folds_as_published(table: list[dict[str, str]]) -> None:
    expected = np.empty(149, dtype=int)
    splits = KFold(10, shuffle=True, random_state=42).split(np.zeros((149, 1)))
    for fold, (_, held_out) in enumerate(splits):
        expected[held_out] = fold
    assert [int(row["fold_as_published"]) for row in table] == expected.tolist()


def test_folds_that_leave_a_paper_out(table: list[dict[str, str]]) -> None:
    pairs = {(row["fold_leave_paper_out"], row["doi"]) for row in table}
    assert len(pairs) == 19
    assert {int(fold) for fold, _ in pairs} == set(range(19))


def test_every_paper_has_a_documented_guess_of_its_unit(table: list[dict[str, str]]) -> None:
    papers = rows_of("papers.csv")
    assert {(row["paper"], row["doi"]) for row in papers} == {
        (row["paper"], row["doi"]) for row in table
    }
    assert len(papers) == 19
    for row in papers:
        assert row["composition_unit_guess"] in {"at", "wt"}
        assert row["confidence"] in {"high", "medium", "low"}
        assert len(row["reason"]) > 20


def test_atomic_percent_by_hand(module: Any) -> None:
    # Ni-20Cr in weight percent: 80 / 58.693 and 20 / 51.996 moles.
    percent = np.zeros(21)
    percent[module.ELEMENTS.index("Ni")] = 80.0
    percent[module.ELEMENTS.index("Cr")] = 20.0
    atomic = module.atomic_percent(percent, "wt")
    assert atomic[module.ELEMENTS.index("Ni")] == pytest.approx(77.9910, abs=1e-4)
    assert atomic[module.ELEMENTS.index("Cr")] == pytest.approx(22.0090, abs=1e-4)
    assert module.atomic_percent(percent / 2, "at") == pytest.approx(percent)
    # 82 Co, 9 Al and 9 W moles weigh 4832.5, 242.8 and 1654.6: 71.81, 3.61 and 24.59 %.
    percent = np.zeros(21)
    for name, value in (("Co", 71.81), ("Al", 3.608), ("W", 24.585)):
        percent[module.ELEMENTS.index(name)] = value
    atomic = module.atomic_percent(percent, "wt")
    assert atomic[module.ELEMENTS.index("Al")] == pytest.approx(9.0, abs=0.02)
    assert atomic[module.ELEMENTS.index("W")] == pytest.approx(9.0, abs=0.02)


def test_the_built_table(home: Path, module: Any, table: list[dict[str, str]]) -> None:
    made = building.build(
        Catalog(ROOT), "superalloys", "composition", building.BuildOptions(offline=True)
    )
    assert made.difference is None
    columns = Columns([made.folder / made.manifest.files[0].path])
    atomic = np.stack([columns[f"{name}_at"] for name in module.ELEMENTS], axis=1)
    assert atomic.sum(axis=1) == pytest.approx(np.full(149, 100.0))
    assert columns["id"].tolist() == [row["id"] for row in table]
    listed = np.stack([columns[name] for name in module.ELEMENTS], axis=1)
    as_listed = columns["composition_unit_guess"] == "at"
    scaled = 100 * listed / listed.sum(axis=1, keepdims=True)
    assert np.allclose(atomic[as_listed], scaled[as_listed])
    assert not np.allclose(atomic[~as_listed], scaled[~as_listed])


@pytest.mark.parametrize("config", CONFIGS)
def test_what_is_frozen_is_what_the_benchmark_names(config: str) -> None:
    spec = Catalog(ROOT).benchmark("superalloy-hardness")
    released = release.frozen_fingerprint(FOLDER, config)
    tracks = [track for track in spec.tracks.values() if track.config == config]
    assert tracks
    assert {track.fingerprint for track in tracks} == {released}
    frozen = pq.read_table(FOLDER / "frozen" / f"{config}.parquet")
    assert frozen.column_names == ["id", "split", "row", "hardness_hv"]
    assert frozen.num_rows == 149


def test_the_released_labels(home: Path) -> None:
    load_benchmark("superalloy-hardness").check_target()


def test_61_percent_of_the_variance_lies_between_papers(home: Path) -> None:
    truth = load_benchmark("superalloy-hardness").truth("samples")
    overall = truth.target.mean()
    between = sum(
        (truth.units == paper).sum() * (truth.target[truth.units == paper].mean() - overall) ** 2
        for paper in np.unique(truth.units)
    )
    share = between / ((truth.target - overall) ** 2).sum()
    assert round(100 * share) == 61


def test_upstream_files_are_listed_and_not_kept(table: list[dict[str, str]]) -> None:
    parameters = Catalog(ROOT).dataset("superalloys").parameters
    listing = read_listing(FOLDER / "sources.csv", **parameters["sources"])
    paths = {file.path for file in listing}
    assert len(paths) == 149 * (1 + len(parameters["encoders"]))
    prefix = parameters["folder"]
    assert {f"{prefix}/Binary_Images/{row['micrograph_name']}" for row in table} <= paths
    kept = {path.suffix for path in FOLDER.rglob("*") if "data" not in path.parts}
    assert not kept & {".mat", ".npy", ".png", ".xlsx"}


@pytest.mark.parametrize("config", CONFIGS[1:])
def test_offline_without_a_mirror(home: Path, config: str) -> None:
    with pytest.raises(SourcesUnavailable, match="ETCHMARK_MIRROR"):
        building.build(Catalog(ROOT), "superalloys", config, building.BuildOptions(offline=True))
    assert not (home / "datasets").exists()


@pytest.mark.mirror
@pytest.mark.parametrize("config", CONFIGS[1:])
def test_a_rebuild_from_upstream_files_is_the_release(
    mirror: Path, tmp_path: Path, config: str
) -> None:
    made = building.build(
        Catalog(ROOT),
        "superalloys",
        config,
        building.BuildOptions(out=tmp_path / "out", offline=True),
    )
    assert made.difference is None
    assert made.manifest.fingerprint == release.frozen_fingerprint(FOLDER, config)
