"""Each kind of target on the pages: a toy board is browsed, compared and looked at in full."""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytest.importorskip("streamlit")
from dashboard.charts.masks import class_colours, coloured, errors_shown, legend
from dashboard.charts.matrices import row_shares
from dashboard.charts.shades import thumbnail
from dashboard.views.label import error_list, reliability
from dashboard.views.mask import image_overlap
from pages import captions, figures, fine, model_page, numbers_of, page, start, table_with, values
from sklearn import metrics as peers
from toys import NAME, Toy, write

import etchmark
from etchmark.api import SampleScores, open_hub
from etchmark.data.loading import Benchmark
from etchmark.errors import DoubtWarning

CLASSES = ["bainite", "ferrite", "martensite"]
PHASES = ["matrix", "precipitate", "pore"]
COMPONENTS = ["c11", "c12", "c21", "c22"]
ARRAY_BUILD = """
values = np.stack([x + 9, x * x + 1, x * x + 1, x + 12], axis=1).reshape(rows, 2, 2)
y, feature = array_column(values), array_feature(values)
"""
LABEL_BUILD = """
y = np.where(x > 0.4, "martensite", np.where(x < -0.4, "ferrite", "bainite"))
y[:3] = ["ferrite", "martensite", "bainite"]
"""
MASK_BUILD = """
values = generator.integers(0, 3, (rows, 8, 12)).astype(np.uint8)
values[:, :4] = 0
y, feature = array_column(values), array_feature(values)
"""
MASK_BUILD_WITH_PICTURES = (
    MASK_BUILD
    + """
more = {"photo": image_column([(40 * value).astype(np.uint8) for value in values])}
more_features = {"photo": IMAGE}
"""
)
MODEL = """
class Model:
    def fit(self, train, validation):
        pass

    def predict(self, inputs):
        return RETURNED
"""


def noisy(labels: np.ndarray, size: float) -> np.ndarray:
    return labels + size * np.random.default_rng(0).normal(size=labels.shape)


def swapped(labels: np.ndarray, share: float) -> np.ndarray:
    """Labels of which some stand where others did."""
    generator = np.random.default_rng(1)
    wrong = np.flatnonzero(generator.random(len(labels)) < share)
    names = labels.copy()
    names[wrong] = np.roll(labels[wrong], 1)
    return names


def probabilities(names: np.ndarray) -> np.ndarray:
    """Most on each name, the rest shared out unevenly."""
    shares = np.random.default_rng(2).uniform(0.05, 0.3, (len(names), len(CLASSES)))
    shares[np.arange(len(names)), [CLASSES.index(name) for name in names]] = 0.8
    return shares / shares.sum(axis=1, keepdims=True)


def eroded(labels: np.ndarray, share: float) -> np.ndarray:
    generator = np.random.default_rng(3)
    wrong = generator.random(labels.shape) < share * np.linspace(0.2, 1, len(labels))[:, None, None]
    return np.where(wrong, generator.integers(0, 3, labels.shape), labels).astype(np.uint8)


LABEL_TARGET = {"kind": "label", "classes": CLASSES}
TOYS = {
    "array": Toy(
        ARRAY_BUILD,
        MODEL.replace("RETURNED", 'np.full((len(inputs["x"]), 2, 2), 5.0)'),
        {"kind": "array", "shape": [2, 2], "components": COMPONENTS, "unit": "GPa"},
        ["relative_error", "rmse", "component_error:c11"],
        lambda labels: noisy(labels, 0.5),
        lambda labels: noisy(labels, 0.05),
    ),
    "label": Toy(
        LABEL_BUILD,
        MODEL.replace("RETURNED", 'np.full(len(inputs["x"]), "ferrite")'),
        LABEL_TARGET,
        ["macro_f1", "accuracy"],
        lambda labels: swapped(labels, 0.7),
        lambda labels: swapped(labels, 0.3),
    ),
    "probabilities": Toy(
        LABEL_BUILD,
        MODEL.replace("RETURNED", 'np.full((len(inputs["x"]), 3), 1 / 3)'),
        {**LABEL_TARGET, "probabilities": True},
        ["log_loss", "accuracy"],
        lambda labels: probabilities(swapped(labels, 0.7)),
        lambda labels: probabilities(swapped(labels, 0.3)),
    ),
    "mask": Toy(
        MASK_BUILD,
        MODEL.replace("RETURNED", 'np.zeros((len(inputs["x"]), 8, 12), dtype=np.uint8)'),
        {"kind": "mask", "classes": PHASES, "particles": "precipitate"},
        ["mean_iou", "iou:pore"],
        lambda labels: eroded(labels, 0.6),
        lambda labels: eroded(labels, 0.2),
    ),
}


