"""The page that shows what the hub holds."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pandas as pd
import pytest

import etchmark

pytest.importorskip("streamlit")
from pages import BENCHMARK, FOLDER, captions, fine, literal, page, query, start, table, values
from streamlit.testing.v1 import AppTest

from etchmark.boards import standings
from etchmark.data.loading import load_benchmark
from etchmark.registry.store import Store


def test_the_overview_tells_who_leads(
    toy_samples: Path, submit_raised: Callable[[str, float], str]
) -> None:
    app = fine(page("overview"))
    assert values(app.metric) == ["2", "1", "0", "0"]
    assert values(app.markdown).count("No submission yet.") == 2
    assert not app.dataframe
    for name, more in (("near", 0.0), ("far", 4.0)):
        submit_raised(name, more)
    app = fine(page("overview"))
    assert values(app.metric) == ["2", "1", "2", "2"]
    said = values(app.markdown)
    (card,) = [element for element in said if element.startswith("near: ")]
    _, flags, status = card.splitlines()
    assert flags.startswith(":material/flag: flagged: far ahead")
    assert "**scored**: from a predictions file; the model was not run here" in status
    told = "Of 2 ranked submissions, one alone may be the best: near."
    assert [text.startswith(literal(told)) for text in said].count(True) == 1
    (told,) = [text for text in said if text.startswith(literal(told))]
    assert literal("Flagged, which changes no rank: near (far ahead).") in told
    links = {element.proto.label: element.proto.query_string for element in app.get("page_link")}
    assert sum(label == "Leaderboard" for label in links) == 1
    (near,) = [query for label, query in links.items() if "**near**" in label]
    assert "benchmark=toy-line" in near
    assert "all=1" not in near


def test_overview_and_board_agree_on_which_rows_may_be_the_best(
    toy_samples: Path, submit_raised: Callable[[str, Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etchmark.boards.statements.gains", lambda spec, frame: "One gains.")
    # The second errs by turns more and less than the first, the third always by five.
    for name, by in (("first", 0.0), ("second", np.where(np.arange(9) % 2, -0.9, 0.9))):
        submit_raised(name, by)
    submit_raised("third", 4.0)
    ranked = standings.standings(load_benchmark("toy-line").spec, Store())
    assert ranked["may_be_best"].tolist() == [True, True, False]
    said = values(fine(page("overview")).markdown)
    (told,) = [element for element in said if "ranked submissions" in element]
    expected = (
        "Of 3 ranked submissions, 2 may be the best: these data do not tell them apart. One gains."
    )
    assert told == literal(expected)
    app = fine(start(benchmark=BENCHMARK))
    assert told in values(app.markdown)
    assert table(app)["best"].fillna("").tolist() == ["may be", "may be", ""]
    assert any("it describes how ranks vary and tests nothing" in text for text in captions(app))


def test_a_card_without_a_picture_shows_the_distribution_of_labels(
    submit_raised: Callable[[str, float], str],
) -> None:
    assert not fine(page("overview")).get("image")
    submit_raised("near", 0.0)
    (drawn,) = fine(page("overview")).get("image")
    assert "height" in drawn.proto.imgs[0].alt


def test_a_card_names_the_best_model_that_was_run_here(
    submit_raised: Callable[[str, float], str], command: Callable
) -> None:
    command("evaluate", "toy_mean", "toy-line").fine()
    submit_raised("near", 0.0)
    app = fine(page("overview"))
    (card,) = [element.value for element in app.markdown if element.value.startswith("near: ")]
    _, _, _, run = card.splitlines()
    assert run.startswith(r"Best of those run here: toy\_mean: mae **")


def test_whatever_model_a_card_names_is_shown_with_its_flags(
    submit_raised: Callable[[str, float], str], command: Callable
) -> None:
    command("evaluate", "toy_mean", "toy-line").fine()
    # The same predictions under another name: both rows are flagged, the one that was run as well.
    submit_raised("near", 0.0)
    truth = load_benchmark("toy-line").truth("test")
    mean = load_benchmark("toy-line").frame("train")["y"].mean()
    copy = pd.DataFrame({"id": truth.ids, "prediction": mean})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", etchmark.DoubtWarning)
        etchmark.submit(copy, "toy-line", name="copy", track="features", protocol="holdout")
    app = fine(page("overview"))
    (card,) = [element.value for element in app.markdown if element.value.startswith("near: ")]
    lines = card.splitlines()
    place = next(at for at, line in enumerate(lines) if line.startswith("Best of those run here"))
    assert "flagged: same predictions as another" in lines[place + 1]


def test_the_newest_submissions_lead_to_their_models(
    submit_raised: Callable[[str, float], str],
) -> None:
    old = submit_raised("[x](javascript:alert(1)) <b>", 3.0)[:12]
    new = submit_raised("[x](javascript:alert(1)) <b>", 2.0)[:12]
    app = fine(page("overview"))
    links = [element.proto for element in app.get("page_link") if "x" in element.proto.label]
    for element in links:
        assert not re.search(r"(?<!\\)(\[x\]|<b>)", element.label)
        asked = dict(parse_qsl(element.query_string.removeprefix("?")))
        shown = fine(start(**asked))
        assert not shown.warning, values(shown.warning)
        assert query(shown)["model"] in (old, new)
    assert sorted("all=1" in element.query_string for element in links) == [False, True], (
        "one is hidden"
    )


def test_a_broken_benchmark_leaves_the_others_on_the_overview(toy_content: Path) -> None:
    (toy_content / "benchmarks" / "toy-fields.yaml").write_text("id: toy-fields\n")
    app = page("overview")
    assert not app.exception
    assert len(app.error) == 1
    assert "No submission yet." in values(app.markdown)


def test_an_old_link_to_a_board_still_leads_there(toy_content: Path) -> None:
    app = AppTest.from_file(str(FOLDER / "app.py"), default_timeout=60)
    app.query_params["benchmark"] = "toy-fields"
    app = fine(app.run())
    assert app.title[0].value == "Leaderboard"
    assert query(app)["benchmark"] == "toy-fields"
