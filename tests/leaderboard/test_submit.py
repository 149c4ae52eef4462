"""The page that checks, previews and stores a submission."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("streamlit")
from pages import (
    BENCHMARK,
    fine,
    page,
    predictions,
    press,
    query,
    start,
    table,
    table_with,
    values,
)
from streamlit.testing.v1 import AppTest

from etchmark.data import loading
from etchmark.data.loading import load_benchmark
from etchmark.registry.store import Store
from etchmark.registry.tables import Entry
from etchmark.submission import preview
from etchmark.submission import submit as submissions


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, na_rep="nan").encode()


def give(app: AppTest, content: bytes, name: str = "mine", file: str = "mine.csv") -> AppTest:
    app.file_uploader(key="submit-file").set_value((file, content, "text/csv"))
    app.text_input(key="submit-name").set_value(name)
    press(app, "Check and preview")
    return app


def ready(**view: str) -> AppTest:
    """The submit page with the toy's data built."""
    load_benchmark(BENCHMARK).truth("test", "holdout")
    return fine(page("submit", **{"benchmark": BENCHMARK, **view}))


def test_submit_previews_before_it_stores(board: dict[str, Entry]) -> None:
    app = give(ready(), _csv(predictions(0.5)))
    fine(app)
    assert "all 9 ids of 3 sources" in app.success[0].value
    near = table_with(app, "rank range")
    assert near["model"].tolist()[0] == "mine"
    assert near[""].tolist() == ["▶", "", "", ""]
    assert "mine" not in Store().names(BENCHMARK)
    press(app, "Store this submission")
    assert "Stored" in fine(app).success[0].value
    assert "mine" in Store().names(BENCHMARK)
    stored = next(
        element for element in Store().entries(BENCHMARK, 1) if element.record.name == "mine"
    ).record
    assert Store().prediction_path(stored.fingerprints.predictions[0]).is_file()
    labels = [element.label for element in app.get("download_button")]
    assert any("receipt" in label for label in labels)
    app.switch_page("app_pages/leaderboard.py").run()
    assert table(fine(app))["model"].tolist()[0] == "mine"


def test_the_role_is_chosen_in_the_form(board: dict[str, Entry], quick: None) -> None:
    app = ready()
    assert app.selectbox(key="submit-role").value == "entry"
    app.selectbox(key="submit-role").set_value("exploratory")
    give(app, _csv(predictions(0.5)))
    assert any("its role here is exploratory" in text for text in values(fine(app).info))
    press(app, "Store this submission")
    stored = next(
        entry.record for entry in Store().entries(BENCHMARK, 1) if entry.record.name == "mine"
    )
    assert stored.role == "exploratory"


def test_declared_training_data_that_hold_test_samples_are_a_doubt(
    board: dict[str, Entry], quick: None
) -> None:
    app = ready()
    app.text_input(key="submit-training-sets").set_value("toy:scalar-mini:test, ImageNet-21k")
    app = give(app, _csv(predictions(0.5)))
    # Named sets are declared data: the form has to say so.
    assert "must be declared" in app.error[0].value
    app.selectbox(key="submit-training-data").set_value("declared")
    press(app, "Check and preview")
    fine(app)
    assert any("9 of its 9 samples are in" in warning.value for warning in app.warning)
    press(app, "Store this submission")
    stored = next(entry for entry in Store().entries(BENCHMARK, 1) if entry.record.name == "mine")
    assert stored.record.card.training_sets == ["toy:scalar-mini:test", "ImageNet-21k"]


def test_the_preview_says_what_is_stored_and_what_it_replaces(
    board: dict[str, Entry], quick: None
) -> None:
    app = give(ready(), _csv(predictions(0.5)))
    assert any("**mine**, from mine" in line for line in values(app.markdown))
    assert not app.warning
    press(app, "Store this submission")
    again = give(ready(), _csv(predictions(0.4)))
    assert "replaces" in again.warning[0].value
    other = give(ready(), _csv(predictions(0.5)), name="another")
    assert "same predictions are stored already, as mine" in other.warning[0].value


