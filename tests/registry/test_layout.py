"""Readable names of reviewed results, and the way there from the older layout."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etchmark.errors import UserError
from etchmark.registry import layout, reviewed
from etchmark.registry.store import Store, read_record

Command = Callable[..., Any]
HEX = "0123456789abcdef" * 4
SUBMIT = ("toy-line", "--track", "features", "--protocol", "holdout")


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("training_mean", "training_mean"),
        ("fcn/small", "fcn.small"),
        ("foundation_features/vit-tiny-in21k", "foundation_features.vit-tiny-in21k"),
        ("2024", "2024"),
        # What cannot be read back has digits of the id.
        ("CNN", "cnn-01234567"),
        ("fcn.small", "fcn-small-01234567"),
        ("my model (v2)", "my-model-v2-01234567"),
        ("Größe", "groe-01234567"),
        ("模型", "model-01234567"),
        ("../../etc", "etc-01234567"),
        ("a--b", "a-b-01234567"),
        ("-a", "a-01234567"),
        ("cnn-01234567", "cnn-01234567-01234567"),
        ("x" * 81, "x" * 80 + "-01234567"),
    ],
)
def test_slugs(name: str, slug: str) -> None:
    assert layout.slug(name, HEX) == slug


def test_names_that_look_the_same_in_ascii_have_files_of_their_own() -> None:
    names = ["cnn", "CNN", "Cnn", "cnn ", "c/n/n", "c.n.n", "c-n-n", "cnn-00000001", "ｃｎｎ"]
    slugs = {layout.slug(name, f"{at:08d}" + "0" * 56) for at, name in enumerate(names)}
    assert len(slugs) == len(names)


@pytest.fixture
def old_results(
    toy_content: Path, toy_predictions: Callable[..., Path], command: Command, tmp_path: Path,
    home: Path,
) -> Path:  # fmt: skip
    """Results of ``toy-line`` in the older layout: models ``mine`` and ``Größe``."""
    results = toy_content / "leaderboard" / "results"
    for name in ("mine", "Größe"):
        export = tmp_path / f"export-{len(name)}"
        command("submit", toy_predictions(), *SUBMIT, "--name", name, "--export", export).fine()
        command("results", "add", export).fine()
    old = results / "toy-line"
    old.mkdir()
    lines = []
    for path in (results / "toy-line@1").glob("*.json"):
        submission = read_record(path).submission
        digest = hashlib.sha256(path.with_suffix(".parquet").read_bytes()).hexdigest()
        lines.append(f"{digest}  {submission}.parquet\n")
        path.with_suffix(".parquet").rename(old / f"{submission}.parquet")
        path.rename(old / f"{submission}.json")
    (old / reviewed.INDEX).write_text("".join(sorted(lines)))
    shutil.rmtree(results / "toy-line@1")
    shutil.rmtree(home)
    return results


def _contents(results: Path) -> set[bytes]:
    paths = [*results.glob("*/*.json"), *results.glob("*/*.parquet")]
    return {path.read_bytes() for path in paths}


def _models(command: Command) -> list[str]:
    board = json.loads(command("leaderboard", "toy-line", "--json").fine())
    return sorted(row["model"] for row in board)


def test_the_older_layout_is_read(old_results: Path, command: Command) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(Store().entries("toy-line", 1)) == 2
    assert _models(command) == ["Größe", "mine"]


def test_migration_moves_every_byte_and_changes_none(old_results: Path, command: Command) -> None:
    before = _contents(old_results)
    board = command("leaderboard", "toy-line", "--json").fine()
    assert "moved 2 records" in command("results", "migrate").fine()
    folder = old_results / "toy-line@1"
    assert [path.name for path in old_results.iterdir() if path.is_dir()] == ["toy-line@1"]
    assert _contents(old_results) == before
    assert len({path.stem for path in folder.glob("*.json")}) == 2
    assert (folder / "mine--features--holdout.json").is_file()
    assert reviewed.read_index(folder) == reviewed.digests(folder)
    assert command("leaderboard", "toy-line", "--json").fine() == board
    assert "moved 0 records" in command("results", "migrate").fine()


def test_every_folder_of_the_older_layout_is_migrated(old_results: Path) -> None:
    """Also where a benchmark has records of several versions, and some of them moved before."""
    layout.migrate(old_results)
    first = next((old_results / "toy-line@1").glob("mine*.json"))
    record = json.loads(first.read_text("utf-8"))
    expected = {first}
    for benchmark, version in (("toy-line", 2), ("toy-line", 3), ("other", 1)):
        other = record | {"benchmark": benchmark, "benchmark_version": version}
        other["submission"] = hashlib.sha256(f"{benchmark}@{version}".encode()).hexdigest()
        old = old_results / benchmark / f"{other['submission']}.json"
        old.parent.mkdir(exist_ok=True)
        old.write_text(json.dumps(other), "utf-8")
        shutil.copyfile(first.with_suffix(".parquet"), old.with_suffix(".parquet"))
        (old.parent / reviewed.INDEX).touch()
        expected.add(old_results / f"{benchmark}@{version}" / first.name)
    moved = layout.migrate(old_results)
    assert {new for _, new in moved} == expected - {first}
    for path in expected:
        assert read_record(path).benchmark_version == int(path.parent.name[-1])
        assert reviewed.read_index(path.parent) == reviewed.digests(path.parent)
    assert all("@" in path.name for path in old_results.iterdir() if path.is_dir())


def test_migration_replaces_nothing(old_results: Path, command: Command, tmp_path: Path) -> None:
    new = old_results / "toy-line@1" / "mine--features--holdout.json"
    new.parent.mkdir()
    new.write_text('{"precious": 1}', "utf-8")
    before = _contents(old_results)
    line = command("results", "migrate").refusal()
    assert line.startswith(f"{new}: is there with other content than ")
    assert _contents(old_results) == before
    # Nor is anything made where there are no results.
    absent = tmp_path / "absent"
    assert "is not a folder" in command("results", "migrate", "--into", absent).refusal()
    assert not absent.exists()


def test_an_interrupted_migration_goes_on(
    old_results: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _contents(old_results)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            layout.migrate(old_results)
    # Both places hold the record at that moment, and it is read once.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(Store().entries("toy-line", 1)) == 2
    command("results", "migrate").fine()
    assert _contents(old_results) == before
    assert not (old_results / "toy-line").exists()
    assert len(Store().entries("toy-line", 1)) == 2


def test_a_record_of_the_older_layout_is_replaced_by_a_new_run(
    old_results: Path, toy_predictions: Callable[..., Path], command: Command, tmp_path: Path
) -> None:
    export = tmp_path / "new"
    path = toy_predictions("new.csv", splits=("test", "hard"))
    command("submit", path, *SUBMIT, "--name", "mine", "--export", export).fine()
    assert "--replace" in command("results", "add", export).refusal()
    command("results", "add", export, "--replace").fine()
    assert [path.name for path in old_results.glob("*/mine*.json")] == [
        "mine--features--holdout.json"
    ]
    old = old_results / "toy-line"
    assert len(list(old.glob("*.json"))) == len(list(old.glob("*.parquet"))) == 1
    assert reviewed.read_index(old) == reviewed.digests(old)
    assert _models(command) == ["Größe", "mine"]


def test_a_record_in_another_file_than_its_own_is_left_out_by_name(
    old_results: Path, command: Command
) -> None:
    command("results", "migrate").fine()
    path = old_results / "toy-line@1" / "mine--features--holdout.json"
    for wrong in ("mine--kinds--holdout.json", "other--features--holdout.json"):
        moved = path.rename(path.with_name(wrong))
        with pytest.warns(UserWarning, match=f"the file is not named {path.name}"):
            Store()
        path = moved.rename(path)
    (old_results / "toy-line@2").mkdir()
    path.rename(old_results / "toy-line@2" / path.name)
    with pytest.warns(UserWarning, match="it belongs into the folder toy-line@1"):
        Store()


def test_two_records_never_share_a_file(old_results: Path, command: Command) -> None:
    command("results", "migrate").fine()
    folder = old_results / "toy-line@1"
    (path,) = folder.glob("gro*.json")
    record = read_record(path)
    other = record.model_copy(update={"name": "GRÖE"})
    assert layout.path_of(old_results, other) == path, "the same digits and the same letters"
    with pytest.raises(UserError, match="holds the record of 'Größe'; choose another name"):
        reviewed.write(old_results, other, b"", replacing=True)
    assert read_record(path) == record


def test_only_changed_files_are_read_again(
    old_results: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("results", "migrate").fine()
    Store()
    read: list[str] = []
    original = reviewed.checked

    def counted(path: Path, *more: Any) -> Any:
        read.append(path.name)
        return original(path, *more)

    monkeypatch.setattr(reviewed, "checked", counted)
    Store()
    assert read == []
    path = old_results / "toy-line@1" / "mine--features--holdout.json"
    path.write_text(path.read_text() + "\n")
    assert len(Store().entries("toy-line", 1)) == 2
    assert read == [path.name]
    # The digest of a table counts, the date of the index does not.
    index = old_results / "toy-line@1" / reviewed.INDEX
    index.write_text(index.read_text())
    Store()
    assert read == [path.name]
    index.write_text("".join(sorted(index.read_text().splitlines(keepends=True)))[1:])
    with pytest.warns(UserWarning, match="is not one digest"):
        Store()
