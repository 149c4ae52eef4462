"""How comparisons are timed, kept and shown; no measurement, so it runs with the fast suite."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import side_by_side
from side_by_side import Case, Change, Seconds


def case(name: str, run: object) -> Case:
    return Case(name, "Fourier", "float64", "dt 0.1", 1e-3, run)  # type: ignore[arg-type]


def test_the_shortest_time_counts_and_the_first_round_does_not() -> None:
    spans = iter([0.0, 0.05, 0.01, 0.03])
    [(wall, processor)] = side_by_side.in_turns(3, [lambda: time.sleep(next(spans))])
    assert 0.01 <= wall < 0.03
    assert processor < wall


def test_a_run_that_returns_a_pair_is_timed_all_the_same() -> None:
    wall, processor = side_by_side.timed(lambda: ({"a": 1}, {"b": 2}))
    assert 0 <= wall < 1
    assert 0 <= processor < 1
    own = Seconds(7.0, 5.0)
    assert side_by_side.timed(lambda: own) == own


def test_processor_time_is_counted_beside_wall_time() -> None:
    def work() -> None:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass

    busy, idle = side_by_side.timed(work), side_by_side.timed(lambda: time.sleep(0.05))
    assert busy[1] >= 0.05
    assert idle[1] < 0.04 < idle[0]


def test_a_peer_in_another_process_measures_itself() -> None:
    comparison = side_by_side.compare(
        "title",
        "error",
        1,
        [case("ours", lambda: Seconds(1.0, 2.0)), case("peer", lambda: Seconds(3.0, 8.0))],
        1,
    )
    assert [(row.wall, row.processor) for row in comparison.rows] == [(1.0, 2.0), (3.0, 8.0)]
    assert comparison.ratio() == 3.0
    assert comparison.ratio("processor") == 4.0


def test_the_document_holds_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "speed.json", tmp_path / "speed.md"
    peers = [case("ours", lambda: Seconds(1.0, 2.0)), case("peer", lambda: Seconds(3.0, 8.0))]
    slower = [case("ours", lambda: Seconds(5.0, 5.0)), case("peer", lambda: Seconds(5.0, 5.0))]
    state = side_by_side.machine()
    old = [side_by_side.compare("Phase field", "error", 1, slower, 1)]
    side_by_side.store(source, old, state)
    new = [side_by_side.compare("Phase field", "error", threads, peers, 1) for threads in (1, 2)]
    side_by_side.store(source, new, state)  # the first replaces the old one
    assert len(json.loads(source.read_text())["comparisons"]) == 2
    assert side_by_side.main([str(source), str(target)]) == 0
    text = target.read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip() == text.strip()
    assert "### Phase field, 1 thread\n" in text
    assert "### Phase field, 2 threads\n" in text
    assert "| peer | Fourier | float64 | dt 0.1 | 1.0e-03 | 3 | 8 | 3 | 4 |" in text
    assert f"{state['processor']}, {state['cores']} cores" in text
    assert text.count("| ours |") == 2


def test_times_of_an_earlier_version_have_a_table_with_its_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "speed.json", tmp_path / "speed.md"
    state, later = side_by_side.machine(), side_by_side.machine() | {"measured": "later", "load": 0}
    peers = [case("ours", lambda: Seconds(1.0, 2.0)), case("peer", lambda: Seconds(3.0, 8.0))]
    first, second = Change("open", 9.0, 3.0), Change("open", 14_123.0, 1.0)
    side_by_side.store_changes(source, "Folders", [first], state)
    side_by_side.store(source, [side_by_side.compare("Phase field", "error", 1, peers, 1)], state)
    side_by_side.store_changes(source, "Folders", [second], later)  # replaces the first
    assert side_by_side.main([str(source), str(target)]) == 0
    text = capsys.readouterr().out
    assert "### Phase field, 1 thread\n" in text
    assert "## Folders\n" in text
    assert f"{later['cores']} cores, load 0.0 at the start, later.\n" in text
    assert "| open | 1.41e+04 | 1 | 14,000 |" in text
    assert text.count("| open |") == 1
