"""The segmented micrographs: who is who, which folds leak, and what is made of upstream's files."""

from __future__ import annotations

import csv
import importlib.util
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etchmark.catalog import Catalog
from etchmark.columns import Columns
from etchmark.data import building, release
from etchmark.data.sources import SourcesUnavailable, read_listing
from etchmark.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "datasets" / "micrographs"
BENCHMARKS = {
    "uhcs-segmentation": "uhcs",
    "superalloy-segmentation": "superalloy",
    "coating-segmentation": "coatings",
}
LABELS = ("mask", "share_")
Rows = list[dict[str, str]]


def rows_of(name: str) -> Rows:
    with (FOLDER / name).open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def module() -> Any:
    spec = importlib.util.spec_from_file_location("micrographs_build", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def with_a_relative(rows: Rows, fold: str, group: str) -> int:
    """Rows of whose group a row stands in another fold: a model has seen their relative."""
    return sum(
        any(other[group] == row[group] and other[fold] != row[fold] for other in rows)
        for row in rows
    )


def test_specimens_of_the_steel_and_their_folds() -> None:
    rows = rows_of("uhcs.csv")
    assert len({row["id"] for row in rows}) == 24
    specimens = [{37}, {40}, {29, 25}, {14, 47}, {16, 13, 38}, {23, 33, 4}]
    by_fold = [
        {int(row["specimen"]) for row in rows if row["fold_specimen"] == str(fold)}
        for fold in range(6)
    ]
    assert by_fold == specimens
    assert with_a_relative(rows, "fold_specimen", "specimen") == 0
    assert with_a_relative(rows, "fold_as_published", "specimen") == 17
    assert set(Counter(row["fold_as_published"] for row in rows).values()) == {4}


def test_fields_of_view_of_the_superalloy_and_their_folds() -> None:
    rows = rows_of("superalloy.csv")
    counts = Counter(row["split"] for row in rows)
    assert counts == {"super1": 18, "other_alloys": 5}
    ours = [row for row in rows if row["split"] == "super1"]
    assert len({row["spot"] for row in ours}) == len({row["fold_spot"] for row in ours}) == 7
    assert with_a_relative(ours, "fold_spot", "spot") == 0


def test_specimens_of_the_coatings_and_their_folds() -> None:
    rows = rows_of("coatings.csv")
    assert len(rows) == 10
    assert len({row["specimen"] for row in rows}) == len({row["fold_specimen"] for row in rows})
    assert len({row["specimen"] for row in rows}) == 6
    assert with_a_relative(rows, "fold_specimen", "specimen") == 0
    sets: dict[str, set[str]] = {}
    for row in rows:
        sets.setdefault(row["specimen"], set()).add(row["published_set"])
    leaking = {specimen for specimen, found in sets.items() if len(found) > 1}
    assert leaking == {"S041", "S044"}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_no_track_hands_out_what_follows_from_the_mask(name: str) -> None:
    """Regions taken from the true mask would decide most pixels: no model may read it."""
    spec = Catalog(ROOT).benchmark(name)
    for track in spec.tracks.values():
        assert not [column for column in track.inputs if column.startswith(LABELS)]


@pytest.mark.parametrize(("name", "config"), BENCHMARKS.items())
def test_what_is_frozen_is_what_the_benchmark_names(name: str, config: str) -> None:
    spec = Catalog(ROOT).benchmark(name)
    released = release.frozen_fingerprint(FOLDER, config)
    assert {track.fingerprint for track in spec.tracks.values()} == {released}
    classes = Catalog(ROOT).dataset("micrographs").parameters["images"][config]["classes"]
    assert spec.target.model_dump()["classes"] == classes


def test_upstream_files_are_listed_and_not_kept() -> None:
    parameters = Catalog(ROOT).dataset("micrographs").parameters
    for config, declared in parameters["sources"].items():
        repository = {name: declared[name] for name in ("host", "owner", "repo", "commit")}
        listed = {file.path for file in read_listing(FOLDER / declared["listing"], **repository)}
        for row in rows_of(f"{config}.csv"):
            assert {row["image"], row["mask"]} <= listed
    kept = {path.suffix for path in FOLDER.rglob("*") if "data" not in path.parts}
    assert not kept & {".tif", ".png"}


@pytest.mark.parametrize("config", ["uhcs", "superalloy", "coatings"])
def test_offline_without_a_mirror(home: Path, config: str) -> None:
    with pytest.raises(SourcesUnavailable, match="ETCHMARK_MIRROR"):
        building.build(Catalog(ROOT), "micrographs", config, building.BuildOptions(offline=True))
    assert not (home / "datasets").exists()


def test_painted_pixels_become_classes(module: Any) -> None:
    overlay = np.full((2, 3, 4), 117, dtype=np.uint8)
    overlay[0, 0, :3] = 0, 0, 255
    overlay[1, 2, :3] = 255, 0, 0
    overlay[0, 1, :3] = 0, 0, 254  # nearly blue is grey that was not painted
    assert module.painted_classes(overlay).tolist() == [[1, 0, 0], [0, 0, 2]]


def test_pictures_that_are_not_grey_are_refused(module: Any) -> None:
    picture = np.zeros((2, 2, 3), dtype=np.uint8)
    assert module.grey_of(picture, Path("a.tif")).shape == (2, 2)
    picture[0, 0, 1] = 1
    with pytest.raises(UserError, match=r"a\.tif: is not grey"):
        module.grey_of(picture, Path("a.tif"))


@pytest.mark.parametrize(
    ("value", "expected"), [(255, "more than 3 classes"), (7, "multiples of 85")]
)
def test_masks_of_other_values_are_refused(
    module: Any, tmp_path: Path, value: int, expected: str
) -> None:
    from PIL import Image

    path = tmp_path / "mask.tif"
    Image.fromarray(np.full((2, 2), value, dtype=np.uint8)).save(path)
    with pytest.raises(UserError, match=expected):
        module.mask_of("uhcs", path, (2, 2), 3)
    path.write_bytes(b"II*\0")
    with pytest.raises(UserError, match="cannot be read as a TIFF"):
        module.mask_of("uhcs", path, (2, 2), 3)


# Shares of the area, in per cent, as the facts and the upstream paper's set give them.
SHARES = {
    "uhcs": {"matrix": 16.1, "network": 13.0, "spheroidite": 68.2, "widmanstatten": 2.7},
    "superalloy": {"tertiary": (1.0, 4.0), "secondary": (40.0, 56.0)},
    "coatings": {"crack": (0.16, 0.61)},
}


@pytest.mark.mirror
@pytest.mark.parametrize("config", SHARES)
def test_a_rebuild_from_upstream_files_is_the_release(
    mirror: Path, tmp_path: Path, config: str
) -> None:
    options = building.BuildOptions(out=tmp_path / "out", offline=True)
    made = building.build(Catalog(ROOT), "micrographs", config, options)
    assert made.difference is None
    assert made.manifest.fingerprint == release.frozen_fingerprint(FOLDER, config)
    columns = Columns([made.folder / made.manifest.files[0].path])
    for name, expected in SHARES[config].items():
        share = 100 * columns[f"share_{name}"]
        if isinstance(expected, tuple):
            assert expected[0] <= share.min() <= share.max() <= expected[1]
        else:
            assert round(float(share.mean()), 1) == expected
    pictures, masks = columns["micrograph"], columns["mask"]
    assert {picture.shape for picture in pictures} == {masks.shape[1:]}
    if config == "uhcs":
        assert set(np.unique(masks[columns["id"] == "uhcs0596"])) == {2}
