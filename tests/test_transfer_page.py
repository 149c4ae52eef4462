"""The study of layer cuts reads no test image too early; its page says what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "tests" / "reliability" / "layer_cuts.json"


@pytest.fixture(scope="module")
def study(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("tests/reliability/layer_cuts.py")


@pytest.fixture(scope="module")
def maker(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("docs/make_transfer.py")


def samples(study: ModuleType) -> tuple[Any, list[np.ndarray]]:
    """Ten morphologies, and layers of which the second alone says what the target is."""
    generator = np.random.default_rng(0)
    morphologies = np.repeat([f"m{number}" for number in range(10)], 40)
    content = generator.uniform(-1, 1, 400)
    contrast = np.exp(generator.uniform(1, 2, 400))
    told = content[:, None] * generator.normal(size=12) + 0.01 * generator.normal(size=(400, 12))
    layers = [generator.normal(size=(400, 12)), told, generator.normal(size=(400, 20))]
    board = study.Board(
        {"contrast": contrast, "microstructure": np.zeros((400, 2, 2), np.uint8)},
        np.exp(content) * contrast**0.3,
        {"leave-pair-out": np.repeat(np.arange(5), 80), "iid": np.arange(400) % 5},
        morphologies,
    )
    return board, [layer.astype(np.float32) for layer in layers]


@pytest.mark.parametrize("protocol", ["leave-pair-out", "iid"])
def test_training_images_are_nested_and_never_tested(study: ModuleType, protocol: str) -> None:
    board, _ = samples(study)
    folds = board.folds[protocol]
    for draw in range(study.DRAWS):
        tests = study.tested(protocol, draw, folds)
        assert len(tests) == (5 if protocol == "leave-pair-out" else 1)
        for test in tests:
            assert len(np.unique(folds[test])) == 1
            larger = study.drawn(400, test, 200, draw)
            assert not np.isin(larger, test).any()
            np.testing.assert_array_equal(study.drawn(400, test, 50, draw), larger[:50])
    if protocol == "iid":
        seen = [study.tested(protocol, draw, folds)[0] for draw in range(study.DRAWS)]
        assert len(np.unique(np.concatenate(seen))) == 400


@pytest.mark.parametrize("protocol", ["leave-pair-out", "iid"])
def test_the_cut_is_chosen_inside_the_training_images(study: ModuleType, protocol: str) -> None:
    board, layers = samples(study)
    result = study.one_draw(layers, board, protocol, 150, 0)
    assert set(result["chosen"]) == {1}
    assert result["after_chosen"] == pytest.approx(result["after"][1])
    assert result["after"][1] < 0.3 * min(result["after"][0], result["after"][2])
    # Labels of test images have no part in the choice.
    test = study.tested(protocol, 0, board.folds[protocol])[0]
    target = board.target.copy()
    target[test] = target[test][::-1]
    other = study.Board(board.inputs, target, board.folds, board.morphologies)
    again = study.one_draw(layers, other, protocol, 150, 0)
    assert again["chosen"][0] == result["chosen"][0]
    assert again["after"] != result["after"]


def test_missing_draws_are_named(study: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"\d+ draws are missing, such as \('two_point"):
        study.gathered([])


@pytest.mark.skipif(not MEASURED.is_file(), reason="the study has not been run")
def test_the_page_is_that_of_the_measured_file(maker: ModuleType) -> None:
    assert maker.PAGE.read_text(encoding="utf-8") == maker.page()
    results = json.loads(MEASURED.read_text(encoding="utf-8"))
    assert results["draws"] == 5
    for encoder in maker.ENCODERS:
        assert set(results["results"][encoder]) == set(maker.WEIGHTS)


def test_the_page_is_written_from_every_number(
    study: ModuleType, maker: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made-up draws whose chosen cut is always the second layer and 1 % better than the first."""
    names = {encoder: [f"conv{number}_1" for number in range(1, 4)] for encoder in study.ENCODERS}
    lines = []
    for encoder, weights, protocol, size, draw in study._units():
        unit = {"unit": [encoder, weights, protocol, size, draw]}
        error = 10 + draw + (5 if weights == "random" else 0)
        after = {"layers": names.get(encoder), "after": [error + 1, error, error + 20]}
        chosen = {"chosen": [1], "after_chosen": error}
        own = {"error": 42.0} if encoder == study.REFERENCE else {**after, **chosen}
        lines.append(json.dumps({**unit, **own}))
    with pytest.raises(SystemExit, match="1 draws are missing"):
        study.gathered(lines[:-1])
    tree = json.loads(json.dumps(study.gathered(lines)))
    monkeypatch.setattr(maker, "measured", lambda: tree)
    page = maker.page()
    # Draws 10 to 14: mean 12, standard deviation 1.6.
    assert "| VGG-19, pretrained, chosen cut | 12.0 ± 1.6 |" in page
    assert "| SqueezeNet 1.1, random weights, last layer | 37.0 ± 1.6 |" in page
    assert page.count("| two-point statistics, short lags | 42.0 ± 0.0 |") == 2
    assert "| pruned VGG-19, a morphology never seen | conv2_1 100 % |" in page
    assert maker.draw().startswith(b"\x89PNG")
