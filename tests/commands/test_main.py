"""The command line: one line for every mistake, which changes nothing, and JSON forms."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import etchmark

LEADERBOARD_COLUMNS = {
    "rank", "rank_low", "rank_high", "model", "metric", "unit", "score", "ci_low", "ci_high", "n",
    "seeds", "protocol", "track", "split", "status", "parameters", "fit_seconds",
    "predict_seconds", "hardware", "date", "submission",
}  # fmt: skip
Predictions = Callable[..., Path]
Command = Callable[..., Any]


def rows_of(home: Path) -> dict[str, list[tuple[object, ...]]]:
    """The registry's logical content."""
    found = {}
    databases = sorted(home.glob("*.sqlite*")) + sorted(home.glob("*.db"))
    databases = [path for path in databases if path.suffix in {".sqlite", ".sqlite3", ".db"}]
    assert len(databases) == 1, sorted(home.iterdir())
    connection = sqlite3.connect(databases[0])
    try:
        tables = connection.execute("select name from sqlite_master where type='table'").fetchall()
        for (table,) in tables:
            found[table] = sorted(connection.execute(f"select * from {table}").fetchall(), key=str)
    finally:
        connection.close()
    assert "submissions" in found
    kept = home / "predictions"
    found["files"] = [(str(path),) for path in sorted(kept.rglob("*")) if path.is_file()]
    return found


@pytest.fixture
def submitted(toy_content: Path, command: Command, toy_predictions: Predictions) -> Path:
    """A registry with one submission; the predictions file it came from."""
    path = toy_predictions("first.csv")
    options = ("--protocol", "holdout", "--track", "features")
    command("submit", path, "toy-line", "--name", "first", *options).fine()
    return path


NAMES: list[tuple[tuple[str, ...], str]] = [
    (("leaderboard", "toy-lime"), "unknown benchmark 'toy-lime'; did you mean: toy-line"),
    (("leaderboard", "toy-line@2"), "is at version 1 here, not 2"),
    (("leaderboard", "toy-line", "--track", "x"), "unknown track of toy-line 'x'"),
    (("leaderboard", "toy-line", "--protocol", "x"), "unknown protocol of toy-line 'x'"),
    (("leaderboard", "toy-line", "--split", "x"), "unknown split 'x'"),
    (("leaderboard", "toy-line", "--metric", "x"), "toy-line has no metric 'x'"),
    (("leaderboard", "toy-line", "--metric", "mea"), "did you mean: mae; choose from: mae, mape,"),
    (("leaderboard", "toy-line", "--subset", "x"), "unknown subset of toy-line 'x'; there is none"),
    (("leaderboard", "toy-line", "--tag", ""), "a tag is empty; leave it out or name one"),
    (("show", "toy-line@x"), "'toy-line@x': 'x' is not a version, which is a whole number"),
    (("show", "toy-line@"), "'' is not a version, which is a whole number such as 1; choose from"),
    (("download", "toy:"), "unknown config of toy ''; choose from: fields-mini, scalar-mini"),
    (("download", "toy", "--track", ""), "toy is a dataset"),
    (("download", "toy-line", "--track", ""), "unknown track of toy-line ''; choose from"),
    (("template", "toy-line", "--track", ""), "unknown track of toy-line ''; choose from"),
    (("leaderboard", "toy-line", "--json", "--csv"), "exclude each other"),
    (("leaderboard", "toy-line", "--status", "x"), "status 'x': give one of reported, scored"),
    (("leaderboard", "toy-line", "--trained-on", "x"), "trained on 'x': give one of none"),
    (("leaderboard", "toy-line", "--max-parameters", "-1"), "--max-parameters"),
    (("leaderboard", "toy-line", "--no"), "No such option"),
    (("leaderboard",), "Missing argument 'BENCHMARK'"),
    (("evaluate", "toy_man", "toy-line"), "unknown model 'toy_man'; did you mean: toy_mean"),
    (("evaluate", "toy_mean", "toy-lime"), "unknown benchmark"),
    (("evaluate", "toy_mean", "toy-line", "--track", "x"), "unknown track"),
    (("evaluate", "toy_mean", "toy-line", "--protocol", "x"), "unknown protocol"),
    (
        ("evaluate", "toy_mean", "toy-line", "--device", "x"),
        "unknown device 'x'; choose from: cpu,",
    ),
    (("evaluate", "toy_mean", "toy-line", "--device", "cuda:x"), "unknown device 'cuda:x'"),
    (("evaluate", "toy_mean", "toy-line", "--seeds", "0"), "'--seeds': must be 1 or more, not '0'"),
    (("evaluate", "toy_mean", "toy-line", "--seeds", "x"), "'--seeds': must be a whole number"),
    (("evaluate", "~no-such-user-here/m", "toy-line"), "unknown model"),
    (("evaluate", "\x1b[31mred", "toy-line"), "unknown model"),
    (("build", "toi"), "unknown dataset 'toi'; did you mean: toy"),
    (("build", "toy", "--config", "x"), "unknown config of toy 'x'"),
    (("download", "toi"), "unknown benchmark or dataset 'toi'"),
    (("download", "toy:x"), "unknown config of toy 'x'"),
    (("download", "toy-line", "--track", "x"), "unknown track"),
    (("download", "toy", "--split", "x"), "unknown split 'x'"),
    (("template", "toy-line", "--protocol", "x"), "unknown protocol"),
    (("template", "toy-line", "--track", "x"), "unknown track"),
    (("template", "toy-lime"), "unknown benchmark"),
    (("show", "toi"), "unknown benchmark, dataset or baseline 'toi'"),
    (("show", "toy_mean/x"), "unknown variant of toy_mean 'x'"),
    (("score", "none.csv", "toy-line", "--protocol", "holdout"), "No such file"),
    (("score", "none.csv", "toy-lime"), "unknown benchmark"),
    (("score", "none.csv"), "Missing argument 'BENCHMARK'"),
    (("submit", "none.csv", "toy-line"), "Missing option '--name'"),
    (("results", "check", "nowhere"), "is not a folder"),
    (("results", "add", "nowhere"), "is not a folder"),
    (("nonsense",), "No such command 'nonsense'"),
]


