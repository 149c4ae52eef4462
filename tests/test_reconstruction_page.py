"""The page on reconstruction: its model runs, and its tables are those of the records."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from etchmark.model import Samples

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.S | re.M)


def blocks() -> list[str]:
    return BLOCK.findall((ROOT / "docs" / "reconstruction.md").read_text(encoding="utf-8"))


@pytest.mark.mirror
@pytest.mark.slow
def test_the_predictions_file(
    home: Path, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    exec(blocks()[0], found)
    scores = found["scores"]
    assert isinstance(scores, list)
    assert 0.95 < scores[0].metrics["reconstruction_score"].value <= 1.0
    assert scores[0].metrics["copied_images"].value == 0


def test_the_model() -> None:
    module = ModuleType("page")
    exec(blocks()[1], module.__dict__)
    exemplars = (np.random.default_rng(1).random((3, 64, 64)) < 0.3).astype(np.uint8)
    inputs = {"exemplar": exemplars, "periodic": np.ones(3, dtype=np.int64)}
    train = Samples(np.array(["a", "b", "c"]), inputs, np.zeros((3, 4, 64, 64), dtype=np.uint8))
    predicted = module.build(0, "cpu").fit(train).predict(inputs)
    assert (predicted.shape, predicted.dtype) == ((3, 16, 64, 64), np.uint8)
    counts = predicted.sum(axis=(2, 3))
    assert (counts == exemplars.sum(axis=(1, 2))[:, None]).all()
    assert len({image.tobytes() for image in predicted.reshape(-1, 64, 64)}) == 48


def test_the_tables_are_those_of_the_records(load_script: Callable[[str], ModuleType]) -> None:
    maker = load_script("docs/make_reconstruction.py")
    assert maker.page() == maker.PAGE.read_text(encoding="utf-8"), "run docs/make_reconstruction.py"


def test_a_table_of_two_rows(
    load_script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = load_script("docs/make_reconstruction.py")
    metrics = {
        name: {"value": 0.25, "ci_low": None, "ci_high": None}
        for name in ("stiffness_error", "diversity", "copied_images", maker.SCORE)
    }
    metrics |= {f"{name}_distance": {"value": 0.5} for name in maker.GROUPS}
    better = metrics | {maker.SCORE: {"value": 0.125, "ci_low": 0.1, "ci_high": 0.2}}
    named = ("simulated", "photographed")
    subsets = [{"subset": name, "metrics": metrics} for name in named]
    found = [
        {"name": name, "role": "entry", "scores": [{"metrics": values, "subsets": subsets}]}
        for name, values in (("first", better), ("second", metrics))
    ]
    monkeypatch.setattr(maker, "records", lambda _: found)
    lines = maker.tables().splitlines()
    assert "| `first` | entry | 0.125 [0.100, 0.200] | 0.250 | 0.250 | 0.2 | 0.25 | 0.2 |" in lines
    assert "| `second` | entry | 0.250 | 0.250 | 0.250 | 0.2 | 0.25 | 0.2 |" in lines
    assert "| `second` | 0.500 | 0.500 | 0.500 | 0.500 | 0.500 |" in lines
