"""No command overwrites what a user may have made or edited, unless it is told to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

Command = Callable[..., Any]
HOLDOUT = ("--protocol", "holdout", "--track", "features")


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- template ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["predictions.csv", "predictions.parquet", "inputs-test.parquet"])
def test_a_template_that_was_filled_in(
    toy_content: Path, command: Command, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    command("template", "toy-line", "--out", out).fine()
    fresh = content_of(out)
    command("template", "toy-line", "--out", out).fine()
    (out / name).write_bytes(b"filled in over the weekend")
    (out / "inputs-hard.parquet").unlink()
    before = content_of(out)
    said = command("template", "toy-line", "--out", out).refusal()
    assert said.startswith(f"{out / name}: exists with other content")
    assert "--force" in said
    assert content_of(out) == before, "nothing is written, not even what was missing"
    command("template", "toy-line", "--out", out, "--force").fine()
    assert content_of(out) == fresh


def test_another_template_in_the_same_folder(
    toy_content: Path, command: Command, tmp_path: Path
) -> None:
    command("template", "toy-line", "--out", tmp_path / "out", "--track", "features").fine()
    before = content_of(tmp_path / "out")
    said = command("template", "toy-line", "--out", tmp_path / "out", "--track", "kinds").refusal()
    assert "(and 2 more): exists with other content" in said
    assert content_of(tmp_path / "out") == before


def test_a_folder_in_the_place_of_a_file(
    toy_content: Path, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "out" / "predictions.csv").mkdir(parents=True)
    for force in ((), ("--force",)):
        said = command("template", "toy-line", "--out", tmp_path / "out", *force).refusal()
        assert "predictions.csv: is a folder, not a file" in said
    assert content_of(tmp_path / "out") == {}


# --- download ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["data/test-00000-of-00001.parquet", "README.md", "manifest.json"])
def test_a_download_that_was_edited(
    toy_content: Path, command: Command, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    command("download", "toy", "--out", out).fine()
    fresh = content_of(out)
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    command("download", "toy", "--out", out).fine()
    (out / name).write_bytes(b"edited")
    (out / "data" / "hard-00000-of-00001.parquet").unlink()
    before = content_of(out)
    said = command("download", "toy", "--out", out).refusal()
    assert said.startswith(f"{out / name}: exists with other content")
    assert "--force" in said
    assert content_of(out) == before
    command("download", "toy", "--out", out, "--force").fine()
    assert content_of(out) == {**fresh, "notes.txt": b"mine"}


# --- build -------------------------------------------------------------------------------------


def test_a_build_keeps_what_it_did_not_make(
    toy_content: Path, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command("build", "toy", "--out", out).fine()
    fresh = content_of(out)
    command("build", "toy", "--out", out).fine()
    (out / "data" / "notes.txt").write_text("mine", encoding="utf-8")
    (out / "link").symlink_to("nowhere")
    before = content_of(out)
    said = command("build", "toy", "--out", out).refusal()
    assert said.startswith(f"{out / 'data' / 'notes.txt'}: is not part of the earlier build there")
    assert "--force" in said
    assert content_of(out) == before
    command("build", "toy", "--out", out, "--force").fine()
    assert content_of(out) == {**fresh, "data/notes.txt": b"mine"}
    assert (out / "link").readlink() == Path("nowhere")
    assert [path.name for path in tmp_path.glob(".out*")] == []


@pytest.mark.parametrize("name", ["data/test-00000-of-00001.parquet", "README.md"])
def test_a_build_that_was_edited(
    toy_content: Path, command: Command, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    command("build", "toy", "--out", out).fine()
    fresh = content_of(out)
    (out / name).write_bytes(b"edited")
    said = command("build", "toy", "--out", out).refusal()
    assert said.startswith(f"{out / name}: was edited since it was built")
    assert (out / name).read_bytes() == b"edited"
    command("build", "toy", "--out", out, "--force").fine()
    assert content_of(out) == fresh


def test_another_build_in_the_same_folder(
    toy_content: Path, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command("build", "toy", "--out", out).fine()
    before = content_of(out)
    said = command("build", "toy", "--config", "fields-mini", "--out", out).refusal()
    assert said.startswith(f"{out}: holds a build of toy:scalar-mini")
    assert content_of(out) == before
    command("build", "toy", "--config", "fields-mini", "--out", out, "--force").fine()
    assert json.loads((out / "manifest.json").read_bytes())["config"] == "fields-mini"


def test_a_folder_of_something_else(toy_content: Path, command: Command, tmp_path: Path) -> None:
    out = tmp_path / "thesis"
    (out / "figures").mkdir(parents=True)
    (out / "figures" / "one.svg").write_text("<svg/>", encoding="utf-8")
    (out / "thesis.tex").write_text("ten years", encoding="utf-8")
    before = content_of(out)
    said = command("build", "toy", "--out", out).refusal()
    assert said.startswith(f"{out}: is not empty and holds no earlier build")
    assert content_of(out) == before
    command("build", "toy", "--out", out, "--force").fine()
    assert before.items() <= content_of(out).items()
    assert (out / "manifest.json").is_file()


def test_the_hub_folder_is_repaired_and_keeps_other_files(
    toy_content: Path, command: Command, home: Path
) -> None:
    command("build", "toy").fine()
    folder = home / "datasets" / "toy" / "scalar-mini"
    fresh = content_of(folder)
    (folder / "data" / "test-00000-of-00001.parquet").write_bytes(b"damaged")
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    command("build", "toy").fine()
    assert content_of(folder) == {**fresh, "notes.txt": b"mine"}


# --- export and review -------------------------------------------------------------------------


def test_an_export_over_another(
    toy_content: Path, command: Command, toy_predictions: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "export"
    submit = ("toy-line", *HOLDOUT, "--export", out)
    command("submit", toy_predictions("first.csv"), "--name", "first", *submit).fine()
    before = content_of(out)
    second = ("submit", toy_predictions("second.parquet"), "--name", "second", *submit)
    said = command(*second).refusal()
    assert said.startswith(f"{out}: exists and is not an empty folder")
    assert "--force" in said
    assert content_of(out) == before
    board = json.loads(command("leaderboard", "toy-line", "--json").fine())
    assert [row["model"] for row in board] == ["first"], "what was refused is not stored"
    command(*second, "--force").fine()
    assert sorted(content_of(out)) == ["predictions.parquet", "record.json", "samples.parquet"]
    assert "second" in command("results", "check", out).fine()
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    before = content_of(out)
    said = command(*second, "--force").refusal()
    assert said.startswith(f"{out / 'notes.txt'}: is not part of a submission")
    assert content_of(out) == before
    assert [path.name for path in tmp_path.glob(".export*")] == []


def test_an_evaluation_exported_over_another(
    toy_content: Path, command: Command, tmp_path: Path
) -> None:
    run = ("evaluate", "toy_mean", "toy-line", "--export", tmp_path / "export")
    command(*run).fine()
    before = content_of(tmp_path / "export")
    assert "--force" in command(*run).refusal()
    assert content_of(tmp_path / "export") == before
    command(*run, "--force").fine()
    assert content_of(tmp_path / "export")["record.json"] != before["record.json"]


def test_a_run_whose_folder_exists_is_refused_before_it_runs(
    toy_content: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from etchmark.submission import running

    kept = tmp_path / "runs" / "toy_mean--holdout"
    kept.mkdir(parents=True)
    (kept / "notes.txt").write_text("mine", encoding="utf-8")

    def run(*_: object, **__: object) -> None:
        raise AssertionError("it ran")

    monkeypatch.setattr(running, "evaluate_model", run)
    ran = command("results", "run", "toy-line", "--out", kept.parent, "--protocol", "holdout")
    assert ran.rc == 2
    assert f"{kept}: exists" in ran.stdout
    assert content_of(kept) == {"notes.txt": b"mine"}


def test_a_reviewed_record_that_was_edited(
    toy_content: Path, command: Command, toy_predictions: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "export"
    path = toy_predictions("first.csv")
    command("submit", path, "toy-line", *HOLDOUT, "--name", "first", "--export", out).fine()
    command("results", "add", out).fine()
    command("results", "add", out).fine()
    (record,) = (toy_content / "leaderboard" / "results" / "toy-line@1").glob("*.json")
    edited = json.loads(record.read_bytes())
    edited["card"]["title"] = "A title that a reviewer corrected"
    record.write_text(json.dumps(edited), encoding="utf-8")
    assert "--replace" in command("results", "add", out).refusal()
    assert json.loads(record.read_bytes()) == edited
    command("results", "add", out, "--replace").fine()
    assert json.loads(record.read_bytes())["card"]["title"] is None


# --- half-written ------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="needs limits of a process")
def test_a_template_that_does_not_fit(toy_content: Path, command: Command, tmp_path: Path) -> None:
    """A write that fails in the middle leaves the old files and no new one."""
    out = tmp_path / "out"
    command("template", "toy-line", "--out", out, "--track", "kinds").fine()
    before = content_of(out)
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600));"
    run = "from etchmark.commands.main import main; import sys; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", limited + run, "template", "toy-line", "--out", str(out), "--force"],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1
    assert f"{out}: cannot be written" in done.stderr
    assert content_of(out) == before


def test_an_interruption_keeps_the_old_build(
    toy_content: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between the two renames by which a new build takes the place of the old one."""
    out = tmp_path / "out"
    command("build", "toy", "--out", out).fine()
    before = content_of(out)
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if Path(target) == out and ".old" not in self.name:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    assert command("build", "toy", "--out", out).rc == 1
    monkeypatch.undo()
    assert content_of(out) == before


def test_a_table_is_written_whole(
    toy_content: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the last file of a template is written leaves none of them."""
    from etchmark import predictions

    def interrupted(*_: object, **__: object) -> pa.Table:
        raise KeyboardInterrupt

    monkeypatch.setattr(predictions, "write", interrupted)
    assert command("template", "toy-line", "--out", tmp_path / "new").rc == 1
    assert not (tmp_path / "new").exists()
