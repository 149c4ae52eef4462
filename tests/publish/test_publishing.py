"""Datasets are published whole, with a licence, and come back as they were."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from fake_hub import FakeHub

from etchmark.catalog import catalog
from etchmark.data import building
from etchmark.data.loading import read_manifest
from etchmark.errors import UserError
from etchmark.publish import publishing
from etchmark.registry.store import Store

CONFIGS = ("scalar-mini", "fields-mini")
DESCRIBED = ["scalar-mini/manifest.json", "fields-mini/manifest.json", "croissant.json"]


def publish(target: str, *names: str, dry_run: bool = False, private: bool = False) -> list[Any]:
    wanted = publishing.Wanted(names or ("toy",))
    place = publishing.Target(target, private=private)
    found = publishing.repositories(catalog(), Store(), wanted, place, print)
    return list(place.publish(found, dry_run=dry_run))


def declare(content: Path, config: str, **more: object) -> None:
    """Change what a config of the toy declares."""
    path = content / "datasets" / "toy" / "dataset.yaml"
    spec = yaml.safe_load(path.read_text())
    spec["configs"][config] |= more
    path.write_text(yaml.safe_dump(spec, sort_keys=False))


# --- a folder ----------------------------------------------------------------------------------


def test_a_folder_holds_what_was_built(released: Path, tmp_path: Path) -> None:
    (done,) = publish(str(tmp_path / "out"))
    for config in CONFIGS:
        built = building.hub_folder("toy", config)
        for file in read_manifest(built).files:
            copied = tmp_path / "out" / "toy" / config / file.path
            assert copied.read_bytes() == (built / file.path).read_bytes()
    # What describes the data comes after them.
    assert list(done.sent[-5:]) == [*DESCRIBED, "CITATION.cff", "README.md"]
    # Again: nothing is written.
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    (again,) = publish(str(tmp_path / "out"))
    assert again.sent == again.removed == ()
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == before


def test_a_folder_serves_as_a_remote(
    released: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    publish(str(tmp_path / "out"))
    built = read_manifest(building.hub_folder("toy", "scalar-mini"))
    shutil.rmtree(home / "datasets")
    monkeypatch.setenv("ETCHMARK_REMOTE", (tmp_path / "out").as_uri())
    out = command("download", "toy-line").fine()
    assert f"fingerprint {built.fingerprint}" in out
    assert "SHA-256 verified" in out


def test_the_card_names_every_file(released: Path, tmp_path: Path) -> None:
    publish(str(tmp_path))
    head = yaml.safe_load((tmp_path / "toy" / "README.md").read_text().split("---")[1])
    named = {
        path
        for config in head["configs"]
        for split in config["data_files"]
        for path in split["path"]
    }
    own = tmp_path / "toy"
    there = {p.relative_to(own).as_posix() for p in own.rglob("*.parquet")}
    assert named == there
    assert [c["config_name"] for c in head["configs"] if c.get("default")] == ["scalar-mini"]
    cff = yaml.safe_load((tmp_path / "toy" / "CITATION.cff").read_text())
    assert (cff["type"], cff["cff-version"]) == ("dataset", "1.2.0")


def test_shards_of_an_older_release_are_removed(released: Path, tmp_path: Path) -> None:
    publish(str(tmp_path))
    old = tmp_path / "toy" / "scalar-mini" / "data" / "test-00001-of-00002.parquet"
    old.write_bytes(b"old")
    mine = tmp_path / "toy" / "notes.txt"
    mine.write_text("mine")
    (tried,) = publish(str(tmp_path), dry_run=True)
    assert tried.removed == ("scalar-mini/data/test-00001-of-00002.parquet",)
    assert old.exists()
    (done,) = publish(str(tmp_path))
    assert done.removed == tried.removed
    assert not old.exists()
    assert mine.read_text() == "mine"


def test_a_config_that_lost_its_licence_is_removed(
    released: Path, hub: FakeHub, tmp_path: Path
) -> None:
    for target in (str(tmp_path / "out"), "hf://lab"):
        publish(target)
    declare(released, "fields-mini", own_use=True)
    for target in (str(tmp_path / "out"), "hf://lab"):
        (done,) = publish(target)
        assert {path.partition("/")[0] for path in done.removed} == {"fields-mini"}
        (again,) = publish(target)
        assert again.removed == again.sent == ()
    left = [p.relative_to(tmp_path).as_posix() for p in tmp_path.glob("out/**/*.*")]
    assert not [path for path in [*left, *hub.files("lab/toy")] if "fields-mini" in path]


def test_no_config_is_lost_from_the_card(released: Path, hub: FakeHub, tmp_path: Path) -> None:
    for target in (str(tmp_path / "out"), "hf://lab"):
        publish(target, "toy:scalar-mini")
        with pytest.raises(UserError, match=r"holds scalar-mini, .*name toy:scalar-mini as well"):
            publish(target, "toy:fields-mini")
        (done,) = publish(target, "toy:fields-mini", "toy:scalar-mini")
        assert "fields-mini/manifest.json" in done.sent
        assert "scalar-mini/manifest.json" not in done.sent


def test_a_dry_run_writes_nothing(released: Path, tmp_path: Path, command: Any) -> None:
    out = command("publish", "toy", "--to", tmp_path / "out", "--dry-run").fine()
    assert not (tmp_path / "out").exists()
    assert "would be written: scalar-mini/data/train-00000-of-00001.parquet (" in out
    assert f"licence: {catalog().dataset('toy').licence}" in out


def test_targets_that_cannot_be(released: Path, tmp_path: Path, command: Any) -> None:
    (tmp_path / "file").touch()
    assert "is not a folder" in command("publish", "toy", "--to", tmp_path / "file").refusal()
    for target in ("https://example.org", "s3://bucket", "", " "):
        assert "give hf://ORGANISATION" in command("publish", "toy", "--to", target).refusal()
    for target in ("hf://", "hf://a/b", "hf://a b"):
        assert "name of an organisation" in command("publish", "toy", "--to", target).refusal()
    assert "names an unknown user" in command("publish", "toy", "--to", "~nouser/x").refusal()
    private = command("publish", "toy", "--to", tmp_path / "out", "--private").refusal()
    assert private.startswith("--private is for the Hugging Face Hub")
    assert "name what to publish" in command("publish", "--to", tmp_path).refusal()
    assert "unknown dataset" in command("publish", "tay", "--to", tmp_path).refusal()
    assert "unknown config" in command("publish", "toy:no", "--to", tmp_path).refusal()
    blocked = tmp_path / "out" / "toy"
    blocked.parent.mkdir()
    blocked.touch()
    assert "toy: is not a folder" in command("publish", "toy", "--to", blocked.parent).refusal()


# --- what may be published ---------------------------------------------------------------------


@pytest.mark.parametrize("names", [["toy:fields-mini"], ["toy"], ["--all"]])
@pytest.mark.parametrize("target", ["folder", "hf://lab"])
def test_a_config_without_a_licence_is_never_published(
    released: Path, hub: FakeHub, tmp_path: Path, command: Any, names: list[str], target: str
) -> None:
    declare(released, "fields-mini", own_use=True)
    to = str(tmp_path / "out") if target == "folder" else target
    ran = command("publish", *names, "--to", to)
    if names == ["toy:fields-mini"]:
        assert "its sources grant no licence" in ran.refusal()
    else:
        assert ran.rc == 0
        assert "note: left out: toy:fields-mini: is not published, since its sources" in ran.stderr
    written = [p.as_posix() for p in (tmp_path / "out").rglob("*")]
    sent = hub.files("lab/toy") if "lab/toy" in hub.repos else {}
    assert not [path for path in [*written, *sent] if "fields-mini" in path]
    own = (tmp_path / "out" / "toy").rglob("*.*")
    for text in [*sent.values(), *(p.read_bytes() for p in own)]:
        assert b"fields-mini" not in text
    assert not [data for data in hub.stored.values() if data in _built("fields-mini")]


def _built(config: str) -> list[bytes]:
    folder = building.hub_folder("toy", config)
    return [(folder / file.path).read_bytes() for file in read_manifest(folder).files]


def test_all_names_what_it_leaves_out(released: Path, tmp_path: Path, command: Any) -> None:
    shutil.copytree(released / "datasets" / "toy", released / "datasets" / "other")
    path = released / "datasets" / "other" / "dataset.yaml"
    path.write_text(path.read_text().replace("name: toy", "name: other", 1))
    ran = command("publish", "--all", "--to", tmp_path / "out")
    assert ran.rc == 0
    assert "note: left out: other: nothing of it can be published: other:" in ran.stderr
    assert not (tmp_path / "out" / "other").exists()


def test_every_config_without_a_licence_is_marked_so() -> None:
    """What the repository's own datasets say in words is what the flag says."""
    marked = {
        (name, config)
        for name in catalog().dataset_names()
        for config, declared in catalog().dataset(name).configs.items()
        if declared.own_use
    }
    assert {("superalloys", "micrographs"), ("superalloys", "published-features")} <= marked
    assert ("steels", "uhcs") in marked


