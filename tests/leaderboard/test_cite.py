"""How a board and a model are cited, and how the same table is had elsewhere."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("streamlit")

from pages import (
    BENCHMARK,
    HOSTILE,
    captions,
    fine,
    html,
    page,
    query,
    start,
    submit,
    table,
    values,
)
from streamlit.testing.v1 import AppTest

import etchmark
from etchmark.registry.store import LOCAL, Store
from etchmark.registry.tables import Entry
from etchmark.specs import ModelCard


def codes(app: AppTest) -> dict[str, str]:
    """The blocks to copy, by what each begins with."""
    return {re.split(r"[\s{?]", text, maxsplit=1)[0]: text for text in values(app.code)[::-1]}


def downloads(app: AppTest) -> list[str]:
    return [element.proto.label for element in app.get("download_button")]


def test_a_board_is_cited_only_for_those_who_ask(board: dict[str, Entry]) -> None:
    app = fine(start(benchmark=BENCHMARK))
    assert not app.code
    assert "cite" not in query(app)
    app = fine(start(benchmark=BENCHMARK, cite="1", model=board["good"].record.submission[:12]))
    assert query(app)["cite"] == "1"
    said = codes(app)
    assert said["/leaderboard"] == (
        f"/leaderboard?benchmark={BENCHMARK}%401&track=all&metric=mae&protocol=holdout"
        f"&model={board['good'].record.submission[:12]}"
    )
    entry = said["@misc"]
    assert entry.startswith(f"@misc{{etchmark-{BENCHMARK}-1,")
    assert "  year = {" in entry
    assert "  version = {1}," in entry
    assert "urldate" not in entry, "this dashboard has no address that others can follow"
    assert any("saves it as SVG" in line for line in captions(app))


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://boards.example/hub/leaderboard", "https://boards.example/hub/leaderboard?"),
        ("http://localhost:8501/leaderboard", None),
        ("http://127.0.0.1:8501/leaderboard", None),
    ],
)
def test_an_address_that_others_can_follow_is_cited(
    board: dict[str, Entry], monkeypatch: pytest.MonkeyPatch, url: str, named: str | None
) -> None:
    monkeypatch.setattr(
        "streamlit.runtime.context.ContextProxy.url", property(lambda self: url), raising=True
    )
    app = fine(start(benchmark=BENCHMARK, cite="1"))
    shown = app.code[0].value
    assert shown.startswith(url)
    entry = codes(app)["@misc"]
    if named is None:
        assert "urldate" not in entry
    else:
        assert f"  url = {{{shown}}},\n" in entry
        assert re.search(r"  urldate = \{20\d\d-\d\d-\d\d\},\n\}", entry)
        assert shown.startswith(named)


def test_the_link_of_a_version_leads_to_its_board(board: dict[str, Entry]) -> None:
    app = fine(start(benchmark=f"{BENCHMARK}@1"))
    assert not app.warning
    assert query(app)["benchmark"] == BENCHMARK
    assert "There is no benchmark" in start(benchmark=f"{BENCHMARK}@9").warning[0].value


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"track": "kinds"},
        {"metric": "rmse", "protocol": "folds"},
        {"by": "hard"},
        {"by": "worst split"},
        {"all": "1"},
        {"tags": "big,deep net", "training": "none", "status": "scored"},
        {"parameters": "10"},
    ],
)
def test_snippets_give_the_table_that_is_shown(
    board: dict[str, Entry],
    command: Any,
    toy_predictions: Callable[..., Path],
    tmp_path: Path,
    asked: dict[str, str],
) -> None:
    if "by" in asked:
        place = ("--track", "features", "--protocol", "holdout", "--name", "on both")
        file = toy_predictions("both.csv", splits=("test", "hard"))
        command("submit", file, BENCHMARK, *place).fine()
    card = ModelCard(tags=["big", "deep net"], training_data="none")
    entry = submit(tmp_path, "tagged", 2.0, card=card)
    cost = entry.record.cost.model_copy(update={"parameters": 9})
    Store().add(Entry(entry.record.model_copy(update={"cost": cost}), entry.samples, LOCAL))
    app = fine(start(benchmark=BENCHMARK, cite="1", **asked))
    assert query(app) == query(app) | asked
    said = codes(app)
    space: dict[str, Any] = {}
    exec(said["import"], space)
    frame = space["table"]
    shown = table(app)
    assert len(shown) > 0
    assert frame["model"].tolist() == shown["model"].tolist()
    metric = asked.get("metric", "mae")
    assert frame["score"].tolist() == shown[metric].astype("Float64").tolist()
    words = shlex.split(said["etchmark"])
    printed = pd.read_csv(io.StringIO(command(*words[1:]).fine()))
    assert printed["model"].tolist() == shown["model"].tolist()
    assert printed["rank"].tolist()[:1] == shown["rank"].tolist()[:1]


def test_a_snippet_quotes_what_a_stranger_named(board: dict[str, Entry], tmp_path: Path) -> None:
    tag = "'; rm -rf x #"
    submit(tmp_path, "tagged", 2.0, card=ModelCard(tags=[tag]))
    said = codes(fine(start(benchmark=BENCHMARK, cite="1", tags=tag)))
    assert f"--tag={tag}" in shlex.split(said["etchmark"])
    space: dict[str, Any] = {}
    exec(said["import"], space)
    assert space["table"]["model"].tolist() == ["tagged"]


def test_predictions_that_are_kept_can_be_downloaded(board: dict[str, Entry]) -> None:
    app = fine(start(benchmark=BENCHMARK, cite="1"))
    assert any("pick a model to download" in line for line in captions(app))
    record = board["good"].record
    asked = {"benchmark": BENCHMARK, "cite": "1", "model": record.submission[:12]}
    app = fine(start(**asked))
    assert "Predictions (CSV)" in downloads(app)
    (digest,) = record.fingerprints.predictions
    assert digest in values(app.code)
    assert "Predictions (CSV)" in downloads(fine(page("model", name="good", tab="reproduce")))
    Store().prediction_path(digest).unlink()
    app = fine(start(**asked))
    assert "Predictions (CSV)" not in downloads(app)
    assert "The files are not kept on this machine." in captions(app)


def test_figures_of_a_board_have_their_numbers(board: dict[str, Entry]) -> None:
    app = fine(start(benchmark=BENCHMARK))
    drawn = app.dataframe[-1].value
    assert drawn["model"].tolist() == ["good", "kinds only", "worse"]
    assert {"score", "ci_low", "ci_high", "rank_low", "rank_high"} <= set(drawn.columns)
    assert downloads(app).count("CSV") == 2, "of the board and of the figure"


def test_a_figure_is_saved_as_svg(board: dict[str, Entry]) -> None:
    app = fine(start(benchmark=BENCHMARK))
    (config,) = [element.proto.config for element in app.get("plotly_chart")]
    assert '"modeBarButtons": [["toImage"]]' in config
    assert '"format": "svg"' in config
    assert '"filename": "intervals"' in config


def test_a_model_has_a_badge(board: dict[str, Entry]) -> None:
    app = fine(page("model", name="good", tab="cite"))
    assert 'src="data:image/svg+xml;base64,' in html(app)
    assert 'alt="good on The toy' in html(app)
    assert "SVG" in downloads(app)
    markdown, shown = (element.value for element in app.code[-2:])
    target = f"/model?name=good&benchmark={BENCHMARK}&protocol=holdout&reads=features"
    assert markdown.endswith(f"]({BENCHMARK}.svg)]({target})")
    assert f'<img src="{BENCHMARK}.svg" alt="good on The toy' in shown
    assert app.code[0].value == target
    assert app.code[1].value.startswith(f"@misc{{etchmark-{BENCHMARK}-1,")


def test_a_superseded_submission_has_no_badge(board: dict[str, Entry]) -> None:
    submission = board["old"].record.submission[:12]
    app = fine(page("model", name="worse", submission=submission, tab="cite"))
    assert "SVG" not in downloads(app)
    assert "data:image/svg" not in html(app)


def test_a_badge_of_a_hostile_name_stays_a_picture(toy_content: Path, tmp_path: Path) -> None:
    submit(tmp_path, "plain", 2.0)
    submit(tmp_path, HOSTILE["markup"], 1.0)
    app = fine(page("model", name=HOSTILE["markup"], tab="cite"))
    assert "<script" not in html(app)
    assert "onerror=" not in re.sub(r'alt="[^"]*"', "", html(app))


def test_the_title_of_a_page_names_its_board(
    board: dict[str, Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []
    import streamlit

    plain = streamlit.set_page_config

    def noted(**settings: Any) -> None:
        titles.append(settings["page_title"])
        plain(**settings)

    monkeypatch.setattr(streamlit, "set_page_config", noted)
    fine(start(benchmark=BENCHMARK))
    assert titles[-1] == "The toy's scalar-mini · etchmark"
    assert etchmark.standings(BENCHMARK)["model"].tolist()[0] == "good"
