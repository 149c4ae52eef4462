"""The dashboard, page by page, without a browser."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

from etchmark.boards import standings
from etchmark.catalog import catalog
from etchmark.data import building, loading
from etchmark.data.loading import load_benchmark
from etchmark.predictions import write_parts
from etchmark.registry.store import LOCAL, Store, read_record
from etchmark.registry.tables import Entry
from etchmark.specs import Curve, CurvePoint, MetricScore, ModelCard
from etchmark.submission import preview
from etchmark.submission import submit as submissions

FOLDER = Path(__file__).resolve().parents[2] / "leaderboard"
BENCHMARK = "toy-line"
HOSTILE = {
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "markdown": "**bold** [click](javascript:alert(1)) :red[x] ![i](http://evil.example/i.png)",
    "formula": '=HYPERLINK("http://evil.example","x")',
    "direction": "\u202eneves\u202c שלום",
    "address": "https://evil.example/?q=1 and www.evil.example",
    "stacked": "Z" + "\u0351\u0368\u0353" * 20 + "algo 😀",
    "long": "x" * 100,
}


def truth(protocol: str = "holdout"):
    split = "test" if protocol == "holdout" else "train"
    return load_benchmark(BENCHMARK).truth(split, protocol)


def predictions(offset: float = 1.0, protocol: str = "holdout") -> pd.DataFrame:
    found = truth(protocol)
    spread = np.linspace(0.0, offset, len(found.ids))
    return pd.DataFrame({"id": found.ids, "prediction": found.target + offset + spread})


def submit(
    folder: Path,
    name: str,
    offset: float = 1.0,
    *,
    protocol: str = "holdout",
    track: str = "features",
    card: ModelCard | None = None,
) -> Entry:
    path = folder / "predictions.csv"
    predictions(offset, protocol).to_csv(path, index=False)
    prepared = submissions.prepare_file(
        load_benchmark(BENCHMARK),
        path,
        name=name,
        card=card or ModelCard(),
        track=track,
        protocol=protocol,
    )
    submissions.commit(Store(), prepared)
    return Entry(prepared.record, prepared.samples, LOCAL)


@pytest.fixture
def board(toy_content: Path, tmp_path: Path) -> dict[str, Entry]:
    """Two tracks, two protocols, one superseded and one failed."""
    made = {"good": submit(tmp_path, "good", 1.0)}
    made["old"] = submit(tmp_path, "worse", 9.0)
    made["worse"] = submit(tmp_path, "worse", 5.0)
    made["kinds"] = submit(tmp_path, "kinds only", 3.0, track="kinds")
    made["folds"] = submit(tmp_path, "in folds", 2.0, protocol="folds")
    record = made["good"].record
    failed = record.model_copy(
        update={
            "submission": "f" * 64,
            "name": "broken",
            "outcome": "failed",
            "reason": "it <b>fell</b>",
            "scores": [],
        }
    )
    Store().add(Entry(failed, None, LOCAL))
    return made


def start(**query: str) -> AppTest:
    return page("leaderboard", **query)


def page(name: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(FOLDER / "app.py"), default_timeout=60)
    app.query_params.update(query)
    return app.switch_page(f"app_pages/{name}.py").run()


def fine(app: AppTest) -> AppTest:
    assert not app.exception
    assert not app.error, [one.value for one in app.error]
    return app


def table(app: AppTest) -> pd.DataFrame:
    return app.dataframe[0].value


def captions(app: AppTest) -> list[str]:
    """As they are read, without the backslashes that keep Markdown from seeing more in them."""
    return [re.sub(r"\\(.)", r"\1", one.value) for one in app.caption]


def query(app: AppTest) -> dict[str, str]:
    return {
        key: value[0] if isinstance(value, list) else value
        for key, value in dict(app.query_params).items()
    }


@pytest.fixture
def submit_raised(toy_predictions: Callable[..., Path]) -> Callable[[str, float], str]:
    """Submits predictions of ``toy-line`` that are off by one and so much more; its id."""

    def submit(name: str, more: float) -> str:
        def raised(table: pa.Table) -> pa.Table:
            moved = table["prediction"].to_numpy() + more
            return table.set_column(1, "prediction", pa.array(moved))

        prepared = submissions.prepare_file(
            load_benchmark("toy-line"),
            toy_predictions(f"{name}.csv", change=raised),
            name=name,
            card=ModelCard(),
            track="features",
            protocol="holdout",
        )
        submissions.commit(Store(), prepared)
        return prepared.record.submission

    return submit


# --- overview ----------------------------------------------------------------------------------


def test_the_overview_tells_who_leads(submit_raised: Callable[[str, float], str]) -> None:
    app = fine(page("overview"))
    assert [one.value for one in app.metric] == ["2", "1", "0", "0"]
    assert [one.value for one in app.markdown].count("No submission yet.") == 2
    assert not app.dataframe
    for name, more in (("near", 0.0), ("far", 4.0)):
        submit_raised(name, more)
    app = fine(page("overview"))
    assert [one.value for one in app.metric] == ["2", "1", "2", "2"]
    said = [one.value for one in app.markdown]
    (card,) = [one for one in said if one.startswith("near: ")]
    _, status = card.splitlines()
    assert "**scored**: from a predictions file; nobody reran the model" in status
    told = "Of 2 ranked submissions, the leader is clearly ahead of all others."
    assert said.count(literal(told)) == 1
    links = {one.proto.label: one.proto.query_string for one in app.get("page_link")}
    assert sum(label == "Leaderboard" for label in links) == 1
    (near,) = [query for label, query in links.items() if "**near**" in label]
    assert "benchmark=toy-line" in near
    assert "all=1" not in near


def test_the_overview_and_the_board_tell_the_first_apart_by_the_same_rule(
    submit_raised: Callable[[str, Any], str],
) -> None:
    # Errors by turns: a rank range overlaps with the first's without reaching rank 1.
    turns = [np.where(np.arange(9) % 2, -spread, spread) for spread in (0.0, 0.9, 0.95)]
    for name, by in zip(("first", "second", "third"), turns, strict=True):
        submit_raised(name, by)
    ranked = standings.standings(load_benchmark("toy-line").spec, Store())
    low, high = ranked["rank_low"].tolist(), ranked["rank_high"].tolist()
    overlapping = sum(high[0] >= one for one in low) - 1
    assert overlapping > low.count(1) - 1, "else the two rules cannot be told apart here"
    said = [one.value for one in fine(page("overview")).markdown]
    (told,) = [one for one in said if "ranked submissions" in one]
    assert f"{overlapping} {'is' if overlapping == 1 else 'are'} not told apart" in told
    app = fine(start(benchmark=BENCHMARK))
    assert told in [one.value for one in app.markdown]
    assert any("ranges overlap are not told apart" in one for one in captions(app))


def test_a_card_without_a_picture_shows_how_its_labels_lie(
    submit_raised: Callable[[str, float], str],
) -> None:
    assert not fine(page("overview")).get("image")
    submit_raised("near", 0.0)
    (drawn,) = fine(page("overview")).get("image")
    assert "height" in drawn.proto.imgs[0].alt


def test_a_card_says_who_is_first_of_those_run_here(
    submit_raised: Callable[[str, float], str], command: Callable
) -> None:
    command("evaluate", "toy_mean", "toy-line").fine()
    submit_raised("near", 0.0)
    app = fine(page("overview"))
    (card,) = [one.value for one in app.markdown if one.value.startswith("near: ")]
    _, _, run = card.splitlines()
    assert run.startswith(r"First of those run here: toy\_mean: mae **")


def test_the_newest_submissions_lead_to_their_models(
    submit_raised: Callable[[str, float], str],
) -> None:
    old = submit_raised("[x](javascript:alert(1)) <b>", 3.0)[:12]
    new = submit_raised("[x](javascript:alert(1)) <b>", 2.0)[:12]
    app = fine(page("overview"))
    links = [one.proto for one in app.get("page_link") if "x" in one.proto.label]
    for one in links:
        assert not re.search(r"(?<!\\)(\[x\]|<b>)", one.label)
        asked = dict(parse_qsl(one.query_string.removeprefix("?")))
        shown = fine(start(**asked))
        assert not shown.warning, [one.value for one in shown.warning]
        assert query(shown)["model"] in (old, new)
    assert sorted("all=1" in one.query_string for one in links) == [False, True], "one is hidden"


def test_a_broken_benchmark_leaves_the_others_on_the_overview(toy_content: Path) -> None:
    (toy_content / "benchmarks" / "toy-fields.yaml").write_text("id: toy-fields\n")
    app = page("overview")
    assert not app.exception
    assert len(app.error) == 1
    assert "No submission yet." in [one.value for one in app.markdown]


def test_an_old_link_to_a_board_still_leads_there(toy_content: Path) -> None:
    app = AppTest.from_file(str(FOLDER / "app.py"), default_timeout=60)
    app.query_params["benchmark"] = "toy-fields"
    app = fine(app.run())
    assert app.title[0].value == "Leaderboard"
    assert query(app)["benchmark"] == "toy-fields"


# --- compare -----------------------------------------------------------------------------------


def test_there_is_nothing_to_compare_yet(toy_content: Path) -> None:
    app = fine(page("compare"))
    assert "nothing to compare yet" in app.info[0].value
    assert not app.get("plotly_chart")


def test_two_models_are_compared(submit_raised: Callable[[str, float], str]) -> None:
    ids = {}
    for name, more in (("near", 0.0), ("far", 4.0), ("farther", 9.0)):
        ids[name] = submit_raised(name, more)[:12]
    app = fine(page("compare", benchmark="toy-line", protocol="holdout", metric="mae"))
    (said,) = [one.value for one in app.markdown]
    assert said.startswith("near is better than far")
    assert query(app)["models"] == f"{ids['near']},{ids['far']}"
    assert len(app.get("plotly_chart")) == 3
    linked = {"models": f"{ids['far']},{ids['farther']}", "metric": "mae", "protocol": "holdout"}
    app = fine(page("compare", benchmark="toy-line", **linked))
    assert query(app)["models"] == linked["models"]
    (said,) = [one.value for one in app.markdown]
    assert said.startswith("far is better than farther")
    fine(app.multiselect[0].set_value([]).run())
    assert app.info[0].value == "Pick at least two models."


# --- datasets ----------------------------------------------------------------------------------


def test_a_dataset_that_is_not_here_says_how_to_have_it(toy_content: Path) -> None:
    app = fine(page("data"))
    assert [one.label for one in app.selectbox] == ["Dataset", "Configuration"]
    assert app.info[0].value.startswith("This configuration is not on this machine yet")
    assert "etchmark download toy:scalar-mini" in app.code[1].value
    assert not app.get("download_button")
    assert query(app) == {"dataset": "toy", "config": "scalar-mini"}


def test_samples_filters_and_their_spread(toy_content: Path) -> None:
    building.build(catalog(), "toy", "scalar-mini")
    app = fine(page("data"))
    assert "12 samples; train-00 to train-11 are shown." in captions(app)
    assert len(app.get("download_button")) == 3
    facts = dict(app.dataframe[0].value.itertuples(index=False))
    assert facts["samples"] == "27"
    assert facts["used by"] == "toy-line"
    (kinds,) = app.multiselect
    fine(kinds.set_value(["k1"]).run())
    assert "6 samples; train-01 to train-11 are shown." in captions(app)
    fine(app.text_input[0].set_value("-03").run())
    assert query(app)["sample"] == "train-03"
    values = dict(app.dataframe[1].value.itertuples(index=False))
    assert (values["id"], values["kind"]) == ("train-03", "k1")
    fine(app.text_input[0].set_value("nothing like it").run())
    assert app.info[0].value == "No sample passes these filters. Widen them."


def change_toy(content: Path, change: Callable[[str], str]) -> None:
    card = content / "datasets" / "toy" / "dataset.yaml"
    card.write_text(change(card.read_text(encoding="utf-8")), encoding="utf-8")


def test_a_distribution_names_its_unit(toy_content: Path) -> None:
    change_toy(toy_content, lambda text: text + "units: {HV: [a], mm: [y]}\n")
    building.build(catalog(), "toy", "scalar-mini")
    app = fine(page("data"))
    app.selectbox(key="spread-toy-scalar-mini-train").set_value("a").run()
    assert "a / HV" in _plots(fine(app))
    assert "mean / HV" in spread_of(app).columns


def spread_of(app: AppTest) -> pd.DataFrame:
    return next(one.value for one in app.dataframe if "group" in one.value.columns)


def test_what_may_not_be_handed_on_has_no_download(toy_content: Path) -> None:
    described = "description: A line of `x`, [y](z) by"
    change_toy(
        toy_content,
        lambda text: text.replace("description: A line", f"own_use: true\n    {described} w", 1),
    )
    building.build(catalog(), "toy", "scalar-mini")
    app = fine(page("data"))
    assert not app.get("download_button")
    assert any("hands these files out to nobody" in one for one in captions(app))
    said = "**scalar\\-mini.** A line of `x`\\, \\[y\\]\\(z\\) by w\\."
    assert said in [one.value for one in app.markdown]


def test_a_link_leads_to_a_sample(toy_content: Path) -> None:
    building.build(catalog(), "toy", "scalar-mini")
    link = {"dataset": "toy", "config": "scalar-mini", "split": "hard", "sample": "hard-04"}
    app = fine(page("data", **link))
    assert query(app) == link
    assert dict(app.dataframe[1].value.itertuples(index=False))["id"] == "hard-04"
    lost = page("data", **link | {"config": "gone"})
    assert "There is no configuration" in lost.warning[0].value
    assert not lost.exception


def test_filters_of_samples_stand_in_the_link(toy_content: Path) -> None:
    building.build(catalog(), "toy", "scalar-mini")
    app = fine(page("data"))
    fine(app.multiselect[0].set_value(["k1"]).run())
    low, high = app.slider[0].value
    fine(app.slider[0].set_value((low, (low + high) / 2)).run())
    fine(app.text_input[0].set_value("-0").run())
    link = query(app)
    assert {"show", "between", "id"} <= set(link)
    # The end that was not moved stays open: no sample there is lost to rounding.
    assert link["between"].startswith(",")
    (said,) = [one for one in captions(app) if "are shown" in one]
    other = fine(page("data", **link))
    assert said in captions(other)
    assert query(other) == link
    assert other.multiselect[0].value == ["k1"]
    fine(other.multiselect[0].set_value(["k0", "k1"]).run())
    assert "show" not in query(other)


def test_limits_outlive_a_split_that_does_not_reach_them(toy_content: Path) -> None:
    building.build(catalog(), "toy", "scalar-mini")
    app = fine(page("data", split="train", between="0.05,"))
    (before,) = [one for one in captions(app) if "are shown" in one]
    fine(app.get("button_group")[0].set_value(["hard"]).run())
    assert query(app)["between"] == "0.05,"
    fine(app.get("button_group")[0].set_value(["train"]).run())
    assert before in captions(app)
    column = app.selectbox[3]
    others = [one for one in column.options if one != column.value]
    if others:
        fine(column.set_value(others[0]).run())
        assert "between" not in query(app)


def test_samples_that_share_one_value(toy_content: Path) -> None:
    building.build(catalog(), "toy", "scalar-mini")
    app = fine(page("data", id="train-03"))
    assert "1 sample; train-03 to train-03 are shown." in captions(app)
    fine(app.multiselect[0].set_value([]).run())
    assert app.info[0].value == "No sample passes these filters. Widen them."
    assert query(app)["show"] == ""
    other = fine(page("data", **query(app)))
    assert other.info[0].value == "No sample passes these filters. Widen them."


@pytest.mark.parametrize(
    "asked",
    [{"between": "nan,nan"}, {"between": "5"}, {"between": "a,b"}, {"between": "-inf,inf"},
     {"show": "no%2Fkind"}, {"group": "nosuch"}, {"quantity": "nosuch"}],
)  # fmt: skip
def test_filters_named_in_vain_are_said(toy_content: Path, asked: dict[str, str]) -> None:
    building.build(catalog(), "toy", "scalar-mini")
    app = fine(page("data", **asked))
    assert "12 samples; train-00 to train-11 are shown." in captions(app)
    assert app.warning[0].value.startswith("There ")


def test_the_view_of_a_board_outlives_a_look_at_the_data(toy_content: Path) -> None:
    app = fine(start(benchmark="toy-fields"))
    fine(app.switch_page("app_pages/data.py").run())
    fine(app.switch_page("app_pages/leaderboard.py").run())
    assert query(app)["benchmark"] == "toy-fields"


def test_films_are_shown(toy_frames: Path) -> None:
    building.build(catalog(), "waves", "waves-full")
    app = fine(page("data", dataset="waves", config="waves-full", split="long"))
    assert "seen and next: 12 frames." in captions(app)
    gif = Image.open(io.BytesIO(dashboard_data().film(np.zeros((5, 8, 8), np.uint8))))
    assert gif.format == "GIF"


def test_the_surface_of_a_volume_closes_around_its_cells(toy_volumes: Path) -> None:
    building.build(catalog(), "voxels", "cells-mini")
    app = fine(page("data", dataset="voxels", config="cells-mini"))
    drawn = [json.loads(one.proto.spec) for one in app.get("plotly_chart")]
    assert drawn[0]["data"][0]["type"] == "mesh3d"
    cells = np.zeros((3, 4, 5), bool)
    cells[1, 2, 3] = cells[2, 3, 4] = True
    corners, triangles = dashboard_data().faces(cells)
    assert (corners.shape, triangles.shape) == ((48, 3), (24, 3))
    assert corners.min(axis=0).tolist() == [1, 2, 3]
    assert corners.max(axis=0).tolist() == [3, 4, 5]
    a, b, c = corners[triangles].swapaxes(0, 1)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    assert areas.sum() == pytest.approx(12)
    # The divergence theorem: every face looks outwards.
    assert np.sum(a * np.cross(b, c)) / 6 == pytest.approx(2)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((20, 120), "20 30 40 50 70 100"),
        ((1, 64), "1 3 10 30"),
        ((0.0003, 2000), "0.001 0.01 0.1 1 10 100 1,000"),
        (
            (1e6, 2e7),
            "10<sup>6</sup> 2·10<sup>6</sup> 5·10<sup>6</sup> 10<sup>7</sup> 2·10<sup>7</sup>",
        ),
        ((5, 5), "5"),
    ],
)
def test_logarithmic_axes_write_their_ticks_out(ends: tuple[float, float], expected: str) -> None:
    dashboard_data()
    from dashboard.plots import log_axis

    axis = log_axis(ends)
    ticks = zip(axis["tickvals"], axis["ticktext"], strict=True)
    assert " ".join(text for at, text in ticks if ends[0] <= at <= ends[1]) == expected


@pytest.mark.parametrize("shape", [(200, 3, 200), (1, 1, 1), (51, 51, 51), (60, 7, 130)])
def test_a_volume_of_any_shape_is_drawn(shape: tuple[int, int, int]) -> None:
    for volume in (np.zeros(shape, np.uint8), np.ones(shape, np.uint8)):
        drawn = dashboard_data().solid(volume).data[0]
        assert (len(drawn.x) > 0) is bool(volume.any())


def dashboard_data() -> Any:
    sys.path.insert(0, str(FOLDER))
    from dashboard import data as found

    return found


# --- leaderboard -------------------------------------------------------------------------------


def test_empty_registry_tells_the_next_step(toy_content: Path) -> None:
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
    assert list(shown.columns)[:3] == ["rank", "mae", "model"], "what a phone has room for"
    np.testing.assert_array_equal(shown["mae"].to_numpy(float), frame["score"].to_numpy(float))
    np.testing.assert_array_equal(shown["low"].to_numpy(float), frame["ci_low"].to_numpy(float))
    first = frame.iloc[0]
    assert shown["range"][0] == f"{first['rank_low']}–{first['rank_high']}"
    assert query(app) == {
        "benchmark": BENCHMARK,
        "protocol": "holdout",
        "track": "all",
        "metric": "mae",
    }
    assert any("Headline protocol" in one.value for one in app.markdown)
    assert any("interval over 3 sources" in one.value for one in app.caption)


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
    assert any("Not the headline protocol" in one.value for one in app.markdown)
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
    assert any(one.value == "kinds only" for one in app.subheader)


def test_view_survives_a_visit_to_another_page(board: dict[str, Entry]) -> None:
    app = start(benchmark=BENCHMARK, metric="rmse", protocol="folds")
    app.switch_page("app_pages/how_to_read.py").run()
    app.query_params.clear()
    app.switch_page("app_pages/leaderboard.py").run()
    assert query(fine(app))["metric"] == "rmse"
    assert query(app)["protocol"] == "folds"


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
    (control,) = [one for one in app.segmented_control if one.key == "pick-figure"]
    return control.options


def models_of(app: AppTest) -> list[str]:
    (models,) = [one for one in app.multiselect if one.label == "Models"]
    return models.value


def test_curves_are_shown_where_records_hold_them(board: dict[str, Entry]) -> None:
    assert figures_of(start(benchmark=BENCHMARK)) == ["Scores with intervals"]
    with_curves(board["good"])
    with_curves(board["worse"], 2.0)
    with_curves(board["old"])
    app = fine(start(benchmark=BENCHMARK))
    assert figures_of(app) == ["Scores with intervals", "What it takes"]
    app.segmented_control(key="pick-figure").set_value("needs").run()
    assert app.query_params["figure"] == "needs"
    (models,) = [one for one in app.multiselect if one.label == "Models"]
    assert models.value == ["good", "worse"], "in the order of the board, without the superseded"
    assert any("mean of 2 draws" in one.value for one in app.caption)
    points = app.dataframe[1].value
    assert points["training samples"].tolist() == [2, 10, 12] * 2
    assert points["why not"][0] == "fewer than 10 training samples"
    assert points["mae"][1] == "7.000"
    assert points["from … to"][1] == "6.000 … 8.000"
    app.segmented_control[-1].set_value("degree").run()
    assert len(fine(app).dataframe[1].value) == 4
    assert any("scored on inner folds of the training data" in one.value for one in app.caption)
    assert not any("not shown" in one.value for one in app.caption)
    app.multiselect(key=models.key.replace("training-size", "degree")).set_value([]).run()
    assert any("Pick at least one" in one.value for one in fine(app).info)


def test_curves_that_rest_on_test_scores_are_shown_nowhere(board: dict[str, Entry]) -> None:
    with_curves(board["good"], scored_on=None)
    submission = board["good"].record.submission
    pages = [
        fine(start(benchmark=BENCHMARK, figure="needs")),
        fine(start(benchmark=BENCHMARK, model=submission[:12])),
    ]
    for app in pages:
        (said,) = [one.value for one in app.caption if "are not shown" in one.value]
        assert "scored on the test samples, by which no setting may be chosen" in said
        assert f"etchmark results run {BENCHMARK} --only good --again" in said
        assert not any("Degree" in str(one.value) for one in app.segmented_control)
    (curves,) = [one for one in pages[0].segmented_control if "pick-curve" in str(one.key)]
    assert curves.options == ["Less data"]
    from dashboard import curves as dashboard_curves

    entry = Store().get(submission)
    assert entry is not None
    dumped = json.loads(dashboard_curves.shown_json(entry.record))
    assert [curve["name"] for curve in dumped["curves"]] == ["training-size"]


def test_curves_of_one_model_on_two_tracks_are_told_apart(
    board: dict[str, Entry], tmp_path: Path
) -> None:
    with_curves(board["good"])
    with_curves(submit(tmp_path, "good", 4.0, track="kinds"))
    app = fine(start(benchmark=BENCHMARK, figure="needs"))
    assert models_of(app) == ["good (features)", "good (kinds)"]
    app.selectbox(key="pick-track").set_value("kinds").run()
    assert models_of(fine(app)) == ["good"]


def test_wrong_links_are_said_and_mended(board: dict[str, Entry]) -> None:
    app = fine(
        start(benchmark=BENCHMARK, protocol="<b>x</b>", track="../..", metric="nope", model="zz")
    )
    assert len(app.warning) == 4
    assert all("<b>" not in one.value for one in app.warning)
    assert table(app)["model"].tolist() == ["good", "kinds only", "worse"]
    app = fine(start(benchmark="nonesuch"))
    assert "nonesuch" in app.warning[0].value


def test_model_in_full(board: dict[str, Entry]) -> None:
    entry = board["good"]
    app = fine(start(benchmark=BENCHMARK, model=entry.record.submission[:12]))
    scores = next(one.value for one in app.dataframe if "split" in one.value.columns)
    assert scores["metric"].tolist() == ["mae", "rmse", "mape", "r2"]
    facts = next(one.value for one in app.dataframe if "what" in one.value.columns)
    assert dict(zip(facts["what"], facts["value"], strict=True))["status"] == "scored, local"
    plots = [one.key for one in app.get("plotly_chart")]
    assert plots == ["intervals", "parity", "residuals", "property"]
    points = next(one.value for one in app.dataframe if "measured / mm" in one.value.columns)
    assert len(points) == 9
    assert points.columns.tolist() == ["id", "source", "measured / mm", "predicted / mm"]
    given = predictions(1.0).set_index("id")["prediction"]
    assert points["predicted / mm"].tolist() == given[points["id"]].tolist()


def test_claims_are_shown_apart_from_what_was_measured(
    toy_content: Path, toy_predictions: Callable[..., Path], command: Any, tmp_path: Path
) -> None:
    options = ("--track", "features", "--protocol", "holdout", "--name", "mine")
    export = tmp_path / "export"
    command("submit", toy_predictions(), BENCHMARK, *options, "--export", export).fine()
    path = export / "record.json"
    text = path.read_text().replace('"fit_seconds": null', '"fit_seconds": 0.125')
    path.write_text(text.replace('"hardware": null', '"hardware": "a pocket calculator"'))
    command("results", "add", export).fine()
    (submission,) = (toy_content / "leaderboard" / "results" / f"{BENCHMARK}@1").glob("*.json")
    app = fine(start(benchmark=BENCHMARK, model=read_record(submission).submission[:12]))
    assert "**Claimed by the submitter, not measured here**" in [one.value for one in app.markdown]

    tables = [one.value for one in app.dataframe if "what" in one.value.columns]
    measured, claimed = (dict(zip(one["what"], one["value"], strict=True)) for one in tables)
    assert measured["status"] == "scored, reviewed"
    assert not {"fit, predict", "hardware", "made with", "platform"} & set(measured)
    assert claimed["fit, predict"] == "0.1250 s, – s"
    assert claimed["hardware"] == "a pocket calculator"
    assert claimed["made with"].startswith("etchmark ")
    assert "pocket calculator" not in table(app).to_string()


def test_a_model_without_claims_shows_none(board: dict[str, Entry]) -> None:
    app = fine(start(benchmark=BENCHMARK, model=board["good"].record.submission[:12]))
    assert not [one for one in app.markdown if "Claimed" in one.value]
    assert len([one for one in app.dataframe if "what" in one.value.columns]) == 1


def test_failed_model_shows_its_reason_as_text(board: dict[str, Entry]) -> None:
    app = start(benchmark=BENCHMARK, all="1", model="f" * 12)
    assert not app.exception
    assert "it <b>fell</b>" in [one.value for one in app.text]


def test_new_submission_appears_on_the_next_run(board: dict[str, Entry], tmp_path: Path) -> None:
    app = start(benchmark=BENCHMARK)
    submit(tmp_path, "best", 0.1)
    assert table(app.run())["model"].tolist()[0] == "best"


def test_array_targets_have_no_parity_plot(toy_content: Path, tmp_path: Path) -> None:
    benchmark = load_benchmark("toy-fields")
    found = benchmark.truth("test", "holdout")
    flat = pa.array((found.target + 1).reshape(len(found.ids), -1).tolist(), pa.list_(pa.float32()))
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"id": found.ids.tolist(), "prediction": flat}), path)
    prepared = submissions.prepare_file(
        benchmark, path, name="fields", card=ModelCard(), track="features", protocol="holdout"
    )
    submissions.commit(Store(), prepared)
    app = fine(start(benchmark="toy-fields", model=prepared.record.submission[:12]))
    assert "parity" not in [one.key for one in app.get("plotly_chart")]


def test_frames_show_their_error_over_the_horizon(toy_frames: Path, tmp_path: Path) -> None:
    benchmark = load_benchmark("toy-waves")
    found = benchmark.truth("test")
    truth = found.values.astype(np.float64)
    path = tmp_path / "p.parquet"
    # An error that grows by as much from frame to frame.
    given = truth + 0.01 * np.arange(1, 7)[None, :, None, None]
    write_parts(path, [(found.ids, given, np.zeros(5))])
    prepared = submissions.prepare_file(
        benchmark, path, name="waves", card=ModelCard(), track="frames", protocol="holdout"
    )
    submissions.commit(Store(), prepared)
    short = prepared.record.submission[:12]
    app = fine(start(benchmark="toy-waves", model=short, figure="predictions"))
    drawn = [json.loads(one.proto.spec) for one in app.get("plotly_chart")]
    (horizon,) = [one for one in drawn if one["layout"]["xaxis"]["title"]["text"] == "frames ahead"]
    line = horizon["data"][1]
    assert line["name"] == "waves"
    assert _numbers(line["x"]) == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(_numbers(line["y"]), 0.01 * np.arange(1, 7), rtol=0.05)
    # One picture of the board's models, one of the model in full, its worst and best samples.
    assert len(app.get("image")) == 4
    said = [one.value for one in app.caption]
    assert sum("the same for every model" in one for one in said) == 2
    assert any(one.startswith("The truth, from the first frame") for one in said)
    points = next(one.value for one in app.dataframe if "ahead" in one.value.columns)
    assert points["ahead"].tolist() == [1, 2, 3, 4, 5, 6]


def test_a_strip_shows_a_sample_from_its_first_frame_to_its_last(toy_frames: Path) -> None:
    data = dashboard_data()
    load_benchmark("toy-waves").truth("test")
    from dashboard import parts

    spec = load_benchmark("toy-waves").spec
    found = parts.gallery(spec.dataset, spec.tracks["frames"].config)
    assert found is not None
    film = found.film("test", 0)
    (strip,) = data.strips(found, "test", (0,))
    width = strip.shape[1] // data.STRIP
    cells = [strip[:, at * width : (at + 1) * width, 0] for at in range(data.STRIP)]
    assert strip.shape[1] == data.STRIP * width
    first, last = (data._apart(data.sized(one, 112))[..., 0] for one in (film[0], film[-1]))
    np.testing.assert_array_equal(cells[0], first)
    np.testing.assert_array_equal(cells[-1], last)
    assert any((one != first).any() for one in cells)


def test_scores_that_span_decades_stand_on_a_logarithmic_axis(
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
    for one in table(app)["bar"]:
        low, high, score = map(float, re.search(r"M(\S+) 10H(\S+)'.*M(\S+) 3V", one[100:]).groups())
        assert low <= score - 1.5 < score + 1.5 <= high
    (points,) = [one for one in drawn["data"] if "error_x" in one]
    assert all(2 * points["error_x"]["width"] > size for size in points["marker"]["size"])
    # Every score lies on the axis.
    assert 10 ** axis["range"][0] < 1
    assert 10 ** axis["range"][1] > 50
    assert "reach beyond the axis" not in " ".join(one.value for one in app.caption)


def test_a_model_shows_where_it_errs(board: dict[str, Entry]) -> None:
    short = board["good"].record.submission[:12]
    app = fine(start(benchmark=BENCHMARK, model=short))
    said = [one.value for one in app.markdown]
    assert "**Where it errs**" in said
    assert "**Worst predicted**" in said
    assert "**Best predicted**" in said
    errors = np.abs(predictions(1.0)["prediction"] - truth().target).to_numpy()
    ids = np.asarray(truth().ids)
    worst = said[said.index("**Worst predicted**") + 1]
    assert literal(f"{ids[errors.argmax()]}: mae {errors.max():.3f}") in worst
    by = next(one for one in app.selectbox if one.label == "Spread by")
    assert spread(app)["mean"].tolist() == pytest.approx([*by_unit(errors)])
    by.set_value("all samples").run()
    assert spread(fine(app))["mean"].tolist() == pytest.approx([errors.mean()])


def literal(text: str) -> str:
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def spread(app: AppTest) -> pd.DataFrame:
    """The table beside the boxes."""
    return next(one.value for one in app.dataframe if "median" in one.value.columns)


def by_unit(errors: np.ndarray) -> list[float]:
    units = np.asarray(truth().units)
    return [float(errors[units == one].mean()) for one in np.unique(units)]


def submit_volumes(folder: Path, predicted: np.ndarray) -> str:
    """Predictions of the volumes' test split, stored; the submission's short id."""
    path, benchmark = folder / "p.csv", load_benchmark("toy-volumes")
    given = {"id": benchmark.truth("test").ids, "prediction": predicted}
    pd.DataFrame(given).to_csv(path, index=False)
    prepared = submissions.prepare_file(
        benchmark, path, name="mine", card=ModelCard(), track="volumes", protocol="holdout"
    )
    submissions.commit(Store(), prepared)
    return prepared.record.submission[:12]


def test_a_model_of_volumes_shows_its_worst_samples(toy_volumes: Path, tmp_path: Path) -> None:
    found = load_benchmark("toy-volumes").truth("test")
    off = np.linspace(0.0, 1.0, len(found.ids))
    short = submit_volumes(tmp_path, found.target + off)
    app = fine(start(benchmark="toy-volumes", model=short))
    against = next(one for one in app.selectbox if one.label == "Error against")
    assert len(against.options) > 1, "what the data say of the samples"
    for one in against.options:
        against.set_value(one).run()
        fine(app)
    shown = [json.loads(one.proto.spec) for one in app.get("plotly_chart")]
    assert any(one["layout"]["xaxis"]["title"].get("text") == against.options[-1] for one in shown)
    pictures = app.get("image")[-2:]
    count = min(4, len(found.ids) // 2)
    assert [len(one.proto.imgs) for one in pictures] == [count, count], "the worst and the best"
    worst = str(found.ids[np.argmax(off / found.target)])
    assert literal(worst) in pictures[0].proto.imgs[0].caption


def test_filters_narrow_the_board_and_rank_anew(board: dict[str, Entry], tmp_path: Path) -> None:
    card = ModelCard(tags=["trees", "tuned"], training_data="none")
    submit(tmp_path, "tagged", 7.0, card=card)
    submit(tmp_path, "other", 8.0, card=ModelCard(tags=["trees"], training_data="declared"))
    app = fine(start(benchmark=BENCHMARK))
    assert len(table(app)) == 5
    app.multiselect(key="pick-tags").set_value(["trees"]).run()
    assert table(fine(app))["model"].tolist() == ["tagged", "other"]
    assert table(app)["rank"].tolist() == [1, 2]
    assert any("leave 2 of" in one.value for one in app.caption)
    assert app.query_params["tags"] == "trees"
    app.multiselect(key="pick-training").set_value(["declared"]).run()
    assert table(fine(app))["model"].tolist() == ["other"]
    assert app.query_params["training"] == "declared"
    app.number_input(key="pick-parameters").set_value(10).run()
    assert any("No submission is left by the filters" in one.value for one in fine(app).info)
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
    popovers = [one for one in app.main.children.values() if one.type == "popover"]
    assert not [one for part in popovers for one in part.get("warning")]
    said = " ".join(one.value.replace("\\", "") for one in app.warning)
    assert "No row here has 'gone'" in said
    assert "'x' is no number of parameters" in said


def test_a_row_shows_its_interval_as_a_picture(board: dict[str, Entry]) -> None:
    bars = table(fine(start(benchmark=BENCHMARK, all="1")))["bar"]
    shown = [one for one in bars if isinstance(one, str)]
    assert len(shown) == 4, "all that were scored"
    assert all(one.startswith("data:image/svg+xml,<svg") for one in shown)


def test_a_score_beyond_the_scale_is_told_from_one_at_its_end() -> None:
    dashboard_data()
    from dashboard import plots

    scores = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 90.0, 150.0]
    frame = pd.DataFrame(
        {"score": scores, "ci_low": np.array(scores) - 1, "ci_high": np.array(scores) + 1}
    )
    bars = plots.interval_bars(frame)
    assert bars[6] == bars[7] == plots.BEYOND
    assert plots.BEYOND not in bars[:6]
    assert len(set(bars[:6])) == 6
    # Of metrics that are better when higher, the far ones lie to the left.
    frame = -frame.rename(columns={"ci_low": "ci_high", "ci_high": "ci_low"})
    assert plots.interval_bars(frame)[5:] == [plots.interval_bars(frame)[5], *[plots.BELOW] * 2]


def test_differences_are_drawn_on_a_scale_on_which_they_are_seen() -> None:
    dashboard_data()
    from dashboard import rollouts

    from etchmark.targets.frames.rollouts import rollout

    truth = np.full((3, 8, 8), 0.5)
    for added, full in ((0.0, 0.05), (0.02, 0.05), (0.07, 0.1), (0.4, 0.5)):
        one = rollout("a", truth, truth + added)
        assert rollouts.fullest([one]) == full
        drawn = rollouts.picture([("m", one)], full)
        assert f"full colour from {full:g};" in rollouts.caption(one, "test", full)
        cell = rollouts.LINE * 4 + (rollouts.SIDE + rollouts.GAP) * 2 + rollouts.SIDE // 2 - 26
        red, _, blue, _ = drawn.getpixel((rollouts.SIDE // 2, cell))
        assert (red > blue + 60) == (added > 0)
    far = rollout("a", truth * 0, truth * 0 + 1)
    assert rollouts.fullest([rollout("a", truth, truth), far]) == 0.5


def test_the_cost_that_is_shown_first_is_one_that_the_first_model_tells() -> None:
    dashboard_data()
    from dashboard import cost

    ranked = pd.DataFrame(
        {
            "submission": list("abcd"),
            "status": "run",
            "seconds_each": [None, 1.0, 2.0, 3.0],
            "fit_seconds": [1.0, 2.0, 3.0, 4.0],
            **dict.fromkeys(("feature_seconds", "parameters", "flops", "peak_memory_bytes")),
        }
    )
    assert cost._to_begin_with(cost.known(ranked), ranked) == "fit_seconds"
    ranked.loc[0, "seconds_each"] = 0.5
    assert cost._to_begin_with(cost.known(ranked), ranked) == "seconds_each"


def test_two_blues_change_places_on_dark_ground(monkeypatch: pytest.MonkeyPatch) -> None:
    dashboard_data()
    from dashboard import curves

    light = curves.styles()
    monkeypatch.setattr(curves, "colour", lambda: curves.SKY)
    dark = curves.styles()
    assert light[0][0] == dark[5][0] == curves.BLUE
    assert dark[0][0] == light[5][0] == curves.SKY
    assert [one[1:] for one in light] == [one[1:] for one in dark]


def test_scores_against_the_time_of_prediction(toy_frames: Path, command: Callable) -> None:
    command("evaluate", "toy_last", "toy-waves").fine()
    assert "What it costs" not in figures_of(fine(start(benchmark="toy-waves")))
    other = toy_frames / "baselines" / "toy_later"
    shutil.copytree(toy_frames / "baselines" / "toy_last", other)
    card = (other / "card.yaml").read_text()
    (other / "card.yaml").write_text(card.replace("toy_last", "toy_later"))
    code = (other / "model.py").read_text()
    (other / "model.py").write_text(code.replace("offset=0.0", "offset=0.1"))
    command("evaluate", "toy_later", "toy-waves").fine()
    app = fine(start(benchmark="toy-waves", figure="costs"))
    drawn = [json.loads(one.proto.spec) for one in app.get("plotly_chart")]
    title = "prediction / seconds per frame"
    (cost,) = [one for one in drawn if one["layout"]["xaxis"]["title"]["text"] == title]
    assert cost["data"][0]["name"] == "Pareto front"
    shown = [one for part in cost["data"][1:] for one in part["customdata"]]
    assert sorted(shown) == ["toy_last", "toy_later"]
    front = _numbers(cost["data"][0]["x"])
    assert front == sorted(front)
    assert len(front) == len(cost["data"][1]["text"])
    board = app.dataframe[0].value
    assert (board["ms each"] > 0).all()


def _numbers(given: list[float] | dict[str, str]) -> list[float]:
    """Numbers of a figure, which plotly may have packed."""
    if isinstance(given, dict):
        return np.frombuffer(base64.b64decode(given["bdata"]), given["dtype"]).tolist()
    return given


def test_the_uncertainty_of_the_labels_is_shaded(toy_volumes: Path, tmp_path: Path) -> None:
    found = load_benchmark("toy-volumes").truth("test")
    submit_volumes(tmp_path, found.target * 1.04)
    app = fine(start(benchmark="toy-volumes"))
    assert "within the uncertainty of the labels: 2.500" in _plots(app)
    assert "published network: 3.000" in _plots(app)
    assert any("quoted" in one.value for one in app.caption)
    app = fine(start(benchmark="toy-volumes", metric="r2"))
    assert "uncertainty of the labels" not in _plots(app)


# --- text from strangers -----------------------------------------------------------------------


def _plots(app: AppTest) -> str:
    return " ".join(json.dumps(json.loads(one.proto.spec)) for one in app.get("plotly_chart"))


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_names_and_cards_stay_text(kind: str, toy_content: Path, tmp_path: Path) -> None:
    name = HOSTILE[kind]
    card = ModelCard(
        title=name,
        description=(name + "\n") * (9_000 // len(name)),
        authors=[name],
        licence=name,
        tags=[name[:40].strip()],
        training_data_note=name,
        bibtex=name,
        paper="10.1000/<script>\"'" if kind == "markup" else None,
    )
    # A name with characters that are not seen is refused; the texts of a card are shown escaped.
    entry = submit(tmp_path, "hostile" if "\u202e" in name else name, card=card)
    app = fine(start(benchmark=BENCHMARK, model=entry.record.submission[:12]))
    # Markdown sees none of it unescaped; tables, st.text and st.code show text as it is.
    rendered = [one.value for one in (*app.markdown, *app.caption, *app.subheader, *app.title)]
    for text in rendered:
        assert not re.search(r"(?<!\\)(<script|<img|\[click\]|!\[|\*\*bold|:red\[)", text), text
        assert "https://evil" not in text
    everything = rendered + table(app)["model"].tolist() + [one.value for one in app.text]
    assert not any(char in text for text in everything for char in "\u202e\u202c")
    labels = _plots(app)
    assert "<script" not in labels
    assert "<img" not in labels
    links = [one.proto.url for one in app.get("link_button")]
    assert all(link.startswith("https://doi.org/10.1000/%3Cscript%3E") for link in links)


STEERING = "\u202e\u202c\u2066\u200b\u200f\ufeff"


def _sent(node: Any) -> Iterator[str]:
    """All that a page sends to the browser, as text in which every character stands for itself."""
    children = getattr(node, "children", None)
    if isinstance(children, dict):
        for child in children.values():
            yield from _sent(child)
    proto = getattr(node, "proto", None)
    if proto is not None:
        text = proto.SerializeToString().decode("utf-8", "replace")
        if node.type == "plotly_chart":
            text = json.dumps(json.loads(proto.spec), ensure_ascii=False)
        # Messages and tables hold bytes that are no text; what steers is three bytes of UTF-8.
        yield f"{node.type}: {text}"


@pytest.mark.parametrize("name", ["overview", "leaderboard", "compare", "how_to_read"])
def test_no_page_sends_what_steers_a_display(name: str, toy_content: Path, tmp_path: Path) -> None:
    """A record of an older version may hold what intake would refuse today."""
    hostile = "a\u202eb\u200bc\u2066d\u200fe\ufefff"
    entries = [submit(tmp_path, "one", 1.0), submit(tmp_path, "two", 3.0)]
    for number, entry in enumerate(entries):
        card = ModelCard.model_construct(
            **{
                **entry.record.card.__dict__,
                **dict.fromkeys(("title", "description", "licence", "bibtex"), hostile),
                "authors": [hostile],
                "tags": [hostile],
            }
        )
        update = {"name": f"{hostile}{number}", "card": card}
        update["cost"] = entry.record.cost.model_copy(update={"hardware": hostile})
        update["created"] = datetime.now(UTC)
        Store().add(Entry(entry.record.model_copy(update=update), entry.samples, LOCAL))
    first = entries[0].record.submission
    query = {"benchmark": BENCHMARK}
    query |= {"model": first[:12]} if name == "leaderboard" else {}
    query |= {"models": ",".join(one.record.submission[:12] for one in entries)}
    app = fine(page(name, **query))
    sent = list(_sent(app.main))
    assert name == "how_to_read" or any(r"a\u202eb" in text for text in sent)
    for text in sent:
        shown = [char for char in STEERING if char in text]
        assert not shown, (shown, text[:300])


def test_csv_is_safe_for_spreadsheets(toy_content: Path, tmp_path: Path) -> None:
    from etchmark.text import csv_text

    submit(tmp_path, HOSTILE["formula"])
    frame = standings.standings(load_benchmark(BENCHMARK).spec, Store())
    read = pd.read_csv(io.StringIO(csv_text(frame)))
    assert read["model"][0] == "'" + HOSTILE["formula"]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from dashboard import parts as dashboard_parts

    return dashboard_parts


def test_literal_escapes_all_markdown(parts) -> None:
    shown = parts.literal("a*b_[c](d)<e>`f`#$x$ :red[y] http://z.example w@v.example :smile:")
    broken = re.findall(r"(?<!\\):color\[(.*?)\]", shown)
    assert broken == ["http", "\\@", "\\:"], "what would be a link or a picture, in elements apart"
    shown = re.sub(r"(?<!\\):color\[(.*?)\]", "", shown)
    assert not re.search(r"(?<!\\)[*_\[\]()<>`#$:]", shown)
    assert parts.literal("plain words") == "plain words"
    assert parts.literal("x" + HOSTILE["address"]).isascii(), "nothing unseen is copied"


@pytest.mark.parametrize(
    "given",
    ["javascript:alert(1)", "data:text/html,x", "ftp://x", "//x", "http://a b", "10.1/x", "", None],
)
def test_only_http_and_doi_become_links(parts, given: str | None) -> None:
    assert parts.web_address(given) is None


def test_links(parts) -> None:
    assert parts.web_address("10.1016/j.x.2025.1") == "https://doi.org/10.1016/j.x.2025.1"
    assert parts.web_address("https://a.example/b?c=d") == "https://a.example/b?c=d"


def test_names_beside_points_do_not_cover_each_other() -> None:
    dashboard_data()
    from dashboard.labels import PLOT_PX, POINT_PX, name_box, name_places, pixels

    generator = np.random.default_rng(0)
    for count, spread in ((1, 1.2), (2, 1.2), (12, 1.2), (12, 1e9), (40, 1e9)):
        across, up = np.exp(generator.uniform(0, np.log(spread), (2, count)))
        across[0], up[0] = 1e10, 1e10
        ends = (up / 3, up * 3)
        names = ["a name of some letters"] * count
        found = name_places(across, up, np.arange(count), names, ends)
        assert found[0]
        x = pixels(across, PLOT_PX[0])
        low, y, high = pixels(np.stack([ends[0], up, ends[1]]), PLOT_PX[1])
        boxes = {
            at: name_box(x[at], y[at], place, names[at]) for at, place in enumerate(found) if place
        }
        for at, box in boxes.items():
            assert box[0] >= 0
            assert box[2] <= PLOT_PX[0]
            for other in set(range(count)) - {at}:
                r = POINT_PX
                bar = np.array([x[other] - r, low[other] - r, x[other] + r, high[other] + r])
                for thing in (bar, *([boxes[other]] if other in boxes else [])):
                    assert not ((box[:2] < thing[2:]) & (thing[:2] < box[2:])).all()
        # All but the first lie on a spot that few names fit around, or have room.
        assert sum(map(bool, found)) <= 5 if spread < 2 else sum(map(bool, found)) >= 4


def test_plot_labels_are_escaped(parts) -> None:
    from dashboard import plots as dashboard_plots

    shown = dashboard_plots.label("<a href='javascript:x'>y</a>\u202e")
    assert "<" not in shown
    assert "\u202e" not in html.unescape(shown)


# --- errors ------------------------------------------------------------------------------------


def test_broken_registry_is_one_line(home: Path, toy_content: Path) -> None:
    home.mkdir(parents=True)
    (home / "registry.sqlite").write_bytes(b"not a database, surely" * 100)
    app = start(benchmark=BENCHMARK)
    assert not app.exception
    assert len(app.error) == 1
    assert "registry" in app.error[0].value


@pytest.mark.parametrize("column", ["record", "samples"])
def test_a_submission_that_cannot_be_read_is_named_and_the_others_are_shown(
    board: dict[str, Entry], home: Path, column: str
) -> None:
    damaged = board["good"].record.submission
    with closing(sqlite3.connect(home / "registry.sqlite")) as connection, connection:
        connection.execute(f"update submissions set {column} = x'00' where id = ?", [damaged])
        connection.execute("delete from briefs where id = ?", [damaged])
    for name in ("leaderboard", "overview"):
        app = fine(page(name))
        (warning,) = [one.value for one in app.warning]
        assert damaged[:12] in warning
        assert "left out" in warning
    app = fine(start(benchmark=BENCHMARK))
    assert table(app)["model"].tolist() == ["kinds only", "worse"]
    app = fine(page("compare", benchmark=BENCHMARK))
    assert "kinds only" in app.multiselect[0].options[0]
    fine(page("submit", benchmark=BENCHMARK))


def test_a_damaged_table_closes_no_page_but_what_is_made_from_it(
    board: dict[str, Entry], home: Path
) -> None:
    damaged = board["good"].record.submission
    with closing(sqlite3.connect(home / "registry.sqlite")) as connection, connection:
        connection.execute("update submissions set samples = x'00' where id = ?", [damaged])
    fine(page("overview"))
    assert "good" in table(fine(start(benchmark=BENCHMARK)))["model"].tolist()
    app = start(benchmark=BENCHMARK, model=damaged[:12])
    assert not app.exception
    assert ["table is damaged" in one.value for one in app.error] == [True]


def test_unforeseen_errors_are_one_generic_line(
    board: dict[str, Entry], monkeypatch: pytest.MonkeyPatch, parts
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(parts, "open_store", fail)
    app = start(benchmark=BENCHMARK)
    assert not app.exception
    assert [one.value for one in app.error] == [parts.GENERIC_ERROR]


def test_one_broken_benchmark_leaves_the_others(board: dict[str, Entry], toy_content: Path) -> None:
    (toy_content / "benchmarks" / "aaa.yaml").write_text("nonsense: [", encoding="utf-8")
    app = start()
    assert not app.exception
    assert "not valid YAML" in app.error[0].value.replace("\\", "")
    app.selectbox(key="pick-benchmark").set_value(BENCHMARK).run()
    assert table(fine(app))["model"].tolist() == ["good", "kinds only", "worse"]


# --- submit ------------------------------------------------------------------------------------


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, na_rep="nan").encode()


def give(app: AppTest, content: bytes, name: str = "mine", file: str = "mine.csv") -> AppTest:
    app.file_uploader(key="submit-file").set_value((file, content, "text/csv"))
    app.text_input(key="submit-name").set_value(name)
    press(app, "Check and preview")
    return app


def press(app: AppTest, label: str) -> None:
    next(one for one in app.button if one.label == label).click().run()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Score in this process: starting another takes most of a second."""

    def inline(path: Path, benchmark: str, **given: object) -> submissions.Prepared:
        return submissions.prepare_file(load_benchmark(benchmark), path, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(preview, "preview", inline)


def ready(**view: str) -> AppTest:
    """The submit page with the toy's data built."""
    load_benchmark(BENCHMARK).truth("test", "holdout")
    return fine(page("submit", **{"benchmark": BENCHMARK, **view}))


def test_submit_previews_before_it_stores(board: dict[str, Entry]) -> None:
    app = give(ready(), _csv(predictions(0.5)))
    fine(app)
    assert "all 9 ids of 3 sources" in app.success[0].value
    near = next(one.value for one in app.dataframe if "rank range" in one.value.columns)
    assert near["model"].tolist()[0] == "mine"
    assert near[""].tolist() == ["▶", "", "", ""]
    assert "mine" not in Store().names(BENCHMARK)
    press(app, "Store this submission")
    assert "Stored" in fine(app).success[0].value
    assert "mine" in Store().names(BENCHMARK)
    stored = next(one for one in Store().entries(BENCHMARK, 1) if one.record.name == "mine").record
    assert Store().prediction_path(stored.fingerprints.predictions[0]).is_file()
    labels = [one.label for one in app.get("download_button")]
    assert any("receipt" in label for label in labels)
    app.switch_page("app_pages/leaderboard.py").run()
    assert table(fine(app))["model"].tolist()[0] == "mine"


def test_the_preview_says_what_is_stored_and_in_whose_place(
    board: dict[str, Entry], quick: None
) -> None:
    app = give(ready(), _csv(predictions(0.5)))
    assert any("**mine**, from mine" in one.value for one in app.markdown)
    assert not app.warning
    press(app, "Store this submission")
    again = give(ready(), _csv(predictions(0.4)))
    assert "takes the place of" in again.warning[0].value
    other = give(ready(), _csv(predictions(0.5)), name="another")
    assert "very same predictions are stored already, as mine" in other.warning[0].value


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
    dates = [
        entry.record.created.day
        for entry in Store().entries(BENCHMARK, 1)
        if entry.record.name == "mine"
    ]
    assert dates == [2, 3], "dated when stored, not when looked at"


def test_what_a_link_names_in_vain_is_said(board: dict[str, Entry], quick: None) -> None:
    app = ready(benchmark=BENCHMARK, protocol="holdouts", track="all")
    assert [one.value.replace("\\", "") for one in fine(app).warning] == [
        "There is no protocol 'holdouts' here; showing holdout."
    ]


def test_a_file_is_what_it_holds(board: dict[str, Entry], quick: None) -> None:
    buffer = io.BytesIO()
    predictions(0.5).to_parquet(buffer, index=False)
    app = give(ready(), buffer.getvalue(), file="x.csv")
    assert "read as parquet" in fine(app).success[0].value


def test_a_preview_does_not_outlive_another_check(board: dict[str, Entry], quick: None) -> None:
    app = give(ready(), _csv(predictions(0.5)))
    assert any(one.label == "Store this submission" for one in app.button)
    give(app, _csv(predictions(0.5)), name="  ")
    assert "no name was given" in app.error[0].value
    assert not any(one.label == "Store this submission" for one in app.button)


def test_nothing_is_built_while_a_file_is_checked(
    board: dict[str, Entry], quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "find_config", lambda *_: None)
    app = give(ready(), _csv(predictions(0.5)))
    assert "the data to score with are not on this machine" in app.error[0].value


def test_discard_stores_nothing(board: dict[str, Entry], quick: None) -> None:
    app = give(ready(), _csv(predictions(0.5)))
    press(app, "Discard")
    assert not any(one.label == "Store this submission" for one in fine(app).button)
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
        "not of this benchmark",
    ),
    "text": (lambda: b"id,prediction\ntest-00,<b>high</b>\n", "is not a number"),
    "nan": (lambda: _csv(predictions().assign(prediction=np.nan)), "finite"),
    "binary": (lambda: b"\x80\x04\x95" + b"\0" * 99, ""),
    "columns": (lambda: b"a,b\n1,2\n", "no column named"),
}