def test_only_releases_are_published(released: Path, tmp_path: Path) -> None:
    frozen = released / "datasets" / "toy" / "frozen" / "fields-mini.parquet"
    kept = frozen.read_bytes()
    frozen.unlink()
    with pytest.raises(UserError, match="has no frozen release"):
        publish(str(tmp_path), "toy:fields-mini")
    frozen.write_bytes(kept)
    shard = next(building.hub_folder("toy", "fields-mini").rglob("*.parquet"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    with pytest.raises(UserError, match="missing or damaged; rebuild"):
        publish(str(tmp_path), "toy:fields-mini")
    # As long as it should be, and other bytes: nobody could download it.
    shard.write_bytes(content[:-1] + b"x")
    with pytest.raises(UserError, match="missing or damaged; rebuild"):
        publish(str(tmp_path), "toy:fields-mini")
    # A manifest that was edited along with its files, whose rows are others, or are no rows.
    for edited in (_first_rows(content), b"no table"):
        _edit(shard, edited)
        with pytest.raises(UserError, match="is not the released config; rebuild"):
            publish(str(tmp_path), "toy:fields-mini")
    _edit(shard, content)
    _smuggle(shard)
    with pytest.raises(UserError, match="is not the released config; rebuild"):
        publish(str(tmp_path), "toy:fields-mini")
    shutil.rmtree(building.hub_folder("toy", "fields-mini"))
    with pytest.raises(UserError, match="is not built here; run `etchmark build toy"):
        publish(str(tmp_path), "toy:fields-mini")


def _first_rows(content: bytes) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(content)).slice(0, 1), stream)
    return stream.getvalue()


