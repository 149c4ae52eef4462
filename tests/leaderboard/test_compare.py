"""The page that compares models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("streamlit")

from pages import fine, literal, page, query, values


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
    assert query(app)["models"] == f"{ids['near']},{ids['far']}"
    linked = {"models": f"{ids['far']},{ids['farther']}", "metric": "mae", "protocol": "holdout"}
    app = fine(page("compare", benchmark="toy-line", **linked))
    assert query(app)["models"] == linked["models"]
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
        "near and far are not told apart by these sources: −4.000; p of this pair alone 0.2500."
    )
    # Differences, errors of samples, and scores by source.
    assert len(app.get("plotly_chart")) == 3