@dataclass(frozen=True)
class Board:
    """A toy board with two submissions and a run."""

    benchmark: Benchmark
    submissions: dict[str, str]
    labels: np.ndarray
    predicted: dict[str, np.ndarray]

    def scores(self, name: str) -> SampleScores:
        hub = open_hub()
        entry = hub.entry(self.submissions[name])
        assert entry is not None
        scores = hub.samples(entry, "test")
        assert scores is not None
        return scores

    def model(self, name: str = "near") -> str:
        return self.submissions[name][:12]


@pytest.fixture
def toy_board(toy_content: Path, tmp_path: Path) -> Callable[[str], Board]:
    def make(kind: str) -> Board:
        toy = TOYS[kind]
        benchmark = write(toy, toy_content, tmp_path / "built")
        truth = benchmark.truth("test")
        labels = truth.values
        predicted = {"near": toy.perfect(labels), "far": toy.worse(labels)}
        submissions = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DoubtWarning)
            for name, cells in predicted.items():
                frame = pd.DataFrame({"id": truth.ids, "prediction": list(cells)})
                record = etchmark.submit(frame, NAME, name=name, track="all")
                submissions[name] = record.submission
        return Board(benchmark, submissions, labels, predicted)

    return make


def keys(app: Any) -> list[str]:
    return [element.key for element in app.get("plotly_chart")]


def figure(app: Any, key: str) -> dict[str, Any]:
    return dict(zip(keys(app), figures(app), strict=True))[key]


def cells_of(drawn: dict[str, Any]) -> np.ndarray:
    """Values of a heat map."""
    return np.array(numbers_of(drawn["z"])).reshape(len(drawn["y"]), len(drawn["x"]))


@pytest.mark.parametrize("kind", TOYS)
def test_every_page_shows_a_board_of_any_kind(kind: str, toy_board: Callable[[str], Board]) -> None:
    board = toy_board(kind)
    record = etchmark.evaluate("toy_model", NAME, seeds=2)
    assert record.outcome == "ok", record.reason
    app = fine(start(benchmark=NAME))
    assert {"near", "far"} <= set(table_with(app, "model")["model"])
    for submission in [*board.submissions.values(), record.submission]:
        app = fine(model_page(submission[:12], tab="errors"))
        assert values(app.warning) == []
    shorts = ",".join(short[:12] for short in [*board.submissions.values(), record.submission])
    fine(page("compare", benchmark=NAME, models=shorts))
    app = fine(page("data", dataset="kinds", config="kinds-mini"))
    assert table_with(app, "value") is not None
    for name in ("overview", "submit"):
        fine(page(name, benchmark=NAME))


def test_the_error_of_each_component(toy_board: Callable[[str], Board]) -> None:
    board = toy_board("array")
    app = fine(model_page(board.model(), tab="errors"))
    measured = board.labels.reshape(-1, 4)
    error = np.abs(board.predicted["near"].reshape(-1, 4) - measured)
    own = 100 * error.sum(axis=0) / np.abs(measured).sum(axis=0)
    drawn = figure(app, "components")["data"][0]
    np.testing.assert_allclose(cells_of(drawn), own.reshape(2, 2), rtol=1e-5)
    assert [text.partition("<br>")[0] for row in drawn["text"] for text in row] == COMPONENTS
    table = table_with(app, "component")
    assert table["component"].tolist() == COMPONENTS
    np.testing.assert_allclose(table["mean absolute error / GPa"], error.mean(axis=0), rtol=1e-4)
    assert (table["ci_low"] < table["mean absolute error / GPa"]).all()
    assert (table["mean absolute error / GPa"] < table["ci_high"]).all()
    app.segmented_control(key=f"relative-to-{NAME}").set_value("the whole array").run()
    fine(app)
    norm = np.linalg.norm(measured, axis=1).sum()
    drawn = figure(app, "components")["data"][0]
    np.testing.assert_allclose(
        cells_of(drawn), (100 * error.sum(axis=0) / norm).reshape(2, 2), rtol=1e-5
    )


