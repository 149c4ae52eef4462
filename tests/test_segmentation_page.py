"""The examples of the page on segmentation run as they stand there, on upstream's micrographs."""

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
    return BLOCK.findall((ROOT / "docs" / "segmentation.md").read_text(encoding="utf-8"))


@pytest.mark.mirror
def test_the_predictions_file(
    home: Path, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    exec(blocks()[0], found)
    size = (tmp_path / "masks.parquet").stat().st_size
    assert size < 2_000_000
    scores = found["scores"]
    assert isinstance(scores, list)
    assert 0.1 < scores[0].metrics["mean_iou"].value < 0.5


def test_the_model() -> None:
    module = ModuleType("page")
    exec(blocks()[1], module.__dict__)
    pictures = np.empty(2, dtype=object)
    pictures[0] = pictures[1] = np.repeat(np.arange(0, 240, 40, dtype=np.uint8), 4).reshape(4, 6)
    masks = np.ones((2, 4, 6), dtype=np.uint8)
    train = Samples(np.array(["a", "b"]), {"micrograph": pictures}, masks)
    predicted = module.build(0, "cpu").fit(train).predict(train.inputs)
    assert predicted.shape == (2, 4, 6)
    assert (predicted[0] == predicted[1]).all()
    assert set(np.unique(predicted)) == {0, 1}


def test_the_tables_are_those_of_the_records(load_script: Callable[[str], ModuleType]) -> None:
    maker = load_script("docs/make_segmentation.py")
    assert maker.page() == maker.PAGE.read_text(encoding="utf-8"), "run docs/make_segmentation.py"
