"""``compare``, ``withdraw`` and ``leaderboard --all``: what was superseded is told and left out."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import etchmark
from etchmark.boards import compare
from etchmark.errors import UserError
from etchmark.registry.store import LOCAL, REVIEWED, Store
from etchmark.registry.tables import Entry
from etchmark.submission import withdrawal

Command = Callable[..., Any]
HOLDOUT = ("--track", "features", "--protocol", "holdout")


def _moved(by: np.ndarray | float) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        values = table["prediction"].to_numpy() + by
        return table.set_column(1, "prediction", pa.array(values))

    return change


@pytest.fixture
def submit(toy_predictions: Callable[..., Path], command: Command) -> Callable[..., str]:
    """Submits predictions to ``toy-line`` that are off by one and so much more; its id."""

    def run(name: str, by: np.ndarray | float, *options: str, **more: Any) -> str:
        path = toy_predictions(f"{name}.csv", change=_moved(by), **more)
        out = command(
            "submit", path, "toy-line", "--name", name, *(options or HOLDOUT), "--json"
        ).fine()
        return json.loads(out)["submission"]

    return run


@pytest.fixture
def backdated() -> Callable[[str], None]:
    """Makes a submission a day older: records are dated to the second."""

    def change(submission: str) -> None:
        entry = Store().get(submission)
        assert entry is not None
        earlier = entry.record.created - timedelta(days=1)
        record = entry.record.model_copy(update={"created": earlier})
        Store().add(Entry(record, entry.samples, entry.origin))

    return change


TURNS = np.where(np.arange(9) % 2, -0.5, 0.5)


# --- compare ------------------------------------------------------------------------------------


def test_the_difference_is_the_dashboards(
    toy_samples: Path, submit: Callable[..., str], command: Command
) -> None:
    near, far = submit("near", TURNS), submit("far", 2.0)
    sides = compare.sides([entry for one in (near, far) if (entry := Store().get(one))])
    spec = etchmark.load_benchmark("toy-line").spec
    (expected,) = compare.differences(spec, sides, "test", "mae").to_dict("records")
    value = json.loads(command("compare", "toy-line", "near", "far", "--json").fine())
    (split,) = value["splits"]
    names = ("difference", "ci_low", "ci_high", "better", "relation", "p")
    assert {name: split[name] for name in names} == {name: expected[name] for name in names}
    assert (split["split"], split["units"], split["better"]) == ("test", 9, "near")
    assert (value["benchmark"], value["protocol"]) == ("toy-line@1", "holdout")
    assert (value["metric"], value["unit"]) == ("mae", "mm")
    assert value["first"] == {
        "name": "near", "model": "near", "track": "features", "submission": near, "flags": [],
    }  # fmt: skip
    frame = etchmark.compare("toy-line", "near", "far")
    assert frame[list(names)].to_dict("records") == [{name: expected[name] for name in names}]
    other = etchmark.compare("toy-line", "far", "near", metric="r2").to_dict("records")[0]
    assert other["difference"] < 0
    assert other["better"] == "near"
    text = command("compare", "toy-line", "far", "near").fine()
    assert "mae in mm (lower is better), paired 95 % interval over samples" in text
    assert "difference: far minus near" in text
    assert text.splitlines()[-1].split()[0] == "test"
    assert text.splitlines()[-1].split()[-1] == "near"


def test_what_is_not_told_apart_is_said(submit: Callable[..., str], command: Command) -> None:
    submit("one", TURNS)
    submit("other", -TURNS)
    assert command("compare", "toy-line", "one", "other").fine().rstrip().endswith("not told apart")
    value = json.loads(command("compare", "toy-line", "one", "other", "--json").fine())
    assert value["splits"][0]["better"] is None
    assert value["splits"][0]["relation"] == "not told apart"


def test_every_split_that_both_predict(submit: Callable[..., str], command: Command) -> None:
    submit("both", 1.0, splits=("test", "hard"))
    submit("also", 2.0, splits=("test", "hard"))
    submit("one", 0.0)
    assert etchmark.compare("toy-line", "both", "also")["split"].tolist() == ["test", "hard"]
    assert etchmark.compare("toy-line", "both", "one")["split"].tolist() == ["test"]
    frame = etchmark.compare("toy-line", "both", "also", split="hard")
    assert frame["split"].tolist() == ["hard"]
    assert frame["difference"].tolist() == pytest.approx([-1.0])
    line = command("compare", "toy-line", "both", "one", "--split", "hard").refusal()
    assert "one has no predictions of split 'hard'" in line


def test_superseded_submissions_are_left_out(
    submit: Callable[..., str], backdated: Callable[[str], None], command: Command
) -> None:
    old = submit("mine", 3.0)
    backdated(old)
    new = submit("mine", 1.0)
    submit("other", 0.0)
    value = json.loads(command("compare", "toy-line", "mine", "other", "--json").fine())
    assert value["first"]["submission"] == new
    assert value["splits"][0]["difference"] == pytest.approx(1.0)
    assert "is superseded" in command("compare", "toy-line", old[:12], "other").refusal()
    by_id = json.loads(command("compare", "toy-line", new[:8], "other", "--json").fine())
    assert by_id == value


def test_a_name_on_two_tracks_needs_one(submit: Callable[..., str], command: Command) -> None:
    ids = [submit("mine", 1.0), submit("mine", 1.0, "--track", "kinds", "--protocol", "holdout")]
    submit("other", 0.0)
    line = command("compare", "toy-line", "mine", "other").refusal()
    assert "is not one submission" in line
    assert all(f"{one[:12]} mine" in line for one in ids)
    assert "(kinds)" in line
    for arguments in (("mine", "other", "--track", "features"), (ids[1], "other")):
        command("compare", "toy-line", *arguments).fine()
    both = json.loads(command("compare", "toy-line", *ids, "--json").fine())
    assert [both[side]["name"] for side in ("first", "second")] == [
        "mine (features)",
        "mine (kinds)",
    ]


def test_refusals_of_compare(submit: Callable[..., str], command: Command) -> None:
    one = submit("near", 0.0)
    line = command("compare", "toy-line", "nearr", "near").refusal()
    assert "no submission 'nearr' to toy-line@1, protocol holdout; did you mean: near" in line
    line = command("compare", "toy-line", "near", one[:9]).refusal()
    assert "are the same submission" in line
    assert line.endswith("; name two different models")
    assert (
        "toy-line has no metric 'x'"
        in command("compare", "toy-line", "a", "b", "--metric", "x").refusal()
    )
    assert "unknown track" in command("compare", "toy-line", "a", "b", "--track", "x").refusal()
    assert "it has no submissions yet" in command("compare", "toy-fields", "a", "b").refusal()
    entry = Store().get(one)
    assert entry is not None
    failed = {"submission": "f" * 64, "name": "broken", "outcome": "failed", "reason": "it fell"}
    Store().add(Entry(entry.record.model_copy(update={**failed, "scores": []}), None, LOCAL))
    assert "but a failed one" in command("compare", "toy-line", "broken", "near").refusal()
    assert "failed" in command("compare", "toy-line", "ffff", "near").refusal()


def test_compare_where_a_table_is_damaged(
    submit: Callable[..., str], command: Command, home: Path
) -> None:
    submit("near", 0.0)
    damaged = submit("far", 1.0)
    with closing(sqlite3.connect(home / "registry.sqlite")) as connection, connection:
        connection.execute("update submissions set samples = x'00' where id = ?", [damaged])
    line = command("compare", "toy-line", "near", "far").refusal()
    assert f"submission {damaged[:12]} (far): its per-sample table is damaged" in line


# --- withdraw -----------------------------------------------------------------------------------


def _board(command: Command) -> list[tuple[str, str]]:
    rows = json.loads(command("leaderboard", "toy-line", "--json").fine())
    return [(row["model"], row["submission"]) for row in rows]


def test_what_a_withdrawn_submission_superseded_stands_again(
    submit: Callable[..., str], backdated: Callable[[str], None], command: Command, home: Path
) -> None:
    other = submit("other", 4.0)
    old = submit("mine", 3.0)
    backdated(old)
    new = submit("mine", 1.0)
    assert _board(command) == [("mine", new), ("other", other)]
    said = command("withdraw", new[:10], "--yes").fine()
    assert f"withdrew {new[:12]}, mine on toy-line@1, track features, protocol holdout" in said
    assert f"{old[:12]} of the same name stands on the board again" in said
    assert "its predictions file was removed" in said
    assert _board(command) == [("mine", old), ("other", other)]
    assert len(list((home / "predictions").glob("*/*"))) == 2
    assert "there is none" in command("withdraw", new).refusal()
    # Withdrawing what was superseded changes nothing on the board.
    submit("mine", 1.0)
    assert "stands on the board again" not in command("withdraw", old, "--yes").fine()
    assert _board(command) == [("mine", new), ("other", other)]


def test_a_predictions_file_that_another_submission_names_is_kept(
    submit: Callable[..., str], command: Command, toy_predictions: Callable[..., Path], home: Path
) -> None:
    path = toy_predictions("same.csv")
    for name in ("one", "two"):
        command("submit", path, "toy-line", "--name", name, *HOLDOUT).fine()
    (kept,) = (home / "predictions").glob("*/*")
    ids = dict(_board(command))
    assert "its predictions file was kept" in command("withdraw", ids["one"], "--yes").fine()
    assert kept.is_file()
    assert "its predictions file was removed" in command("withdraw", ids["two"], "--yes").fine()
    assert not kept.exists()
    assert _board(command) == []


def test_a_file_withdrawn_while_it_is_submitted_again_is_kept(
    submit: Callable[..., str], command: Command, toy_predictions: Callable[..., Path], home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = toy_predictions("same.csv")
    command("submit", path, "toy-line", "--name", "one", *HOLDOUT).fine()
    ((_, one),) = _board(command)
    add = Store.add

    def add_late(store: Store, entry: Entry) -> None:
        monkeypatch.setattr(Store, "add", add)
        withdrawal.withdraw(Store(), withdrawal.to_withdraw(Store(), one))
        add(store, entry)

    monkeypatch.setattr(Store, "add", add_late)
    command("submit", path, "toy-line", "--name", "two", *HOLDOUT).fine()
    assert [name for name, _ in _board(command)] == ["two"]
    assert len(list((home / "predictions").glob("*/*"))) == 1


def test_a_withdrawal_that_is_cut_short_leaves_a_whole_registry(
    submit: Callable[..., str], command: Command, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    one, other = submit("one", 1.0), submit("other", 2.0)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(Store, "remove_predictions", die)
        assert command("withdraw", one, "--yes").rc == 1
    assert _board(command) == [("other", other)]
    with monkeypatch.context() as cut:
        cut.setattr(Store, "remove", die)
        assert command("withdraw", other, "--yes").rc == 1
    assert _board(command) == [("other", other)]
    (entry,) = Store().entries("toy-line", 1)
    (sha256,) = entry.record.fingerprints.predictions
    assert Store().prediction_path(sha256).is_file()


def test_a_terminal_is_asked(
    submit: Callable[..., str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = submit("one", 1.0)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    ran = command("withdraw", one)
    assert ran.rc == 2
    assert "nothing was withdrawn" in ran.stderr
    assert f"withdraw {one[:12]}, one on toy-line@1" in ran.stderr
    assert len(_board(command)) == 1
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert command("withdraw", one).rc == 0
    assert _board(command) == []
    # Nobody can be asked: nothing happens unless it is said to be meant.
    three = submit("three", 1.0)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert "no terminal to confirm it; add --yes" in command("withdraw", three).refusal()
    assert len(_board(command)) == 1
    command("withdraw", three, "--yes").fine()
    two = submit("two", 1.0)
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    command("withdraw", two, "--yes").fine()


def test_refusals_of_withdraw(submit: Callable[..., str], command: Command) -> None:
    one = submit("one", 1.0)
    entry = Store().get(one)
    assert entry is not None
    twin = entry.record.model_copy(update={"submission": one[:20] + "0" * 44, "name": "twin"})
    Store().add(Entry(twin, entry.samples, LOCAL))
    line = command("withdraw", one[:8]).refusal()
    assert "2 begin with it" in line
    assert "twin (features)" in line
    for text in ("", "abc", "%", "____", "0" * 64, "one"):
        assert "there is none" in command("withdraw", "--", text).refusal()
    Store().add(Entry(entry.record, entry.samples, REVIEWED))
    assert "is a reviewed record" in command("withdraw", one).refusal()
    assert len(_board(command)) == 2


def test_a_damaged_submission_can_be_withdrawn(
    submit: Callable[..., str], command: Command, home: Path
) -> None:
    one = submit("one", 1.0)
    with closing(sqlite3.connect(home / "registry.sqlite")) as connection, connection:
        connection.execute("update submissions set record = 'nonsense' where id = ?", [one])
    ran = command("withdraw", one, "--yes")
    assert ran.rc == 0
    assert f"withdrew {one[:12]}, one on toy-line@1" in ran.stdout
    assert _board(command) == []


# --- what submit and leaderboard say ------------------------------------------------------------


def test_a_corrected_card_is_reported_as_such(
    command: Command, toy_predictions: Callable[..., Path], tmp_path: Path
) -> None:
    path, card = toy_predictions(), tmp_path / "card.yaml"
    arguments = ("submit", path, "toy-line", "--name", "mine", *HOLDOUT)
    assert "\nstored as " in command(*arguments).fine()
    assert "\nwas stored already as " in command(*arguments).fine()
    card.write_text("title: Better\n")
    assert "\ncard corrected; stored as " in command(*arguments, "--card", card).fine()
    (entry,) = Store().entries("toy-line", 1)
    assert entry.record.card.title == "Better"
    assert "\nwas stored already as " in command(*arguments, "--card", card).fine()
    Store().add(Entry(entry.record, entry.samples, REVIEWED))
    assert "only a review corrects its card" in command(*arguments).fine()
    assert Store().entries("toy-line", 1)[0].record.card.title == "Better"


def test_all_tells_superseded_and_failed_rows_apart(
    submit: Callable[..., str], backdated: Callable[[str], None], command: Command
) -> None:
    old = submit("mine", 3.0)
    backdated(old)
    new = submit("mine", 1.0)
    entry = Store().get(new)
    assert entry is not None
    reason = "it fell\x1b[31m " + "down " * 30
    failed = {"submission": "f" * 64, "name": "broken", "outcome": "failed", "reason": reason}
    Store().add(Entry(entry.record.model_copy(update={**failed, "scores": []}), None, LOCAL))
    lines = command("leaderboard", "toy-line", "--all").fine().splitlines()
    head = next(at for at, line in enumerate(lines) if line.startswith("rank"))
    assert lines[head].endswith("note")
    first, *others = lines[head + 1 : head + 4]
    assert "superseded" not in first
    assert sorted(line.split()[2] for line in others) == ["broken", "mine"]
    for line in others:
        assert ("superseded by a newer submission" in line) == (" mine " in line)
        assert (r"failed: it fell\x1b[31m down" in line) == (" broken " in line)
    assert "note" not in command("leaderboard", "toy-line").fine()


def test_python_refuses_what_the_command_refuses(submit: Callable[..., str]) -> None:
    submit("one", 1.0)
    with pytest.raises(UserError, match="no submission 'two'"):
        etchmark.compare("toy-line", "one", "two")


@pytest.mark.parametrize("length", [4, 12, 64])
def test_a_name_that_is_the_id_of_another_is_ambiguous(
    length: int, submit: Callable[..., str], command: Command
) -> None:
    submit("far", 3.0)
    near = submit("near", 1.0)
    name = near[:length]
    intruder = submit(name, 2.0)
    line = command("compare", "toy-line", name, "far").refusal()
    assert f"{name!r} is not one submission" in line
    assert f"{near[:12]} near" in line
    assert f"{intruder[:12]} {name}" in line
    for text in ("near", intruder[:16]):
        command("compare", "toy-line", text, "far").fine()
