"""Links of documents that the site takes in from elsewhere in the repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def hooks(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("docs/site_hooks.py")


def test_links_lead_to_the_pages_of_the_site(hooks: ModuleType) -> None:
    text = "[a](../../CONTRIBUTING.md#a-baseline), [two\nlines](../settings.md), [w](https://x.org)"
    assert hooks.fitted(text, "docs/quickstart/a.md", "quickstart/a.md", hooks.places()) == (
        "[a](../contributing.md#a-baseline), [two\nlines](../settings.md), [w](https://x.org)"
    )
    card = "![v](samples-3d.png) and [the notes](../../docs/methods/data.md)"
    place = hooks.places()["datasets/composites/README.md"]
    assert place == "datasets/composites.md"
    assert hooks.fitted(card, "datasets/composites/README.md", place, hooks.places()) == (
        "![v](composites/samples-3d.png) and [the notes](../methods/data.md)"
    )


def test_a_file_that_is_no_page_is_named_without_a_link(hooks: ModuleType) -> None:
    text = "see [the card](../baselines/stepper/card.yaml)"
    assert hooks.fitted(text, "docs/a.md", "a.md", {}) == "see the card"


def test_code_is_left_alone(hooks: ModuleType) -> None:
    text = "```python\n[a](../x.md)\n```\n[a](../x.md)\n"
    assert hooks.fitted(text, "docs/a.md", "a.md", {}) == "```python\n[a](../x.md)\n```\na\n"


def test_the_site_fetches_nothing_from_elsewhere(hooks: ModuleType) -> None:
    assert hooks.fetched('<script src="https://cdn.example/x.js">') == ["https://cdn.example/x.js"]
    assert hooks.fetched('<a href="https://doi.org/10.1/x"><img src="../board.png">') == []
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in text
    assert "://" not in text
    assert "mkdocs>=1.6,<2" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
