"""One path from a file to the public board: a preview that lasts, storing, and the pull request."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path

import pytest

pytest.importorskip("streamlit")
from pages import (
    BENCHMARK,
    captions,
    fine,
    literal,
    model_page,
    page,
    predictions,
    press,
    query,
    submit,
    table_with,
    values,
)
from streamlit.testing.v1 import AppTest
from test_submit import give, ready

from etchmark import files
from etchmark.api import local
from etchmark.registry.store import Store
from etchmark.registry.tables import Entry
from etchmark.specs import ModelCard
from etchmark.submission.uploads import SECONDS, Uploads, uploads_of

GONE = "There is no preview under this address"


def csv(offset: float = 0.5) -> bytes:
    return predictions(offset).to_csv(index=False).encode()


def previewed(name: str = "mine", offset: float = 0.5, **view: str) -> AppTest:
    return fine(give(ready(**view), csv(offset), name=name))


def labels(app: AppTest) -> list[str]:
    return [element.label for element in app.button]


def kept() -> list[Path]:
    return sorted(uploads_of(Store()).folder.iterdir())


def shows_preview(app: AppTest) -> bool:
    return "Store this submission" in labels(app)


# --- a reload ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("board", "quick")
def test_a_reload_keeps_the_preview() -> None:
    app = ready()
    app.selectbox(key="submit-role").set_value("exploratory")
    app.text_input(key="submit-authors").set_value("Ada Example, Bo")
    app.text_area(key="submit-description").set_value("Two lines.\nOf text.")
    app.selectbox(key="submit-training-data").set_value("none")
    token = query(fine(give(app, csv())))["preview"]
    # Another session, which knows nothing but the address.
    again = fine(page("submit", preview=token))
    assert any("**mine**, from mine" in line for line in values(again.markdown))
    assert "all 9 ids of 3 sources" in again.success[0].value
    assert again.text_input(key="submit-name").value == "mine"
    assert again.selectbox(key="submit-role").value == "exploratory"
    assert again.text_input(key="submit-authors").value == "Ada Example, Bo"
    assert again.text_area(key="submit-description").value == "Two lines.\nOf text."
    assert again.selectbox(key="submit-training-data").value == "none"
    assert query(again)["preview"] == token
    assert len(kept()) == 1
    press(again, "Store this submission")
    (entry,) = [each for each in Store().entries(BENCHMARK, 1) if each.record.name == "mine"]
    assert entry.record.role == "exploratory"
    assert entry.record.card.authors == ["Ada Example", "Bo"]
    (sha256,) = entry.record.fingerprints.predictions
    assert Store().prediction_path(sha256).read_bytes() == csv()
    assert kept() == [], "what is stored is not kept twice"


@pytest.mark.usefixtures("board", "quick")
def test_a_reload_keeps_track_and_protocol() -> None:
    app = ready()
    app.selectbox(key=f"submit-protocol-{BENCHMARK}").set_value("folds").run()
    app.selectbox(key=f"submit-track-{BENCHMARK}").set_value("kinds").run()
    content = predictions(0.5, "folds").to_csv(index=False).encode()
    token = query(fine(give(app, content)))["preview"]
    again = fine(page("submit", benchmark=BENCHMARK, preview=token))
    assert again.selectbox(key=f"submit-protocol-{BENCHMARK}").value == "folds"
    assert again.selectbox(key=f"submit-track-{BENCHMARK}").value == "kinds"
    assert "all 12 ids" in again.success[0].value


@pytest.mark.usefixtures("board", "quick")
def test_a_kept_file_need_not_be_given_again() -> None:
    token = query(previewed())["preview"]
    again = fine(page("submit", preview=token))
    assert any(line.startswith("Kept: mine.csv, ") for line in captions(again))
    again.text_input(key="submit-name").set_value("renamed")
    press(again, "Check and preview")
    assert any("**renamed**, from mine" in line for line in values(fine(again).markdown))
    assert query(again)["preview"] != token
    assert len(kept()) == 1
    assert GONE in fine(page("submit", preview=token)).warning[0].value


@pytest.mark.usefixtures("board", "quick")
@pytest.mark.parametrize("token", ["x" * 43, "../registry.sqlite", "<b>"])
def test_a_wrong_address_is_said_in_one_line(token: str) -> None:
    app = fine(page("submit", benchmark=BENCHMARK, preview=token))
    assert len(app.warning) == 1
    assert GONE in app.warning[0].value
    assert "preview" not in query(app)
    assert not shows_preview(app)
    assert "Check and preview" in labels(app)


@pytest.mark.usefixtures("board", "quick")
def test_a_preview_of_yesterday_is_gone() -> None:
    token = query(previewed())["preview"]
    (path,) = kept()
    moment = time.time() - SECONDS - 60
    os.utime(path, (moment, moment))
    assert GONE in fine(page("submit", preview=token)).warning[0].value
    assert kept() == [], "the page removes what is too old"


@pytest.mark.usefixtures("board", "quick")
def test_a_preview_of_another_version_is_gone(toy_content: Path) -> None:
    token = query(previewed())["preview"]
    path = toy_content / "benchmarks" / f"{BENCHMARK}.yaml"
    path.write_text(path.read_text().replace("version: 1", "version: 2"))
    assert GONE in page("submit", benchmark=BENCHMARK, preview=token).warning[0].value


@pytest.mark.usefixtures("board", "quick")
def test_discarding_removes_the_file_and_the_address() -> None:
    app = previewed()
    token = query(app)["preview"]
    press(app, "Discard")
    assert "preview" not in query(fine(app))
    assert kept() == []
    assert GONE in fine(page("submit", preview=token)).warning[0].value


@pytest.mark.usefixtures("board", "quick")
def test_another_choice_of_benchmark_removes_it_too() -> None:
    app = previewed()
    app.selectbox(key=f"submit-protocol-{BENCHMARK}").set_value("folds").run()
    assert "Check again" in fine(app).info[0].value
    assert kept() == []
    assert "preview" not in query(app)


@pytest.mark.usefixtures("board", "quick")
def test_no_link_on_the_page_has_the_token() -> None:
    app = previewed()
    token = query(app)["preview"]
    press(app, "Store this submission")
    assert query(fine(app)).keys() == {"stored"}
    assert all(token not in str(link.proto) for link in app.get("page_link"))


@pytest.mark.usefixtures("board", "quick")
def test_a_preview_without_room_to_keep_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Uploads(tmp_path / "small", total_bytes=10)
    monkeypatch.setattr("etchmark.submission.uploads.uploads_of", lambda store: small)
    app = previewed()
    assert "A reload of this page will lose the preview" in app.warning[0].value
    assert "preview" not in query(app)
    press(app, "Store this submission")
    assert "Stored" in fine(app).success[0].value


@pytest.mark.usefixtures("board", "quick")
def test_a_hub_that_cannot_be_written_previews_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCHMARK_READ_ONLY", "1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    local._hub.cache_clear()
    try:
        token = query(previewed())["preview"]
        again = fine(page("submit", preview=token))
        press(again, "Store this submission")
        assert "can be read but not changed" in again.error[0].value
        assert len(list(tmp_path.glob("etchmark-uploads-*/*"))) == 1
    finally:
        local._hub.cache_clear()


# --- a name that is taken meanwhile ------------------------------------------------------------


def stored_elsewhere(folder: Path, name: str = "mine", offset: float = 3.0) -> Entry:
    """What another tab stores while the page shows a preview."""
    return submit(folder, name, offset, card=ModelCard(authors=["<b>Bo</b> Other"]))


@pytest.mark.usefixtures("board", "quick")
def test_a_name_taken_meanwhile_stops_storing_and_says_who_and_when(tmp_path: Path) -> None:
    app = previewed()
    other = stored_elsewhere(tmp_path)
    press(app, "Store this submission")
    said = fine(app).warning[-1].value
    assert "Not stored" in said
    assert other.record.submission[:12] in said
    assert other.record.created.strftime("%Y-%m-%d at %H:%M UTC") in said
    assert literal("<b>Bo</b> Other") in said
    assert "Store this submission" not in labels(app)
    assert not any("superseded" in text for text in values(app.info)), "it would be the newest"
    assert table_with(app, "rank range")["model"].tolist().count("mine") == 1
    (only,) = [each for each in Store().entries(BENCHMARK, 1) if each.record.name == "mine"]
    assert only.record.submission == other.record.submission
    assert len(kept()) == 1, "nothing is lost"


@pytest.mark.usefixtures("board", "quick")
def test_it_is_replaced_when_that_is_meant(tmp_path: Path) -> None:
    app = previewed()
    other = stored_elsewhere(tmp_path)
    press(app, "Store this submission")
    press(app, "Replace it")
    assert "Stored" in fine(app).success[0].value
    mine = [each for each in Store().entries(BENCHMARK, 1) if each.record.name == "mine"]
    assert other.record.submission in {each.record.submission for each in mine}
    assert len(mine) == 2, "the older one is kept, superseded"


@pytest.mark.usefixtures("board", "quick")
def test_a_second_one_meanwhile_is_said_as_well(tmp_path: Path) -> None:
    app = previewed()
    stored_elsewhere(tmp_path)
    press(app, "Store this submission")
    second = stored_elsewhere(tmp_path, offset=4.0)
    press(app, "Replace it")
    assert second.record.submission[:12] in fine(app).warning[-1].value
    press(app, "Replace it")
    assert "Stored" in fine(app).success[0].value


@pytest.mark.usefixtures("board", "quick")
def test_it_is_stored_under_another_name(tmp_path: Path) -> None:
    app = previewed()
    stored_elsewhere(tmp_path)
    press(app, "Store this submission")
    press(app, "Preview under this name")
    assert "Enter a name" in app.error[0].value
    app.text_input(key="submit-other-name").set_value("mine too")
    press(app, "Preview under this name")
    assert any("**mine too**, from mine" in line for line in values(fine(app).markdown))
    assert app.text_input(key="submit-name").value == "mine too"
    press(app, "Store this submission")
    assert "Stored" in fine(app).success[0].value
    assert {"mine", "mine too"} <= set(Store().names(BENCHMARK))


@pytest.mark.usefixtures("board", "quick")
def test_what_was_known_needs_no_second_question() -> None:
    press(previewed(), "Store this submission")
    app = previewed(offset=0.4)
    assert "It replaces" in app.warning[0].value
    press(app, "Store this submission")
    assert "Stored" in fine(app).success[0].value


@pytest.mark.usefixtures("board", "quick")
def test_a_reload_does_not_forget_what_was_known(tmp_path: Path) -> None:
    token = query(previewed())["preview"]
    stored_elsewhere(tmp_path)
    again = fine(page("submit", preview=token))
    assert "It replaces" in again.warning[0].value
    press(again, "Store this submission")
    assert "Not stored" in fine(again).warning[-1].value


@pytest.mark.usefixtures("board", "quick")
def test_the_same_name_elsewhere_is_no_conflict(tmp_path: Path) -> None:
    app = previewed()
    submit(tmp_path, "mine", 3.0, track="kinds")
    submit(tmp_path, "mine", 3.0, protocol="folds")
    press(app, "Store this submission")
    assert "Stored" in fine(app).success[0].value


# --- to the public board -----------------------------------------------------------------------


def steps(app: AppTest) -> str:
    return next(line for line in values(app.markdown) if "→" in line).replace("\\", "")


@pytest.mark.usefixtures("board", "quick")
def test_the_page_is_one_path() -> None:
    app = fine(ready())
    assert steps(app) == "**1. Preview** → 2. Store in this hub → 3. Send to the public board"
    give(app, csv())
    assert steps(fine(app)) == "1. Preview → **2. Store in this hub** → 3. Send to the public board"
    press(app, "Store this submission")
    assert steps(fine(app)) == "1. Preview → 2. Store in this hub → **3. Send to the public board**"
    assert values(app.header) == ["2. Store in this hub", "3. Send to the public board"]
    press(app, "Submit another file")
    assert "Check and preview" in labels(fine(app))
    assert query(app) == {"benchmark": BENCHMARK, "protocol": "holdout", "track": "features"}
    assert app.selectbox(key="submit-benchmark").value == BENCHMARK


@pytest.mark.usefixtures("board", "quick")
def test_the_commands_on_the_page_make_and_check_the_folder(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = previewed(name="My model")
    press(app, "Store this submission")
    assert any(
        element.label == "Folder for the pull request (zip)"
        for element in fine(app).get("download_button")
    )
    (code,) = values(app.code)
    monkeypatch.chdir(tmp_path)
    said = [command(*shlex.split(line)[1:]).fine() for line in code.splitlines()]
    assert said[1].startswith(f"ok: My model on {BENCHMARK}@1, holdout")
    (entry,) = [each for each in Store().entries(BENCHMARK, 1) if each.record.name == "My model"]
    (folder,) = [path for path in tmp_path.iterdir() if path.name.startswith("my-model-")]
    assert (folder / "predictions.csv").read_bytes() == csv()
    assert files.sha256_of(folder / "predictions.csv") == entry.record.fingerprints.predictions[0]


@pytest.mark.usefixtures("quick")
def test_it_is_found_again_later(board: dict[str, Entry]) -> None:
    short = board["good"].record.submission[:12]
    app = fine(page("submit", stored=short))
    assert f"Stored: good, submission {short}" in app.success[0].value.replace("\\", "")
    assert f"etchmark results export {short} good" in app.code[0].value
    model = fine(model_page(short, tab="reproduce"))
    (link,) = [each for each in model.get("page_link") if "public board" in each.proto.label]
    assert link.proto.query_string == f"stored={short}"


@pytest.mark.usefixtures("board")
@pytest.mark.parametrize("text", ["0123456789ab", "ffffffffffff", "<b>", "%", "x" * 500])
def test_what_is_not_stored_here_is_said_and_the_form_shown(text: str) -> None:
    app = fine(page("submit", benchmark=BENCHMARK, stored=text))
    (said,) = values(app.warning)
    assert "is not a submission of this hub" in said
    assert str(Path("/")) + "tmp" not in said
    assert "stored" not in query(app)
    assert "Check and preview" in labels(app)
