"""The folder of reviewed results: what is edited there by hand is refused by name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etchmark.errors import UserError
from etchmark.registry import intake, layout, reviewed, tables
from etchmark.registry.identity import submission_id
from etchmark.registry.store import Store, read_record
from etchmark.specs import ResultRecord
from etchmark.specs.results import SINCE_2

RESULTS = Path(__file__).resolve().parents[2] / "leaderboard" / "results"
SUBMIT = ("toy-line", "--track", "features", "--protocol", "holdout")


@pytest.fixture
def folder(toy_content, toy_predictions, command, home, tmp_path) -> Path:
    """Reviewed results of ``toy-line``: ``first``, off by one, and ``second``, off by three."""

    def worse(table: pa.Table) -> pa.Table:
        return table.set_column(1, "prediction", pa.array(table["prediction"].to_numpy() + 2.0))

    for name, change in (("first", None), ("second", worse)):
        export = tmp_path / name
        file = toy_predictions(f"{name}.parquet", change=change)
        command("submit", file, *SUBMIT, "--name", name, "--export", export).fine()
        command("results", "add", export).fine()
    shutil.rmtree(home)
    return toy_content / "leaderboard" / "results" / "toy-line@1"


def paths(folder: Path) -> dict[str, Path]:
    """Record files by the model's name."""
    return {read_record(path).name: path for path in folder.glob("*.json")}


def models(command) -> list[str]:
    ran = command("leaderboard", "toy-line", "--json")
    assert ran.rc == 0
    return [row["model"] for row in json.loads(ran.stdout)]


def _index(folder: Path, change: Callable[[str], str]) -> None:
    path = folder / reviewed.INDEX
    path.write_text(change(path.read_text()))


def _score(path: Path) -> None:
    value = json.loads(path.read_text())
    value["scores"][0]["metrics"]["mae"]["value"] = 0.5
    path.write_text(json.dumps(value, indent=2))


def _interval(path: Path) -> None:
    value = json.loads(path.read_text())
    value["scores"][0]["metrics"]["mae"] |= {"ci_low": 2.5, "ci_high": 3.5}
    path.write_text(json.dumps(value, indent=2))


def _better(path: Path) -> bytes:
    """A table of better predictions, as bytes."""
    table = pq.read_table(path.with_suffix(".parquet"))
    at = table.column_names.index("prediction")
    better = pa.array(table["prediction"].to_numpy() - 2.5)
    sink = pa.BufferOutputStream()
    pq.write_table(table.set_column(at, "prediction", better), sink)
    return sink.getvalue().to_pybytes()


def _table(path: Path) -> None:
    path.with_suffix(".parquet").write_bytes(_better(path))


def _table_and_index(path: Path) -> None:
    table = path.with_suffix(".parquet")
    old = hashlib.sha256(table.read_bytes()).hexdigest()
    table.write_bytes(_better(path))
    new = hashlib.sha256(table.read_bytes()).hexdigest()
    _index(path.parent, lambda text: text.replace(old, new))


def _table_and_score(path: Path) -> None:
    _table(path)
    value = json.loads(path.read_text())
    value["scores"][0]["metrics"]["mae"]["value"] = 0.5
    path.write_text(json.dumps(value))


def _swapped(path: Path) -> None:
    """The other record's table, and the other table's digest."""
    (other,) = [one for one in path.parent.glob("*.parquet") if one.stem != path.stem]
    mine = path.with_suffix(".parquet")
    old, new = (hashlib.sha256(one.read_bytes()).hexdigest() for one in (mine, other))
    mine.write_bytes(other.read_bytes())
    _index(path.parent, lambda text: text.replace(f"{old}  {mine.name}", f"{new}  {mine.name}"))


def _unlisted(path: Path) -> None:
    name = path.with_suffix(".parquet").name
    _index(
        path.parent,
        lambda text: "".join(f"{line}\n" for line in text.splitlines() if name not in line),
    )


def _twice(path: Path) -> None:
    path.write_text(path.read_text().replace('"status":', '"status": "run", "status":', 1))


def _reason(path: Path) -> None:
    path.write_text(path.read_text().replace('"reason": null', '"reason": "fine"', 1))


def _with(**changes: Any) -> Callable[[Path], None]:
    """Keys that are set in a record; those of None are removed."""

    def edit(path: Path) -> None:
        value = json.loads(path.read_text()) | changes
        kept = {key: item for key, item in value.items() if changes.get(key, ...) is not None}
        path.write_text(json.dumps(kept))

    return edit


def _schema_1(path: Path) -> None:
    _with(schema=1, **dict.fromkeys(SINCE_2))(path)
    path.write_text(path.read_text().replace('{"schema": 1', '{"schema": 1, "flags": null', 1))