def test_what_is_stored_last_is_the_newest(
    board: dict[str, Entry], quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2031, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(submissions, "_now", lambda: now)
    first = give(ready(), _csv(predictions(0.5)))
    now = datetime(2031, 1, 2, tzinfo=UTC)
    press(give(ready(), _csv(predictions(0.4))), "Store this submission")
    now = datetime(2031, 1, 3, tzinfo=UTC)
    press(first, "Store this submission")
    press(first, "Replace it")
    dates = [
        entry.record.created.day
        for entry in Store().entries(BENCHMARK, 1)
        if entry.record.name == "mine"
    ]
    assert dates == [2, 3], "dated when stored, not when looked at"


def test_what_a_link_names_and_does_not_exist_is_reported(
    board: dict[str, Entry], quick: None
) -> None:
    app = ready(benchmark=BENCHMARK, protocol="holdouts", track="all")
    assert [element.value.replace("\\", "") for element in fine(app).warning] == [
        "There is no protocol 'holdouts' here; showing holdout."
    ]


def test_a_reload_finds_the_chosen_task_again(board: dict[str, Entry], quick: None) -> None:
    app = start(benchmark=BENCHMARK, protocol="folds", track="kinds", metric="rmse")
    # Streamlit drops the parameters where the reader changes pages.
    app.query_params.clear()
    fine(app.switch_page("app_pages/submit.py").run())
    asked = {"benchmark": BENCHMARK, "protocol": "folds", "track": "kinds"}
    assert query(app) == asked
    again = fine(page("submit", **asked, preview="gone"))
    assert again.selectbox(key=f"submit-protocol-{BENCHMARK}").value == "folds"
    assert again.selectbox(key=f"submit-track-{BENCHMARK}").value == "kinds"
    assert query(again) == asked
    # The board keeps its own view.
    app.query_params.clear()
    fine(app.switch_page("app_pages/leaderboard.py").run())
    assert query(app) == asked | {"metric": "rmse"}


def test_a_file_is_what_it_holds(board: dict[str, Entry], quick: None) -> None:
    buffer = io.BytesIO()
    predictions(0.5).to_parquet(buffer, index=False)
    app = give(ready(), buffer.getvalue(), file="x.csv")
    assert "read as parquet" in fine(app).success[0].value


def test_a_new_check_discards_the_last_preview(board: dict[str, Entry], quick: None) -> None:
    app = give(ready(), _csv(predictions(0.5)))
    assert any(element.label == "Store this submission" for element in app.button)
    give(app, _csv(predictions(0.5)), name="  ")
    assert "no name was given" in app.error[0].value
    assert not any(element.label == "Store this submission" for element in app.button)


def test_nothing_is_built_while_a_file_is_checked(
    board: dict[str, Entry], quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "find_config", lambda *_: None)
    app = give(ready(), _csv(predictions(0.5)))
    assert "the data to score with are not on this machine" in app.error[0].value


def test_discard_stores_nothing(board: dict[str, Entry], quick: None) -> None:
    app = give(ready(), _csv(predictions(0.5)))
    press(app, "Discard")
    assert not any(element.label == "Store this submission" for element in fine(app).button)
    assert "mine" not in Store().names(BENCHMARK)


def test_parquet_and_another_protocol(board: dict[str, Entry], quick: None) -> None:
    app = ready()
    app.selectbox(key=f"submit-protocol-{BENCHMARK}").set_value("folds").run()
    buffer = io.BytesIO()
    predictions(0.5, "folds").to_parquet(buffer, index=False)
    give(app, buffer.getvalue(), file="x.parquet")
    assert "all 12 ids" in fine(app).success[0].value


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "missing": (lambda: _csv(predictions()[:-2]), "are missing"),
    "extra": (
        lambda: _csv(pd.concat([predictions(), pd.DataFrame({"id": ["no"], "prediction": [1]})])),
        "not in this benchmark",
    ),
    "text": (lambda: b"id,prediction\ntest-00,<b>high</b>\n", "is not a number"),
    "nan": (lambda: _csv(predictions().assign(prediction=np.nan)), "finite"),
    "binary": (lambda: b"\x80\x04\x95" + b"\0" * 99, ""),
    "columns": (lambda: b"a,b\n1,2\n", "no column named"),
}


