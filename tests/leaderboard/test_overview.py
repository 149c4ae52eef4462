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
import yaml

import etchmark

pytest.importorskip("streamlit")
from pages import (
    BENCHMARK,
    FOLDER,
    captions,
    fine,
    html,
    links,
    literal,
    page,
    query,
    start,
    submit,
    table,
    values,
)
from streamlit.testing.v1 import AppTest

from etchmark.api.reading import LocalReader
from etchmark.boards import standings
from etchmark.data.loading import load_benchmark
from etchmark.registry.store import Store
from etchmark.specs import ModelCard


def row_of(app: AppTest, name: str) -> str:
    """The row of a benchmark as HTML; of the two that were drawn, the one with its verdict."""
    rows = re.findall(r"<tr>.*?</tr>", html(app))
    return [row for row in rows if name in row and ">Board</a>" in row][-1]


def asked(address: str) -> dict[str, str]:
    return dict(parse_qsl(address.partition("?")[2]))


def test_the_overview_tells_who_leads(
    toy_samples: Path, submit_raised: Callable[[str, float], str]
) -> None:
    app = fine(page("overview"))
    counts = "**2** benchmarks · **1** dataset · **0** models · **0** submissions"
    assert counts in values(app.markdown)
    assert html(app).count("No submission yet.") in (2, 4), "drawn without and with verdicts"
    for name, more in (("near", 0.0), ("far", 4.0)):
        submit_raised(name, more)
    app = fine(page("overview"))
    counts = "**2** benchmarks · **1** dataset · **2** models · **2** submissions"
    assert counts in values(app.markdown)
    row = row_of(app, "benchmark=toy-line")
    assert ">near</a>" in row
    assert "flagged: far ahead" in row
    assert "<b>scored</b>: from a predictions file; the model was not run here" in row
    assert "clear winner" in row
    assert "far</a>" not in row
    (near,) = [at for at in links(app)["near"] if "submission" in at]
    assert asked(near)["benchmark"] == "toy-line"
    (board,) = {at for at in links(app)["Board"] if "toy-line" in at}
    assert board == "leaderboard?benchmark=toy-line"


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
    assert "tie of 2" in row_of(fine(page("overview")), "benchmark=toy-line")
    app = fine(start(benchmark=BENCHMARK))
    told = "Of 3 ranked submissions, 2 may be the best: these data do not tell them apart."
    assert literal(f"{told} One gains.") in values(app.markdown)
    assert table(app)["best"].fillna("").tolist() == ["may be", "may be", ""]
    assert any("it describes how ranks vary and tests nothing" in text for text in captions(app))


def test_a_benchmark_without_a_picture_shows_the_distribution_of_labels(
    submit_raised: Callable[[str, float], str],
) -> None:
    assert "<img" not in html(fine(page("overview")))
    submit_raised("near", 0.0)
    (alt,) = set(re.findall(r'alt="([^"]*)"', html(fine(page("overview")))))
    assert "height" in alt


def test_a_row_names_the_best_model_that_was_run_here(
    submit_raised: Callable[[str, float], str], command: Callable
) -> None:
    command("evaluate", "toy_mean", "toy-line").fine()
    submit_raised("near", 0.0)
    row = row_of(fine(page("overview")), "benchmark=toy-line")
    assert re.search(r"Best of those run here: <a [^>]*>[^<]*</a>", row)
    assert row.index("Best of those run here") < row.index("toy_mean")