EDITED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a score": (_score, ".json: split 'test': mae is said to be 0.5 but the table gives 3"),
    "an interval": (_interval, ".json: split 'test': mae.ci_low is said to be 2.5 but the table"),
    "a table": (_table, ".parquet: its SHA-256 is not the one in SHA256SUMS"),
    "a table and its digest": (_table_and_index, ".json: split 'test': mae is said to be 3"),
    "a table and the score": (_table_and_score, ".parquet: its SHA-256 is not the one"),
    "a table and digest swapped": (_swapped, ".json: split 'test': mae is said to be 3"),
    "the digest removed": (_unlisted, ".parquet: its SHA-256 is missing in SHA256SUMS"),
    "a duplicate key": (_twice, ".json: duplicate key 'status'"),
    "a reason": (_reason, ".json: reason belongs to a run that failed"),
    "a status": (_with(status="verified"), ".json: status is 'verified', but no version"),
    "a flag": (_with(flags=["odd: so I say"]), ".json: flags: 'odd: so I say' is of no known kind"),
    "what the hub looked for": (
        _with(role="entry", flags=None, interval_method=None),
        ".json: has a role but neither flags nor interval_method",
    ),
    "all that schema 2 brought": (
        _with(role=None, flags=None, interval_method=None),
        ".json: is of schema 2 but has neither flags nor interval_method",
    ),
    "a key that schema 1 lacks": (_schema_1, ".json: a record of schema 1 has no flags"),
}


@pytest.mark.parametrize("case", EDITED)
def test_what_was_edited_by_hand_is_left_out_by_name(case, folder, command):
    path = paths(folder)["second"]
    edit, expected = EDITED[case]
    edit(path)
    with pytest.warns(UserWarning, match="left out: ") as caught:
        Store()
    (message,) = [str(one.message) for one in caught if one.category is UserWarning]
    assert f"left out: {path.with_suffix('')}{expected}" in message
    assert models(command) == ["first"]


def test_an_edited_score_leaves_a_hub_that_had_the_record(folder, command):
    assert models(command) == ["first", "second"]
    _score(paths(folder)["second"])
    with pytest.warns(UserWarning, match="mae is said to be 0.5"):
        Store()
    assert models(command) == ["first"]


def test_a_table_that_unpacks_to_gigabytes_is_left_out(folder, command, lying_table):
    table = paths(folder)["second"].with_suffix(".parquet")
    old = hashlib.sha256(table.read_bytes()).hexdigest()
    table.write_bytes(lying_table(pq.read_table(table), 300_000_000))
    new = hashlib.sha256(table.read_bytes()).hexdigest()
    _index(folder, lambda text: text.replace(old, new))
    with pytest.warns(UserWarning, match="unpacks to 300,"):
        Store()
    assert models(command) == ["first"]


@pytest.mark.parametrize("separator", [b" ", b"  \xff"])
def test_a_malformed_line_of_an_index_leaves_out_its_own_record_only(folder, command, separator):
    index = folder / reviewed.INDEX
    index.write_bytes(index.read_bytes().replace(b"  ", separator, 1))
    with pytest.warns(UserWarning, match="SHA256SUMS, line 1: is not one digest") as caught:
        Store()
    said = [str(warning.message) for warning in caught]
    assert [text for text in said if "its SHA-256 is missing in SHA256SUMS" in text]
    assert models(command) == ["second"]
    assert "SHA256SUMS, line 1" in command("results", "run", "toy-line").stdout


def test_a_table_named_twice_is_told_with_the_remedy_and_hides_no_record(folder, command):
    _index(folder, lambda text: text + text.splitlines()[0] + "\n")
    name = (folder / reviewed.INDEX).read_text().split()[1]
    with pytest.warns(UserWarning, match=rf"line 3: names {name} a second time; keep the line"):
        Store()
    assert models(command) == ["first", "second"]


def test_a_table_named_twice_with_two_digests_is_left_out_alone(folder, command):
    _index(folder, lambda text: text + f"{'0' * 64}  {text.split()[1]}\n")
    with pytest.warns(UserWarning, match="line 3: names .* a second time"):
        Store()
    assert models(command) == ["second"]


def test_a_missing_index_is_told_with_the_remedy_and_hides_no_record(folder, command):
    (folder / reviewed.INDEX).unlink()
    with pytest.warns(UserWarning, match=r"SHA256SUMS: is missing.*sha256sum \*\.parquet > SHA"):
        Store()
    assert models(command) == ["first", "second"]