def test_a_component_against_the_truth_and_the_worst_arrays(
    toy_board: Callable[[str], Board],
) -> None:
    board = toy_board("array")
    app = fine(model_page(board.model("far"), tab="errors"))
    (choice,) = [element for element in app.selectbox if element.label == "Component"]
    choice.set_value("c22").run()
    fine(app)
    points = figure(app, "parity")["data"][1]
    np.testing.assert_allclose(numbers_of(points["x"]), board.labels[:, 1, 1])
    np.testing.assert_allclose(numbers_of(points["y"]), board.predicted["far"][:, 1, 1])
    assert len(table_with(app, "c22 measured / GPa")) == 9
    worst = table_with(app, "relative error / %")
    difference = board.predicted["far"] - board.labels
    relative = (
        100 * np.linalg.norm(difference, axis=(1, 2)) / np.linalg.norm(board.labels, axis=(1, 2))
    )
    row = int(relative.argmax())
    assert worst["relative error / %"].iloc[0] == pytest.approx(relative[row])
    place = int(np.abs(difference[row]).argmax())
    assert worst["component"].iloc[0] == COMPONENTS[place]
    assert worst["predicted / GPa"].iloc[0] == pytest.approx(
        board.predicted["far"][row].ravel()[place]
    )


def test_components_of_two_models_and_of_a_sample(toy_board: Callable[[str], Board]) -> None:
    board = toy_board("array")
    shorts = ",".join(board.model(name) for name in ("near", "far"))
    app = fine(page("compare", benchmark=NAME, models=shorts))
    table = table_with(app, "group")
    # The truth is symmetric, so c21 would repeat c12.
    assert table["group"].tolist() == ["c11", "c12", "c22"]
    assert (table["near"] < table["far"]).all()
    assert any("below the diagonal" in text for text in captions(app))
    app = fine(page("data", dataset="kinds", config="kinds-mini", split="test"))
    drawn = figure(app, "matrix-y")["data"][0]
    np.testing.assert_allclose(cells_of(drawn), board.labels[0])


@pytest.mark.parametrize("kind", ["label", "probabilities"])
def test_confusion_and_scores_of_each_class(kind: str, toy_board: Callable[[str], Board]) -> None:
    board = toy_board(kind)
    app = fine(model_page(board.model("far"), tab="errors"))
    truth, cells = board.labels.astype(str), board.predicted["far"]
    names = cells if kind == "label" else np.array(CLASSES)[cells.argmax(axis=1)]
    expected = peers.confusion_matrix(truth, names, labels=CLASSES)
    drawn = figure(app, "confusion")["data"][0]
    assert [int(text.partition("<br>")[0]) for row in drawn["text"] for text in row] == (
        expected.ravel().tolist()
    )
    np.testing.assert_allclose(cells_of(drawn), row_shares(expected))
    table = table_with(app, "true class")
    assert table["n"].tolist() == expected.sum(axis=1).tolist()
    assert table["as ferrite"].tolist() == expected[:, 1].tolist()
    scores = table_with(app, "recall")
    precision, recall, _, support = peers.precision_recall_fscore_support(
        truth, names, labels=CLASSES, zero_division=np.nan
    )
    np.testing.assert_allclose(scores["recall"], recall)
    np.testing.assert_allclose(scores["precision"], precision)
    assert scores["n"].tolist() == support.tolist()
    wrong = table_with(app, "predicted class")
    assert len(wrong) == (truth != names).sum()
    assert (wrong["true class"] != wrong["predicted class"]).all()
    assert ("reliability" in keys(app)) == (kind == "probabilities")
    if kind == "label":
        share = figure(app, "residuals")["data"][0]
        np.testing.assert_allclose(numbers_of(share["x"]), 1 - recall, atol=1e-12)
    shorts = ",".join(board.model(name) for name in ("near", "far"))
    app = fine(page("compare", benchmark=NAME, models=shorts))
    np.testing.assert_allclose(table_with(app, "group")["far"], recall)
    assert set(figure(app, "errors")["data"][0]) >= {"z", "text"} or kind == "probabilities"