def test_bad_file_by_way_of_the_other_process(toy_content: Path) -> None:
    app = give(ready(), _csv(predictions()[:-2]))
    assert "are missing" in app.error[0].value
    assert app.error[0].value.startswith(r"mine\.csv")


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
    assert [one.value.replace("\\", "") for one in app.warning] == [
        "Split 'test': 9 of 9 predictions equal their labels to within rounding; a model must not"
        " be given the labels that it is scored on."
    ]
    press(app, "Store this submission")
    assert "mine" in Store().names(BENCHMARK)


def test_a_refusal_names_the_upload_wherever_it_is_kept(
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


def test_incomplete_forms_are_told(toy_content: Path, quick: None) -> None:
    app = ready()
    press(app, "Check and preview")
    assert "no file was given" in app.error[0].value
    give(app, _csv(predictions()), name="  ")
    assert "no name was given" in app.error[0].value
    paper = next(one for one in app.text_input if one.label == "Paper")
    paper.set_value("javascript:alert(1)")
    give(app, _csv(predictions()))
    assert "paper" in app.error[0].value
    next(one for one in app.text_input if one.label == "Paper").set_value("")
    give(app, _csv(predictions()), name="toy_mean")
    assert "baseline" in app.error[0].value


def test_template_downloads_and_data_to_build(toy_content: Path, home: Path) -> None:
    app = fine(page("submit", benchmark=BENCHMARK))
    assert any(one.label == "Build the data for this track" for one in app.button)
    press(app, "Build the data for this track")
    labels = [one.label for one in fine(app).get("download_button")]
    assert labels == [
        "inputs-test.parquet",
        "inputs-hard.parquet",
        "predictions.parquet",
        "predictions.csv",
    ]


# --- the rest ----------------------------------------------------------------------------------


def test_how_to_read_speaks_of_the_benchmark(toy_content: Path) -> None:
    app = fine(page("how_to_read", benchmark=BENCHMARK))
    text = " ".join(one.value for one in app.markdown)
    for word in ("`holdout` (headline)", "four folds", "Rank range", "height", "`run`"):
        assert word in text


def test_the_pages_import_no_torch(toy_content: Path) -> None:
    import subprocess

    code = (
        "import sys; from streamlit.testing.v1 import AppTest\n"
        f"app = AppTest.from_file({str(FOLDER / 'app.py')!r}, default_timeout=60).run()\n"
        "for name in ('submit', 'how_to_read'):\n"
        "    app.switch_page(f'app_pages/{name}.py').run()\n"
        "    assert not app.exception and not app.error\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)


def test_settings_keep_tracebacks_and_statistics_away() -> None:
    import tomllib

    config = tomllib.loads((FOLDER / ".streamlit" / "config.toml").read_text("utf-8"))
    assert config["client"]["showErrorDetails"] == "none"
    assert config["browser"]["gatherUsageStats"] is False
    assert config["server"]["maxUploadSize"] <= 1024