def _edit(shard: Path, content: bytes) -> None:
    """Put other content into a file of a build, and its hash into the manifest."""
    path = shard.parents[1] / "manifest.json"
    manifest = json.loads(path.read_text())
    for file in manifest["files"]:
        if file["path"] == f"data/{shard.name}":
            file |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    path.write_text(json.dumps(manifest))
    shard.write_bytes(content)


def _smuggle(shard: Path) -> None:
    """List a file that the release does not have."""
    path = shard.parents[1] / "manifest.json"
    manifest = json.loads(path.read_text())
    other = shard.with_name("extra-00000-of-00001.parquet")
    shutil.copyfile(shard, other)
    manifest["files"].append(manifest["files"][0] | {"path": f"data/{other.name}"})
    manifest["files"][-1]["sha256"] = hashlib.sha256(other.read_bytes()).hexdigest()
    manifest["files"][-1]["split"] = "extra"
    path.write_text(json.dumps(manifest))


def test_what_lies_in_the_target_is_left_alone(released: Path, tmp_path: Path) -> None:
    own = tmp_path / "proj" / "toy"
    mine = own / "scalar-mini" / "data" / "my_measurements.parquet"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"holds files that etchmark did not publish, such as"):
        publish(str(tmp_path / "proj"))
    assert [p for p in own.rglob("*") if p.is_file()] == [mine]
    # Beside what was published, it stays.
    publish(str(tmp_path / "out"))
    ours = tmp_path / "out" / "toy" / "scalar-mini" / "data"
    (ours / "my_measurements.parquet").write_bytes(b"mine")
    assert publish(str(tmp_path / "out"))[0].removed == ()
    assert (ours / "my_measurements.parquet").read_bytes() == b"mine"
    # A link leads to files of somebody else.
    precious = tmp_path / "precious"
    ours.rename(precious)
    ours.symlink_to(precious)
    with pytest.raises(UserError, match="is a link; remove it"):
        publish(str(tmp_path / "out"))
    assert (precious / "my_measurements.parquet").exists()


