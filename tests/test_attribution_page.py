"""The study of attribution: what tells the planted object, its measures, and the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "tests" / "reliability" / "attribution.json"


@pytest.fixture(scope="module")
def study(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("tests/reliability/attribution.py")


@pytest.fixture(scope="module")
def maker(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("docs/make_attribution.py")


def edge(shape: np.ndarray) -> int:
    """Length of the outline of cells."""
    padded = np.pad(shape, 1).astype(int)
    return int(sum(np.abs(np.diff(padded, axis=axis)).sum() for axis in (0, 1)))


def test_objects_have_one_area_and_one_length_of_edge(study: ModuleType) -> None:
    generator = np.random.default_rng(0)
    found = [
        study.stamp(name, generator) for name in (*study.PLANTED, *study.OTHERS) for _ in range(4)
    ]
    assert {int(shape.sum()) for shape in found} == {5 * study.CELL**2}
    assert {edge(shape) for shape in found} == {12 * study.CELL}


def test_the_planted_object_alone_tells_the_class(study: ModuleType) -> None:
    scenes = study.scenes(200, 3)
    assert {each.label for each in scenes} == {0, 1}
    for each in scenes:
        sizes = np.bincount(each.objects.ravel())[1:]
        assert (sizes == 5 * study.CELL**2).all()
        assert len(sizes) == study.OBJECTS
    assert np.mean([each.mask.mean() for each in scenes]) == pytest.approx(0.04, abs=0.005)
    # The other objects are drawn alike in both classes, and are never a planted one.
    assert not {*study.PLANTED} & {*study.OTHERS}


def test_neither_brightness_nor_edges_tell_the_planted_object(study: ModuleType) -> None:
    scenes = study.scenes(600, 4)
    chance = 1 / study.OBJECTS
    error = np.sqrt(chance * (1 - chance) / len(scenes))
    assert study.sobel_peaks(scenes) <= chance + 3 * error
    levels = np.array(
        [[s.image[s.objects == n].mean() for n in range(1, study.OBJECTS + 1)] for s in scenes]
    )
    assert (levels.argmax(axis=1) == 0).mean() <= chance + 3 * error


def test_measures_by_hand(study: ModuleType) -> None:
    mask = np.array([[True, False], [True, False]])
    # Order: hit, miss, hit, miss.
    assert study.precision(np.array([[4.0, 3.0], [2.0, 1.0]]), mask) == pytest.approx(
        (1 + 2 / 3) / 2
    )
    assert study.precision(np.ones((2, 2)), mask) == pytest.approx(0.5)
    assert study.share(np.array([[3.0, 1.0], [0.0, 0.0]]), mask) == pytest.approx(0.75)
    assert study.summary([1.0, 2.0, 3.0])["mean"] == 2.0


class OnePixel(torch.nn.Module):
    """Sees a single pixel: the evidence for class 1 is three times its square."""

    def forward(self, images: Any) -> Any:
        value = images[:, 0, 20, 30] ** 2
        return torch.stack([-value, 2 * value], dim=1)


def test_maps_find_the_only_pixel_that_counts(study: ModuleType) -> None:
    image = torch.rand(1, 1, 64, 64) + 0.5
    for name in ("gradient", "gradient × input", "integrated gradients"):
        values = study.MAPS[name](OnePixel(), image, 1)
        assert (values > 0).sum() == 1, name
        assert values[20, 30] > 0
    total = float(study.signed_integrated(OnePixel(), image, 1).sum())
    assert total == pytest.approx(float(3 * image[0, 0, 20, 30] ** 2), rel=1e-3)
    hidden = study.occlusion(OnePixel(), image, 1)
    assert hidden[20, 30] == hidden.max() > 0
    assert hidden[50, 5] == 0
    # Evidence for the other class is none that could be lost.
    assert study.occlusion(OnePixel(), image, 0).max() == 0


def test_the_table_shows_every_map(maker: ModuleType) -> None:
    number = {"mean": 0.5, "low": 0.4, "high": 0.6}
    measures = dict.fromkeys(("precision", "smoothed", "share"), number)
    results = {
        "images": 7,
        "accuracy": 0.97,
        "area": 0.044,
        "sobel_peaks": 0.2,
        "trained": {"Sobel": measures, "gradient": measures},
        "random": {"gradient": measures},
    }
    assert "| Sobel | 50 [40, 60] | 50 [40, 60] | no network | 50 | 12 |" in maker.table(results)
    assert "| gradient | 50 [40, 60] | 50 [40, 60] | 50 [40, 60] | 50 | 89 |" in maker.table(
        results
    )


@pytest.mark.skipif(not MEASURED.is_file(), reason="the study has not been run")
def test_the_page_is_that_of_the_measured_file(maker: ModuleType, study: ModuleType) -> None:
    assert maker.PAGE.read_text(encoding="utf-8") == maker.page(), "run docs/make_attribution.py"
    results = json.loads(MEASURED.read_text(encoding="utf-8"))
    assert results["accuracy"] >= study.NEEDED
    assert list(results["trained"]) == list(study.MAPS)