def test_whatever_model_a_row_names_is_shown_with_its_flags(
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
    row = row_of(fine(page("overview")), "benchmark=toy-line")
    assert "flagged: same predictions as another" in row[row.index("Best of those run here") :]


def test_the_newest_submissions_lead_to_their_models(
    submit_raised: Callable[[str, float], str],
) -> None:
    name = "[x](javascript:alert(1)) <b>"
    old = submit_raised(name, 3.0)[:12]
    new = submit_raised(name, 2.0)[:12]
    app = fine(page("overview"))
    assert "<b>" not in html(app).replace("<b>scored</b>", "").partition("Newest")[2]
    assert "&lt;b&gt;" in html(app)
    assert html(app).count("superseded</span>") == 1
    shown = [asked(at) for at in links(app)[name] if "submission=" in at]
    assert {query["submission"] for query in shown} == {old, new}
    for query_of in shown:
        model = fine(page("model", **query_of))
        assert not model.warning, values(model.warning)
    boards = [asked(at) for texts in links(app).values() for at in texts if "model=" in at]
    for query_of in boards:
        board = fine(start(**query_of))
        assert not board.warning, values(board.warning)
        assert query(board)["model"] in (old, new)
    assert sorted("all" in query_of for query_of in boards) == [False, True], "one is hidden"


def test_families_stand_beside_each_other(
    toy_content: Path, tmp_path: Path, command: Callable
) -> None:
    path = toy_content / "benchmarks" / "toy-line.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "gains_over": "toy_mean"}))
    command("evaluate", "toy_mean", "toy-line").fine()
    title = "Which family of models is good at what"
    assert title not in values(page("overview").header), "there is the reference alone"
    submit(tmp_path, "near", protocol="folds", card=ModelCard(tags=["lines", "toys"]))
    app = fine(page("overview"))
    assert title in values(app.header)
    (row,) = [row for row in re.findall(r"<tr>.*?</tr>", html(app)) if ">lines<" in row]
    (gain,) = re.findall(r'title="near \(track features\): ([0-9.]+) %', row)
    ranked = standings.standings(load_benchmark("toy-line").spec, Store())
    assert gain == f"{ranked['gain'][0]:.1f}"
    (head,) = re.findall(r"<tr>.*?</tr>", html(app).partition("em-matrix")[2])[:1]
    assert f">{load_benchmark('toy-line').spec.title.replace(chr(39), '&#x27;')}<" in head


def test_a_family_has_one_name() -> None:
    from dashboard.panels.family_matrix import family

    names = {
        "frozen features": ["foundation features"],
        "neural network": ["neural network", "recurrent"],
        "neural network, pretrained": ["neural network", "pretrained", "gradient"],
        "no family stated": [],
    }
    assert {name: family(tags) for name, tags in names.items()} == {n: n for n in names}


def test_what_a_version_changed_is_told(toy_content: Path) -> None:
    path = toy_content / "benchmarks" / "toy-line.yaml"
    spec = yaml.safe_load(path.read_text())
    (path.parent / "old").mkdir()
    path.rename(path.parent / "old" / "toy-line@1.yaml")
    path.write_text(yaml.safe_dump({**spec, "version": 2, "changes": {2: "Better <units>."}}))
    app = fine(page("overview"))
    assert "Better &lt;units&gt;." in html(app)
    assert links(app)["Board of version 1"] == ["leaderboard?benchmark=toy-line%401"]


def test_a_broken_benchmark_leaves_the_others_on_the_overview(toy_content: Path) -> None:
    (toy_content / "benchmarks" / "toy-fields.yaml").write_text("id: toy-fields\n")
    app = page("overview")
    assert not app.exception
    assert len(app.error) == 1
    assert "No submission yet." in html(app)


def test_an_old_link_to_a_board_still_leads_there(toy_content: Path) -> None:
    app = AppTest.from_file(str(FOLDER / "app.py"), default_timeout=60)
    app.query_params["benchmark"] = "toy-fields"
    app = fine(app.run())
    assert app.selectbox(key="pick-benchmark").value == "toy-fields"
    assert query(app)["benchmark"] == "toy-fields"


def test_a_second_visit_reads_no_board_again(
    toy_content: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(tmp_path, "good", 1.0)
    card = toy_content / "benchmarks" / f"{BENCHMARK}.yaml"
    declared = yaml.safe_load(card.read_text())
    # Hubs have more boards than the sixteen of this project.
    for number in range(30):
        again = {**declared, "id": f"{BENCHMARK}-{number}"}
        card.with_name(f"{BENCHMARK}-{number}.yaml").write_text(yaml.safe_dump(again))
    read: list[str] = []
    board = LocalReader.board

    def counted(self: LocalReader, benchmark: Any, *others: Any, **named: Any) -> Any:
        read.append(benchmark.id)
        return board(self, benchmark, *others, **named)

    monkeypatch.setattr(LocalReader, "board", counted)
    fine(page("overview"))
    assert len(read) == len(set(read)) == 32, "each board once, although it is shown twice"
    fine(page("overview"))
    assert len(read) == 32
