"""Exemplars: images of one material are alike in fraction, and none is the exemplar in disguise."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import signal

from etchmark import descriptors
from etchmark.catalog import Catalog
from etchmark.columns import Columns
from etchmark.data import building, release
from etchmark.data.shards import BuildContext
from etchmark.data.sources import SourcesUnavailable, read_listing
from etchmark.errors import UserError
from etchmark.simulation.microstructures import generator_of, random_field

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "datasets" / "exemplars"
SPEC = Catalog(ROOT).dataset("exemplars")
MATERIALS = SPEC.parameters["materials"]
IMAGES = ("realisations", "further")


@pytest.fixture(scope="module")
def module() -> Any:
    spec = importlib.util.spec_from_file_location("exemplars_build", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["exemplars_build"] = loaded  # dataclasses look their module up
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Columns:
    options = building.BuildOptions(out=tmp_path_factory.mktemp("mini") / "build", offline=True)
    build = building.build(Catalog(ROOT), "exemplars", "images-mini", options)
    assert build.difference is None
    return Columns([build.folder / file.path for file in build.manifest.files])


def images_of(columns: Columns, row: int) -> np.ndarray:
    """All images of a row, shape (images, rows, columns)."""
    return np.concatenate([columns["exemplar"][row][None], *(columns[n][row] for n in IMAGES)])


def check_images(columns: Columns) -> None:
    """Images of a row are of two values, all different, and have as many pixels of phase 1."""
    for row, material in enumerate(columns["id"]):
        images = images_of(columns, row)
        assert images.dtype == np.uint8
        assert images.shape[1:] == (64, 64)
        assert np.unique(images).tolist() == [0, 1]
        assert len({image.tobytes() for image in images}) == len(images), material
        assert set(images.mean(axis=(1, 2))) == {columns["fraction"][row]}


def test_images_of_a_material_are_different_and_have_one_fraction(mini: Columns) -> None:
    check_images(mini)
    assert mini["realisations"].shape == (6, 16, 64, 64)
    assert mini["further"].shape == (6, 16, 64, 64)
    assert set(mini["source"]) == {"simulated"}
    assert set(mini["periodic"]) == {1}


def test_a_material_depends_on_its_key_alone(mini: Columns, module: Any) -> None:
    context = BuildContext(FOLDER, "images-mini", SPEC.parameters, offline=True)
    (shard,) = [shard for shard in module.shards(context) if shard.name == "spinodal"]
    # As in the larger config.
    pictures = module.pictures_of(context, {**shard.payload, "realisations": 18})
    row = mini["id"].tolist().index("spinodal")
    assert np.array_equal(pictures.exemplar, mini["exemplar"][row])
    assert np.array_equal(pictures.realisations[:16], mini["realisations"][row])
    assert np.array_equal(pictures.further, mini["further"][row])


def test_labels_fit_the_images(mini: Columns, module: Any) -> None:
    rows = len(mini["id"])
    assert mini["noise_distance"].shape == (rows, len(descriptors.GROUPS))
    assert (mini["noise_distance"] > 0).all()
    # Between the phases, of which one is ten times as stiff as the other.
    constant = 0.7 / (1.3 * 0.4)
    assert (constant < mini["stiffness"]).all()
    assert (mini["stiffness"] < 10 * constant).all()
    assert (mini["stiffness_deviation"] < 0.1 * mini["stiffness"]).all()
    assert ((mini["overlap_limit"] > 0) & (mini["overlap_limit"] < 1)).all()
    exemplar = mini["exemplar"][0]
    noise = module.white_noise(exemplar, {"seed": 1, "key": 2, "noise": 3})
    assert noise.shape == (3, 64, 64)
    assert set(noise.sum(axis=(1, 2))) == {exemplar.sum()}


def test_families_that_are_tuned_on_are_not_tested() -> None:
    structure = {name: made.get("structure", name) for name, made in MATERIALS.items()}
    for config in SPEC.configs:
        train, test = (SPEC.parameters[config][split] for split in ("train", "test"))
        assert not {structure[name] for name in train} & {structure[name] for name in test}
    used = SPEC.parameters["images-full"]
    assert sorted(used["train"] + used["test"]) == sorted(MATERIALS)
    assert max(Counter(made["key"] for made in MATERIALS.values()).values()) == 1
    photographed = [name for name in used["test"] if "source" in MATERIALS[name]]
    assert (len(used["test"]), len(photographed)) == (16, 8)


# --- photographed materials ----------------------------------------------------------------------


def payload(**made: Any) -> dict[str, Any]:
    base = {"seed": 1, "key": 2, "pixels": 64, "share": 0.1, "realisations": 12, "further": 4}
    common = {"source": "here", "files": ["a.npy"], "phase": 1, "minority": 1, "step": 8}
    return {**base, "material": "toy", "made": {**common, **made}}


@pytest.fixture
def from_pictures(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Windows of pictures that are made here."""

    def run(pictures: dict[str, np.ndarray], asked: dict[str, Any]) -> Any:
        for name, picture in pictures.items():
            np.save(tmp_path / name, picture)
        monkeypatch.setattr(
            module, "_fetch", lambda context, source, names: [tmp_path / name for name in names]
        )
        return module.photographed(BuildContext(tmp_path, "any", {}, True), asked)

    return run


