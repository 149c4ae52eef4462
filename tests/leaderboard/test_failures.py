"""What cannot be read is named, and the rest is shown."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("streamlit")

from dashboard.page import GENERIC_ERROR
from pages import BENCHMARK, fine, model_page, page, start, table, values

from etchmark import api
from etchmark.registry.tables import Entry


def test_broken_registry_is_one_line(home: Path, toy_content: Path) -> None:
    home.mkdir(parents=True)
    (home / "registry.sqlite").write_bytes(b"not a database, surely" * 100)
    app = start(benchmark=BENCHMARK)
    assert not app.exception
    assert len(app.error) == 1
    assert "registry" in app.error[0].value


@pytest.mark.parametrize("column", ["record", "samples"])
def test_a_submission_that_cannot_be_read_is_named_and_left_out(
    board: dict[str, Entry], home: Path, column: str
) -> None:
    damaged = board["good"].record.submission
    with closing(sqlite3.connect(home / "registry.sqlite")) as connection, connection:
        connection.execute(f"update submissions set {column} = x'00' where id = ?", [damaged])
        connection.execute("delete from briefs where id = ?", [damaged])
    for name in ("leaderboard", "overview"):
        app = fine(page(name))
        (warning,) = values(app.warning)
        assert damaged[:12] in warning
        assert "left out" in warning
    app = fine(start(benchmark=BENCHMARK))
    assert table(app)["model"].tolist() == ["kinds only", "worse"]
    app = fine(page("compare", benchmark=BENCHMARK))
    assert "kinds only" in app.multiselect[0].options[0]
    fine(page("submit", benchmark=BENCHMARK))


def test_a_damaged_table_leaves_the_pages_open(board: dict[str, Entry], home: Path) -> None:
    damaged = board["good"].record.submission
    with closing(sqlite3.connect(home / "registry.sqlite")) as connection, connection:
        connection.execute("update submissions set samples = x'00' where id = ?", [damaged])
    fine(page("overview"))
    assert "good" in table(fine(start(benchmark=BENCHMARK)))["model"].tolist()
    app = model_page(damaged[:12], tab="errors")
    assert not app.exception
    assert ["table is damaged" in element.value for element in app.error] == [True]


def test_unexpected_errors_are_one_generic_line(
    board: dict[str, Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(api, "open_hub", fail)
    app = start(benchmark=BENCHMARK)
    assert not app.exception
    assert values(app.error) == [GENERIC_ERROR]


def test_one_broken_benchmark_leaves_the_others(board: dict[str, Entry], toy_content: Path) -> None:
    (toy_content / "benchmarks" / "aaa.yaml").write_text("nonsense: [", encoding="utf-8")
    app = start()
    assert not app.exception
    assert "not valid YAML" in app.error[0].value.replace("\\", "")
    app.selectbox(key="pick-benchmark").set_value(BENCHMARK).run()
    assert table(fine(app))["model"].tolist() == ["good", "kinds only", "worse"]