def test_a_bad_file_in_the_other_process(toy_content: Path) -> None:
    app = give(ready(), _csv(predictions()[:-2]))
    assert "are missing" in app.error[0].value
    assert app.error[0].value.startswith(r"mine\.csv")
    kept = preview._kept.pid
    assert kept is not None
    fine(give(app, _csv(predictions())))
    assert preview._kept.pid == kept, "one process for all files of a server"


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_get_one_line(kind: str, toy_content: Path, quick: None) -> None:
    make, expected = BAD[kind]
    app = ready()
    give(app, make())
    assert not app.exception
    assert len(app.error) == 1
    said = re.sub(r"\\(.)", r"\1", app.error[0].value)
    assert expected in said
    assert said.startswith("mine.csv")
    assert "/tmp" not in said
    assert not app.success
    assert Store().names(BENCHMARK) == []


def test_doubts_are_shown_and_do_not_stop_a_submission(board: dict[str, Entry]) -> None:
    app = fine(give(ready(), _csv(predictions(0.0))))
    assert [element.value.replace("\\", "") for element in app.warning] == [
        "Split 'test': 9 of 9 predictions equal their labels to within rounding; a model must not"
        " be given the labels that it is scored on.",
        # What follows from the other rows is said before anything is stored, too.
        "Split 'test': mae 0 mm is less than a third of 1.500 mm, that of the next row, good; so"
        " long a lead is worth a second look.",
    ]
    assert table_with(app, "rank range")["flags"].tolist()[0] == "equal to labels, far ahead"
    press(app, "Store this submission")
    assert "mine" in Store().names(BENCHMARK)


def test_a_refusal_names_the_upload_and_not_its_copy(
    toy_content: Path, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages have single spaces, which folders need not have."""
    folder = tmp_path / "two  spaces"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    app = give(ready(), _csv(predictions()[:-2]))
    said = re.sub(r"\\(.)", r"\1", app.error[0].value)
    assert said.startswith("mine.csv: 2 of 9 predictions")


def test_an_upload_that_cannot_be_kept(
    toy_content: Path, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = ready()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    give(app, _csv(predictions()))
    assert not app.exception
    assert "no temporary folder can be made" in app.error[0].value


def test_incomplete_forms_are_refused(toy_content: Path, quick: None) -> None:
    app = ready()
    press(app, "Check and preview")
    assert "no file was given" in app.error[0].value
    give(app, _csv(predictions()), name="  ")
    assert "no name was given" in app.error[0].value
    paper = next(element for element in app.text_input if element.label == "Paper")
    paper.set_value("javascript:alert(1)")
    give(app, _csv(predictions()))
    assert "paper" in app.error[0].value
    next(element for element in app.text_input if element.label == "Paper").set_value("")
    give(app, _csv(predictions()), name="toy_mean")
    assert "baseline" in app.error[0].value


def test_template_downloads_and_data_to_build(toy_content: Path, home: Path) -> None:
    app = fine(page("submit", benchmark=BENCHMARK))
    assert any(element.label == "Build the data for this track" for element in app.button)
    press(app, "Build the data for this track")
    labels = [element.label for element in fine(app).get("download_button")]
    assert labels == [
        "inputs-test.parquet",
        "inputs-hard.parquet",
        "predictions.parquet",
        "predictions.csv",
    ]
