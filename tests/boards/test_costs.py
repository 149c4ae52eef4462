"""Costs of rows: numbers, claims, and what is unknown."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from etchmark.api import COMPARED, cost_text, front, unknown_costs
from etchmark.evaluation import reference

Command = Callable[..., Any]
RUN = {"status": "run", "outcome": "ok", "claimed": None}
OLD = RUN | dict.fromkeys(COMPARED)
NEW = RUN | {"cpu_seconds": 12.5, "reference_units": 16.0, "total_parameters": 5_700_000}
FILE = OLD | {"status": "scored", "claimed": {"cpu_seconds": 2.0, "total_parameters": 1234}}


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        (NEW, ["12.50", "16.00", "5,700,000"]),
        (OLD, ["unknown", "unknown", "unknown"]),
        (FILE, ["2.000 claimed", "–", "1,234 claimed"]),
        (OLD | {"outcome": "failed"}, ["–", "–", "–"]),
        (OLD | {"status": "scored"}, ["–", "–", "–"]),
    ],
)
def test_a_cost_is_a_number_a_claim_or_unknown(row: dict[str, Any], texts: list[str]) -> None:
    assert [cost_text(row, column) for column in COMPARED] == texts


def test_a_board_says_which_costs_are_unknown() -> None:
    assert unknown_costs(pd.DataFrame([NEW, FILE])) is None
    said = unknown_costs(pd.DataFrame([NEW, OLD, NEW | {"reference_units": None}, FILE]))
    assert said is not None
    assert said.startswith(
        "Unknown: processor seconds of 1, reference units of 2 and total parameters of 1 of the 3"
        " rows that were run here."
    )


def test_a_run_has_costs_that_compare(
    toy_content: object, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "ROUNDS", 1)
    command("evaluate", "toy_mean", "toy-line", "--protocol", "holdout").fine()
    board = ("leaderboard", "toy-line", "--protocol", "holdout")
    (row,) = json.loads(command(*board, "--json").fine())
    mean = sum(row["reference_cpu_seconds"]) / 2
    assert row["reference_units"] == pytest.approx(row["cpu_seconds"] / mean)
    printed = command(*board).fine()
    assert "cpu s" in printed
    assert "ref units" in printed
    assert "unknown" not in printed or "Unknown: total parameters" in printed


def test_the_pareto_front_against_every_pair() -> None:
    generator = np.random.default_rng(3)
    for _ in range(50):
        cost, loss = generator.integers(0, 6, size=(2, 12)).astype(float)
        cost[0] = np.nan
        found = front(cost, loss)
        for at in range(12):
            beaten = any(
                cost[one] <= cost[at]
                and loss[one] <= loss[at]
                and (cost[one] < cost[at] or loss[one] < loss[at])
                for one in range(12)
            )
            assert found[at] == (np.isfinite(cost[at]) and not beaten)
