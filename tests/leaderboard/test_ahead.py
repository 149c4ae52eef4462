"""What a server reads before anybody asks for it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit as st
from dashboard import ahead, cached
from dashboard.panels.decision_table import headline

from etchmark.api import open_hub
from etchmark.registry.tables import Entry


@pytest.fixture(autouse=True)
def served(monkeypatch: pytest.MonkeyPatch) -> None:
    st.cache_resource.clear()
    monkeypatch.setattr(ahead, "runtime", SimpleNamespace(exists=lambda: True))


def test_boards_are_ranked_before_a_visit(board: dict[str, Entry]) -> None:
    hub = open_hub()
    specs = [hub.benchmark(name) for name in hub.benchmarks()]
    assert not cached.are_ranked(hub, specs, headline)
    ahead.read()
    assert cached.are_ranked(hub, specs, headline)


def test_a_broken_benchmark_stops_nothing(
    board: dict[str, Entry], toy_content: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (toy_content / "benchmarks" / "a-broken.yaml").write_text("id: [", encoding="utf-8")
    hub = open_hub()
    ahead.read()
    assert cached.are_ranked(hub, [hub.benchmark("toy-line")], headline)
    assert not caplog.records