def test_a_killed_publish_leaves_nothing_for_long(released: Path, tmp_path: Path) -> None:
    publish(str(tmp_path))
    left = tmp_path / "toy" / "scalar-mini" / "data" / ".test-00000-of-00001.parquet.7-0a1b2c3d.tmp"
    left.write_bytes(b"half")
    publish(str(tmp_path))
    assert left.exists(), "another process may be writing it"
    os.utime(left, (0, 0))
    publish(str(tmp_path))
    assert not left.exists()


# --- the Hub -----------------------------------------------------------------------------------


def test_one_commit_brings_everything_and_none_is_made_for_nothing(
    released: Path, hub: FakeHub
) -> None:
    (tried,) = publish("hf://lab", dry_run=True)
    assert hub.repos == {}
    (done,) = publish("hf://lab")
    assert done.sent == tried.sent
    assert len(hub.repos["lab/toy"].commits) == 2
    assert done.revision == hub.repos["lab/toy"].commits[-1][0]
    for config in CONFIGS:
        folder = building.hub_folder("toy", config)
        for file in read_manifest(folder).files:
            sent = hub.files("lab/toy")[f"{config}/{file.path}"]
            assert sent == (folder / file.path).read_bytes()
    hub.log.clear()
    (again,) = publish("hf://lab")
    assert (again.sent, again.revision) == ((), done.revision)
    assert {method for method, path in hub.log if "paths-info" not in path} == {"GET"}


def test_what_changed_is_sent_alone(released: Path, hub: FakeHub) -> None:
    publish("hf://lab")
    hub.files("lab/toy")["scalar-mini/data/test-00001-of-00002.parquet"] = b"old"
    hub.files("lab/toy")["README.md"] = b"edited"
    hub.files("lab/toy")["theirs.txt"] = b"theirs"
    (done,) = publish("hf://lab")
    assert done.sent == ("README.md",)
    assert done.removed == ("scalar-mini/data/test-00001-of-00002.parquet",)
    assert hub.files("lab/toy")["theirs.txt"] == b"theirs"
    assert "scalar-mini/data/test-00001-of-00002.parquet" not in hub.files("lab/toy")


@pytest.mark.parametrize("answer", [503, 429, "cut", "lost"])
@pytest.mark.parametrize("what", [("POST", "/commit/"), ("POST", "create"), ("PUT", "/store/")])
def test_a_hub_that_fails_once(
    released: Path, hub: FakeHub, what: tuple[str, str], answer: int | str
) -> None:
    hub.faults.append((*what, answer))
    (done,) = publish("hf://lab")
    assert hub.faults == []
    assert len(hub.repos["lab/toy"].commits) == 2, "no commit is made twice"
    assert done.revision == hub.repos["lab/toy"].commits[-1][0]
    assert set(done.sent) == set(hub.files("lab/toy"))


