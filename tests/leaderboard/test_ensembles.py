"""Ensembles on the pages: groups of descriptors, every exemplar, and some reconstructions."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("streamlit")
pytest.importorskip("torch", reason="the stiffness of images needs PyTorch")
from dashboard.views.ensemble import (
    CELL,
    described_pictures,
    exemplar_table,
    groups_of,
    picture,
)
from pages import captions, fine, model_page, page, table_with, values
from test_ensemble import toy as ensemble_toy
from test_kinds import TOYS, Board, keys, toy_board
from toys import NAME, Toy

from etchmark.api import kept_pictures, open_hub
from etchmark.descriptors import GROUPS

__all__ = ["toy_board"]


@pytest.fixture
def board(
    toy_board: Callable[[str], Board],
    monkeypatch: pytest.MonkeyPatch,
) -> Board:
    """Submissions of true realisations and of noise."""
    monkeypatch.setitem(TOYS, "ensemble", ensemble_toy(Toy))
    return toy_board("ensemble")


def test_pages_of_a_board_of_ensembles(board: Board) -> None:
    app = fine(model_page(board.model("far"), tab="errors"))
    assert values(app.warning) == []
    table = table_with(app, "distance")
    assert table["group"].tolist() == [name.replace("_", " ") for name in GROUPS]
    entry = open_hub().entry(board.submissions["far"])
    assert entry is not None
    metrics = entry.record.scores[0].metrics
    for name, row in zip(GROUPS, table.to_dict("records"), strict=True):
        declared = metrics[f"{name}_distance"]
        assert row["distance"] == pytest.approx(declared.value)
        # Noise has no interval where every exemplar scores 1.
        assert declared.ci_low in (None, pytest.approx(row["ci_low"]))
        assert declared.ci_high in (None, pytest.approx(row["ci_high"]))
    assert table["distance"].mean() == pytest.approx(metrics["reconstruction_score"].value)
    assert "groups" in keys(app)
    (text,) = [text for text in captions(app) if text.startswith("Split test, the first image")]
    assert text.count(", score ") == 4

    shorts = ",".join(board.model(name) for name in ("near", "far"))
    app = fine(page("compare", benchmark=NAME, models=shorts))
    compared = table_with(app, "group")
    np.testing.assert_allclose(compared["far"], table["distance"])
    assert (compared["near"] < compared["far"]).all()
    fine(page("data", dataset="kinds", config="kinds-mini", split="test"))


def test_every_exemplar_and_the_pictures_of_some(board: Board) -> None:
    scores = board.scores("near")
    table = exemplar_table(scores)
    assert len(table) == 9
    assert table["score"].is_monotonic_decreasing
    np.testing.assert_allclose(table[groups_of(scores)].mean(axis=1), table["score"])
    # What was submitted are the realisations themselves.
    assert set(table["copies / %"]) == {100.0}
    assert set(exemplar_table(board.scores("far"))["copies / %"]) == {0.0}

    scores = board.scores("far")
    pictures = kept_pictures(scores)
    assert pictures is not None
    drawn = np.asarray(Image.open(io.BytesIO(picture(pictures))).convert("L"))
    columns = len(pictures.titles)
    assert columns == 4
    size = pictures.truth.shape[1]
    for column in range(columns):
        for images, top in ((pictures.truth, 52), (pictures.predicted, 52 + 26 + 8 + CELL)):
            left = column * (CELL + 8)
            cell = drawn[top : top + CELL, left : left + CELL]
            middles = ((np.arange(size) + 0.5) * CELL / size).astype(int)
            light = cell[np.ix_(middles[1:-1], middles[1:-1])] > 128
            assert (light == images[column][1:-1, 1:-1]).mean() > 0.99
    score = exemplar_table(scores).set_index("exemplar")["score"]
    shown = score[pictures.samples]
    assert shown.is_monotonic_increasing
    assert (shown.iloc[0], shown.iloc[-1]) == (score.min(), score.max())
    said = described_pictures(pictures, scores)
    assert all(sample in said for sample in pictures.samples)


def test_damaged_pictures_are_named_and_the_rest_is_shown(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(*_: Any) -> Any:
        raise ValueError("torn")

    monkeypatch.setattr(type(board.benchmark.kind), "pictures", torn)
    app = fine(model_page(board.model(), tab="errors"))
    (warning,) = values(app.warning)
    assert "are damaged" in warning
    assert table_with(app, "copies / %") is not None
