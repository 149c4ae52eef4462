"""The hub of this machine answers what pages and commands ask."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import etchmark
from etchmark import api
from etchmark.errors import UserError
from etchmark.specs import ModelCard

HEAVY = {"numpy", "pandas", "datasets", "sqlalchemy", "pyarrow", "scipy", "pydantic", "yaml"}


def submit(name: str, error: float) -> None:
    """Store predictions that are off by ``error`` one way and the other in turn."""
    truth = api.load_benchmark("toy-line").truth("test")
    signs = np.where(np.arange(len(truth.ids)) % 2, 1.0, -1.0)
    frame = pd.DataFrame({"id": truth.ids, "prediction": truth.target + error * signs})
    etchmark.submit(frame, "toy-line", name=name, protocol="holdout", track="features")


@pytest.fixture
def hub(toy_content: Path) -> api.LocalHub:
    """A hub with two submissions to one board: ``near`` is better than ``far``."""
    submit("near", 0.5)
    submit("far", 4.0)
    return api.LocalHub()


def test_importing_it_is_light(home: Path) -> None:
    code = "import sys, etchmark.api; etchmark.api.LocalHub(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not HEAVY & set(done.stdout.split())


def test_every_name_that_it_offers_is_there(home: Path) -> None:
    for name in api.__all__:
        assert getattr(api, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = api.nothing


def test_a_local_hub_answers_exactly_what_the_interface_asks() -> None:
    asked = {
        name for name, value in vars(api.Hub).items() if getattr(value, "__isabstractmethod__", 0)
    }
    assert asked
    for name in asked:
        declared, defined = getattr(api.Hub, name), getattr(api.LocalHub, name)
        assert inspect.signature(declared) == inspect.signature(defined), name
        assert declared.__doc__, name


def test_content(toy_content: Path) -> None:
    hub = api.LocalHub()
    assert hub.benchmarks() == ["toy-fields", "toy-line"]
    assert hub.datasets() == ["toy"]
    assert hub.models() == ["toy_mean"]
    spec = hub.benchmark("toy-line")
    assert spec is hub.benchmark("toy-line"), "read again although its file is the same"
    assert spec == hub.benchmark("toy-line@1")
    assert hub.dataset("toy").name == "toy"
    assert hub.baseline("toy_mean").name == "toy_mean"
    assert hub.metric(spec, "mae").unit == spec.target.unit
    assert hub.metric("toy-line", "r2").higher_is_better
    assert "toy-line" in hub.cite("toy-line")
    with pytest.raises(UserError, match="unknown benchmark 'toy-lin'; did you mean: toy-line"):
        hub.benchmark("toy-lin")
    with pytest.raises(UserError, match="unknown variant of toy_mean"):
        hub.baseline("toy_mean/none")


def test_a_card_that_has_changed_is_read_again(toy_content: Path) -> None:
    hub = api.LocalHub()
    path = toy_content / "benchmarks" / "toy-line.yaml"
    before = hub.benchmark("toy-line")
    path.write_text(path.read_text().replace(f"title: {before.title}", "title: Another"))
    assert hub.benchmark("toy-line").title == "Another"


def test_a_broken_card_hides_no_other(toy_content: Path) -> None:
    (toy_content / "benchmarks" / "toy-fields.yaml").write_text("id: [\n")
    contents = api.LocalHub().contents()
    broken, line = contents.benchmarks
    assert (broken["id"], line["id"]) == ("toy-fields", "toy-line")
    assert "toy-fields.yaml" in broken["error"]
    (reason,) = contents.broken
    assert "toy-fields.yaml" in reason


def test_data_that_are_here_and_that_are_not(toy_content: Path) -> None:
    hub = api.LocalHub()
    assert hub.config_folder("toy", "scalar-mini") is None
    assert hub.manifest("toy", "scalar-mini") is None
    assert hub.gallery("toy", "scalar-mini") is None
    api.load_benchmark("toy-line").truth("test")
    manifest = hub.manifest("toy", "scalar-mini")
    assert manifest is not None
    assert manifest.config == "scalar-mini"
    gallery = hub.gallery("toy", "scalar-mini")
    assert gallery is not None
    assert gallery is hub.gallery("toy", "scalar-mini")
    assert gallery.manifest == manifest
    assert hub.picture("toy", "scalar-mini") is None


def test_a_board_and_its_views(hub: api.LocalHub) -> None:
    frame = hub.standings("toy-line")
    assert frame["model"].tolist() == ["near", "far"]
    assert frame.equals(etchmark.standings("toy-line"))
    assert hub.standings("toy-line", api.View(track="kinds")).empty
    by_r2 = hub.standings("toy-line", api.View(metric="r2"))
    assert set(by_r2["metric"]) == {"r2"}
    assert hub.standings("toy-line", where=api.Where(status=("run",))).empty
    board = hub.board("toy-line", api.View(metric="mae"))
    assert board.standings().equals(hub.standings("toy-line", api.View(metric="mae")))
    with pytest.raises(UserError, match="toy-line has no metric 'dice'"):
        hub.board("toy-line", api.View(metric="dice"))


def test_submissions(hub: api.LocalHub) -> None:
    assert hub.counts() == (2, 2)
    newest = hub.newest(5)
    assert [(one.name, one.superseded) for one in newest] == [("far", False), ("near", False)]
    entry = hub.entry(newest[0].submission)
    assert entry is not None
    assert entry.record.name == "far"
    samples = hub.samples(entry, "test")
    assert samples is not None
    assert len(samples.ids) == 9
    assert hub.samples(entry, "hard") is None
    assert hub.entry("0" * 64) is None
    assert hub.left_out() == {}
    assert hub.earlier(entry.record) == []
    assert not hub.superseded(entry.record)
    assert hub.same_predictions(entry.record) == []


def predictions(folder: Path, error: float) -> Path:
    truth = api.load_benchmark("toy-line").truth("test")
    path = folder / "predictions.csv"
    frame = pd.DataFrame({"id": truth.ids, "prediction": truth.target + error})
    frame.to_csv(path, index=False)
    return path


def test_what_is_previewed_is_stored_when_it_is_kept(hub: api.LocalHub, tmp_path: Path) -> None:
    path = predictions(tmp_path, 2.0)
    statement = api.Statement("third", ModelCard(title="Third"), "features", "holdout")
    prepared = hub.preview(path, "toy-line", statement)
    assert hub.counts() == (2, 2)
    entry = api.Entry(prepared.record, prepared.samples, api.LOCAL)
    assert "third" in set(hub.standings("toy-line", extra=[entry])["model"])
    assert hub.keep(prepared) is api.Committed.NEW
    kept = hub.entry(prepared.record.submission)
    assert kept is not None
    assert kept.record.card.title == "Third"
    assert kept.record.created > prepared.record.created
    assert hub.keep(prepared) is api.Committed.SAME


def test_what_was_stored_meanwhile_is_replaced_only_knowingly(
    hub: api.LocalHub, tmp_path: Path
) -> None:
    statement = api.Statement("near", ModelCard(), "features", "holdout")
    prepared = hub.preview(predictions(tmp_path, 2.0), "toy-line", statement)
    (known,) = hub.replaced_by(prepared.record)
    assert known.name == "near"
    # Another predictions file of the same name arrives.
    submit("near", 0.25)
    with pytest.raises(api.NameTaken, match="was stored under it meanwhile") as taken:
        hub.keep(prepared, {known.submission})
    (other,) = taken.value.records
    assert other.submission != known.submission
    assert hub.entry(prepared.record.submission) is None
    both = {known.submission, other.submission}
    assert hub.keep(prepared, both) is api.Committed.NEW
    assert hub.superseded(other)
    # The same predictions with another card would correct what stands there now.
    card = prepared.record.card.model_copy(update={"title": "Corrected"})
    corrected = replace(prepared, record=prepared.record.model_copy(update={"card": card}))
    with pytest.raises(api.NameTaken):
        hub.keep(corrected, both)
    assert hub.keep(prepared, both) is api.Committed.SAME, "it says the same"
    everything = {record.submission for record in hub.replaced_by(corrected.record)}
    assert hub.keep(corrected, everything) is api.Committed.CARD_CORRECTED


def test_a_name_that_looks_like_a_stored_one(hub: api.LocalHub) -> None:
    hub.check_name("near")
    hub.check_name("another")
    with pytest.raises(UserError, match="looks like 'near'"):
        hub.check_name("Near")


def test_a_submission_is_scored_stored_exported_and_withdrawn(
    hub: api.LocalHub, tmp_path: Path
) -> None:
    path, folder = predictions(tmp_path, 2.0), tmp_path / "export"
    statement = api.Statement("third", ModelCard(), "features", "holdout")
    stated, scored = hub.score(path, "toy-line", protocol="holdout")
    assert (stated.track, stated.protocol) == (None, "holdout")
    submitted = hub.submit(path, "toy-line", statement, export=folder)
    record = submitted.prepared.record
    assert record.scores == scored.scores
    assert submitted.committed is api.Committed.NEW
    assert hub.check_export(folder).record.scores == scored.scores
    with pytest.raises(UserError, match="exists and is not an empty folder"):
        hub.submit(path, "toy-line", statement, export=folder)
    withdrawn = hub.withdraw(hub.to_withdraw(record.submission[:12]))
    assert (withdrawn.removed, withdrawn.kept) == (1, 0)
    assert hub.entry(record.submission) is None
    written = hub.add_export(folder)
    assert written.is_file()


def test_a_model_is_run_and_kept_only_if_that_is_asked(hub: api.LocalHub) -> None:
    done = hub.evaluate("toy_mean", "toy-line", api.RunRequest(api.Options(), keep=False))
    assert done.committed is None
    assert hub.entry(done.record.submission) is None
    again = hub.evaluate("toy_mean", "toy-line", api.RunRequest(api.Options()))
    assert again.committed is api.Committed.NEW
    assert hub.entry(again.record.submission) is not None
    assert again.record.scores == done.record.scores


def test_data_and_templates(toy_content: Path, tmp_path: Path) -> None:
    hub = api.LocalHub()
    got = hub.download("toy-line", split=None)
    assert got.spec is not None
    assert (got.dataset, got.track) == ("toy", "features")
    assert all(path.is_file() for path in got.downloaded.files)
    assert hub.download("toy:scalar-mini").spec is None
    with pytest.raises(UserError, match="toy is a dataset; tracks belong to benchmarks"):
        hub.download("toy", track="features")
    with pytest.raises(UserError, match="unknown benchmark or dataset 'tou'"):
        hub.download("tou")
    written = hub.template("toy-line", tmp_path / "template")
    assert (written.track, written.protocol) == ("features", got.spec.headline)
    assert all(path.is_file() for path in [*written.inputs, *written.predictions])
    found = hub.fingerprints("toy-line")
    assert set(found.tracks) == set(got.spec.tracks)


def test_the_revision_changes_when_something_is_stored(hub: api.LocalHub) -> None:
    before = hub.revision()
    assert hub.revision() == before
    submit("third", 2.0)
    assert hub.revision() != before
    assert hub.counts() == (3, 3)


def test_two_models_side_by_side(hub: api.LocalHub) -> None:
    pair = hub.compare("toy-line", ("near", "far"), api.View(split="test"))
    assert pair.frame.equals(etchmark.compare("toy-line", "near", "far", split="test"))
    ids = hub.standings("toy-line")["submission"].tolist()
    both = hub.comparison("toy-line", ids)
    assert both.names == ["near", "far"]
    (row,) = both.differences().to_dict("records")
    assert row["difference"] == pytest.approx(pair.frame["difference"].iloc[0])
    assert both.errors().frame.columns.tolist() == ["id", "unit", "near", "far"]
    assert both.errors(["far"]).frame.columns.tolist() == ["id", "unit", "far"]
    assert both.by_group()["kind"].iloc[0] == "split"
    assert both.horizons().empty
    with pytest.raises(UserError, match="withdrawn or cannot be read"):
        hub.comparison("toy-line", [ids[0], "0" * 64])
    with pytest.raises(UserError, match="toy-line has no metric 'dice'"):
        hub.comparison("toy-line", ids, api.View(metric="dice"))


def test_references_and_curves(hub: api.LocalHub) -> None:
    etchmark.evaluate("toy_mean", "toy-line")
    lines = hub.references("toy-line")
    assert all(np.isfinite(value) for _, value in lines)
    assert hub.curves("toy-line").empty
    assert hub.withheld_curves("toy-line").empty
    with pytest.raises(UserError, match="unknown protocol of toy-line 'none'"):
        hub.references("toy-line", api.View(protocol="none"))


def test_the_shared_hub_is_opened_again_when_reviewed_results_change(toy_content: Path) -> None:
    first = api.open_hub()
    # Opening it made the registry.
    opened = api.open_hub()
    assert opened is api.open_hub()
    folder = toy_content / "leaderboard" / "results" / "toy-line"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "note.txt").write_text("changed")
    assert api.open_hub() is not opened
    assert isinstance(first, api.Hub)


def test_asking_for_the_shared_hub_looks_at_no_file_of_results(
    toy_content: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = toy_content / "leaderboard" / "results" / "toy-line@1"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(5):
        (folder / f"note-{number}.txt").write_text("note")
    api.open_hub()
    opened = api.open_hub()
    looked_at: list[Path] = []
    original = Path.stat
    monkeypatch.setattr(
        Path, "stat", lambda path, **more: looked_at.append(path) or original(path, **more)
    )
    listed: list[Path] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(Path(path)) or scan(path))
    assert api.open_hub() is opened
    assert folder in looked_at
    assert folder not in listed
    assert not [path for path in looked_at if path.suffix == ".txt"]