def test_confidence_against_accuracy(toy_board: Callable[[str], Board]) -> None:
    board = toy_board("probabilities")
    app = fine(model_page(board.model("far"), tab="errors"))
    shares = board.predicted["far"]
    confidence = shares.max(axis=1)
    correct = np.array(CLASSES)[shares.argmax(axis=1)] == board.labels.astype(str)
    table = table_with(app, "bin")
    assert table["n"].sum() == len(shares)
    gaps = table["n"] * (table["confidence"] - table["accuracy"]).abs()
    bins = np.ceil(confidence * 15)
    expected = [abs((confidence - correct)[bins == at].sum()) for at in np.unique(bins)]
    np.testing.assert_allclose(gaps, expected, atol=1e-12)
    scores = board.scores("far")
    assert reliability(scores) is not None
    listed, total = error_list(board.benchmark.spec, scores)
    assert total == (~correct).sum()
    assert listed["confidence"].is_monotonic_decreasing
    assert listed["confidence"].iloc[0] == pytest.approx(confidence[~correct].max())


def test_overlap_of_classes_and_images(toy_board: Callable[[str], Board]) -> None:
    board = toy_board("mask")
    app = fine(model_page(board.model("far"), tab="errors"))
    truth, guess = board.labels, board.predicted["far"]
    table = table_with(app, "IoU")
    np.testing.assert_allclose(
        table["IoU"], peers.jaccard_score(truth.ravel(), guess.ravel(), average=None)
    )
    assert (table["ci_low"] < table["IoU"]).all()
    entry = open_hub().entry(board.submissions["far"])
    assert entry is not None
    declared = entry.record.scores[0].metrics["iou:pore"]
    shown = table[["IoU", "ci_low", "ci_high"]].iloc[PHASES.index("pore")]
    assert shown.tolist() == [declared.value, declared.ci_low, declared.ci_high]
    assert table["images"].tolist() == [9, 9, 9]
    assert table["pixels / %"].sum() == pytest.approx(100)
    by_image = [
        peers.jaccard_score(one.ravel(), other.ravel(), average="macro")
        for one, other in zip(truth, guess, strict=True)
    ]
    np.testing.assert_allclose(image_overlap(board.scores("far"), PHASES)[0], by_image)
    medians = [e.value["median"].iloc[0] for e in app.dataframe if "median" in e.value.columns]
    assert any(median == pytest.approx(np.median(by_image)) for median in medians)
    confused = peers.confusion_matrix(truth.ravel(), guess.ravel())
    drawn = figure(app, "confusion")["data"][0]
    np.testing.assert_allclose(cells_of(drawn), row_shares(confused))
    worst, best = (
        board.benchmark.truth("test").ids[at]
        for at in (int(np.argmin(by_image)), int(np.argmax(by_image)))
    )
    (text,) = [text for text in captions(app) if text.startswith("Split test, first seed.")]
    assert f"Worst: {worst}, mean IoU" in text
    assert f"Best: {best}, mean IoU" in text
    shorts = ",".join(board.model(name) for name in ("near", "far"))
    app = fine(page("compare", benchmark=NAME, models=shorts))
    np.testing.assert_allclose(table_with(app, "group")["far"], table["IoU"])


