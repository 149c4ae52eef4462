"""Learning curves, on the board and of one model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit")
from dashboard.panels.curves import shown_json
from pages import BENCHMARK, fine, model_page, start, submit, values
from streamlit.testing.v1 import AppTest

from etchmark.registry.store import Store
from etchmark.registry.tables import Entry
from etchmark.specs import Curve, CurvePoint, MetricScore


def with_curves(entry: Entry, better: float = 1.0, *, scored_on: Any = "inner folds") -> None:
    """Give a stored submission two curves."""
    headline = entry.record.scores[0].metrics["mae"]
    points = [
        CurvePoint(value=0.01, samples=2, reason="fewer than 10 training samples"),
        CurvePoint(value=0.85, samples=10, score=MetricScore(value=7 * better), draws=[6.0, 8.0]),
        CurvePoint(value=1.0, samples=12, score=headline),
    ]
    said = {"split": "test", "metric": "mae"}
    curves = [
        Curve(name="training-size", title="Less data", axis="samples", points=points, **said),
        Curve(
            name="degree",
            title="Degree",
            axis="k",
            param="k",
            scored_on=scored_on,
            points=points[1:],
            **said,
        ),
    ]
    record = entry.record.model_copy(update={"curves": curves})
    Store().add(Entry(record, entry.samples, entry.origin))


def figures_of(app: AppTest) -> list[str]:
    (control,) = [element for element in app.segmented_control if element.key == "pick-figure"]
    return control.options


def models_of(app: AppTest) -> list[str]:
    (models,) = [element for element in app.multiselect if element.label == "Models"]
    return models.value


def test_curves_are_shown_where_records_hold_them(board: dict[str, Entry]) -> None:
    assert figures_of(start(benchmark=BENCHMARK)) == ["Scores with intervals"]
    with_curves(board["good"])
    with_curves(board["worse"], 2.0)
    with_curves(board["old"])
    app = fine(start(benchmark=BENCHMARK))
    # The table has the intervals already, so what it lacks is shown first.
    assert figures_of(app) == ["Learning curves", "Scores with intervals"]
    app.segmented_control(key="pick-figure").set_value("intervals").run()
    assert app.query_params["figure"] == "intervals"
    app.segmented_control(key="pick-figure").set_value("needs").run()
    (models,) = [element for element in app.multiselect if element.label == "Models"]
    assert models.value == ["good", "worse"], "in the order of the board, without the superseded"
    assert any("mean of 2 draws" in caption for caption in values(app.caption))
    points = app.dataframe[1].value
    assert points["training samples"].tolist() == [2, 10, 12] * 2
    assert points["reason"][0] == "fewer than 10 training samples"
    assert points["mae"][1] == "7.000"
    assert points["from … to"][1] == "6.000 … 8.000"
    app.segmented_control[-1].set_value("degree").run()
    assert len(fine(app).dataframe[1].value) == 4
    assert any(
        "scored on inner folds of the training data" in caption for caption in values(app.caption)
    )
    assert not any("not shown" in caption for caption in values(app.caption))
    app.multiselect(key=models.key.replace("training-size", "degree")).set_value([]).run()
    assert any("Pick at least one" in element.value for element in fine(app).info)


def test_curves_that_rest_on_test_scores_are_not_shown(board: dict[str, Entry]) -> None:
    with_curves(board["good"], scored_on=None)
    submission = board["good"].record.submission
    pages = [
        fine(start(benchmark=BENCHMARK, figure="needs")),
        fine(model_page(submission[:12], tab="errors")),
    ]
    for app in pages:
        (said,) = [element.value for element in app.caption if "are not shown" in element.value]
        assert "scored on the test samples, which must not be used to choose a setting" in said
        assert f"etchmark results run {BENCHMARK} --only good --again" in said
        assert not any("Degree" in str(element.value) for element in app.segmented_control)
    (choice,) = [
        element for element in pages[0].segmented_control if "pick-curve" in str(element.key)
    ]
    assert choice.options == ["Less data"]
    entry = Store().get(submission)
    assert entry is not None
    dumped = json.loads(shown_json(entry.record))
    assert [curve["name"] for curve in dumped["curves"]] == ["training-size"]


def test_curves_of_one_model_on_two_tracks_have_two_names(
    board: dict[str, Entry], tmp_path: Path
) -> None:
    with_curves(board["good"])
    with_curves(submit(tmp_path, "good", 4.0, track="kinds"))
    app = fine(start(benchmark=BENCHMARK, figure="needs"))
    assert models_of(app) == ["good (features)", "good (kinds)"]
    app.selectbox(key="pick-track").set_value("kinds").run()
    assert models_of(fine(app)) == ["good"]
