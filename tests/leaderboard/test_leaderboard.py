"""The page of standings: table, filters, links and figures."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import etchmark

pytest.importorskip("streamlit")
from pages import (
    BENCHMARK,
    HOSTILE,
    captions,
    figure_text,
    figures,
    fine,
    html,
    numbers_of,
    page,
    predictions,
    query,
    start,
    submit,
    submit_volumes,
    table,
    values,
)
from streamlit.testing.v1 import AppTest

from etchmark.api import View, open_hub
from etchmark.boards import standings
from etchmark.data.loading import load_benchmark
from etchmark.registry.store import Store
from etchmark.registry.tables import Entry
from etchmark.specs import ModelCard


def test_an_empty_board_names_the_next_step(toy_content: Path) -> None:
    app = fine(start(benchmark=BENCHMARK))
    assert "No submission here yet" in app.info[0].value
    assert app.code[0].value == f"etchmark evaluate MODEL {BENCHMARK} --protocol holdout"
    assert not app.dataframe


def test_board_is_the_engines(board: dict[str, Entry]) -> None:
    app = fine(start(benchmark=BENCHMARK))
    shown, spec = table(app), load_benchmark(BENCHMARK).spec
    frame = standings.standings(spec, Store())
    assert shown["model"].tolist() == frame["model"].tolist() == ["good", "kinds only", "worse"]
    assert shown["rank"].tolist() == [1, 2, 3]
    assert list(shown.columns)[:3] == ["rank", "mae", "title"], "what a phone has room for"
    np.testing.assert_array_equal(shown["mae"].to_numpy(float), frame["score"].to_numpy(float))
    assert not {"low", "high"} & set(shown.columns), "no interval over three sources"
    first = frame.iloc[0]
    assert shown["range"][0] == f"{first['rank_low']}–{first['rank_high']}"
    assert query(app) == {
        "benchmark": BENCHMARK,
        "protocol": "holdout",
        "track": "all",
        "metric": "mae",
    }
    assert any("Headline protocol" in line for line in values(app.markdown))
    expected = "No interval: too few sources (3). Rank range"
    assert any(said.startswith(expected) for said in captions(app))


def test_rows_of_several_seeds_show_their_spread(board: dict[str, Entry], tmp_path: Path) -> None:
    assert "seeds" not in table(fine(start(benchmark=BENCHMARK)))
    path = tmp_path / "seeds.csv"
    fits = [predictions(offset).assign(seed=seed) for seed, offset in enumerate((1.0, 2.0, 3.0))]
    pd.concat(fits).to_csv(path, index=False)
    etchmark.submit(path, BENCHMARK, name="thrice", track="features", protocol="holdout")
    shown = table(fine(start(benchmark=BENCHMARK))).set_index("model")["seeds"]
    # The mean excess over the truth is 1.5 times the offset.
    assert shown["thrice"] == "3, sd 1.500"
    assert shown["good"] == "1"


def test_the_ends_of_intervals_are_the_engines(toy_content: Path) -> None:
    path = toy_content / "benchmarks" / f"{BENCHMARK}.yaml"
    spec = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**spec, "unit_column": "id", "unit_name": "sample"}))
    etchmark.evaluate("toy_mean", BENCHMARK)
    app = fine(start(benchmark=BENCHMARK))
    shown, frame = table(app), standings.standings(load_benchmark(BENCHMARK).spec, Store())
    assert frame["ci_low"].notna().all()
    for column, ends in (("low", "ci_low"), ("high", "ci_high")):
        values_of = frame[ends].to_numpy(float, na_value=np.nan)
        np.testing.assert_array_equal(shown[column].to_numpy(float), values_of)
    assert any("95 % interval over 12 samples" in said for said in captions(app))


def test_a_superseded_version_is_chosen_and_linked(
    board: dict[str, Entry], toy_content: Path
) -> None:
    path = toy_content / "benchmarks" / f"{BENCHMARK}.yaml"
    spec = yaml.safe_load(path.read_text())
    old = path.parent / "old" / f"{BENCHMARK}@1.yaml"
    old.parent.mkdir()
    path.rename(old)
    path.write_text(yaml.safe_dump({**spec, "version": 2, "primary_metric": "rmse"}))
    app = fine(start(benchmark=f"{BENCHMARK}@1"))
    assert "good" in table(app)["model"].tolist()
    assert query(app) | {"benchmark": f"{BENCHMARK}@1", "metric": "mae"} == query(app)
    assert "Superseded by version 2, which this list has too." in captions(app)
    choice = app.selectbox(key="pick-benchmark")
    assert choice.options[-1] == f"{spec['title']} (version 1, superseded)"
    fine(choice.set_value(BENCHMARK).run())
    assert query(app) | {"benchmark": BENCHMARK} == query(app)
    assert [said.partition(".")[0] for said in values(app.info)] == ["No submission here yet"]
    assert not any("Superseded" in said for said in captions(app))
    compared = fine(page("compare", benchmark=f"{BENCHMARK}@1"))
    assert query(compared) | {"benchmark": f"{BENCHMARK}@1"} == query(compared)
    # A file is submitted to the current version.
    form = fine(page("submit", benchmark=f"{BENCHMARK}@1"))
    assert form.selectbox(key="submit-benchmark").value == BENCHMARK
    assert not form.warning


def test_benchmarks_of_one_title_are_told_apart(board: dict[str, Entry], toy_content: Path) -> None:
    path = toy_content / "benchmarks" / f"{BENCHMARK}.yaml"
    spec = yaml.safe_load(path.read_text())
    path.with_name("twin.yaml").write_text(yaml.safe_dump({**spec, "id": "twin"}))
    app = fine(start(benchmark="twin"))
    choice = app.selectbox(key="pick-benchmark")
    assert {f"{spec['title']} ({name})" for name in (BENCHMARK, "twin")} <= {*choice.options}
    # Another widget changes, and the choice stays.
    fine(app.selectbox(key="pick-metric").set_value("rmse").run())
    assert query(app) | {"benchmark": "twin", "metric": "rmse"} == query(app)
    assert fine(page("submit", benchmark="twin")).selectbox(key="submit-benchmark").value == "twin"


def test_switches_recompute_ranks_and_go_into_the_link(board: dict[str, Entry]) -> None:
    app = start(benchmark=BENCHMARK)
    app.selectbox(key="pick-track").set_value("kinds").run()
    assert table(fine(app))["model"].tolist() == ["kinds only"]
    assert table(app)["rank"].tolist() == [1]
    app.selectbox(key="pick-track").set_value("all").run()
    app.selectbox(key="pick-metric").set_value("r2").run()
    assert "r2" in table(fine(app)).columns
    app.toggle(key="pick-all").set_value(True).run()
    notes = dict(zip(table(fine(app))["model"], table(app)["note"], strict=True))
    assert notes["broken"] == "failed: it <b>fell</b>"
    assert "superseded" in table(app)["note"].tolist()
    app.segmented_control(key="pick-protocol").set_value("folds").run()
    assert table(fine(app))["model"].tolist() == ["in folds"]
    assert "±" in table(app)["folds"][0]
    assert any("Not the headline protocol" in line for line in values(app.markdown))
    assert query(app) == {
        "benchmark": BENCHMARK,
        "protocol": "folds",
        "track": "all",
        "metric": "r2",
        "all": "1",
    }


def test_link_restores_the_view(board: dict[str, Entry]) -> None:
    entry = board["kinds"]
    asked = {"benchmark": BENCHMARK, "protocol": "holdout", "track": "kinds", "metric": "rmse"}
    asked |= {"all": "1", "model": entry.record.submission[:12]}
    app = fine(start(**asked))
    assert table(app)["model"].tolist() == ["kinds only"]
    assert app.toggle(key="pick-all").value is True
    assert app.selectbox(key="pick-model").value == entry.record.submission
    assert query(app) == asked
    assert "**kinds only**" in values(app.markdown)


def test_the_drawer_has_rank_verdict_and_the_whole_description(
    board: dict[str, Entry], tmp_path: Path
) -> None:
    long = "This model reads what it is given. " * 30
    entry = submit(tmp_path, "told", 3.0, card=ModelCard(description=long))
    app = fine(start(benchmark=BENCHMARK, model=entry.record.submission[:12]))
    (row,) = [each for each in table(app).to_dict("records") if each["model"] == "told"]
    shown = html(app)
    assert f"<b>{row['rank']}</b> of 4" in shown
    assert f"range {row['range']}" in shown
    # Three sources tell no rows apart.
    assert "3 sources: no test" in shown
    assert long.strip() in [element.value for element in app.text]


def test_view_survives_a_visit_to_another_page(board: dict[str, Entry]) -> None:
    app = start(benchmark=BENCHMARK, metric="rmse", protocol="folds")
    app.switch_page("app_pages/how_to_read.py").run()
    app.query_params.clear()
    app.switch_page("app_pages/leaderboard.py").run()
    assert query(fine(app))["metric"] == "rmse"
    assert query(app)["protocol"] == "folds"


def test_wrong_links_are_reported_and_replaced(board: dict[str, Entry]) -> None:
    app = fine(
        start(benchmark=BENCHMARK, protocol="<b>x</b>", track="../..", metric="nope", model="zz")
    )
    assert len(app.warning) == 4
    assert all("<b>" not in element.value for element in app.warning)
    assert table(app)["model"].tolist() == ["good", "kinds only", "worse"]
    app = fine(start(benchmark="nonesuch"))
    assert "nonesuch" in app.warning[0].value


def test_new_submission_appears_on_the_next_run(board: dict[str, Entry], tmp_path: Path) -> None:
    app = start(benchmark=BENCHMARK)
    submit(tmp_path, "best", 0.1)
    assert table(app.run())["model"].tolist()[0] == "best"


def test_filters_narrow_the_board_and_ranks_are_recomputed(
    board: dict[str, Entry], tmp_path: Path
) -> None:
    card = ModelCard(tags=["trees", "tuned"], training_data="none")
    submit(tmp_path, "tagged", 7.0, card=card)
    submit(tmp_path, "other", 8.0, card=ModelCard(tags=["trees"], training_data="declared"))
    app = fine(start(benchmark=BENCHMARK))
    assert len(table(app)) == 5
    app.multiselect(key="pick-tags").set_value(["trees"]).run()
    assert table(fine(app))["model"].tolist() == ["tagged", "other"]
    assert table(app)["rank"].tolist() == [1, 2]
    assert any("2 of 7 submissions pass the filters" in caption for caption in values(app.caption))
    assert app.query_params["tags"] == "trees"
    app.multiselect(key="pick-training").set_value(["declared"]).run()
    assert table(fine(app))["model"].tolist() == ["other"]
    assert app.query_params["training"] == "declared"
    app.number_input(key="pick-parameters").set_value(10).run()
    assert any("No submission passes the filters" in element.value for element in fine(app).info)
    assert app.query_params["parameters"] == "10"
    app.number_input(key="pick-parameters").set_value(None).run()
    app.multiselect(key="pick-tags").set_value([]).run()
    app.multiselect(key="pick-training").set_value([]).run()
    assert len(table(fine(app))) == 5
    assert not set(app.query_params) & {"tags", "training", "parameters"}


def test_a_link_restores_the_filters(board: dict[str, Entry], tmp_path: Path) -> None:
    submit(tmp_path, "tagged", 7.0, card=ModelCard(tags=["trees"]))
    app = fine(start(benchmark=BENCHMARK, tags="trees,gone", status="scored", parameters="x"))
    assert table(app)["model"].tolist() == ["tagged"]
    assert app.query_params["tags"] == "trees"
    assert app.query_params["status"] == "scored"
    assert "parameters" not in app.query_params
    # Seen without opening the filters.
    popovers = [element for element in app.main.children.values() if element.type == "popover"]
    assert not [element for part in popovers for element in part.get("warning")]
    said = " ".join(element.value.replace("\\", "") for element in app.warning)
    assert "No row here has 'gone'" in said
    app = fine(start(benchmark=BENCHMARK, tags="gone,away", training="gone"))
    (warning,) = values(app.warning)
    assert warning.replace("\\", "") == (
        "No row here has 'gone' or 'away'; those filters are ignored."
    )
    assert "'x' is not a number of parameters" in said


def test_a_row_shows_its_interval_as_a_picture(board: dict[str, Entry]) -> None:
    bars = table(fine(start(benchmark=BENCHMARK, all="1")))["bar"]
    shown = [element for element in bars if isinstance(element, str)]
    assert len(shown) == 4, "all that were scored"
    assert all(element.startswith("data:image/svg+xml,<svg") for element in shown)


def test_scores_that_span_decades_get_a_logarithmic_axis(
    submit_raised: Callable[[str, float], str],
) -> None:
    kinds = []
    for name, more in (("a", 0.0), ("b", 9.0), ("c", 49.0)):
        submit_raised(name, more)
        app = fine(start(benchmark="toy-line", protocol="holdout", metric="mae"))
        drawn = json.loads(app.get("plotly_chart")[0].proto.spec)
        axis = drawn["layout"]["xaxis"]
        kinds.append(axis.get("type", "linear"))
    assert kinds == ["linear", "linear", "log"]
    # Intervals are seen however narrow they are: in a row beside the score, in the plot above it.
    for element in table(app)["bar"]:
        low, high, score = map(
            float, re.search(r"M(\S+) 10H(\S+)'.*M(\S+) 3V", element[100:]).groups()
        )
        assert low <= score - 1.5 < score + 1.5 <= high
    (points,) = [element for element in drawn["data"] if "error_x" in element]
    assert all(2 * points["error_x"]["width"] > size for size in points["marker"]["size"])
    # Every score lies on the axis.
    assert 10 ** axis["range"][0] < 1
    assert 10 ** axis["range"][1] > 50
    assert "reach beyond the axis" not in " ".join(values(app.caption))


def test_the_uncertainty_of_the_labels_is_shaded(toy_volumes: Path, tmp_path: Path) -> None:
    labels = load_benchmark("toy-volumes").truth("test")
    submit_volumes(tmp_path, labels.target * 1.04)
    app = fine(start(benchmark="toy-volumes", figure="intervals"))
    assert "up to the discretisation error of the labels: 2.5" in figure_text(app)
    assert "published network: 3.000" in figure_text(app)
    assert any("quoted" in caption for caption in values(app.caption))
    app = fine(start(benchmark="toy-volumes", metric="r2", figure="intervals"))
    assert "discretisation error" not in figure_text(app)


def test_csv_is_safe_for_spreadsheets(toy_content: Path, tmp_path: Path) -> None:
    from etchmark.text import csv_text

    submit(tmp_path, HOSTILE["formula"])
    frame = standings.standings(load_benchmark(BENCHMARK).spec, Store())
    read = pd.read_csv(io.StringIO(csv_text(frame)))
    assert read["model"][0] == "'" + HOSTILE["formula"]


def figures_of(app: AppTest) -> list[str]:
    (control,) = [element for element in app.segmented_control if element.key == "pick-figure"]
    return control.options


def test_scores_against_processor_seconds(toy_frames: Path, command: Callable) -> None:
    command("evaluate", "toy_last", "toy-waves").fine()
    assert "Costs" not in figures_of(fine(start(benchmark="toy-waves")))
    other = toy_frames / "baselines" / "toy_later"
    shutil.copytree(toy_frames / "baselines" / "toy_last", other)
    card = (other / "card.yaml").read_text()
    (other / "card.yaml").write_text(card.replace("toy_last", "toy_later"))
    code = (other / "model.py").read_text()
    (other / "model.py").write_text(code.replace("offset=0.0", "offset=0.1"))
    command("evaluate", "toy_later", "toy-waves").fine()
    app = fine(start(benchmark="toy-waves", figure="costs"))
    drawn = figures(app)
    title = "fitting and predicting / processor seconds"
    (cost,) = [element for element in drawn if element["layout"]["xaxis"]["title"]["text"] == title]
    assert cost["data"][0]["name"] == "Pareto front"
    shown = [element for part in cost["data"][1:] for element in part["customdata"]]
    assert sorted(shown) == ["toy_last", "toy_later"]
    front = numbers_of(cost["data"][0]["x"])
    assert front == sorted(front)
    assert len(front) == len(cost["data"][1]["text"])
    board = app.dataframe[0].value
    assert (board["cpu_seconds"] > 0).all()
    # On paper nothing can be chosen, so every figure is there.
    app = fine(start(benchmark="toy-waves", print="1"))
    assert {"Scores with intervals", "Costs", "Predictions"} <= set(values(app.header))
    assert len(app.get("plotly_chart")) >= len(drawn) + 1


# --- ranks by split, groups of columns, the drawer ----------------------------------------------


def test_rows_are_ranked_by_a_subset(board: dict[str, Entry], toy_content: Path) -> None:
    path = toy_content / "benchmarks" / f"{BENCHMARK}.yaml"
    spec = yaml.safe_load(path.read_text())
    subsets = {"high": {"title": "y above the middle", "column": "y", "above": 0.0}}
    path.write_text(yaml.safe_dump({**spec, "subsets": subsets}))
    app = start(benchmark=BENCHMARK, protocol="holdout", by="subset high")
    assert not app.exception
    # The stored submissions are older than the subset.
    assert "older than the subset" in app.error[0].value
    etchmark.submit(predictions(1.5), BENCHMARK, name="newer", track="features", protocol="holdout")
    app = fine(start(benchmark=BENCHMARK, protocol="holdout", by="subset high"))
    assert query(app)["by"] == "subset high"
    assert any("subset high" in said for said in values(app.info))
    frame = etchmark.standings(BENCHMARK, protocol="holdout", subset="high")
    shown = table(app).set_index("model")["mae"].dropna()
    assert shown.to_dict() == frame.set_index("model")["score"].dropna().to_dict()
    assert shown.index.tolist() == ["newer"]


def test_rows_are_ranked_by_their_worst_split(board: dict[str, Entry]) -> None:
    for name, test, hard in (("specialist", 0.5, 8.0), ("steady", 3.0, 4.0)):
        parts = []
        for split, offset in (("test", test), ("hard", hard)):
            labels = etchmark.load_benchmark(BENCHMARK).truth(split, "holdout")
            parts.append(pd.DataFrame({"id": labels.ids, "prediction": labels.target + offset}))
        etchmark.submit(
            pd.concat(parts), BENCHMARK, name=name, track="features", protocol="holdout"
        )
    link = {"benchmark": BENCHMARK, "protocol": "holdout", "metric": "mae"}
    app = fine(start(**link, by="worst split"))
    assert query(app)["by"] == "worst split"
    assert any("no interval and no test" in said for said in values(app.info))
    shown = table(app).set_index("model")
    assert shown["mae"].dropna().round(6).to_dict() == {"steady": 4.0, "specialist": 8.0}
    assert shown["split"].dropna().tolist() == ["hard", "hard"]
    assert {"on test", "on hard"} <= set(table(app).columns)
    assert not {"range", "best", "gain"} & set(table(app).columns)
    rows = etchmark.standings(BENCHMARK, protocol="holdout").set_index("model")
    steady = str(rows.loc["steady", "submission"])
    app = fine(start(**link, by="worst split", model=steady[:12]))
    assert "worst split: hard" in html(app)
    # A protocol with one split has no worst one.
    app = fine(start(benchmark=BENCHMARK, protocol="folds", by="worst split"))
    assert "by" not in query(app)
    assert any("worst split" in said for said in values(app.warning))


def test_on_paper_the_whole_table_is_shown(board: dict[str, Entry]) -> None:
    app = fine(start(benchmark=BENCHMARK, protocol="holdout", all="1", print="1"))
    assert query(app)["print"] == "1"
    assert not [element for element in app.dataframe if "title" in element.value]
    frame = etchmark.standings(BENCHMARK, protocol="holdout", everything=True)
    shown = html(app)
    assert len(frame) > 3
    assert all(name in shown for name in frame["model"])
    assert "<b>fell</b>" not in shown
    fine(app.toggle(key="pick-print").set_value(False).run())
    assert "print" not in query(app)
    assert "title" in table(app)


def test_units_have_columns_and_the_shading_a_key(board: dict[str, Entry]) -> None:
    app = fine(start(benchmark=BENCHMARK, columns="generalisation"))
    spec = open_hub().benchmark(BENCHMARK)
    frame = open_hub().board(spec, View()).by_unit
    assert len(frame.columns) == 3
    shown = table(app).set_index("model")
    scores = frame.loc[board["good"].record.submission]
    assert {name: shown.loc["good", f"of {name}"] for name in frame} == scores.to_dict()
    assert any(text.startswith("Shading:") for text in captions(app))
    assert not any(text.startswith("Shading:") for text in captions(start(benchmark=BENCHMARK)))


def test_columns_come_in_groups(board: dict[str, Entry]) -> None:
    app = fine(start(benchmark=BENCHMARK, columns="provenance"))
    assert query(app)["columns"] == "provenance"
    assert app.segmented_control(key="pick-columns").value == "provenance"
    app = fine(start(benchmark=BENCHMARK, columns="nonsense"))
    assert "columns" not in query(app)
    assert any("nonsense" in said for said in values(app.warning))


def test_the_drawer_leads_to_the_page_of_the_model(board: dict[str, Entry]) -> None:
    short = board["kinds"].record.submission[:12]
    app = fine(start(benchmark=BENCHMARK, model=short))
    (link,) = [each.proto for each in app.get("page_link") if each.proto.label == "Model page"]
    assert link.page == "model"
    assert "name=kinds+only" in link.query_string
    assert "**kinds only**" in values(app.markdown)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([1.447, 220.9], "%.3f"), ([78.61], "%.2f"), ([0.00033, 0.21], "%.7f"), ([0.0], "%.4g")],
)
def test_scores_of_a_board_align(scores: list[float], expected: str) -> None:
    from dashboard.panels.board_columns import decimals

    assert decimals(pd.DataFrame({"score": scores})) == expected
