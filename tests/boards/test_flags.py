"""Flags that boards show beside a row: they change no rank, and no row leads without them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import etchmark
from etchmark import predictions
from etchmark.boards import flags, standings
from etchmark.boards.statements import doubts, statements
from etchmark.boards.view import View
from etchmark.data.loading import load_benchmark
from etchmark.registry.store import Store
from etchmark.scoring.doubts import BOARD_KINDS, KINDS, TITLES, doubts_in_words, kind_of_flag

Command = Callable[..., Any]
Enter = Callable[..., str]
BENCHMARK = "toy-line"
TURNS = np.array([1.0, -1.2, 0.9, -1.1, 1.3, -0.8, 1.0, -1.0, 1.1])
"""Errors without a bias."""


@pytest.fixture
def enter(toy_samples: Path, tmp_path: Path) -> Enter:
    """Submits labels plus an error to ``toy-line``."""

    def add(
        name: str, error: np.ndarray | float, suffix: str = "parquet", track: str = "features"
    ) -> str:
        truth = load_benchmark(BENCHMARK).truth("test")
        path = tmp_path / f"entered.{suffix}"
        values = truth.values + error
        if suffix == "csv":
            # Another order of rows, and another file altogether.
            frame = pd.DataFrame({"id": truth.ids, "prediction": values})
            frame.iloc[::-1].to_csv(path, index=False)
        else:
            predictions.write(path, truth.ids, values)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", etchmark.DoubtWarning)
            record = etchmark.submit(path, BENCHMARK, name=name, track=track, protocol="holdout")
        return record.submission

    return add


def _rows(command: Command, *options: str) -> dict[str, dict[str, Any]]:
    rows = json.loads(command("leaderboard", BENCHMARK, "--json", *options).fine())
    return {row["model"]: row for row in rows}


def _kinds(row: dict[str, Any]) -> list[str]:
    return [kind_of_flag(flag) for flag in row["flags"] or ()]


def test_every_kind_has_a_title() -> None:
    assert set(TITLES) == {*KINDS, *BOARD_KINDS}


def test_a_file_of_the_labels_leads_only_with_its_flags(enter: Enter, command: Command) -> None:
    enter("honest", TURNS)
    enter("other", 2 * TURNS)
    enter("cheat", 0.0)
    rows = _rows(command)
    # No penalty: it has its rank.
    assert [(name, row["rank"]) for name, row in rows.items()] == [
        ("cheat", 1), ("honest", 2), ("other", 3),
    ]  # fmt: skip
    assert _kinds(rows["cheat"]) == ["equal_to_labels", "far_ahead"]
    assert rows["honest"]["flags"] == rows["other"]["flags"] == []
    text = command("leaderboard", BENCHMARK).fine()
    (line,) = [line for line in text.splitlines() if line.startswith("1 ")]
    assert " cheat   equal to labels, far ahead  features" in line
    assert "Flagged, which changes no rank: cheat (equal to labels, far ahead)." in text
    assert "equal_to_labels: " in command("leaderboard", BENCHMARK, "--csv").fine()
    compared = command("compare", BENCHMARK, "honest", "cheat").fine()
    assert "flag of cheat: equal_to_labels: split 'test': 9 of 9 predictions" in compared
    assert "flag of honest" not in compared
    pair = json.loads(command("compare", BENCHMARK, "honest", "cheat", "--json").fine())
    assert pair["first"]["flags"] == []
    assert pair["second"]["flags"] == rows["cheat"]["flags"]


def test_a_board_without_doubts_has_no_column_of_flags(enter: Enter, command: Command) -> None:
    enter("honest", TURNS)
    text = command("leaderboard", BENCHMARK).fine()
    assert "flags" not in text
    assert "Flagged" not in text


MODEL = """
import hashlib
LABELS = {labels}
class Lookup:
    def fit(self, train, validation):
        self.mean = float(train.target.mean())
    def predict(self, inputs):
        keys = [hashlib.sha256(repr(float(a)).encode()).hexdigest() for a in inputs["a"]]
        return [LABELS.get(key, self.mean) for key in keys]
def build(seed, device):
    return Lookup()