def place_of(image: np.ndarray, picture: np.ndarray) -> tuple[int, int, int]:
    """Row and column of the window most like an image, and in how many pixels they differ."""
    kernel = 2.0 * image[::-1, ::-1] - 1
    agreement = signal.fftconvolve(2.0 * picture - 1, kernel, mode="valid")
    row, column = np.unravel_index(int(agreement.argmax()), agreement.shape)
    return int(row), int(column), round((image.size - agreement.max()) / 2)


def test_windows_are_like_the_exemplar_and_share_no_pixel_with_it(from_pictures: Any) -> None:
    picture = random_field((256, 256), 2.5, 0.3, generator_of(3))
    pictures = from_pictures({"a.npy": picture}, payload())
    row, column = pictures.origin["row"], pictures.origin["column"]
    assert place_of(pictures.exemplar, picture) == (row, column, 0)
    places = []
    for images, shift in ((pictures.realisations, 0), (pictures.further, 4)):
        for image in images:
            assert image.sum() == pictures.exemplar.sum()
            down, right, changed = place_of(image, picture)
            assert max(abs(down - row), abs(right - column)) >= 64
            assert (down % 8, right % 8) == (shift, shift)
            assert changed <= 0.1 * pictures.exemplar.sum()
            places.append((down, right))
    assert len(set(places)) == 16


def test_other_fields_of_view_are_compared_with_the_exemplar(from_pictures: Any) -> None:
    fields = {
        f"{name}.npy": random_field((96, 96), 2.5, 0.3, generator_of(4, number))
        for number, name in enumerate("abcd")
    }
    made = {"files": list(fields), "views": [1, 1, 2, 2]}
    pictures = from_pictures(fields, payload(**made))
    view = made["views"][made["files"].index(pictures.origin["file"])]
    for image in [*pictures.realisations, *pictures.further]:
        nearest = min(fields, key=lambda name: place_of(image, fields[name])[2])
        assert made["views"][made["files"].index(nearest)] != view


def test_too_few_windows_are_told(from_pictures: Any) -> None:
    picture = random_field((96, 96), 2.5, 0.3, generator_of(3))
    with pytest.raises(UserError, match="toy: 0 windows are like the exemplar, 12 are needed"):
        from_pictures({"a.npy": picture}, payload())


def test_a_picture_that_is_no_array_is_refused(module: Any, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"a\.npy: cannot be read"):
        module._opened(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.zeros((2, 2)))
    with pytest.raises(UserError, match="holds float64, not uint8"):
        module._opened(tmp_path / "b.npy")


def test_phases_of_pictures(module: Any) -> None:
    three = np.repeat(np.repeat(np.array([[0, 1], [2, 2]], np.uint8), 2, 0), 2, 1)
    assert module.phase_of(three, {"phase": 2}).mean() == 0.5
    assert module.phase_of(three, {"phase": 1, "coarsened": 2}).tolist() == [[0, 1], [0, 0]]
    overlay = np.full((2, 2, 4), 7, np.uint8)
    overlay[0, 0, :3] = 0, 0, 255
    overlay[0, 1, :3] = 0, 0, 254
    assert module.phase_of(overlay, {"phase": "painted"}).tolist() == [[1, 0], [0, 0]]
    # A bright square is found on ground that grows brighter to one side.
    grey = np.tile(np.arange(0, 128, 2, dtype=np.uint8), (64, 1))
    grey[20:26, 10:16] += 60
    made = {"phase": "bright", "window": 15, "fraction": 36 / 64**2}
    found = module.phase_of(grey, made)
    assert found[20:26, 10:16].sum() >= 32
    assert found.sum() == 36


def test_the_exemplar_is_a_typical_window(module: Any) -> None:
    windows = [module.Window(0, 0, at, count) for at, count in enumerate([50, 99, 100, 101, 300])]
    assert module.typical(windows, [1, 30, 10, 20, 15], 0.1) is windows[3]


# --- sources -----------------------------------------------------------------------------------


def test_upstream_files_are_listed_and_not_kept() -> None:
    for name, declared in SPEC.parameters["sources"].items():
        repository = {key: declared[key] for key in ("host", "owner", "repo", "commit")}
        listed = {file.path for file in read_listing(FOLDER / declared["listing"], **repository)}
        used = [made["files"] for made in MATERIALS.values() if made.get("source") == name]
        assert {file for files in used for file in files} == listed
    kept = {path.suffix for path in FOLDER.rglob("*") if "data" not in path.parts}
    assert not kept & {".npy", ".tif"}


def test_offline_without_a_mirror(home: Path) -> None:
    options = building.BuildOptions(offline=True)
    with pytest.raises(SourcesUnavailable, match="ETCHMARK_MIRROR"):
        building.build(Catalog(ROOT), "exemplars", "images-full", options)
    assert not (home / "datasets").exists()


@pytest.mark.mirror
def test_a_rebuild_from_upstream_files_is_the_release(mirror: Path, tmp_path: Path) -> None:
    options = building.BuildOptions(out=tmp_path / "out", offline=True)
    made = building.build(Catalog(ROOT), "exemplars", "images-full", options)
    assert made.difference is None
    assert made.manifest.fingerprint == release.frozen_fingerprint(FOLDER, "images-full")
    paths = [made.folder / file.path for file in made.manifest.files if file.split == "test"]
    columns = Columns(paths)
    check_images(columns)
    assert Counter(columns["source"]) == {"simulated": 8, "photographed": 8}
    photographed = columns["source"] == "photographed"
    assert np.array_equal(columns["periodic"], ~photographed)
    for origin in columns["parameters"][photographed]:
        assert json.loads(origin).keys() == {"file", "row", "column", "coarsened"}