def test_names_that_do_not_exist(
    toy_content: Path, home: Path, submitted: Path, command: Command
) -> None:
    before = rows_of(home)
    for arguments, message in NAMES:
        assert message in command(*arguments).refusal(), arguments
    assert rows_of(home) == before


def edit(row: int, column: str, value: object) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        columns = table.to_pydict()
        columns[column][row] = value
        return pa.table(columns)

    return change


def with_text(table: pa.Table) -> pa.Table:
    return pa.table({"id": table["id"], "prediction": [str(one) for one in range(len(table))]})


BAD_ROWS: list[tuple[str, Callable[[pa.Table], pa.Table], str]] = [
    ("missing", lambda table: table.slice(2), "2 of 9 predictions of split 'test' are missing"),
    ("none", lambda table: table.slice(0, 0), "9 of 9 predictions"),
    ("extra", lambda table: pa.concat_tables([table, pa.table({"id": ["x"], "prediction": [1.0]})]),
     "1 id is not in this benchmark (ids 'x')"),
    ("duplicate", lambda table: pa.concat_tables([table, table.slice(0, 1)]),
     "1 row repeats an id and seed (ids 'test-00')"),
    ("nan", edit(3, "prediction", float("nan")), "test-03|prediction is empty|1 empty cell"),
    ("inf", edit(3, "prediction", float("inf")), "1 prediction is not finite (ids 'test-03')"),
    ("too large", edit(3, "prediction", 1e200), "rmse of split 'test' is not finite"),
    ("wrong shape", lambda table: pa.table({"id": table["id"], "prediction": [[1.0, 2.0]] * 9}),
     "not numbers|not a number"),
    ("column", lambda table: table.append_column("more", table["id"]), "unknown columns 'more'"),
    ("no id", lambda table: table.select(["prediction"]), "no column named 'id'"),
    ("control", edit(0, "id", "\x1b[2J"), "1 id is not in this benchmark"),
]  # fmt: skip


