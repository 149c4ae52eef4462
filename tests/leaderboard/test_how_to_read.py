"""The pages that explain the terms of the boards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("streamlit")

from dashboard import terms
from dashboard.reading import figures, texts
from dashboard.terms import TERMS, linked
from pages import BENCHMARK, FOLDER, captions, fine, links, page, query, start, submit, values
from streamlit.testing.v1 import AppTest

from etchmark.api import View, open_hub
from etchmark.registry.tables import Entry

ROOT = Path(__file__).resolve().parents[2]
MOST_WORDS = 120


def charts(app: AppTest) -> list[dict[str, Any]]:
    """Vega-Lite figures of a page."""
    return [json.loads(element.proto.spec) for element in app.get("vega_lite_chart")]


def about(key: str, benchmark: str = BENCHMARK) -> AppTest:
    return fine(page("how_to_read", about=key, benchmark=benchmark))


# --- the pages ---------------------------------------------------------------------------------


def test_the_list_leads_to_every_term(toy_content: Path) -> None:
    app = fine(page("how_to_read", benchmark=BENCHMARK))
    assert values(app.title) == ["How to read this"]
    body = " ".join(element.proto.body for element in app.get("html"))
    for key, term in TERMS.items():
        assert f"how-to-read?about={key}&amp;benchmark={BENCHMARK}" in body
        assert term.title in body


@pytest.mark.parametrize("key", TERMS)
def test_a_link_opens_its_term(board: dict[str, Entry], key: str) -> None:
    app = about(key)
    assert values(app.title) == [TERMS[key].title]
    assert not app.warning
    (said,) = [text for text in values(app.markdown) if text == words_of(key, BENCHMARK)]
    assert said
    shown = links(app)
    keys = list(TERMS)
    place = keys.index(key)
    for before, neighbour in (("Previous", place - 1), ("Next", place + 1)):
        if 0 <= neighbour < len(keys):
            (address,) = shown[f"{before}: {TERMS[keys[neighbour]].title}"]
            assert f"about={keys[neighbour]}" in address
    assert len(shown["All terms"]) == 1


def words_of(key: str, benchmark: str) -> str:
    hub = open_hub()
    return texts.WRITERS[key](hub, hub.benchmark(benchmark))


@pytest.mark.parametrize("asked", ["intervall", "<b>x</b>", "Interval"])
def test_a_term_that_is_not_there_is_reported_and_ignored(toy_content: Path, asked: str) -> None:
    app = fine(page("how_to_read", about=asked))
    (warning,) = values(app.warning)
    assert warning.startswith("There is no page about")
    assert "<b>" not in warning
    assert values(app.title) == ["How to read this"]


def test_a_reload_finds_the_chosen_board_again(board: dict[str, Entry]) -> None:
    other = next(name for name in open_hub().benchmarks() if name != BENCHMARK)
    app = start(benchmark=other)
    app.query_params.clear()
    fine(app.switch_page("app_pages/how_to_read.py").run())
    assert query(app) == {"benchmark": other}
    fine(app.selectbox(key="read-benchmark").set_value(BENCHMARK).run())
    assert query(app) == {"benchmark": BENCHMARK}
    assert query(about("rank", other)) == {"about": "rank", "benchmark": other}


def test_an_empty_board_is_no_reason_to_fail(toy_content: Path) -> None:
    for key in TERMS:
        app = about(key)
        # The discretisation error is declared, whether or not there are rows.
        assert key == "discretisation-error" or not charts(app), key


def test_texts_are_short_on_every_benchmark() -> None:
    hub = open_hub()
    assert len(hub.benchmarks()) > 10
    for name in hub.benchmarks():
        spec = hub.benchmark(name)
        for key, write in texts.WRITERS.items():
            count = len(write(hub, spec).split())
            # The words of a summary are the benchmark's own.
            assert key == "task" or count <= MOST_WORDS, (key, name, count)


def test_every_term_has_a_text_a_figure_and_a_document() -> None:
    assert list(texts.WRITERS) == list(TERMS)
    assert {*figures.DRAWERS, "task"} == set(TERMS)
    # The site's own tags are no plain YAML, so the two lines are looked for as text.
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for term in TERMS.values():
        if term.document is not None:
            title, path = term.document
            assert (ROOT / path).is_file()
            assert path.removeprefix("docs/") in navigation
            assert title in navigation


def test_what_a_benchmark_declares_is_shown(board: dict[str, Entry]) -> None:
    text = " ".join(values(about("protocol").markdown))
    assert "`holdout` (headline)" in text
    assert "four folds" in text
    app = about("score")
    assert "mae (primary)" in set(app.dataframe[0].value["metric"]), app.dataframe[0].value
    assert "Track `kinds`" in " ".join(values(app.markdown))
    assert "height" in " ".join(values(about("task").markdown))
    assert "docs/methods/intervals.md" in " ".join(values(about("interval").caption))


# --- figures -----------------------------------------------------------------------------------


def data_of(chart: dict[str, Any]) -> list[list[dict[str, Any]]]:
    return list(chart["datasets"].values())


@pytest.mark.parametrize("key", ["interval", "rank", "gain", "roles", "verified", "protocol"])
def test_figures_are_described_in_words(board: dict[str, Entry], key: str) -> None:
    hub = open_hub()
    drawn = figures.DRAWERS[key](hub, hub.benchmark(BENCHMARK))
    if drawn.chart is None:
        assert drawn.words.endswith(".")
        return
    assert drawn.chart.to_dict()["description"] == drawn.words
    app = about(key)
    assert any(said.startswith(drawn.words[:60]) for said in captions(app))


def test_the_interval_is_that_of_the_board(toy_samples: Path, tmp_path: Path) -> None:
    submit(tmp_path, "first", 1.0)
    submit(tmp_path, "second", 4.0)
    hub = open_hub()
    spec = hub.benchmark(BENCHMARK)
    rows = hub.standings(spec, View("holdout"))
    drawn = figures.interval(hub, spec)
    assert drawn.chart is not None
    points = next(part for part in data_of(drawn.chart.to_dict()) if "value" in part[0])
    assert [point["name"] for point in points] == ["first", "second"]
    assert [point["value"] for point in points] == pytest.approx(rows["score"].tolist())
    assert [point["low"] for point in points] == pytest.approx(rows["ci_low"].tolist())
    assert "lines their 95 % intervals" in drawn.words


def test_rows_are_counted_by_role_and_by_status(board: dict[str, Entry]) -> None:
    hub = open_hub()
    spec = hub.benchmark(BENCHMARK)
    # Three rows of the holdout protocol that are neither superseded nor failed.
    assert figures.verified(hub, spec).words == "Rows of this board by status: 3 scored."
    assert figures.roles(hub, spec).words == "Rows of this board by role: 3 entry."


def test_p_is_the_share_of_patterns_that_are_as_far(toy_samples: Path, tmp_path: Path) -> None:
    submit(tmp_path, "first", 1.0)
    submit(tmp_path, "second", 1.4)
    hub = open_hub()
    spec = hub.benchmark(BENCHMARK)
    ids = hub.standings(spec, View("holdout"))["submission"].tolist()
    comparison = hub.comparison(spec, ids, View("holdout"))
    statistics = comparison.sign_flips()
    sizes = np.abs(statistics)
    p = comparison.differences()["p"].iloc[0]
    assert np.mean(sizes >= sizes[0] - 1e-6) == pytest.approx(p)
    drawn = figures.told_apart(hub, spec)
    assert drawn.chart is not None
    bars, *lines = sorted(data_of(drawn.chart.to_dict()), key=len, reverse=True)
    assert sum(bar["share"] for bar in bars) == pytest.approx(100)
    at = sorted(line[0]["at"] for line in lines)
    assert at == pytest.approx([-sizes[0], sizes[0]])
    assert "first is better than second" in drawn.words


def test_gains_stand_beside_the_reference_that_has_none(
    toy_content: Path, tmp_path: Path, command: Callable
) -> None:
    path = toy_content / "benchmarks" / f"{BENCHMARK}.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "gains_over": "toy_mean"}))
    command("evaluate", "toy_mean", BENCHMARK).fine()
    submit(tmp_path, "near", protocol="folds")
    (chart,) = charts(about("gain"))
    assert chart
    assert any("over toy_mean" in text for text in captions(about("gain")))


def test_the_page_states_the_discretisation_error(toy_volumes: Path) -> None:
    app = about("discretisation-error", "toy-volumes")
    assert "does not limit which models can be told apart" in " ".join(values(app.markdown))
    assert any(
        said.startswith("Discretisation error of the labels (split test): mape 2")
        for said in captions(app)
    )
    assert len(charts(app)) == 1
    # A benchmark that declares none shows the figure of another, and says so.
    other = about("discretisation-error")
    assert any(said.startswith("Of another benchmark, ") for said in captions(other))


def test_a_name_by_a_stranger_is_a_value_and_nothing_else(
    toy_samples: Path, tmp_path: Path
) -> None:
    name = "x.y[0] <img src=x>"
    submit(tmp_path, name, 1.0)
    submit(tmp_path, "second", 4.0)
    hub = open_hub()
    drawn = figures.interval(hub, hub.benchmark(BENCHMARK))
    assert drawn.chart is not None
    chart = drawn.chart.to_dict()
    names = [point.get("name") for part in data_of(chart) for point in part]
    assert name in names
    assert set(fields_of(chart["layer"])) == {"name", "value", "low", "high"}
    assert len(charts(about("interval"))) == 1


def fields_of(chart: Any) -> list[str]:
    """Names of the columns that a figure reads."""
    if isinstance(chart, list):
        return [name for part in chart for name in fields_of(part)]
    if not isinstance(chart, dict):
        return []
    own = [chart["field"]] if "field" in chart else []
    return own + [name for part in chart.values() for name in fields_of(part)]


# --- links from where terms appear -------------------------------------------------------------


def test_the_first_occurrence_of_a_phrase_is_linked() -> None:
    phrases = {"interval": "interval", "intervals": "interval", "told apart": "told-apart"}
    text = "Intervals. Not told apart; told apart. An interval, subinterval."
    assert linked(text, phrases, "b@1") == (
        "[Intervals](how-to-read?about=interval&benchmark=b). Not"
        " [told apart](how-to-read?about=told-apart&benchmark=b); told apart. An"
        " [interval](how-to-read?about=interval&benchmark=b), subinterval."
    )
    with pytest.raises(KeyError):
        linked("a word", {"word": "no such term"})


def link_targets(app: AppTest) -> list[str]:
    """Terms that the text of a page leads to."""
    said = " ".join(element.value for element in [*app.markdown, *app.caption])
    return [part.split("&")[0].split(")")[0] for part in said.split("how-to-read?about=")[1:]]


def test_terms_are_linked_where_they_appear(board: dict[str, Entry]) -> None:
    overview = link_targets(fine(page("overview")))
    assert {"gain", "told-apart", "interval"} <= set(overview)
    shown = set(link_targets(fine(start(benchmark=BENCHMARK))))
    assert {"protocol", "rank", "roles", "verified", "cost", "flags"} <= shown
    model = fine(page("model", name="good"))
    assert {"rank", "interval", "roles", "verified", "cost", "flags"} <= set(link_targets(model))
    compared = set(link_targets(fine(page("compare", benchmark=BENCHMARK))))
    assert {"told-apart", "interval"} <= compared
    assert {"protocol", "roles"} <= set(link_targets(fine(page("submit"))))
    for targets in (overview, shown, compared):
        assert set(targets) <= set(TERMS)


def test_links_are_quiet_and_reach_the_page(toy_content: Path) -> None:
    app = fine(page("overview"))
    assert any(terms.PAGE in element.proto.body for element in app.get("html"))
    assert "underline dotted" in terms.STYLE
    assert (FOLDER / "app_pages" / f"{terms.PAGE.replace('-', '_')}.py").is_file()
