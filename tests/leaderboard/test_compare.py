"""The page that compares models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("streamlit")

from pages import captions, fine, literal, page, query, submit, values

import etchmark
from etchmark.api import Entry, load_benchmark


def test_there_is_nothing_to_compare_yet(toy_content: Path) -> None:
    app = fine(page("compare"))
    assert "nothing to compare yet" in app.info[0].value
    assert not app.get("plotly_chart")


def test_two_models_are_compared(
    toy_samples: Path, submit_raised: Callable[[str, float], str]
) -> None:
    ids = {}
    for name, more in (("near", 0.0), ("far", 4.0), ("farther", 9.0)):
        ids[name] = submit_raised(name, more)[:12]
    app = fine(page("compare", benchmark="toy-line", protocol="holdout", metric="mae"))
    said, flags = values(app.markdown)
    assert said.startswith("near is better than far")
    assert literal("far_ahead: split 'test': mae") in flags
    assert query(app)["models"] == "near,far"
    linked = {"models": f"{ids['far']},{ids['farther']}", "metric": "mae", "protocol": "holdout"}
    app = fine(page("compare", benchmark="toy-line", **linked))
    assert query(app)["models"] == "far,farther"
    said, *_ = values(app.markdown)
    assert said.startswith("far is better than farther")
    assert "p of this pair alone" in said
    fine(app.multiselect[0].set_value([]).run())
    assert app.info[0].value == "Pick at least two models."


def test_three_units_tell_nothing_apart(submit_raised: Callable[[str, float], str]) -> None:
    for name, more in (("near", 0.0), ("far", 4.0)):
        submit_raised(name, more)
    app = fine(page("compare", benchmark="toy-line", protocol="holdout", metric="mae"))
    said, *_ = values(app.markdown)
    assert said == literal(
        "near and far are not told apart by these sources: −4.000 mm; p of this pair alone 0.2500."
    )
    # Differences, errors of samples, and scores by source.
    assert len(app.get("plotly_chart")) == 3


# --- links by name, other splits -----------------------------------------------------------------


def test_a_link_names_models(toy_samples: Path, submit_raised: Callable[[str, float], str]) -> None:
    for name, more in (("near", 0.0), ("far/small", 4.0), ("farther", 9.0)):
        submit_raised(name, more)
    app = fine(page("compare", models="far/small,farther", protocol="holdout", metric="mae"))
    assert query(app)["benchmark"] == "toy-line"
    assert query(app)["models"] == "far/small,farther"
    assert values(app.markdown)[0].startswith(literal("far/small is better than farther"))
    # The newer submission of the name is meant.
    newer = submit_raised("far/small", 3.0)
    app = fine(page("compare", models="far/small,farther", protocol="holdout", metric="mae"))
    assert newer in app.multiselect[0].value


def test_a_link_never_shows_other_models(submit_raised: Callable[[str, float], str]) -> None:
    for name, more in (("near", 0.0), ("far", 4.0)):
        submit_raised(name, more)
    link = {"benchmark": "toy-line", "protocol": "holdout", "metric": "mae"}
    app = fine(page("compare", **link, models="absent,missing"))
    (said,) = values(app.warning)
    assert said == literal("The link names models that are not ranked here: absent, missing.")
    assert app.multiselect[0].value == []
    app = fine(page("compare", **link, models="far,missing"))
    assert len(app.multiselect[0].value) == 1
    assert app.info[0].value == "Pick at least two models."
    app = fine(page("compare", models="far,missing"))
    (said,) = values(app.warning)
    assert said == literal("The link names models that are not ranked here: missing.")
    assert len(app.multiselect[0].value) == 1, "the model that is known stays"


def test_a_fifth_model_is_left_out_by_name(submit_raised: Callable[[str, float], str]) -> None:
    for number in range(5):
        submit_raised(f"m{number}", float(number))
    link = {"benchmark": "toy-line", "protocol": "holdout", "metric": "mae"}
    app = fine(page("compare", **link, models="m0,m1,m2,m3,m4"))
    assert literal("4 models are compared at most; left out: m4.") in values(app.warning)
    assert len(app.multiselect[0].value) == 4


def test_a_name_on_two_tracks_is_that_of_the_links_track(
    board: dict[str, Entry], tmp_path: Path
) -> None:
    submit(tmp_path, "good", 2.0, track="kinds")
    link = {"benchmark": "toy-line", "protocol": "holdout", "metric": "mae"}
    app = fine(page("compare", **link, models="good,worse"))
    assert any(literal("good (the name of 2 rows)") in said for said in values(app.warning))
    app = fine(page("compare", **link, models="good,worse", track="features"))
    good = board["good"].record.submission
    assert good in app.multiselect[0].value
    # The name alone would not tell which.
    assert query(app)["models"] == f"{good[:12]},worse"


def test_models_are_compared_on_another_split(toy_content: Path) -> None:
    frames = {}
    for name, test, hard in (("early", 1.0, 5.0), ("late", 4.0, 2.0)):
        parts = []
        for split, offset in (("test", test), ("hard", hard)):
            labels = load_benchmark("toy-line").truth(split, "holdout")
            parts.append(pd.DataFrame({"id": labels.ids, "prediction": labels.target + offset}))
        frames[name] = pd.concat(parts)
        etchmark.submit(frames[name], "toy-line", name=name, track="features", protocol="holdout")
    link = {"benchmark": "toy-line", "protocol": "holdout", "metric": "mae", "models": "early,late"}
    app = fine(page("compare", **link))
    assert "by" not in query(app)
    assert literal("−3.000") in values(app.markdown)[0]
    app = fine(page("compare", **link, by="hard"))
    assert query(app)["by"] == "hard"
    assert literal("late and early are not told apart") in values(app.markdown)[0]
    assert literal("−3.000") in values(app.markdown)[0]
    app = fine(page("compare", **link, by="worst split"))
    assert "by" not in query(app)
    assert any("one split at a time" in said for said in captions(app))
