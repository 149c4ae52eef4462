"""What pages draw of each target kind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("streamlit")

from dashboard import views
from dashboard.charts import images
from dashboard.views import frames
from dashboard.views.scalar import ScalarView
from pages import figures, fine, model_page, numbers_of, start, table_with, values

from etchmark.api import open_hub
from etchmark.data.loading import load_benchmark
from etchmark.predictions import write_parts
from etchmark.registry.store import Store
from etchmark.registry.tables import Entry
from etchmark.specs import ModelCard
from etchmark.submission import submit as submissions


def test_elements_without_names_are_known_by_their_place(toy_content: Path, tmp_path: Path) -> None:
    benchmark = load_benchmark("toy-fields")
    labels = benchmark.truth("test", "holdout")
    flat = pa.array(
        (labels.target + 1).reshape(len(labels.ids), -1).tolist(), pa.list_(pa.float32())
    )
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"id": labels.ids.tolist(), "prediction": flat}), path)
    prepared = submissions.prepare_file(
        benchmark, path, name="fields", card=ModelCard(), track="features", protocol="holdout"
    )
    submissions.commit(Store(), prepared)
    app = fine(model_page(prepared.record.submission[:12], tab="errors"))
    (choice,) = [element for element in app.selectbox if element.label == "Component"]
    assert choice.options == ["1, 1", "1, 2", "2, 1", "2, 2", "3, 1", "3, 2"]
    table = table_with(app, "component")
    assert table["component"].tolist() == choice.options
    assert table.filter(like="mean error").iloc[:, 0].tolist() == pytest.approx([1.0] * 6)


def test_frames_show_their_error_over_the_horizon(toy_frames: Path, tmp_path: Path) -> None:
    benchmark = load_benchmark("toy-waves")
    labels = benchmark.truth("test")
    truth = labels.values.astype(np.float64)
    path = tmp_path / "p.parquet"
    # An error that grows by as much from frame to frame.
    predicted = truth + 0.01 * np.arange(1, 7)[None, :, None, None]
    write_parts(path, [(labels.ids, predicted, np.zeros(5))])
    prepared = submissions.prepare_file(
        benchmark, path, name="waves", card=ModelCard(), track="frames", protocol="holdout"
    )
    submissions.commit(Store(), prepared)
    short = prepared.record.submission[:12]
    board = fine(start(benchmark="toy-waves", model=short, figure="predictions"))
    assert len(board.get("image")) == 2, "the benchmark's picture, and one of the models"
    app = fine(model_page(short, tab="errors"))
    (horizon,) = [
        figure
        for figure in figures(app)
        if figure["layout"]["xaxis"]["title"]["text"] == "frames ahead"
    ]
    line = horizon["data"][1]
    assert line["name"] == "waves"
    assert numbers_of(line["x"]) == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(numbers_of(line["y"]), 0.01 * np.arange(1, 7), rtol=0.05)
    # One picture of the model in full, its worst and best samples.
    assert len(app.get("image")) == 3
    texts = values(app.caption)
    assert sum("the same for every model" in text for text in texts) == 1
    assert any(text.startswith("The truth, from the first input frame") for text in texts)
    points = table_with(app, "ahead")
    assert points["ahead"].tolist() == [1, 2, 3, 4, 5, 6]


def test_a_strip_shows_a_sample_from_its_first_frame_to_its_last(toy_frames: Path) -> None:
    load_benchmark("toy-waves").truth("test")
    spec = load_benchmark("toy-waves").spec
    gallery = open_hub().gallery(spec.dataset, spec.tracks["frames"].config)
    assert gallery is not None
    film = gallery.film("test", 0)
    (strip,) = frames.strips(gallery, "test", (0,))
    width = strip.shape[1] // frames.STRIP
    cells = [strip[:, at * width : (at + 1) * width, 0] for at in range(frames.STRIP)]
    assert strip.shape[1] == frames.STRIP * width
    first, last = (images.framed(images.sized(frame, 112))[..., 0] for frame in (film[0], film[-1]))
    np.testing.assert_array_equal(cells[0], first)
    np.testing.assert_array_equal(cells[-1], last)
    assert any((cell != first).any() for cell in cells)


def test_a_kind_is_found_by_the_name_of_its_module(
    toy_frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert type(views.view_of(load_benchmark("toy-waves").spec)) is frames.FramesView
    scalar = load_benchmark("toy-line").spec
    assert "scalar" in views.kinds()
    assert type(views.view_of(scalar)) is ScalarView
    # A kind without a module is drawn by its errors alone.
    monkeypatch.setattr(views, "kind_of", lambda spec: "no-such-kind")
    assert type(views.view_of(scalar)) is views.TargetView


@pytest.fixture
def toy_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A kind that adds one file, and a scalar benchmark that is taken for one of that kind."""
    code = (
        "import streamlit as st\n"
        "from dashboard.views.base import TargetView\n"
        "class ToyView(TargetView):\n"
        "    def show_against_truth(self, alone, scores):\n"
        "        st.markdown('A toy.')\n"
        "VIEW = ToyView()\n"
    )
    folder = tmp_path / "views"
    folder.mkdir()
    (folder / "toy.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(views, "__path__", [*views.__path__, str(folder)])
    monkeypatch.setattr(views, "kind_of", lambda spec: "toy")
    views.kinds.cache_clear()
    views._view.cache_clear()
    yield
    views.kinds.cache_clear()
    views._view.cache_clear()
    sys.modules.pop("dashboard.views.toy", None)


def test_a_kind_is_added_by_one_file(board: dict[str, Entry], toy_kind: None) -> None:
    app = fine(model_page(board["good"].record.submission[:12], tab="errors"))
    assert "A toy." in values(app.markdown)
    keys = [element.key for element in app.get("plotly_chart")]
    assert keys == ["residuals", "property"], "its errors are drawn, but no parity"
