"""What the solver costs that is as accurate as a row: read from the content, never needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from etchmark.boards.solver import FILE, Solver, SolverPoint, seconds_each, solver_of, with_solver
from etchmark.catalog import catalog

Command = Callable[..., Any]
RESULTS = Path(__file__).resolve().parents[2] / "leaderboard" / "results"
SOLVER = Solver(
    "a solver",
    5,
    "lower",
    (
        SolverPoint("long steps", 3.0, 0.001, 0.002),
        SolverPoint("short steps", 0.5, 0.1, 0.2),
    ),
)
ROW = {
    "score": 2.0,
    "role": "entry",
    "status": "run",
    "cpu_seconds_each": 0.25,
    "seconds_each": 0.5,
    "model": "mine",
}
MEASURED = {
    "solver": "a solver",
    "split": "test",
    "samples": 5,
    "hardware": "a pocket calculator",
    "load_average": 1.5,
    "reference_cpu_seconds": [0.4, 0.6],
    "points": [
        {"setting": "short steps", "cpu_seconds_each": 0.1, "scores": {"mae": 0.5}},
        {"setting": "long steps", "cpu_seconds_each": 0.001, "row": "coarse"},
    ],
}


def _write(content: Path, value: object) -> None:
    (content / "leaderboard" / "results" / FILE).write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("score", "setting"), [(3.5, "long steps"), (3.0, "long steps"), (2.0, "short steps"),
                           (0.5, "short steps"), (0.4, None)],
)  # fmt: skip
def test_the_cheapest_setting_that_is_as_accurate(score: float, setting: str | None) -> None:
    point = SOLVER.as_accurate(score)
    assert (None if point is None else point.setting) == setting


def test_where_higher_is_better() -> None:
    points = (SolverPoint("fast", 0.6, 0.1, None), SolverPoint("slow", 0.9, 1.0, None))
    solver = Solver("a solver", 5, "higher", points)
    assert solver.as_accurate(0.5) == points[0]
    assert solver.as_accurate(0.7) == points[1]
    assert solver.as_accurate(0.95) is None


def test_words_name_the_setting_and_both_times() -> None:
    assert SOLVER.short(ROW) == "100.0 ms: short steps"
    assert SOLVER.in_words(ROW, "frame") == (
        "The solver (a solver; short steps) is at least as accurate and takes 100.0 ms of processor"
        " time per frame (0.2000 reference units); this model takes 250.0 ms."
    )
    assert seconds_each(ROW | {"cpu_seconds_each": None}) == "500.0 ms of wall time"
    # What a submitter claims was not timed here.
    assert seconds_each(ROW | {"status": "scored"}) is None


@pytest.mark.parametrize("change", [{"role": "oracle"}, {"score": None}, {"score": 0.1}])
def test_rows_without_an_equivalent(change: dict[str, Any]) -> None:
    row = ROW | change
    assert SOLVER.short(row) == "–"
    assert SOLVER.in_words(row, "frame") is None


def test_a_board_as_data_has_the_solver_beside_each_row() -> None:
    frame = pd.DataFrame([ROW, ROW | {"score": 0.1}])
    assert with_solver(frame, None) is frame
    shown = with_solver(frame, SOLVER)
    assert shown["solver_setting"].fillna("").tolist() == ["short steps", ""]
    assert shown["solver_cpu_seconds_each"].tolist()[0] == 0.1
    assert shown["solver_units_each"].tolist()[0] == 0.2


def test_scores_come_from_the_file_or_from_the_rows_of_the_solver(toy_content: Path) -> None:
    spec = catalog().benchmark("toy-line")
    frame = pd.DataFrame([ROW, ROW | {"model": "coarse", "role": "oracle", "score": 3.0}])
    assert solver_of(catalog(), spec, "mae", "test", frame) is None
    _write(toy_content, {"toy-line@1": MEASURED})
    solver = solver_of(catalog(), spec, "mae", "test", frame)
    assert solver is not None
    assert [(point.setting, point.score) for point in solver.points] == [
        ("long steps", 3.0),
        ("short steps", 0.5),
    ]
    assert [point.units_each for point in solver.points] == pytest.approx([0.002, 0.2])
    # A model that only bears the name of the solver is not it.
    solver = solver_of(catalog(), spec, "mae", "test", frame.assign(role="entry"))
    assert solver is not None
    assert [point.setting for point in solver.points] == ["short steps"]
    assert solver_of(catalog(), spec, "mae", "hard", frame) is None
    later = spec.model_copy(update={"version": 2})
    assert solver_of(catalog(), later, "mae", "test", frame) is None


@pytest.mark.parametrize("value", [[], {"toy-line@1": []}, {"toy-line@1": MEASURED | {"points": 3}},
                                   {"toy-line@1": MEASURED | {"split": 1}}])  # fmt: skip
def test_a_file_of_another_shape_closes_no_board(toy_content: Path, value: object) -> None:
    _write(toy_content, value)
    spec = catalog().benchmark("toy-line")
    assert solver_of(catalog(), spec, "mae", "test", pd.DataFrame([ROW])) is None
    (toy_content / "leaderboard" / "results" / FILE).write_text("{")
    assert solver_of(catalog(), spec, "mae", "test", pd.DataFrame([ROW])) is None


def test_a_printed_board_shows_the_solver(toy_content: Path, command: Command) -> None:
    command("evaluate", "toy_mean", "toy-line", "--protocol", "holdout").fine()
    board = ("leaderboard", "toy-line", "--protocol", "holdout")
    assert "solver as accurate" not in command(*board).fine()
    assert "solver_setting" not in command(*board, "--json").fine()
    point = {"setting": "any setting", "cpu_seconds_each": 0.1, "scores": {"mae": 1e-9}}
    _write(toy_content, {"toy-line@1": MEASURED | {"points": [point]}})
    printed = command(*board).fine()
    assert "solver as accurate" in printed
    assert "100.0 ms: any setting" in printed
    (row,) = json.loads(command(*board, "--json").fine())
    assert row["solver_setting"] == "any setting"
    assert row["solver_units_each"] == pytest.approx(0.2)
    assert "solver as accurate" not in command(*board, "--split", "hard").fine()


def test_what_was_measured_is_read() -> None:
    """Every board in the committed file is one that exists, and its settings have scores."""
    known = catalog()
    for key, measured in json.loads((RESULTS / FILE).read_text()).items():
        spec = known.benchmark(key)
        rows = [point["row"] for point in measured["points"] if "row" in point]
        frame = pd.DataFrame(
            [ROW | {"model": name, "role": spec.role_of(name), "score": 1.0} for name in rows]
            or [ROW]
        )
        solver = solver_of(known, spec, spec.primary_metric, measured["split"], frame)
        assert solver is not None, key
        assert len(solver.points) == len(measured["points"])