def test_a_line_that_no_record_needs_is_told_and_closes_nothing(folder, command, monkeypatch):
    monkeypatch.setattr(layout, "SETTLE_SECONDS", 0.0)
    _index(folder, lambda text: f"{'0' * 64}  elsewhere.parquet\n{text}")
    with pytest.warns(
        UserWarning, match="SHA256SUMS, line 1: names elsewhere.parquet, which"
    ) as all_:
        store = Store()
    assert len([one for one in all_ if one.category is UserWarning]) == 1
    assert len(store.briefs("toy-line", 1, "holdout")) == 2


def test_a_record_that_is_being_removed_leaves_no_stray_line(tmp_path, monkeypatch):
    index = tmp_path / reviewed.INDEX
    index.write_text(f"{'0' * 64}  old.parquet\n")
    monkeypatch.setattr(layout, "SETTLE_SECONDS", 0.0)
    assert len(layout.stray_lines(tmp_path, ["old.parquet"])) == 1
    # The line goes while the reader waits.
    monkeypatch.setattr(layout.time, "sleep", lambda _: index.write_text(""))
    assert layout.stray_lines(tmp_path, ["old.parquet"]) == []


def test_many_records_are_told_of_once(folder, command, monkeypatch, caplog):
    monkeypatch.setattr(intake, "MANY", 2)
    first = command("leaderboard", "toy-line")
    assert first.rc == 0
    (line,) = first.stderr.splitlines()
    assert line.startswith("note: taking 2 reviewed records into the registry")
    assert command("leaderboard", "toy-line").stderr == ""


def test_the_library_says_nothing_of_records_that_it_takes_in(folder, monkeypatch, capsys):
    monkeypatch.setattr(intake, "MANY", 2)
    assert len(Store().entries("toy-line", 1)) == 2
    assert capsys.readouterr() == ("", "")


def test_tables_are_read_once(folder, monkeypatch):
    def refuse(content: bytes) -> None:
        raise AssertionError("a table is read again")

    monkeypatch.setattr(tables, "read_samples", refuse)
    assert len(Store().entries("toy-line", 1)) == 2


def test_content_from_before_there_was_an_index_is_read(folder, command):
    (folder / reviewed.INDEX).unlink()
    assert models(command) == ["first", "second"]
    _score(paths(folder)["second"])
    with pytest.warns(UserWarning, match="mae is said to be 0.5"):
        Store()


def test_the_index_follows_what_is_written(folder, command):
    assert reviewed.read_index(folder) == reviewed.digests(folder)
    command("results", "run", "toy-line", "--protocol", "holdout").fine()
    index = reviewed.read_index(folder)
    assert index == reviewed.digests(folder)
    assert list(index or ()) == sorted(index or ())
    assert len(index or ()) == 3
    command("results", "run", "toy-line", "--protocol", "folds").fine()
    command("results", "run", "toy-line", "--again").fine()
    assert reviewed.read_index(folder) == reviewed.digests(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Store()


def test_the_committed_index_is_that_of_the_committed_tables() -> None:
    folders = [path for path in sorted(RESULTS.iterdir()) if path.is_dir()]
    assert len(folders) == len([*(RESULTS.parents[1] / "benchmarks").glob("**/*.yaml")]), (
        "one folder for each version"
    )
    for folder in folders:
        index = reviewed.read_index(folder)
        assert index == reviewed.digests(folder), folder
        assert list(index or ()) == sorted(index or ()), folder
        assert {f"{path.stem}.parquet" for path in folder.glob("*.json")} == set(index or ())


def test_every_committed_record_follows_from_its_table() -> None:
    read = list(reviewed.read_all(RESULTS))
    assert [one for one in read if isinstance(one, UserError)] == []
    assert len(read) == len(list(RESULTS.glob("*/*.json")))


def test_a_record_without_claims_keeps_its_bytes() -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(RESULTS.glob("*/*.json"))]
    # Older records lack keys that have come since; of the others every byte stays.
    same = [text for text in texts if '"flops"' in text and '"curves"' in text]
    assert len(same) > 50
    for text in same:
        record = ResultRecord.model_validate_json(text)
        assert record.claims is None
        assert record.model_dump_json(by_alias=True, indent=2) + "\n" == text


# --- a folder that others work in --------------------------------------------------------------


@pytest.mark.parametrize("name", [".#first.json", "notes.json.tmp", ".first.json.12-ab.tmp"])
def test_a_link_to_nothing_closes_no_board(folder: Path, command, name: str) -> None:
    # An editor's lock is such a link; a file that vanishes while a folder is read looks the same.
    (folder / name).symlink_to("user@host.123:456")
    ran = command("leaderboard", "toy-line", "--json")
    assert (ran.rc, ran.stderr) == (0, "")
    assert models(command) == ["first", "second"]


