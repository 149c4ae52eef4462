"""The page that compares models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("streamlit")

from pages import fine, page, query, values


def test_there_is_nothing_to_compare_yet(toy_content: Path) -> None:
    app = fine(page("compare"))
    assert "nothing to compare yet" in app.info[0].value
    assert not app.get("plotly_chart")


def test_two_models_are_compared(submit_raised: Callable[[str, float], str]) -> None:
    ids = {}
    for name, more in (("near", 0.0), ("far", 4.0), ("farther", 9.0)):
        ids[name] = submit_raised(name, more)[:12]
    app = fine(page("compare", benchmark="toy-line", protocol="holdout", metric="mae"))
    (said,) = values(app.markdown)
    assert said.startswith("near is better than far")
    assert query(app)["models"] == f"{ids['near']},{ids['far']}"
    assert len(app.get("plotly_chart")) == 3
    linked = {"models": f"{ids['far']},{ids['farther']}", "metric": "mae", "protocol": "holdout"}
    app = fine(page("compare", benchmark="toy-line", **linked))
    assert query(app)["models"] == linked["models"]
    (said,) = values(app.markdown)
    assert said.startswith("far is better than farther")
    fine(app.multiselect[0].set_value([]).run())
    assert app.info[0].value == "Pick at least two models."