def test_a_hub_that_stays_down(released: Path, hub: FakeHub, command: Any) -> None:
    hub.faults += [("POST", "/commit/", 503)] * 99
    refusal = command("publish", "toy", "--to", "hf://lab").refusal()
    assert "hf://datasets/lab/toy: the Hub cannot be reached or fails (" in refusal
    assert refusal.endswith("run the same command again, which sends what is lacking")
    assert hub.files("lab/toy") == {}
    hub.faults.clear()
    stored = len([path for method, path in hub.log if method == "PUT"])
    publish("hf://lab")
    # The large files had arrived before.
    assert len([path for method, path in hub.log if method == "PUT"]) == stored


def test_who_may_not_write_is_told(
    released: Path, hub: FakeHub, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.faults.append(("POST", "create", 403))
    assert "the Hub answers 403" in command("publish", "toy", "--to", "hf://lab").refusal()
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN_PATH", "nowhere")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert "nobody is logged in" in command("publish", "toy", "--to", "hf://lab").refusal()
    monkeypatch.setenv("ETCHMARK_OFFLINE", "1")
    assert "ETCHMARK_OFFLINE is set" in command("publish", "toy", "--to", "hf://lab").refusal()


def test_what_arrived_otherwise_is_noticed(
    released: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "stored", _Spoiling())
    with pytest.raises(UserError, match="is not there as it was sent"):
        publish("hf://lab")


class _Spoiling(dict[str, bytes]):
    def __setitem__(self, key: str, value: bytes) -> None:
        super().__setitem__(key, value[:-1] + b"?")


ROUND = """
import sys
import datasets, pandas, etchmark
table = datasets.load_dataset("lab/toy", "scalar-mini", revision=sys.argv[1])
assert set(table) == {"train", "test", "hard"}, table
print(table["test"].num_rows, *table["test"]["id"][:2])
"""


def test_published_data_come_back_both_ways(
    released: Path,
    hub: FakeHub,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[..., Any],
) -> None:
    (done,) = publish("hf://lab")
    built = read_manifest(building.hub_folder("toy", "scalar-mini"))
    first = command("evaluate", "mean", "toy-line", "--unofficial").stdout
    shutil.rmtree(home / "datasets")
    monkeypatch.setenv("ETCHMARK_REMOTE", "hf://lab")
    out = command("download", "toy-line").fine()
    assert f"at commit {str(done.revision)[:12]}" in out
    assert f"fingerprint {built.fingerprint}" in out
    assert command("evaluate", "mean", "toy-line", "--unofficial").stdout == first
    ran = subprocess.run(
        [sys.executable, "-c", ROUND, str(done.revision)],
        env=os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    shard = building.hub_folder("toy", "scalar-mini") / "data" / "test-00000-of-00001.parquet"
    ids = pq.read_table(shard)["id"].to_pylist()
    assert ran.stdout.split() == [str(len(ids)), *ids[:2]]


# --- Croissant ---------------------------------------------------------------------------------


def test_croissant_is_valid_and_reads_the_rows(released: Path, tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip(
        "mlcroissant", reason="mlcroissant (extra `dev`) is not installed"
    )
    publish(str(tmp_path))
    path = tmp_path / "toy" / "croissant.json"
    described = mlcroissant.Dataset(path)
    issues = described.metadata.ctx.issues
    assert not issues.errors, issues.report()
    assert not issues.warnings, issues.report()
    for config in CONFIGS:
        for split, rows in (("train", None), ("test", None)):
            records = list(described.records(f"{config}/{split}"))
            folder = building.hub_folder("toy", config) / "data"
            table = pq.read_table(folder / f"{split}-00000-of-00001.parquet")
            assert rows in (None, len(records))
            ids = [record[f"{config}/{split}/id"].decode() for record in records]
            assert ids == table["id"].to_pylist()
    fields = {
        each["name"]: each
        for record_set in json.loads(path.read_text())["recordSet"]
        for each in record_set["field"]
    }
    assert any(each.get("isArray") for each in fields.values())
