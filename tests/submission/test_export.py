"""A stored submission becomes the folder, or the zip file, that a reviewer checks."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from etchmark.api import LocalHub
from etchmark.errors import UserError
from etchmark.registry.store import REVIEWED, Store
from etchmark.registry.tables import Entry

SUBMIT = ("toy-line", "--track", "features", "--protocol", "holdout")


@pytest.fixture
def stored(toy_content, toy_predictions, command) -> Entry:
    """A submission in the hub."""
    command("submit", toy_predictions("p.csv"), *SUBMIT, "--name", "My model").fine()
    (entry,) = Store().entries("toy-line", 1)
    return entry


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("file", ["p.csv", "p.parquet"])
def test_it_is_the_folder_that_submitting_writes(
    file, toy_content, toy_predictions, command, tmp_path
):
    at_once, later = tmp_path / "at-once", tmp_path / "later"
    path = toy_predictions(file)
    command("submit", path, *SUBMIT, "--name", "mine", "--export", at_once).fine()
    (entry,) = Store().entries("toy-line", 1)
    short = entry.record.submission[:12]
    said = command("results", "export", short, later).fine()
    assert said == (
        f"exported {short} (mine) to {later}; see CONTRIBUTING.md for the public board\n"
    )
    assert contents(later) == contents(at_once)
    assert contents(later)[f"predictions{path.suffix}"] == path.read_bytes()
    assert command("results", "check", later).fine().startswith("ok: mine on toy-line@1, holdout")


def test_the_zip_holds_that_folder_and_never_changes(stored, command, tmp_path):
    hub = LocalHub()
    content = hub.archive(stored)
    assert hub.archive(stored) == content
    with zipfile.ZipFile(io.BytesIO(content)) as zipped:
        zipped.extractall(tmp_path / "unpacked")
        assert {info.date_time for info in zipped.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    (folder,) = (tmp_path / "unpacked").iterdir()
    assert folder.name == f"my-model-{stored.record.submission[:8]}"
    hub.export(stored, tmp_path / "exported")
    assert contents(folder) == contents(tmp_path / "exported")
    command("results", "check", folder).fine()


def test_nothing_is_replaced_without_force(stored, command, tmp_path):
    folder, short = tmp_path / "mine", stored.record.submission[:12]
    command("results", "export", short, folder).fine()
    (folder / "record.json").write_text("edited")
    assert "is not an empty folder" in command("results", "export", short, folder).refusal()
    assert (folder / "record.json").read_text() == "edited"
    command("results", "export", short, folder, "--force").fine()
    command("results", "check", folder).fine()


def test_what_cannot_be_sent_is_refused_in_one_line(stored, command, tmp_path):
    out = tmp_path / "out"
    assert "there is none in" in command("results", "export", "0123456789", out).refusal()
    record, store = stored.record, Store()
    reviewed = record.model_copy(update={"submission": "a" * 64})
    store.add(Entry(reviewed, stored.samples, REVIEWED))
    failed = record.model_copy(
        update={"submission": "b" * 64, "outcome": "failed", "reason": "it fell", "scores": []}
    )
    store.add(Entry(failed, None, "local"))
    assert "is on the public board already" in command("results", "export", "aaaa", out).refusal()
    assert "failed (it fell)" in command("results", "export", "bbbb", out).refusal()
    assert not out.exists()


def test_lost_and_changed_predictions_are_said(stored, toy_predictions, command, tmp_path):
    hub, store = LocalHub(), Store()
    path = store.prediction_path(stored.record.fingerprints.predictions[0])
    content = path.read_bytes()
    path.write_bytes(content + b"\n")
    with pytest.raises(UserError, match=r"its content has changed\); submit the same file again"):
        hub.archive(stored)
    path.unlink()
    with pytest.raises(UserError, match="No such file"):
        hub.export(stored, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # The remedy works.
    command("submit", toy_predictions("p.csv"), *SUBMIT, "--name", "My model").fine()
    assert path.read_bytes() == content
    hub.export(stored, tmp_path / "out")


def test_several_files_are_not_one_submission(stored):
    prints = stored.record.fingerprints
    prints = prints.model_copy(update={"predictions": ["0" * 64, "1" * 64]})
    record = stored.record.model_copy(update={"fingerprints": prints})
    with pytest.raises(UserError, match="has 2 predictions files, but a review takes one"):
        LocalHub().archive(Entry(record, stored.samples, "local"))