def test_bad_predictions_are_refused_and_change_nothing(
    home: Path, submitted: Path, command: Command, toy_predictions: Predictions, tmp_path: Path
) -> None:
    before = rows_of(home)
    files = []
    for name, change, message in BAD_ROWS:
        for suffix in ("csv", "parquet"):
            path = toy_predictions(f"{name}.{suffix}".replace(" ", "-"), change=change)
            files.append((path, message))
    files.append((toy_predictions("text.parquet", change=with_text), "not numbers"))
    good = toy_predictions("good.parquet").read_bytes()
    for name, content, message in (
        ("empty.parquet", b"", "is empty (0 bytes)"),
        ("cut.parquet", good[: len(good) // 2], "not readable parquet"),
        ("pickle.parquet", pickle.dumps({"id": 1}), "neither parquet"),
        ("zip.csv", b"PK\x03\x04" + bytes(range(256)), "not UTF-8 text"),
    ):
        (tmp_path / name).write_bytes(content)
        files.append((tmp_path / name, message))
    with (tmp_path / "large.csv").open("wb") as handle:
        handle.truncate(2 << 30)
    files += [(tmp_path / "large.csv", "2,147,483,648 bytes"), (tmp_path, "is a folder")]
    options = ("toy-line", "--protocol", "holdout", "--track", "features")
    for path, message in files:
        said = command("submit", path, *options, "--name", "second").refusal()
        assert any(part in said for part in message.split("|")), (path, said)
        assert str(path) in said
    assert command("score", files[0][0], *options).refusal().startswith(str(files[0][0]))
    assert rows_of(home) == before


def test_what_a_submission_must_say(
    home: Path, submitted: Path, command: Command, tmp_path: Path, toy_predictions: Predictions
) -> None:
    before = rows_of(home)
    file, holdout = submitted, ("--protocol", "holdout", "--track", "features")
    cases = [
        (("--name", "x"), "has the protocols holdout, folds and the submission names none"),
        (("--name", "x", "--protocol", "holdout"), "has the tracks features, kinds; say which"),
        (("--name", "x", "--protocol", "hold"), "unknown protocol of toy-line 'hold'"),
        (("--name", "x", "--protocol", "folds", "--track", "features"), "9 ids are not in a split"),
        (("--name", "x", "--protocol", "holdout", "--track", "y"), "unknown track"),
        (("--name", "", *holdout), "must be one line"),
        (("--name", "a\nb", *holdout), "must be one line"),
        (("--name", "\x1b[2J", *holdout), "must be one line"),
        (("--name", "x" * 101, *holdout), "must be one line"),
        (("--name", "toy_mean", *holdout), "is a baseline of this hub"),
        (("--name", "x", *holdout, "--export", str(file)), "exists and is not an empty folder"),
    ]
    for options, message in cases:
        assert message in command("submit", file, "toy-line", *options).refusal(), options
    template = tmp_path / "template"
    command("template", "toy-line", "--out", template, "--protocol", "folds").fine()
    named = template / "predictions.parquet"
    fields = command("template", "toy-fields", "--out", tmp_path / "fields").fine()
    assert "\nA prediction is a list of 6 floats, the last axis of the shape" in fields
    assert (
        "the file says protocol 'folds' but"
        in command("submit", named, "toy-line", "--name", "x", *holdout).refusal()
    )
    # Numbers where arrays are asked for: refused before what the file says is compared.
    refusal = command("submit", named, "toy-fields", "--name", "x").refusal()
    assert "not lists of floats; write each prediction flat, as a list of 6 floats" in refusal
    assert rows_of(home) == before


CARDS = {
    "unknown key": ("tittle: x", "tittle: unknown key"),
    "key twice": ("title: x\ntitle: y", "line 2: not valid YAML: duplicate key 'title'"),
    "list": ("- x", "must be a mapping of keys, not a list"),
    "object": ("title: !!python/object/apply:os.system [echo]", "not valid YAML"),
    "control": ('title: "a\\x1b[31m"', "title: must be one non-empty line"),
    "script": ("code: javascript:alert(1)", "code"),
    "empty int": ("title: !!int ''", "not valid YAML"),
    "itself": ("tags: &a [*a]", "tags"),
}


def test_cards_that_are_refused(
    home: Path, submitted: Path, command: Command, tmp_path: Path
) -> None:
    before = rows_of(home)
    submit = ("submit", submitted, "toy-line", "--protocol", "holdout", "--track", "features")
    for name, (text, message) in CARDS.items():
        path = tmp_path / f"{name.replace(' ', '-')}.yaml"
        path.write_text(text, encoding="utf-8")
        said = command(*submit, "--name", "x", "--card", path).refusal()
        assert str(path) in said
        assert any(part in said for part in message.split("|")), said
    assert "No such file" in command(*submit, "--name", "x", "--card", tmp_path / "no").refusal()
    assert rows_of(home) == before


def test_a_model_that_is_none(
    home: Path, submitted: Path, command: Command, tmp_path: Path
) -> None:
    before = rows_of(home)
    assert "has no model.py" in command("evaluate", tmp_path, "toy-line").refusal()
    assert rows_of(home) == before


# --- what is printed ---------------------------------------------------------------------------


def test_json_forms(
    submitted: Path, command: Command, toy_predictions: Predictions, tmp_path: Path
) -> None:
    for arguments in (
        ("list",), ("show", "toy-line"), ("show", "toy"), ("show", "toy_mean"),
        ("score", submitted, "toy-line", "--protocol", "holdout"),
    ):  # fmt: skip
        assert json.loads(command(*arguments, "--json").fine())
    scored = json.loads(
        command("score", submitted, "toy-line", "--protocol", "holdout", "--json").fine()
    )
    assert scored["splits"][0]["metrics"]["mae"]["value"] == pytest.approx(1.0)
    options = ("--protocol", "holdout", "--track", "features", "--name", "two")
    second = toy_predictions("two.parquet", splits=("test", "hard"))
    card = tmp_path / "card.yaml"
    card.write_text("title: Zwei\ntags: [a, b]\n", encoding="utf-8")
    record = json.loads(
        command("submit", second, "toy-line", *options, "--card", card, "--json").fine()
    )
    assert (record["name"], record["status"], record["card"]["title"]) == ("two", "scored", "Zwei")
    board = json.loads(command("leaderboard", "toy-line", "--json").fine())
    assert [row["model"] for row in board] == ["first", "two"]
    for row in board:
        assert set(row) >= LEADERBOARD_COLUMNS
        assert row["score"] == pytest.approx(1.0)
        assert row["rank_low"] <= row["rank"] <= row["rank_high"]
        assert (row["unit"], row["n"], row["fit_seconds"], row["parameters"]) == (
            "mm",
            9,
            None,
            None,
        )
    assert board[1]["submission"] == record["submission"]
    hard = json.loads(command("leaderboard", "toy-line", "--split", "hard", "--json").fine())
    assert [row["model"] for row in hard] == ["two"]
    everything = command("leaderboard", "toy-line", "--split", "hard", "--all", "--json").fine()
    assert {row["model"]: row["rank"] for row in json.loads(everything)} == {
        "two": 1,
        "first": None,
    }
    assert json.loads(command("leaderboard", "toy-line", "--track", "kinds", "--json").fine()) == []
    assert json.loads(command("leaderboard", "toy-fields", "--json").fine()) == []
    r2 = json.loads(command("leaderboard", "toy-line", "--metric", "r2", "--json").fine())
    assert {row["unit"] for row in r2} == {"1"}


def test_a_board_is_narrowed(
    submitted: Path, command: Command, toy_predictions: Predictions, tmp_path: Path
) -> None:
    (tmp_path / "card.yaml").write_text("title: Zwei\ntags: [a, b]\n", encoding="utf-8")
    options = ("--protocol", "holdout", "--track", "features", "--card", tmp_path / "card.yaml")
    command("submit", toy_predictions("two.parquet"), "toy-line", "--name", "two", *options).fine()

    def shown(*filters: str) -> list[tuple[str, int]]:
        board = json.loads(command("leaderboard", "toy-line", "--json", *filters).fine())
        return [(row["model"], row["rank"]) for row in board]

    assert shown("--tag", "b", "--tag", "a") == [("two", 1)]
    assert shown("--tag", "a", "--tag", "c") == []
    assert len(shown("--status", "scored", "--status", "run")) == 2
    assert shown("--status", "run") == shown("--max-parameters", "5") == []
    assert len(shown("--trained-on", "unknown")) == 2
    assert etchmark.standings("toy-line", tags="a")["model"].tolist() == ["two"]
    filtered = command("leaderboard", "toy-line", "--max-parameters", "0")
    assert "no submission to toy-line@1 passes all filters; drop some" in filtered.stderr
    strange = command("leaderboard", "toy-line", "--tag", "a", "--tag", "x").stderr
    assert strange == "no submission to toy-line@1 has the tag 'x'; choose from: a, b\n"


def test_csv_holds_no_formula(
    submitted: Path, command: Command, toy_predictions: Predictions
) -> None:
    path = toy_predictions("two.parquet")
    options = ("--protocol", "holdout", "--track", "features")
    name = "=HYPERLINK(1)"
    command("submit", path, "toy-line", "--name", name, *options).fine()
    text = command("leaderboard", "toy-line", "--csv").fine()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert set(rows[0]) >= LEADERBOARD_COLUMNS
    assert sorted(row["model"] for row in rows) == [f"'{name}", "first"]
    assert [float(row["score"]) for row in rows] == pytest.approx([1.0, 1.0])


def test_text_for_people(submitted: Path, command: Command, toy_predictions: Predictions) -> None:
    path = toy_predictions("two.parquet")
    options = ("--protocol", "holdout", "--track", "features")
    out = command("submit", path, "toy-line", "--name", "two", *options).fine()
    assert "rank" in out
    out = command("leaderboard", "toy-line").fine()
    assert "toy-line@1: The toy's scalar-mini" in out
    assert "first" in out
    empty = command("leaderboard", "toy-fields")
    assert (empty.rc, empty.stdout) == (0, "")
    assert "no submission to toy-fields@1 yet" in empty.stderr
    for name in ("toy-line", "toy", "toy_mean"):
        assert name in command("show", name).fine()


def test_evaluate(home: Path, toy_content: Path, command: Command) -> None:
    out = command("evaluate", "toy_mean", "toy-line", "--mini").fine()
    assert "nothing stored" in out
    assert json.loads(command("leaderboard", "toy-line", "--json").fine()) == []
    record = json.loads(command("evaluate", "toy_mean", "toy-fields", "--json").fine())
    assert (record["status"], record["outcome"]) == ("run", "ok")
    board = json.loads(command("leaderboard", "toy-fields", "--json").fine())
    assert board[0]["model"] == "toy_mean"
    assert board[0]["fit_seconds"] > 0
    assert board[0]["hardware"]


def test_version_and_help(command: Command) -> None:
    from etchmark import __version__

    assert command("--version").fine() == f"etchmark {__version__}\n"
    for arguments in ((), ("leaderboard",), ("results",), ("results", "add")):
        assert "Usage: etchmark" in command(*arguments, "--help").fine()


# --- what only a process of its own can show ---------------------------------------------------


def test_exit_status_of_the_program(toy_content: Path, cli: Command) -> None:
    assert "unknown benchmark" in cli("leaderboard", "nope").refusal()
    assert "toy-line" in cli("list").fine()


def test_a_crash_is_told_in_one_line_and_exits_with_1(
    toy_content: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from etchmark.commands.present import content

    def crash(*_: object) -> None:
        raise RuntimeError("two\nlines\x1b[31m")

    monkeypatch.setattr(content, "show", crash)
    ran = command("show", "toy")
    assert ran.rc == 1
    assert ran.stderr.splitlines() == [
        "error: RuntimeError: two lines\\x1b[31m (ETCHMARK_DEBUG=1 shows the traceback)"
    ]


def test_ctrl_c(toy_content: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from etchmark.commands.present import content

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(content, "show", interrupt)
    ran = command("show", "toy")
    assert (ran.rc, ran.stderr.strip()) == (1, "error: interrupted")


@pytest.mark.skipif(os.name == "nt", reason="pipes break otherwise there")
def test_a_reader_that_leaves(toy_content: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "etchmark", "show", "toy-line", "--json"],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(os.name == "nt", reason="needs a file where a folder should be")
def test_a_hub_folder_that_cannot_be_written(
    toy_content: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ETCHMARK_HOME", str(tmp_path / "file"))
    assert "cannot be written" in command("build", "toy").refusal()
    assert "the registry cannot be " in command("leaderboard", "toy-line").refusal()
    monkeypatch.setenv("ETCHMARK_CONTENT", str(tmp_path / "nowhere"))
    assert "ETCHMARK_CONTENT" in command("list").refusal()


def test_a_newer_submission_says_whose_place_it_takes(
    submitted: Path, command: Command, toy_predictions: Predictions
) -> None:
    options = ("toy-line", "--name", "first", "--protocol", "holdout", "--track", "features")
    again = command("submit", submitted, *options).fine()
    assert "was stored already" in again
    assert "in the place of" not in again

    def better(table: pa.Table) -> pa.Table:
        closer = pc.subtract(table["prediction"], 0.5)
        return table.set_column(1, "prediction", closer)

    time.sleep(1.1)  # records are dated to the second
    said = command("submit", toy_predictions("second.csv", change=better), *options).fine()
    (first,) = re.findall(r"stored already as (\w+)", again)
    assert said.rstrip().endswith(f", in the place of {first}")


def test_a_model_for_other_benchmarks_is_refused_before_it_runs(
    toy_volumes: Path, command: Command
) -> None:
    said = command("evaluate", "between/near", "toy-line").refusal()
    assert said == (
        "toy-line does not say on which track between/near runs (it runs on toy-volumes); choose a"
        " --track: features, kinds"
    )
