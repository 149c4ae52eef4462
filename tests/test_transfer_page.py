"""The study of layer cuts reads no test image too early; its page says what was measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
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
def tuning(load_script: Callable[[str], ModuleType], study: ModuleType) -> Iterator[ModuleType]:
    pytest.importorskip("torch", reason="torch (extra `simulate`) is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "layer_cuts", study)
        yield load_script("tests/reliability/fine_tuning.py")


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


def test_the_rate_is_chosen_inside_the_training_images(study: ModuleType, tuning: ModuleType):
    board, _ = samples(study)
    (test,) = study.tested("iid", 0, board.folds["iid"])
    train, predicted = tuning.rows_of(board, "test", 300, 0)
    np.testing.assert_array_equal(predicted, test)
    kept, left_out = tuning.rows_of(board, "rate", 300, 0)
    np.testing.assert_array_equal(np.concatenate([kept, left_out]), train)
    assert len(left_out) == 60
    assert not np.isin(train, test).any()
    # The smaller error decides, and what was measured on test images does not.
    slow, fast = tuning.RATES
    done = {
        ("fire3", "random", 300, "rate", slow, 0): 5.0,
        ("fire3", "random", 300, "rate", fast, 0): 4.0,
        ("fire3", "random", 300, "test", 0.0, 0): 1.0,
    }
    assert tuning.best_rate(done, "fire3", "random", 300) == fast


def test_every_layer_up_to_the_cut_learns(study: ModuleType, tuning: ModuleType, monkeypatch):
    """Fractions of random pixels decide the target, which few steps learn to some percent."""
    generator = np.random.default_rng(0)
    fraction = generator.uniform(0.1, 0.9, 80)
    images = (generator.random((80, 32, 32)) < fraction[:, None, None]).astype(np.uint8)
    contrast = np.full(80, 10.0)
    contrast[::2] = 11.0
    low = tuning.bounds.reuss(fraction, contrast, ndim=2)
    high = tuning.bounds.voigt(fraction, contrast, ndim=2)
    board = study.Board(
        {"microstructure": images, "contrast": contrast},
        np.sqrt(low * high),
        {"iid": np.arange(80) % 5},
        np.repeat("m", 80),
    )
    monkeypatch.setattr(tuning, "STEPS", 6)
    trained = []
    train = tuning.train

    def watched(network, *args, **fields):
        before = {name: value.clone() for name, value in network.named_parameters()}
        train(network, *args, **fields)
        trained.extend(
            name for name, value in network.named_parameters() if not value.equal(before[name])
        )

    monkeypatch.setattr(tuning, "train", watched)
    rows = tuning.rows_of(board, "test", 64, 0)
    error = tuning.error(tuning.Training("fire3", "random", 1e-3, 0), board, *rows)
    assert error < 25
    parts = {name.removeprefix("encoder.features.").partition(".")[0] for name in trained}
    # The first convolution, two fire modules and the head; nothing behind the cut.
    assert parts >= {"0", "3", "4"}
    assert not parts & {"6", "7", "9", "10", "11", "12"}


def test_predictions_are_brought_between_the_bounds(study: ModuleType) -> None:
    board, _ = samples(study)
    rows = np.arange(3)
    target = board.target[rows]
    limited = study.Board(
        board.inputs,
        board.target,
        board.folds,
        board.morphologies,
        (0.9 * board.target, 1.2 * board.target),
    )
    wild = target * np.array([1e16, 0.0, 1.1])
    np.testing.assert_allclose(limited.percent_errors(wild, rows), [20, 10, 10])
    np.testing.assert_allclose(board.percent_errors(wild, rows)[1:], [100, 10])


def test_missing_draws_are_named(study: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"\d+ draws are missing, such as \('two_point"):
        study.gathered([])


@pytest.mark.skipif(not MEASURED.is_file(), reason="the study has not been run")
def test_the_page_is_that_of_the_measured_file(maker: ModuleType) -> None:
    assert maker.PAGE.read_text(encoding="utf-8") == maker.page()
    assert maker.unsupported(maker.measured()) == []
    results = json.loads(MEASURED.read_text(encoding="utf-8"))
    assert results["draws"] == 5
    for encoder in maker.encoders(results):
        assert set(results["results"][encoder]) == set(maker.WEIGHTS)


def test_the_page_is_written_from_every_number(
    study: ModuleType, tuning: ModuleType, maker: ModuleType, monkeypatch: pytest.MonkeyPatch
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
    monkeypatch.setattr(tuning, "CUTS", ("conv1_1", "conv2_1"))
    tuned = []
    for cut, weights, size, what, rate, draw in tuning.units():
        error = 9.0 + draw + (3 if weights == "random" else 0) if what == "test" else rate
        unit = [cut, weights, size, what, rate, draw]
        tuned.append(
            json.dumps({"unit": unit, "steps": tuning.STEPS, "error": error, "cpu_seconds": 360})
        )
    with pytest.raises(SystemExit, match="1 training is missing"):
        tuning.gathered(tuned[:-1])
    with pytest.raises(SystemExit, match="40 trainings are missing"):
        tuning.gathered([])
    other = [line.replace(f'"steps": {tuning.STEPS}', '"steps": 1') for line in tuned]
    with pytest.raises(SystemExit, match="40 trainings are missing"):
        tuning.gathered(other)
    first = [line for line in tuned if "conv1_1" in line]
    assert list(tuning.gathered(first)["results"]) == ["conv1_1"]
    measured = json.loads(json.dumps(tuning.gathered(tuned)))
    monkeypatch.setattr(maker, "tuned", lambda: measured)
    page = maker.page()
    same = "3.0 [3.0, 3.0]"
    assert f"| up to conv1_1, trained: pretraining lowers the error by | {same} | {same} |" in page
    assert "| up to conv2_1, pretrained, trained end to end | 10.0 ± 1.0 | 10.0 ± 1.0 |" in page
    # Errors after the first layer are one higher; the first three draws count.
    assert "| up to conv1_1, random weights, left as they are, ridge | 17.0 ± 1.0 |" in page
    assert "took 4.0 hours" in page
    # Draws 10 to 14: mean 12, standard deviation 1.6.
    assert "| VGG-19, pretrained, chosen cut | 12.0 ± 1.6 |" in page
    assert "| SqueezeNet 1.1, random weights, last layer | 37.0 ± 1.6 |" in page
    assert page.count("| two-point statistics, short lags | 42.0 ± 0.0 |") == 2
    assert "| pruned VGG-19, a morphology never seen | conv2_1 100 % |" in page
    assert "has not been measured here" not in page
    assert maker.draw().startswith(b"\x89PNG")
    # An encoder of which nothing was measured is left out, and named.
    rest = [line for line in lines if "vgg19-normalised-cut" not in line]
    tree = json.loads(json.dumps(study.gathered(rest)))
    page = maker.page()
    assert "VGG-19 has not been measured here" in page
    assert "| VGG-19, pretrained" not in page
    assert "| pruned VGG-19, random weights, chosen cut |" in page
    assert maker.draw().startswith(b"\x89PNG")
