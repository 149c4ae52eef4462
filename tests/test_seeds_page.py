"""``docs/methods/intervals.md`` says how often each row was fitted, as its record does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from etchmark.catalog import Catalog

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def maker(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("docs/make_seeds.py")


def test_the_page_is_what_the_records_say(maker: ModuleType) -> None:
    assert maker.PAGE.read_text(encoding="utf-8") == maker.page(), "run docs/make_seeds.py"


@pytest.mark.parametrize("name", Catalog(ROOT).benchmark_names())
def test_every_scored_row_is_counted_once(maker: ModuleType, name: str) -> None:
    spec = Catalog(ROOT).benchmark(name)
    cells = maker.row(spec).strip("| ").split(" | ")
    assert cells[0] == spec.key
    assert sum(map(int, cells[1:4])) == len(maker.records(spec))


def test_a_long_row_is_named_until_it_has_seeds(
    maker: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = Catalog(ROOT).benchmark("composite-stiffness-3d")
    records = maker.records(spec)
    assert "`cnn3d/yang`" in maker.row(spec)

    several = []
    for record in records:
        scores = [score.model_copy(update={"seeds": 3}) for score in record.scores]
        several.append(record.model_copy(update={"scores": scores}))
    monkeypatch.setattr(maker, "records", lambda _: several)
    assert maker.row(spec).endswith("| 0 | – |")
