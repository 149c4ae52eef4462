"""The page that explains the boards."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("streamlit")

from pages import BENCHMARK, fine, page, values


def test_the_page_explains_the_benchmark(toy_content: Path) -> None:
    app = fine(page("how_to_read", benchmark=BENCHMARK))
    text = " ".join(values(app.markdown))
    words = (
        "`holdout` (headline)",
        "four folds",
        "Rank range",
        "**Best**",
        "**Gain**",
        "height",
        "`run`",
    )
    for word in words:
        assert word in text


def test_the_page_states_the_discretisation_error(toy_volumes: Path) -> None:
    app = fine(page("how_to_read", benchmark="toy-volumes"))
    text = " ".join(values(app.markdown))
    assert "**Discretisation error of the labels** (split test): mape 2" in text
    assert "does not limit which models can be told apart" in text
