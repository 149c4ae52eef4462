"""The page of datasets."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("streamlit")
from dashboard.charts import images
from pages import captions, figure_text, fine, page, query, start, table_with, values

from etchmark.catalog import catalog
from etchmark.data import building


def test_a_dataset_that_is_not_here_says_how_to_download_it(toy_content: Path) -> None:
    app = fine(page("data"))
    assert [element.label for element in app.selectbox] == ["Dataset", "Configuration"]
    assert app.info[0].value.startswith("This configuration is not on this machine yet")
    assert "etchmark download toy:scalar-mini" in app.code[1].value
    assert not app.get("download_button")
    assert query(app) == {"dataset": "toy", "config": "scalar-mini"}


def test_samples_and_their_filters(toy_content: Path) -> None:
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
    fine(app.text_input[1].set_value("-03").run())
    assert query(app)["sample"] == "train-03"
    values = dict(app.dataframe[1].value.itertuples(index=False))
    assert (values["id"], values["kind"]) == ("train-03", "k1")
    fine(app.text_input[1].set_value("nothing like it").run())
    assert app.info[0].value == "No sample passes these filters. Widen them."


def change_toy(content: Path, change: Callable[[str], str]) -> None:
    card = content / "datasets" / "toy" / "dataset.yaml"
    card.write_text(change(card.read_text(encoding="utf-8")), encoding="utf-8")


def test_a_distribution_names_its_unit(toy_content: Path) -> None:
    change_toy(toy_content, lambda text: text + "units: {HV: [a], mm: [y]}\n")
    building.build(catalog(), "toy", "scalar-mini")
    app = fine(page("data"))
    app.selectbox(key="spread-toy-scalar-mini-train").set_value("a").run()
    assert "a / HV" in figure_text(fine(app))
    assert "mean / HV" in table_with(app, "group").columns


def test_what_may_not_be_redistributed_has_no_download(toy_content: Path) -> None:
    described = "description: A line of `x`, [y](z) by"
    change_toy(
        toy_content,
        lambda text: text.replace("description: A line", f"own_use: true\n    {described} w", 1),
    )
    building.build(catalog(), "toy", "scalar-mini")
    app = fine(page("data"))
    assert not app.get("download_button")
    assert any("cannot be downloaded from this page" in caption for caption in captions(app))
    said = "**scalar\\-mini.** A line of `x`\\, \\[y\\]\\(z\\) by w\\."
    assert said in values(app.markdown)


def test_a_link_leads_to_a_sample(toy_content: Path) -> None:
    building.build(catalog(), "toy", "scalar-mini")
    link = {"dataset": "toy", "config": "scalar-mini", "split": "hard", "sample": "hard-04"}
    app = fine(page("data", **link))
    assert query(app) == link
    assert dict(app.dataframe[1].value.itertuples(index=False))["id"] == "hard-04"
    lost = page("data", **link | {"config": "gone"})
    assert "There is no configuration" in lost.warning[0].value
    assert not lost.exception


def test_filters_of_samples_are_in_the_link(toy_content: Path) -> None:
    building.build(catalog(), "toy", "scalar-mini")
    app = fine(page("data"))
    fine(app.multiselect[0].set_value(["k1"]).run())
    low, high = app.slider[0].value
    fine(app.slider[0].set_value((low, (low + high) / 2)).run())
    fine(app.text_input[1].set_value("-0").run())
    link = query(app)
    assert {"show", "between", "id"} <= set(link)
    # The end that was not moved stays open: no sample there is lost to rounding.
    assert link["between"].startswith(",")
    (said,) = [element for element in captions(app) if "are shown" in element]
    other = fine(page("data", **link))
    assert said in captions(other)
    assert query(other) == link
    assert other.multiselect[0].value == ["k1"]
    fine(other.multiselect[0].set_value(["k0", "k1"]).run())
    assert "show" not in query(other)


def test_limits_survive_a_split_that_does_not_reach_them(toy_content: Path) -> None:
    building.build(catalog(), "toy", "scalar-mini")
    app = fine(page("data", split="train", between="0.05,"))
    (before,) = [element for element in captions(app) if "are shown" in element]
    fine(app.get("button_group")[0].set_value(["hard"]).run())
    assert query(app)["between"] == "0.05,"
    fine(app.get("button_group")[0].set_value(["train"]).run())
    assert before in captions(app)
    column = app.selectbox[3]
    others = [element for element in column.options if element != column.value]
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
def test_filters_that_do_not_exist_are_reported(toy_content: Path, asked: dict[str, str]) -> None:
    building.build(catalog(), "toy", "scalar-mini")
    app = fine(page("data", **asked))
    assert "12 samples; train-00 to train-11 are shown." in captions(app)
    assert app.warning[0].value.startswith("There ")


def test_the_view_of_a_board_survives_a_look_at_the_data(toy_content: Path) -> None:
    app = fine(start(benchmark="toy-fields"))
    fine(app.switch_page("app_pages/data.py").run())
    fine(app.switch_page("app_pages/leaderboard.py").run())
    assert query(app)["benchmark"] == "toy-fields"


def test_films_are_shown(toy_frames: Path) -> None:
    building.build(catalog(), "waves", "waves-full")
    app = fine(page("data", dataset="waves", config="waves-full", split="long"))
    assert any(said.startswith("seen and next: 12 frames.") for said in captions(app))
    gif = Image.open(io.BytesIO(images.film(np.zeros((5, 8, 8), np.uint8))))
    assert gif.format == "GIF"