def test_a_mask_on_its_picture(
    toy_board: Callable[[str], Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOYS, "mask", replace(TOYS["mask"], build=MASK_BUILD_WITH_PICTURES))
    board = toy_board("mask")
    app = fine(model_page(board.model("far"), tab="errors"))
    truth, guess = board.labels, board.predicted["far"]
    by_image = image_overlap(board.scores("far"), PHASES)[0]
    worst, best = int(np.argmin(by_image)), int(np.argmax(by_image))

    def shown() -> np.ndarray:
        (drawn,) = figure(app, "overlay")["data"]
        content = base64.b64decode(drawn["source"].partition(",")[2])
        return np.asarray(Image.open(io.BytesIO(content)))

    def ground(row: int) -> np.ndarray:
        return np.stack([40 * truth[row]] * 3, axis=-1)

    mixed = 0.6 * ground(worst) + 0.4 * coloured(guess[worst], 3)
    assert np.abs(shown() - mixed).max() <= 0.5
    app.slider(key="overlay-opacity").set_value(0).run()
    assert (shown() == ground(worst)).all()
    app.slider(key="overlay-opacity").set_value(100)
    app.segmented_control(key="overlay-mask").set_value("truth")
    app.segmented_control(key="overlay-image").set_value("best").run()
    fine(app)
    assert (shown() == coloured(truth[best], 3)).all()
    app.segmented_control(key="overlay-mask").set_value("wrong pixels").run()
    wrong = truth[best] != guess[best]
    assert (shown()[~wrong] == ground(best)[~wrong]).all()
    assert (shown()[wrong] == errors_shown(truth[best], guess[best])[wrong]).all()


def test_without_the_data_there_is_no_overlay(
    toy_board: Callable[[str], Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = toy_board("mask")
    app = fine(model_page(board.model("far"), tab="errors"))
    assert "overlay" not in keys(app), "this dataset has no pictures beside its masks"
    monkeypatch.setattr("dashboard.cached.gallery_of", lambda *_: None)
    app = fine(model_page(board.model("far"), tab="errors"))
    assert any("not on this machine" in text for text in captions(app))
    assert "confusion" in keys(app)


def test_samples_of_masks_in_colours(toy_board: Callable[[str], Board]) -> None:
    board = toy_board("mask")
    app = fine(page("data", dataset="kinds", config="kinds-mini", split="test"))
    assert "Class 0 is black, 1 white, 2 orange." in captions(app)
    assert len(app.get("image")) == 3, "thumbnails, the sample and its legend"
    gallery = open_hub().gallery("kinds", "kinds-mini")
    assert gallery is not None
    assert gallery.masks == {"y": 3}
    drawn = thumbnail(gallery, "test", 0)
    assert drawn is not None
    assert (drawn == coloured(board.labels[0], 3)).all()


def test_damaged_pictures_of_masks_are_named_and_the_rest_is_shown(
    toy_board: Callable[[str], Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = toy_board("mask")
    kind = type(board.benchmark.kind)
    monkeypatch.setattr(kind, "pictures", lambda *_: (_ for _ in ()).throw(ValueError("torn")))
    app = fine(model_page(board.model(), tab="errors"))
    (warning,) = values(app.warning)
    assert "are damaged" in warning
    assert "confusion" in keys(app)


def test_colours_of_masks() -> None:
    mask = np.array([[0, 1], [2, 2]], dtype=np.uint8)
    colours = class_colours(3)
    assert len(np.unique(colours, axis=0)) == 3
    assert (coloured(mask, 3)[1, 1] == colours[2]).all()
    shown = errors_shown(mask, np.array([[0, 1], [2, 0]], dtype=np.uint8))
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) == 2
    assert (shown[1, 1] != shown[1, 0]).any()
    assert len(np.unique(class_colours(40), axis=0)) == 40
    text = legend(["matrix", "<b>pore"])
    assert "<b>" not in text
    assert all(word in text for word in ("matrix", "right", "wrong"))
    assert "wrong" not in legend(["matrix"], wrong=False)


def test_shares_of_rows() -> None:
    shares = row_shares(np.array([[1, 3], [0, 0]]))
    assert shares[0].tolist() == [0.25, 0.75]
    assert all(math.isnan(value) for value in shares[1])
