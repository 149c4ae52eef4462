"""The page on parameters that vary says what the records hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest


@pytest.fixture(scope="module")
def maker(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("docs/make_varied.py")


def test_the_page_is_that_of_the_records(maker: ModuleType) -> None:
    assert maker.PAGE.read_text(encoding="utf-8") == maker.page()
    for name in maker.NETWORKS:
        assert (f"| `{name}` |" in maker.page()) == (name in maker.records())


def test_every_trajectory_has_its_parameters(maker: ModuleType) -> None:
    """Every scored id is known, and each extra split leaves one range and no other."""
    (low, high), ranges = (0.5, 2.0), {"composition": 0.35, "gradient_energy": 1.4}
    for split, ids in maker.errors("persistence/last-frame").items():
        rows = [maker.parameters()[key] for key in ids]
        inside = [low <= row["mobility"] <= high for row in rows]
        assert all(inside) if not split.startswith("mobility") else not any(inside)
        for axis, largest in ranges.items():
            beyond = [abs(row[axis]) > largest for row in rows]
            assert all(beyond) if split == axis else not any(beyond)


def test_bins_keep_the_typical_error(maker: ModuleType) -> None:
    """Bins of equal counts: their geometric mean is that of the split, which the record states."""
    name = "persistence/last-frame"
    inside, outside = maker.binned(name, "gradient_energy")
    assert [len(inside), len(outside)] == [maker.BINS, 2]
    for line, split in ((inside, "test"), (outside, "gradient_energy")):
        mean = np.exp(np.mean([math.log(error) for _, error in line]))
        assert mean == pytest.approx(maker.value(name, split), rel=1e-6)
        assert sorted(line) == line


def test_figures_are_drawn(maker: ModuleType) -> None:
    assert maker.draw_parameters().startswith(b"\x89PNG")
    if any(maker.training_of(name) for name in maker.NETWORKS):
        assert maker.draw_training().startswith(b"\x89PNG")


def test_when_a_network_is_as_good(maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seeds, of which the second gets there later and the third never."""
    errors = [(60.0, [0.5, 0.5, 0.5]), (120.0, [0.2, 0.4, 0.4]), (180.0, [0.3, 0.1, 0.35])]
    points = [
        SimpleNamespace(value=seconds, draws=each, score=SimpleNamespace(value=np.mean(each)))
        for seconds, each in errors
    ]
    curve = SimpleNamespace(name="training", points=points)
    monkeypatch.setattr(maker, "records", lambda: {"net": SimpleNamespace(curves=[curve])})
    assert maker.final("net") == [0.2, 0.1, 0.35]
    reached = maker.seconds_until("net", 0.2)
    assert reached[:2] == [120.0, 180.0]
    assert math.isnan(reached[2])
    assert maker.until(reached) == "2.5 (2.0 to 3.0), 1 of 3 seeds never"
    assert maker.until([math.nan]) == "never"
    assert maker.until([90.0]) == "1.5"