"""


def test_a_model_that_looks_labels_up_is_flagged(
    enter: Enter, command: Command, tmp_path: Path
) -> None:
    import hashlib

    enter("honest", TURNS)
    benchmark = load_benchmark(BENCHMARK)
    labels = benchmark.truth("test").values
    inputs = [float(value) for value in benchmark.inputs("test", "features")["a"]]
    keys = [hashlib.sha256(repr(value).encode()).hexdigest() for value in inputs]
    folder = tmp_path / "lookup"
    folder.mkdir()
    known = dict(zip(keys, labels.tolist(), strict=True))
    (folder / "model.py").write_text(MODEL.replace("{labels}", repr(known)), encoding="utf-8")
    said = command("evaluate", folder, BENCHMARK, "--track", "features").fine()
    assert "flag: equal_to_labels: split 'test': 9 of 9 predictions equal their labels" in said
    assert "flag: far_ahead: " in said
    row = _rows(command)["lookup"]
    assert (row["rank"], row["status"]) == (1, "run")
    # On the other test split, whose labels it lacks, it knows the mean alone.
    assert _kinds(row) == ["equal_to_labels", "constant", "far_ahead"]
    # What follows from the predictions alone is kept in the record.
    stored = Store().get(row["submission"])
    assert stored is not None
    assert stored.record.flags == row["flags"][:2]


def test_the_same_predictions_under_another_name(enter: Enter, command: Command) -> None:
    enter("first", TURNS)
    enter("second", TURNS, suffix="csv")
    enter("third", TURNS)
    enter("elsewhere", TURNS, track="kinds")
    enter("near", TURNS + 1e-3)
    rows = _rows(command)
    assert rows["first"]["flags"] == [
        "same_predictions: the same predictions were submitted later as second, third"
    ]
    for name in ("second", "third"):
        assert rows[name]["flags"] == [
            "same_predictions: the same predictions were submitted before as first"
        ]
    assert rows["elsewhere"]["flags"] == rows["near"]["flags"] == []


@pytest.mark.parametrize(
    "copied",
    [
        lambda values: values.astype(np.float32).astype(float),
        lambda values: values * (1 + 3e-7 * TURNS),
        lambda values: np.tile(values, (2, 1)),
    ],
    ids=["in single precision", "nearly", "as two seeds"],
)
def test_a_copy_that_is_not_equal_to_the_last_digit(
    enter: Enter, command: Command, tmp_path: Path, copied: Callable[[np.ndarray], np.ndarray]
) -> None:
    truth = load_benchmark(BENCHMARK).truth("test")
    # Many values, of which some lie where rounding to six digits turns.
    values = truth.values + TURNS + np.round(TURNS, 1) / 3
    enter("first", values - truth.values)
    again = np.atleast_2d(copied(values))
    frames = [
        pd.DataFrame({"id": truth.ids, "prediction": part, "seed": seed})
        for seed, part in enumerate(again)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", etchmark.DoubtWarning)
        etchmark.submit(
            pd.concat(frames), BENCHMARK, name="copy", track="features", protocol="holdout"
        )
    rows = _rows(command)
    assert [_kinds(rows[name]) for name in ("first", "copy")] == [["same_predictions"]] * 2


def test_sketches_tell_predictions_apart_that_are_not_the_same(enter: Enter) -> None:
    enter("first", TURNS)
    enter("near", TURNS + 1e-3 * TURNS[::-1])
    enter("scaled", 1.001 * TURNS)
    briefs = Store().briefs(BENCHMARK, 1, "holdout")
    assert len(set(flags.alike(briefs).values())) == 3


def test_a_submitter_hears_of_the_same_predictions(
    enter: Enter, command: Command, toy_predictions: Callable[..., Path]
) -> None:
    options = ("--protocol", "holdout", "--track", "features", "--name")
    path = toy_predictions("a.csv")
    assert "flag: " not in command("submit", path, BENCHMARK, *options, "first").fine()
    said = command("submit", path, BENCHMARK, *options, "again").fine()
    assert "flag: same_predictions: the same predictions were submitted before as first" in said


def test_two_copies_do_not_hide_that_they_are_far_ahead(enter: Enter, command: Command) -> None:
    enter("honest", TURNS)
    enter("one", TURNS / 10)
    enter("two", TURNS / 10)
    flagged = [name for name, row in _rows(command).items() if "far_ahead" in _kinds(row)]
    assert len(flagged) == 1
    assert flagged[0] in ("one", "two")


@pytest.mark.parametrize(("share", "is_far"), [(0.32, True), (0.35, False)])
def test_far_ahead_is_a_third_of_the_next_error(
    enter: Enter, command: Command, share: float, is_far: bool
) -> None:
    enter("next", TURNS)
    enter("leader", share * TURNS)
    enter("last", 10 * TURNS)
    rows = _rows(command)
    assert ("far_ahead" in _kinds(rows["leader"])) == is_far
    assert _kinds(rows["next"]) == []


@pytest.mark.parametrize(
    ("leading", "behind", "expected"),
    [
        ([0.1], 5, 1),
        # Two or three that share a lead do not hide each other, up to a tenth of the rows.
        ([0.1, 0.12], 20, 2),
        ([0.1, 0.12, 0.25], 30, 3),
        ([0.1, 0.12], 5, 0),
        ([0.1, 0.12, 0.25, 0.3], 30, 0),
        ([0.1, 0.12, 0.5], 30, 2),
    ],
)
def test_rows_that_lead_together(
    toy_samples: Path, leading: list[float], behind: int, expected: int
) -> None:
    spec, mae = load_benchmark(BENCHMARK).spec, etchmark.targets.metric("mae")
    scores = [*leading, *np.linspace(1.0, 2.0, behind)]
    ranked = pd.DataFrame(
        {
            "submission": [f"{place}" for place in range(len(scores))],
            "model": [f"m{place}" for place in range(len(scores))],
            # The row that comes next is no entry: what is trivial is easily left behind.
            "role": ["reference" if score == 1.0 else "entry" for score in scores],
            "score": scores,
            "split": "test",
            "units": 9,
        }
    )

    def units_of(submission: str) -> Any:
        from etchmark.scoring.uncertainty import unit_sums

        errors = scores[int(submission)] * (1 + 0.01 * TURNS[None])
        names = np.array([f"u{unit}" for unit in range(9)])
        sums = unit_sums({"sum_abs_e": errors, "n": np.ones((1, 9))}, names)
        return sums, tuple(names)

    found = flags.far_ahead(spec, mae, ranked, {}, units_of)
    assert list(found) == [f"{place}" for place in range(expected)]
    if expected > 1:
        assert "mae 0.12 mm is less than a third of" in found["1"].replace("0.1200", "0.12")
        after = expected if len(leading) > expected else expected + 1
        assert f"the next row, m{after};" in found["1"]


def test_a_lead_that_units_do_not_show_is_not_far(enter: Enter, command: Command) -> None:
    # One sample makes the whole difference: flipping its sign undoes it.
    enter("next", TURNS + 100 * (np.arange(9) == 3))
    enter("leader", TURNS)
    assert _kinds(_rows(command)["leader"]) == []


def test_filters_do_not_change_flags(enter: Enter, command: Command) -> None:
    enter("next", TURNS)
    enter("leader", TURNS / 10)
    enter("alone", 3 * TURNS, track="kinds")
    assert _kinds(_rows(command)["leader"]) == ["far_ahead"]
    assert _kinds(_rows(command, "--track", "features")["leader"]) == ["far_ahead"]
    assert _kinds(_rows(command, "--track", "kinds")["alone"]) == []


def _declare(content: Path, value: float) -> None:
    path = content / "benchmarks" / f"{BENCHMARK}.yaml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    error = {"metric": "mae", "value": value, "split": "test", "description": "a finer grid"}
    spec["discretisation_error"] = error
    path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")


def test_an_error_below_the_discretisation_error(
    toy_content: Path, toy_samples: Path, enter: Enter, command: Command
) -> None:
    _declare(toy_content, 0.5)
    near = enter("near", 0.3 * TURNS)
    enter("off", 0.6 * TURNS)
    rows = _rows(command)
    (shown,) = rows["near"]["flags"]
    assert shown.startswith("below_discretisation_error: split 'test': mae 0.3133 mm is below 0.5")
    assert rows["off"]["flags"] == []
    stored = Store().get(near)
    assert stored is not None
    assert stored.record.flags == [shown]
    # What the benchmark says today counts, whatever it was when the record was made.
    _declare(toy_content, 0.7)
    assert [_kinds(row) for row in _rows(command).values()] == [["below_discretisation_error"]] * 2
    _declare(toy_content, 0.1)
    assert [row["flags"] for row in _rows(command).values()] == [[], []]


def _limit(content: Path, at_most: float, metric: str = "mae") -> None:
    path = content / "benchmarks" / f"{BENCHMARK}.yaml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    limit = {"metric": metric, "at_most": at_most, "why": "it errs too much"}
    path.write_text(yaml.safe_dump({**spec, "rank_limits": [limit]}, sort_keys=False), "utf-8")


def test_a_row_beyond_a_limit_is_listed_apart_with_its_reason(
    toy_content: Path, toy_samples: Path, enter: Enter, command: Command
) -> None:
    _limit(toy_content, 0.8)
    enter("near", 0.3 * TURNS)
    off = enter("off", 0.9 * TURNS)
    rows = _rows(command)
    assert (rows["near"]["rank"], rows["off"]["rank"]) == (1, None)
    (shown,) = rows["off"]["flags"]
    assert shown == (
        "beyond_rank_limit: split 'test': mae 0.94 mm is above 0.8 mm; it is not ranked, since it"
        " errs too much"
    )
    assert rows["off"]["reason"] == shown.partition(": ")[2]
    assert "listed apart: split 'test': mae 0.94 mm" in command("leaderboard", BENCHMARK).fine()
    stored = Store().get(off)
    assert stored is not None
    assert stored.record.flags == [shown]
    # What the benchmark says today counts, whatever it was when the record was made.
    _limit(toy_content, 1.0)
    rows = _rows(command)
    assert [rows[name]["rank"] for name in ("near", "off")] == [1, 2]
    assert rows["off"]["flags"] == []
    assert rows["off"]["reason"] is None
    _limit(toy_content, 0.1)
    assert [row["rank"] for row in _rows(command).values()] == [None, None]


def test_a_limit_of_no_metric_of_the_benchmark_is_refused(
    toy_content: Path, command: Command
) -> None:
    _limit(toy_content, 1.0, metric="nope")
    result = command("show", BENCHMARK)
    assert result.rc == 2
    assert "rank_limits name 'nope', which is not among metrics" in result.stderr


def test_what_a_table_shows_is_flagged_whatever_the_record_says(
    enter: Enter, command: Command
) -> None:
    submission = enter("cheat", 0.0)
    store = Store()
    entry = store.get(submission)
    assert entry is not None
    silent = entry.record.model_copy(update={"flags": []})
    store.add(type(entry)(silent, entry.samples, entry.origin))
    assert _kinds(_rows(command)["cheat"]) == ["equal_to_labels"]


def test_statements_name_a_few(enter: Enter) -> None:
    for number in range(5):
        enter(f"copy-{number}", TURNS)
    spec = load_benchmark(BENCHMARK).spec
    frame = standings.standings(spec, Store(), View("holdout"))
    said = doubts(frame)
    assert said is not None
    assert said.endswith("copy-2 (same predictions as another) and 2 more.")
    assert said in statements(spec, frame)


def test_a_reference_may_be_constant() -> None:
    said = ["constant: split 'test': every prediction is 3", "worse_than_trivial: so"]
    assert doubts_in_words(said, "reference") == "worse than trivial"
    assert doubts_in_words(said, "entry") == "worse than trivial, constant"
    assert doubts_in_words(None, "entry") == ""


def test_ten_thousand_rows_are_flagged_in_a_moment(enter: Enter) -> None:
    from dataclasses import replace
    from time import process_time

    enter("one", TURNS)
    spec = load_benchmark(BENCHMARK).spec
    (brief,) = Store().briefs(BENCHMARK, 1, "holdout")
    briefs = [
        replace(brief, submission=f"{number:064x}", name=f"model {number // 2}")
        for number in range(10_000)
    ]
    for number, copy in enumerate(briefs):
        briefs[number] = replace(copy, content={**copy.content, "values": f"{number // 4:064x}"})
    frame = pd.DataFrame({"submission": [brief.submission for brief in briefs]})
    metric = etchmark.targets.metric("mae")
    started = process_time()
    rows = flags.flags_of_rows(spec, metric, briefs, frame.iloc[:0], lambda _: None)
    assert process_time() - started < 2.0
    assert all(row and kind_of_flag(row[-1]) == "same_predictions" for row in rows)