@pytest.mark.skipif(os.name != "posix", reason="there are no named pipes")
@pytest.mark.parametrize("suffix", [".json", ".parquet"])
def test_a_pipe_holds_up_no_board(folder: Path, command, suffix: str) -> None:
    path = next(folder.glob("*.json")).with_suffix(suffix)
    path.unlink()
    os.mkfifo(path)
    ran = command("leaderboard", "toy-line", "--all")
    assert ran.rc == 0
    assert "is not an ordinary file; remove it" in ran.stderr


def test_writers_of_one_folder_take_turns_whatever_their_hubs(
    folder: Path, toy_predictions, command, tmp_path, monkeypatch
) -> None:
    export = tmp_path / "third"
    file = toy_predictions("third.csv")
    command("submit", file, *SUBMIT, "--name", "third", "--export", export).fine()
    monkeypatch.setenv("ETCHMARK_HOME", str(tmp_path / "another-home"))
    arguments = [sys.executable, "-m", "etchmark", "results", "add", str(export)]
    with reviewed.alone(folder.parent):
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=6)
        assert len(list(folder.glob("*.json"))) == 2
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")
    assert len((folder / reviewed.INDEX).read_text().splitlines()) == 3


# --- records of something else -----------------------------------------------------------------


def _value(**change: object) -> Callable[[Path], None]:
    """Keys of the record replaced; those of its fingerprints by their own names."""

    def edit(path: Path) -> None:
        value = json.loads(path.read_text())
        for key, new in change.items():
            (value["fingerprints"] if key in value["fingerprints"] else value)[key] = new
        path.write_text(json.dumps(value, indent=2))

    return edit


def _as_if_submitted(**change: object) -> Callable[[Path], None]:
    """The same, with an id and files' names that fit."""

    def edit(path: Path) -> None:
        _value(**change)(path)
        value = json.loads(path.read_text())
        value["submission"] = submission_id(
            f"{value['benchmark']}@{value['benchmark_version']}",
            value["track"],
            value["protocol"],
            value["fingerprints"]["predictions"],
            value["name"],
        )
        path.write_text(json.dumps(value, indent=2))
        record = ResultRecord.model_validate(value)
        moved = layout.path_of(path.parents[1], record)
        table = path.with_suffix(".parquet")
        digest = hashlib.sha256(table.read_bytes()).hexdigest()
        _index(path.parent, lambda text: text.replace(f"{digest}  {table.name}\n", ""))
        moved.parent.mkdir(exist_ok=True)
        path.rename(moved)
        table.rename(moved.with_suffix(".parquet"))
        with (moved.parent / reviewed.INDEX).open("a") as index:
            index.write(f"{digest}  {moved.stem}.parquet\n")

    return edit


_failed = _value(outcome="failed", reason="it fell", scores=[], predictions=[])


IDENTITY: dict[str, tuple[Callable[[Path], None], str]] = {
    "a name": (_value(name="zeroth"), "its submission id is not that of"),
    "a track": (_value(track="kinds"), "its submission id is not that of"),
    "a protocol": (_value(protocol="folds"), "its submission id is not that of"),
    "a version": (_value(benchmark_version=2), "its submission id is not that of"),
    "a hash": (_value(predictions=["0" * 64]), "its submission id is not that of"),
    "an outcome": (_failed, "its submission id is not that of"),
    "an unknown track": (_as_if_submitted(track="psychic"), "track 'psychic' is not of toy-line@1"),
    "an unknown protocol": (_as_if_submitted(protocol="guess"), "protocol 'guess' is not of"),
    "other data": (_value(data="0" * 64), "its data fingerprint is not that of toy-line@1"),
    "other labels": (_value(target="0" * 64), "its target fingerprint is not that of toy-line@1"),
}


@pytest.mark.parametrize("case", IDENTITY)
def test_a_record_of_something_else_is_left_out_by_name(case, folder, command):
    edit, expected = IDENTITY[case]
    edit(paths(folder)["second"])
    with pytest.warns(UserWarning, match="left out: ") as caught:
        Store()
    (message,) = [str(one.message) for one in caught if one.category is UserWarning]
    assert expected in message
    assert models(command) == ["first"]


def test_a_record_of_an_earlier_version_of_the_benchmark_is_read(folder):
    """Its tracks and data are those of that version, which the content no longer has."""
    edit = _as_if_submitted(benchmark_version=0, track="bygone", data="0" * 64, target="0" * 64)
    edit(paths(folder)["second"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = Store()
    assert [entry.record.track for entry in store.entries("toy-line", 0)] == ["bygone"]
